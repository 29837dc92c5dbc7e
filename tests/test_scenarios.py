"""The twelve scenarios of everyday use, through the public names."""

from __future__ import annotations

import json
import logging
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from guarded import (
    FailureTracker,
    FailureType,
    SignalGenerationFailure,
    get_failure_tracker,
    guarded_signal,
    set_failure_tracker,
)
from guarded.testing import FakeClock

if TYPE_CHECKING:
    from collections.abc import Iterator


class Strategy:
    """A strategy of the usual shape."""

    def __init__(self, name: str) -> None:
        self.name = name

    @guarded_signal
    def generate_signals(self, symbol: str, prices: list[float]) -> str:
        """Long while the last price is above the mean."""
        mean = sum(prices) / len(prices)
        return "long" if prices[-1] > mean else "hold"


PRICES = [100.0, 101.0, 103.0]
NO_PRICES: list[float] = []


@pytest.fixture
def frozen(clock: FakeClock) -> Iterator[FailureTracker]:
    """A tracker whose time stands still, shared for the length of the test."""
    fresh = FailureTracker(clock=clock)
    with set_failure_tracker(fresh):
        yield fresh


def logged(caplog: pytest.LogCaptureFixture, level: int) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == level]


def test_01_initialization(tracker: FailureTracker) -> None:
    """A new tracker has counted nothing, halts at three, and forgets streaks after five minutes."""
    assert tracker.failure_threshold == 3
    assert tracker.reset_window == timedelta(minutes=5)
    assert (tracker.consecutive_failures, tracker.total_failures) == (0, 0)
    assert (tracker.strategy_failures, tracker.symbol_failures, tracker.type_failures) == ({}, {}, {})
    assert tracker.failure_history == []
    assert (tracker.last_failure, tracker.last_failure_time, tracker.last_success_time) == (None, None, None)
    assert (tracker.halt_triggered, tracker.halt_reason, tracker.halts) == (False, None, ())
    assert tracker.refusals == 0


def test_02_single_failure(tracker: FailureTracker, caplog: pytest.LogCaptureFixture) -> None:
    """One failure gives the caller None, is classified and traced, and leaves trading active."""
    assert Strategy("VWAP").generate_signals("AAPL", NO_PRICES) is None
    assert (tracker.consecutive_failures, tracker.total_failures) == (1, 1)
    assert not tracker.halt_triggered
    failure = tracker.last_failure
    assert failure is not None
    assert (failure.strategy_name, failure.symbol) == ("VWAP", "AAPL")
    assert failure.failure_type is FailureType.STRATEGY_ERROR
    assert failure.error_message == "division by zero"
    assert "in generate_signals\n    mean = sum(prices) / len(prices)" in (failure.stack_trace or "")
    (line,) = logged(caplog, logging.ERROR)
    assert line.splitlines()[0] == (
        "[FAILURE] VWAP failed for AAPL: ZeroDivisionError: division by zero"
        " [strategy_error]. Consecutive failures: 1/3"
    )
    assert "Traceback (most recent call last):" in line


def test_03_several_failures_below_the_threshold(tracker: FailureTracker, caplog: pytest.LogCaptureFixture) -> None:
    """Two failures in a row are counted and do not halt."""
    strategy = Strategy("VWAP")
    for _ in range(2):
        assert strategy.generate_signals("AAPL", NO_PRICES) is None
    assert (tracker.consecutive_failures, tracker.total_failures) == (2, 2)
    assert not tracker.halt_triggered
    assert [line.splitlines()[0][-25:] for line in logged(caplog, logging.ERROR)] == [
        "Consecutive failures: 1/3",
        "Consecutive failures: 2/3",
    ]


def test_04_halt_at_the_threshold(clock: FakeClock, caplog: pytest.LogCaptureFixture) -> None:
    """The third failure in a row halts trading, calls the callback once, and calls are refused from then on."""
    calls: list[tuple[str, SignalGenerationFailure]] = []
    tracker = FailureTracker(clock=clock, halt_callback=lambda reason, failure: calls.append((reason, failure)))
    with set_failure_tracker(tracker):
        strategy = Strategy("Momentum")
        for _ in range(3):
            strategy.generate_signals("GOOGL", NO_PRICES)
        assert tracker.halt_triggered
        assert strategy.generate_signals("GOOGL", PRICES) is None
    reason = "3 consecutive failures (threshold 3); last: Momentum for GOOGL: ZeroDivisionError: division by zero"
    assert tracker.halt_reason == reason
    assert calls == [(reason, tracker.last_failure)]
    assert (tracker.refusals, tracker.total_failures) == (1, 3)
    (announcement,) = logged(caplog, logging.CRITICAL)
    assert announcement == (
        "EMERGENCY HALT: trading is halted for everything, at level halted\n"
        f"   Reason: {reason}\n"
        "   Consecutive failures: 3 (threshold 3)\n"
        "   Strategy: Momentum\n"
        "   Symbol: GOOGL\n"
        "   Error: ZeroDivisionError: division by zero\n"
        "   Guarded calls are refused until somebody resumes trading with a name and a reason.\n"
        "   The halt is kept in this process's memory: a restart forgets it."
    )


def test_05_success_resets_the_streak(tracker: FailureTracker, caplog: pytest.LogCaptureFixture) -> None:
    """Two failures, a success and a failure are one of three."""
    strategy = Strategy("RSI")
    for prices in (NO_PRICES, NO_PRICES, PRICES, NO_PRICES):
        strategy.generate_signals("MSFT", prices)
    assert (tracker.consecutive_failures, tracker.total_failures) == (1, 3)
    assert not tracker.halt_triggered
    assert logged(caplog, logging.ERROR)[-1].splitlines()[0].endswith("Consecutive failures: 1/3")


def test_06_the_failure_class(clock: FakeClock) -> None:
    """A failure reads as text, and goes to JSON and back."""
    failure = SignalGenerationFailure(
        strategy_name="VWAP",
        symbol="AAPL",
        error_message="division by zero",
        failure_type=FailureType.STRATEGY_ERROR,
        timestamp=clock.now(),
        additional_context={"bars": 12},
    )
    assert str(failure) == (
        "[FAILURE] VWAP failed for AAPL\n"
        "   Type: strategy_error\n"
        "   Time: 2025-11-11T14:00:00+00:00\n"
        "   Error: division by zero"
    )
    assert SignalGenerationFailure.from_dict(json.loads(json.dumps(failure.to_dict()))) == failure


def fail(tracker: FailureTracker, strategy: str, symbol: str, times: int) -> None:
    for _ in range(times):
        tracker.record_failure(strategy, symbol, ValueError("bad bar"))


def test_07_counts_by_strategy(tracker: FailureTracker) -> None:
    """Failures are counted by strategy."""
    fail(tracker, "VWAP", "AAPL", 5)
    fail(tracker, "Momentum", "AAPL", 3)
    fail(tracker, "RSI", "AAPL", 2)
    assert tracker.strategy_failures == {"VWAP": 5, "Momentum": 3, "RSI": 2}
    assert tracker.total_failures == 10


def test_08_counts_by_symbol(tracker: FailureTracker) -> None:
    """Failures are counted by symbol."""
    fail(tracker, "VWAP", "AAPL", 4)
    fail(tracker, "VWAP", "GOOGL", 3)
    fail(tracker, "VWAP", "MSFT", 1)
    assert tracker.symbol_failures == {"AAPL": 4, "GOOGL": 3, "MSFT": 1}


def test_09_history_of_the_last_hundred(tracker: FailureTracker) -> None:
    """The history keeps the last hundred failures, and the totals all of them."""
    for number in range(150):
        tracker.record_failure("VWAP", "AAPL", ValueError(f"bar {number}"))
    assert [failure.error_message for failure in tracker.failure_history] == [f"bar {n}" for n in range(50, 150)]
    assert tracker.total_failures == 150


def test_10_status_report(frozen: FailureTracker, clock: FakeClock) -> None:
    """The status reads as a JSON-ready dict and as text."""
    for strategy, times in (("RSI", 4), ("VWAP", 6), ("Momentum", 5)):
        for _ in range(times):
            fail(frozen, strategy, "AAPL", 1)
            frozen.record_success(strategy, "AAPL")
    clock.advance(timedelta(seconds=1))
    status = json.loads(json.dumps(frozen.get_status()))
    assert status["total_failures"] == 15
    assert status["strategy_failures"] == {"RSI": 4, "VWAP": 6, "Momentum": 5}
    assert status["type_failures"] == {"data_error": 15}
    assert len(status["failure_history"]) == 10
    assert (status["halt_triggered"], status["halt_reason"], status["halts"]) == (False, None, [])
    assert frozen.get_failure_summary() == (
        "Failure Tracker Status\n"
        "==================================================\n"
        "Consecutive Failures: 0/3\n"
        "Total Failures: 15\n"
        "\n"
        "Failures by Strategy:\n"
        "  VWAP: 6\n"
        "  Momentum: 5\n"
        "  RSI: 4\n"
        "\n"
        "Last failure: 2025-11-11T14:00:00+00:00\n"
        "Status: Active (no halt)"
    )


def test_11_manual_reset(tracker: FailureTracker) -> None:
    """Resetting by hand sets the streak to zero; totals, history and a halt stay."""
    fail(tracker, "VWAP", "AAPL", 2)
    tracker.reset()
    assert (tracker.consecutive_failures, tracker.total_failures, len(tracker.failure_history)) == (0, 2, 2)
    fail(tracker, "VWAP", "AAPL", 3)
    tracker.reset()
    assert tracker.halt_triggered
    assert tracker.resume(by="ana", reason="feed is back") == ()
    assert not tracker.halt_triggered


def test_12_the_shared_tracker_is_one(tracker: FailureTracker) -> None:
    """Everybody who asks gets the same tracker, and guards use it."""
    assert get_failure_tracker() is get_failure_tracker() is tracker
    Strategy("VWAP").generate_signals("AAPL", NO_PRICES)
    assert get_failure_tracker().total_failures == 1
