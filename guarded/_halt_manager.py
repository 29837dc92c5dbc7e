"""EmergencyHaltManager: the latch, for people and programs that halt trading and resume it."""

from __future__ import annotations

import weakref
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Protocol

from guarded import _log
from guarded._audit import AuditEntry
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
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from datetime import datetime

    from guarded._callback import Unfinished
    from guarded._errors import StoreUnavailable


class Attached(Protocol):
    """What a halt manager asks of a tracker that shares its latch."""

    def _tell(self, events: Iterable[Event]) -> None: ...
    def _clear_streaks(self, scope: Scope) -> None: ...
    def _expect_callback(self, halt: HaltRecord) -> None: ...
    def _expects_callback(self, halt: HaltRecord) -> bool: ...
    def _forget_callbacks(self) -> None: ...
    def _start_callback(self, halt: HaltRecord) -> list[Unfinished]: ...
    def _retry_callback(self) -> list[Unfinished]: ...
    @property
    def _callback_function(self) -> object: ...
    def _take_successes(self, *, anew: bool) -> dict[str, datetime]: ...
    @property
    def callback_pending(self) -> bool: ...
    @property
    def refusals(self) -> int: ...
    @property
    def on_store_loss(self) -> str: ...
    @property
    def _store(self) -> Store: ...


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
        store: Where the latch lives: a store, its URL (`"sqlite:///guarded.db"`, `"redis://..."`, `"memory://"`), or
            None for this process's memory.
        clock: Stamps halts; by default the machine's.

    Raises:
        InvalidConfiguration: The store is none.
        StoreUnavailable: The store cannot be opened.
    """

    def __init__(self, store: Store | str | None = None, *, clock: Clock | None = None) -> None:
        self.store = open_store(store)
        self.clock: Clock = checked_clock(clock)
        self._attached = _attached_to(self.store.latch)
        self._log = Listeners(HaltLog(survives_restart=self.store.survives_restart))
        self.store.serve(self)

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
        latch = _Latching(new, claims=self.has_callback())
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
                steps += self._callbacks(event.halt, unfinished)
        with Finishing(unfinished):
            take_all(steps)
        return unfinished

    def _callbacks(self, halt: HaltRecord, unfinished: list[Unfinished]) -> list[Callable[[], object]]:
        """The calls of each distinct halt callback; all are expected before the first is made."""
        distinct = self._distinct()
        for tracker in distinct:
            tracker._expect_callback(halt)
        return [partial(_start, tracker, halt, unfinished) for tracker in distinct]

    def has_callback(self) -> bool:
        """Whether some tracker attached has a halt callback."""
        return any(tracker._callback_function is not None for tracker in self._trackers())

    def settled(self, halt: HaltRecord) -> None:
        """Hear that one callback has run to its end; once all have, no other process needs to see to them."""
        if not self.sees_to(halt):
            self.store.settle(halt.episode)

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
        """Whether the episode of this halt is still under way, and its callback this process's to run."""
        current = self.store.halts.get(halt.scope)
        return current is not None and current.episode == halt.episode and self.store.owes(halt.episode)

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
        self._resume(checked_scope(strategy, symbol), text_of(by, MESSAGE), text_of(reason, MESSAGE))
        return tuple(self.store.read().halts.values())

    def _resume(self, scope: Scope, by: str, reason: str) -> None:
        if scope in self.store.halts:
            for tracker in self._trackers():  # before the latch opens, so that an old streak cannot close it again
                if tracker._store is not self.store:
                    tracker._clear_streaks(scope)
        ending = _Ending(scope, self.clock.now(), by, reason)
        self.store.update(Touched(halts=(scope,)), ending)
        if ending.ended is None and scope in self.store.halts:  # a store had forgotten it; now it is set again
            self.store.update(Touched(halts=(scope,)), ending)
        if ending.ended is None:
            nothing_to_resume(scope, by, self.store.halts)
        else:
            self._tell([TradingResumed(ending.ended, by, reason)])

    # -- what the store tells of other processes, and asks of this one

    def halted_elsewhere(self, halt: HaltRecord, *, escalated: bool) -> None:
        """Tell the listeners of a halt by another process, which runs the callback."""
        self._tell([HaltTriggered(halt, halt.failure, escalated=escalated)])

    def resumed_elsewhere(self, halt: HaltRecord) -> None:
        """Tell the listeners that another process resumed trading."""
        self._tell([TradingResumed(halt, halt.resumed_by or "somebody", halt.resume_reason or "")])

    def run_callbacks(self, halt: HaltRecord) -> None:
        """Run the callbacks of an episode whose process left them undone."""
        unfinished: list[Unfinished] = []
        _log.callback_taken_over(halt)
        with Finishing(unfinished):
            take_all(self._callbacks(halt, unfinished))
        finish(unfinished)

    def retry(self) -> None:
        """Run those again that raised and whose wait is over."""
        finish(self.retry_callbacks())

    def sees_to(self, halt: HaltRecord) -> bool:
        """Whether some tracker's callback is under way, or will be tried again, for an episode."""
        return any(tracker._expects_callback(halt) for tracker in self._trackers())

    def forked(self) -> None:
        """Leave to the parent the callbacks that it has to see to."""
        for tracker in self._trackers():
            tracker._forget_callbacks()

    def store_lost(self, why: StoreUnavailable) -> None:
        """Say so, and halt trading if a tracker prefers that."""
        _log.store_lost(why)
        if any(tracker.on_store_loss == "halt" for tracker in self._trackers()):
            self.trigger_halt(f"the store is away: {why}", HaltTrigger.TECHNICAL_FAILURE)

    def store_back(self, merged: int) -> None:
        """Say so."""
        _log.store_back(merged)

    def refusals(self) -> int:
        """How many guarded calls this process has refused."""
        return sum(tracker.refusals for tracker in self._trackers())

    def take_successes(self, *, anew: bool) -> Mapping[str, datetime]:
        """When strategies last succeeded, as far as was seen since this was last asked; may begin to look anew."""
        latest: dict[str, datetime] = {}
        for tracker in self._trackers():
            for strategy, moment in tracker._take_successes(anew=anew).items():
                latest[strategy] = max(moment, latest.get(strategy, moment))
        return latest

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


def halt_entry(halt: HaltRecord, **details: object) -> AuditEntry:
    """A halt as the audit keeps it."""
    more = {"level": halt.level.value, "trigger_type": halt.trigger_type, "episode": halt.episode, **details}
    return AuditEntry(halt.since, "halt", halt.by, halt.reason, halt.scope, more)


class _Latching:
    """The transaction that halts one scope."""

    def __init__(self, new: HaltRecord, *, claims: bool) -> None:
        self._new = new
        self._claims = claims
        self.triggered: HaltTriggered | None = None

    def __call__(self, rows: Rows) -> Change:
        current = rows.halts.get(self._new.scope)
        halt = latched(current, self._new)
        if current is not None and halt is None:
            self.triggered = None
            entry = halt_entry(self._new, halted_already=current.episode)
            return Change(halts={current.scope: also(current, self._new)}, audit=[entry])
        assert halt is not None  # noqa: S101  # without a current halt the new one is latched
        self.triggered = HaltTriggered(halt, halt.failure, escalated=current is not None)
        return Change(halts={halt.scope: halt}, claim=self._claims, audit=[halt_entry(halt)])


class _Ending:
    """The transaction that ends the halt of one scope, and its streaks in the manager's own store.

    It ends the episode that it found at first, and no other: one that began meanwhile is not what somebody resumed.
    """

    ended: HaltRecord | None

    def __init__(self, scope: Scope, now: datetime, by: str, reason: str) -> None:
        self._scope = scope
        self._now = now
        self._by = by
        self._reason = reason
        self._episode: str | None = None

    def __call__(self, rows: Rows) -> Change:
        halt = rows.halts.get(self._scope)
        self.ended = None
        if halt is None or self._episode not in (None, halt.episode):
            return Change()
        self._episode = halt.episode
        self.ended = replace(halt, resumed_at=self._now, resumed_by=self._by, resume_reason=self._reason)
        details = {"episode": halt.episode, "halt_reason": halt.reason, "halted_since": halt.since.isoformat()}
        entry = AuditEntry(self._now, "resume", self._by, self._reason, self._scope, details)
        return Change(clear=self._scope, halts={self._scope: None}, ended=(self.ended,), audit=[entry])
