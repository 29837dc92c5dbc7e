"""What a guard costs where nothing fails: per call, per block, per step of a generator."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from itertools import repeat
from time import perf_counter
from typing import Any

import handwritten
from harness import Pair, Side, ratio, repeated

from guarded import FailureTracker, get_failure_tracker, guarded_signal, track_signal

CALL = "mid('AAPL', 101.0, 102.5)"
BLOCK = "with block('VWAP', 'AAPL') as signal:\n    signal.value = 101.75"


def mid(symbol: str, bid: float, ask: float) -> float:
    """A strategy that costs next to nothing, so that the guard is what is measured."""
    return (bid + ask) / 2


class Vwap:
    """A strategy as a class: the guard is on the method."""

    name = "VWAP"
    guarded = guarded_signal(mid_of := lambda self, symbol, bid, ask: (bid + ask) / 2)
    by_hand = handwritten.closure(mid_of)


def calls(**settings: Any) -> Pair:
    """A guarded function against the hand-written closure around the same function."""
    return Pair(
        repeated(CALL, mid=guarded_signal(**settings)(mid)),
        repeated(CALL, mid=handwritten.closure(mid)),
    )


def static_names() -> Pair:
    """Both names are plain texts, and the tracker is given: the least that a guard has to do."""
    return calls(strategy="VWAP", symbol="AAPL", tracker=FailureTracker())


def template() -> Pair:
    """The symbol is an argument. It is not looked at where nothing fails."""
    return calls(strategy="VWAP", symbol="{symbol}", tracker=FailureTracker())


def defaults() -> Pair:
    """A bare `@guarded_signal`: the shared tracker is looked up at each call."""
    return calls()


def method() -> Pair:
    """A bare `@guarded_signal` on a method."""
    return Pair(
        repeated("vwap.guarded('AAPL', 101.0, 102.5)", vwap=Vwap()),
        repeated("vwap.by_hand('AAPL', 101.0, 102.5)", vwap=Vwap()),
    )


def beside_a_streak(prepare: Callable[[], Pair]) -> Callable[[], Pair]:
    """The same while another strategy's streak is live: each success has to find out whether the streak is its own."""

    def prepared() -> Pair:
        get_failure_tracker().record_failure("Momentum", "GOOGL", "no bars")
        return prepare()

    return prepared


def static_names_in_shared_tracker() -> Pair:
    """Both names are plain texts; the tracker is the shared one, in which the streak is."""
    return calls(strategy="VWAP", symbol="AAPL")


def template_in_shared_tracker() -> Pair:
    """The symbol is an argument, which has to be looked at."""
    return calls(strategy="VWAP", symbol="{symbol}")


def block() -> Pair:
    """`with track_signal(...)` against a slotted context manager that keeps two names and a value."""
    return Pair(repeated(BLOCK, block=track_signal), repeated(BLOCK, block=handwritten.Block))


def coroutine() -> Pair:
    """A guarded `async def`, awaited in a loop within one coroutine."""

    async def async_mid(symbol: str, bid: float, ask: float) -> float:
        return (bid + ask) / 2

    guarded = guarded_signal(strategy="VWAP", symbol="{symbol}")(async_mid)
    return Pair(_awaited(guarded), _awaited(handwritten.async_closure(async_mid)))


def steps(by_hand: Callable[[Callable[..., Any]], Callable[..., Any]]) -> Callable[[], Pair]:
    """Each step of a guarded generator, taken by a plain `for`."""

    def prepared() -> Pair:
        def mids(number: int) -> Iterator[float]:
            for _ in repeat(None, number):
                yield 101.75

        return Pair(_iterated(guarded_signal(strategy="VWAP", symbol="AAPL")(mids)), _iterated(by_hand(mids)))

    return prepared


def _awaited(function: Callable[..., Any]) -> Side:
    async def timed(number: int) -> float:
        start = perf_counter()
        for _ in repeat(None, number):
            await function("AAPL", 101.0, 102.5)
        return perf_counter() - start

    return lambda number: asyncio.run(timed(number))


def _iterated(stream: Callable[..., Any]) -> Side:
    def timed(number: int) -> float:
        items = stream(number)
        start = perf_counter()
        for _ in items:
            pass
        return perf_counter() - start

    return timed


CASES = (
    ratio("call, names static", 2.1, static_names),
    ratio("call, symbol a template", 2.2, template),
    ratio("call, shared tracker, no names", 2.2, defaults),
    ratio("call, a method, no names", None, method),
    ratio("call beside a live streak, names static", 3.0, beside_a_streak(static_names_in_shared_tracker)),
    ratio("call beside a live streak, symbol a template", 3.0, beside_a_streak(template_in_shared_tracker)),
    ratio("call beside a live streak, no names", 3.0, beside_a_streak(defaults)),
    ratio("call beside a live streak, a method, no names", None, beside_a_streak(method)),
    ratio("block", 2.4, block),
    ratio("async call", 1.6, coroutine),
    ratio("step of a generator", 3.0, steps(handwritten.stream)),
    ratio("step of a generator, against one that forwards", 3.0, steps(handwritten.forwarding_stream)),
)
