"""Guard freqtrade's strategies with one line: python examples/hosts/freqtrade_strategy.py.

What a strategy's `confirm_trade_entry` raises, freqtrade takes for a yes. Guarded, it is a no, and on record.
"""

from __future__ import annotations

import logging
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from guarded import get_failure_tracker, instrument

logging.disable(logging.CRITICAL)  # failures are printed below
PAIR, HERE = "BTC/USDT", Path(__file__).parent
Strategy: Any = import_module("freqtrade.strategy").IStrategy if find_spec("freqtrade") else object


class NoNews(Strategy):  # type: ignore[misc]  # it has no types
    """A strategy of your own: in every 20 minutes, out ten later, and not while there is news."""

    timeframe, stoploss, minimal_roi, service_is_down = "5m", -0.1, {"0": 10}, False

    def populate_indicators(self, dataframe: Any, _metadata: Any) -> Any:
        """Say what the minute is."""
        return dataframe.assign(minute=dataframe["date"].dt.minute % 20)

    def populate_entry_trend(self, dataframe: Any, _metadata: Any) -> Any:
        """Say when to enter."""
        return dataframe.assign(enter_long=dataframe["minute"].eq(0).astype(int))

    def populate_exit_trend(self, dataframe: Any, _metadata: Any) -> Any:
        """Say when to leave."""
        return dataframe.assign(exit_long=dataframe["minute"].eq(10).astype(int))

    def confirm_trade_entry(self, pair: str, *_: Any, current_time: Any, **__: Any) -> bool:
        """Ask a service about news; it is restarted at three o'clock."""
        if self.service_is_down or (current_time.hour, current_time.minute) == (3, 5):
            raise ConnectionError(f"no answer about {pair}")
        return True


def trades(*, service_is_down: bool) -> int:
    """Have freqtrade find the strategy in this file, and backtest it on made-up candles of three days, offline."""
    pandas: Any = import_module("pandas")
    dates = pandas.date_range("2025-01-06", periods=3 * 288, freq="5min", tz="UTC").as_unit("ms")
    made_up = {"date": dates, "open": 100.0, "high": 100.1, "low": 99.9, "close": 100.0, "volume": 1.0}
    market = {"id": PAIR, "symbol": PAIR, "base": "BTC", "quote": "USDT", "type": "spot", "spot": True, "active": True}
    limits = {name: {"min": None, "max": None} for name in ("amount", "price", "cost", "leverage")}
    market |= {"precision": {"amount": 1e-5, "price": 1e-2}, "limits": limits}
    offline: Any = import_module("freqtrade.exchange").Exchange
    offline._load_async_markets = lambda self, **_: self._api_async.set_markets([market])  # noqa: SLF001
    config: dict[str, Any] = {"strategy": "NoNews", "strategy_path": str(HERE), "user_data_dir": HERE, "fee": 0.001}
    config |= {"exchange": {"name": "binance", "pair_whitelist": [PAIR]}, "stake_amount": 100, "stake_currency": "USDT"}
    config |= {"pairlists": [{"method": "StaticPairList"}], "entry_pricing": {}, "exit_pricing": {}}
    config["runmode"] = import_module("freqtrade.enums").RunMode.BACKTEST
    backtesting = import_module("freqtrade.optimize.backtesting").Backtesting(config)
    (strategy,) = backtesting.strategylist
    strategy.service_is_down = service_is_down
    backtesting._set_strategy(strategy)  # noqa: SLF001  # what `freqtrade backtesting` does, without files
    candles = strategy.advise_all_indicators({PAIR: pandas.DataFrame(made_up)})
    return len(backtesting.backtest(processed=candles, start_date=dates[0], end_date=dates[-1])["results"])


def main() -> None:
    """Backtest without guards and with them."""
    if Strategy is object:
        print("this example needs freqtrade: pip install freqtrade")
        return
    print("unguarded:", trades(service_is_down=False), "trades;", trades(service_is_down=True), "with the service down")
    instrument(host="freqtrade")  # the one line; for one strategy: instrument(NoNews), or @guarded_strategy above it
    print("guarded:  ", trades(service_is_down=False), "trades;", trades(service_is_down=True), "with the service down")
    print(f"failures: {get_failure_tracker().total_failures}; halted: {get_failure_tracker().halt_reason}")


if __name__ == "__main__":
    main()
