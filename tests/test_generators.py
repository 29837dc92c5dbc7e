"""Guarded generators: what each step counts, what the consumer throws in and gets back, and how they stop."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import inspect
import sys
import weakref
from collections.abc import AsyncGenerator, Awaitable, Callable, Generator, Iterator
from typing import Any, Protocol

import pytest

from guarded import (
    EmergencyHaltManager,
    FailureRules,
    FailureTracker,
    FailureType,
    InvalidConfiguration,
    SignalRejected,
    guarded_signal,
    outcome,
    set_failure_tracker,
    set_mode,
    track_signal,
    validators,
)

Body = Callable[..., Generator[Any, Any, Any]]


class Consumer(Protocol):
    """Takes the steps of a generator, plain or asynchronous."""

    def next(self) -> Any: ...
    def send(self, value: Any) -> Any: ...
    def throw(self, error: BaseException) -> Any: ...
    def close(self) -> Any: ...


class Plain:
    end = StopIteration

    def __init__(self, generator: Generator[Any, Any, Any]) -> None:
        self.next = generator.__next__
        self.send = generator.send
        self.throw = generator.throw
        self.close = generator.close


class Asynchronous:
    end = StopAsyncIteration
    loop: asyncio.AbstractEventLoop  # one for all steps of a test: a loop that ends closes its generators

    def __init__(self, generator: AsyncGenerator[Any, Any]) -> None:
        self.generator = generator

    def next(self) -> Any:
        return self.send(None)

    def send(self, value: Any) -> Any:
        return self._run(lambda: self.generator.asend(value))

    def throw(self, error: BaseException) -> Any:
        return self._run(lambda: self.generator.athrow(error))

    def close(self) -> Any:
        return self._run(self.generator.aclose)

    def _run(self, step: Callable[[], Awaitable[Any]]) -> Any:
        async def stepped() -> Any:
            return await step()  # made while the loop runs: the generator asks for its loop when it is first used

        return self.loop.run_until_complete(stepped())


@pytest.fixture(autouse=True)
def _loop() -> Iterator[None]:
    Asynchronous.loop = asyncio.new_event_loop()
    yield
    gc.collect()  # what was abandoned asks its loop to be closed
    Asynchronous.loop.run_until_complete(_all_done())
    Asynchronous.loop.run_until_complete(Asynchronous.loop.shutdown_asyncgens())
    Asynchronous.loop.close()


async def _all_done() -> None:
    await asyncio.sleep(0)
    await asyncio.gather(*(asyncio.all_tasks() - {asyncio.current_task()}), return_exceptions=True)


class Kind:
    """How the same body becomes a guarded generator of one kind."""

    def __init__(self, name: str, end: type[Exception], consume: Callable[..., Consumer]) -> None:
        self.name = name
        self.end = end
        self.consume = consume


def _plain(body: Body, *args: Any, **settings: Any) -> Consumer:
    return Plain(guarded_signal(**{"strategy": "VWAP", "symbol": "AAPL", **settings})(body)(*args))


def _asynchronous(body: Body, *args: Any, **settings: Any) -> Consumer:
    async def generate(*args: Any) -> AsyncGenerator[Any, Any]:
        inner = body(*args)
        step, given = inner.send, None
        while True:
            await asyncio.sleep(0)
            try:
                item = step(given)
            except StopIteration:
                return
            try:
                step, given = inner.send, (yield item)
            except BaseException as error:  # noqa: BLE001  # it is the body's to take
                step, given = inner.throw, error

    return Asynchronous(guarded_signal(**{"strategy": "VWAP", "symbol": "AAPL", **settings})(generate)(*args))


PLAIN = Kind("plain", StopIteration, _plain)
ASYNCHRONOUS = Kind("asynchronous", StopAsyncIteration, _asynchronous)
both = pytest.mark.parametrize("kind", [PLAIN, ASYNCHRONOUS], ids=lambda kind: kind.name)

# Without looking at a halt or a validator, and the long way, with both looked at.
WAYS: list[dict[str, Any]] = [{}, {"validate": lambda _: True}]
both_ways = pytest.mark.parametrize("settings", WAYS, ids=["short way", "long way"])


def one_over(*values: float) -> Generator[float, Any, None]:
    for value in values:
        yield 1 / value


class TestSteps:
    """What the steps of a guarded generator count."""

    @both
    @both_ways
    def test_items_are_yielded_as_they_are(self, kind: Kind, settings: dict[str, Any], tracker: FailureTracker) -> None:
        """What the generator yields, falsy or not, reaches the consumer, and then the iteration ends."""
        items = [0, None, "", object()]
        consumer = kind.consume(lambda: iter_of(items), **settings)
        assert [consumer.next() for _ in items] == items
        with pytest.raises(kind.end):
            consumer.next()
        assert tracker.total_failures == 0

    @both
    @both_ways
    def test_a_failing_step_ends_the_iteration(
        self, kind: Kind, settings: dict[str, Any], tracker: FailureTracker
    ) -> None:
        """A step that raises is one failure, after which the generator stops; what it yielded before stays."""
        consumer = kind.consume(one_over, 2, 0, 4, **settings)
        assert consumer.next() == 0.5
        for _ in range(3):
            with pytest.raises(kind.end):
                consumer.next()
        assert [(f.strategy_name, f.symbol, f.error_type) for f in tracker.failure_history] == [
            ("VWAP", "AAPL", "ZeroDivisionError")
        ]
        assert "in one_over\n    yield 1 / value" in (tracker.failure_history[0].stack_trace or "")

    @both
    @both_ways
    def test_each_yield_is_a_success(self, kind: Kind, settings: dict[str, Any], tracker: FailureTracker) -> None:
        """Each yield ends the streak of its key and stamps the time; making the generator, and its end, do not."""
        consumer = kind.consume(one_over, 2, 4, **settings)
        assert tracker.last_success_time is None
        for _ in range(2):
            tracker.record_failure("VWAP", "AAPL", "an error event")
            assert tracker.consecutive_failures == 1
            consumer.next()
            assert tracker.consecutive_failures == 0
        tracker.record_failure("VWAP", "AAPL", "an error event")
        with pytest.raises(kind.end):
            consumer.next()
        assert tracker.consecutive_failures == 1
        assert tracker.last_success_time is not None

    @both
    @both_ways
    def test_a_step_whose_own_course_failed_is_no_success(
        self, kind: Kind, settings: dict[str, Any], tracker: FailureTracker
    ) -> None:
        """A step in which a failure was recorded counts neither way; the next one counts again."""

        @guarded_signal(strategy="VWAP", symbol="AAPL")
        def inner(value: float) -> float:
            return 1 / value

        def body() -> Generator[Any, Any, None]:
            for value in (0, 0, 1):
                yield inner(value)

        consumer = kind.consume(body, **settings)
        assert [consumer.next(), consumer.next()] == [None, None]
        assert tracker.consecutive_failures == 2
        assert consumer.next() == 1.0
        assert tracker.consecutive_failures == 0

    @both
    def test_three_failing_generators_halt(self, kind: Kind, tracker: FailureTracker) -> None:
        """Generators that fail three times in a row halt trading, as calls do."""
        for _ in range(3):
            with pytest.raises(kind.end):
                kind.consume(one_over, 0).next()
        assert tracker.halt_triggered

    @both
    def test_an_exception_is_one_failure(self, kind: Kind, tracker: FailureTracker) -> None:
        """An exception that crosses a guarded generator and the guard around it is counted once."""

        @guarded_signal(strategy="outer", symbol="AAPL")
        def outer() -> object:
            return kind.consume(one_over, 0, reraise=True).next()

        assert outer() is None
        assert tracker.strategy_failures == {"VWAP": 1}

    @both
    @both_ways
    def test_ignored_and_propagated(self, kind: Kind, settings: dict[str, Any], tracker: FailureTracker) -> None:
        """An ignored exception ends the iteration uncounted; a propagated one reaches the consumer uncounted."""
        with pytest.raises(kind.end):
            kind.consume(one_over, 0, rules=FailureRules().ignore(ArithmeticError), **settings).next()
        with pytest.raises(ZeroDivisionError):
            kind.consume(one_over, 0, rules=FailureRules().propagate(ArithmeticError), **settings).next()
        assert tracker.total_failures == 0

    @both
    @both_ways
    def test_reraise_raises_the_same_exception(
        self, kind: Kind, settings: dict[str, Any], tracker: FailureTracker
    ) -> None:
        """With reraise=True the very same exception reaches the consumer, recorded once."""
        error = KeyError("close")

        def body() -> Generator[Any, Any, None]:
            yield 1
            raise error

        consumer = kind.consume(body, reraise=True, **settings)
        consumer.next()
        with pytest.raises(KeyError) as caught:
            consumer.next()
        assert caught.value is error
        assert tracker.total_failures == 1

    @both
    @pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, asyncio.CancelledError])
    def test_interrupts_pass_through(self, kind: Kind, error: type[BaseException], tracker: FailureTracker) -> None:
        """What is no Exception passes through a step uncounted."""

        def body() -> Generator[Any, Any, None]:
            raise error
            yield

        with pytest.raises(error):
            kind.consume(body).next()
        assert tracker.total_failures == 0

    @both
    @both_ways
    def test_wrong_arguments_are_a_failure(self, kind: Kind, settings: dict[str, Any], tracker: FailureTracker) -> None:
        """Wrong arguments are counted with the first step, end the iteration, and are raised under reraise=True."""

        def body(bars: list[float]) -> Generator[float, Any, None]:
            yield from bars

        with pytest.raises(kind.end):
            kind.consume(body, [1], "too many", **settings).next()
        assert tracker.total_failures == 1
        if kind is PLAIN:  # the asynchronous body takes what it gets
            with pytest.raises(TypeError):
                kind.consume(body, **settings, reraise=True).next()
            with set_mode("off"), pytest.raises(TypeError):
                kind.consume(body, **settings).next()
            assert tracker.total_failures == 2

    def test_wrong_arguments_of_an_async_generator(self, tracker: FailureTracker) -> None:
        """They are the first step's failure there, too; raised under reraise=True, and in mode off uncounted."""

        async def body(bars: list[float]) -> AsyncGenerator[float, Any]:
            yield bars[0]

        wrong: Any = guarded_signal(body)
        with pytest.raises(StopAsyncIteration):
            Asynchronous(wrong()).next()
        wrong_raised: Any = guarded_signal(reraise=True)(body)
        with pytest.raises(TypeError):
            Asynchronous(wrong_raised()).next()
        assert tracker.total_failures == 2
        with set_mode("off"), pytest.raises(TypeError):
            Asynchronous(wrong()).next()
        assert tracker.total_failures == 2

    @both
    def test_the_shared_tracker_is_the_current_one(self, kind: Kind, tracker: FailureTracker) -> None:
        """Each step counts in the tracker that is the shared one at the time."""
        consumer = kind.consume(one_over, 1, 0)
        consumer.next()
        later = FailureTracker()
        with set_failure_tracker(later), pytest.raises(kind.end):
            consumer.next()
        assert (tracker.total_failures, later.total_failures) == (0, 1)

    @both
    def test_a_success_that_cannot_be_recorded_changes_nothing(
        self, kind: Kind, tracker: FailureTracker, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """If recording a step's success fails, the consumer gets the item all the same."""
        tracker.record_failure("VWAP", "AAPL", "an error event")
        monkeypatch.setattr(tracker, "_succeed", lambda *_: 1 / 0)
        assert kind.consume(one_over, 2).next() == 0.5


def iter_of(items: list[Any]) -> Generator[Any, Any, None]:
    yield from items


class TestHalts:
    """How a halt stops a generator that is under way."""

    @both
    @pytest.mark.parametrize("begun", [False, True])
    def test_a_halt_stops_it_at_the_next_step(self, kind: Kind, begun: bool, tracker: FailureTracker) -> None:
        """While trading is halted, the next step is refused: the generator is closed, and stays so after a resume."""
        cleaned: list[str] = []

        def body() -> Generator[int, Any, None]:
            try:
                yield from (1, 2, 3)
            finally:
                cleaned.append("up")

        consumer = kind.consume(body)
        if begun:
            assert consumer.next() == 1
        tracker.halt_manager.trigger_halt("drill")
        with pytest.raises(kind.end):
            consumer.next()
        assert cleaned == (["up"] if begun else [])
        assert (tracker.refusals, tracker.total_failures) == (1, 0)
        tracker.resume(by="ana", reason="drill over")
        with pytest.raises(kind.end):
            consumer.next()
        assert tracker.refusals == 1

    @both
    def test_what_it_sends_is_refused_likewise(self, kind: Kind, tracker: FailureTracker) -> None:
        """A value sent to a halted generator does not reach it."""
        got: list[Any] = []

        def body() -> Generator[int, Any, None]:
            while True:
                got.append((yield 1))

        consumer = kind.consume(body)
        consumer.next()
        consumer.send("first")
        tracker.halt_manager.trigger_halt("drill")
        with pytest.raises(kind.end):
            consumer.send("second")
        assert got == ["first"]

    @both
    def test_the_exceptions_to_a_halt(self, kind: Kind, tracker: FailureTracker) -> None:
        """when_halted="run" takes its steps while halted; a scoped halt stops its own scope only; reduce_only runs."""
        runs, reduces = kind.consume(one_over, 1, 2, when_halted="run"), kind.consume(one_over, 1, 2, reduce_only=True)
        other = kind.consume(one_over, 1, 2, symbol="MSFT")
        tracker.halt_manager.trigger_halt("bad feed", symbol="AAPL", level="reducing")
        assert [runs.next(), reduces.next(), other.next()] == [1, 1, 1]
        tracker.halt_manager.trigger_halt("worse", symbol="AAPL")
        assert [runs.next(), other.next()] == [0.5, 0.5]
        with pytest.raises(kind.end):
            reduces.next()

    @both
    def test_cleaning_up_may_fail(self, kind: Kind, tracker: FailureTracker) -> None:
        """What a refused generator raises when it is closed is a failure, and is raised under reraise=True only."""

        def body() -> Generator[int, Any, None]:
            try:
                yield 1
                yield 2
            finally:
                raise OSError("disk full")

        quiet, loud = kind.consume(body), kind.consume(body, reraise=True)
        quiet.next()
        loud.next()
        tracker.halt_manager.trigger_halt("drill")
        with pytest.raises(kind.end):
            quiet.next()
        assert (tracker.refusals, tracker.total_failures) == (1, 1)
        with pytest.raises(OSError, match="disk full"):
            loud.next()
        assert (tracker.refusals, tracker.total_failures) == (2, 2)

    @both
    def test_it_may_be_closed_while_halted(self, kind: Kind, tracker: FailureTracker) -> None:
        """Closing a generator while trading is halted lets it clean up, and counts nothing."""
        cleaned: list[str] = []

        def body() -> Generator[int, Any, None]:
            try:
                yield 1
            finally:
                cleaned.append("up")

        consumer = kind.consume(body)
        consumer.next()
        tracker.halt_manager.trigger_halt("drill")
        consumer.close()
        assert cleaned == ["up"]
        assert (tracker.refusals, tracker.total_failures) == (0, 0)

    @both
    def test_what_is_thrown_while_halted_arrives(self, kind: Kind, tracker: FailureTracker) -> None:
        """While halted, what the consumer throws reaches the generator, is never masked, and what it yields is not."""

        def handles() -> Generator[Any, Any, None]:
            try:
                yield "before"
            except KeyError:
                yield "withheld"

        def passes() -> Generator[Any, Any, None]:
            yield "before"

        handling, passing = kind.consume(handles), kind.consume(passes)
        handling.next()
        passing.next()
        tracker.halt_manager.trigger_halt("drill")
        with pytest.raises(kind.end):
            handling.throw(KeyError("x"))
        error = KeyError("y")
        with pytest.raises(KeyError) as caught:
            passing.throw(error)
        assert caught.value is error
        assert (tracker.refusals, tracker.total_failures) == (1, 0)

    def test_no_signal_is_what_a_generator_returns(self, tracker: FailureTracker) -> None:
        """With no_signal= a generator that fails, or is refused, returns that value."""

        def consumed() -> Generator[Any, Any, Any]:
            return (yield from guarded_signal(no_signal=lambda *values: list(values))(one_over)(1, 0))

        def returned(consumer: Generator[Any, Any, Any]) -> Any:
            while True:
                try:
                    next(consumer)
                except StopIteration as stop:
                    return stop.value

        assert returned(consumed()) == [1, 0]
        tracker.halt_manager.trigger_halt("drill")
        assert returned(consumed()) == [1, 0]
        assert (tracker.total_failures, tracker.refusals) == (1, 1)

    def test_an_async_generator_has_no_such_value(self) -> None:
        """An asynchronous generator cannot return a value, so no_signal= is an error at decoration."""

        async def body() -> AsyncGenerator[int, None]:
            yield 1

        with pytest.raises(InvalidConfiguration, match=r"no_signal on .*body: an asynchronous generator ends without"):
            guarded_signal(no_signal=list)(body)

    @both
    def test_a_block_that_is_refused_within_stops_it(self, kind: Kind, tracker: FailureTracker) -> None:
        """TradingHalted from a block within a step is a refusal, and ends the iteration."""

        def body() -> Generator[int, Any, None]:
            yield 1
            with track_signal("VWAP", "MSFT"):
                yield 2

        consumer = kind.consume(body)
        consumer.next()
        tracker.halt_manager.trigger_halt("bad feed", symbol="MSFT")
        with pytest.raises(kind.end):
            consumer.next()
        assert tracker.total_failures == 0


class TestTheConsumer:
    """What the consumer sends and throws in."""

    @both
    @both_ways
    def test_what_is_sent_arrives(self, kind: Kind, settings: dict[str, Any], tracker: FailureTracker) -> None:
        """send() gives the generator the value, and the consumer what it yields for it."""

        def body() -> Generator[Any, Any, None]:
            got = yield "ready"
            while True:
                got = yield got * 2

        consumer = kind.consume(body, **settings)
        assert [consumer.next(), consumer.send(3), consumer.send(5)] == ["ready", 6, 10]

    @both
    @both_ways
    def test_what_is_thrown_and_comes_back_is_the_consumers(
        self, kind: Kind, settings: dict[str, Any], tracker: FailureTracker
    ) -> None:
        """The very object that the consumer throws in passes through uncounted, with nothing kept alive by it."""
        consumer = kind.consume(one_over, 1, 2, **settings)
        consumer.next()
        error = KeyError("the consumer's own")
        with pytest.raises(KeyError) as caught:
            consumer.throw(error)
        assert caught.value is error
        assert tracker.total_failures == 0
        with pytest.raises(kind.end):
            consumer.next()

    @both
    @both_ways
    def test_a_generator_may_handle_what_is_thrown(
        self, kind: Kind, settings: dict[str, Any], tracker: FailureTracker
    ) -> None:
        """What the generator yields for an exception thrown in is a success, and what it raises instead a failure."""

        def body() -> Generator[Any, Any, None]:
            try:
                yield "first"
            except KeyError:
                pass
            try:
                yield "handled"
            except KeyError as error:
                raise ValueError("of its own") from error

        consumer = kind.consume(body, **settings)
        consumer.next()
        tracker.record_failure("VWAP", "AAPL", "an error event")
        assert consumer.throw(KeyError("x")) == "handled"
        assert tracker.consecutive_failures == 0
        with pytest.raises(kind.end):
            consumer.throw(KeyError("y"))
        assert tracker.last_failure is not None
        assert tracker.last_failure.error_type == "ValueError"

    @both
    @both_ways
    @pytest.mark.parametrize("end", [StopIteration, StopAsyncIteration])
    def test_the_end_of_another_iteration_is_the_consumers(
        self, kind: Kind, settings: dict[str, Any], end: type[Exception], tracker: FailureTracker
    ) -> None:
        """An end of iteration that is thrown in comes back as Python has it, in a RuntimeError, and is no failure."""
        consumer = kind.consume(one_over, 1, **settings)
        consumer.next()
        error = end("the consumer's own")
        with pytest.raises((RuntimeError, end)) as caught:
            consumer.throw(error)
        assert error in (caught.value, caught.value.__cause__)
        assert tracker.total_failures == 0

    @both
    @both_ways
    def test_closing_it_counts_nothing(self, kind: Kind, settings: dict[str, Any], tracker: FailureTracker) -> None:
        """close() reaches the generator, and counts neither way."""
        cleaned: list[str] = []

        def body() -> Generator[int, Any, None]:
            try:
                yield 1
            finally:
                cleaned.append("up")

        consumer = kind.consume(body, **settings)
        consumer.next()
        tracker.record_failure("VWAP", "AAPL", "an error event")
        consumer.close()
        assert cleaned == ["up"]
        assert (tracker.total_failures, tracker.consecutive_failures) == (1, 1)
        with pytest.raises(kind.end):
            consumer.next()

    @both
    @both_ways
    def test_cleaning_up_at_close_may_fail(self, kind: Kind, settings: dict[str, Any], tracker: FailureTracker) -> None:
        """What the generator raises when it is closed is a failure, kept from whoever closes it."""

        def body() -> Generator[int, Any, None]:
            try:
                yield 1
            finally:
                raise OSError("disk full")

        consumer = kind.consume(body, **settings)
        consumer.next()
        consumer.close()
        assert tracker.last_failure is not None
        assert tracker.last_failure.error_type == "OSError"

    @both
    def test_one_that_does_not_stop_when_closed(self, kind: Kind, tracker: FailureTracker) -> None:
        """A generator that yields when it is closed gets Python's RuntimeError."""

        def body() -> Generator[int, Any, None]:
            try:
                yield 1
            except GeneratorExit:
                yield 2

        consumer = kind.consume(body)
        consumer.next()
        with pytest.raises(RuntimeError, match="ignored GeneratorExit"):
            consumer.close()
        with pytest.raises(kind.end):
            consumer.next()

    def test_an_abandoned_one_counts_nothing(self, tracker: FailureTracker) -> None:
        """A generator that nobody exhausts cleans up when it is collected, and counts nothing."""
        cleaned: list[str] = []

        @guarded_signal
        def generate() -> Iterator[int]:
            try:
                yield from (1, 2)
            finally:
                cleaned.append("up")

        generator: Any = generate()
        next(generator)
        successes = tracker.last_success_time
        del generator
        gc.collect()
        assert cleaned == ["up"]
        assert tracker.total_failures == 0
        assert tracker.last_success_time == successes

    def test_an_abandoned_async_one_counts_nothing(self, tracker: FailureTracker) -> None:
        """An asynchronous generator that nobody exhausts is closed by its loop, and counts nothing."""
        cleaned = asyncio.Event()

        @guarded_signal
        async def generate() -> AsyncGenerator[int, None]:
            try:
                yield 1
                yield 2
            finally:
                await asyncio.sleep(0)
                cleaned.set()

        async def main() -> None:
            async for _ in generate():
                break
            gc.collect()
            await cleaned.wait()

        asyncio.run(main())
        assert tracker.total_failures == 0

    @pytest.mark.parametrize("times", range(8))  # in which order a loop closes its generators is not told
    @pytest.mark.parametrize("cyclic", [False, True])
    def test_one_that_is_left_open_when_the_loop_ends(
        self, cyclic: bool, times: int, tracker: FailureTracker, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A loop that ends, or collects what is left open, closes it once, without a word, and nothing is counted."""
        cleaned = asyncio.Event()
        kept: list[Any] = []

        @guarded_signal
        async def generate() -> AsyncGenerator[int, Any]:
            itself = yield 1
            try:
                yield 2
            finally:
                await asyncio.sleep(0)
                assert not cleaned.is_set()
                cleaned.set()
            del itself

        async def main() -> None:
            generator = generate()
            await anext(generator)
            await generator.asend(generator if cyclic else None)
            if cyclic:
                del generator
                gc.collect()
                await cleaned.wait()
            else:
                kept.append(generator)

        asyncio.run(main())
        assert cleaned.is_set()
        assert caplog.records == []
        assert tracker.total_failures == 0

    @pytest.mark.skipif(sys.version_info < (3, 13), reason="close() returns a value from Python 3.13 on")
    def test_what_close_returns(self, tracker: FailureTracker) -> None:
        """What a generator returns when it is closed is what close() returns."""

        @guarded_signal
        def generate() -> Generator[int, None, str]:
            try:
                yield 1
            except GeneratorExit:
                return "closed"
            return "exhausted"

        generator = generate()
        next(generator)
        assert generator.close() == "closed"  # type: ignore[func-returns-value]  # for mypy, of Python 3.11

    def test_what_it_returns(self, tracker: FailureTracker) -> None:
        """What a generator returns is the value of `yield from`."""

        @guarded_signal
        def generate() -> Generator[int, None, str]:
            yield 1
            return "done"

        def outer() -> Generator[int, None, str | None]:
            return (yield from generate())

        generator = outer()
        next(generator)
        with pytest.raises(StopIteration) as stop:
            next(generator)
        assert stop.value.value == "done"

    def test_what_is_thrown_in_is_not_kept(self, tracker: FailureTracker) -> None:
        """An exception that was thrown in and came back is freed with its last reference, without a cycle."""
        gc.disable()
        try:
            generator = guarded_signal(one_over)(1, 2)
            next(generator)
            error: Any = type("Own", (Exception,), {})()
            gone = weakref.ref(error)
            with contextlib.suppress(Exception):
                generator.throw(error)
            del error, generator
            assert gone() is None
        finally:
            gc.enable()


class TestValidation:
    """What `validate=` does to items."""

    @both
    def test_a_rejected_item_ends_the_iteration(self, kind: Kind, tracker: FailureTracker) -> None:
        """Each item is validated; one that is rejected is a failure, and the generator is closed."""
        cleaned: list[str] = []

        def body() -> Generator[float, Any, None]:
            try:
                yield from (1.0, float("nan"), 3.0)
            finally:
                cleaned.append("up")

        consumer = kind.consume(body, validate=validators.finite)
        assert consumer.next() == 1.0
        with pytest.raises(kind.end):
            consumer.next()
        assert cleaned == ["up"]
        assert tracker.type_failures == {FailureType.DATA_ERROR: 1}

    @both
    def test_a_rejection_is_raised_under_reraise(self, kind: Kind, tracker: FailureTracker) -> None:
        """With reraise=True a rejected item raises SignalRejected, and the generator is closed."""
        consumer = kind.consume(one_over, 1, 2, validate=lambda _: False, reraise=True)
        with pytest.raises(SignalRejected):
            consumer.next()
        with pytest.raises(kind.end):
            consumer.next()


class TestModes:
    """Guarded generators in the other modes, step by step."""

    @both
    def test_strict_records_and_raises(self, kind: Kind, tracker: FailureTracker) -> None:
        """In strict mode a failing step is recorded and raised."""
        with set_mode("strict"), pytest.raises(ZeroDivisionError):
            kind.consume(one_over, 0).next()
        assert tracker.total_failures == 1

    @both
    def test_off_does_nothing(self, kind: Kind, tracker: FailureTracker) -> None:
        """In mode off steps are not refused, not validated and not recorded, and exceptions thrown in arrive."""
        tracker.halt_manager.trigger_halt("drill")
        with set_mode("off"):
            consumer = kind.consume(one_over, 1, 0, validate=lambda _: False)
            assert consumer.next() == 1
            with pytest.raises(ZeroDivisionError):
                consumer.next()
            consumer = kind.consume(one_over, 1, 0)
            consumer.next()
            with pytest.raises(KeyError):
                consumer.throw(KeyError("x"))
        assert (tracker.total_failures, tracker.refusals, tracker.last_success_time) == (0, 0, None)

    @both
    def test_the_mode_counts_at_each_step(self, kind: Kind, tracker: FailureTracker) -> None:
        """A generator that was begun in mode off is guarded from the step on at which it is switched on."""
        with set_mode("off"):
            consumer = kind.consume(one_over, 1, 0)
            consumer.next()
        with pytest.raises(kind.end):
            consumer.next()
        assert tracker.total_failures == 1


class TestTheGuardedFunction:
    """The guarded generator function as an object, and with what hosts build on it."""

    def test_it_stays_a_generator_function(self) -> None:
        """Hosts recognise the guarded function, and what it returns, as what they were."""

        async def asynchronous() -> AsyncGenerator[int, None]:
            yield 1

        assert inspect.isgeneratorfunction(guarded_signal(one_over))
        assert inspect.isgenerator(guarded_signal(one_over)(1))
        assert inspect.isasyncgenfunction(guarded_signal(asynchronous))
        assert inspect.isasyncgen(guarded_signal(asynchronous)())
        assert inspect.signature(guarded_signal(one_over)) == inspect.signature(one_over)

    def test_nothing_runs_before_the_first_step(self, tracker: FailureTracker) -> None:
        """The call itself runs nothing and is not refused; a halt before the first step refuses that."""
        tracker.halt_manager.trigger_halt("drill")
        generator = guarded_signal(one_over)(0)
        assert tracker.refusals == 0
        tracker.resume(by="ana", reason="drill over")
        assert list(generator) == []
        assert tracker.total_failures == 1

    def test_as_a_context_manager(self, tracker: FailureTracker) -> None:
        """contextlib.contextmanager works over a guarded generator: the body's own exception is not its failure."""

        @contextlib.contextmanager
        @guarded_signal
        def session() -> Generator[str, None, None]:
            yield "open"

        for error in (KeyError("the body's own"), StopIteration("likewise")):
            with pytest.raises(type(error)) as caught, session():
                raise error
            assert caught.value is error
        assert tracker.total_failures == 0

    def test_outcome_refuses_it(self) -> None:
        """outcome() of a generator function says that its failures belong to its steps."""
        with pytest.raises(TypeError, match=r"one_over, whose calls give a generator, guarded step by step: subscribe"):
            outcome(guarded_signal(one_over), 1)

    @both
    def test_an_async_callback_is_awaited_or_run(self, kind: Kind) -> None:
        """The halt callback of a generator that trips the halt has run when the step is over."""
        called: list[str] = []

        async def callback(reason: str, _failure: object) -> None:
            await asyncio.sleep(0)
            called.append(reason)

        own = FailureTracker(failure_threshold=1, halt_callback=callback, halt_manager=EmergencyHaltManager())
        with pytest.raises(kind.end):
            kind.consume(one_over, 0, tracker=own).next()
        assert len(called) == 1
