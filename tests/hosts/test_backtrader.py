"""backtrader: the real library runs strategies that only its preset guards."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import backtrader
import pandas as pd  # type: ignore[import-untyped]
import pytest

from guarded import FailureTracker, instrument, uninstrument


@pytest.fixture(autouse=True)
def _nothing_left(tracker: FailureTracker) -> Iterator[None]:
    yield
    uninstrument()


def strategy(failing: range = range(10, 10_000), *, bookkeeping_fails: bool = False) -> Any:
    """A strategy that alternates between in and out, and whose `next` raises at some bars."""

    class Alternating(backtrader.Strategy):  # type: ignore[misc]  # it has no types
        bought: list[int]
        heard = 0

        def __init__(self) -> None:
            self.bought = []

        def next(self) -> None:
            if len(self) in failing:
                raise ValueError(f"bar {len(self)}")
            if self.position:
                self.close()
            else:
                self.bought.append(len(self))
                self.buy()

        def notify_order(self, order: Any) -> None:
            type(self).heard += 1
            if bookkeeping_fails:
                raise KeyError(order.ref)

    return Alternating


def run(cls: Any) -> Any:
    days = [datetime(2025, 1, 1) + timedelta(days=number) for number in range(60)]  # noqa: DTZ001  # backtrader's are naive
    bars = pd.DataFrame({"open": 100.0, "high": 101.0, "low": 99.0, "close": 100.0, "volume": 1.0}, index=days)
    cerebro = backtrader.Cerebro()
    cerebro.adddata(backtrader.feeds.PandasData(dataname=bars), name="AAPL")
    cerebro.addstrategy(cls)
    (ran,) = cerebro.run()
    return ran


def test_unguarded_the_run_ends() -> None:
    """Without a guard the exception ends the run."""
    with pytest.raises(ValueError, match="bar 10"):
        run(strategy())


def test_the_run_goes_on(tracker: FailureTracker) -> None:
    """With the preset the run goes on; what failed is recorded under the class's name and the data's."""
    cls = strategy(range(10, 12))
    report = instrument(cls)
    ran = run(cls)
    assert max(ran.bought) > 50
    assert [(one.strategy_name, one.symbol) for one in tracker.failure_history] == [("Alternating", "AAPL")] * 2
    assert [name.rpartition(".")[2] for name in report.guarded] == ["next", "notify_order"]


def test_a_halt_stops_orders_and_not_the_bookkeeping(tracker: FailureTracker) -> None:
    """After three failures in a row no order is made, and the strategy hears what becomes of those that were."""
    cls = strategy(range(12, 15))
    instrument(cls)
    ran = run(cls)
    assert tracker.halt_triggered
    assert max(ran.bought) < 15
    assert cls.heard == 3 * len(ran.bought) + 3 * (len(ran.bought) - (1 if ran.position else 0))
    assert tracker.refusals == 60 - 14


def test_bookkeeping_that_fails_halts(tracker: FailureTracker) -> None:
    """A notify_order that always raises halts trading, although `next` succeeds between."""
    cls = strategy(range(0), bookkeeping_fails=True)
    instrument(cls)
    ran = run(cls)
    assert tracker.halt_triggered
    assert ran.bought == [1]


def test_every_strategy_of_the_host(tracker: FailureTracker) -> None:
    """The host's base tells of strategies that are made later, in spite of its metaclasses."""
    instrument(host="backtrader")
    run(strategy(range(10, 12)))
    assert tracker.total_failures == 2


def test_identity() -> None:
    """What hosts ask of methods is answered as before."""
    cls = strategy()
    questions = (inspect.signature, inspect.getfullargspec, inspect.isfunction, lambda one: one.__qualname__)
    before = [[ask(vars(cls)[name]) for ask in questions] for name in ("next", "notify_order")]
    instrument(cls)
    assert [[ask(vars(cls)[name]) for ask in questions] for name in ("next", "notify_order")] == before
