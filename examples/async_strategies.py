"""Guard coroutines, a gather over symbols: python examples/async_strategies.py."""

from __future__ import annotations

import asyncio
import logging
import sys

from guarded import ConsecutiveFailures, FailureTracker, guarded_signal, track_signal

logging.basicConfig(level=logging.CRITICAL, format="%(message)s", stream=sys.stdout)

LAST_PRICES = {"AAPL": 1.02, "IBM": 54.96, "MSFT": 17.05, "XRX": 14.26}
SYMBOLS = ("AAPL", "GOOGL", "IBM", "SLOW", "MSFT", "XRX")  # nobody quotes GOOGL yet, and SLOW never answers

# By default three failures in a row halt everything. Here they halt only the symbol that fails; five symbols that fail
# one after the other, with no success of any between, still halt everything.
tracker = FailureTracker(
    policies=[
        ConsecutiveFailures(3, scope="key", halt_scope="same"),
        ConsecutiveFailures(5, scope="global"),
    ]
)


async def last_price(symbol: str) -> float:
    """Ask a venue for a price."""
    await asyncio.sleep(0)
    if symbol == "SLOW":
        await asyncio.Event().wait()
    return LAST_PRICES[symbol]


class Threshold:
    """Buys what is cheap."""

    name = "Threshold"

    @guarded_signal(tracker=tracker)
    async def generate_signals(self, symbol: str) -> str:
        """Compare the last price with a limit. Cancellation and timeouts work as without a guard."""
        async with asyncio.timeout(0.1):
            return "buy" if await last_price(symbol) < 15 else "hold"  # noqa: PLR2004  # the limit


async def main() -> None:
    """Run four rounds, then a block."""
    strategy = Threshold()
    print("       ", *(f"{symbol:>6}" for symbol in SYMBOLS))
    for number in range(1, 5):
        # No return_exceptions=True: a call that fails gives None, and the others are not disturbed.
        signals = await asyncio.gather(*(strategy.generate_signals(symbol) for symbol in SYMBOLS))
        print("round", number, *(f"{signal or '-':>6}" for signal in signals))

    print("\nHalted:", *(halt.scope for halt in tracker.halts), sep="\n  ")
    print(f"Refused calls: {tracker.refusals}. Is everything halted? {tracker.halt_triggered}")

    # A block names the calls within, also in tasks: `last_price` knows nothing of strategies.
    async with track_signal("Spread", "AAPL/GOOGL", tracker=tracker) as signal:
        near, far = await asyncio.gather(last_price("AAPL"), last_price("GOOGL"))
        signal.value = near - far
    print(f"\nSpread: {signal.value}\n{signal.failure}")


if __name__ == "__main__":
    asyncio.run(main())
