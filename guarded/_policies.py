"""Policies: which failures, in whose streak, halt whom."""

from __future__ import annotations

from dataclasses import dataclass, fields
from datetime import timedelta  # noqa: TC003  # dataclasses' annotations can be asked for
from types import EllipsisType  # noqa: TC003  # the same
from typing import TYPE_CHECKING, Any, Literal, get_args

from guarded._checks import checked_choice, checked_count, checked_window
from guarded._errors import InvalidConfiguration
from guarded._failure import FailureType, checked_type
from guarded._halt import HaltLevel
from guarded._scope import SCOPE_KINDS, ScopeKind

if TYPE_CHECKING:
    from collections.abc import Iterable

HaltScope = Literal["global", "same"]


@dataclass(frozen=True, slots=True)
class ConsecutiveFailures:
    """Halt when a scope has failed this many times with no success of that scope between.

    Args:
        threshold: The length of the streak that halts, at least 1.
        scope: Whose streak is counted: of each `"key"` (strategy and symbol), of each `"strategy"`, of each
            `"symbol"`, or of everything (`"global"`).
        within: The longest gap between two failures of one streak; by default the tracker's `reset_window`.
            None: a streak never ages.
        types: The failure types that count; others neither extend nor break the streak. None: all of them.
        halt_scope: `"global"` halts everything, `"same"` only the scope whose streak it was.
        level: How much is stopped, a `HaltLevel` or its value.
        shared: With `scope="global"`: count the failures of all processes on the store in one streak. By default each
            process counts its own, for one symbol that always fails beside others that work would keep the common
            streak alive, and one bad machine would halt all of them. The streaks of keys, strategies and symbols are
            always those of all processes on the store.

    Raises:
        InvalidConfiguration: A setting that cannot work.

    Example:
        One wrong credential is enough, and a strategy that fails three times in a row stops alone:

            FailureTracker(policies=[
                ConsecutiveFailures(1, types={FailureType.CONFIGURATION_ERROR}),
                ConsecutiveFailures(3, scope="strategy", halt_scope="same"),
            ])
    """

    threshold: int
    scope: ScopeKind = "key"
    within: timedelta | EllipsisType | None = ...
    types: frozenset[FailureType] | None = None
    halt_scope: HaltScope = "global"
    level: HaltLevel = HaltLevel.HALTED
    shared: bool = False

    def __init__(
        self,
        threshold: int,
        *,
        scope: ScopeKind = "key",
        within: timedelta | EllipsisType | None = ...,
        types: Iterable[FailureType | str] | None = None,
        halt_scope: HaltScope = "global",
        level: HaltLevel | str = HaltLevel.HALTED,
        shared: bool = False,
    ) -> None:
        where = "ConsecutiveFailures"
        put = object.__setattr__
        put(self, "threshold", checked_count(threshold, f"{where}(threshold)"))
        put(self, "within", within if within is ... else checked_window(within, f"{where}(within)"))
        _put_common(self, where, scope, types, halt_scope, level)
        put(self, "shared", _checked_shared(shared, scope, where))


@dataclass(frozen=True, slots=True)
class FailureRate:
    """Halt when a share of the last calls of a scope failed; judged at each failure, once that many calls were made.

    The calls are those of this process. Refused and uncounted calls are not among them.

    Args:
        ratio: The share of failures that halts, above 0 and at most 1.
        calls: How many calls the share is taken over, at least 1.
        scope: Whose calls: see `ConsecutiveFailures`.
        types: The failure types that count; calls that failed with another type are not among the calls.
            None: all of them.
        halt_scope: See `ConsecutiveFailures`.
        level: See `ConsecutiveFailures`.

    Raises:
        InvalidConfiguration: A setting that cannot work.
    """

    ratio: float
    calls: int
    scope: ScopeKind = "key"
    types: frozenset[FailureType] | None = None
    halt_scope: HaltScope = "global"
    level: HaltLevel = HaltLevel.HALTED

    def __init__(
        self,
        ratio: float,
        *,
        calls: int,
        scope: ScopeKind = "key",
        types: Iterable[FailureType | str] | None = None,
        halt_scope: HaltScope = "global",
        level: HaltLevel | str = HaltLevel.HALTED,
    ) -> None:
        where = "FailureRate"
        if isinstance(ratio, bool) or not isinstance(ratio, int | float) or not 0 < ratio <= 1:
            raise InvalidConfiguration(f"{where}(ratio)={ratio!r}: expected a share above 0 and at most 1, such as 0.5")
        put = object.__setattr__
        put(self, "ratio", float(ratio))
        put(self, "calls", checked_count(calls, f"{where}(calls)"))
        _put_common(self, where, scope, types, halt_scope, level)


Policy = ConsecutiveFailures | FailureRate


def described(policy: Policy) -> str:
    """A policy with what it was given, as the audit has it: `ConsecutiveFailures(threshold=3, scope=global)`."""
    given = {item.name: getattr(policy, item.name) for item in fields(policy)}
    told = [f"{f.name}={_plain(given[f.name])}" for f in fields(policy) if given[f.name] != f.default]
    return f"{type(policy).__name__}({', '.join(told)})"


def _plain(value: object) -> str:
    return "|".join(sorted(value)) if isinstance(value, frozenset) else str(value)


def _put_common(policy: Policy, where: str, scope: object, types: Any, halt_scope: object, level: object) -> None:
    put = object.__setattr__
    put(policy, "scope", checked_choice(scope, SCOPE_KINDS, f"{where}(scope)"))
    put(policy, "types", None if types is None else _checked_types(types, f"{where}(types)"))
    put(policy, "halt_scope", checked_choice(halt_scope, get_args(HaltScope), f"{where}(halt_scope)"))
    put(policy, "level", checked_level(level, f"{where}(level)"))


def _checked_shared(shared: object, scope: str, where: str) -> bool:
    if not isinstance(shared, bool):
        raise InvalidConfiguration(f"{where}(shared)={shared!r}: expected True or False")
    if shared and scope != "global":
        raise InvalidConfiguration(
            f'{where}(shared=True) is for scope="global": the streak of each {scope} is shared anyway; leave it out'
        )
    return shared


def checked_level(value: object, where: str) -> HaltLevel:
    """A `HaltLevel`, also by its value.

    Raises:
        InvalidConfiguration: There is no such level.
    """
    return HaltLevel(checked_choice(value, tuple(level.value for level in HaltLevel), where))


def _checked_types(types: Any, where: str) -> frozenset[FailureType]:
    if isinstance(types, str):
        raise InvalidConfiguration(f"{where}={types!r}: expected a set of failure types, such as {{{types!r}}}")
    try:
        given = tuple(types)
    except TypeError:
        raise InvalidConfiguration(f"{where}={types!r}: expected a set of failure types") from None
    if not given:
        raise InvalidConfiguration(f"{where} is empty: a policy over no type never halts; leave it out for all types")
    return frozenset(checked_type(item, where) for item in given)
