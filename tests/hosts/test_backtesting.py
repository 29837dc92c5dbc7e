"""backtesting.py: the real library runs strategies that only its preset guards."""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from typing import Any

import backtesting
import cloudpickle
import numpy as np
import pandas as pd  # type: ignore[import-untyped]
import pytest

from guarded import FailureTracker, instrument, is_guarded, uninstrument

pytestmark = pytest.mark.filterwarnings("ignore::UserWarning", "ignore::FutureWarning", "ignore::DeprecationWarning")


@pytest.fixture(autouse=True)
def _nothing_left(tracker: FailureTracker) -> Iterator[None]:
    yield
    uninstrument()


def strategy(failing_from: int = 10, failing_to: int = 10_000) -> Any:
    """A strategy that is in the market half of the time, and whose `next` raises from one bar to another."""

    class Alternating(backtesting.Strategy):  # type: ignore[misc]  # it has no types
        def init(self) -> None:
            self.bars = 0

        def next(self) -> None:
            self.bars += 1
            if failing_from <= self.bars < failing_to:
                raise ValueError(f"bar {self.bars}")
            self.position.close() if self.position else self.buy(size=1)

    return Alternating


def run(cls: Any) -> Any:
    close = 100 + np.sin(np.arange(60.0))
    bars = pd.DataFrame({"Open": close, "High": close + 1, "Low": close - 1, "Close": close})
    return backtesting.Backtest(bars, cls, cash=10_000, finalize_trades=True).run()


def test_unguarded_the_run_ends() -> None:
    """Without a guard the exception ends the run."""
    with pytest.raises(ValueError, match="bar 10"):
        run(strategy())


def test_the_run_goes_on(tracker: FailureTracker) -> None:
    """With the preset the run goes on; what failed is recorded under the class's name and the symbol that was given."""
    cls = strategy(failing_to=12)
    instrument(cls, symbol="GOOG")
    statistics = run(cls)
    assert statistics["# Trades"] == 28
    assert [(failure.strategy_name, failure.symbol) for failure in tracker.failure_history] == [
        ("Alternating", "GOOG")
    ] * 2
    assert not tracker.halt_triggered


def test_a_halt_stops_orders(tracker: FailureTracker) -> None:
    """After three failures in a row `next` runs no more: no order is made after the halt."""
    cls = strategy(failing_to=13)
    instrument(cls)
    statistics = run(cls)
    assert tracker.halt_triggered
    assert statistics["# Trades"] == 5
    assert statistics["_trades"]["EntryBar"].max() < 13
    assert tracker.refusals == 60 - 1 - 12


def test_an_init_that_fails_ends_the_run(tracker: FailureTracker) -> None:
    """What `init` raises is recorded, and ends the run as before: `next` would have nothing to work on."""

    class Broken(backtesting.Strategy):  # type: ignore[misc]  # it has no types
        def init(self) -> None:
            raise KeyError("sma")

        def next(self) -> None: ...

    instrument(Broken)
    with pytest.raises(KeyError, match="sma"):
        run(Broken)
    assert tracker.total_failures == 1


def test_every_strategy_of_the_host(tracker: FailureTracker) -> None:
    """The host's base tells of strategies that are made later; its own methods are left alone."""
    report = instrument(host="backtesting")
    assert instrument(host="backtesting") is report
    cls = strategy(failing_to=12)
    run(cls)
    assert tracker.total_failures == 2
    assert is_guarded(cls.next)
    assert not is_guarded(backtesting.Strategy.next)
    uninstrument("backtesting")
    assert "__init_subclass__" not in vars(backtesting.Strategy)


def test_identity() -> None:
    """What hosts ask of methods is answered as before, and a class that goes by value takes its guards along."""
    cls = strategy()
    questions = (inspect.signature, inspect.getfullargspec, inspect.isfunction, lambda one: one.__qualname__)
    before = [[ask(vars(cls)[name]) for ask in questions] for name in ("init", "next")]
    instrument(cls)
    assert [[ask(vars(cls)[name]) for ask in questions] for name in ("init", "next")] == before
    again = cloudpickle.loads(cloudpickle.dumps(cls))
    assert hasattr(again.next, "__guarded__")
