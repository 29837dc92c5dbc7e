"""A CTA strategy of vnpy, guarded with one line, in a backtest on generated bars: python examples/hosts/vnpy_cta.py."""

from __future__ import annotations

import contextlib
import logging
import math
import tempfile
from datetime import datetime, timedelta
from importlib import import_module, util
from pathlib import Path
from typing import Any

from guarded import FailureTracker, instrument, set_failure_tracker

logging.basicConfig(level=logging.CRITICAL, format="%(message)s")
START = datetime(2025, 11, 11, 9)  # noqa: DTZ001  # the exchange's time, as vnpy has it in a backtest
SILENT = {20, 70, 120, *range(180, 190)}  # minutes in which nothing is traded: now and then one, and from 12:00 ten


def strategy_class(template: Any) -> Any:
    """A strategy as anybody writes it: nothing in it knows of a guard."""

    class Reversion(template):  # type: ignore[misc]  # it has no types where vnpy is not installed
        def on_init(self) -> None:
            self.bars = 0

        def on_bar(self, bar: Any) -> None:
            self.bars += 1
            if self.bars == 1:
                self.buy(50, 1)  # waits for a crash
            vwap = bar.turnover / bar.volume  # fails if nothing was traded
            if bar.close_price < vwap and self.pos == 0:
                self.buy(bar.close_price + 2, 1)
            elif bar.close_price > vwap and self.pos > 0:
                self.sell(bar.close_price - 2, 1)

    return Reversion


def generated_bars(vnpy: Any) -> list[Any]:
    """Bars of one minute each."""
    bars: list[Any] = []
    for minute in range(240):
        volume, price = 0 if minute in SILENT else 1000, 100 + round(5 * math.sin(minute / 7))
        at = ("", "rb2605", vnpy.Exchange.SHFE, START + timedelta(minutes=minute), vnpy.Interval.MINUTE)
        bars.append(vnpy.BarData(*at, volume, 100 * volume, 0, price, price + 1, price - 1, price))
    return bars


def backtest() -> None:
    """Run the strategy, and say what came of it."""
    instrument(host="vnpy")  # the one line: all strategies are guarded, those that are made later, too
    vnpy = import_module("vnpy_ctastrategy.backtesting")
    engine = vnpy.BacktestingEngine()
    engine.output = lambda _text: None  # it would print its progress
    engine.set_parameters("rb2605.SHFE", vnpy.Interval.MINUTE, START, 0, 0, 1, 1, 1_000_000)
    engine.add_strategy(strategy_class(vnpy.CtaTemplate), {})
    engine.history_data = generated_bars(vnpy)
    at_halt: list[int] = []
    set_failure_tracker(tracker := FailureTracker(halt_callback=lambda *_: at_halt.append(len(engine.limit_orders))))
    engine.run_backtesting()
    sent, working = len(engine.limit_orders), len(engine.active_limit_orders)
    print(f"on_bar ran {engine.strategy.bars} times, then {tracker.refusals} calls were refused: {tracker.halt_reason}")
    print(f"Failures: {tracker.symbol_failures}; orders after the halt: {sent - sum(at_halt)}; still open: {working}")


def main() -> None:
    """Run it, if vnpy is installed, in a folder that is gone afterwards."""
    if util.find_spec("vnpy_ctastrategy") is None:
        print("this example needs vnpy: pip install vnpy vnpy_ctastrategy vnpy_sqlite")
        return
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder, contextlib.chdir(folder):
        Path(".vntrader").mkdir()  # else vnpy makes that folder at home once it is imported
        backtest()


if __name__ == "__main__":
    main()
