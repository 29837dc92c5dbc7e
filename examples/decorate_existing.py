"""Guard strategies that exist already, their bodies untouched: python examples/decorate_existing.py."""

from __future__ import annotations

import logging
from statistics import fmean
from typing import ClassVar

from guarded import get_failure_tracker, guarded_signal, outcome

logging.basicConfig(level=logging.CRITICAL)  # failures are printed below, so keep them out of the log


class MeanReversion:
    """A strategy of your own. The decorator is the only line that is new."""

    name = "MeanReversion"

    @guarded_signal  # the strategy is called by its `name`, and the parameter `symbol` is found as well
    def generate_signals(self, symbol: str, closes: list[str]) -> str:
        """Buy below the average."""
        prices = [float(close) for close in closes]
        return f"buy {symbol}" if prices[-1] < fmean(prices) else "hold"


class Breakout:
    """A strategy out of a package that you cannot edit; it has no name, and its symbol is somewhere in its bar."""

    def on_bar(self, bar: dict[str, str]) -> str:
        """Buy at a new high."""
        return "buy" if float(bar["close"]) >= float(bar["high"]) else "hold"


# From outside, on the class, for every instance. The names are templates over the arguments of the call. A type checker
# is right to complain: from here on the method may return None, and nobody has told it so.
Breakout.on_bar = guarded_signal(strategy="Breakout", symbol="{bar[ticker]}")(Breakout.on_bar)  # type: ignore[assignment, method-assign]


class Carry:
    """Another one; without a name it goes by that of its class, and `pair` is as good as `symbol`."""

    rates: ClassVar = {"AUDJPY": 4.25, "EURCHF": 2.0}

    def side(self, pair: str) -> str:
        """Hold what pays interest."""
        return "long" if self.rates[pair] > 0 else "short"


# From outside, for one instance; type checkers follow this one.
side = guarded_signal(Carry().side)


def main() -> None:
    """Call all of them with good data and with bad."""
    reversion = MeanReversion()
    print("good data:    ", reversion.generate_signals("IBM", ["57.5", "55.9", "53.3"]))
    print("a blank cell: ", reversion.generate_signals("IBM", ["57.5", "55.9", ""]))
    print("no bar at all:", reversion.generate_signals(symbol="DELL", closes=[]))

    breakout = Breakout()
    print("good data:    ", breakout.on_bar({"ticker": "GOOG", "close": "108.31", "high": "109.08"}))
    print("no high:      ", breakout.on_bar({"ticker": "GOOG", "close": "108.31"}))

    print("good data:    ", side("EURCHF"))
    print("no such pair: ", side(pair="EURUSD"))

    # None can mean "no signal" as well as "failed". Who has to know the difference asks for the outcome.
    result = outcome(reversion.generate_signals, "AAPL", ["0.34", ""])
    print("outcome:      ", result.value, "because of", result.failure and result.failure.error, "\n")
    for failure in get_failure_tracker().failure_history:
        print(f"{failure.strategy_name} for {failure.symbol}: {failure.error} [{failure.failure_type}]")


if __name__ == "__main__":
    main()
