"""Guard a backtesting.py strategy with one line: python examples/hosts/backtesting_py.py."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

from guarded import get_failure_tracker, instrument

logging.basicConfig(level=logging.CRITICAL, format="%(message)s", stream=sys.stdout)
PRICES = Path(__file__).parents[1] / "data" / "goog_daily.csv"
BREAKS_ABOVE = 220


def strategy() -> type[Any]:
    """A crossing of averages whose arithmetic breaks when the price stands above 220."""
    from backtesting import Strategy  # noqa: PLC0415  # see main

    class Crossing(Strategy):  # type: ignore[misc]  # it has no types
        def init(self) -> None:
            self.fast = self.I(lambda closes: closes.rolling(10).mean(), self.data.Close.s)
            self.slow = self.I(lambda closes: closes.rolling(20).mean(), self.data.Close.s)

        def next(self) -> None:
            if self.data.Close[-1] > BREAKS_ABOVE:
                raise ZeroDivisionError("no volatility above 220")
            if self.fast[-1] > self.slow[-1] and not self.position:
                self.buy()
            elif self.fast[-1] < self.slow[-1] and self.position:
                self.position.close()

    return Crossing


def run(cls: type[Any]) -> Any:
    """A backtest on the daily prices."""
    import pandas as pd  # type: ignore[import-untyped]  # noqa: PLC0415  # backtesting brings it
    from backtesting import Backtest  # noqa: PLC0415

    prices = pd.read_csv(PRICES, index_col=0, parse_dates=True).rename(columns=str.capitalize)
    return Backtest(prices, cls, cash=10_000, finalize_trades=True).run()


def main() -> None:
    """Run it without a guard, which ends at the first exception, and with one."""
    try:
        import backtesting  # noqa: F401, PLC0415
    except ImportError:
        print("this example needs backtesting.py: pip install backtesting")
        return
    try:
        run(strategy())
    except ZeroDivisionError as error:
        print(f"Unguarded: the run ends with {error!r}\n")
    guarded = strategy()
    instrument(guarded, symbol="GOOG")  # the one line
    statistics = run(guarded)
    print(f"Guarded: the run goes on; {statistics['# Trades']} trades")
    print(f"Halted: {get_failure_tracker().halt_reason}")


if __name__ == "__main__":
    main()
