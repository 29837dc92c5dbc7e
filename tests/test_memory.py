"""Nothing of the user's is kept alive, and nothing grows without bound."""

from __future__ import annotations

import gc
import logging
import tracemalloc
import weakref

import numpy as np
import pytest

from guarded import FailureTracker, SignalFailed, guarded_signal, set_failure_tracker, track_signal


class Frame:
    """Stands for a user's DataFrame of 100 MB."""

    def __init__(self) -> None:
        self.data = np.empty(12_500_000)  # pages that nobody touches cost no time


@pytest.fixture(autouse=True)
def _silent() -> None:
    logging.getLogger("guarded").setLevel(logging.CRITICAL + 1)


def test_ten_thousand_failures_with_a_hundred_megabytes_in_the_frame() -> None:
    """10,000 failures with a 100 MB local in the failing frame: memory stays flat."""
    tracker = FailureTracker(failure_threshold=10**9)
    made: list[weakref.ref[Frame]] = []

    @guarded_signal(strategy="VWAP", symbol="AAPL", tracker=tracker, context={"frame": "{number}"})
    def generate(number: int) -> None:
        frame = Frame()
        made.append(weakref.ref(frame))
        raise ValueError(f"bad bar {number}")

    for number in range(200):
        generate(number)
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for number in range(9_800):
            generate(number)
        gc.collect()
        after, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    made.clear()
    assert tracker.total_failures == 10_000
    assert after - before < 5_000_000
    assert peak - before < 150_000_000


def test_the_exception_its_frames_and_arguments_die_with_the_call(tracker: FailureTracker) -> None:
    """After a failed call nothing that it was given or had is alive: by reference counting, without a collection."""
    gc.disable()
    try:
        heard: list[SignalFailed] = []
        tracker.subscribe(lambda event: heard.append(event) if isinstance(event, SignalFailed) else None)

        class Bars:
            pass

        @guarded_signal(strategy="VWAP", symbol="AAPL", context={"bars": "{bars}"})
        def generate(bars: Bars) -> None:
            raise ValueError("bad bar")

        bars = Bars()
        alive = weakref.ref(bars)
        generate(bars)
        with track_signal("VWAP", "AAPL") as signal:
            signal.value = bars
            raise ValueError("bad block")
        del bars
        assert alive() is None
        assert [event.error for event in heard] == [None, None]
    finally:
        gc.enable()


def test_a_tracker_dies_with_its_last_user() -> None:
    """Marks, modes and watchers hold trackers weakly."""
    tracker = FailureTracker()
    alive = weakref.ref(tracker)
    error = ValueError("kept by the user")
    tracker.record_failure("VWAP", "AAPL", error)
    with set_failure_tracker(tracker):
        pass
    del tracker
    gc.collect()
    assert alive() is None
    FailureTracker().record_failure("VWAP", "AAPL", error)


def test_a_key_that_fails_costs_at_most_500_bytes() -> None:
    """With 20,000 keys failing, each takes at most 500 bytes."""
    tracker = FailureTracker(failure_threshold=10**9)
    for number in range(200):
        tracker.record_failure("VWAP", f"warm-up {number}", "an error event")
    keys = [("VWAP", f"S{number}") for number in range(20_000)]
    gc.collect()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for strategy, symbol in keys:
            tracker.record_failure(strategy, symbol, "an error event")
        gc.collect()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert (after - before) / len(keys) < 500


def test_a_key_that_recovers_costs_nothing_but_its_totals(tracker: FailureTracker) -> None:
    """The streak of a key that succeeds is removed."""
    for number in range(1_000):
        tracker.record_failure("VWAP", f"S{number}", "an error event")
        tracker.record_success("VWAP", f"S{number}")
    assert len(tracker._store.live) == 0
