"""What tests of strategies need: a clock to be advanced by hand, a tracker of their own, a record of events."""

from __future__ import annotations

from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from guarded._errors import InvalidConfiguration
from guarded._shared import get_failure_tracker, set_failure_tracker
from guarded._tracker import FailureTracker

if TYPE_CHECKING:
    from collections.abc import Iterator

    from guarded._events import Event

__all__ = ["EventRecorder", "FakeClock", "fresh_tracker", "recorded_events"]

E = TypeVar("E")


class FakeClock:
    """A `Clock` that stands still until it is advanced.

    Args:
        now: The time of day that it starts at, aware; the monotonic clock starts at 0.

    Raises:
        InvalidConfiguration: The time is none, or is naive.

    Example:
        clock = FakeClock()
        tracker = FailureTracker(clock=clock)
        clock.advance(timedelta(minutes=6))  # longer than the reset window
    """

    def __init__(self, now: datetime = datetime(2025, 1, 1, tzinfo=UTC)) -> None:
        if not isinstance(now, datetime) or now.utcoffset() is None:
            raise InvalidConfiguration(f"FakeClock(now={now!r}): expected an aware datetime")
        self._start = now
        self._passed = timedelta()

    def monotonic(self) -> float:
        """Seconds since the start."""
        return self._passed.total_seconds()

    def now(self) -> datetime:
        """The time of day."""
        return self._start + self._passed

    def advance(self, by: timedelta) -> None:
        """Move both clocks.

        Args:
            by: How far, not backwards.

        Raises:
            InvalidConfiguration: It is no timedelta, or a negative one.
        """
        if not isinstance(by, timedelta) or by < timedelta():
            raise InvalidConfiguration(f"advance({by!r}): expected a timedelta that is not negative")
        self._passed += by


@contextmanager
def fresh_tracker(**settings: Any) -> Iterator[FailureTracker]:
    """Make a new tracker the shared one until the block ends.

    Args:
        **settings: Those of `FailureTracker`.

    Raises:
        InvalidConfiguration: A setting that cannot work.

    Example:
        with fresh_tracker(failure_threshold=1) as tracker:
            assert strategy.generate_signals("AAPL", []) is None
            assert tracker.halt_triggered
    """
    tracker = FailureTracker(**settings)
    with set_failure_tracker(tracker):
        yield tracker


class EventRecorder:
    """A listener that keeps what it is told; `recorded_events` subscribes one for a block.

    Attributes:
        events: The events in their order. The exception of a `SignalFailed` is not kept.
    """

    def __init__(self) -> None:
        self.events: list[Event] = []

    def __call__(self, event: Event) -> None:
        """Keep an event."""
        self.events.append(event)

    def of(self, kind: type[E]) -> list[E]:
        """The events of one class, in their order."""
        return [event for event in self.events if isinstance(event, kind)]


@contextmanager
def recorded_events(tracker: FailureTracker | None = None) -> Iterator[EventRecorder]:
    """Record what a tracker tells its listeners until the block ends.

    Args:
        tracker: Whose events; by default those of the tracker that is the shared one when the block begins.

    Example:
        with recorded_events() as recorder:
            strategy.generate_signals("AAPL", [])
        assert [event.failure.symbol for event in recorder.of(SignalFailed)] == ["AAPL"]
    """
    recorder = EventRecorder()
    unsubscribe = (get_failure_tracker() if tracker is None else tracker).subscribe(recorder)
    try:
        yield recorder
    finally:
        unsubscribe()
