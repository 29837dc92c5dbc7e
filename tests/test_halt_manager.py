"""EmergencyHaltManager: the latch, its scopes and levels, who may open it, and what it reports."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest

from guarded import (
    ConsecutiveFailures,
    EmergencyHaltManager,
    Event,
    FailureRate,
    FailureTracker,
    HaltLevel,
    HaltRecord,
    HaltTrigger,
    HaltTriggered,
    InvalidConfiguration,
    MemoryStore,
    Scope,
    SignalGenerationFailure,
    TradingResumed,
    guarded_signal,
)
from guarded.stores import Change, Rows, Touched
from guarded.testing import FakeClock

KEYS = [("VWAP", "AAPL"), ("VWAP", "MSFT"), ("RSI", "AAPL"), ("RSI", "MSFT")]


@pytest.fixture
def manager(clock: FakeClock) -> EmergencyHaltManager:
    return EmergencyHaltManager(clock=clock)


class Calls:
    """A halt callback that keeps what it is called with."""

    def __init__(self) -> None:
        self.made: list[tuple[str, SignalGenerationFailure]] = []

    def on_halt(self, reason: str, failure: SignalGenerationFailure) -> None:
        self.made.append((reason, failure))


def call(tracker: FailureTracker, strategy: str = "VWAP", symbol: str = "AAPL", **settings: Any) -> str | None:
    """What a guarded call gives: "long", or None while it is refused."""

    @guarded_signal(strategy=strategy, symbol=symbol, tracker=tracker, **settings)
    def generate() -> str:
        return "long"

    return generate()


def fail(tracker: FailureTracker, times: int, strategy: str = "VWAP", symbol: str = "AAPL") -> None:
    for _ in range(times):
        tracker.record_failure(strategy, symbol, ValueError("bad bar"))


def reasons(halts: tuple[HaltRecord, ...]) -> list[str]:
    return [halt.reason for halt in halts]


class TestLatch:
    def test_the_first_to_halt_is_told_so(self, manager: EmergencyHaltManager) -> None:
        """trigger_halt is True for the call that halts, and False while it is halted so already."""
        assert manager.trigger_halt("drill") is True
        assert manager.trigger_halt("another drill") is False
        assert manager.trigger_halt("a mild drill", level=HaltLevel.REDUCING) is False
        assert manager.trigger_halt("bad data", level=HaltLevel.REDUCING, symbol="AAPL") is True
        assert manager.trigger_halt("worse data", level=HaltLevel.REDUCING, symbol="AAPL") is False
        everything, apple = reasons(manager.history)
        assert everything == "drill; also manual: another drill; also manual: a mild drill"
        assert apple == "bad data; also manual: worse data"

    def test_a_second_reason_is_known_to_who_resumes(
        self, manager: EmergencyHaltManager, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A kill switch while it is halted already is logged and added to the reason, once, and not without end."""
        tracker = FailureTracker(1, halt_manager=manager)
        fail(tracker, 1)
        for _ in range(2):
            assert manager.trigger_halt("positions are wrong", "kill_switch", by="ana") is False
        assert (tracker.halt_reason or "").endswith("ValueError: bad bar; also by ana: positions are wrong")
        assert "ana (kill_switch) halts everything, which is halted already: positions are wrong" in caplog.text
        for number in range(1_000):
            manager.trigger_halt(f"again, {number}")
        assert len(tracker.halt_reason or "") <= 5_000

    def test_nothing_but_a_resume_opens_it(self, manager: EmergencyHaltManager, clock: FakeClock) -> None:
        """Neither time nor successes nor a reset end a halt."""
        tracker = FailureTracker(halt_manager=manager)
        fail(tracker, 3)
        tracker.record_success("VWAP", "AAPL")
        tracker.reset()
        tracker.clear_history()
        clock.advance(timedelta(days=30))
        assert manager.is_halted()
        assert call(tracker) is None

    def test_a_stricter_level_escalates_the_episode(self, manager: EmergencyHaltManager) -> None:
        """From reducing to halted the episode stays the same, the reason tells both, and no callback runs again."""
        calls = Calls()
        tracker = FailureTracker(halt_manager=manager, halt_callback=calls.on_halt)
        heard: list[Event] = []
        tracker.subscribe(heard.append)
        assert manager.trigger_halt("drawdown of 4 %", HaltTrigger.DRAWDOWN, level="reducing")
        assert manager.trigger_halt("flash crash", HaltTrigger.MARKET_CRASH, by="ana")
        first, second = heard
        assert isinstance(first, HaltTriggered)
        assert isinstance(second, HaltTriggered)
        assert (first.escalated, second.escalated) == (False, True)
        assert first.halt.episode == second.halt.episode
        assert (first.halt.level, second.halt.level) == (HaltLevel.REDUCING, HaltLevel.HALTED)
        assert second.halt.reason == "drawdown of 4 %; raised to halted by ana: flash crash"
        assert second.failure is first.failure
        assert [reason for reason, _ in calls.made] == ["drawdown of 4 %"]

    def test_an_escalation_by_nobody(self, manager: EmergencyHaltManager) -> None:
        """Who raises a level may leave their name out."""
        manager.trigger_halt("a", level="reducing")
        manager.trigger_halt("b")
        assert manager.get_halt_status()["halt_reason"] == "a; raised to halted: b"

    def test_a_threshold_escalates_too(self, manager: EmergencyHaltManager) -> None:
        """A threshold reached while reducing makes the halt stricter without another callback."""
        calls = Calls()
        tracker = FailureTracker(halt_manager=manager, halt_callback=calls.on_halt)
        manager.trigger_halt("drawdown", level="reducing")
        fail(tracker, 3)
        assert manager.get_halt_status()["level"] == "halted"
        assert len(calls.made) == 1

    @pytest.mark.parametrize("trigger", [*HaltTrigger, "margin_call"])
    def test_any_trigger_type(self, manager: EmergencyHaltManager, trigger: str) -> None:
        """Every HaltTrigger and any other text says what triggered a halt."""
        manager.trigger_halt("drill", trigger)
        assert manager.get_halt_status()["trigger_type"] == str(trigger)
        assert type(manager.get_halt_status()["trigger_type"]) is str

    def test_a_hostile_reason_still_halts(self, manager: EmergencyHaltManager) -> None:
        """A kill switch works whatever is given as the reason."""

        class Hostile(Exception):
            def __str__(self) -> str:
                raise RuntimeError("no text")

        assert manager.trigger_halt(Hostile(), by=Hostile())  # type: ignore[arg-type]
        status = json.loads(json.dumps(manager.get_halt_status()))
        assert status["halt_reason"] == status["halted_by"] == "<no text: its __str__ raised>"

    def test_secrets_are_masked(self, manager: EmergencyHaltManager) -> None:
        """What people write into reasons and names is kept without its secrets."""
        manager.trigger_halt("POST /order?signature=0123456789abcdef failed", by="bot token=0123456789abcdef")
        manager.resume_trading(by="ana", reason="new password=hunter2hunter2")
        (halt,) = manager.history
        assert halt.reason == "POST /order?signature=*** failed"
        assert halt.by == "bot token=***"
        assert halt.resume_reason == "new password=***"

    @pytest.mark.parametrize(
        ("settings", "says"),
        [
            ({"level": "paused"}, "level='paused': expected one of 'reducing', 'halted'"),
            ({"level": None}, "level=None: expected one of"),
            ({"strategy": ""}, "strategy='': expected a name, or None for every strategy"),
            ({"symbol": 7}, "symbol=7: expected a name, or None for every symbol"),
        ],
    )
    def test_bad_settings(self, manager: EmergencyHaltManager, settings: dict[str, Any], says: str) -> None:
        """A level that does not exist, or a name that is none, halts nobody and says what was expected."""
        with pytest.raises(InvalidConfiguration, match=says):
            manager.trigger_halt("drill", **settings)
        assert manager.history == ()


class TestScopes:
    @pytest.mark.parametrize(
        ("scope", "refused"),
        [
            ({}, KEYS),
            ({"strategy": "VWAP"}, [("VWAP", "AAPL"), ("VWAP", "MSFT")]),
            ({"symbol": "AAPL"}, [("VWAP", "AAPL"), ("RSI", "AAPL")]),
            ({"strategy": "VWAP", "symbol": "AAPL"}, [("VWAP", "AAPL")]),
        ],
    )
    def test_a_halt_refuses_its_scope_and_nothing_else(
        self, manager: EmergencyHaltManager, scope: dict[str, str], refused: list[tuple[str, str]]
    ) -> None:
        """Calls of the halted scope are refused, all others run."""
        tracker = FailureTracker(halt_manager=manager)
        manager.trigger_halt("drill", **scope)
        assert [key for key in KEYS if call(tracker, *key) is None] == refused
        assert [key for key in KEYS if manager.is_halted(*key)] == refused
        assert manager.is_halted() is (refused == KEYS)
        assert tracker.halt_triggered is (refused == KEYS)
        assert tracker.refusals == len(refused)

    def test_a_narrower_scope_is_not_everything(self, manager: EmergencyHaltManager) -> None:
        """is_halted answers for the whole scope it is asked about."""
        manager.trigger_halt("drill", strategy="VWAP", symbol="AAPL")
        assert manager.is_halted("VWAP", "AAPL")
        assert not manager.is_halted("VWAP")
        assert not manager.is_halted(symbol="AAPL")

    @pytest.mark.parametrize(("level", "runs"), [("reducing", "long"), (HaltLevel.HALTED, None)])
    def test_levels(self, manager: EmergencyHaltManager, level: str, runs: str | None) -> None:
        """While reducing, calls that only close positions run; while halted, nothing does."""
        tracker = FailureTracker(halt_manager=manager)
        manager.trigger_halt("drill", level=level)
        assert call(tracker, reduce_only=True) == runs
        assert call(tracker) is None

    def test_the_strictest_halt_of_a_call_counts(self, manager: EmergencyHaltManager) -> None:
        """A call that one halt would let run is refused by another."""
        tracker = FailureTracker(halt_manager=manager)
        manager.trigger_halt("drawdown", level="reducing")
        manager.trigger_halt("bad data", symbol="AAPL")
        assert call(tracker, "VWAP", "AAPL", reduce_only=True) is None
        assert call(tracker, "VWAP", "MSFT", reduce_only=True) == "long"

    def test_a_halt_that_ends_while_it_is_looked_up(self) -> None:
        """A resume in another thread, between two looks at the latch, is no error."""

        class Ending(dict[Scope, HaltRecord]):
            def __contains__(self, scope: object) -> bool:
                return True

        class Store(MemoryStore):
            @property
            def halts(self) -> dict[Scope, HaltRecord]:
                return Ending()

        assert not EmergencyHaltManager(Store()).is_halted("VWAP", "AAPL")


class TestResume:
    @pytest.mark.parametrize("field", ["by", "reason"])
    @pytest.mark.parametrize("value", ["", "  \n", None, 7, b"ana"])
    @pytest.mark.parametrize("through", ["manager", "tracker"])
    def test_only_with_a_name_and_a_reason(
        self, manager: EmergencyHaltManager, field: str, value: object, through: str
    ) -> None:
        """Without who and why, trading stays halted and the error says so."""
        tracker = FailureTracker(halt_manager=manager)
        manager.trigger_halt("drill")
        resume: Callable[..., Any] = manager.resume_trading if through == "manager" else tracker.resume
        with pytest.raises(InvalidConfiguration, match=f"{field}=.*on the record, so say who and why"):
            resume(**{"by": "ana", "reason": "drill over", field: value})
        assert manager.is_halted()

    def test_without_names_the_global_halt_only(self, manager: EmergencyHaltManager) -> None:
        """A resume without names leaves the scoped halts, and returns them."""
        manager.trigger_halt("everything")
        manager.trigger_halt("one strategy", strategy="VWAP")
        manager.trigger_halt("one symbol", symbol="AAPL")
        stays = manager.resume_trading(by="ana", reason="drill over")
        assert reasons(stays) == ["one strategy", "one symbol"]
        assert not manager.is_halted()
        assert manager.is_halted("VWAP")
        assert reasons(manager.resume_trading(by="ana", reason="done", strategy="VWAP")) == ["one symbol"]
        assert manager.resume_trading(by="ana", reason="done", symbol="AAPL") == ()

    @pytest.mark.parametrize("through", ["manager", "tracker"])
    def test_whoever_resumes_resumes_for_all(self, manager: EmergencyHaltManager, through: str) -> None:
        """The tracker and the manager open the same latch."""
        tracker = FailureTracker(halt_manager=manager)
        manager.trigger_halt("drill", strategy="VWAP")
        resume: Callable[..., Any] = manager.resume_trading if through == "manager" else tracker.resume
        assert resume(by="ana", reason="drill over", strategy="VWAP") == ()
        assert (tracker.halts, call(tracker)) == ((), "long")

    def test_a_resume_of_nothing(self, manager: EmergencyHaltManager) -> None:
        """To resume what is not halted changes nothing and tells nobody."""
        tracker = FailureTracker(halt_manager=manager)
        heard: list[Event] = []
        fail(tracker, 2)
        manager.trigger_halt("drill", symbol="AAPL")
        tracker.subscribe(heard.append)
        assert reasons(manager.resume_trading(by="ana", reason="what halt?")) == ["drill"]
        assert tracker.consecutive_failures == 2
        assert heard == []

    def test_a_name_that_is_none(self, manager: EmergencyHaltManager) -> None:
        """An empty name is no way to say "everything"."""
        manager.trigger_halt("drill")
        with pytest.raises(InvalidConfiguration, match="strategy='': expected a name, or None"):
            manager.resume_trading(by="ana", reason="done", strategy="")
        assert manager.is_halted()

    def test_the_streaks_of_every_tracker_start_again(self, manager: EmergencyHaltManager) -> None:
        """After a resume the first failure halts nobody, on whichever tracker of the manager."""
        one, two = FailureTracker(halt_manager=manager), FailureTracker(halt_manager=manager)
        fail(one, 3)
        fail(two, 2)
        one.resume(by="ana", reason="feed is back")
        assert (one.consecutive_failures, two.consecutive_failures) == (0, 0)
        fail(two, 1)
        assert not two.is_halted()

    def test_a_scoped_resume_clears_the_streaks_of_its_scope(self, manager: EmergencyHaltManager) -> None:
        """Streaks of other scopes stay when a strategy is resumed."""
        policies = [ConsecutiveFailures(3, scope="key", halt_scope="same")]
        one = FailureTracker(halt_manager=manager, policies=policies)
        two = FailureTracker(halt_manager=manager, policies=policies)
        for tracker in (one, two):
            fail(tracker, 2, "VWAP")
            fail(tracker, 2, "RSI")
        manager.trigger_halt("drill", strategy="VWAP")
        manager.resume_trading(by="ana", reason="drill over", strategy="VWAP")
        for tracker in (one, two):
            fail(tracker, 2, "VWAP")
            assert manager.history[1:] == ()
        fail(one, 1, "RSI")
        fail(two, 1, "RSI")
        assert manager.is_halted("RSI", "AAPL")
        assert not manager.is_halted("VWAP", "AAPL")

    def test_two_who_resume_at_once(self) -> None:
        """Of two who resume the same halt, the one who comes first is on the record, and it is told once."""

        class Store(MemoryStore):
            meanwhile: list[Callable[[], object]] = []  # noqa: RUF012  # one store

            def update(self, touched: Touched, change: Callable[[Rows], Change]) -> None:
                while self.meanwhile:
                    self.meanwhile.pop()()
                super().update(touched, change)

        tracker = FailureTracker(store=Store())
        heard: list[Event] = []
        tracker.subscribe(heard.append)
        tracker.halt_manager.trigger_halt("drill")
        Store.meanwhile.append(lambda: tracker.resume(by="ben", reason="over"))
        tracker.resume(by="ana", reason="over")
        assert [halt.resumed_by for halt in tracker.halt_manager.history] == ["ben"]
        assert [type(event) for event in heard] == [HaltTriggered, TradingResumed]

    def test_a_manager_without_trackers_clears_streaks_too(self, clock: FakeClock) -> None:
        """A resume through another manager on the same store clears the streaks in it."""
        tracker = FailureTracker(clock=clock)
        fail(tracker, 3)
        EmergencyHaltManager(tracker.halt_manager.store).resume_trading(by="ana", reason="feed is back")
        assert tracker.consecutive_failures == 0

    def test_a_second_episode_is_another(self, manager: EmergencyHaltManager) -> None:
        """After a resume, the next halt starts an episode of its own and runs the callback again."""
        calls = Calls()
        tracker = FailureTracker(halt_manager=manager, halt_callback=calls.on_halt)
        for _ in range(2):
            fail(tracker, 3)
            manager.resume_trading(by="ana", reason="feed is back")
        assert len(calls.made) == 2
        assert len({halt.episode for halt in manager.history}) == 2


class TestTrackers:
    def test_counts_of_their_own_and_one_latch(self, manager: EmergencyHaltManager) -> None:
        """Two trackers of one manager count apart and are halted together."""
        one, two = FailureTracker(halt_manager=manager), FailureTracker(halt_manager=manager)
        fail(one, 3)
        assert (one.total_failures, two.total_failures) == (3, 0)
        assert (one.consecutive_failures, two.consecutive_failures) == (3, 0)
        assert one.halts == two.halts != ()
        assert two.halt_reason == one.halt_reason
        assert call(two) is None

    def test_every_tracker_hears(self, manager: EmergencyHaltManager) -> None:
        """The listeners of every tracker hear of halts and resumes, whoever caused them."""
        one, two = FailureTracker(halt_manager=manager), FailureTracker(halt_manager=manager)
        heard: list[Event] = []
        two.subscribe(heard.append)
        fail(one, 3)
        one.resume(by="ana", reason="feed is back")
        halted, resumed = heard
        assert isinstance(halted, HaltTriggered)
        assert halted.failure is one.last_failure
        assert isinstance(resumed, TradingResumed)
        assert (resumed.halt.episode, resumed.by, resumed.reason) == (halted.halt.episode, "ana", "feed is back")

    def test_through_another_manager_on_the_same_store(self) -> None:
        """Managers on one store speak for the same trackers: halts and resumes are told, and the callback runs."""
        calls = Calls()
        tracker = FailureTracker(halt_callback=calls.on_halt)
        heard: list[Event] = []
        tracker.subscribe(heard.append)
        other = EmergencyHaltManager(tracker.halt_manager.store)
        other.trigger_halt("drill")
        other.resume_trading(by="ana", reason="drill over")
        assert [type(event) for event in heard] == [HaltTriggered, TradingResumed]
        assert len(calls.made) == 1

    def test_a_callback_of_two_trackers_runs_once(self, manager: EmergencyHaltManager) -> None:
        """Trackers that were given the same callback, also as a bound method, run it once per episode."""
        calls, others = Calls(), Calls()
        trackers = [FailureTracker(halt_manager=manager, halt_callback=c.on_halt) for c in (calls, others, calls)]
        fail(trackers[0], 3)
        assert (len(calls.made), len(others.made)) == (1, 1)

    def test_callbacks_that_cannot_be_compared(self, manager: EmergencyHaltManager) -> None:
        """A callback whose __eq__ raises is told apart by its identity."""

        class Incomparable:
            def __init__(self) -> None:
                self.reasons: list[str] = []

            def __eq__(self, other: object) -> bool:
                raise RuntimeError("ambiguous")

            __hash__ = None  # type: ignore[assignment]

            def __call__(self, reason: str, failure: SignalGenerationFailure) -> None:
                self.reasons.append(reason)

        one, two = Incomparable(), Incomparable()
        trackers = [FailureTracker(halt_manager=manager, halt_callback=callback) for callback in (one, two, one)]
        manager.trigger_halt("drill")
        assert len(trackers) == 3
        assert (one.reasons, two.reasons) == (["drill"], ["drill"])

    def test_a_tracker_that_is_gone_is_forgotten(self, manager: EmergencyHaltManager) -> None:
        """The manager keeps no tracker alive, and works without any."""
        calls = Calls()
        gone = FailureTracker(halt_manager=manager, halt_callback=calls.on_halt)
        del gone
        kept = FailureTracker(halt_manager=manager)
        assert manager.trigger_halt("drill")
        assert (calls.made, call(kept)) == ([], None)

    def test_a_manual_halt_runs_the_callback(self, manager: EmergencyHaltManager, clock: FakeClock) -> None:
        """A kill switch calls the callback with a failure that names operator and reason and is not counted."""
        calls = Calls()
        tracker = FailureTracker(halt_manager=manager, halt_callback=calls.on_halt)
        manager.trigger_halt("daily loss of 2.1 %", HaltTrigger.DAILY_LOSS, by="risk desk", strategy="VWAP")
        ((reason, failure),) = calls.made
        assert reason == "daily loss of 2.1 %"
        assert failure.error_message == "halted by risk desk (daily_loss): daily loss of 2.1 %"
        assert (failure.strategy_name, failure.symbol) == ("VWAP", "everything")
        assert failure.timestamp == clock.now()
        assert (tracker.total_failures, tracker.failure_history, tracker.consecutive_failures) == (0, [], 0)

    def test_a_manual_halt_by_nobody(self, manager: EmergencyHaltManager) -> None:
        """A program need not give a name to halt."""
        calls = Calls()
        tracker = FailureTracker(halt_manager=manager, halt_callback=calls.on_halt)
        manager.trigger_halt("drill")
        assert tracker.halts[0].by is None
        assert [failure.error_message for _, failure in calls.made] == ["halted by a program (manual): drill"]

    def test_the_manager_of_a_tracker(self) -> None:
        """A tracker that is given no manager has one of its own, on the same latch."""
        tracker = FailureTracker()
        assert tracker.halt_manager.trigger_halt("drill")
        assert tracker.halt_triggered
        assert tracker.halt_manager is not FailureTracker().halt_manager


STATUS_KEYS = [
    "is_halted",
    "level",
    "halt_reason",
    "trigger_type",
    "halted_since",
    "halted_by",
    "scope",
    "callback_pending",
    "halts",
]


class TestReports:
    def test_the_status_of_an_open_latch(self, manager: EmergencyHaltManager) -> None:
        """The status has the same keys whether or not trading is halted."""
        status = manager.get_halt_status()
        assert list(status) == STATUS_KEYS
        values = dict.fromkeys(STATUS_KEYS) | {"is_halted": False, "callback_pending": False, "halts": []}
        assert status == values

    def test_the_status_of_a_halt(self, manager: EmergencyHaltManager) -> None:
        """The status is JSON-ready and tells since when, why, how much, and by whom."""
        manager.trigger_halt("crash", HaltTrigger.MARKET_CRASH, by="ana", level="reducing")
        manager.trigger_halt("bad data", symbol="AAPL")
        status = manager.get_halt_status()
        assert json.loads(json.dumps(status)) == status
        halts = status.pop("halts")
        assert status == {
            "is_halted": True,
            "level": "reducing",
            "halt_reason": "crash",
            "trigger_type": "market_crash",
            "halted_since": "2025-11-11T14:00:00+00:00",
            "halted_by": "ana",
            "scope": "everything",
            "callback_pending": False,
        }
        assert [halt["scope"] for halt in halts] == [
            {"strategy": None, "symbol": None},
            {"strategy": None, "symbol": "AAPL"},
        ]

    def test_a_halt_as_a_dict(self, manager: EmergencyHaltManager, clock: FakeClock) -> None:
        """A halt's JSON-ready form has its fields as keys, and its failure by id."""
        tracker = FailureTracker(halt_manager=manager)
        fail(tracker, 3)
        clock.advance(timedelta(minutes=1))
        manager.resume_trading(by="ana", reason="feed is back")
        (halt,) = manager.history
        assert halt.to_dict() == {
            "scope": {"strategy": None, "symbol": None},
            "level": "halted",
            "reason": "3 consecutive failures (threshold 3); last: VWAP for AAPL: ValueError: bad bar",
            "trigger_type": "technical_failure",
            "since": "2025-11-11T14:00:00+00:00",
            "by": None,
            "failure_id": tracker.failure_history[-1].failure_id,
            "consecutive": 3,
            "threshold": 3,
            "by_hand": False,
            "episode": halt.episode,
            "resumed_at": "2025-11-11T14:01:00+00:00",
            "resumed_by": "ana",
            "resume_reason": "feed is back",
        }

    def test_by_hand_or_by_a_policy(self, manager: EmergencyHaltManager) -> None:
        """A halt tells whether somebody halted it or a policy did, also when nobody gave a name."""
        tracker = FailureTracker(halt_manager=manager, policies=[FailureRate(1, calls=1)])
        manager.trigger_halt("drill", symbol="MSFT")
        fail(tracker, 1)
        assert [(halt.by_hand, halt.by) for halt in manager.history] == [(True, None), (False, None)]

    def test_the_status_while_one_scope_is_halted(self, manager: EmergencyHaltManager) -> None:
        """A scoped halt is listed, and is_halted speaks of everything."""
        manager.trigger_halt("drill", strategy="VWAP")
        status = manager.get_halt_status()
        assert (status["is_halted"], status["level"], len(status["halts"])) == (False, None, 1)

    def test_the_summary_of_an_open_latch(self, manager: EmergencyHaltManager) -> None:
        """The summary says that trading is active."""
        assert manager.get_halt_summary() == (
            "Trading Halt Status\n"
            "==================================================\n"
            "Status: Active (no halt)"
        )  # fmt: skip

    def test_the_summary_of_halts(self, manager: EmergencyHaltManager, clock: FakeClock) -> None:
        """The summary tells of every halt its scope, level, reason, time, operator and trigger."""
        manager.trigger_halt("daily loss of 2.1 %", HaltTrigger.DAILY_LOSS, by="risk desk")
        clock.advance(timedelta(minutes=5))
        manager.trigger_halt("stale quotes", "feed", strategy="VWAP", symbol="AAPL", level="reducing")
        assert manager.get_halt_summary() == (
            "Trading Halt Status\n"
            "==================================================\n"
            "Status: HALTED (everything, level halted)\n"
            "  Reason: daily loss of 2.1 %\n"
            "  Since: 2025-11-11T14:00:00+00:00 by risk desk (daily_loss)\n"
            "Status: HALTED (VWAP for AAPL, level reducing)\n"
            "  Reason: stale quotes\n"
            "  Since: 2025-11-11T14:05:00+00:00 (feed)"
        )

    def test_scopes_as_people_read_them(self, manager: EmergencyHaltManager) -> None:
        """A scope reads as who it is."""
        for strategy, symbol in itertools.product((None, "VWAP"), (None, "AAPL")):
            manager.trigger_halt("drill", strategy=strategy, symbol=symbol)
        shown = [str(halt.scope) for halt in manager.history]
        assert shown == ["everything", "symbol AAPL", "strategy VWAP", "VWAP for AAPL"]

    def test_the_history(self, manager: EmergencyHaltManager, clock: FakeClock) -> None:
        """The history has the halts that ended, with who resumed them when and why, then those in force."""
        manager.trigger_halt("first", symbol="AAPL")
        manager.trigger_halt("second")
        clock.advance(timedelta(hours=1))
        manager.resume_trading(by="ben", reason="drill over")
        second, first = manager.history
        assert (second.reason, first.reason) == ("second", "first")
        assert (second.resumed_by, second.resume_reason) == ("ben", "drill over")
        assert second.resumed_at == second.since + timedelta(hours=1)
        assert (first.resumed_by, first.resume_reason, first.resumed_at) == (None, None, None)
