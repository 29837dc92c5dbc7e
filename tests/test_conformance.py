"""What every store promises: one suite, run unchanged on each of them."""

from __future__ import annotations

import os
import pwd
import signal
import socket
from collections.abc import Callable
from datetime import timedelta
from types import FrameType

import pytest
from hypothesis import HealthCheck, settings
from stores import KINDS, Place
from test_counting import Counting
from threads import THREADS, together

from guarded import (
    ConsecutiveFailures,
    EmergencyHaltManager,
    FailureTracker,
    FailureType,
    HaltLevel,
    HaltTriggered,
    Scope,
    TradingResumed,
    guarded_signal,
)
from guarded._audit import Origin, here
from guarded.stores import ALL, Change, Rows, Store, Touched
from guarded.testing import FakeClock, recorded_events

pytestmark = pytest.mark.usefixtures("quiet")

KEY = Scope("VWAP", "AAPL")


@pytest.fixture(params=KINDS)
def place(request: pytest.FixtureRequest, places: Callable[[str], Place]) -> Place:
    return places(request.param)


@pytest.fixture
def store(place: Place) -> Store:
    return place.open()


def fail(tracker: FailureTracker, times: int = 1, strategy: str = "VWAP", symbol: str = "AAPL") -> None:
    for _ in range(times):
        tracker.record_failure(strategy, symbol, ValueError("bad bar"))


class TestTransactions:
    def test_it_is_a_store(self, store: Store) -> None:
        """It has all that the protocol asks for, and is neither lost nor asleep."""
        assert isinstance(store, Store)
        assert (store.lost, store.awake) == (None, True)

    def test_it_begins_empty(self, store: Store) -> None:
        """A new ledger holds nothing."""
        assert store.read() == Rows({}, {}, {}, {})
        assert (store.failures(), store.ended(), store.audit(), dict(store.successes())) == ([], [], [], {})
        assert (dict(store.live), dict(store.own), dict(store.halts), list(store.unsettled())) == ({}, {}, {}, [])

    def test_a_change_that_raises_changes_nothing(self, store: Store) -> None:
        """A transaction that raises writes nothing, passes its exception on, and leaves the store usable."""

        def broken(rows: Rows) -> Change:
            raise RuntimeError("a bug")

        for touched in (Touched(), Touched(streaks=[KEY], halts=[KEY])):
            with pytest.raises(RuntimeError, match="a bug"):
                store.update(touched, broken)
        assert store.read() == Rows({}, {}, {}, {})
        store.update(Touched(), lambda _rows: Change(counted=[ALL]))
        assert store.read().totals == {ALL: 1}

    def test_what_is_read_is_what_was_written(self, store: Store) -> None:
        """A transaction is handed the rows that it touches, and the halts."""
        tracker = FailureTracker(store=store)
        fail(tracker, 2)
        tracker.halt_manager.trigger_halt("drill", symbol="AAPL")
        seen: list[Rows] = []

        def look(rows: Rows) -> Change:
            seen.append(rows)
            return Change()

        store.update(Touched(streaks=[KEY], halts=[Scope(None, "AAPL")]), look)
        assert seen[-1].streaks[KEY] == store.read().streaks[KEY]
        assert seen[-1].halts[Scope(None, "AAPL")] == tracker.halts[0]
        assert seen[-1].own == store.own

    def test_reading_is_a_copy(self, store: Store) -> None:
        """What was read does not change with the store."""
        tracker = FailureTracker(store=store)
        fail(tracker, 2)
        before = store.read()
        rows = Rows(dict(before.streaks), dict(before.own), dict(before.halts), dict(before.totals))
        fail(tracker, 1)
        assert before == rows
        assert store.read() != rows

    def test_totals_are_added(self, store: Store) -> None:
        """Totals count by strategy, symbol, type, and all; they and the history are forgotten when asked to."""
        tracker = FailureTracker(store=store)
        fail(tracker, 2)
        tracker.record_failure("RSI", "MSFT", "late", "connection_error")
        assert tracker.total_failures == 3
        assert tracker.strategy_failures == {"VWAP": 2, "RSI": 1}
        assert tracker.symbol_failures == {"AAPL": 2, "MSFT": 1}
        assert tracker.type_failures == {FailureType.DATA_ERROR: 2, FailureType.CONNECTION_ERROR: 1}
        tracker.clear_history()
        assert (tracker.total_failures, tracker.strategy_failures, tracker.failure_history) == (0, {}, [])
        fail(tracker)
        assert tracker.total_failures == len(tracker.failure_history) == 1

    def test_the_history_is_bounded_and_whole(self, store: Store) -> None:
        """The last `history_size` failures are kept, the oldest first, each with its trace and context."""
        tracker = FailureTracker(store=store, history_size=3)
        for number in range(5):
            try:
                raise ValueError(f"bar {number}")
            except ValueError as error:
                tracker.record_failure("VWAP", "AAPL", error, additional_context={"number": number, "bar": [1.5, None]})
        kept = tracker.failure_history
        assert [failure.error_message for failure in kept] == ["bar 2", "bar 3", "bar 4"]
        assert dict(kept[-1].additional_context) == {"number": 4, "bar": [1.5, None]}
        assert kept[-1].stack_trace is not None
        assert 'raise ValueError(f"bar {number}")' in kept[-1].stack_trace
        assert tracker.last_failure == kept[-1]

    @pytest.mark.parametrize(
        "name",
        ['he said "no"', "ünï/코드", "a|b{c}:d", "line\nbreak", "\ud800 alone", "[null,null]", "' OR 1=1 --", " "],
    )
    def test_any_name_is_a_name(self, store: Store, name: str) -> None:
        """Names of strategies and symbols come back as they were, whatever is in them."""
        tracker = FailureTracker(policies=[ConsecutiveFailures(9)], store=store)
        fail(tracker, 2, name, "s:" + name)
        manager = EmergencyHaltManager(store)
        manager.trigger_halt("drill", strategy=name, symbol="s:" + name)
        rows = store.read()
        assert rows.streaks.keys() == {Scope(name, "s:" + name)}
        assert rows.halts.keys() == {Scope(name, "s:" + name)}
        assert tracker.strategy_failures == {name: 2}
        manager.resume_trading(by="ana", reason="over", strategy=name, symbol="s:" + name)
        assert store.read().streaks == {}
        fail(tracker, 1, name, "s:" + name)
        manager.trigger_halt("drill", symbol="s:" + name)
        manager.resume_trading(by="ana", reason="over", symbol="s:" + name)
        assert (store.read().streaks, store.halts) == ({}, {})
        assert store.lost is None

    def test_watchers_hear_what_appears(self, store: Store) -> None:
        """A watcher is called after each change, and told whether calls have something new to look out for."""

        class Watcher:
            heard: list[bool] = []  # noqa: RUF012  # one watcher

            def hear(self, appeared: bool) -> None:
                self.heard.append(appeared)

        watcher = Watcher()
        tracker = FailureTracker(store=store)
        store.watch(watcher.hear)
        heard: list[list[bool]] = []
        steps: list[Callable[[], object]] = [
            lambda: fail(tracker, 1),
            lambda: fail(tracker, 1),
            lambda: tracker.record_success("VWAP", "AAPL"),
            lambda: tracker.halt_manager.trigger_halt("drill"),
            lambda: tracker.resume(by="ana", reason="over"),
        ]
        for step in steps:
            watcher.heard.clear()
            step()
            heard.append([*watcher.heard])
        assert [any(one) for one in heard] == [True, False, False, True, True]
        assert all(heard)

    def test_a_kill_switch_in_a_signal_handler(self, store: Store) -> None:
        """A signal handler that halts trading in the midst of a transaction of its own thread does halt it."""
        tracker = FailureTracker(store=store)

        def halt(_number: int, _frame: FrameType | None) -> None:
            tracker.halt_manager.trigger_halt("SIGTERM", "kill_switch")
            halted.append(tracker.halt_triggered)

        def interrupted(_rows: Rows) -> Change:
            if not halted:
                signal.raise_signal(signal.SIGTERM)
            return Change(counted=[ALL])

        halted: list[bool] = []
        before = signal.signal(signal.SIGTERM, halt)
        try:
            store.update(Touched(halts=[Scope()]), interrupted)
        finally:
            signal.signal(signal.SIGTERM, before)
        assert halted == [True]
        assert [halt.reason for halt in tracker.halts] == ["SIGTERM"]
        assert tracker.total_failures == 1


class TestCountingTogether:
    def test_trackers_on_one_store(self, store: Store, clock: FakeClock) -> None:
        """Trackers on one store count together; the halt of one refuses the other's calls, its resume frees them."""
        one, two = FailureTracker(store=store, clock=clock), FailureTracker(store=store, clock=clock)
        fail(one, 2)
        fail(two, 1)
        assert one.consecutive_failures == two.consecutive_failures == 3
        assert one.total_failures == two.total_failures == 3
        assert one.failure_history == two.failure_history
        assert one.halts == two.halts != ()
        assert guarded_signal(strategy="RSI", tracker=two)(lambda: "long")() is None
        two.resume(by="ana", reason="feed is back")
        assert (one.halt_triggered, one.consecutive_failures, dict(store.live)) == (False, 0, {})
        assert guarded_signal(strategy="RSI", tracker=one)(lambda: "long")() == "long"

    def test_a_success_ends_the_streak(self, store: Store) -> None:
        """A success ends the streaks of its scopes, and none of another key's."""
        tracker = FailureTracker(policies=[ConsecutiveFailures(3)], store=store)
        fail(tracker, 2)
        fail(tracker, 2, "RSI")
        tracker.record_success("VWAP", "AAPL")
        assert store.live.keys() == store.read().streaks.keys() == {Scope("RSI", "AAPL")}
        fail(tracker, 2)
        assert not tracker.halts

    def test_streaks_age(self, store: Store, clock: FakeClock) -> None:
        """A streak whose last failure is older than the window starts again."""
        tracker = FailureTracker(store=store, clock=clock)
        fail(tracker, 2)
        clock.advance(timedelta(minutes=5, seconds=1))
        assert tracker.consecutive_failures == 0
        fail(tracker, 2)
        assert tracker.consecutive_failures == 2
        assert not tracker.halts

    def test_a_reset_is_on_the_record(self, store: Store) -> None:
        """`reset` clears all streaks, keeps halts and totals, and is in the audit."""
        tracker = FailureTracker(store=store)
        fail(tracker, 3)
        tracker.reset()
        assert (tracker.consecutive_failures, dict(store.live), tracker.total_failures) == (0, {}, 3)
        assert tracker.halt_triggered
        assert store.audit()[-1].action == "reset"

    def test_the_streak_of_the_fleet(self, store: Store) -> None:
        """`shared=True` counts in the store's own streak of everything; a success of anything ends it."""
        tracker = FailureTracker(policies=[ConsecutiveFailures(3, scope="global", shared=True)], store=store)
        fail(tracker, 1, "A")
        fail(tracker, 1, "B")
        assert store.live.keys() == {Scope()}
        tracker.record_success("C", "C")
        assert store.live.keys() == set()
        for name in "DEF":
            fail(tracker, 1, name)
        assert tracker.halt_triggered

    def test_sixteen_threads(self, store: Store) -> None:
        """16 threads that fail at once: totals and streak exact, one halt, one callback."""
        callbacks: list[str] = []
        tracker = FailureTracker(store=store, halt_callback=lambda reason, _failure: callbacks.append(reason))
        each = 30

        @guarded_signal(strategy="{strategy}", symbol="AAPL", tracker=tracker, when_halted="run")
        def generate(strategy: str) -> None:
            raise ValueError("bad bar")

        def work(number: int) -> None:
            for _ in range(each):
                assert generate(f"S{number % 4}") is None

        with recorded_events(tracker) as recorder:
            together(work)
        assert tracker.total_failures == tracker.consecutive_failures == THREADS * each
        assert tracker.strategy_failures == {f"S{number}": THREADS // 4 * each for number in range(4)}
        streaks = {scope: row[0][1] for scope, row in store.read().streaks.items()}
        assert streaks == {Scope(f"S{number}", "AAPL"): THREADS // 4 * each for number in range(4)}
        assert len(callbacks) == len(recorder.of(HaltTriggered)) == len(tracker.halts) == 1


class TestHalts:
    def test_an_episode(self, store: Store, clock: FakeClock) -> None:
        """A halt has its reason, level, scope and failure; stricter is the same episode; it ends on the record."""
        tracker = FailureTracker(store=store, clock=clock)
        manager = tracker.halt_manager
        with recorded_events(tracker) as recorder:
            assert manager.trigger_halt("drawdown", "drawdown", level="reducing", by="ana")
            assert not manager.trigger_halt("again", level="reducing", by="ben")
            assert manager.trigger_halt("worse", by="ana")
            assert tracker.resume(by="cy", reason="flat") == ()
        first, second = recorder.of(HaltTriggered)
        assert (first.halt.level, second.halt.level) == (HaltLevel.REDUCING, HaltLevel.HALTED)
        assert (first.escalated, second.escalated) == (False, True)
        assert first.halt.episode == second.halt.episode
        (ended,) = manager.history
        assert ended == store.ended()[0]
        assert ended.reason == "drawdown; also by ben: again; raised to halted by ana: worse"
        assert (ended.by, ended.resumed_by, ended.resume_reason) == ("ana", "cy", "flat")
        assert (ended.since, ended.resumed_at) == (clock.now(), clock.now())
        assert ended.failure.error_message == "halted by ana (drawdown): drawdown"
        assert [event.halt for event in recorder.of(TradingResumed)] == [ended]

    def test_the_failure_that_tripped_it(self, store: Store) -> None:
        """The record of a halt has the failure that tripped it, and how long the streak was."""
        tracker = FailureTracker(store=store)
        fail(tracker, 3)
        (halt,) = store.read().halts.values()
        assert halt.failure == tracker.last_failure
        assert (halt.consecutive, halt.threshold, halt.by_hand) == (3, 3, False)
        assert halt == tracker.halts[0]

    def test_scopes_are_resumed_by_their_names(self, store: Store) -> None:
        """A resume ends one scope's halt, clears the streaks in that scope alone, and says what stays halted."""
        policies = [ConsecutiveFailures(2, scope="key", halt_scope="same"), ConsecutiveFailures(9, scope="strategy")]
        tracker = FailureTracker(policies=policies, store=store)
        fail(tracker, 2)
        fail(tracker, 2, "VWAP", "MSFT")
        assert {halt.scope for halt in tracker.halts} == {KEY, Scope("VWAP", "MSFT")}
        (left,) = tracker.resume(by="ana", reason="over", strategy="VWAP", symbol="AAPL")
        assert left.scope == Scope("VWAP", "MSFT")
        assert store.live.keys() == {Scope("VWAP", "MSFT"), Scope("VWAP")}
        tracker.resume(by="ana", reason="over", strategy="VWAP")
        assert store.live.keys() == {Scope("VWAP", "MSFT"), Scope("VWAP")}, "there was no halt of that scope"

    def test_a_thousand_halts_are_kept(self, store: Store) -> None:
        """The history of halts is bounded: the last thousand that ended, the oldest first."""
        manager = EmergencyHaltManager(store)
        manager.trigger_halt("drill 0")
        (halt,) = store.halts.values()
        ended = [halt] * 1_001
        store.update(Touched(halts=[Scope()]), lambda _rows: Change(halts={Scope(): None}, ended=ended))
        manager.trigger_halt("drill 1")
        manager.resume_trading(by="ana", reason="over")
        assert len(store.ended()) == 1_000
        assert store.ended()[-1].reason == "drill 1"

    def test_the_callback_runs_once(self, store: Store) -> None:
        """The halt callback runs once per episode, may call anything, and leaves nothing unsettled."""
        called: list[str] = []

        def callback(reason: str, _failure: object) -> None:
            called.append(reason)
            tracker.resume(by="the callback", reason="drill")
            fail(tracker, 1)

        tracker = FailureTracker(store=store, halt_callback=callback)
        fail(tracker, 3)
        assert len(called) == 1
        assert not tracker.halts
        assert not tracker.callback_pending
        assert not list(store.unsettled())

    def test_a_callback_that_raises_is_pending(self, store: Store, clock: FakeClock) -> None:
        """A callback that raises is pending until it succeeds."""
        failing = [True]

        def callback(_reason: str, _failure: object) -> None:
            if failing[0]:
                raise ConnectionError("the broker is away")

        tracker = FailureTracker(store=store, clock=clock, halt_callback=callback)
        fail(tracker, 3)
        assert tracker.callback_pending
        failing[0] = False
        clock.advance(timedelta(minutes=2))
        guarded_signal(tracker=tracker)(lambda: None)()
        assert not tracker.callback_pending
        assert not list(store.unsettled())


class TestAudit:
    def test_who_did_what(self, store: Store, clock: FakeClock) -> None:
        """Starts, halts, resumes, resets and a cleared history are in the audit, with who, why, when and where."""
        tracker = FailureTracker(store=store, clock=clock)
        fail(tracker, 3)
        tracker.halt_manager.trigger_halt("and by hand", by="ben")
        tracker.resume(by="ana", reason="feed is back")
        tracker.reset()
        tracker.clear_history()
        entries = store.audit()
        assert [entry.action for entry in entries] == ["start", "halt", "halt", "resume", "reset", "clear_history"]
        start, by_threshold, by_hand, resume, *_ = entries
        assert start.details["policies"] == [
            "ConsecutiveFailures(threshold=3, scope=global)",
            "ConsecutiveFailures(threshold=3)",
        ]
        assert by_threshold.by is None
        assert by_threshold.reason is not None
        assert by_threshold.reason.startswith("3 consecutive failures")
        assert (by_hand.by, by_hand.reason) == ("ben", "and by hand")
        assert (resume.by, resume.reason, resume.scope) == ("ana", "feed is back", Scope())
        assert resume.details["episode"] == by_threshold.details["episode"] == by_hand.details["halted_already"]
        assert all(entry.at == clock.now() for entry in entries)
        assert len({entry.origin for entry in entries}) == 1

    def test_the_user_of_the_system(self, store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
        """The user in the audit is that of the process, whatever the environment says; without a name its number."""
        monkeypatch.setenv("LOGNAME", "ceo")
        monkeypatch.setenv("USER", "ceo")
        EmergencyHaltManager(store).trigger_halt("drill")
        assert store.audit()[-1].origin == Origin(socket.gethostname(), os.getpid(), pwd.getpwuid(os.geteuid()).pw_name)

        def nobody(_user: int) -> None:
            raise KeyError

        monkeypatch.setattr(pwd, "getpwuid", nobody)
        assert here().os_user == f"uid {os.geteuid()}"

    def test_it_is_a_claim(self, store: Store) -> None:
        """What somebody says to be their name is labelled as a claim."""
        EmergencyHaltManager(store).trigger_halt("drill", by="ana")
        assert store.audit()[-1].to_dict()["claimed_by"] == "ana"


class CountingOnStores(Counting):
    """The state machine of the core, on a store."""

    place: Callable[[], Place]

    def open_store(self) -> Store:
        self.opened = type(self).place()
        return self.opened.open()

    def teardown(self) -> None:
        if hasattr(self, "opened"):
            self.opened.close()


@pytest.fixture
def machine(request: pytest.FixtureRequest, places: Callable[[str], Place]) -> type[CountingOnStores]:
    return type("CountingOnAStore", (CountingOnStores,), {"place": lambda: places(request.param)})


@pytest.mark.parametrize("machine", KINDS, indirect=True)
@pytest.mark.filterwarnings("default")
def test_the_state_machine_of_the_core(machine: type[CountingOnStores]) -> None:
    """Failures, successes, time and resumes in any order are counted as by the reference of ten lines."""
    from hypothesis.stateful import run_state_machine_as_test  # noqa: PLC0415  # one test needs it

    run_state_machine_as_test(
        machine,
        settings=settings(
            max_examples=80, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
        ),
    )
