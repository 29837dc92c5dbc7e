"""What a plain def returns to be run later, an awaitable or a generator, stays guarded until then."""

from __future__ import annotations

import asyncio
import functools
import gc
import inspect
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from typing import Any

import pytest
from kinds import call, result_of

from guarded import FailureTracker, guarded_signal, set_mode, validators


def one_over(value: float) -> float:
    return 1 / value


def make_timed(body: Callable[[Any], Any], **settings: Any) -> Callable[..., Any]:
    async def generate(value: Any) -> Any:
        await asyncio.sleep(0)
        return body(value)

    @guarded_signal(strategy="VWAP", symbol="AAPL", **settings)
    @functools.wraps(generate)
    def timed(value: Any) -> Any:
        return generate(value)

    return timed


class TestAPlainDefThatReturnsACoroutine:
    """What a decorator around an async def makes."""

    @pytest.mark.parametrize("settings", [{}, {"validate": validators.finite}])
    def test_it_is_guarded_until_it_is_awaited(self, settings: dict[str, Any], tracker: FailureTracker) -> None:
        """The coroutine's failures are recorded and become None, its successes count when it is awaited."""
        guarded = make_timed(one_over, **settings)
        assert call(guarded, 0) is None
        pending = guarded(2)
        assert (tracker.total_failures, tracker.consecutive_failures) == (1, 1)
        assert asyncio.run(result_of(pending)) == 0.5
        assert tracker.consecutive_failures == 0

    def test_it_is_refused_as_an_awaitable(self, tracker: FailureTracker) -> None:
        """Once it is known to return coroutines, a refused call is an awaitable of None; before that, None."""
        guarded = make_timed(one_over)
        tracker.halt_manager.trigger_halt("drill")
        assert guarded(2) is None
        tracker.resume(by="ana", reason="drill over")
        assert call(guarded, 2) == 0.5
        tracker.halt_manager.trigger_halt("drill")
        refused = guarded(2)
        assert inspect.isawaitable(refused)
        assert call(lambda: refused) is None
        assert tracker.refusals == 2

    def test_halted_before_it_is_awaited(self, tracker: FailureTracker) -> None:
        """A coroutine that was made before the halt is refused when it is awaited, and closed without a warning."""
        begun = make_timed(one_over)(2)
        tracker.halt_manager.trigger_halt("drill")
        assert asyncio.run(result_of(begun)) is None
        gc.collect()
        assert tracker.refusals == 1

    def test_what_returns_a_coroutine_only_sometimes(self, tracker: FailureTracker) -> None:
        """A function that returns a coroutine or a value gives each to its caller, as it is."""

        async def fetch() -> str:
            return "fetched"

        @guarded_signal(strategy="VWAP", symbol="AAPL", validate=lambda _: True)
        def cached(hit: bool) -> object:
            return "cached" if hit else fetch()

        assert call(cached, False) == "fetched"
        assert cached(True) == "cached"
        assert tracker.total_failures == 0

    def test_its_plain_part_may_fail(self, tracker: FailureTracker) -> None:
        """Once it is known to return coroutines, a failure of its plain part can be awaited as well."""

        async def fetch(value: float) -> float:
            return value

        @guarded_signal(strategy="VWAP", symbol="AAPL")
        def generate(value: float) -> object:
            return fetch(1 / value)

        assert call(generate, 2) == 0.5
        failed = generate(0)
        assert inspect.isawaitable(failed)
        assert call(lambda: failed) is None
        assert tracker.total_failures == 1

    def test_in_the_other_modes(self, tracker: FailureTracker) -> None:
        """Strict mode records and raises when it is awaited; off does nothing."""
        guarded = make_timed(one_over)
        with set_mode("strict"), pytest.raises(ZeroDivisionError):
            call(guarded, 0)
        with set_mode("off"), pytest.raises(ZeroDivisionError):
            call(guarded, 0)
        assert tracker.total_failures == 1


class TestFutures:
    """A plain def that returns a task or a future."""

    @staticmethod
    def make(**settings: Any) -> Callable[..., Any]:
        async def generate(value: float) -> float:
            await asyncio.sleep(0)
            return 1 / value

        @guarded_signal(strategy="VWAP", symbol="AAPL", **settings)
        def start(value: float) -> asyncio.Task[float]:
            return asyncio.create_task(generate(value))

        return start

    @pytest.mark.parametrize("settings", [{}, {"validate": validators.finite}])
    def test_it_is_a_task_that_is_guarded(self, settings: dict[str, Any], tracker: FailureTracker) -> None:
        """The caller gets a task, for gather and callbacks; its failure is recorded and becomes None."""
        start = self.make(**settings)

        async def main() -> list[Any]:
            tasks = [start(2), start(0)]
            assert all(isinstance(task, asyncio.Task) for task in tasks)
            return await asyncio.gather(*tasks)

        assert asyncio.run(main()) == [0.5, None]
        assert tracker.total_failures == 1

    def test_nobody_has_to_await_it(self, tracker: FailureTracker) -> None:
        """A task that runs by itself is counted by itself."""
        start = self.make()

        async def main() -> None:
            done = asyncio.Event()
            start(0).add_done_callback(lambda _: done.set())
            await done.wait()

        asyncio.run(main())
        assert tracker.total_failures == 1

    def test_cancelling_it_cancels_what_it_runs(self, tracker: FailureTracker) -> None:
        """Cancelling the task cancels the strategy's own, and counts nothing."""
        cancelled: list[str] = []

        async def generate() -> None:
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                cancelled.append("yes")
                raise

        @guarded_signal
        def start() -> asyncio.Task[None]:
            return asyncio.create_task(generate())

        async def main() -> None:
            task: Any = start()
            await asyncio.sleep(0)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

        asyncio.run(main())
        assert cancelled == ["yes"]
        assert tracker.total_failures == 0

    def test_a_halt_after_it_was_started_does_not_refuse_it(self, tracker: FailureTracker) -> None:
        """What runs already when trading is halted runs on; the next call is refused, with a task of None."""
        start = self.make()

        async def main() -> list[Any]:
            running = start(2)
            tracker.halt_manager.trigger_halt("drill")
            refused = start(2)
            assert isinstance(refused, asyncio.Task)
            return [await running, await refused]

        assert asyncio.run(main()) == [0.5, None]
        assert tracker.refusals == 1

    def test_refused_where_no_loop_runs(self, tracker: FailureTracker) -> None:
        """Where there is no loop to run a task in, a refused call gives a coroutine."""
        start = self.make()

        async def main() -> None:
            await start(2)

        asyncio.run(main())
        tracker.halt_manager.trigger_halt("drill")
        assert call(start, 2) is None


class Lease:
    """An object of a library's own, such as a distributed future: it can be awaited, and more than once."""

    def __init__(self, value: float) -> None:
        self.value = value

    def __await__(self) -> Generator[Any, Any, float]:
        yield from asyncio.sleep(0).__await__()
        return 1 / self.value


class TestOtherAwaitables:
    """A plain def that returns an awaitable object of somebody's own."""

    def test_it_is_still_that_object(self, tracker: FailureTracker) -> None:
        """Its attributes are its own, and each await of it is guarded."""

        @guarded_signal(strategy="VWAP", symbol="AAPL")
        def lease(value: float) -> Lease:
            return Lease(value)

        good: Any = lease(4)
        bad: Any = lease(0)
        assert isinstance(good, Lease)
        assert good.value == 4
        assert [asyncio.run(result_of(good)), asyncio.run(result_of(good))] == [0.25, 0.25]
        assert asyncio.run(result_of(bad)) is None
        assert tracker.total_failures == 1
        tracker.halt_manager.trigger_halt("drill")
        assert call(lease, 4) is None
        assert tracker.refusals == 1


class TestGenerators:
    """A plain def that returns a generator, as a decorator around a generator function does."""

    @staticmethod
    def make() -> Callable[..., Any]:
        def generate(*values: float) -> Iterator[float]:
            for value in values:
                yield 1 / value

        @guarded_signal(strategy="VWAP", symbol="AAPL")
        @functools.wraps(generate)
        def logged(*values: float) -> Iterator[float]:
            return generate(*values)

        return logged

    def test_its_steps_are_guarded(self, tracker: FailureTracker) -> None:
        """The generator is guarded step by step; making it is no success."""
        generator = self.make()(2, 0, 4)
        assert tracker.last_success_time is None
        assert list(generator) == [0.5]
        assert tracker.total_failures == 1

    def test_it_is_refused_as_a_generator(self, tracker: FailureTracker) -> None:
        """Once it is known to return generators, a refused call gives one that is over."""
        generate = self.make()
        assert list(generate(2)) == [0.5]
        tracker.halt_manager.trigger_halt("drill")
        assert list(generate(2)) == []

    def test_the_same_for_an_async_generator(self, tracker: FailureTracker) -> None:
        """An asynchronous generator that a plain def returns is guarded likewise."""

        async def generate(*values: float) -> AsyncIterator[float]:
            for value in values:
                yield 1 / value

        @guarded_signal(strategy="VWAP", symbol="AAPL")
        def logged(*values: float) -> AsyncIterator[float]:
            return generate(*values)

        async def consume(*values: float) -> list[float]:
            items: Any = logged(*values)
            return [item async for item in items]

        assert asyncio.run(consume(2, 0, 4)) == [0.5]
        assert tracker.total_failures == 1
        tracker.halt_manager.trigger_halt("drill")
        assert asyncio.run(consume(2)) == []
        assert tracker.refusals == 1


@pytest.mark.parametrize("validate", [None, lambda _: True], ids=["short way", "long way"])
def test_results_of_any_type_are_results(validate: Any, tracker: FailureTracker) -> None:
    """What can neither be awaited nor iterated as a generator is returned as it is, and is a success."""

    class Order:
        def __eq__(self, other: object) -> bool:
            raise AssertionError("nobody compares a result")

        __hash__ = None  # type: ignore[assignment]  # nor hashes it

        def __bool__(self) -> bool:
            raise AssertionError("nor tests it")

    order = Order()
    guarded = guarded_signal(validate=validate)(lambda: order)
    assert guarded() is order
    assert tracker.last_success_time is not None
