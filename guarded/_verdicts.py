"""Verdicts: what the rules say of an exception, of what it wraps, and of the members of a group."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

from guarded._classnames import mro
from guarded._evidence import Evidence
from guarded._explanation import Explanation
from guarded._failure import FailureType, checked_type
from guarded._faults import report
from guarded._matching import Action
from guarded._packs import GENERAL, STANDARD
from guarded._plans import Plans, first, steered
from guarded._secrets import type_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from guarded._matching import Rule

# Read through the slots, because an exception may override `__getattribute__`.
_cause = BaseException.__dict__["__cause__"].__get__
_context = BaseException.__dict__["__context__"].__get__
_hides_context = BaseException.__dict__["__suppress_context__"].__get__
_members = BaseExceptionGroup.__dict__["exceptions"].__get__

# Among several, what mends itself least comes first: settings and bugs stay as they are, a link comes back.
_GRAVITY = (
    FailureType.CONFIGURATION_ERROR,
    FailureType.STRATEGY_ERROR,
    FailureType.EXECUTION_ERROR,
    FailureType.DATA_ERROR,
    FailureType.CONNECTION_ERROR,
    FailureType.UNKNOWN_ERROR,
)
_MOST_LINKS = 5_000
_READ_WHOLE, _READ = 10, 500
_MOST_CLASSES = 512
_NOT_CAUGHT = "guards catch what derives from Exception, and nothing else"
_NO_RULE = "no rule matches it, nor anything that it wraps"


class _Link:
    """One exception of a chain or group, and what is to be asked of it."""

    __slots__ = ("error", "evidence", "plan")

    def __init__(self, error: BaseException, plans: Plans, before: int) -> None:
        """Look at an exception.

        Args:
            error: It.
            plans: What to ask.
            before: How many were looked at before it: of the later ones less text is read, for there may be thousands.
        """
        self.error = error
        self.evidence = Evidence(error, 10_000 if before < _READ_WHOLE else 200 if before < _READ else 0)
        self.plan = plans.for_exception(self.evidence)


class _Finding(NamedTuple):
    """An exception of which something can be said, and what."""

    error: BaseException
    says: Explanation


class Table:
    """The rules as they stand at one moment, and the verdicts that were remembered.

    Args:
        own: The user's rules.
        packs: The names of the built-in packs that may be asked.
        classifiers: The user's functions.
    """

    __slots__ = ("_classifiers", "_plans", "modules", "types", "verdicts")

    def __init__(
        self, own: Sequence[Rule], packs: Sequence[str], classifiers: Sequence[Callable[[Any], object]]
    ) -> None:
        self.verdicts: dict[type, Explanation] = {}
        self.types: dict[type, FailureType] = {}
        self._plans = Plans(own, packs)
        self._classifiers = classifiers
        # How many are loaded where that is all that matters; else a number that does not occur, and one has to ask.
        self.modules = -1 if self._plans.watch_more else len(sys.modules)

    def is_current(self) -> bool:
        """Whether every dotted name still means what it meant."""
        return self._plans.are_current()

    def paths_for(self, kind: type[BaseException]) -> list[str]:
        """The attributes at which rules for a class look, but for those of the general rules and of Python's own."""
        candidates = self._plans.for_class(kind).candidates
        rules = [candidate.rule for candidate in candidates if candidate.rule.pack not in (GENERAL, STANDARD)]
        return list(dict.fromkeys(test.paths.text for rule in rules for test in rule.conditions.tests))

    def explain(self, error: BaseException) -> Explanation:
        """The verdict on an exception."""
        kind = type(error)
        settled = self._plans.for_class(kind).settled
        if settled is not None and Exception in mro(kind) and not self._classifiers:
            return self._remembered(kind, settled)
        link = _Link(error, self._plans, 0)
        if Exception not in mro(kind):
            return replace(self._type_of(link, set()), action=Action.PROPAGATE, reason=_NOT_CAUGHT)
        if link.plan.settled is not None and not self._classifiers:
            return link.plan.settled
        steering, ignored = self._steering(link)
        verdict = self._type_of(link, ignored)
        return verdict if steering is None else steered(steering, verdict)

    def _remembered(self, kind: type, verdict: Explanation) -> Explanation:
        if len(self.verdicts) >= _MOST_CLASSES:
            self.verdicts.clear()
            self.types.clear()
        self.verdicts[kind] = verdict
        self.types[kind] = verdict.failure_type
        return verdict

    # The action: which rule ignores or propagates it, if one does.

    def _steering(self, link: _Link) -> tuple[Explanation | None, set[int]]:
        """What ignores or propagates the exception, and the ids of the members of a group that are ignored."""
        chosen = first(link.plan.steering, link.evidence)
        if chosen is not None and chosen.rule.action is not Action.COUNT:
            return chosen.says, set()
        return self._steering_of_members(link.error) if link.plan.is_group else (None, set())

    def _steering_of_members(self, group: BaseException) -> tuple[Explanation | None, set[int]]:
        """A group goes through if one of its leaves does; it is ignored if all of them are."""
        ignored: dict[int, Explanation] = {}
        leaves = list(_leaves(group))
        if not leaves:  # they are too deep down
            return None, set()
        for number, leaf in enumerate(leaves):
            link = _Link(leaf, self._plans, number)
            chosen = first(link.plan.steering, link.evidence)
            if chosen is not None and chosen.rule.action is Action.PROPAGATE:
                return _of_wrapper(group, chosen.says), set()
            if chosen is not None and chosen.rule.action is Action.IGNORE:
                ignored[id(leaf)] = chosen.says
        if len(ignored) < len(leaves):
            return None, set(ignored)
        return _of_wrapper(group, ignored[id(leaves[0])]), set()

    # The type: what the counting rules say of the exception itself, or of what it wraps.

    def _type_of(self, link: _Link, ignored: set[int]) -> Explanation:
        error = link.error
        findings = self._findings(link, ignored)
        if not findings:
            return Explanation(Action.COUNT, FailureType.UNKNOWN_ERROR, type_name(type(error)), reason=_NO_RULE)
        gravest = min(findings, key=_gravity) if len(findings) > 1 else findings[0]
        return gravest.says if gravest.error is error else _of_wrapper(error, gravest.says)

    def _findings(self, link: _Link, seen: set[int]) -> list[_Finding]:
        """What can be said of an exception and of all that it wraps, from the outside inwards.

        An exception for which a rule speaks is the end of its path. A wrapper, and one that no rule matches, passes
        the question on; where that leads to nothing, the type of the last wrapper that has one stands.
        """
        findings: list[_Finding] = []
        pending: list[tuple[BaseException, _Finding | None]] = []
        last_wrapper: _Finding | None = None
        while True:
            inner: Sequence[BaseException] = ()
            if id(link.error) not in seen:
                seen.add(id(link.error))
                finding, passes_on, is_vague = self._said_of(link)
                last_wrapper = finding or last_wrapper
                inner = _wrapped_by(link, with_context=is_vague) if passes_on else ()
            if inner:
                pending.extend([(error, last_wrapper) for error in inner[: _MOST_LINKS - len(pending)]])
            elif last_wrapper is not None:
                findings.append(last_wrapper)
            if not pending or len(seen) >= _MOST_LINKS:
                return findings + [finding for _, finding in pending if finding is not None]
            error, last_wrapper = pending.pop()
            link = _Link(error, self._plans, len(seen))

    def _said_of(self, link: _Link) -> tuple[_Finding | None, bool, bool]:
        """What is said of one exception, whether what it wraps is asked first, and whether its context is, too.

        What is raised within an `except` block need not have to do with what was caught there. So the context counts
        for a class that says nothing or little, never against one that says something.
        """
        said = self._said_by_classifier(link.error) if self._classifiers else None
        if said is not None:
            return _Finding(link.error, said), False, False
        chosen = first(link.plan.counting, link.evidence)
        if chosen is None:
            return None, True, True
        says = None if chosen.rule.failure_type is None else _Finding(link.error, chosen.says)
        return says, chosen.passes_on, says is None or chosen.rule.otherwise

    def _said_by_classifier(self, error: BaseException) -> Explanation | None:
        for function in reversed(self._classifiers):
            name = getattr(function, "__qualname__", type(function).__qualname__)
            try:
                answer = function(error)
                if answer is not None:
                    kind = checked_type(answer, f"what {name} returned")
                    return Explanation(
                        Action.COUNT, kind, type_name(type(error)), reason=f"the classifier {name} says so"
                    )
            except Exception as fault:  # noqa: BLE001  # the function is the user's
                report(f"the classifier {name} failed; the rules decide without it", fault)
        return None


def _of_wrapper(wrapper: BaseException, says: Explanation) -> Explanation:
    name = type_name(type(wrapper))
    # Half the time that dataclasses.replace() takes, on the way of every wrapped failure.
    return Explanation(says.action, says.failure_type, name, says.rule, says.pack, says.reason, says.error_type)


def _gravity(finding: _Finding) -> int:
    return _GRAVITY.index(finding.says.failure_type)


def _wrapped_by(link: _Link, *, with_context: bool) -> Sequence[BaseException]:
    """The members of a group; or the cause; or the context, where that counts."""
    error = link.error
    if link.plan.is_group:
        return _members(error)  # type: ignore[no-any-return]  # a tuple of exceptions
    cause = _cause(error)
    if cause is not None:
        return (cause,)
    context = _context(error) if with_context and not _hides_context(error) else None
    return () if context is None else (context,)


def _leaves(group: BaseException) -> Iterator[BaseException]:
    """The exceptions in a group and in the groups in it, each once, up to a bound."""
    seen: set[int] = set()
    pending = [group]
    while pending and len(seen) < _MOST_LINKS:
        error = pending.pop()
        if id(error) in seen:
            continue
        seen.add(id(error))
        if BaseExceptionGroup in mro(type(error)):
            pending.extend(_members(error)[: _MOST_LINKS - len(pending)])
        else:
            yield error
