"""Exemptions: the guards that run while trading is halted, or have rules that count less; the audit names them."""

from __future__ import annotations

import weakref
from typing import Protocol

from guarded._locks import ForkSafeLock


class Dependent(Protocol):
    """Who writes them down."""

    def _exempted(self, what: str) -> None: ...


_known: list[str] = []
_dependents: weakref.WeakSet[Dependent] = weakref.WeakSet()
_lock = ForkSafeLock()


def note(what: str) -> None:
    """Know of one more, and tell who writes them down."""
    with _lock:
        if what in _known:
            return
        _known.append(what)
        dependents = list(_dependents)
    for dependent in dependents:
        dependent._exempted(what)


def known() -> list[str]:
    """Those that there are."""
    return list(_known)


def add_dependent(dependent: Dependent) -> None:
    """Tell an object, held weakly, of those that come."""
    with _lock:
        _dependents.add(dependent)
