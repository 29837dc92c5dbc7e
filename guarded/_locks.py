"""Locks that a forked child finds open, whatever the parent's threads were doing at the time."""

from __future__ import annotations

import os
import threading
import weakref


class ForkSafeLock:
    """A lock for `with`.

    A child process gets a new one, for the thread that held it does not exist there. A thread may take it again, for a
    signal handler that halts trading runs in the midst of whatever the main thread is doing.
    """

    __slots__ = ("__weakref__", "_lock")

    def __init__(self) -> None:
        self.renew()
        _locks.add(self)

    def renew(self) -> None:
        """Start again with an open lock."""
        self._lock = threading.RLock()

    def __enter__(self) -> None:
        self._lock.acquire()

    def __exit__(self, *exc_info: object) -> None:
        self._lock.release()


_locks: weakref.WeakSet[ForkSafeLock] = weakref.WeakSet()


def _renew_all() -> None:  # pragma: no cover  # it runs in forked children, which tests/test_locks.py looks at
    for lock in list(_locks):
        lock.renew()


if hasattr(os, "register_at_fork"):  # pragma: no branch  # Windows has no fork
    os.register_at_fork(after_in_child=_renew_all)
