"""FailureTracker: settings, recording by hand, what is reported, and what resets what."""

from __future__ import annotations

import copy
import gc
import json
import logging
import pickle
import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pytest_mock import MockerFixture

from guarded import (
    ConsecutiveFailures,
    EmergencyHaltManager,
    FailureRate,
    FailureRules,
    FailureTracker,
    FailureType,
    InvalidConfiguration,
    MemoryStore,
    SignalFailed,
    SignalRecovered,
    _tracker,
    guarded_signal,
)
from guarded.testing import FakeClock


def fail(tracker: FailureTracker, strategy: str = "VWAP", symbol: str = "AAPL", times: int = 1) -> None:
    for _ in range(times):
        tracker.record_failure(strategy, symbol, "an error event")


class NaiveClock:
    def monotonic(self) -> float:
        return 1.0

    def now(self) -> datetime:
        return datetime(2025, 11, 11)  # noqa: DTZ001  # naive on purpose


class TestSettings:
    """A setting that cannot work fails at start-up."""

    @pytest.mark.parametrize(
        ("settings", "says"),
        [
            ({"failure_threshold": 0}, "failure_threshold=0: expected a whole number of at least 1"),
            ({"failure_threshold": True}, "failure_threshold=True"),
            ({"failure_threshold": "3"}, "failure_threshold='3'"),
            ({"reset_window": timedelta(minutes=-5)}, "reset_window=.*expected a positive timedelta"),
            ({"reset_window": 300}, "reset_window=300"),
            ({"history_size": 0}, "history_size=0"),
            ({"halt_callback": "page me"}, r"halt_callback='page me': expected a function of \(reason, failure\)"),
            ({"rules": {"KeyError": "data_error"}}, "rules=.*expected an instance of FailureRules"),
            ({"clock": 7}, r"clock=7: it cannot be read \(AttributeError"),
            ({"clock": NaiveClock()}, r"expected monotonic\(\) in seconds and an aware now\(\), got 1.0 and datetime"),
            ({"store": "postgres://x"}, "store='postgres://x': expected 'memory://'"),
            ({"store": 7}, "store=7: expected a store such as MemoryStore"),
            ({"halt_manager": "mine"}, "expected an instance of EmergencyHaltManager"),
            ({"policies": []}, "policies is empty"),
            ({"policies": [3]}, "policies: 3 is neither a ConsecutiveFailures nor a FailureRate"),
            ({"policies": [ConsecutiveFailures(2)], "failure_threshold": 3}, "cannot be given beside policies"),
            (
                {"policies": [ConsecutiveFailures(2)], "reset_window": timedelta(minutes=5)},
                "cannot be given beside policies",
            ),
            (
                {"store": MemoryStore(), "halt_manager": EmergencyHaltManager()},
                "store and halt_manager disagree",
            ),
        ],
    )
    def test_bad_settings(self, settings: dict[str, Any], says: str) -> None:
        """The error names the value and what was expected."""
        with pytest.raises(InvalidConfiguration, match=says):
            FailureTracker(**settings)

    def test_the_threshold_that_is_shown(self) -> None:
        """With policies the threshold shown is that of the first that counts every type, if there is one."""
        some = ConsecutiveFailures(1, types={FailureType.DATA_ERROR})
        assert FailureTracker(policies=[some, ConsecutiveFailures(4)]).failure_threshold == 4
        tracker = FailureTracker(policies=[FailureRate(0.5, calls=2)])
        assert tracker.failure_threshold is None
        tracker.record_failure("VWAP", "AAPL", "an error event")
        assert "Consecutive Failures: 1\n" in tracker.get_failure_summary()

    def test_store_and_manager_that_agree(self) -> None:
        """A tracker may be given both, if the manager's latch lives in that store."""
        store = MemoryStore()
        manager = EmergencyHaltManager(store)
        assert FailureTracker(store=store, halt_manager=manager).halt_manager is manager

    def test_the_clock_of_the_manager_is_used(self, clock: FakeClock) -> None:
        """A tracker without a clock takes the halt manager's."""
        tracker = FailureTracker(halt_manager=EmergencyHaltManager(clock=clock))
        fail(tracker)
        assert tracker.last_failure_time == clock.now()

    def test_attributes_are_read_only(self, tracker: FailureTracker) -> None:
        """What was configured and counted cannot be assigned."""
        for name in ("failure_threshold", "reset_window", "refusals", "consecutive_failures", "halt_triggered"):
            with pytest.raises(AttributeError):
                setattr(tracker, name, 1)

    def test_the_threshold_beside_the_global_streak(self) -> None:
        """The summary shows a threshold beside the global streak only where that streak halts."""
        tracker = FailureTracker(policies=[ConsecutiveFailures(3, scope="strategy")])
        for number in range(7):
            fail(tracker, f"S{number}")
        assert "Consecutive Failures: 7\n" in tracker.get_failure_summary()


class TestCopies:
    """A tracker that is pickled or copied along with what uses it."""

    def test_it_is_the_same_in_this_process(self, tracker: FailureTracker) -> None:
        """Pickled, copied or deep-copied, it is the same tracker in the process that it lives in."""
        assert pickle.loads(pickle.dumps(tracker)) is tracker  # noqa: S301
        assert copy.copy(tracker) is copy.deepcopy([tracker])[0] is tracker
        lock = threading.Lock()
        with_a_callback = FailureTracker(halt_callback=lambda *_: lock.acquire())
        assert copy.deepcopy(with_a_callback) is with_a_callback

    def test_it_is_a_fresh_one_where_it_is_gone(self) -> None:
        """Where the tracker is no more, all that was pickled with it unpickles with one fresh one."""
        tracker = FailureTracker(7)
        fail(tracker)
        pickled = pickle.dumps(tracker)
        del tracker
        gc.collect()
        first, second = pickle.loads(pickled), pickle.loads(pickled)  # noqa: S301
        assert first is second
        assert (first.failure_threshold, first.total_failures) == (7, 0)

    def test_it_is_a_fresh_one_elsewhere(self) -> None:
        """In another process it is one new tracker with the same settings, however often it is unpickled."""
        window = timedelta(minutes=9)
        trackers = [
            FailureTracker(5, window, history_size=7, rules=FailureRules().map(KeyError, "execution_error")),
            FailureTracker(policies=[ConsecutiveFailures(4, scope="strategy")]),
        ]
        fail(trackers[0])
        program = (
            "import pickle, sys; data = sys.stdin.buffer.read(); a, b = pickle.loads(data);"
            "assert pickle.loads(data)[0] is a;"
            "print(a.failure_threshold, a.reset_window, a.history_size, a.total_failures,"
            " a.rules.classify(KeyError()), b.policies[0].scope)"
        )
        done = subprocess.run(
            [sys.executable, "-c", program], input=pickle.dumps(trackers), capture_output=True, check=True, timeout=60
        )
        assert done.stdout.decode().split() == ["5", "0:09:00", "7", "0", "execution_error", "strategy"]


class TestRecordingByHand:
    """record_failure and record_success."""

    def test_an_exception_is_classified(self, tracker: FailureTracker) -> None:
        """Without a type the rules decide; with one they are not asked."""
        assert tracker.record_failure("VWAP", "AAPL", KeyError("x")).failure_type is FailureType.DATA_ERROR
        given = tracker.record_failure("VWAP", "AAPL", KeyError("x"), "execution_error", {"order": 17})
        assert given.failure_type is FailureType.EXECUTION_ERROR
        assert given.additional_context == {"order": 17}
        with pytest.raises(InvalidConfiguration, match="failure_type='exec': expected"):
            tracker.record_failure("VWAP", "AAPL", KeyError("x"), "exec")

    def test_a_text_is_recorded_without_a_trace(self, tracker: FailureTracker) -> None:
        """An error that came as text is recorded as it is, of unknown type."""
        failure = tracker.record_failure("VWAP", "AAPL", "No security definition has been found")
        assert (failure.error_message, failure.error_type, failure.stack_trace) == (
            "No security definition has been found",
            "",
            None,
        )
        assert failure.failure_type is FailureType.UNKNOWN_ERROR

    def test_it_counts_whatever_the_rules_ignore(self, mocker: MockerFixture) -> None:
        """By hand always counts; ignore and propagate steer guards only."""
        tracker = FailureTracker(rules=FailureRules().ignore(KeyError).propagate(ValueError))
        tracker.record_failure("VWAP", "AAPL", KeyError("x"))
        tracker.record_failure("VWAP", "AAPL", ValueError("x"))
        assert tracker.total_failures == 2

    def test_names_are_taken_as_text(self, tracker: FailureTracker) -> None:
        """A name that is no text is recorded as its text."""
        fail(tracker, FailureType.DATA_ERROR, 17)  # type: ignore[arg-type]
        tracker.record_success(FailureType.DATA_ERROR, 17)  # type: ignore[arg-type]
        assert tracker.symbol_failures == {"17": 1}
        assert tracker.consecutive_failures == 0

    def test_a_success_always_resets(self, tracker: FailureTracker) -> None:
        """record_success ends the streaks even in a course that failed."""

        @guarded_signal(strategy="VWAP", symbol="AAPL")
        def generate() -> None:
            fail(tracker)
            tracker.record_success("VWAP", "AAPL")

        generate()
        assert tracker.consecutive_failures == 0


class TestStreaks:
    """Which streak halts, and when one ends."""

    def test_a_strategy_that_always_fails_beside_one_that_always_works_halts(self, tracker: FailureTracker) -> None:
        """The streak of one key halts although the global one is broken by the other's successes."""
        for _ in range(3):
            fail(tracker, "Broken")
            tracker.record_success("Fine", "MSFT")
        assert tracker.consecutive_failures == 0
        assert tracker.halt_triggered

    def test_different_keys_make_one_global_streak(self, tracker: FailureTracker) -> None:
        """Three failures in a row of three keys halt too."""
        for number in range(3):
            fail(tracker, f"S{number}")
        assert tracker.halt_triggered

    def test_the_window_ages_streaks(self, clock: FakeClock) -> None:
        """A streak whose last failure is older than the window reads as zero and starts again."""
        tracker = FailureTracker(clock=clock)
        fail(tracker, times=2)
        clock.advance(timedelta(minutes=5))
        assert tracker.consecutive_failures == 2
        assert not tracker.should_reset()
        clock.advance(timedelta(microseconds=1))
        assert tracker.consecutive_failures == 0
        assert tracker.should_reset()
        fail(tracker)
        assert tracker.consecutive_failures == 1
        assert not tracker.halt_triggered

    def test_without_a_window_streaks_never_age(self, clock: FakeClock) -> None:
        """With reset_window=None a failure a year counts, and there is nothing to reset."""
        tracker = FailureTracker(reset_window=None, clock=clock)
        for _ in range(3):
            assert not tracker.should_reset()
            fail(tracker)
            clock.advance(timedelta(days=365))
        assert tracker.halt_triggered
        assert not tracker.should_reset()

    def test_should_reset_before_any_failure(self, tracker: FailureTracker) -> None:
        """Without a failure there is nothing to reset."""
        assert not tracker.should_reset()

    def test_the_window_never_ends_a_halt(self, clock: FakeClock) -> None:
        """Neither time nor a success ends a halt."""
        tracker = FailureTracker(clock=clock)
        fail(tracker, times=3)
        clock.advance(timedelta(days=30))
        tracker.record_success("VWAP", "AAPL")
        assert tracker.halt_triggered

    def test_failures_too_far_apart_get_one_warning(self, clock: FakeClock, caplog: pytest.LogCaptureFixture) -> None:
        """Three failures of a key in a row that are too far apart get one warning per strategy, and never halt."""
        tracker = FailureTracker(clock=clock)
        for _ in range(7):
            fail(tracker, symbol="AAPL")
            fail(tracker, symbol="MSFT")
            clock.advance(timedelta(hours=1))
        assert not tracker.halt_triggered
        (warning,) = [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]
        assert warning == (
            "VWAP for AAPL keeps failing with no success between, but too far apart to count as consecutive:"
            " the window is 0:05:00. Use a window longer than the time between two calls,"
            " or None (reset_window= of the tracker, within= of a policy)."
        )

    def test_a_threshold_reached_while_halted_is_logged(
        self, tracker: FailureTracker, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A threshold that is reached while halted is logged, and is no second halt."""
        tracker.halt_manager.trigger_halt("drill")
        fail(tracker, times=3)
        assert len(tracker.halts) == 1
        assert tracker.halt_reason == "drill"
        assert (
            "3 consecutive failures (threshold 3), last by VWAP for AAPL; everything is halted already" in caplog.text
        )

    def test_the_streak_that_is_told(self, tracker: FailureTracker) -> None:
        """SignalFailed tells the streak that is nearest to its threshold, SignalRecovered the failures that it ends."""
        heard: list[Any] = []
        tracker.subscribe(heard.append)
        fail(tracker)
        tracker.record_success("Other", "MSFT")
        fail(tracker)
        tracker.record_success("VWAP", "AAPL")
        tracker.record_success("VWAP", "AAPL")
        assert [(e.streak, e.threshold) for e in heard if isinstance(e, SignalFailed)] == [(1, 3), (2, 3)]
        assert [(*e.key, e.failures) for e in heard if isinstance(e, SignalRecovered)] == [("VWAP", "AAPL", 2)]


class TestPolicies:
    """What halts trading instead of the default."""

    def test_one_configuration_error_is_enough(self) -> None:
        """A policy over some types halts on them alone, and other types do not break its streak."""
        tracker = FailureTracker(
            policies=[
                ConsecutiveFailures(1, types={"configuration_error"}),
                ConsecutiveFailures(2, types=["data_error"]),
            ]
        )
        fail(tracker, times=5)
        tracker.record_failure("VWAP", "AAPL", KeyError("x"), "data_error")
        fail(tracker)
        assert not tracker.halts
        tracker.record_failure("VWAP", "AAPL", KeyError("x"), "data_error")
        assert tracker.halt_reason == (
            "2 consecutive failures of type data_error (threshold 2); last: VWAP for AAPL: KeyError: 'x'"
        )

    def test_a_strategy_that_halts_alone(self) -> None:
        """With halt_scope="same" only the scope whose streak it was is halted."""
        tracker = FailureTracker(policies=[ConsecutiveFailures(2, scope="strategy", halt_scope="same")])
        fail(tracker, "VWAP", "AAPL")
        fail(tracker, "VWAP", "MSFT")
        assert tracker.is_halted("VWAP")
        assert tracker.is_halted("VWAP", "IBM")
        assert not tracker.is_halted("RSI", "AAPL")
        assert not tracker.is_halted()
        assert (tracker.halt_triggered, tracker.halt_reason) == (False, None)
        assert tracker.halts[0].reason.startswith("2 consecutive failures of strategy VWAP (threshold 2); last: ")

    def test_two_levels(self) -> None:
        """A first threshold may reduce and a second one halt; it is one episode that gets stricter."""
        tracker = FailureTracker(policies=[ConsecutiveFailures(2, level="reducing"), ConsecutiveFailures(4)])
        fail(tracker, times=2)
        (reducing,) = tracker.halts
        fail(tracker, times=2)
        (halted,) = tracker.halts
        assert (reducing.level, halted.level) == ("reducing", "halted")
        assert reducing.episode == halted.episode

    def test_the_strictest_of_several_at_once(self) -> None:
        """Where one failure reaches two limits, the stricter level is latched at once."""
        tracker = FailureTracker(policies=[ConsecutiveFailures(2, level="reducing"), ConsecutiveFailures(2)])
        fail(tracker, times=2)
        assert [halt.level for halt in tracker.halts] == ["halted"]

    def test_a_failure_rate(self) -> None:
        """A rate is judged over the last calls of its scope, once that many were made, guards' successes included."""
        tracker = FailureTracker(policies=[FailureRate(0.5, calls=4)])

        @guarded_signal(strategy="VWAP", symbol="AAPL", tracker=tracker)
        def generate(fails: bool) -> None:
            if fails:
                raise ValueError("bad bar")

        for fails in (True, True, False):
            generate(fails)
        assert not tracker.halts, "the window is not full"
        generate(False)
        assert not tracker.halts, "a success trips nothing"
        generate(False)
        generate(True)
        assert not tracker.halts, "the first failures have left the window"
        generate(True)
        assert tracker.halt_reason == (
            "failure rate 50% over 4 calls (limit 50%); last: VWAP for AAPL: ValueError: bad bar"
        )
        assert tracker.halts[0].consecutive is None

    def test_trackers_with_other_policies_on_one_store(self) -> None:
        """A success ends the streaks of its scopes also for trackers with other policies on the same store."""
        store = MemoryStore()
        one, other = (
            FailureTracker(store=store),
            FailureTracker(policies=[ConsecutiveFailures(3, scope="strategy")], store=store),
        )
        for _ in range(4):
            fail(other)
            one.record_success("VWAP", "AAPL")
        assert not one.halts


class TestResets:
    """What resets what."""

    def test_reset_keeps_everything_but_streaks(self, tracker: FailureTracker) -> None:
        """reset() sets streaks to zero; totals, history and halts stay."""
        fail(tracker, times=3)
        tracker.reset()
        assert (tracker.consecutive_failures, tracker.total_failures, len(tracker.failure_history)) == (0, 3, 3)
        assert tracker.halt_triggered

    def test_clear_history_keeps_streaks_and_halts(self, tracker: FailureTracker) -> None:
        """clear_history() forgets history and totals; streaks and halts stay."""
        fail(tracker, times=3)
        tracker.clear_history()
        assert (tracker.total_failures, tracker.strategy_failures, tracker.failure_history) == (0, {}, [])
        assert tracker.last_failure is None
        assert tracker.consecutive_failures == 3
        assert tracker.halt_triggered

    def test_resume_clears_the_streaks_of_its_scope(self) -> None:
        """Resuming one strategy clears that one's streaks and no other's."""
        tracker = FailureTracker(policies=[ConsecutiveFailures(2, halt_scope="same")])
        fail(tracker, "VWAP", times=2)
        fail(tracker, "RSI")
        tracker.resume(by="ana", reason="fixed", strategy="VWAP", symbol="AAPL")
        fail(tracker, "VWAP")
        assert not tracker.halts
        fail(tracker, "RSI")
        assert [halt.scope.strategy for halt in tracker.halts] == ["RSI"]


class TestReports:
    """What can be read."""

    def test_the_status_has_every_attribute(self, tracker: FailureTracker) -> None:
        """get_status() is JSON-ready, its keys are attribute names, and its values what the attributes say."""
        fail(tracker, times=12)
        tracker.record_success("RSI", "MSFT")
        status = json.loads(json.dumps(tracker.get_status()))
        assert status == {
            "consecutive_failures": tracker.consecutive_failures,
            "failure_threshold": 3,
            "reset_window": 300.0,
            "total_failures": 12,
            "strategy_failures": {"VWAP": 12},
            "symbol_failures": {"AAPL": 12},
            "type_failures": {"unknown_error": 12},
            "failure_history": [failure.to_dict() for failure in tracker.failure_history[-10:]],
            "last_failure": tracker.last_failure and tracker.last_failure.to_dict(),
            "last_failure_time": tracker.last_failure_time and tracker.last_failure_time.isoformat(),
            "last_success_time": tracker.last_success_time and tracker.last_success_time.isoformat(),
            "refusals": 0,
            "halt_triggered": True,
            "halt_reason": tracker.halt_reason,
            "halts": [halt.to_dict() for halt in tracker.halts],
            "callback_pending": False,
            "degraded": None,
            "internal_errors": status["internal_errors"],
        }
        assert FailureTracker(reset_window=None).get_status()["reset_window"] is None

    def test_the_summary_while_halted(self, clock: FakeClock) -> None:
        """The summary says that trading is halted, why, since when and by what."""
        tracker = FailureTracker(clock=clock)
        assert tracker.get_failure_summary().endswith("Last failure: none\nStatus: Active (no halt)")
        fail(tracker, times=3)
        assert tracker.get_failure_summary().endswith(
            "Last failure: 2025-11-11T14:00:00+00:00\n"
            "Status: HALTED (everything, level halted)\n"
            "  Reason: 3 consecutive failures (threshold 3); last: VWAP for AAPL: an error event\n"
            "  Since: 2025-11-11T14:00:00+00:00 (technical_failure)"
        )

    def test_times_come_from_the_clock(self, clock: FakeClock) -> None:
        """Failures and successes are stamped by the tracker's clock."""
        tracker = FailureTracker(clock=clock)
        tracker.record_success("VWAP", "AAPL")
        clock.advance(timedelta(hours=1))
        fail(tracker)
        assert tracker.last_failure_time == clock.now()
        assert tracker.last_success_time == clock.now() - timedelta(hours=1)

    def test_a_clock_that_breaks_costs_nothing(self, clock: FakeClock, mocker: MockerFixture) -> None:
        """When the clock raises, calls end as they would have and are recorded, with the machine's time."""
        tracker = FailureTracker(clock=clock)
        mocker.patch.object(clock, "now", side_effect=OSError("no time"))
        mocker.patch.object(clock, "monotonic", side_effect=OSError("no time"))
        assert guarded_signal(tracker=tracker)(lambda: "long")() == "long"
        assert guarded_signal(tracker=tracker)(lambda: 1 / 0)() is None
        assert tracker.total_failures == 1
        for stamp in (tracker.last_success_time, tracker.last_failure_time):
            assert stamp is not None
            assert abs(stamp - datetime.now(UTC)) < timedelta(minutes=10)


# -- keys that are known to have no streak while another has ---------------------------------------------------------


def test_a_key_known_to_be_calm_is_looked_at_again_once_it_has_failed() -> None:
    """A success ends the streak of a key that succeeded without one before, also one that another tracker counted."""
    store = MemoryStore()
    tracker, other = FailureTracker(store=store), FailureTracker(store=store)

    @guarded_signal(strategy="VWAP", symbol="AAPL", tracker=tracker)
    def signal() -> str:
        return "long"

    tracker.record_failure("RSI", "MSFT", "no bars")
    assert signal() == signal() == "long"  # VWAP has no streak, and that is known from now on
    other.record_failure("VWAP", "AAPL", "no bars")
    assert ("VWAP", "AAPL") in store.live
    signal()
    assert ("VWAP", "AAPL") not in store.live


def test_calm_keys_are_remembered_within_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names that are other ones at each call do not pile up while a streak is live, and still count."""
    monkeypatch.setattr(_tracker, "MOST_CALM", 2)
    tracker = FailureTracker()
    tracker.record_failure("RSI", "MSFT", "no bars")
    for number in range(5):
        tracker.record_success("VWAP", str(number))
    assert len(tracker._calm) == 2
