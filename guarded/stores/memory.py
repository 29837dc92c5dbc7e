"""MemoryStore: a ledger in this process's memory, the default."""

from __future__ import annotations

from collections import deque
from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

from guarded._audit import here
from guarded._locks import ForkSafeLock
from guarded.stores import Change, Herald, Member, Rows, Store, Total, Touched
from guarded.stores._watchers import Watchers

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping
    from datetime import datetime

    from guarded._audit import AuditEntry
    from guarded._failure import SignalGenerationFailure
    from guarded._halt import HaltRecord
    from guarded._ledger import Row
    from guarded._scope import Scope

K = TypeVar("K")
V = TypeVar("V")

HALTS_KEPT = 1_000
AUDIT_KEPT = 10_000


class MemoryStore(Store):
    """A ledger in this process's memory: exact across threads and tasks, gone with the process.

    Trackers that are given the same `MemoryStore` share their counts as well as their halts. It keeps the last 1,000
    halts that ended, and the last 10,000 entries of the audit.
    """

    def __init__(self) -> None:
        self._latch = _Latch()
        self._streaks: dict[Scope, Row] = {}
        self._own: dict[Scope, Row] = {}
        self._totals: dict[Total, int] = {}
        self._failures: deque[SignalGenerationFailure] = deque()

    @property
    def live(self) -> Mapping[Scope, Row]:
        """The streak rows."""
        return self._streaks

    @property
    def own(self) -> Mapping[Scope, Row]:
        """The global streak, and windows of calls."""
        return self._own

    @property
    def halts(self) -> Mapping[Scope, HaltRecord]:
        """The halts in force."""
        return self._latch.halts

    @property
    def latch(self) -> object:
        """What joined stores have in common."""
        return self._latch

    @property
    def survives_restart(self) -> bool:
        """A halt in memory does not."""
        return False

    @property
    def awake(self) -> bool:
        """Memory is always up to date."""
        return True

    @property
    def lost(self) -> None:
        """Memory is never lost while the process runs."""
        return None

    def update(self, touched: Touched, change: Callable[[Rows], Change]) -> None:  # noqa: ARG002  # all rows are at hand
        """Apply a change under the lock; then tell the watchers."""
        latch = self._latch
        with latch.lock:
            while True:
                version = latch.version
                changes = change(Rows(self._streaks, self._own, latch.halts))
                if latch.version == version:  # else a signal handler of this very thread made a change meanwhile
                    break
            latch.version += 1
            appeared = self._apply(changes)
        latch.watchers.tell(appeared)

    def _apply(self, change: Change) -> bool:
        """Write a change; returns whether something appeared in it."""
        appeared = bool(change.halts) or not (
            change.streaks.keys() <= self._streaks.keys() and change.own.keys() <= self._own.keys()
        )
        if change.clear is not None:
            clear(self._streaks, change.clear)
            clear(self._own, change.clear)
        write(self._streaks, change.streaks)
        write(self._own, change.own)
        write(self._latch.halts, change.halts)
        self._latch.ended.extend(change.ended)
        self._latch.audit.extend(change.audit)
        if change.forget:
            self._failures.clear()
            self._totals.clear()
        for total in change.counted:
            self._totals[total] = self._totals.get(total, 0) + 1
        if change.failure is not None:
            self._failures.append(change.failure)
            while len(self._failures) > change.keep:
                self._failures.popleft()
        return appeared

    def read(self) -> Rows:
        """A consistent copy of all rows."""
        with self._latch.lock:
            return Rows(dict(self._streaks), dict(self._own), dict(self._latch.halts), dict(self._totals))

    def failures(self) -> list[SignalGenerationFailure]:
        """The history of failures, the oldest first."""
        with self._latch.lock:
            return list(self._failures)

    def ended(self) -> list[HaltRecord]:
        """The last 1,000 halts that ended, the oldest first."""
        with self._latch.lock:
            return list(self._latch.ended)

    def audit(self) -> list[AuditEntry]:
        """The last 10,000 entries, the oldest first."""
        with self._latch.lock:
            entries = list(self._latch.audit)
        return [replace(entry, origin=here()) for entry in entries]

    def members(self) -> list[Member]:
        """No process but this one knows the store."""
        return []

    def successes(self) -> Mapping[str, datetime]:
        """Not looked at in memory, where nobody else could read it."""
        return {}

    def unsettled(self) -> Collection[str]:
        """What is unsettled is known to the trackers of this process."""
        return ()

    def owes(self, episode: str) -> bool:  # noqa: ARG002  # there is no other process
        """It is always this process's."""
        return True

    def settle(self, episode: str) -> None:
        """Nothing to note."""

    def watch(self, watcher: Callable[[bool], None]) -> None:
        """Call a bound method after every change; it is held weakly."""
        self._latch.watchers.add(watcher)

    def serve(self, herald: Herald) -> None:
        """There are no other processes to tell of."""

    def joined(self) -> MemoryStore:
        """A store with counts of its own and this one's halts."""
        other = MemoryStore()
        other._latch = self._latch
        return other


class _Latch:
    """What joined stores share: the halts, their history and audit, the lock and the watchers."""

    __slots__ = ("__weakref__", "audit", "ended", "halts", "lock", "version", "watchers")

    def __init__(self) -> None:
        self.lock = ForkSafeLock()
        self.halts: dict[Scope, HaltRecord] = {}
        self.ended: deque[HaltRecord] = deque(maxlen=HALTS_KEPT)
        self.audit: deque[AuditEntry] = deque(maxlen=AUDIT_KEPT)
        self.version = 0
        self.watchers = Watchers()


def write(table: dict[K, V], changes: Mapping[K, V | None]) -> None:
    """Put new rows into a table, and take out those that are None."""
    for key, value in changes.items():
        if value is None:
            table.pop(key, None)
        else:
            table[key] = value


def clear(table: dict[Scope, V], scope: Scope) -> list[Scope]:
    """Take out what a scope covers; returns what that was."""
    covered = [other for other in table if scope.covers(other)]
    for other in covered:
        del table[other]
    return covered
