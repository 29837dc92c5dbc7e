"""Uses of the public names that type checkers have to accept; checked, never run."""

from __future__ import annotations

import asyncio
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
    Outcome,
    SignalFailed,
    SignalGenerationFailure,
    get_failure_tracker,
    guarded_signal,
    outcome,
    set_failure_tracker,
    set_mode,
    track_signal,
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


class Strategy:
    name = "VWAP"

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
assert_type(outcome(bare, "AAPL"), Outcome[float | None])


async def awaiting() -> None:
    assert_type(await bare_async("AAPL"), float | None)
    assert_type(await configured_async("AAPL"), float | None)
    assert_type(await Strategy().async_method("AAPL"), float | None)
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
