"""What belongs in a halt callback, and what becomes of one that raises: python examples/halt_callbacks.py."""

from __future__ import annotations

import logging
import sys

from guarded import Event, FailureTracker, HaltTriggered, SignalGenerationFailure, guarded_signal

logging.basicConfig(level=logging.CRITICAL, format="LOG  %(message)s", stream=sys.stdout)


class PaperBroker:
    """A broker on paper whose connection is away for the first order that is cancelled."""

    def __init__(self) -> None:
        self.open_orders = ["buy 100 IBM", "sell 50 MSFT", "buy 10 GOOG"]
        self._hiccups = 1

    def cancel(self, order: str) -> None:
        """Cancel one order."""
        if order.endswith("MSFT") and self._hiccups:
            self._hiccups -= 1
            raise ConnectionError("the broker closed the connection")
        self.open_orders.remove(order)
        print(f"CALL cancelled: {order}")


broker = PaperBroker()


def tell(person: str, text: str) -> None:
    """Stand in for a text message."""
    print(f"CALL to {person}: {text}")


def on_halt(reason: str, failure: SignalGenerationFailure) -> None:
    """Do what has to be done once per halt: a halt stops guarded calls, it cancels no order by itself.

    It is run again from its first line until it succeeds. So the urgent comes first, and what was done is not done
    again: it looks at what is open now.
    """
    for order in list(broker.open_orders):
        broker.cancel(order)
    tell("Ana", f"trading is halted, all orders are cancelled. {reason} (failure {failure.failure_type})")


def stop_this_process(event: Event) -> None:
    """Do what every process has to do for itself. That is a listener: the callback runs in one process only."""
    if isinstance(event, HaltTriggered):
        print(f"HEAR {event.halt.scope} is halted: quoting is switched off here")


tracker = FailureTracker(halt_callback=on_halt)
tracker.subscribe(stop_this_process)


@guarded_signal(strategy="VWAP", symbol="{symbol}", tracker=tracker)
def generate_signals(symbol: str, volumes: list[float]) -> float:
    """Fail where nothing was traded."""
    return len(symbol) / sum(volumes)


def main() -> None:
    """Halt, and let the callback be tried again."""
    for number in range(1, 4):
        print(f"\ncall {number}: {generate_signals('IBM', [])}")
    print(f"halted: {tracker.halt_triggered}, callback pending: {tracker.callback_pending}, open: {broker.open_orders}")
    # Whatever the callback did, trading is halted. The next refused call, or failure, tries it again: at once after the
    # first time, then after 1 s, 2 s, and so on up to a minute.
    print(f"\ncall 4: {generate_signals('IBM', [100.0])}")
    print(f"halted: {tracker.halt_triggered}, callback pending: {tracker.callback_pending}, open: {broker.open_orders}")


if __name__ == "__main__":
    main()
