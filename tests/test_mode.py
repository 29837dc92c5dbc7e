"""set_mode and set_failure_tracker: settings of the whole process, for good or until a block ends."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Any

import pytest

from guarded import (
    FailureTracker,
    InvalidConfiguration,
    get_failure_tracker,
    guarded_signal,
    set_failure_tracker,
    set_mode,
    track_signal,
)
from guarded._mode import Mode


@guarded_signal(strategy="VWAP", symbol="AAPL")
def guarded(prices: list[float]) -> float:
    return sum(prices) / len(prices)


def in_a_block(prices: list[float]) -> float | None:
    with track_signal("VWAP", "AAPL") as signal:
        signal.value = sum(prices) / len(prices)
    value: float | None = signal.value
    return value


Call = Callable[[list[float]], float | None]
both = pytest.mark.parametrize("call", [guarded, in_a_block])


class TestModes:
    @both
    def test_on(self, call: Call, tracker: FailureTracker) -> None:
        """on: a failure is counted and kept from the caller."""
        with set_mode("on"):
            assert call([]) is None
        assert tracker.total_failures == 1

    @both
    def test_strict(self, call: Call, tracker: FailureTracker) -> None:
        """strict: a failure is counted and raised again."""
        with set_mode("strict"), pytest.raises(ZeroDivisionError):
            call([])
        assert tracker.total_failures == 1

    @both
    def test_off(self, call: Call, tracker: FailureTracker) -> None:
        """off: nothing is counted, nothing is kept from the caller, and no halt is looked at."""
        tracker.halt_manager.trigger_halt("drill")
        with set_mode("off"):
            assert call([1.0, 3.0]) == 2.0
            with pytest.raises(ZeroDivisionError):
                call([])
        assert (tracker.total_failures, tracker.refusals, tracker.last_success_time) == (0, 0, None)

    @both
    def test_strict_mode_refuses_as_ever(self, call: Call, tracker: FailureTracker) -> None:
        """strict: while trading is halted, calls are refused as without it."""
        tracker.halt_manager.trigger_halt("drill")
        with set_mode("strict"):
            if call is guarded:
                assert call([1.0]) is None
            else:
                with pytest.raises(Exception, match="trading is halted"):
                    call([1.0])
        assert tracker.refusals == 1

    def test_off_during_a_call(self, tracker: FailureTracker) -> None:
        """off: also after a call that was running when guards were switched off, the next one is not guarded."""

        @guarded_signal(strategy="VWAP", symbol="AAPL")
        def signal(prices: list[float]) -> float:
            set_mode("off")
            return sum(prices) / len(prices)

        with set_mode("on"):
            assert signal([1.0, 3.0]) == 2.0
            with pytest.raises(ZeroDivisionError):
                signal([])
        assert tracker.total_failures == 0

    @pytest.mark.parametrize("mode", ["ON", "", None, 1, [], "strictly"])
    def test_there_is_no_such_mode(self, mode: Any, tracker: FailureTracker) -> None:
        """Anything else is an error that names the modes, and changes nothing."""
        with pytest.raises(InvalidConfiguration, match=r"mode=.*: expected one of 'on', 'strict', 'off'"):
            set_mode(mode)
        assert guarded([]) is None
        assert tracker.total_failures == 1

    def test_a_hostile_mode(self) -> None:
        """What cannot be compared is no mode either."""

        class Hostile:
            def __eq__(self, other: object) -> bool:
                raise RuntimeError("ambiguous")

            __hash__ = None  # type: ignore[assignment]

        with pytest.raises(InvalidConfiguration):
            set_mode(Hostile())  # type: ignore[arg-type]


class TestForABlock:
    def test_nested(self, tracker: FailureTracker) -> None:
        """Each block puts back what was set before it."""
        with set_mode("strict"):
            with set_mode("off"), pytest.raises(ZeroDivisionError):
                guarded([])
            assert tracker.total_failures == 0
            with pytest.raises(ZeroDivisionError):
                guarded([])
            assert tracker.total_failures == 1
        assert guarded([]) is None

    def test_restored_after_an_exception(self, tracker: FailureTracker) -> None:
        """An exception out of the block puts the old mode back."""
        with pytest.raises(KeyError), set_mode("off"):
            raise KeyError("x")
        assert guarded([]) is None
        assert tracker.total_failures == 1

    def test_for_good(self, tracker: FailureTracker) -> None:
        """Without a with, the mode stays."""
        restore = set_mode("strict")
        try:
            with pytest.raises(ZeroDivisionError):
                guarded([])
        finally:
            restore.__exit__(None, None, None)
        assert guarded([]) is None

    @pytest.mark.parametrize("of", ["mode", "tracker"])
    def test_seen_by_other_threads_and_tasks(self, of: str, tracker: FailureTracker) -> None:
        """The setting is the process's: threads and tasks that were there before see it."""
        fresh = FailureTracker()
        counted: list[int] = []

        def fail() -> None:
            try:
                guarded([])
            except ZeroDivisionError:
                counted.append(-1)
            else:
                counted.append(fresh.total_failures)

        async def in_a_task(go: asyncio.Event) -> None:
            await go.wait()
            fail()

        async def trade() -> None:
            go = asyncio.Event()
            task = asyncio.create_task(in_a_task(go))
            await asyncio.sleep(0)
            with set_mode("off") if of == "mode" else set_failure_tracker(fresh):
                go.set()
                await task
                thread = threading.Thread(target=fail)
                thread.start()
                thread.join()

        asyncio.run(trade())
        assert counted == ([-1, -1] if of == "mode" else [1, 2])
        assert tracker.total_failures == 0


class TestEnvironment:
    def run(self, mode: str | None) -> subprocess.CompletedProcess[str]:
        program = (
            "import os\n"
            + ("os.environ.pop('GUARDED_MODE', None)\n" if mode is None else f"os.environ['GUARDED_MODE'] = {mode!r}\n")
            + "import guarded, logging\n"
            "logging.disable()\n"
            "signal = guarded.guarded_signal(lambda: [][0])\n"
            "try: print('None' if signal() is None else 'a signal', end=' ')\n"
            "except IndexError: print('raised', end=' ')\n"
            "print(guarded.get_failure_tracker().total_failures)\n"
        )
        return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

    @pytest.mark.parametrize(
        ("mode", "printed"), [(None, "None 1"), ("on", "None 1"), ("strict", "raised 1"), ("off", "raised 0")]
    )
    def test_the_mode_that_a_process_starts_in(self, mode: Mode | None, printed: str) -> None:
        """GUARDED_MODE says what guards do from the start; without it they guard."""
        done = self.run(mode)
        assert (done.stdout.strip(), done.stderr) == (printed, "")

    def test_a_mode_that_does_not_exist(self) -> None:
        """A mistake in GUARDED_MODE is an error at import, for a guard that is off by mistake would be worse."""
        done = self.run("Strict")
        assert done.returncode == 1
        assert done.stderr.endswith(
            "InvalidConfiguration: environment variable GUARDED_MODE='Strict': expected one of 'on', 'strict', 'off'\n"
        )


class TestSharedTracker:
    def test_replaced_for_good(self, tracker: FailureTracker) -> None:
        """Guards without tracker= use the shared tracker as it is at the time of the call."""
        fresh = FailureTracker()
        restore = set_failure_tracker(fresh)
        try:
            assert get_failure_tracker() is fresh
            guarded([])
            in_a_block([])
        finally:
            restore.__exit__(None, None, None)
        assert (fresh.total_failures, tracker.total_failures) == (2, 0)
        assert get_failure_tracker() is tracker

    def test_nested_and_after_an_exception(self, tracker: FailureTracker) -> None:
        """Each block puts back the tracker before it, however it ends."""
        one, two = FailureTracker(), FailureTracker()
        with set_failure_tracker(one):
            with pytest.raises(KeyError), set_failure_tracker(two):
                raise KeyError("x")
            assert get_failure_tracker() is one
        assert get_failure_tracker() is tracker

    @pytest.mark.parametrize("given", [None, FailureTracker, "mine"])
    def test_what_is_no_tracker(self, given: Any, tracker: FailureTracker) -> None:
        """Anything else is an error and changes nothing."""
        with pytest.raises(InvalidConfiguration, match=r"tracker=.*: expected a FailureTracker"):
            set_failure_tracker(given)
        assert get_failure_tracker() is tracker

    def test_a_tracker_of_its_own(self, tracker: FailureTracker) -> None:
        """A guard that is given a tracker keeps it."""
        mine = FailureTracker()

        @guarded_signal(tracker=mine)
        def signal() -> float:
            return 1 / 0

        assert signal() is None
        assert (mine.total_failures, tracker.total_failures) == (1, 0)

    def test_made_on_first_use(self) -> None:
        """A process has a shared tracker without making one, and it is one."""
        program = (
            "import guarded\n"
            "one = guarded.get_failure_tracker()\n"
            "print(type(one).__name__, one is guarded.get_failure_tracker(), one.failure_threshold)\n"
        )
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        assert done.stdout.strip() == "FailureTracker True 3"
