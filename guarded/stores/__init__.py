"""Store: where a ledger lives. A store brings atomicity and persistence, never counting rules of its own."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol, runtime_checkable

from guarded._errors import InvalidConfiguration

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from datetime import datetime
    from typing import Self

    from guarded._audit import AuditEntry
    from guarded._errors import StoreUnavailable
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
        streaks: Streaks by scope, of all processes on the store.
        own: Streaks and windows by scope that are this process's own.
        halts: The halts in force, by scope.
        totals: Failures ever recorded, by what they are counted for; empty within a transaction.
    """

    streaks: Mapping[Scope, Row]
    own: Mapping[Scope, Row]
    halts: Mapping[Scope, HaltRecord]
    totals: Mapping[Total, int] = _NOTHING


class Change(NamedTuple):
    """What one transaction writes.

    Attributes:
        clear: The scope whose streaks are removed first, with those of all that it covers.
        streaks: New rows; None removes one.
        own: New rows of what is this process's own.
        halts: New halts; None ends one.
        claim: Whether this process runs the halt callbacks of halts that are new.
        settled: Episodes whose halt callbacks have run to their end.
        ended: Halts that ended, as the history keeps them.
        counted: Totals that grow by one.
        failure: Appended to the history of failures.
        keep: How many failures the history keeps.
        forget: Whether the history of failures and the totals are emptied first.
        audit: Appended to the audit.
    """

    clear: Scope | None = None
    streaks: Mapping[Scope, Row | None] = _NOTHING
    own: Mapping[Scope, Row | None] = _NOTHING
    halts: Mapping[Scope, HaltRecord | None] = _NOTHING
    claim: bool = False
    settled: Collection[str] = ()
    ended: Sequence[HaltRecord] = ()
    counted: Sequence[Total] = ()
    failure: SignalGenerationFailure | None = None
    keep: int = 0
    forget: bool = False
    audit: Sequence[AuditEntry] = ()

    def only_own(self) -> bool:
        """Whether it writes nothing that other processes share."""
        return self == Change(own=self.own)


class Touched(NamedTuple):
    """The scopes of the rows that a transaction reads; it may write others."""

    streaks: Collection[Scope] = ()
    halts: Collection[Scope] = ()
    own: Collection[Scope] = ()


class Member(NamedTuple):
    """A process that is on the store.

    Attributes:
        identity: Tells it apart from all others.
        host: Its machine.
        pid: Its number there.
        started: When it opened the store.
        seen: When it was last heard of.
        refusals: How many guarded calls it has refused.
        has_callback: Whether it would run a halt callback.
    """

    identity: str
    host: str
    pid: int
    started: datetime
    seen: datetime
    refusals: int = 0
    has_callback: bool = False


class Herald(Protocol):
    """What a store tells of what other processes did, and asks of this one."""

    def halted_elsewhere(self, halt: HaltRecord, *, escalated: bool) -> None:
        """Another process halted trading, or made a halt stricter."""

    def resumed_elsewhere(self, halt: HaltRecord) -> None:
        """Another process resumed trading; the record says who and why."""

    def run_callbacks(self, halt: HaltRecord) -> None:
        """Run the halt callbacks of an episode whose process left them undone."""

    def retry(self) -> None:
        """Run those again that raised and whose wait is over."""

    def sees_to(self, halt: HaltRecord) -> bool:
        """Whether a halt callback is under way, or will be tried again, for an episode."""

    def forked(self) -> None:
        """Leave to the parent the halt callbacks that it has to see to."""

    def has_callback(self) -> bool:
        """Whether this process has a halt callback."""

    def store_lost(self, why: StoreUnavailable) -> None:
        """The store is away; what is counted from now on is counted here."""

    def store_back(self, merged: int) -> None:
        """The store is back, and so many changes that were made meanwhile are in it."""

    def refusals(self) -> int:
        """How many guarded calls this process has refused."""

    def take_successes(self, *, anew: bool) -> Mapping[str, datetime]:
        """When strategies last succeeded, as far as was seen since this was last asked; may begin to look anew."""


@runtime_checkable
class Store(Protocol):
    """Where a ledger lives; all methods may be called from any thread.

    `read` and what follows it may raise `StoreUnavailable`; `update` does not: a store that is lost while the process
    runs goes on with what this process knows, and merges it when it is back.
    """

    @property
    def live(self) -> Mapping[Scope, Row]:
        """The shared streak rows as last known here: read on the hot path, so no lock, no input or output."""

    @property
    def own(self) -> Mapping[Scope, Row]:
        """The rows that are this process's own; likewise."""

    @property
    def halts(self) -> Mapping[Scope, HaltRecord]:
        """The halts in force as last known here; likewise."""

    @property
    def latch(self) -> object:
        """What joined stores have in common: an object that can be held weakly."""

    @property
    def survives_restart(self) -> bool:
        """Whether a halt outlives this process."""

    @property
    def awake(self) -> bool:
        """Whether what is known here is kept up to date; in a forked child only once the store has been asked."""

    @property
    def lost(self) -> StoreUnavailable | None:
        """Why the store is away at the moment; None = it is not."""

    def update(self, touched: Touched, change: Callable[[Rows], Change]) -> None:
        """Read rows, apply a change to them and write what it says, atomically; then tell the watchers.

        Args:
            touched: The rows that `change` looks at. A store may hand it more.
            change: A pure function; it is called again when another writer was quicker, and when a store that was
                lost is back.
        """

    def read(self) -> Rows:
        """A consistent copy of all rows."""

    def failures(self) -> list[SignalGenerationFailure]:
        """The history of failures, the oldest first."""

    def ended(self) -> list[HaltRecord]:
        """The history of halts that ended, the oldest first."""

    def audit(self) -> list[AuditEntry]:
        """The audit, the oldest first."""

    def members(self) -> list[Member]:
        """The processes that are on the store; none for a store in memory."""

    def successes(self) -> Mapping[str, datetime]:
        """When each strategy last succeeded, in any process, to within half a minute; empty for a store in memory."""

    def unsettled(self) -> Collection[str]:
        """The episodes whose halt callback is known not to have run to its end, in any process."""

    def owes(self, episode: str) -> bool:
        """Whether the halt callback of an episode is this process's to run, and not another one's."""

    def settle(self, episode: str) -> None:
        """Note that the halt callbacks of an episode have run to their end; never raises."""

    def watch(self, watcher: Callable[[bool], None]) -> None:
        """Call a bound method after every change, outside of every lock; it is held weakly.

        It is given whether something has appeared that calls must look out for: a streak, a halt, an end of one.
        """

    def serve(self, herald: Herald) -> None:
        """Tell this herald, held weakly, of what other processes do; the first one that is alive is told."""

    def joined(self) -> Self:
        """The store for one more tracker on the same latch: with its own counts, where counts are this process's."""


def open_store(spec: Store | str | None) -> Store:
    """The store that somebody named.

    Args:
        spec: A store, the URL of one, or None for a new one in memory. The URLs are `"memory://"`,
            `"sqlite:///guarded.db"` (a path from here; `"sqlite:////var/lib/guarded.db"` from the root) and
            `"redis://host:6379/0"` or `"rediss://..."`; what follows a `?` are settings of the store. One URL is one
            store within a process.

    Raises:
        InvalidConfiguration: It is neither, or there is no store for such a URL.
        StoreUnavailable: The store cannot be opened.
    """
    from guarded.stores import _urls  # noqa: PLC0415  # each store is imported when it is asked for
    from guarded.stores.memory import MemoryStore  # noqa: PLC0415  # the same

    if spec is None or spec == "memory://":
        return MemoryStore()
    if isinstance(spec, str):
        return _urls.opened(spec)
    if isinstance(spec, type) or not isinstance(spec, Store):
        raise InvalidConfiguration(f"store={spec!r}: expected a store such as MemoryStore(), or {_urls.EXPECTED}")
    return spec
