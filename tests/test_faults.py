"""Faults: what our own code and the callables handed to us raise is counted, logged and never raised."""

from __future__ import annotations

import logging
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
import structlog

from guarded import FailureTracker, HaltTriggered, Scope, SignalRecovered, _faults, _secrets
from guarded._interrupts import take_all
from guarded._log import HaltLog


class Unspeakable(Exception):
    def __str__(self) -> str:
        raise Unspeakable


class Metaclass(type):
    @property
    def __name__(cls) -> str:  # type: ignore[override]  # as hostile as can be
        raise RuntimeError("no name")


class Nameless(Exception, metaclass=Metaclass):
    pass


class TestReport:
    def test_one_line(self, caplog: pytest.LogCaptureFixture) -> None:
        """A fault is one warning that says what failed, what was done instead, and why."""
        _faults.report("symbol= of Vwap.generate raised; filed under 'unknown'", KeyError("pair"))
        assert [(record.levelname, record.getMessage()) for record in caplog.records] == [
            ("WARNING", "symbol= of Vwap.generate raised; filed under 'unknown': KeyError: 'pair'")
        ]

    @pytest.mark.parametrize(
        ("error", "told"),
        [
            (Unspeakable(), "Unspeakable: <no text: its __str__ raised>"),
            (Nameless("x"), "Nameless: x"),
            (OSError("GET /?token=0123456789abcdef"), "OSError: GET /?token=***"),
            (ValueError("x" * 10_000), "ValueError: " + "x" * 2_000 + "... [8000 more characters]"),
        ],
        ids=["unspeakable", "nameless", "secret", "long"],
    )
    def test_hostile_errors(self, error: Exception, told: str, caplog: pytest.LogCaptureFixture) -> None:
        """What an error says is shown without secrets, in bounds, and not at all where it cannot be had."""
        _faults.report("a rule raised", error)
        assert caplog.messages == [f"a rule raised: {told}"]

    def test_counted(self, tracker: FailureTracker, caplog: pytest.LogCaptureFixture) -> None:
        """The status tells how many faults the process has seen, exactly, whichever threads they were in."""
        logging.getLogger("guarded").setLevel(logging.CRITICAL)
        before = tracker.get_status()["internal_errors"]
        interval = sys.getswitchinterval()
        sys.setswitchinterval(1e-6)
        try:
            with ThreadPoolExecutor(8) as pool:
                for job in [pool.submit(_faults.report, "x", ValueError("x")) for _ in range(2_000)]:
                    job.result()
        finally:
            sys.setswitchinterval(interval)
        assert tracker.get_status()["internal_errors"] == before + 2_000

    def test_a_fault_in_telling_of_a_fault(self) -> None:
        """A pipeline that itself has faults to report is not asked to report them again, and again."""
        reported: list[str] = []

        def faulty(logger: object, method: str, event_dict: object) -> str:
            reported.append(method)
            _faults.report("the pipeline", ValueError("x"))
            raise structlog.DropEvent

        structlog.configure(processors=[faulty])
        before = _faults.count()
        _faults.report("a rule raised", KeyError("x"))
        assert (reported, _faults.count()) == (["warning"], before + 1)
        _faults.report("another rule raised", KeyError("x"))
        assert _faults.count() == before + 2

    def test_a_fault_that_masking_meets_again(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A secret pattern that raises hides what a fault says, and is not reported without end."""

        class Exhausted:
            groupindex: dict[str, int] = {}  # noqa: RUF012  # as a compiled pattern has it

            def finditer(self, text: str) -> object:
                raise MemoryError

        monkeypatch.setattr(_secrets, "_custom", (Exhausted(),))
        _faults.report("a rule raised", ValueError("account DU123456 is closed"))
        assert caplog.messages == ["a rule raised: ValueError: ***"]


class TestTakeAll:
    def test_every_step_is_taken(self) -> None:
        """All steps are taken, and the first exception passes on."""
        taken: list[int] = []

        def step(number: int, error: BaseException | None = None) -> None:
            taken.append(number)
            if error is not None:
                raise error

        with pytest.raises(KeyboardInterrupt):
            take_all(
                [lambda: step(1), lambda: step(2, KeyboardInterrupt()), lambda: step(3, SystemExit()), lambda: step(4)]
            )
        assert taken == [1, 2, 3, 4]
        take_all([lambda: step(5)])
        assert taken == [1, 2, 3, 4, 5]


class TestHaltLog:
    def test_other_events(self, caplog: pytest.LogCaptureFixture) -> None:
        """The log of halts leaves every other event to the log of signals."""
        caplog.set_level(logging.INFO, "guarded")
        HaltLog(survives_restart=True)(SignalRecovered(Scope("VWAP", "AAPL"), 2))
        assert caplog.messages == []
        tracker = FailureTracker()
        tracker.halt_manager.trigger_halt("drill")
        HaltLog(survives_restart=True)(HaltTriggered(tracker.halts[0], tracker.halts[0].failure))
        assert [message.splitlines()[0] for message in caplog.messages] == [
            "EMERGENCY HALT: trading is halted for everything, at level halted"
        ] * 2
