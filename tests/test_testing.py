"""guarded.testing: the clock, the tracker and the record that tests of strategies need."""

from __future__ import annotations

import gc
import weakref
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from guarded import (
    Clock,
    FailureTracker,
    HaltTriggered,
    InvalidConfiguration,
    SignalFailed,
    SignalRecovered,
    get_failure_tracker,
    guarded_signal,
)
from guarded.testing import EventRecorder, FakeClock, fresh_tracker, recorded_events


class NoQuote(Exception):
    pass


@guarded_signal(strategy="VWAP", symbol="{symbol}")
def generate(symbol: str, close: float) -> float:
    return 1 / close


class TestFakeClock:
    """A clock that is advanced by hand."""

    def test_it_stands_still(self) -> None:
        """It is a clock, and neither of its times moves by itself."""
        clock = FakeClock()
        assert isinstance(clock, Clock)
        assert clock.monotonic() == clock.monotonic() == 0.0
        assert clock.now() == clock.now() == datetime(2025, 1, 1, tzinfo=UTC)

    def test_advance_moves_both(self) -> None:
        """advance() moves the monotonic clock and the time of day by the same."""
        clock = FakeClock(datetime(2025, 11, 11, 14, 0, tzinfo=UTC))
        clock.advance(timedelta(minutes=6))
        clock.advance(timedelta(milliseconds=500))
        assert clock.monotonic() == 360.5
        assert clock.now() == datetime(2025, 11, 11, 14, 6, 0, 500_000, tzinfo=UTC)

    def test_a_window_passes_with_it(self) -> None:
        """A tracker on this clock forgets a streak when it is advanced past the window, and stamps by it."""
        clock = FakeClock()
        tracker = FailureTracker(clock=clock)
        tracker.record_failure("VWAP", "AAPL", "an error event")
        clock.advance(timedelta(minutes=5))
        assert tracker.consecutive_failures == 1
        clock.advance(timedelta(microseconds=1))
        assert tracker.consecutive_failures == 0
        assert tracker.last_failure_time == datetime(2025, 1, 1, tzinfo=UTC)

    @pytest.mark.parametrize("by", [timedelta(seconds=-1), 60, None])
    def test_it_goes_forward_only(self, by: Any) -> None:
        """What is no timedelta, or a negative one, is refused by name."""
        with pytest.raises(InvalidConfiguration, match=r"advance\(.*: expected a timedelta that is not negative"):
            FakeClock().advance(by)

    @pytest.mark.parametrize("now", [datetime(2025, 1, 1), 0, None])  # noqa: DTZ001  # which is refused
    def test_it_starts_at_an_aware_time(self, now: Any) -> None:
        """A naive time, or none, is refused by name."""
        with pytest.raises(InvalidConfiguration, match=r"FakeClock\(now=.*: expected an aware datetime"):
            FakeClock(now)


class TestFreshTracker:
    """A tracker of a block's own."""

    def test_it_is_the_shared_one_for_the_block(self) -> None:
        """Guards count in it until the block ends, also if it ends with an exception."""
        before = get_failure_tracker()
        with fresh_tracker() as tracker:
            assert get_failure_tracker() is tracker is not before
            generate("AAPL", 0)
        assert tracker.symbol_failures == {"AAPL": 1}
        with pytest.raises(NoQuote), fresh_tracker():
            raise NoQuote
        assert get_failure_tracker() is before

    def test_it_takes_the_settings_of_a_tracker(self) -> None:
        """Its settings are those of FailureTracker, wrong ones refused alike."""
        with fresh_tracker(failure_threshold=1) as tracker:
            generate("AAPL", 0)
            assert tracker.halt_triggered
        with pytest.raises(InvalidConfiguration, match="failure_threshold"), fresh_tracker(failure_threshold=0):
            pass


class TestRecordedEvents:
    """What a tracker told its listeners."""

    def test_events_are_kept_in_their_order(self, tracker: FailureTracker) -> None:
        """All events of the block are kept, those of one class can be asked for, and none after the block."""
        with recorded_events() as recorder:
            generate("AAPL", 0)
            generate("AAPL", 1)
            generate("MSFT", 0)
        generate("IBM", 0)
        assert [type(event) for event in recorder.events] == [SignalFailed, SignalRecovered, SignalFailed]
        assert [event.failure.symbol for event in recorder.of(SignalFailed)] == ["AAPL", "MSFT"]
        assert recorder.of(HaltTriggered) == []

    def test_of_another_tracker(self, tracker: FailureTracker) -> None:
        """Given a tracker, it is that one's events."""
        other = FailureTracker()
        with recorded_events(other) as recorder:
            generate("AAPL", 0)
            other.record_failure("RSI", "MSFT", "an error event")
        assert [event.failure.symbol for event in recorder.of(SignalFailed)] == ["MSFT"]

    def test_it_subscribes_by_hand_as_well(self) -> None:
        """A recorder is a listener like any other."""
        tracker = FailureTracker()
        recorder = EventRecorder()
        unsubscribe = tracker.subscribe(recorder)
        tracker.record_failure("RSI", "MSFT", "an error event")
        unsubscribe()
        tracker.record_failure("RSI", "MSFT", "an error event")
        assert len(recorder.events) == 1

    def test_it_keeps_no_exception_alive(self, tracker: FailureTracker) -> None:
        """The exception of a recorded failure is gone when the call is over."""
        gone: list[weakref.ref[NoQuote]] = []

        @guarded_signal
        def fail() -> None:
            error = NoQuote()
            gone.append(weakref.ref(error))
            raise error

        with recorded_events() as recorder:
            fail()
        gc.collect()
        assert gone[0]() is None
        assert recorder.of(SignalFailed)[0].error is None
