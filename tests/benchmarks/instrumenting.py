"""What it costs to guard classes from outside: each call, a call through super(), and putting the guards there."""

from __future__ import annotations

import gc
from time import perf_counter
from typing import Any

from harness import Case, Effort, Measured, Pair, ratio, repeated

from guarded import guarded_signal, instrument, uninstrument

CLASSES = 1_000
CALL = "strategy.generate('AAPL', 101.0)"


def family(*, calls_super: bool = False) -> tuple[Any, Any]:
    """A base class, and a subclass that overrides its method."""

    class Base:
        def generate(self, symbol: str, price: float) -> float:
            return price / 2

    class Own(Base):
        def generate(self, symbol: str, price: float) -> float:
            return price / 2

    class Extended(Base):
        def generate(self, symbol: str, price: float) -> float:
            return super().generate(symbol, price)

    return Base, Extended if calls_super else Own


def instrumented_method() -> Pair:
    """A method that `instrument` guards, against the same with the decorator."""
    base, own = family()
    instrument(base, "generate")

    class Decorated:
        @guarded_signal
        def generate(self, symbol: str, price: float) -> float:
            return price / 2

    return Pair(repeated(CALL, strategy=own()), repeated(CALL, strategy=Decorated()))


def through_super() -> Pair:
    """A guarded method that calls a guarded one through `super()`, against the two without guards."""
    (base, extended), (_, plain) = family(calls_super=True), family(calls_super=True)
    instrument(base, "generate")
    return Pair(repeated(CALL, strategy=extended()), repeated(CALL, strategy=plain()))


def thousand_classes(effort: Effort) -> Measured:
    """To guard a method of a class and of 1,000 subclasses."""
    best = float("inf")
    for _ in range(min(effort.rounds, 5)):
        base, _ = family()
        kept = [type(f"S{number}", (base,), {"generate": _method()}) for number in range(CLASSES)]
        start = perf_counter()
        report = instrument(base, "generate", symbol="{symbol}")
        best = min(best, perf_counter() - start)
        if len(report.guarded) != len(kept) + 2:
            raise AssertionError(report)
        uninstrument(base)
        del kept
        gc.collect()
    return Measured(best * 1e3, unit="ms")


def _method() -> Any:
    def generate(self: object, symbol: str, price: float) -> float:
        return price / 2

    return generate


CASES = (
    ratio("call, instrumented, against the decorator", 1.05, instrumented_method),
    ratio("call through super(), against no guards", None, through_super),
    Case("instrument 1,000 classes", 300, thousand_classes),
)
