"""Guard the handlers of ib_async's events with one line: python examples/hosts/ib_async_handlers.py."""

from __future__ import annotations

import logging
import sys
from typing import Any

from guarded import get_failure_tracker, guarded_strategy

logging.basicConfig(level=logging.CRITICAL, format="%(message)s", stream=sys.stdout)


@guarded_strategy("on_*", host="ib_async")  # the one line: the symbol is that of the contract in what a handler gets
class Momentum:
    """Handlers that ib_async calls; it swallows what they raise, and goes on calling."""

    name = "Momentum"

    def on_bar(self, bars: Any, has_new_bar: bool) -> None:
        """Divide by a close that is zero when the feed has a hole."""
        if has_new_bar:
            print(f"  {bars.contract.symbol}: {bars[-1].close / bars[-2].close - 1:+.2%}")


def bars_of(symbol: str, closes: list[float]) -> Any:
    """As much of a subscription as there is without a TWS."""
    from ib_async import BarData, BarDataList, Stock  # noqa: PLC0415  # see main

    bars = BarDataList()  # type: ignore[no-untyped-call]
    bars.contract = Stock(symbol, "SMART", "USD")
    bars.extend(BarData(close=close) for close in closes)
    return bars


def main() -> None:
    """Emit bars as TWS would, good ones and bad ones."""
    try:
        import ib_async  # noqa: F401, PLC0415
    except ImportError:
        print("this example needs ib_async: pip install ib_async")
        return
    strategy = Momentum()
    for symbol, closes in ("AAPL", [190.0, 191.9]), ("MSFT", [0.0, 430.0]):
        bars = bars_of(symbol, closes)
        bars.updateEvent += strategy.on_bar
        for _ in range(4):
            bars.updateEvent.emit(bars, True)
    tracker = get_failure_tracker()
    print(f"Failures by symbol: {dict(tracker.symbol_failures)}, calls refused: {tracker.refusals}")
    print(f"Halted: {tracker.halt_reason}")


if __name__ == "__main__":
    main()
