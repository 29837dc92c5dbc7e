"""Watchers: bound methods that are called after every change of a store, and not kept alive by it."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING

from guarded._locks import ForkSafeLock

if TYPE_CHECKING:
    from collections.abc import Callable


class Watchers:
    """Bound methods, held weakly."""

    __slots__ = ("_lock", "_references")

    def __init__(self) -> None:
        self._lock = ForkSafeLock()
        self._references: list[weakref.WeakMethod[Callable[[bool], None]]] = []

    def add(self, watcher: Callable[[bool], None]) -> None:
        """Call it from now on."""
        with self._lock:
            self._references.append(weakref.WeakMethod(watcher))

    def tell(self, appeared: bool) -> None:
        """Call those that are still there."""
        for reference in tuple(self._references):
            watcher = reference()
            if watcher is None:
                self._forget(reference)
            else:
                watcher(appeared)

    def _forget(self, reference: weakref.WeakMethod[Callable[[bool], None]]) -> None:
        with self._lock:
            self._references = [other for other in self._references if other is not reference]
