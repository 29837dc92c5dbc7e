"""Guard a block of code, and deal with TradingHalted: python examples/wrap_block.py."""

from __future__ import annotations

import logging
import sys

from guarded import (
    FailureTracker,
    TradingHalted,
    get_failure_tracker,
    guarded_signal,
    set_failure_tracker,
    track_signal,
)

logging.basicConfig(level=logging.CRITICAL, format="%(message)s", stream=sys.stdout)

Trades = list[tuple[str, str]]
FEED: list[tuple[str, Trades]] = [
    ("IBM", [("57.5", "300"), ("55.9", "700")]),
    ("AAPL", [("0.34", "900"), ("0.36", "")]),  # a cell is blank
    ("MSFT", [("17.5", "100"), ("16.8", "100")]),
    ("XRX", []),  # nothing was traded
    ("ADBE", [("1.37",)]),  # type: ignore[list-item]  # a row is cut short
    ("DELL", []),
    ("GOOGL", [("2240.1", "50")]),  # nothing wrong with it, but trading is halted by now
]


def vwap(trades: Trades) -> float:
    """Average the price, weighted by volume."""
    return sum(float(p) * float(v) for p, v in trades) / sum(float(v) for _, v in trades)


def scan() -> None:
    """Go through the feed once. A block cannot be skipped, so a halt raises where it would begin."""
    for symbol, trades in FEED:
        try:
            with track_signal("VWAP", symbol) as signal:
                signal.value = vwap(trades)
        except TradingHalted as halted:
            # Around the `with`, not in it. Do not look at `signal` here: the block was not entered, so the name still
            # holds the signal of the round before. Leave the loop, and let a person decide.
            print(f"{symbol:6} refused: {str(halted).partition(' since ')[0]}")
            break
        if signal.failure is not None:
            print(f"{symbol:6} failed:  {signal.failure.error} [{signal.failure.failure_type}]")
        else:
            print(f"{symbol:6} signal:  {signal.value:.2f}")


@guarded_signal(strategy="Portfolio", symbol="all")
def rebalance() -> list[float]:
    """Use blocks within a guarded call: there TradingHalted needs no `except`, the guard outside makes it None."""
    prices: list[float] = []
    for symbol, trades in FEED:
        with track_signal("Rebalance", symbol) as signal:
            signal.value = vwap(trades)
        prices.append(signal.value)
    return prices


def main() -> None:
    """Run the feed into a halt, twice."""
    scan()
    print(f"\nresumed; still halted: {get_failure_tracker().resume(by='Ana', reason='the feed was restarted')}\n")
    with set_failure_tracker(FailureTracker(failure_threshold=1)):
        print(f"rebalance() halts at its first failure and returns {rebalance()}")


if __name__ == "__main__":
    main()
