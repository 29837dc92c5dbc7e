"""Store: where a ledger lives. A store brings atomicity and persistence, never counting rules of its own."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, runtime_checkable

from guarded._errors import InvalidConfiguration

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from typing import Self

    from guarded._failure import SignalGenerationFailure
    from guarded._halt import HaltRecord
    from guarded._ledger import Row
    from guarded._scope import Scope

Total = tuple[str, str]
"""What a total counts: ("strategy", its name), ("symbol", its name), ("type", its value) or ("all", "")."""

TOTAL_KINDS: Final = ("strategy", "symbol", "type")
ALL: Final[Total] = ("all", "")

_NOTHING: Final[Mapping[Any, Any]] = MappingProxyType({})


class Rows(NamedTuple):
    """The ledger as it stands, for reading only.

    Attributes:
        streaks: Streaks and windows by scope.
        totals: Failures ever recorded, by what they are counted for.
        halts: The halts in force, by scope.
    """

    streaks: Mapping[Scope, Row]
    totals: Mapping[Total, int]
    halts: Mapping[Scope, HaltRecord]


class Change(NamedTuple):
    """What one transaction writes.

    Attributes:
        streaks: New rows; None removes one.
        totals: New totals; None removes one.
        halts: New halts; None ends one.
        ended: Halts that ended, as the history keeps them.
        failure: Appended to the history of failures.
        keep: How many failures the history keeps.
        forget: Whether the history of failures is emptied first.
    """

    streaks: Mapping[Scope, Row | None] = _NOTHING
    totals: Mapping[Total, int | None] = _NOTHING
    halts: Mapping[Scope, HaltRecord | None] = _NOTHING
    ended: Sequence[HaltRecord] = ()
    failure: SignalGenerationFailure | None = None
    keep: int = 0
    forget: bool = False


class Touched(NamedTuple):
    """The rows that a transaction may read; None = the whole table."""

    streaks: Collection[Scope] | None = ()
    totals: Collection[Total] | None = ()
    halts: Collection[Scope] | None = ()


@runtime_checkable
class Store(Protocol):
    """Where a ledger lives; all methods may be called from any thread.

    Any method but the cheap ones (`live`, `halts`, `version`) may raise `StoreUnavailable`.
    """

    @property
    def live(self) -> Mapping[Scope, Row]:
        """The streak rows as last known here: read on the hot path, so no lock, no input or output."""

    @property
    def halts(self) -> Mapping[Scope, HaltRecord]:
        """The halts in force as last known here: read on the hot path, so no lock, no input or output."""

    @property
    def version(self) -> int:
        """A number that grows with every change that is known here: cheap to ask."""

    @property
    def latch(self) -> object:
        """What joined stores have in common: an object that can be held weakly."""

    @property
    def survives_restart(self) -> bool:
        """Whether a halt outlives this process."""

    def update(self, touched: Touched, change: Callable[[Rows], Change]) -> None:
        """Read rows, apply a change to them and write what it says, atomically; then tell the watchers.

        Args:
            touched: The rows that `change` looks at. A store may hand it more.
            change: A pure function; a store that cannot lock calls it again when another writer was quicker.
        """

    def read(self) -> Rows:
        """A consistent copy of all rows."""

    def failures(self) -> list[SignalGenerationFailure]:
        """The history of failures, the oldest first."""

    def ended(self) -> list[HaltRecord]:
        """The history of halts that ended, the oldest first."""

    def watch(self, watcher: Callable[[], None]) -> None:
        """Call a bound method after every change, outside of every lock; it is held weakly."""

    def joined(self) -> Self:
        """The store for one more tracker on the same latch: with its own counts, where counts are this process's."""


def open_store(spec: Store | str | None) -> Store:
    """The store that somebody named.

    Args:
        spec: A store, the URL of one (`"memory://"`), or None for a new one in memory.

    Raises:
        InvalidConfiguration: It is neither, or there is no store for such a URL.
    """
    from guarded.stores.memory import MemoryStore  # noqa: PLC0415  # each store is imported when it is asked for

    if spec is None or spec == "memory://":
        return MemoryStore()
    if isinstance(spec, str):
        raise InvalidConfiguration(f"store={spec!r}: expected 'memory://', the only URL that this version knows")
    if isinstance(spec, type) or not isinstance(spec, Store):
        raise InvalidConfiguration(f"store={spec!r}: expected a store such as MemoryStore(), or 'memory://'")
    return spec
