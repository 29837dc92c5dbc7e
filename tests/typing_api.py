"""Uses of the public names that type checkers have to accept; checked, never run."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Coroutine, Generator, Iterator
from datetime import timedelta
from typing import Any, assert_type

from guarded import (
    ConsecutiveFailures,
    EmergencyHaltManager,
    Event,
    FailureRules,
    FailureTracker,
    FailureType,
    HaltTrigger,
    Instrumentation,
    Outcome,
    SignalFailed,
    SignalGenerationFailure,
    configure,
    get_failure_tracker,
    guarded_signal,
    guarded_strategy,
    instrument,
    is_guarded,
    outcome,
    set_failure_tracker,
    set_mode,
    track_signal,
    uninstrument,
    validators,
)


@guarded_signal
def bare(symbol: str, size: int = 1) -> float:
    return 1.0


@guarded_signal(strategy="VWAP", symbol="{symbol}", validate=validators.finite, context={"size": "{size}"})
def configured(symbol: str, size: int = 1) -> float:
    return 1.0


@guarded_signal(no_signal=lambda *_: "none")
def with_no_signal(symbol: str) -> int:
    return 1


@guarded_signal
async def bare_async(symbol: str) -> float:
    return 1.0


@guarded_signal(reduce_only=True)
async def configured_async(symbol: str) -> float:
    return 1.0


@guarded_signal
def untyped_parts(bar: dict[str, float]) -> Any:
    return bar["close"]


@guarded_signal
async def untyped_arguments(*bars: Any) -> float:
    return 1.0


@guarded_signal
def stream(symbol: str) -> Generator[float, str, int]:
    yield 1.0
    return 1


@guarded_signal(symbol="{symbol}")
def configured_stream(symbol: str) -> Generator[float, str, int]:
    yield 1.0
    return 1


@guarded_signal
def iterated(symbol: str) -> Iterator[float]:
    yield 1.0


@guarded_signal
async def async_stream(symbol: str) -> AsyncGenerator[float, str]:
    yield 1.0


@guarded_signal(strategy="VWAP")
async def configured_async_stream(symbol: str) -> AsyncGenerator[float, str]:
    yield 1.0


@guarded_signal
async def async_iterated(symbol: str) -> AsyncIterator[float]:
    yield 1.0


class Callee:
    def __call__(self, symbol: str) -> float:
        return 1.0


class AsyncCallee:
    async def __call__(self, symbol: str) -> float:
        return 1.0


def scaled(scale: float, symbol: str) -> float:
    return scale


class Base:
    def generate(self, symbol: str) -> str:
        return "hold"


class Override(Base):
    @guarded_signal(no_signal=lambda self, symbol: "hold")
    def generate(self, symbol: str) -> str:
        return "long"


class Strategy:
    name = "VWAP"

    @property
    @guarded_signal
    def level(self) -> float:
        return 1.0

    @property
    @guarded_signal(symbol="AAPL")
    def configured_level(self) -> float:
        return 1.0

    @guarded_signal
    def steps(self) -> Generator[float, None, None]:
        yield 1.0

    @guarded_signal
    @classmethod
    def from_class_outside(cls, symbol: str) -> float:
        return 1.0

    @guarded_signal(strategy="VWAP")
    @staticmethod
    def static_outside(symbol: str) -> float:
        return 1.0

    @guarded_signal
    def method(self, symbol: str) -> float:
        return 1.0

    @guarded_signal(symbol="{symbol}")
    async def async_method(self, symbol: str) -> float:
        return 1.0

    @classmethod
    @guarded_signal
    def from_class(cls, symbol: str) -> float:
        return 1.0

    @staticmethod
    @guarded_signal(strategy="VWAP")
    def static(symbol: str) -> float:
        return 1.0


assert_type(bare("AAPL", size=2), float | None)
assert_type(configured("AAPL"), float | None)
assert_type(with_no_signal("AAPL"), int | str)
assert_type(Strategy().method("AAPL"), float | None)
assert_type(Strategy.from_class("AAPL"), float | None)
assert_type(Strategy.static("AAPL"), float | None)
assert_type(Strategy.from_class_outside("AAPL"), float | None)
assert_type(Strategy.static_outside("AAPL"), float | None)
assert_type(outcome(bare, "AAPL"), Outcome[float | None])
assert_type(outcome(Strategy().method, "AAPL"), Outcome[float | None])
assert_type(Strategy().level, float | None)
assert_type(Strategy().configured_level, float | None)
assert_type(stream("AAPL"), Generator[float, str, int | None])
assert_type(configured_stream("AAPL"), Generator[float, str, int | None])
assert_type(Strategy().steps(), Generator[float, None, None])
assert_type(iterated("AAPL"), Iterator[float] | None)
assert_type(async_iterated("AAPL"), AsyncIterator[float] | None)
assert_type(async_stream("AAPL"), AsyncGenerator[float, str])
assert_type(configured_async_stream("AAPL"), AsyncGenerator[float, str])
assert_type(guarded_signal(Callee())("AAPL"), float | None)
assert_type(guarded_signal(symbol="AAPL")(Callee())("AAPL"), float | None)
assert_type(guarded_signal(functools.partial(scaled, 2.0))("AAPL"), float | None)
assert_type(guarded_signal(Strategy().method)("AAPL"), float | None)
assert_type(is_guarded(bare), bool)
as_text: Callable[[dict[str, float]], str] = untyped_parts  # no generator, though Any could be one
base: Base = Override()
assert_type(base.generate("AAPL"), str)


async def awaiting() -> None:
    assert_type(await bare_async("AAPL"), float | None)
    assert_type(await configured_async("AAPL"), float | None)
    assert_type(await Strategy().async_method("AAPL"), float | None)
    assert_type(await untyped_arguments(1, 2), float | None)
    assert_type(await guarded_signal(AsyncCallee())("AAPL"), float | None)
    pending: Coroutine[Any, Any, float | None] = bare_async("AAPL")
    assert_type(await pending, float | None)
    async for item in async_stream("AAPL"):
        assert_type(item, float)
    assert_type(await outcome(bare_async, "AAPL"), Outcome[float | None])
    assert_type(await asyncio.gather(bare_async("AAPL"), bare_async("MSFT")), tuple[float | None, float | None])
    async with track_signal("VWAP", "AAPL") as signal:
        signal.value = 1.0


def swallowing(symbol: str) -> SignalGenerationFailure | None:
    with track_signal("VWAP", symbol, context=lambda: {"bars": 12}) as signal:
        raise ValueError(symbol)
    return signal.failure


def listener(event: Event) -> None:
    if isinstance(event, SignalFailed):
        assert_type(event.failure, SignalGenerationFailure)


async def page(reason: str, failure: SignalGenerationFailure) -> None:
    assert reason in str(failure)


tracker = FailureTracker(
    policies=[ConsecutiveFailures(3, within=timedelta(hours=1), types={FailureType.DATA_ERROR, "unknown_error"})],
    rules=FailureRules().map("ccxt.NetworkError", "connection_error").ignore(KeyError, message="x"),
    halt_manager=EmergencyHaltManager("memory://"),
    halt_callback=page,
)
unsubscribe = tracker.subscribe(listener)
with set_failure_tracker(tracker), set_mode("strict"):
    assert_type(get_failure_tracker(), FailureTracker)
tracker.halt_manager.trigger_halt("drill", HaltTrigger.MANUAL, level="reducing")
status: dict[str, Any] = tracker.get_status()


@guarded_strategy("generate", symbol="{symbol}", when_halted="run")
class Instrumented:
    def generate(self, symbol: str) -> float:
        return 1.0


@guarded_strategy
class Recognised(Instrumented): ...


assert_type(Instrumented().generate("AAPL"), float)  # a class decorator cannot say that it may be None
report: Instrumentation = instrument(Instrumented, "generate", host="backtrader", no_signal=lambda *_: 0.0)
assert_type(report.guarded, tuple[str, ...])
assert_type(instrument("my_bot.*:*.generate").skipped, dict[str, str])
assert_type(uninstrument(report), dict[str, str])
assert_type(configure("guarded.toml").instrumented, tuple[Instrumentation, ...])
