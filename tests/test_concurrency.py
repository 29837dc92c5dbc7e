"""Exactness under threads and tasks that fail at the same moment."""

from __future__ import annotations

import asyncio

import pytest
from threads import THREADS, together

from guarded import ConsecutiveFailures, FailureTracker, HaltTriggered, guarded_signal

CALLS = 500


@pytest.mark.parametrize("_round", range(3))
def test_sixteen_threads_of_failures(_round: int, caplog: pytest.LogCaptureFixture) -> None:
    """16 threads x 500 failing calls: totals exact, one halt, one callback."""
    caplog.set_level(100, "guarded")
    callbacks: list[str] = []
    tracker = FailureTracker(halt_callback=lambda reason, _failure: callbacks.append(reason))
    halts: list[object] = []
    tracker.subscribe(lambda event: halts.append(event) if isinstance(event, HaltTriggered) else None)

    @guarded_signal(strategy="{strategy}", symbol="AAPL", tracker=tracker, when_halted="run")
    def generate(strategy: str) -> None:
        raise ValueError("bad bar")

    def work(number: int) -> None:
        for _ in range(CALLS):
            assert generate(f"S{number}") is None

    together(work)
    assert tracker.total_failures == THREADS * CALLS
    assert tracker.strategy_failures == {f"S{number}": CALLS for number in range(THREADS)}
    assert tracker.symbol_failures == {"AAPL": THREADS * CALLS}
    assert sum(tracker.type_failures.values()) == THREADS * CALLS
    assert tracker.consecutive_failures == THREADS * CALLS
    assert len(tracker.failure_history) == 100
    assert len(callbacks) == len(halts) == len(tracker.halts) == 1


def test_refusals_are_exact(caplog: pytest.LogCaptureFixture) -> None:
    """16 threads x 500 calls while halted: every one is refused and counted."""
    caplog.set_level(100, "guarded")
    tracker = FailureTracker()
    tracker.halt_manager.trigger_halt("drill")

    @guarded_signal(tracker=tracker)
    def generate() -> str:
        return "long"

    def work(_number: int) -> None:
        for _ in range(CALLS):
            assert generate() is None

    together(work)
    assert tracker.refusals == THREADS * CALLS


def test_successes_and_failures_of_different_keys(caplog: pytest.LogCaptureFixture) -> None:
    """Each thread fails twice and succeeds once with a key of its own, over and over: none halts, totals are exact."""
    caplog.set_level(100, "guarded")
    tracker = FailureTracker(policies=[ConsecutiveFailures(3, scope="key")])

    @guarded_signal(strategy="{strategy}", symbol="AAPL", tracker=tracker)
    def generate(strategy: str, *, fails: bool) -> str:
        if fails:
            raise ValueError("bad bar")
        return "hold"

    def work(number: int) -> None:
        for turn in range(CALLS):
            generate(f"S{number}", fails=turn % 3 != 2)

    together(work)
    failures = sum(turn % 3 != 2 for turn in range(CALLS))
    assert tracker.strategy_failures == {f"S{number}": failures for number in range(THREADS)}
    assert not tracker.halts


def test_one_trigger_wins() -> None:
    """Of 16 threads that halt by hand at once, one is told that it did, and the callback runs once."""
    callbacks: list[str] = []
    tracker = FailureTracker(halt_callback=lambda reason, _failure: callbacks.append(reason))
    won: list[bool] = []
    together(lambda number: won.append(tracker.halt_manager.trigger_halt(f"thread {number}")))
    assert sorted(won) == [False] * (THREADS - 1) + [True]
    assert len(callbacks) == 1


def test_five_hundred_tasks(caplog: pytest.LogCaptureFixture) -> None:
    """500 failing tasks in one gather: totals exact, one halt, one callback."""
    caplog.set_level(100, "guarded")
    callbacks: list[str] = []

    async def callback(reason: str, _failure: object) -> None:
        await asyncio.sleep(0)
        callbacks.append(reason)

    tracker = FailureTracker(halt_callback=callback)

    @guarded_signal(strategy="VWAP", symbol="{symbol}", tracker=tracker, when_halted="run")
    async def generate(symbol: str) -> None:
        await asyncio.sleep(0)
        raise ValueError("bad bar")

    async def main() -> None:
        assert await asyncio.gather(*(generate(f"S{n}") for n in range(CALLS))) == [None] * CALLS

    asyncio.run(main())
    assert (tracker.total_failures, tracker.consecutive_failures, len(tracker.symbol_failures)) == (CALLS,) * 3
    assert len(callbacks) == len(tracker.halts) == 1
