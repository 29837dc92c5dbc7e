"""Logging: the listeners that turn events into log records, and the few records that are no event."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from guarded import _faults
from guarded._events import (
    Event,
    HaltCallbackFailed,
    HaltTriggered,
    SignalFailed,
    SignalRecovered,
    SignalRefused,
    TradingResumed,
)
from guarded._halt import HaltLevel
from guarded._locks import ForkSafeLock
from guarded._pipeline import emit, is_wanted
from guarded._secrets import clean

if TYPE_CHECKING:
    from collections.abc import Collection
    from datetime import timedelta

    from guarded._errors import StoreUnavailable
    from guarded._failure import SignalGenerationFailure
    from guarded._halt import HaltRecord
    from guarded._scope import Scope


class SignalLog:
    """Logs what happens to the signals of one tracker; of refusals the first of each key and episode."""

    def __init__(self) -> None:
        self._refused: dict[str, set[Scope]] = {}
        self._lock = ForkSafeLock()

    def __call__(self, event: Event) -> None:
        """Log an event, if it is one of these."""
        match event:
            case SignalFailed():
                _signal_failed(event)
            case SignalRecovered():
                _signal_recovered(event)
            case SignalRefused(key=key, halt=halt):
                if self._is_first(key, halt):
                    _signal_refused(key, halt)
            case HaltCallbackFailed():
                _halt_callback_failed(event)
            case TradingResumed(halt=halt):
                with self._lock:
                    self._refused.pop(halt.episode, None)

    def _is_first(self, key: Scope, halt: HaltRecord) -> bool:
        with self._lock:
            refused = self._refused.setdefault(halt.episode, set())
            known = len(refused)
            refused.add(key)
            return len(refused) > known


class HaltLog:
    """Logs the halts and resumes of one halt manager.

    Args:
        survives_restart: Whether its store outlives the process; if not, the announcement of a halt says so.
    """

    def __init__(self, *, survives_restart: bool) -> None:
        self._survives_restart = survives_restart

    def __call__(self, event: Event) -> None:
        """Log an event, if it is one of these."""
        match event:
            case HaltTriggered():
                _trading_halted(event, survives_restart=self._survives_restart)
            case TradingResumed():
                _trading_resumed(event)


def _named(failure: SignalGenerationFailure) -> dict[str, Any]:
    return {
        "strategy": failure.strategy_name,
        "symbol": failure.symbol,
        "failure_type": failure.failure_type.value,
        "error_type": failure.error_type,
        "error": failure.error_message,
    }


def progress(streak: int, threshold: int | None) -> str:
    """A streak as people read it: `1/3`, or `1` where there is no threshold."""
    return str(streak) if threshold is None else f"{streak}/{threshold}"


def _signal_failed(event: SignalFailed) -> None:
    if not is_wanted(logging.ERROR):  # this one runs at every failure
        return
    failure = event.failure
    streak = progress(event.streak, event.threshold)
    text = (
        f"[FAILURE] {failure.strategy_name} failed for {failure.symbol}: {failure.error}"
        f" [{failure.failure_type}]. Consecutive failures: {streak}"
    )
    fields = {
        **_named(failure),
        "consecutive": event.streak,
        "threshold": event.threshold,
        "failure_id": failure.failure_id,
    }
    emit(logging.ERROR, "guarded.signal_failed", text, fields, lambda: failure.stack_trace)


def _signal_recovered(event: SignalRecovered) -> None:
    times = "1 failure" if event.failures == 1 else f"{event.failures} failures"
    text = f"{event.key.strategy} recovered for {event.key.symbol} after {times}"
    fields = {**event.key.to_dict(), "failures": event.failures}
    emit(logging.INFO, "guarded.signal_recovered", text, fields)


def _signal_refused(key: Scope, halt: HaltRecord) -> None:
    text = f"{key} is refused: trading is halted for {halt.scope} since {halt.since.isoformat()}: {halt.reason}"
    fields = {**key.to_dict(), "reason": halt.reason, "since": halt.since.isoformat(), "halt_scope": str(halt.scope)}
    emit(logging.WARNING, "guarded.signal_refused", text, fields)


def _trading_halted(event: HaltTriggered, *, survives_restart: bool) -> None:
    halt = event.halt
    fields = {
        **_named(event.failure),
        "consecutive": halt.consecutive,
        "threshold": halt.threshold,
        "reason": halt.reason,
        "trigger_type": halt.trigger_type,
        "halt_level": halt.level.value,  # structlog's add_log_level says "level"
        "halt_scope": str(halt.scope),
        "by": halt.by,
        "escalated": event.escalated,
        "survives_restart": survives_restart,
    }
    text = announcement(event, survives_restart=survives_restart)
    emit(logging.CRITICAL, "guarded.trading_halted", text, fields)


def announcement(event: HaltTriggered, *, survives_restart: bool) -> str:
    """The announcement of a halt as people read it."""
    halt, failure = event.halt, event.failure
    verb = "raised to" if event.escalated else "at"
    lines = [
        f"EMERGENCY HALT: trading is halted for {halt.scope}, {verb} level {halt.level}",
        f"   Reason: {halt.reason}",
    ]
    if halt.consecutive is not None:
        lines.append(f"   Consecutive failures: {halt.consecutive} (threshold {halt.threshold})")
    if halt.by_hand:
        lines.append(f"   By: {halt.by or 'a program'} ({halt.trigger_type})")
    else:
        lines += [f"   Strategy: {failure.strategy_name}", f"   Symbol: {failure.symbol}", f"   Error: {failure.error}"]
    but = ", but for those that only reduce positions," if halt.level is HaltLevel.REDUCING else ""
    lines.append(f"   Guarded calls{but} are refused until somebody resumes trading with a name and a reason.")
    if not survives_restart:
        lines.append("   The halt is kept in this process's memory: a restart forgets it.")
    return "\n".join(lines)


def _trading_resumed(event: TradingResumed) -> None:
    halt = event.halt
    text = (
        f"Trading resumed for {halt.scope} by {event.by}: {event.reason}"
        f" (halted since {halt.since.isoformat()}: {halt.reason})"
    )
    fields = {"by": event.by, "reason": event.reason, "halt_scope": str(halt.scope), "halt_reason": halt.reason}
    emit(logging.WARNING, "guarded.trading_resumed", text, fields)


def _halt_callback_failed(event: HaltCallbackFailed) -> None:
    kind, message = _faults.kind_of(event.error), _faults.describe(event.error)
    text = f"The halt callback raised {kind}: {message}. It is tried again for as long as trading stays halted."
    fields = {"error_type": kind, "error": message, "reason": event.halt.reason, "halt_scope": str(event.halt.scope)}
    emit(logging.CRITICAL, "guarded.halt_callback_failed", text, fields)


def threshold_reached_while_halted(failure: SignalGenerationFailure, halt: HaltRecord, reason: str) -> None:
    """Log that a policy's limit was reached by a scope that is halted already."""
    text = f"{reason}, last by {failure.strategy_name} for {failure.symbol}; {halt.scope} is halted already"
    fields = {**_named(failure), "reason": reason, "halt_reason": halt.reason}
    emit(logging.WARNING, "guarded.threshold_reached_while_halted", text, fields)


def halted_already(asked: HaltRecord, halt: HaltRecord | None) -> None:
    """Log that somebody halted what is halted already: their reason is to be known before trading is resumed."""
    by = asked.by or "a program"
    text = f"{by} ({asked.trigger_type}) halts {asked.scope}, which is halted already: {asked.reason}"
    fields = {"by": asked.by, "trigger_type": asked.trigger_type, "halt_scope": str(asked.scope)}
    now = None if halt is None else halt.reason
    emit(logging.WARNING, "guarded.halted_already", text, {**fields, "reason": asked.reason, "halt_reason": now})


def halted_at_start(halts: Collection[HaltRecord]) -> None:
    """Warn that a tracker starts halted: no event tells of it, for nothing has happened."""
    for halt in halts:
        text = f"Trading is still halted for {halt.scope} since {halt.since.isoformat()}: {halt.reason}"
        fields = {"halt_scope": str(halt.scope), "since": halt.since.isoformat(), "reason": halt.reason}
        emit(logging.WARNING, "guarded.halted_at_start", text, fields)


def callback_taken_over(halt: HaltRecord) -> None:
    """Log that this process runs the halt callback that another one left undone."""
    text = f"The halt callback of {halt.scope} was left undone by another process; this one runs it: {halt.reason}"
    fields = {"halt_scope": str(halt.scope), "reason": halt.reason}
    emit(logging.WARNING, "guarded.halt_callback_taken_over", text, fields)


def store_lost(why: StoreUnavailable) -> None:
    """Announce that counts and halts are kept in this process alone, until the store is back."""
    text = (
        f"The store is away: {str(why).rstrip('.?')}. This process goes on counting by itself and still halts at the"
        " threshold; other processes do not see it until the store is back."
    )
    emit(logging.CRITICAL, "guarded.store_lost", text, {"error": str(why)})


def store_back(merged: int) -> None:
    """Log that the store is back."""
    changes = "1 change that was" if merged == 1 else f"{merged} changes that were"
    text = f"The store is back; {changes} made here meanwhile {'is' if merged == 1 else 'are'} in it now."
    emit(logging.WARNING, "guarded.store_back", text, {"merged": merged})


def change_set_aside(change: str, why: StoreUnavailable) -> None:
    """Announce that a change cannot be carried out, so that those after it can."""
    text = f"A change is lost, for the store does not take it: {why}. It was: {clean(change, 2_000)}"
    emit(logging.CRITICAL, "guarded.change_set_aside", text, {"error": str(why)})


def store_left(changes: int, why: StoreUnavailable | None) -> None:
    """Announce that the process ends before it could tell the store what it knows."""
    text = f"{changes} changes are lost with this process, for its store is away: {why}"
    emit(logging.CRITICAL, "guarded.store_left", text, {"changes": changes, "error": str(why)})


def store_forgets(where: str) -> None:
    """Warn that a server may forget what it was told."""
    text = (
        f"{where} writes no append-only file: what it was told since its last snapshot, it forgets when it restarts,"
        " and a halt is then known to the processes that run, if any do. Set appendonly yes, and appendfsync always"
        " or everysec."
    )
    emit(logging.WARNING, "guarded.store_forgets", text, {"store": where})


def nothing_to_resume(scope: Scope, by: str, halts: Collection[Scope]) -> None:
    """Warn that somebody resumed what is not halted, and name what is."""
    halted = ", ".join(map(str, halts)) or "nothing"
    text = f"{by} resumed trading for {scope}, which is not halted; halted is: {halted}"
    emit(logging.WARNING, "guarded.nothing_to_resume", text, {"by": by, "halt_scope": str(scope), "halted": halted})


def tracker_replaced_while_halted(halts: Collection[Scope]) -> None:
    """Warn that the shared tracker was replaced by one that does not know of its halts."""
    halted = ", ".join(map(str, halts))
    text = f"The shared tracker was replaced while trading was halted for {halted}; the new tracker is not halted"
    emit(logging.WARNING, "guarded.tracker_replaced_while_halted", text, {"halted": halted})


def nothing_guarded(target: str, module: str, misses: str) -> None:
    """Warn that a pattern has guarded nothing so far, although a module has names that are like it."""
    text = f"instrument({target!r}) has guarded nothing so far; {module} has nothing of it{misses}"
    emit(logging.WARNING, "guarded.nothing_guarded", text, {"target": target, "module": module})


def reset_window_too_short(failure: SignalGenerationFailure, window: timedelta) -> None:
    """Warn that a strategy which keeps failing never halts, because its failures come too far apart."""
    text = (
        f"{failure.strategy_name} for {failure.symbol} keeps failing with no success between, but too far apart"
        f" to count as consecutive: the window is {window}. Use a window longer than the time between two calls,"
        " or None (reset_window= of the tracker, within= of a policy)."
    )
    fields = {"strategy": failure.strategy_name, "symbol": failure.symbol, "window": str(window)}
    emit(logging.WARNING, "guarded.reset_window_too_short", text, fields)
