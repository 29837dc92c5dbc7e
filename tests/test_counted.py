"""One exception is one failure, however many guards it crosses; one that is raised again later counts again."""

from __future__ import annotations

import asyncio
import pickle
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest

from guarded import (
    FailureRules,
    FailureTracker,
    Signal,
    TradingHalted,
    guarded_signal,
    outcome,
    set_mode,
    track_signal,
)


class Slotted(Exception):
    __slots__ = ()


@dataclass(frozen=True)
class Frozen(Exception):
    code: int = 7


class Hostile(Exception):
    @property
    def __dict__(self) -> Any:  # type: ignore[override]
        raise RuntimeError("no dictionary")

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError("no attributes")

    def __setattr__(self, name: str, value: object) -> None:
        raise RuntimeError("no attributes")


class Lying(Exception):
    __class__ = BaseExceptionGroup  # type: ignore[assignment]


EXCEPTIONS: dict[str, Callable[[], Exception]] = {
    "plain": lambda: ValueError("x"),
    "slotted": lambda: Slotted("x"),
    "frozen": Frozen,
    "hostile": lambda: Hostile("x"),
    "lying": lambda: Lying("x"),
    "group": lambda: ExceptionGroup("g", [ValueError("x")]),
}
every_exception = pytest.mark.parametrize("make", EXCEPTIONS.values(), ids=EXCEPTIONS)


def raise_it(error: BaseException) -> str:
    raise error


@every_exception
def test_an_exception_that_crosses_guards_and_blocks_is_one_failure(
    make: Callable[[], Exception], tracker: FailureTracker
) -> None:
    """Three guards and a block that an exception crosses count it once, and the outermost tells of the same record."""
    error = make()
    inner = guarded_signal(reraise=True)(raise_it)
    middle = guarded_signal(reraise=True)(lambda: inner(error))
    with track_signal("Outer", "all") as signal:
        middle()
    assert tracker.total_failures == 1
    assert signal.failed
    assert signal.failure == tracker.last_failure


@every_exception
def test_a_singleton_counts_each_time_that_it_is_raised(make: Callable[[], Exception], tracker: FailureTracker) -> None:
    """The same exception object raised in a later call is another failure."""
    error = make()
    guarded = guarded_signal(reraise=True)(raise_it)
    for _ in range(2):
        with pytest.raises(type(error)) as caught:
            guarded(error)
        assert caught.value is error
    assert tracker.total_failures == 2


def test_raised_from_one_that_was_counted(tracker: FailureTracker) -> None:
    """An exception that is raised `from` a counted one is the same failure; a bug in an except block is another."""

    @guarded_signal(reraise=True)
    def inner() -> None:
        raise KeyError("close")

    @guarded_signal
    def wraps() -> None:
        try:
            inner()
        except KeyError as error:
            raise RuntimeError("on_bar failed") from error

    @guarded_signal
    def stumbles() -> None:
        try:
            inner()
        except KeyError:
            raise TypeError("a bug of its own")  # noqa: B904

    wraps()
    assert tracker.total_failures == 1
    stumbles()
    assert tracker.total_failures == 3


def test_a_group_of_counted_ones(tracker: FailureTracker) -> None:
    """A group all of whose leaves were counted is not counted again; a group with a leaf that was not is."""

    @guarded_signal(reraise=True)
    async def fetch(symbol: str) -> None:
        raise KeyError(symbol)

    async def fetch_unguarded() -> None:
        raise ValueError("x")

    @guarded_signal
    async def generate(*more: Any) -> None:
        async with asyncio.TaskGroup() as group:
            for coroutine in (fetch("AAPL"), fetch("MSFT"), *(make() for make in more)):
                group.create_task(coroutine)

    asyncio.run(generate())
    assert tracker.total_failures == 2
    tracker.reset()
    asyncio.run(generate(fetch_unguarded))
    assert tracker.total_failures == 5


def test_nested_groups_and_cycles_end(tracker: FailureTracker) -> None:
    """Nested groups are looked into, and cycles and endless chains come to an end."""

    @guarded_signal(reraise=True)
    def inner(error: Exception) -> None:
        raise error

    def counted() -> Exception:
        error = ValueError("x")
        with pytest.raises(ValueError):
            inner(error)
        return error

    @guarded_signal
    def outer() -> None:
        raise ExceptionGroup("a", [ExceptionGroup("b", [counted()]), counted()])

    outer()
    assert tracker.total_failures == 2
    tracker.reset()

    @guarded_signal
    def twice_the_same() -> None:
        error = counted()
        raise ExceptionGroup("twice the same", [error, error])

    twice_the_same()
    assert tracker.total_failures == 3
    first, second = ValueError("1"), ValueError("2")
    first.__cause__, second.__cause__ = second, first
    guarded_signal(raise_it)(first)
    assert tracker.total_failures == 4
    tracker.resume(by="ana", reason="test")
    deep: Exception = ValueError("x")
    for _ in range(2_000):
        deep = ExceptionGroup("deep", [deep])
    guarded_signal(raise_it)(deep)
    assert tracker.total_failures == 5


def test_across_threads_and_tasks(tracker: FailureTracker) -> None:
    """An exception that comes back from a worker thread or a task is not counted again where it is awaited."""
    inner = guarded_signal(reraise=True)(raise_it)

    @guarded_signal
    def in_a_pool() -> None:
        with ThreadPoolExecutor(1) as pool:
            pool.submit(inner, ValueError("x")).result()

    @guarded_signal
    async def in_a_task() -> None:
        await asyncio.create_task(asyncio.to_thread(inner, ValueError("x")))

    in_a_pool()
    assert tracker.total_failures == 1
    asyncio.run(in_a_task())
    assert tracker.total_failures == 2


def test_a_singleton_in_overlapping_calls_counts_for_each(tracker: FailureTracker) -> None:
    """The same exception object in a hundred overlapping calls is a failure of each of them."""
    error = ConnectionError("feed down")

    @guarded_signal(strategy="VWAP", symbol="{symbol}")
    async def generate(symbol: str) -> None:
        await asyncio.sleep(0)
        raise error

    async def main() -> None:
        await asyncio.gather(*(generate(f"S{n}") for n in range(100)))

    asyncio.run(main())
    assert len(tracker.symbol_failures) == 100


@pytest.mark.parametrize("strict", [False, True])
def test_a_singleton_that_goes_on_counts_for_each_overlapping_call(strict: bool, tracker: FailureTracker) -> None:
    """The same exception object in overlapping calls is a failure of each, also where they raise it again."""
    error = ConnectionError("feed down")

    @guarded_signal(strategy="VWAP", symbol="{symbol}", reraise=not strict)
    async def generate(symbol: str) -> None:
        await asyncio.sleep(0)
        raise error

    async def main() -> None:
        with set_mode("strict" if strict else "on"):
            await asyncio.gather(*(generate(f"S{n}") for n in range(100)), return_exceptions=True)

    asyncio.run(main())
    assert len(tracker.symbol_failures) == 100


def test_raised_from_a_refusal(tracker: FailureTracker) -> None:
    """An exception that is raised `from` TradingHalted is a refusal, like TradingHalted itself."""
    tracker.halt_manager.trigger_halt("bad feed", symbol="AAPL")

    @guarded_signal(strategy="Portfolio", symbol="all")
    def generate() -> None:
        try:
            with track_signal("VWAP", "AAPL"):
                raise AssertionError("not entered")
        except TradingHalted as halted:
            raise RuntimeError("no signal from VWAP") from halted

    assert outcome(generate).refused
    assert (tracker.total_failures, tracker.refusals) == (0, 1)


def test_rules_of_an_outer_guard_come_before_what_was_counted(tracker: FailureTracker) -> None:
    """An outer guard that propagates lets an exception through that an inner guard has counted."""
    inner = guarded_signal(reraise=True)(raise_it)
    outer = guarded_signal(rules=FailureRules().propagate(KeyError))(lambda: inner(KeyError("x")))
    with pytest.raises(KeyError):
        outer()
    assert tracker.total_failures == 1


def test_a_group_of_refusals_is_a_refusal(tracker: FailureTracker) -> None:
    """A group of nothing but TradingHalted is a refusal, and one of refusals and counted failures was counted."""
    tracker.halt_manager.trigger_halt("bad feed", symbol="AAPL")

    async def block(symbol: str) -> None:
        async with track_signal("VWAP", symbol, reraise=True):
            raise ValueError("bad bar")

    async def gathered(*symbols: str) -> Signal:
        async with track_signal("Portfolio", "all") as signal, asyncio.TaskGroup() as group:
            for symbol in symbols:
                group.create_task(block(symbol))
        return signal

    assert asyncio.run(gathered("AAPL", "AAPL")).refused
    assert tracker.total_failures == 0
    mixed = asyncio.run(gathered("MSFT", "AAPL"))
    assert (mixed.failed, mixed.failure) == (True, tracker.last_failure)
    assert tracker.total_failures == 1


def test_endless_recursion_is_one_failure(tracker: FailureTracker) -> None:
    """A guarded function that calls itself without end is recorded once, where there is room for it."""

    @guarded_signal(strategy="VWAP", symbol="AAPL", when_halted="run")
    def generate(depth: int) -> str | None:
        return generate(depth + 1)

    assert generate(0) is None
    assert tracker.total_failures == 1
    assert tracker.last_failure is not None
    assert tracker.last_failure.error_type == "RecursionError"


def test_recorded_by_hand_and_raised_again(tracker: FailureTracker) -> None:
    """A failure that was recorded by hand and raised again is not counted by the guard; by hand always counts."""

    @guarded_signal
    def generate() -> None:
        try:
            raise KeyError("close")
        except KeyError as error:
            tracker.record_failure("VWAP", "AAPL", error)
            tracker.record_failure("VWAP", "AAPL", error)
            raise

    generate()
    assert tracker.total_failures == 2


def test_each_tracker_counts_for_itself(tracker: FailureTracker) -> None:
    """An exception that crosses guards of two trackers is counted by both."""
    other = FailureTracker()
    inner = guarded_signal(reraise=True, tracker=other)(raise_it)
    guarded_signal(lambda: inner(ValueError("x")))()
    assert (tracker.total_failures, other.total_failures) == (1, 1)


def test_the_mark_does_not_travel(tracker: FailureTracker) -> None:
    """A counted exception pickles without the mark, and can be unpickled where guarded is not installed."""
    error = ValueError("x")
    with pytest.raises(ValueError):
        guarded_signal(reraise=True)(raise_it)(error)
    dumped = pickle.dumps(error)
    assert b"_counted" not in dumped.replace(b"__guarded_counted__", b"")
    assert b"guarded._" not in dumped

    @guarded_signal
    def again() -> None:
        raise pickle.loads(dumped)  # noqa: S301

    again()
    assert tracker.total_failures == 2


@pytest.mark.parametrize("again", [False, True])
def test_an_object_that_was_kept_back_fails_anew(again: bool, tracker: FailureTracker) -> None:
    """An exception that was counted within a call, and kept back, counts again when the call raises it itself."""
    error = ValueError("one object")

    @guarded_signal(strategy="inner", symbol="x", reraise=True)
    def inner() -> None:
        raise error

    @guarded_signal(strategy="keeper", symbol="x")
    def keeper() -> None:
        inner()

    @guarded_signal(strategy="other", symbol="x")
    def other() -> None:
        raise error

    @guarded_signal(strategy="outer", symbol="x")
    def outer() -> None:
        keeper()
        if again:
            other()
        raise error

    outer()
    assert tracker.strategy_failures == {"inner": 1, "outer": 1} | ({"other": 1} if again else {})
