"""Strategies as a module that worker processes can import."""

from __future__ import annotations

import functools
from typing import Any

from guarded import get_failure_tracker, guarded_signal


@guarded_signal(strategy="VWAP", symbol="{symbol}")
def generate(symbol: str, close: float) -> float:
    return 1 / close


class Strategy:
    name = "Pooled"

    @guarded_signal
    def generate(self, symbol: str, close: float) -> float:
        return 1 / close

    def __call__(self, symbol: str, close: float) -> float:
        return 1 / close


def divided(scale: float, symbol: str, close: float) -> float:
    return scale / close


# Of any type: what is called with (symbol, close) and pickles.
EVERY: dict[str, Any] = {
    "function": generate,
    "bound method": Strategy().generate,
    "callable object": guarded_signal(Strategy()),
    "partial": guarded_signal(functools.partial(divided, 1.0)),
    "partial of a guarded function": functools.partial(generate, "AAPL"),
}


def arguments(name: str, close: float) -> tuple[Any, ...]:
    return (close,) if name.startswith("partial of") else ("AAPL", close)


def counted(name: str, signal: Any) -> tuple[float | None, float | None, int]:
    """What a worker gets for a good and a bad argument, and how many failures its tracker counted."""
    tracker = get_failure_tracker()
    before = tracker.total_failures
    good, bad = signal(*arguments(name, 2.0)), signal(*arguments(name, 0.0))
    return good, bad, tracker.total_failures - before
