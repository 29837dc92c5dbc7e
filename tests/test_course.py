"""A success counts, unless its own course recorded a failure: nested calls, threads, tasks, overlapping calls."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import threading
import types
import weakref
from typing import Any

import pytest

from guarded import FailureTracker, get_failure_tracker, guarded_signal, set_failure_tracker, track_signal


@guarded_signal(strategy="VWAP", symbol="AAPL")
def failing() -> None:
    raise ValueError("bad bar")


@guarded_signal(strategy="VWAP", symbol="AAPL")
async def failing_async() -> None:
    await asyncio.sleep(0)
    raise ValueError("bad bar")


@guarded_signal(strategy="VWAP", symbol="AAPL")
def fine() -> str:
    return "long"


def calls_it() -> str:
    failing()
    return "outer"


def calls_it_in_a_copied_context() -> str:
    contextvars.copy_context().run(failing)
    return "outer"


def runs_a_loop() -> str:
    asyncio.run(failing_async())
    return "outer"


def runs_a_loop_with_tasks() -> str:
    async def main() -> None:
        await asyncio.gather(failing_async(), failing_async())

    asyncio.run(main())
    return "outer"


def records_by_hand() -> str:
    try:
        raise KeyError("close")
    except KeyError as error:
        get_failure_tracker().record_failure("VWAP", "AAPL", error)
    return "outer"


@pytest.mark.parametrize(
    "body", [calls_it, calls_it_in_a_copied_context, runs_a_loop, runs_a_loop_with_tasks, records_by_hand]
)
@pytest.mark.parametrize("as_block", [False, True], ids=["guard", "block"])
def test_an_outer_call_of_the_same_key_never_wipes_an_inner_failure(
    body: Any, as_block: bool, tracker: FailureTracker
) -> None:
    """An outer success around an inner call of the same key that always fails counts neither way: three calls halt."""
    outer = guarded_signal(strategy="VWAP", symbol="AAPL", when_halted="run")(body)
    for _ in range(3):
        if as_block:
            with track_signal("VWAP", "AAPL", when_halted="run") as signal:
                signal.value = body()
            assert signal.value == "outer"
        else:
            assert outer() == "outer"
    assert tracker.halt_triggered


@pytest.mark.parametrize("as_block", [False, True], ids=["guard", "block"])
def test_the_same_for_coroutines(as_block: bool, tracker: FailureTracker) -> None:
    """The same holds for coroutines that await, and for blocks around tasks that they start."""

    @guarded_signal(strategy="VWAP", symbol="AAPL")
    async def outer() -> str:
        await failing_async()
        return "outer"

    async def main() -> None:
        for _ in range(3):
            if not as_block:
                assert await outer() == "outer"
                continue
            async with track_signal("VWAP", "AAPL", when_halted="run") as signal:
                await asyncio.gather(asyncio.create_task(failing_async()))
                signal.value = "outer"
            assert signal.value == "outer"

    asyncio.run(main())
    assert tracker.halt_triggered


async def in_wait_for() -> None:
    await asyncio.wait_for(failing_async(), 10)


async def in_a_gather() -> None:
    await asyncio.gather(failing_async())


async def in_a_shield() -> None:
    await asyncio.shield(failing_async())


async def in_a_thread() -> None:
    await asyncio.to_thread(failing)


async def in_a_task_group() -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(failing_async())


@pytest.mark.parametrize("body", [in_wait_for, in_a_gather, in_a_shield, in_a_thread, in_a_task_group])
def test_what_a_coroutine_awaits_in_other_tasks_is_its_course(body: Any, tracker: FailureTracker) -> None:
    """A guarded coroutine that awaits a failing call of its key in a task or thread counts neither way: three halt."""
    outer = guarded_signal(strategy="VWAP", symbol="AAPL")(body)

    async def main() -> None:
        for _ in range(3):
            await outer()

    asyncio.run(main())
    assert tracker.halt_triggered


def test_blocks_that_start_their_successors_make_no_chain(tracker: FailureTracker) -> None:
    """A block or guarded coroutine that starts its successor, over and over, keeps none of those before it alive."""

    class Bars:
        pass

    alive: list[weakref.ref[Bars]] = []

    @guarded_signal(strategy="VWAP", symbol="AAPL")
    async def step(left: int, done: asyncio.Event) -> None:
        async with track_signal("VWAP", "AAPL") as signal:
            signal.value = Bars()
            alive.append(weakref.ref(signal.value))
            if left == 0:
                done.set()
            elif left % 2:
                asyncio.get_running_loop().call_soon(plain, left - 1, done)
            else:
                tasks.append(asyncio.create_task(step(left - 1, done)))
                del tasks[:-2]

    def plain(left: int, done: asyncio.Event) -> None:
        with track_signal("VWAP", "AAPL"):
            tasks.append(asyncio.create_task(step(left, done)))
            del tasks[:-2]

    tasks: list[asyncio.Task[None]] = []

    async def main() -> None:
        done = asyncio.Event()
        tasks.append(asyncio.create_task(step(200, done)))
        await done.wait()
        gc.collect()
        assert sum(bars() is not None for bars in alive) < 10

    asyncio.run(main())
    assert tracker.total_failures == 0


def test_blocks_that_overlap_their_successors_make_no_chain(tracker: FailureTracker) -> None:
    """Nor do blocks whose successor is entered before they are over."""

    class Bars:
        pass

    alive: list[weakref.ref[Bars]] = []

    async def step(left: int, entered: asyncio.Event) -> None:
        async with track_signal("VWAP", "AAPL") as signal:
            signal.value = Bars()
            alive.append(weakref.ref(signal.value))
            entered.set()
            await asyncio.sleep(0)
            if left:
                following = asyncio.Event()
                tasks.append(asyncio.create_task(step(left - 1, following)))
                del tasks[:-2]
                await following.wait()

    tasks: list[asyncio.Task[None]] = []

    async def main() -> None:
        await step(100, asyncio.Event())
        while not tasks[-1].done() or len(alive) < 101:
            await asyncio.wait([tasks[-1]])
        gc.collect()
        assert sum(bars() is not None for bars in alive) < 10

    asyncio.run(main())


def test_a_task_keeps_the_names_of_blocks_that_are_over(tracker: FailureTracker) -> None:
    """A task that outlives the block and the guarded call that it was started in still has the block's names."""
    started: list[asyncio.Task[None]] = []

    @guarded_signal(strategy="Outer")
    async def starts() -> None:
        started.append(asyncio.create_task(late()))

    @guarded_signal
    async def late(self: None = None) -> None:
        await asyncio.sleep(0)
        with track_signal():
            raise ValueError("late")

    async def main() -> None:
        async with track_signal("VWAP", "AAPL"):
            await starts()
        await started[0]

    asyncio.run(main())
    assert tracker.last_failure is not None
    assert (tracker.last_failure.strategy_name, tracker.last_failure.symbol) == ("VWAP", "AAPL")


@pytest.mark.parametrize("validate", [None, lambda _: True], ids=["short way", "long way"])
def test_a_coroutine_that_is_driven_by_hand(validate: Any, tracker: FailureTracker) -> None:
    """A guarded coroutine works without an event loop, each step in another context."""

    @types.coroutine
    def pause() -> Any:
        yield

    @guarded_signal(strategy="VWAP", symbol="AAPL", validate=validate)
    async def generate() -> str:
        await pause()
        return "long"

    steps = generate()
    contextvars.copy_context().run(steps.send, None)
    with pytest.raises(StopIteration) as ended:
        contextvars.copy_context().run(steps.send, None)
    assert ended.value.value == "long"


def test_a_block_hears_of_failures_in_threads_that_copy_its_context(tracker: FailureTracker) -> None:
    """A failure in asyncio.to_thread belongs to the course of the block that started it."""

    async def main() -> None:
        with track_signal("VWAP", "AAPL"):
            await asyncio.to_thread(failing)

    asyncio.run(main())
    assert tracker.consecutive_failures == 1


def test_an_inner_success_resets_before_an_outer_failure(tracker: FailureTracker) -> None:
    """A success within a call that fails later resets first, and then the failure counts."""

    @guarded_signal(strategy="VWAP", symbol="AAPL")
    def outer() -> None:
        fine()
        raise ValueError("bad bar")

    for _ in range(5):
        outer()
    assert (tracker.consecutive_failures, tracker.total_failures) == (1, 5)
    assert not tracker.halt_triggered


def test_the_next_call_is_a_course_of_its_own(tracker: FailureTracker) -> None:
    """A failure before the call began does not keep the call's success from counting."""
    failing()
    failing()
    assert fine() == "long"
    assert tracker.consecutive_failures == 0


def test_the_failure_of_another_tracker_does_not_matter(tracker: FailureTracker) -> None:
    """A failure that another tracker recorded within the call does not keep the success from counting here."""
    other = FailureTracker()

    @guarded_signal(strategy="VWAP", symbol="AAPL", tracker=other)
    def elsewhere() -> None:
        raise ValueError("bad bar")

    @guarded_signal(strategy="VWAP", symbol="AAPL")
    def outer() -> str:
        elsewhere()
        return "long"

    @guarded_signal(strategy="VWAP", symbol="AAPL")
    async def outer_async() -> str:
        elsewhere()
        return "long"

    tracker.record_failure("VWAP", "AAPL", "an error event")
    outer()
    assert (tracker.consecutive_failures, other.consecutive_failures) == (0, 1)
    tracker.record_failure("VWAP", "AAPL", "an error event")
    asyncio.run(outer_async())
    assert tracker.consecutive_failures == 0
    tracker.record_failure("VWAP", "AAPL", "an error event")
    with track_signal("VWAP", "AAPL"):
        elsewhere()
    assert tracker.consecutive_failures == 0


def test_a_failure_in_another_thread_meanwhile_does_not_matter(tracker: FailureTracker) -> None:
    """A call during which another thread fails is a success of its own, and resets what came before its end."""
    entered, failed = threading.Event(), threading.Event()

    @guarded_signal(strategy="RSI", symbol="MSFT")
    def slow() -> str:
        entered.set()
        assert failed.wait(10)
        return "long"

    worker = threading.Thread(target=slow)
    worker.start()
    assert entered.wait(10)
    tracker.record_failure("RSI", "MSFT", "an error event")
    failed.set()
    worker.join(10)
    assert tracker.consecutive_failures == 0


def test_the_same_while_another_strategy_is_halted(tracker: FailureTracker) -> None:
    """It resets what another thread counted meanwhile also of a strategy that had no streak while another is halted."""

    @guarded_signal(strategy="VWAP", symbol="AAPL")
    def signal(meanwhile: bool) -> str:
        if meanwhile:
            worker = threading.Thread(target=tracker.record_failure, args=("VWAP", "AAPL", "an error event"))
            worker.start()
            worker.join(10)
        return "long"

    tracker.halt_manager.trigger_halt("bad model", strategy="RSI")
    for meanwhile in (False, False, True):
        assert signal(meanwhile) == "long"
    assert (tracker.total_failures, tracker.consecutive_failures) == (1, 0)


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_call_that_failed_within_is_no_success_after_a_reset(asynchronous: bool, tracker: FailureTracker) -> None:
    """A call whose course recorded a failure is not the last success, even if it reset the streaks itself."""

    @guarded_signal(strategy="VWAP", symbol="AAPL")
    def signal() -> None:
        failing()
        tracker.reset()

    @guarded_signal(strategy="VWAP", symbol="AAPL")
    async def signal_async() -> None:
        await failing_async()
        tracker.reset()

    if asynchronous:
        asyncio.run(signal_async())
    else:
        signal()
    assert tracker.total_failures == 1
    assert tracker.last_success_time is None


def test_a_hundred_symbols_in_one_gather_never_halt() -> None:
    """A hundred symbols in one gather, each bar another one of them failing, never halt in 1,000 bars."""
    symbols = [f"S{n}" for n in range(100)]
    tracker = FailureTracker()

    @guarded_signal(strategy="VWAP", symbol="{symbol}")
    async def generate(symbol: str, bar: int) -> str:
        await asyncio.sleep(0)
        if symbol == symbols[bar % 100]:
            raise ValueError("bad bar")
        return "hold"

    async def main() -> None:
        for bar in range(1_000):
            await asyncio.gather(*(generate(symbol, bar) for symbol in symbols))
            assert not tracker.halt_triggered

    with set_failure_tracker(tracker):
        asyncio.run(main())
    assert tracker.total_failures == 1_000


def test_overlapping_calls_count_in_the_order_in_which_they_end(tracker: FailureTracker) -> None:
    """Independent calls that merely overlap count one after the other as they end."""

    async def main() -> None:
        release = {name: asyncio.Event() for name in "abcd"}

        @guarded_signal(strategy="VWAP", symbol="AAPL")
        async def generate(name: str, fails: bool) -> None:
            await release[name].wait()
            if fails:
                raise ValueError(name)

        plan = {"a": True, "b": True, "c": False, "d": True}
        tasks = {name: asyncio.create_task(generate(name, fails)) for name, fails in plan.items()}
        await asyncio.sleep(0)
        for name, streak in zip("abcd", (1, 2, 0, 1), strict=True):
            release[name].set()
            await tasks[name]
            assert tracker.consecutive_failures == streak

    asyncio.run(main())
