"""A Nautilus strategy, guarded with one line, in a backtest on generated bars: python examples/hosts/nautilus.py."""

from __future__ import annotations

import logging
import math
import warnings
from importlib import import_module, util
from types import SimpleNamespace
from typing import Any

from guarded import FailureTracker, instrument, set_failure_tracker

logging.basicConfig(level=logging.CRITICAL, format="%(message)s")
PARTS = "backtest.engine config model model.currencies model.enums test_kit.providers trading.strategy"
SILENT = {20, 70, 120, *range(180, 190)}  # minutes in which nothing is traded: now and then one, and then ten


def strategy_class(nt: Any, market: Any, bar_type: Any) -> Any:
    """A strategy as anybody writes it: nothing in it knows of a guard."""

    class Reversion(nt.Strategy):  # type: ignore[misc]  # it has no types where nautilus_trader is not installed
        def on_start(self) -> None:
            self.bars = 0
            self.subscribe_bars(bar_type)

        def on_bar(self, bar: Any) -> None:
            self.bars += 1
            make, size, side = self.order_factory, nt.Quantity.from_int(1000), nt.OrderSide
            if self.bars == 1:
                self.submit_order(make.limit(market.id, side.BUY, size, nt.Price(1.0, 5)))  # waits for a crash
            spread = float(bar.high - bar.low) / float(bar.volume)  # fails if nothing was traded
            if float(bar.close) < 1.1 - spread and self.portfolio.is_flat(market.id):
                self.submit_order(make.market(market.id, side.BUY, size))
            elif float(bar.close) > 1.1 + spread:
                self.close_all_positions(market.id)

    return Reversion


def backtest(nt: Any) -> None:
    """Run the strategy, and say what came of it."""
    market = nt.TestInstrumentProvider.default_fx_ccy("EUR/USD", nt.Venue("SIM"))
    bar_type = nt.BarType.from_str("EUR/USD.SIM-1-MINUTE-LAST-EXTERNAL")
    cls = strategy_class(nt, market, bar_type)
    instrument(cls)  # the one line; or that of a module: instrument("my_bot", host="nautilus_trader")

    def bar(minute: int) -> Any:
        close, volume = 1.1 + 0.002 * math.sin(minute / 7), 0 if minute in SILENT else 1_000_000
        prices = (nt.Price(price, 5) for price in (close, close + 0.0002, close - 0.0002, close))
        return nt.Bar(bar_type, *prices, nt.Quantity.from_int(volume), *[(minute + 1) * 60_000_000_000] * 2)

    engine = nt.BacktestEngine(nt.BacktestEngineConfig(logging=nt.LoggingConfig(bypass_logging=True)))
    engine.add_venue(market.venue, nt.OmsType.NETTING, nt.AccountType.MARGIN, [nt.Money(1_000_000, nt.USD)])
    engine.add_instrument(market)
    engine.add_data([bar(minute) for minute in range(240)])
    engine.add_strategy(strategy := cls())
    at_halt: list[int] = []
    set_failure_tracker(tracker := FailureTracker(halt_callback=lambda *_: at_halt.append(len(engine.cache.orders()))))
    engine.run()
    sent, working = len(engine.cache.orders()), len(engine.cache.orders_open())
    print(f"on_bar ran {strategy.bars} times, then {tracker.refusals} calls were refused: {tracker.halt_reason}")
    print(f"Failures: {tracker.symbol_failures}; orders after the halt: {sent - sum(at_halt)}; still open: {working}")


def main() -> None:
    """Run it, if nautilus_trader is installed."""
    if util.find_spec("nautilus_trader") is None:
        print("this example needs nautilus_trader: pip install nautilus_trader")
        return
    warnings.filterwarnings("ignore", "Timestamp.utcnow is deprecated")  # the host calls it
    nt = SimpleNamespace()
    for part in PARTS.split():
        vars(nt).update(vars(import_module(f"nautilus_trader.{part}")))
    backtest(nt)


if __name__ == "__main__":
    main()
