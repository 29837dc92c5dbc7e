"""MemoryStore: a ledger in this process's memory, the default."""

from __future__ import annotations

import weakref
from collections import deque
from typing import TYPE_CHECKING, TypeVar

from guarded._locks import ForkSafeLock
from guarded.stores import Change, Rows, Store, Total, Touched

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from guarded._failure import SignalGenerationFailure
    from guarded._halt import HaltRecord
    from guarded._ledger import Row
    from guarded._scope import Scope

K = TypeVar("K")
V = TypeVar("V")

HALTS_KEPT = 1_000


class MemoryStore(Store):
    """A ledger in this process's memory: exact across threads and tasks, gone with the process.

    Trackers that are given the same `MemoryStore` share their counts as well as their halts.
    """

    def __init__(self) -> None:
        self._latch = _Latch()
        self._streaks: dict[Scope, Row] = {}
        self._totals: dict[Total, int] = {}
        self._failures: deque[SignalGenerationFailure] = deque()

    @property
    def live(self) -> Mapping[Scope, Row]:
        """The streak rows."""
        return self._streaks

    @property
    def halts(self) -> Mapping[Scope, HaltRecord]:
        """The halts in force."""
        return self._latch.halts

    @property
    def version(self) -> int:
        """Grows with every change."""
        return self._latch.version

    @property
    def latch(self) -> object:
        """What joined stores have in common."""
        return self._latch

    @property
    def survives_restart(self) -> bool:
        """A halt in memory does not."""
        return False

    def update(self, touched: Touched, change: Callable[[Rows], Change]) -> None:  # noqa: ARG002  # all rows are at hand
        """Apply a change under the lock; then tell the watchers."""
        latch = self._latch
        with latch.lock:
            while True:
                version = latch.version
                changes = change(Rows(self._streaks, self._totals, latch.halts))
                if latch.version == version:  # else a signal handler of this very thread made a change meanwhile
                    break
            latch.version += 1
            self._apply(changes)
        latch.tell_watchers()

    def _apply(self, change: Change) -> None:
        _write(self._streaks, change.streaks)
        _write(self._totals, change.totals)
        _write(self._latch.halts, change.halts)
        self._latch.ended.extend(change.ended)
        if change.forget:
            self._failures.clear()
        if change.failure is not None:
            self._failures.append(change.failure)
            while len(self._failures) > change.keep:
                self._failures.popleft()

    def read(self) -> Rows:
        """A consistent copy of all rows."""
        with self._latch.lock:
            return Rows(dict(self._streaks), dict(self._totals), dict(self._latch.halts))

    def failures(self) -> list[SignalGenerationFailure]:
        """The history of failures, the oldest first."""
        with self._latch.lock:
            return list(self._failures)

    def ended(self) -> list[HaltRecord]:
        """The last 1,000 halts that ended, the oldest first."""
        with self._latch.lock:
            return list(self._latch.ended)

    def watch(self, watcher: Callable[[], None]) -> None:
        """Call a bound method after every change; it is held weakly."""
        with self._latch.lock:
            self._latch.watchers.append(weakref.WeakMethod(watcher))

    def joined(self) -> MemoryStore:
        """A store with counts of its own and this one's halts."""
        other = MemoryStore()
        other._latch = self._latch
        return other


class _Latch:
    """What joined stores share: the halts, the lock and the watchers."""

    __slots__ = ("__weakref__", "ended", "halts", "lock", "version", "watchers")

    def __init__(self) -> None:
        self.lock = ForkSafeLock()
        self.halts: dict[Scope, HaltRecord] = {}
        self.ended: deque[HaltRecord] = deque(maxlen=HALTS_KEPT)
        self.version = 0
        self.watchers: list[weakref.WeakMethod[Callable[[], None]]] = []

    def tell_watchers(self) -> None:
        """Call those that are still there."""
        for reference in tuple(self.watchers):
            watcher = reference()
            if watcher is None:
                self._forget(reference)
            else:
                watcher()

    def _forget(self, reference: weakref.WeakMethod[Callable[[], None]]) -> None:
        with self.lock:
            self.watchers = [other for other in self.watchers if other is not reference]


def _write(table: dict[K, V], changes: Mapping[K, V | None]) -> None:
    for key, value in changes.items():
        if value is None:
            table.pop(key, None)
        else:
            table[key] = value
