"""FailureTracker: counts failures over a store, halts at the threshold, and tells its listeners."""

from __future__ import annotations

import os
import time
import weakref
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Final, Literal

from guarded import _counted, _course, _exempt, _faults, _log, _mode
from guarded._audit import NOTHING, Action, AuditEntry
from guarded._callback import Finishing, Function, HaltCallback, Unfinished, finish
from guarded._checks import checked_choice, checked_count, checked_instance, checked_window
from guarded._clock import Clock, SystemClock, checked_clock
from guarded._errors import InvalidConfiguration
from guarded._events import Event, HaltTriggered, SignalFailed, SignalRecovered, SignalRefused
from guarded._failure import FailureType, SignalGenerationFailure, checked_type
from guarded._halt import HaltLevel, HaltRecord, HaltTrigger, covering, latched
from guarded._halt_manager import EmergencyHaltManager, describe, halt_entry
from guarded._interrupts import take_all
from guarded._ledger import Counted, Ledger, Trip, is_live
from guarded._listeners import Listener, Listeners
from guarded._locks import ForkSafeLock
from guarded._log import SignalLog, progress
from guarded._names import LONGEST
from guarded._policies import ConsecutiveFailures, FailureRate, Policy, described
from guarded._rules import FailureRules
from guarded._scope import EVERYTHING, Scope, ScopeKind, scopes_of
from guarded._templates import function_name
from guarded.stores import ALL, TOTAL_KINDS, Change, Rows, Store, Total, Touched

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

LAST_FAILURES_IN_STATUS = 10
MOST_CALM = 10_000
"""How many keys without a streak are remembered while there is a streak of others."""
MOST_TROUBLED = 1_000
"""With more scopes than these that have a streak or a halt, every call is taken to be concerned by one."""
LOOKED_AT = 10_000
"""How many successes are looked at, at the most, each time that the store asks when each strategy last succeeded."""
NOTHING_NEW = 500
"""After how many successes without another strategy there is nothing more to see."""


class _DefaultThreshold(int):
    """The default of 3, told apart from a 3 that somebody gave beside `policies`."""


DEFAULT_THRESHOLD: Final[int] = _DefaultThreshold(3)
DEFAULT_WINDOW: Final = timedelta(minutes=5)


class FailureTracker:
    """Counts the failures of guarded calls, and halts trading when too many come in a row.

    Totals by strategy, symbol and type, the last failures, and streaks are kept in a store. At the threshold the
    tracker latches a halt: guarded calls are refused from then on, the halt callback runs once, and nothing but
    `resume` ends it. All methods may be called from any thread, and from listeners and callbacks.

    Args:
        failure_threshold: How many consecutive failures, of one (strategy, symbol) or of everything together, halt
            trading; at least 1.
        reset_window: A streak whose last failure is older than this starts again; None = never. It does not end a halt.
        halt_callback: `halt_callback(reason, failure)`, called once per halt, outside every lock. It may be async.
            If it raises, trading stays halted and it is tried again.
        policies: What halts trading, instead of the two above: `ConsecutiveFailures` and `FailureRate`.
        rules: How exceptions are classified; by default `FailureRules()`.
        halt_manager: Share the latch of this manager; by default the tracker makes one of its own.
        store: Where counts and halts live: a store, its URL (`"sqlite:///guarded.db"`, `"redis://..."`, `"memory://"`),
            or None for this process's memory.
        on_store_loss: What to do while a store is away that was there at the start: `"count"` here and merge when it is
            back, or `"halt"` trading.
        clock: Where time comes from; by default that of the halt manager, or the machine's.
        history_size: How many failures are kept with their traces, at least 1.

    Raises:
        InvalidConfiguration: A setting that cannot work.
        StoreUnavailable: The store cannot be opened: without knowing whether trading is halted, nothing starts.

    Attributes:
        halt_manager: The manager of the latch.
        rules: The rules that guards of this tracker use if they have none of their own.
        policies: What halts trading.
        history_size: How many failures are kept.
        clock: Where time comes from.
        on_store_loss: What to do while the store is away.
    """

    # Slots for what every guarded call reads; the rest, and what tests patch, is in the dictionary.
    __slots__ = (
        "__dict__",
        "__weakref__",
        "_calm",
        "_live",
        "_pulse",
        "_read_time",
        "_sequence",
        "_succeeded_at",
        "_trouble",
    )

    def __init__(
        self,
        failure_threshold: int = DEFAULT_THRESHOLD,
        reset_window: timedelta | None = DEFAULT_WINDOW,
        halt_callback: Function | None = None,
        *,
        policies: Iterable[Policy] | None = None,
        rules: FailureRules | None = None,
        halt_manager: EmergencyHaltManager | None = None,
        store: Store | str | None = None,
        on_store_loss: Literal["count", "halt"] = "count",
        clock: Clock | None = None,
        history_size: int = 100,
    ) -> None:
        self.policies = _checked_policies(policies, failure_threshold, reset_window)
        self._reset_window = reset_window
        own = {"failure_threshold": failure_threshold, "reset_window": reset_window}
        self._settings: dict[str, Any] = own if policies is None else {"policies": self.policies}
        self.rules = checked_instance(rules, FailureRules, "rules") or FailureRules()
        self.history_size = checked_count(history_size, "history_size")
        self.on_store_loss = checked_choice(on_store_loss, ("count", "halt"), "on_store_loss")
        checked_instance(halt_manager, EmergencyHaltManager, "halt_manager")
        self.clock = checked_clock(halt_manager.clock if clock is None and halt_manager is not None else clock)
        self.halt_manager, self._store = _latch_and_store(halt_manager, store, self.clock)
        self._ledger = Ledger(self.policies, reset_window)
        self._listeners = Listeners(SignalLog())
        self._callback = HaltCallback(halt_callback, self.clock, self.halt_manager, self._listeners.tell)
        self._lock = ForkSafeLock()
        self._sequence = 0
        self._pulse: int | None = None
        self._calm: set[tuple[str, str]] = set()  # keys that were found without row and halt since one last appeared
        self._live = False
        self._trouble: frozenset[str] = frozenset()  # the symbols that a streak or a halt is about
        self._troubled = 0
        self._looking = self._seen_at = LOOKED_AT if self._store.survives_restart else 0
        self._successes: dict[str, float | datetime] = {}
        self._read_time: Callable[[], float | datetime] = (
            time.time if isinstance(self.clock, SystemClock) else self.clock.now
        )
        self._succeeded_at: float | datetime | None = None
        self._failed_at: float | None = None
        self._warned: set[str] = set()
        self._refusals = 0
        self.halt_manager.attach(self)
        self._store.watch(self._refresh)
        _mode.add_dependent(self)
        _exempt.add_dependent(self)
        self._refresh()
        self._write_down("start", details=self._settings_in_words())
        if self._store.survives_restart:
            _log.halted_at_start(tuple(self._store.halts.values()))
        self._identity = _register(self, os.urandom(8).hex())

    def __reduce__(self) -> tuple[Callable[..., FailureTracker], tuple[str, dict[str, Any]]]:
        """Pickle as identity and settings: the same tracker here, one with the same settings elsewhere.

        The clock and the halt manager belong to this process and are not among the settings; the store is, if it
        outlives the process.
        """
        settings = {
            **self._settings,
            "halt_callback": self._callback.function,
            "rules": self.rules,
            "history_size": self.history_size,
            "on_store_loss": self.on_store_loss,
            "store": self._store if self._store.survives_restart else None,
        }
        return _restored, (self._identity, settings)

    def __copy__(self) -> FailureTracker:
        return self

    def __deepcopy__(self, _memo: dict[int, Any]) -> FailureTracker:
        return self

    def _refresh(self, appeared: bool = True) -> None:
        """Set what guards read: whether every call has to go the long way, and whether successes have to be looked at.

        Args:
            appeared: Whether something has appeared that was not there, so that no key is calm any more.
        """
        with self._lock:
            store = self._store
            if appeared:
                self._calm = set()
            awake = store.awake  # what else is asked of it wakes it
            self._live = not awake or bool(self._looking or store.live or store.own)
            plain = awake and _mode.current == "on" and not self._ledger.counts_successes
            self._pulse = self._sequence if plain and not store.halts else None
            if not plain or self._looking:
                self._troubled, self._trouble = -1, EVERY_SYMBOL
                return
            troubled = len(store.own) + len(store.halts) + len(store.live)
            if appeared or troubled != self._troubled:
                self._troubled, self._trouble = troubled, _symbols(store)

    def _mode_changed(self, previous: str) -> None:
        self._refresh()
        self._write_down("mode", details={"mode": _mode.current, "previous": previous})

    def _exempted(self, what: str) -> None:
        if self._store.survives_restart:
            self._write_down("exempt", details={"exempt": what})

    def _write_down(self, action: Action, scope: Scope | None = None, details: Mapping[str, Any] = NOTHING) -> None:
        """Append to the audit."""
        entry = AuditEntry(self.clock.now(), action, scope=scope, details=details)
        self._store.update(Touched(), lambda _rows: Change(audit=[entry]))

    def _settings_in_words(self) -> dict[str, Any]:
        return {
            "policies": [described(policy) for policy in self.policies],
            "reset_window": None if self.reset_window is None else self.reset_window.total_seconds(),
            "history_size": self.history_size,
            "on_store_loss": self.on_store_loss,
            "halt_callback": None if self._callback.function is None else function_name(self._callback.function),
            "mode": _mode.current,
            "rules": self.rules.exceptions_to_counting(),
            "exempt": _exempt.known(),
        }

    # -- recording

    def record_failure(
        self,
        strategy_name: str,
        symbol: str,
        error: BaseException | str,
        failure_type: FailureType | str | None = None,
        additional_context: Mapping[str, object] | None = None,
    ) -> SignalGenerationFailure:
        """Record a failure by hand; it always counts, whatever the rules say about ignoring.

        Args:
            strategy_name: Whose failure.
            symbol: Of which symbol.
            error: The exception, or a text where a host reports errors as events.
            failure_type: Its type; None: as the rules classify it (a text is `UNKNOWN_ERROR`).
            additional_context: Anything that helps; it is made JSON-ready, and secrets in it are masked.

        Returns:
            The record.

        Raises:
            InvalidConfiguration: There is no such failure type.
        """
        rule: str | None = None
        if failure_type is not None:
            kind = checked_type(failure_type, "failure_type")
        elif isinstance(error, BaseException):
            judged = self.rules.judge(error)
            kind, rule = judged.failure_type, judged.rule
        else:
            kind = FailureType.UNKNOWN_ERROR
        failure, unfinished = self._record(error, str(strategy_name), str(symbol), kind, rule, additional_context)
        finish(unfinished)
        return failure

    def _record(
        self,
        error: BaseException | str,
        strategy: str,
        symbol: str,
        failure_type: FailureType,
        rule: str | None,
        context: Mapping[str, object] | None,
        *,
        counted_for: str | None = None,
        goes_on: bool = True,
    ) -> tuple[SignalGenerationFailure, list[Unfinished]]:
        """Count one failure, latch what it trips, and tell everybody.

        Args:
            error: What was raised, or a text.
            strategy: Whose failure.
            symbol: The symbol of the record and of the totals.
            failure_type: Its type.
            rule: The rule that said so.
            context: What is added to the record.
            counted_for: The symbol whose streak it extends, if that is another: the one that a success would have.
            goes_on: Whether the exception may cross other guards, which must not count it again. One that a guard
                keeps back is left unmarked: who meets that object again has been failed by it anew.

        Returns:
            The record, and the asynchronous halt callbacks that are left to await.
        """
        failure = SignalGenerationFailure.from_error(
            error,
            strategy_name=strategy,
            symbol=symbol,
            failure_type=failure_type,
            timestamp=self.clock.now(),
            additional_context=context,
            rule=rule,
        )
        with self._lock:
            self._sequence = sequence = self._sequence + 1
        _course.mark(self, sequence)
        self._failed_at = self.clock.monotonic()
        scopes = self._ledger.scopes(strategy, symbol if counted_for is None else counted_for)
        now = failure.timestamp.timestamp() if self._store.survives_restart else self._failed_at
        entry = _FailureEntry(self._ledger, failure, scopes, now, self.history_size, self.halt_manager.has_callback)
        self._store.update(entry.touched, entry)
        if isinstance(error, BaseException):
            if goes_on or isinstance(error, RecursionError):  # which may go on yet
                _counted.mark_counted(error, self, sequence, failure)
            else:
                _counted.unmark(error, self)
        return failure, self._after(failure, entry, error if isinstance(error, BaseException) else None)

    def _after(
        self, failure: SignalGenerationFailure, entry: _FailureEntry, error: BaseException | None
    ) -> list[Unfinished]:
        """Tell of a counted failure and its halts, outside every lock; then run what callbacks are due."""
        counted = entry.counted
        unfinished: list[Unfinished] = []
        event = SignalFailed(failure, counted.streak, counted.threshold, error)
        if not (entry.triggered or self._store.halts):  # no halt, old or new, whose callback could be due
            self._tell([event])
        else:
            with Finishing(unfinished):
                take_all(
                    [
                        lambda: unfinished.extend(self.halt_manager.retry_callbacks()),
                        lambda: self._tell([event]),
                        lambda: unfinished.extend(self.halt_manager.announce(entry.triggered)),
                    ]
                )
        for reason, halt in entry.already_halted.items():
            _log.threshold_reached_while_halted(failure, halt, reason)
        if counted.too_far_apart is not None and failure.strategy_name not in self._warned:
            self._warned.add(failure.strategy_name)
            _log.reset_window_too_short(failure, timedelta(seconds=counted.too_far_apart))
        return unfinished

    def record_success(self, strategy_name: str, symbol: str) -> None:
        """Record a success by hand: it always ends the streaks of its scopes, and never a halt.

        Args:
            strategy_name: Whose success.
            symbol: Of which symbol.
        """
        self._succeed(str(strategy_name), str(symbol))

    def _succeed(self, strategy: str, symbol: str) -> None:
        stamp = self._succeeded_at = self._read_time()
        if self._looking:
            self._look(strategy, stamp)
        key, calm, store = (strategy, symbol), self._calm, self._store
        if key in calm:
            return
        shared = is_live(store.live, strategy, symbol)
        if not (shared or is_live(store.own, strategy, symbol) or self._ledger.counts_successes):
            halts = store.halts
            untroubled = _mode.current == "on" and not (halts and covering(halts, Scope(strategy, symbol)))
            if untroubled and len(calm) < MOST_CALM:
                calm.add(key)
            return
        entry = _SuccessEntry(self._ledger, strategy, symbol)
        store.update(Touched(streaks=tuple(scopes_of(strategy, symbol).values())) if shared else Touched(), entry)
        if entry.failures:
            self._tell([SignalRecovered(Scope(strategy, symbol), entry.failures)])

    def _look(self, strategy: str, stamp: float | datetime) -> None:
        """Note when a strategy succeeded, for the store; after so many successes there is nothing more to see."""
        known = len(self._successes)
        self._successes[strategy] = stamp
        self._looking -= 1
        if len(self._successes) > known:
            self._seen_at = self._looking
        if self._looking <= 0 or self._seen_at - self._looking >= NOTHING_NEW:
            self._looking = 0
            self._refresh(appeared=False)

    def _take_successes(self, *, anew: bool = True) -> dict[str, datetime]:
        """When each strategy last succeeded, as was seen since this was last asked; the next ones are looked at."""
        seen, self._successes = self._successes, {}
        if anew:
            self._looking = self._seen_at = LOOKED_AT
            self._refresh()
        return {name: _moment(stamp) for name, stamp in list(seen.items())}

    def _refuse(self, strategy: str, symbol: str, halt: HaltRecord) -> list[Unfinished]:
        """Count a refused call, tell of it, and run the halt callback again if it is due."""
        with self._lock:
            self._refusals += 1
        self._tell([SignalRefused(Scope(strategy, symbol), halt)])
        return self.halt_manager.retry_callbacks()

    # -- what was counted

    @property
    def failure_threshold(self) -> int | None:
        """How many consecutive failures halt; with policies, that of the first one for failures of any type."""
        return next((policy.threshold for policy in self._plain_policies()), None)

    def _plain_policies(self) -> Iterator[ConsecutiveFailures]:
        return (p for p in self.policies if isinstance(p, ConsecutiveFailures) and p.types is None)

    @property
    def reset_window(self) -> timedelta | None:
        """The longest gap in a streak; None = a streak never ages."""
        return self._reset_window

    @property
    def refusals(self) -> int:
        """How many calls and blocks this process has refused."""
        return self._refusals

    @property
    def consecutive_failures(self) -> int:
        """This process's global streak: failures since the last success of anything; 0 once it has aged."""
        return self._ledger.consecutive(self._store.own, self._seconds())

    def _seconds(self) -> float:
        """The time as streaks are measured in it: by the day's clock, where they outlive the process."""
        return self.clock.now().timestamp() if self._store.survives_restart else self.clock.monotonic()

    @property
    def total_failures(self) -> int:
        """All failures ever recorded in this ledger."""
        return self._store.read().totals.get(ALL, 0)

    @property
    def strategy_failures(self) -> dict[str, int]:
        """Failures by strategy."""
        return _totals(self._store.read(), "strategy")

    @property
    def symbol_failures(self) -> dict[str, int]:
        """Failures by symbol."""
        return _totals(self._store.read(), "symbol")

    @property
    def type_failures(self) -> dict[FailureType, int]:
        """Failures by type."""
        return {FailureType(name): count for name, count in _totals(self._store.read(), "type").items()}

    @property
    def failure_history(self) -> list[SignalGenerationFailure]:
        """The last `history_size` failures, the oldest first."""
        return self._store.failures()

    @property
    def last_failure(self) -> SignalGenerationFailure | None:
        """The newest failure in the history."""
        history = self._store.failures()
        return history[-1] if history else None

    @property
    def last_failure_time(self) -> datetime | None:
        """When it happened."""
        failure = self.last_failure
        return None if failure is None else failure.timestamp

    @property
    def last_success_time(self) -> datetime | None:
        """When a guarded call last succeeded in this process."""
        stamp = self._succeeded_at
        return None if stamp is None else _moment(stamp)

    # -- the latch

    @property
    def halt_triggered(self) -> bool:
        """Whether everything is halted."""
        return EVERYTHING in self._store.halts

    @property
    def halt_reason(self) -> str | None:
        """Why everything is halted."""
        halt = self._store.halts.get(EVERYTHING)
        return None if halt is None else halt.reason

    @property
    def halts(self) -> tuple[HaltRecord, ...]:
        """Every scope's halt that is in force."""
        return tuple(self._store.read().halts.values())

    def is_halted(self, strategy: str | None = None, symbol: str | None = None) -> bool:
        """Whether everything in this scope is halted, at whatever level; without names: whether everything is."""
        return self.halt_manager.is_halted(strategy, symbol)

    @property
    def callback_pending(self) -> bool:
        """Whether a halt is in force whose callback has not succeeded yet."""
        if self._callback.function is None:
            return False
        left, halts = self._store.unsettled(), tuple(self._store.halts.values())
        return self._callback.pending or any(halt.episode in left for halt in halts)

    @property
    def degraded(self) -> str | None:
        """Why the store is away, if it is: what is counted meanwhile is counted here, and merged later."""
        lost = self._store.lost
        return None if lost is None else str(lost)

    def resume(
        self, *, by: str, reason: str, strategy: str | None = None, symbol: str | None = None
    ) -> tuple[HaltRecord, ...]:
        """Clear one halt and the streaks of its scope, on the record: see `EmergencyHaltManager.resume_trading`.

        Args:
            by: Who resumes trading.
            reason: Why it is safe again.
            strategy: The strategy whose halt is cleared; without names, the global one.
            symbol: The symbol whose halt is cleared.

        Returns:
            The halts that are still in force.

        Raises:
            InvalidConfiguration: `by` or `reason` is empty.
        """
        return self.halt_manager.resume_trading(by=by, reason=reason, strategy=strategy, symbol=symbol)

    def should_reset(self) -> bool:
        """Whether the reset window has passed since the last failure; False if there is no window or no failure."""
        if self.reset_window is None or self._failed_at is None:
            return False
        return self.clock.monotonic() - self._failed_at > self.reset_window.total_seconds()

    def reset(self) -> None:
        """Set all streaks to zero, on the record; totals, history and halts stay."""
        entry = AuditEntry(self.clock.now(), "reset")
        self._store.update(Touched(), lambda _rows: Change(clear=EVERYTHING, audit=[entry]))

    def clear_history(self) -> None:
        """Forget the history and the totals, on the record; streaks and halts stay."""
        entry = AuditEntry(self.clock.now(), "clear_history")
        self._store.update(Touched(), lambda _rows: Change(forget=True, audit=[entry]))

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Call `listener(event)` for everything that happens from now on, in the thread in which it happens.

        Halts and resumes by other processes on the same store are told in a thread of the library's own.

        Returns:
            A function that takes the listener off again.

        Raises:
            InvalidConfiguration: It cannot be called, or is an `async def`.
        """
        return self._listeners.subscribe(listener)

    # -- reports

    def get_status(self) -> dict[str, Any]:
        """The attributes as of now, JSON-ready: their names as keys, times in ISO 8601, windows in seconds."""
        rows = self._store.read()
        history = self._store.failures()
        halt = rows.halts.get(EVERYTHING)
        return {
            "consecutive_failures": self._ledger.consecutive(rows.own, self._seconds()),
            "failure_threshold": self.failure_threshold,
            "reset_window": None if self.reset_window is None else self.reset_window.total_seconds(),
            "total_failures": rows.totals.get(ALL, 0),
            **{f"{kind}_failures": _totals(rows, kind) for kind in TOTAL_KINDS},
            "failure_history": [failure.to_dict() for failure in history[-LAST_FAILURES_IN_STATUS:]],
            "last_failure": history[-1].to_dict() if history else None,
            "last_failure_time": history[-1].timestamp.isoformat() if history else None,
            "last_success_time": self.last_success_time and self.last_success_time.isoformat(),
            "refusals": self.refusals,
            "halt_triggered": halt is not None,
            "halt_reason": halt and halt.reason,
            "halts": [other.to_dict() for other in rows.halts.values()],
            "callback_pending": self.callback_pending,
            "degraded": self.degraded,
            "internal_errors": _faults.count(),
        }

    def get_failure_summary(self) -> str:
        """How things stand, as text."""
        rows = self._store.read()
        consecutive = self._ledger.consecutive(rows.own, self._seconds())
        lines = [
            "Failure Tracker Status",
            "=" * 50,
            f"Consecutive Failures: {progress(consecutive, self._global_threshold())}",
            f"Total Failures: {rows.totals.get(ALL, 0)}",
        ]
        by_strategy = _totals(rows, "strategy")
        if by_strategy:
            ranked = sorted(by_strategy.items(), key=lambda item: (-item[1], item[0]))
            lines += ["", "Failures by Strategy:", *(f"  {name}: {count}" for name, count in ranked)]
        last = self.last_failure_time
        lines += ["", f"Last failure: {'none' if last is None else last.isoformat()}"]
        if not rows.halts:
            lines.append("Status: Active (no halt)")
        for halt in rows.halts.values():
            lines += describe(halt)
        if self.degraded is not None:
            lines.append(f"Store: AWAY ({self.degraded})")
        return "\n".join(lines)

    def _global_threshold(self) -> int | None:
        return next((policy.threshold for policy in self._plain_policies() if policy.scope == "global"), None)

    # -- what the halt manager asks of a tracker

    def _tell(self, events: Iterable[Event]) -> None:
        self._listeners.tell(events)

    def _clear_streaks(self, scope: Scope) -> None:
        self._store.update(Touched(), lambda _rows: Change(clear=scope))

    def _expect_callback(self, halt: HaltRecord) -> None:
        self._callback.expect(halt)

    def _start_callback(self, halt: HaltRecord) -> list[Unfinished]:
        return self._callback.start(halt)

    def _forget_callbacks(self) -> None:
        self._callback.forget()

    def _expects_callback(self, halt: HaltRecord) -> bool:
        return self._callback.expects(halt)

    def _retry_callback(self) -> list[Unfinished]:
        return self._callback.retry()

    @property
    def _callback_function(self) -> object:
        return self._callback.function


class _EverySymbol(frozenset[str]):
    """What has every symbol in it."""

    __slots__ = ()

    def __contains__(self, _symbol: object) -> bool:
        return True


NO_SYMBOL: Final[frozenset[str]] = frozenset()
EVERY_SYMBOL: Final = _EverySymbol({""})


def _symbols(store: Store) -> frozenset[str]:
    """The symbols that a streak or a halt is about.

    They include the empty one, which is not taken for a symbol where it is an argument, and whose call is of another.
    """
    scopes = [*store.own, *store.halts, *store.live]
    if not scopes:
        return NO_SYMBOL
    if len(scopes) > MOST_TROUBLED or any(scope.symbol is None or len(scope.symbol) >= LONGEST for scope in scopes):
        return EVERY_SYMBOL
    return frozenset({"", *(scope.symbol for scope in scopes if scope.symbol is not None)})


class _FailureEntry:
    """The transaction that counts one failure and latches the halts that it trips."""

    counted: Counted

    def __init__(
        self,
        ledger: Ledger,
        failure: SignalGenerationFailure,
        scopes: dict[ScopeKind, Scope],
        now: float,
        keep: int,
        claims: Callable[[], bool],
    ) -> None:
        self._claims = claims
        self._episodes: dict[Scope, str] = {}
        self._ledger = ledger
        self._failure = failure
        self._scopes = scopes
        self._now = now
        self._keep = keep
        self._totals: tuple[Total, ...] = (
            ALL,
            ("strategy", failure.strategy_name),
            ("symbol", failure.symbol),
            ("type", failure.failure_type.value),
        )
        every = scopes.values()
        self.touched = Touched(ledger.shared(scopes), (EVERYTHING, *every), every)

    def __call__(self, rows: Rows) -> Change:
        failure = self._failure
        self.counted = self._ledger.fail(rows.streaks, rows.own, self._scopes, failure.failure_type, self._now)
        halts = self._latch(rows.halts)
        return Change(
            streaks=self.counted.rows,
            own=self.counted.own,
            counted=self._totals,
            halts=halts,
            claim=bool(halts) and self._claims(),
            failure=failure,
            keep=self._keep,
            audit=[halt_entry(halt) for halt in halts.values()] if halts else (),
        )

    def _latch(self, halts: Mapping[Scope, HaltRecord]) -> dict[Scope, HaltRecord]:
        """The halts that the failure's trips latch or make stricter; sorts out who is to be told what."""
        self.triggered: list[HaltTriggered] = []
        self.already_halted: dict[str, HaltRecord] = {}
        changed: dict[Scope, HaltRecord] = {}
        for trip in sorted(self.counted.trips, key=lambda trip: trip.level is HaltLevel.REDUCING):
            if trip.scope not in changed:
                new = latched(halts.get(trip.scope), self._halt(trip))
                if new is None:
                    self.already_halted[trip.reason] = halts[trip.scope]
                else:
                    changed[trip.scope] = new
                    self.triggered.append(HaltTriggered(new, new.failure, escalated=trip.scope in halts))
        return changed

    def _halt(self, trip: Trip) -> HaltRecord:
        failure = self._failure
        return HaltRecord(
            scope=trip.scope,
            level=trip.level,
            reason=f"{trip.reason}; last: {failure.strategy_name} for {failure.symbol}: {failure.error}",
            trigger_type=HaltTrigger.TECHNICAL_FAILURE,
            since=failure.timestamp,
            by=None,
            failure=failure,
            consecutive=trip.consecutive,
            threshold=trip.threshold,
            episode=self._episodes.setdefault(trip.scope, os.urandom(8).hex()),  # the same, each time that this runs
        )


class _SuccessEntry:
    """The transaction that counts one success."""

    failures = 0

    def __init__(self, ledger: Ledger, strategy: str, symbol: str) -> None:
        self._ledger = ledger
        self._key = (strategy, symbol)

    def __call__(self, rows: Rows) -> Change:
        recovered = self._ledger.succeed(rows.streaks, rows.own, *self._key)
        self.failures = recovered.failures
        return Change(streaks=recovered.rows, own=recovered.own)


def _moment(stamp: float | datetime) -> datetime:
    return datetime.fromtimestamp(stamp, UTC) if isinstance(stamp, float) else stamp


def _totals(rows: Rows, kind: str) -> dict[str, int]:
    return {name: count for (of, name), count in rows.totals.items() if of == kind}


def _checked_policies(
    policies: Iterable[Policy] | None, failure_threshold: int, reset_window: timedelta | None
) -> tuple[Policy, ...]:
    threshold = checked_count(failure_threshold, "failure_threshold")
    checked_window(reset_window, "reset_window")
    if policies is None:
        return ConsecutiveFailures(threshold, scope="global"), ConsecutiveFailures(threshold, scope="key")
    if failure_threshold is not DEFAULT_THRESHOLD or reset_window is not DEFAULT_WINDOW:
        raise InvalidConfiguration(
            "failure_threshold and reset_window cannot be given beside policies:"
            " write ConsecutiveFailures(threshold, within=window) into policies instead"
        )
    try:
        given = tuple(policies)
    except TypeError:
        raise InvalidConfiguration(
            f"policies={policies!r}: expected several of them, such as [ConsecutiveFailures(3)]"
        ) from None
    for policy in given:
        if not isinstance(policy, ConsecutiveFailures | FailureRate):
            raise InvalidConfiguration(f"policies: {policy!r} is neither a ConsecutiveFailures nor a FailureRate")
    if not given:
        raise InvalidConfiguration("policies is empty: nothing would ever halt; leave it out for the default")
    return given


_alive: weakref.WeakValueDictionary[str, FailureTracker] = weakref.WeakValueDictionary()


def living_trackers() -> list[FailureTracker]:
    """The trackers of this process that somebody holds."""
    return list(_alive.values())


def _register(tracker: FailureTracker, identity: str) -> str:
    _alive[identity] = tracker
    return identity


def _restored(identity: str, settings: dict[str, Any]) -> FailureTracker:
    """The tracker that was pickled: itself in the process that it lives in, one with its settings elsewhere."""
    tracker = _alive.get(identity)
    if tracker is None:
        tracker = FailureTracker(**settings)
        tracker._identity = _register(tracker, identity)
    return tracker


def _latch_and_store(
    manager: EmergencyHaltManager | None, store: Store | str | None, clock: Clock
) -> tuple[EmergencyHaltManager, Store]:
    """The halt manager and the store; they belong to one latch."""
    if manager is None:
        manager = EmergencyHaltManager(store, clock=clock)
        return manager, manager.store
    if store is None:
        return manager, manager.store.joined()
    if store is not manager.store:
        raise InvalidConfiguration(
            "store and halt_manager disagree: the halt manager's latch lives in another store."
            " Give the tracker one of the two, or build both on the same store object"
        )
    return manager, manager.store
