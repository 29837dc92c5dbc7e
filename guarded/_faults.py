"""Faults of our own and of the callables handed to us: caught where they happen, logged and counted here."""

from __future__ import annotations

import logging
import threading

from guarded._locks import ForkSafeLock
from guarded._pipeline import emit

LONGEST = 2_000

_lock = ForkSafeLock()
_count = 0


class _Telling(threading.local):
    """Whether this thread is telling of a fault."""

    active = False


_telling = _Telling()


def report(what: str, error: BaseException) -> None:
    """Log and count one fault that must not reach the host.

    Args:
        what: What failed and what was done instead, as a sentence without a full stop:
            "strategy= of Vwap.generate_signals raised; the failure is filed under 'unknown'".
        error: What it raised.
    """
    if _telling.active:  # the same fault, met again in masking what it says
        return
    _telling.active = True
    try:
        _tell(what, kind_of(error), describe(error))
    finally:
        _telling.active = False


def _tell(what: str, kind: str, message: str) -> None:
    global _count  # noqa: PLW0603  # one count per process is what the status reports
    with _lock:
        _count += 1
    fields = {"what": what, "error_type": kind, "error": message}
    emit(logging.WARNING, "guarded.internal_error", f"{what}: {kind}: {message}", fields)


def kind_of(error: BaseException) -> str:
    """The name of an exception's class."""
    from guarded._secrets import type_name  # noqa: PLC0415  # it reports its own faults here

    return type_name(type(error))


def describe(error: BaseException) -> str:
    """What an exception says, its secrets masked; a fixed text where its `__str__` raises."""
    from guarded._secrets import clean  # noqa: PLC0415  # it reports its own faults here

    try:
        return clean(str(error), LONGEST)
    except Exception:  # noqa: BLE001  # a hostile __str__ may raise anything
        return "<no text: its __str__ raised>"


def count() -> int:
    """How many faults this process has seen."""
    return _count
