"""Locks: a fork in the midst of a change, and a signal in the midst of one, find the tracker usable."""

from __future__ import annotations

import os
import signal
import threading
from typing import TYPE_CHECKING

import pytest

from guarded import FailureTracker, guarded_signal
from guarded.stores import ALL, Change, Rows, Touched

if TYPE_CHECKING:
    from types import FrameType


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this system")
@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_forked_child_is_not_locked_out(tracker: FailureTracker) -> None:
    """A child that is forked while another thread changes the ledger records, halts and refuses like any process."""
    changing, forked = threading.Event(), threading.Event()

    def slow_change(_rows: Rows) -> Change:
        changing.set()
        forked.wait(30)
        return Change()

    worker = threading.Thread(target=tracker._store.update, args=(Touched(), slow_change))
    worker.start()
    assert changing.wait(10)
    child = os.fork()
    if child == 0:  # pragma: no cover  # measured in the parent
        signal.alarm(20)
        generate = guarded_signal(strategy="VWAP", symbol="AAPL", tracker=tracker)(lambda: 1 / 0)
        for _ in range(4):
            generate()
        os._exit(0 if (tracker.total_failures, tracker.refusals) == (3, 1) else 1)
    _, status = os.waitpid(child, 0)
    forked.set()
    worker.join(10)
    assert os.waitstatus_to_exitcode(status) == 0


def test_a_kill_switch_in_a_signal_handler(tracker: FailureTracker) -> None:
    """A signal handler that halts trading, in the midst of a change by the same thread, does not lock it up."""

    def halt(_number: int, _frame: FrameType | None) -> None:
        tracker.halt_manager.trigger_halt("SIGTERM", "kill_switch")

    def interrupted(rows: Rows) -> Change:
        asked.append(dict(rows.halts))
        if len(asked) == 1:
            signal.raise_signal(signal.SIGTERM)
        return Change(counted=[ALL])

    asked: list[object] = []

    before = signal.signal(signal.SIGTERM, halt)
    try:
        tracker._store.update(Touched(), interrupted)
    finally:
        signal.signal(signal.SIGTERM, before)
    assert tracker.halt_reason == "SIGTERM"
    assert len(asked) == 2, "the change was made again, on top of the handler's"
    assert tracker.total_failures == 1
