"""EmergencyHaltManager: the latch, for people and programs that halt trading and resume it."""

from __future__ import annotations

import weakref
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from guarded._callback import Finishing, finish
from guarded._clock import Clock, checked_clock
from guarded._errors import InvalidConfiguration
from guarded._events import Event, HaltTriggered, TradingResumed
from guarded._failure import FailureType, SignalGenerationFailure
from guarded._halt import HaltLevel, HaltRecord, HaltTrigger, also, covering, latched
from guarded._interrupts import take_all
from guarded._listeners import Listeners
from guarded._locks import ForkSafeLock
from guarded._log import HaltLog, halted_already, nothing_to_resume
from guarded._policies import checked_level
from guarded._scope import EVERYTHING, Scope, checked_scope
from guarded._secrets import text_of
from guarded._stack import MESSAGE
from guarded.stores import Change, Rows, Store, Touched, open_store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from guarded._callback import Unfinished


class Attached(Protocol):
    """What a halt manager asks of a tracker that shares its latch."""

    def _tell(self, events: Iterable[Event]) -> None: ...
    def _clear_streaks(self, scope: Scope) -> None: ...
    def _start_callback(self, halt: HaltRecord) -> list[Unfinished]: ...
    def _retry_callback(self) -> list[Unfinished]: ...
    @property
    def _callback_function(self) -> object: ...
    @property
    def callback_pending(self) -> bool: ...


# By latch, not by manager: managers on the same store speak for the same trackers.
_by_latch: weakref.WeakKeyDictionary[object, list[weakref.ref[Attached]]] = weakref.WeakKeyDictionary()
_lock = ForkSafeLock()


def _attached_to(latch: object) -> list[weakref.ref[Attached]]:
    with _lock:
        return _by_latch.setdefault(latch, [])


class EmergencyHaltManager:
    """Halts trading by hand, resumes it, and says how things stand.

    Every `FailureTracker` has one (`tracker.halt_manager`), and they share one latch: what the manager halts is
    refused by guarded calls just as after a threshold, and a threshold's halt is seen here.

    A halt stops guarded calls. It cancels no order and closes no position, unless the halt callback does.

    Args:
        store: Where the latch lives: a store, a URL such as `"memory://"`, or None for this process's memory.
        clock: Stamps halts; by default the machine's.
    """

    def __init__(self, store: Store | str | None = None, *, clock: Clock | None = None) -> None:
        self.store = open_store(store)
        self.clock: Clock = checked_clock(clock)
        self._attached = _attached_to(self.store.latch)
        self._log = Listeners(HaltLog(survives_restart=self.store.survives_restart))

    # -- halting

    def trigger_halt(
        self,
        reason: str,
        trigger_type: str = HaltTrigger.MANUAL,
        *,
        strategy: str | None = None,
        symbol: str | None = None,
        level: HaltLevel | str = HaltLevel.HALTED,
        by: str | None = None,
    ) -> bool:
        """Halt trading now; the halt callback of the attached trackers runs, as after a threshold.

        Args:
            reason: Why, for whoever has to decide on resuming.
            trigger_type: A `HaltTrigger` or any other text.
            strategy: Halt this strategy only.
            symbol: Halt this symbol only; with `strategy`, only the two together.
            level: A `HaltLevel` or its value.
            by: Who halts it.

        Returns:
            True if this call halted trading or made a halt stricter; False if it was halted so already: then the
            reason is added to that halt's, for whoever resumes, and logged.

        Raises:
            InvalidConfiguration: The level does not exist, or a name is empty.
        """
        scope = checked_scope(strategy, symbol)
        new = self._by_hand(
            scope,
            checked_level(level, "level"),
            text_of(reason, MESSAGE),
            text_of(trigger_type, MESSAGE),
            None if by is None else text_of(by, MESSAGE),
        )
        latch = _Latching(new)
        self.store.update(Touched(halts=(scope,)), latch)
        if latch.triggered is None:
            halted_already(new, self.store.halts.get(scope))
            return False
        finish(self.announce([latch.triggered]))
        return True

    def _by_hand(self, scope: Scope, level: HaltLevel, reason: str, trigger_type: str, by: str | None) -> HaltRecord:
        now = self.clock.now()
        stand_in = SignalGenerationFailure(
            strategy_name=scope.strategy or "everything",
            symbol=scope.symbol or "everything",
            error_message=f"halted by {by or 'a program'} ({trigger_type}): {reason}",
            failure_type=FailureType.UNKNOWN_ERROR,
            timestamp=now,
        )
        return HaltRecord(scope, level, reason, trigger_type, now, by, stand_in, by_hand=True)

    def announce(self, triggered: Sequence[HaltTriggered]) -> list[Unfinished]:
        """Tell everybody of halts that were latched, and run each distinct halt callback once per new episode.

        Returns:
            The asynchronous callbacks that are left to await.
        """
        unfinished: list[Unfinished] = []
        if not triggered:
            return unfinished
        steps: list[Callable[[], object]] = [partial(self._tell, triggered)]
        for event in triggered:
            if not event.escalated:
                steps += [partial(_start, tracker, event.halt, unfinished) for tracker in self._distinct()]
        with Finishing(unfinished):
            take_all(steps)
        return unfinished

    def _distinct(self) -> list[Attached]:
        """The trackers; of those that have the same halt callback, the first."""
        found: list[Attached] = []
        for tracker in self._trackers():
            if not any(_same(tracker._callback_function, other._callback_function) for other in found):
                found.append(tracker)
        return found

    def retry_callbacks(self) -> list[Unfinished]:
        """Run the halt callbacks again, of whichever tracker, that raised and whose wait is over.

        Returns:
            The asynchronous callbacks that are left to await.
        """
        unfinished: list[Unfinished] = []
        with Finishing(unfinished):
            for tracker in self._trackers():
                unfinished += tracker._retry_callback()
        return unfinished

    def in_force(self, halt: HaltRecord) -> bool:
        """Whether the episode of this halt is still under way."""
        current = self.store.halts.get(halt.scope)
        return current is not None and current.episode == halt.episode

    # -- resuming

    def resume_trading(
        self, *, by: str, reason: str, strategy: str | None = None, symbol: str | None = None
    ) -> tuple[HaltRecord, ...]:
        """Clear one halt, and the streaks of its scope in every tracker attached.

        Without names, the global halt; a strategy's or symbol's halt stays until it is resumed by its names.

        Args:
            by: Who resumes trading.
            reason: Why it is safe again.
            strategy: The strategy whose halt is cleared.
            symbol: The symbol whose halt is cleared.

        Returns:
            The halts that are still in force.

        Raises:
            InvalidConfiguration: `by` or `reason` is empty, or a name is.
        """
        for field, value in (("by", by), ("reason", reason)):
            if not isinstance(value, str) or not value.strip():
                raise InvalidConfiguration(f"{field}={value!r}: trading is resumed on the record, so say who and why")
        scope = checked_scope(strategy, symbol)
        if scope in self.store.halts:
            self._resume(scope, text_of(by, MESSAGE), text_of(reason, MESSAGE))
        else:
            nothing_to_resume(scope, text_of(by, MESSAGE), self.store.halts)
        return tuple(self.store.read().halts.values())

    def _resume(self, scope: Scope, by: str, reason: str) -> None:
        for tracker in self._trackers():  # before the latch opens, so that an old streak cannot close it again
            tracker._clear_streaks(scope)
        ending = _Ending(scope, replace_with=lambda halt: self._ended(halt, by, reason))
        self.store.update(Touched(streaks=None, halts=(scope,)), ending)
        if ending.ended is not None:
            self._tell([TradingResumed(ending.ended, by, reason)])

    def _ended(self, halt: HaltRecord, by: str, reason: str) -> HaltRecord:
        return replace(halt, resumed_at=self.clock.now(), resumed_by=by, resume_reason=reason)

    # -- how things stand

    def is_halted(self, strategy: str | None = None, symbol: str | None = None) -> bool:
        """Whether everything in this scope is halted, at whatever level; without names: whether everything is."""
        return bool(covering(self.store.halts, Scope(strategy, symbol)))

    @property
    def history(self) -> tuple[HaltRecord, ...]:
        """The halts that ended, the oldest first, then those in force."""
        return (*self.store.ended(), *self.store.read().halts.values())

    def get_halt_status(self) -> dict[str, Any]:
        """How things stand, JSON-ready; `is_halted` and the details are those of the global halt, if there is one."""
        halts = self.store.read().halts
        halt = halts.get(EVERYTHING)
        return {
            "is_halted": halt is not None,
            "level": halt and halt.level.value,
            "halt_reason": halt and halt.reason,
            "trigger_type": halt and halt.trigger_type,
            "halted_since": halt and halt.since.isoformat(),
            "halted_by": halt and halt.by,
            "scope": halt and str(halt.scope),
            "callback_pending": any(tracker.callback_pending for tracker in self._trackers()),
            "halts": [other.to_dict() for other in halts.values()],
        }

    def get_halt_summary(self) -> str:
        """How things stand, as text."""
        halts = self.store.read().halts
        lines = ["Trading Halt Status", "=" * 50]
        if not halts:
            lines.append("Status: Active (no halt)")
        for halt in halts.values():
            lines += describe(halt)
        return "\n".join(lines)

    # -- the trackers on this latch

    def attach(self, tracker: Attached) -> None:
        """Tell a tracker, held weakly, of what happens to the latch; a `FailureTracker` does this itself."""
        with _lock:
            alive = [reference for reference in self._attached if reference() is not None]
            self._attached[:] = [*alive, weakref.ref(tracker)]

    def _trackers(self) -> list[Attached]:
        with _lock:
            found = [reference() for reference in self._attached]
        return [tracker for tracker in found if tracker is not None]

    def _tell(self, events: Sequence[Event]) -> None:
        listening = (self._log.tell, *(tracker._tell for tracker in self._trackers()))
        take_all(partial(tell, events) for tell in listening)


def describe(halt: HaltRecord) -> list[str]:
    """A halt as lines of a summary."""
    by = f" by {halt.by}" if halt.by else ""
    return [
        f"Status: HALTED ({halt.scope}, level {halt.level})",
        f"  Reason: {halt.reason}",
        f"  Since: {halt.since.isoformat()}{by} ({halt.trigger_type})",
    ]


def _start(tracker: Attached, halt: HaltRecord, unfinished: list[Unfinished]) -> None:
    unfinished += tracker._start_callback(halt)


def _same(one: object, other: object) -> bool:
    """Whether two callbacks are one; bound methods are equal, not identical."""
    try:
        return bool(one == other)
    except Exception:  # noqa: BLE001  # a callable object's __eq__ may raise anything
        return one is other


class _Latching:
    """The transaction that halts one scope."""

    def __init__(self, new: HaltRecord) -> None:
        self._new = new
        self.triggered: HaltTriggered | None = None

    def __call__(self, rows: Rows) -> Change:
        current = rows.halts.get(self._new.scope)
        halt = latched(current, self._new)
        if current is not None and halt is None:
            self.triggered = None
            return Change(halts={current.scope: also(current, self._new)})
        assert halt is not None  # noqa: S101  # without a current halt the new one is latched
        self.triggered = HaltTriggered(halt, halt.failure, escalated=current is not None)
        return Change(halts={halt.scope: halt})


class _Ending:
    """The transaction that ends the halt of one scope, and its streaks in the manager's own store."""

    def __init__(self, scope: Scope, replace_with: Callable[[HaltRecord], HaltRecord]) -> None:
        self._scope = scope
        self._replace_with = replace_with
        self.ended: HaltRecord | None = None

    def __call__(self, rows: Rows) -> Change:
        halt = rows.halts.get(self._scope)
        self.ended = None if halt is None else self._replace_with(halt)
        if self.ended is None:
            return Change()
        streaks = {scope: None for scope in rows.streaks if self._scope.covers(scope)}
        return Change(streaks, halts={self._scope: None}, ended=(self.ended,))
