"""Stop more than signals: a halt manager of your own, wired up or shared: python examples/halt_manager.py."""

from __future__ import annotations

import logging
import sys

from guarded import (
    EmergencyHaltManager,
    FailureTracker,
    HaltTrigger,
    SignalGenerationFailure,
    guarded_signal,
    track_signal,
)

logging.basicConfig(level=logging.CRITICAL, format="%(message)s", stream=sys.stdout)


def fail(tracker: FailureTracker) -> None:
    """Look three times for the mean of no prices."""
    prices: list[float] = []
    for _ in range(3):
        with track_signal("VWAP", "DELL", tracker=tracker) as signal:
            signal.value = sum(prices) / len(prices)


def wired() -> None:
    """Two latches: the tracker stops signals, its callback tells the manager, and the rest of the bot asks that one."""
    halt_manager = EmergencyHaltManager()

    def on_halt(reason: str, failure: SignalGenerationFailure) -> None:
        why = f"{reason} [{failure.failure_type}]"
        halt_manager.trigger_halt(reason=why, trigger_type=HaltTrigger.TECHNICAL_FAILURE.value)

    tracker = FailureTracker(halt_callback=on_halt)
    fail(tracker)
    print(halt_manager.get_halt_summary())
    # What surprises here: the two know nothing of each other but for the callback. To resume one is not to resume the
    # other, and a halt by hand of this manager does not stop a guarded call.
    halt_manager.resume_trading(by="Ana", reason="the feed is back")
    print(f"manager halted: {halt_manager.is_halted()}, tracker halted: {tracker.is_halted()}\n")
    tracker.resume(by="Ana", reason="the feed is back")


def shared() -> None:
    """One latch for both, without a callback: whoever halts, all of them see it; whoever resumes, it is for all."""
    halt_manager = EmergencyHaltManager()
    tracker = FailureTracker(halt_manager=halt_manager)
    fail(tracker)
    print(halt_manager.get_halt_summary())
    halt_manager.resume_trading(by="Ana", reason="the feed is back")
    print(f"manager halted: {halt_manager.is_halted()}, tracker halted: {tracker.is_halted()}\n")

    @guarded_signal(strategy="VWAP", symbol="AAPL", tracker=tracker)
    def generate_signals() -> str:
        return "buy"

    halt_manager.trigger_halt("daily loss of 2.1 %", HaltTrigger.DAILY_LOSS, by="risk desk")
    print(f"after the kill switch: {generate_signals()}, halted by {halt_manager.get_halt_status()['halted_by']}")
    halt_manager.resume_trading(by="Ben", reason="limit raised by the risk desk")
    print(f"after the resume:      {generate_signals()}")
    for halt in halt_manager.history:
        print(f"  {halt.trigger_type}: resumed by {halt.resumed_by}, {halt.resume_reason}")


if __name__ == "__main__":
    print("=== A manager of its own, told by the halt callback ===")
    wired()
    print("=== A manager that shares the tracker's latch ===")
    shared()
