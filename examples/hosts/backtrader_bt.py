"""Guard a backtrader strategy with one line: python examples/hosts/backtrader_bt.py."""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from typing import Any

from guarded import get_failure_tracker, guarded_strategy

logging.basicConfig(level=logging.CRITICAL, format="%(message)s", stream=sys.stdout)
PRICES = Path(__file__).parents[1] / "data" / "goog_daily.csv"
BAD_DAYS = range(250, 260)


def strategy() -> type[Any]:
    """One that buys and sells in turn, and whose data feed misbehaves for some days."""
    import backtrader  # noqa: PLC0415  # see main

    @guarded_strategy  # the one line: the host is recognised by its base class
    class InTurn(backtrader.Strategy):  # type: ignore[misc]  # it has no types
        def __init__(self) -> None:
            self.days: list[int] = []

        def next(self) -> None:
            if len(self) in BAD_DAYS:
                raise KeyError("volume")
            self.days.append(len(self))
            if self.position:
                self.close()
            else:
                self.buy()

        def notify_order(self, order: Any) -> None:
            self.last = order  # bookkeeping: it runs while trading is halted, too

    return InTurn


def main() -> None:
    """Run it on daily prices; the strategy's own code is not touched."""
    try:
        import backtrader  # noqa: PLC0415
    except ImportError:
        print("this example needs backtrader: pip install backtrader")
        return
    cerebro = backtrader.Cerebro()
    feed = backtrader.feeds.GenericCSVData(dataname=str(PRICES), dtformat="%Y-%m-%d", openinterest=-1)
    cerebro.adddata(feed, name="GOOG")
    cerebro.addstrategy(strategy())
    (ran,) = cerebro.run()
    tracker = get_failure_tracker()
    print(f"{len(ran)} days in the data; the strategy last traded on day {ran.days[-1]}")
    print(f"Failures by symbol: {dict(tracker.symbol_failures)}, calls refused: {tracker.refusals}")
    print(f"Halted: {tracker.halt_reason}")


if __name__ == "__main__":
    main()
