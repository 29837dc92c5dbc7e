"""ib_async: the real library's events call handlers that only its preset guards; no TWS is there, tests emit."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Iterator
from typing import Any

import ib_async
import pytest

from guarded import FailureTracker, instrument, uninstrument


@pytest.fixture(autouse=True)
def _nothing_left(tracker: FailureTracker) -> Iterator[None]:
    yield
    uninstrument()


def bot() -> Any:
    """A class of handlers, each of which notes what it is called with, or raises."""

    class Bot:
        name = "VWAP"

        def __init__(self) -> None:
            self.heard: list[object] = []
            self.failing = True

        def on_bar(self, bars: Any, has_new_bar: bool) -> None:
            self.note(bars)

        def on_tickers(self, tickers: Any) -> None:
            self.note(tickers)

        async def on_trade(self, trade: Any) -> None:
            await asyncio.sleep(0)
            self.note(trade)

        def note(self, what: object) -> None:
            if self.failing:
                raise ValueError("bad")
            self.heard.append(what)

    return Bot


def bars_of(symbol: str) -> Any:
    bars: Any = ib_async.BarDataList()  # type: ignore[no-untyped-call]
    bars.contract = ib_async.Stock(symbol, "SMART", "USD")
    return bars


def ticker(symbol: str) -> Any:
    return ib_async.Ticker(contract=ib_async.Stock(symbol, "SMART", "USD"))


def handlers(host: str = "ib_async") -> Any:
    cls = bot()
    instrument(cls, "on_*", host=host)
    return cls()


def test_a_handler_of_bars(tracker: FailureTracker) -> None:
    """A bar handler that raises is recorded under the bars' contract's symbol; at a halt it is called no more."""
    mine, bars = handlers(), bars_of("AAPL")
    bars.updateEvent += mine.on_bar
    for _ in range(3):
        bars.updateEvent.emit(bars, True)
    assert tracker.symbol_failures == {"AAPL": 3}
    assert tracker.strategy_failures == {"VWAP": 3}
    assert tracker.halt_triggered
    mine.failing = False
    bars.updateEvent.emit(bars, True)
    assert mine.heard == []
    tracker.resume(by="ana", reason="mended")
    bars.updateEvent.emit(bars, True)
    assert mine.heard == [bars]


@pytest.mark.parametrize(("symbols", "recorded"), [(["AAPL"], "AAPL"), (["AAPL", "MSFT"], "unknown"), ([], "unknown")])
def test_a_handler_of_tickers(symbols: list[str], recorded: str, tracker: FailureTracker) -> None:
    """A handler of a set of tickers is recorded under their symbol, if they have one."""
    mine, ib = handlers(), ib_async.IB()
    ib.pendingTickersEvent += mine.on_tickers
    ib.pendingTickersEvent.emit({ticker(symbol) for symbol in symbols})
    assert tracker.symbol_failures == {recorded: 1}


def test_an_asynchronous_handler(tracker: FailureTracker) -> None:
    """A handler that is an `async def` stays one, and is recorded under the trade's contract's symbol."""
    mine, ib = handlers(), ib_async.IB()
    ib.orderStatusEvent += mine.on_trade

    async def emit() -> None:
        ib.orderStatusEvent.emit(ib_async.Trade(contract=ib_async.Stock("IBM", "SMART", "USD")))
        await asyncio.gather(*(task for task in asyncio.all_tasks() if task is not asyncio.current_task()))

    asyncio.run(emit())
    assert tracker.symbol_failures == {"IBM": 1}


def test_one_handler_fails_and_others_work(tracker: FailureTracker) -> None:
    """What other listeners of an event do is not disturbed."""
    mine, bars = handlers(), bars_of("AAPL")
    heard: list[object] = []
    bars.updateEvent += mine.on_bar
    bars.updateEvent += lambda given, _new: heard.append(given)
    bars.updateEvent.emit(bars, True)
    assert heard == [bars]
    assert tracker.total_failures == 1


def test_identity() -> None:
    """Handlers stay plain functions, and coroutine functions stay such: eventkit calls the function of a method."""
    cls = bot()
    names = ("on_bar", "on_tickers", "on_trade")
    questions = (
        inspect.signature,
        inspect.getfullargspec,
        inspect.isfunction,
        inspect.iscoroutinefunction,
        lambda one: one.__qualname__,
    )
    before = [[ask(vars(cls)[name]) for ask in questions] for name in names]
    instrument(cls, *names, host="ib_async")
    assert [[ask(vars(cls)[name]) for ask in questions] for name in names] == before
