"""Every kind of callable under threads and tasks: nothing is lost, nothing is counted twice, everything stops."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest
from kinds import Make, as_async_generator_function, as_coroutine_function, call, every_kind
from threads import THREADS, together

from guarded import FailureTracker, HaltTriggered, guarded_signal
from guarded.testing import recorded_events

CALLS = 24  # of which each third succeeds


@pytest.fixture(autouse=True)
def _quiet() -> None:
    logging.getLogger("guarded").setLevel(logging.CRITICAL + 1)


def one_over(value: float) -> float:
    return 1 / value


@every_kind
def test_threads_with_keys_of_their_own(make: Make) -> None:
    """16 threads that fail twice and succeed once, over and over: totals exact, and no key comes to three in a row."""
    tracker = FailureTracker(failure_threshold=10**6)

    def work(number: int) -> None:
        guarded = make(one_over, strategy=f"S{number}", symbol="AAPL", tracker=tracker)
        for turn in range(CALLS):
            assert call(guarded, turn % 3 == 2) == (1.0 if turn % 3 == 2 else None)

    together(work)
    failures = CALLS - CALLS // 3
    assert tracker.total_failures == THREADS * failures
    assert tracker.strategy_failures == {f"S{number}": failures for number in range(THREADS)}
    assert all(row.strategy is None for row in tracker._store.live), "a key's last call was a success"


@every_kind
def test_threads_with_one_callable(make: Make) -> None:
    """16 threads that call the same failing thing at once: totals exact, one halt, one callback, the rest refused."""
    callbacks: list[str] = []
    tracker = FailureTracker(halt_callback=lambda reason, _failure: callbacks.append(reason))
    guarded = make(one_over, strategy="VWAP", symbol="AAPL", tracker=tracker)
    with recorded_events(tracker) as recorder:
        together(lambda _number: [call(guarded, 0) for _ in range(CALLS)])
    assert tracker.total_failures + tracker.refusals == THREADS * CALLS
    assert 3 <= tracker.total_failures <= THREADS + 2
    assert len(callbacks) == len(recorder.of(HaltTriggered)) == 1
    assert tracker.consecutive_failures == tracker.total_failures


@pytest.mark.parametrize("make", [as_coroutine_function, as_async_generator_function], ids=["calls", "generators"])
def test_hundreds_of_tasks(make: Make) -> None:
    """Hundreds of tasks in one gather, each with a key of its own, count in the order in which they end."""
    tracker = FailureTracker(failure_threshold=10**6)

    async def one(number: int) -> Any:
        guarded = make(one_over, strategy=f"S{number}", symbol="AAPL", tracker=tracker)
        result = guarded(number % 2)
        return await (result if asyncio.iscoroutine(result) else anext(result, None))

    async def main() -> list[Any]:
        return await asyncio.gather(*(one(number) for number in range(400)))

    assert asyncio.run(main()) == [None, 1.0] * 200
    assert tracker.total_failures == 200
    assert tracker.strategy_failures == {f"S{number}": 1 for number in range(0, 400, 2)}
    assert tracker.consecutive_failures == 0


@pytest.mark.parametrize("asynchronous", [False, True], ids=["generators", "asynchronous generators"])
def test_a_kill_switch_stops_every_generator(asynchronous: bool) -> None:
    """A halt from another thread stops every generator that is being consumed; each is closed once, none has failed."""
    tracker = FailureTracker()
    begun, closed = threading.Barrier(THREADS + 1), []

    def steps(number: int) -> Iterator[int]:
        try:
            while True:
                yield number
        finally:
            closed.append(number)

    async def async_steps(number: int) -> AsyncIterator[int]:
        try:
            while True:
                yield number
        finally:
            await asyncio.sleep(0)
            closed.append(number)

    def consume(number: int) -> None:
        generator: Any = guarded_signal(strategy=f"S{number}", symbol="AAPL", tracker=tracker)(steps)(number)
        next(generator)
        begun.wait(30)
        for item in generator:
            assert item == number

    async def consume_async(number: int) -> None:
        generator: Any = guarded_signal(strategy=f"S{number}", symbol="AAPL", tracker=tracker)(async_steps)(number)
        await anext(generator)
        begun.wait(30)
        async for item in generator:
            assert item == number

    def halt() -> None:
        begun.wait(30)
        tracker.halt_manager.trigger_halt("kill switch", "kill_switch", by="ana")

    switch = threading.Thread(target=halt)
    switch.start()
    together(lambda number: asyncio.run(consume_async(number)) if asynchronous else consume(number))
    switch.join(30)
    assert sorted(closed) == list(range(THREADS))
    assert (tracker.refusals, tracker.total_failures) == (THREADS, 0)
