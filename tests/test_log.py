"""The log: the host's structlog pipeline or the stdlib logger, the golden texts, and pipelines that raise."""

from __future__ import annotations

import asyncio
import logging
import subprocess
import sys
import threading
from collections.abc import Iterator, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
import structlog

from guarded import (
    ConsecutiveFailures,
    EmergencyHaltManager,
    FailureRate,
    FailureTracker,
    HaltTrigger,
    MemoryStore,
    SignalGenerationFailure,
    guarded_signal,
    set_failure_tracker,
)
from guarded._log import SignalLog
from guarded._stack import CapturedStack
from guarded.testing import FakeClock

Record = tuple[str, dict[str, Any]]
"""A log method's name, and what it was called with."""


class Pipeline:
    """A host's structlog processor: it keeps what reaches it, and lets nothing out."""

    def __init__(self) -> None:
        self.records: list[Record] = []

    def __call__(self, logger: Any, method: str, event_dict: MutableMapping[str, Any]) -> str:
        self.records.append((method, dict(event_dict)))
        raise structlog.DropEvent

    def of(self, event: str) -> list[Record]:
        return [record for record in self.records if record[1]["event"] == event]

    def fields(self, event: str) -> tuple[str, dict[str, Any]]:
        """The method and the fields of the only record of an event."""
        ((method, fields),) = self.of(event)
        return method, {name: value for name, value in fields.items() if name not in ("event", "failure_id")}


@pytest.fixture
def pipeline() -> Pipeline:
    """The pipeline of a host that configured structlog."""
    pipeline = Pipeline()
    structlog.configure(processors=[pipeline])
    return pipeline


@pytest.fixture
def formatted(monkeypatch: pytest.MonkeyPatch) -> list[CapturedStack]:
    """The stacks that were formatted."""
    stacks: list[CapturedStack] = []
    original = CapturedStack.format

    def counted(stack: CapturedStack) -> str:
        stacks.append(stack)
        return original(stack)

    monkeypatch.setattr(CapturedStack, "format", counted)
    return stacks


def divide() -> float:
    return 1 / 0


def fail(tracker: FailureTracker, times: int = 1) -> None:
    guarded = guarded_signal(strategy="VWAP", symbol="AAPL", tracker=tracker)(divide)
    for _ in range(times):
        assert guarded() is None


def refuse(tracker: FailureTracker, strategy: str = "VWAP", symbol: str = "AAPL") -> None:
    guarded_signal(strategy=strategy, symbol=symbol, tracker=tracker)(lambda: "long")()


def raising(reason: str, failure: SignalGenerationFailure) -> None:
    raise ConnectionError("no route to the broker")


class TestHostsPipeline:
    def test_a_failure(self, pipeline: Pipeline) -> None:
        """guarded.signal_failed is an error with all that is known of the failure, and the full trace."""
        tracker = FailureTracker()
        fail(tracker)
        method, fields = pipeline.fields("guarded.signal_failed")
        trace = fields.pop("exception")
        assert method == "error"
        assert fields == {
            "strategy": "VWAP",
            "symbol": "AAPL",
            "failure_type": "strategy_error",
            "error_type": "ZeroDivisionError",
            "error": "division by zero",
            "consecutive": 1,
            "threshold": 3,
        }
        assert trace.startswith("Traceback (most recent call last):")
        assert "in divide\n    return 1 / 0" in trace
        assert pipeline.records[0][1]["failure_id"] == tracker.failure_history[0].failure_id

    def test_a_recovery(self, pipeline: Pipeline) -> None:
        """guarded.signal_recovered tells who recovered, and after how many failures."""
        tracker = FailureTracker()
        fail(tracker, 2)
        refuse(tracker)
        assert pipeline.fields("guarded.signal_recovered") == (
            "info",
            {"strategy": "VWAP", "symbol": "AAPL", "failures": 2},
        )

    def test_a_halt_a_refusal_and_a_resume(self, pipeline: Pipeline, clock: FakeClock) -> None:
        """The halt is critical and tells of the failure that tripped it; refusal and resume are warnings."""
        tracker = FailureTracker(clock=clock)
        fail(tracker, 3)
        refuse(tracker)
        reason = "3 consecutive failures (threshold 3); last: VWAP for AAPL: ZeroDivisionError: division by zero"
        tracker.resume(by="ana", reason="feed is back")
        assert pipeline.fields("guarded.trading_halted") == (
            "critical",
            {
                "strategy": "VWAP",
                "symbol": "AAPL",
                "failure_type": "strategy_error",
                "error_type": "ZeroDivisionError",
                "error": "division by zero",
                "consecutive": 3,
                "threshold": 3,
                "reason": reason,
                "trigger_type": "technical_failure",
                "halt_level": "halted",
                "halt_scope": "everything",
                "by": None,
                "escalated": False,
                "survives_restart": False,
            },
        )
        assert pipeline.fields("guarded.signal_refused") == (
            "warning",
            {
                "strategy": "VWAP",
                "symbol": "AAPL",
                "reason": reason,
                "since": "2025-11-11T14:00:00+00:00",
                "halt_scope": "everything",
            },
        )
        assert pipeline.fields("guarded.trading_resumed") == (
            "warning",
            {"by": "ana", "reason": "feed is back", "halt_scope": "everything", "halt_reason": reason},
        )

    def test_a_callback_that_raises(self, pipeline: Pipeline) -> None:
        """guarded.halt_callback_failed is critical and tells what the callback raised, for which halt."""
        tracker = FailureTracker(halt_callback=raising)
        tracker.halt_manager.trigger_halt("drill", strategy="VWAP")
        assert pipeline.fields("guarded.halt_callback_failed") == (
            "critical",
            {
                "error_type": "ConnectionError",
                "error": "no route to the broker",
                "reason": "drill",
                "halt_scope": "strategy VWAP",
            },
        )

    def test_the_rest(self, pipeline: Pipeline, clock: FakeClock) -> None:
        """What is no event of its own is a warning: a threshold while halted, a window too short, a fault."""
        tracker = FailureTracker(clock=clock)
        for _ in range(3):
            clock.advance(timedelta(hours=1))
            fail(tracker)
        method, fields = pipeline.fields("guarded.reset_window_too_short")
        assert (method, fields) == ("warning", {"strategy": "VWAP", "symbol": "AAPL", "window": "0:05:00"})
        tracker.halt_manager.trigger_halt("drill")
        for _ in range(2):
            tracker.record_failure("VWAP", "AAPL", "rejected")
        method, fields = pipeline.fields("guarded.threshold_reached_while_halted")
        assert (method, fields["reason"], fields["halt_reason"]) == (
            "warning",
            "3 consecutive failures (threshold 3)",
            "drill",
        )
        tracker.subscribe(lambda event: divide())
        fail(tracker)
        guarded_signal(symbol=lambda: "AAPL", tracker=tracker)(divide)
        method, fields = pipeline.of("guarded.internal_error")[0]
        assert (method, fields["error_type"], fields["error"]) == ("warning", "ZeroDivisionError", "division by zero")

    def test_fields_that_processors_add(self) -> None:
        """No field of ours has the name of one that structlog's own processors set."""
        pipeline = Pipeline()
        added: list[Any] = [
            structlog.stdlib.add_log_level,
            structlog.processors.TimeStamper(),
            structlog.processors.EventRenamer("event"),
        ]
        structlog.configure(processors=[*added, pipeline])
        fail(FailureTracker(), 3)
        assert {fields["level"] for _, fields in pipeline.records} == {"error", "critical"}
        assert pipeline.of("guarded.trading_halted")[0][1]["halt_level"] == "halted"

    def test_bound_context_is_kept(self) -> None:
        """What the host binds through contextvars is in our records, too."""
        pipeline = Pipeline()
        structlog.configure(processors=[structlog.contextvars.merge_contextvars, pipeline])
        with structlog.contextvars.bound_contextvars(account="DU1"):
            fail(FailureTracker())
        assert pipeline.records[0][1]["account"] == "DU1"

    @pytest.mark.parametrize(
        ("wrapper", "factory"),
        [
            (structlog.make_filtering_bound_logger(logging.INFO), structlog.stdlib.LoggerFactory()),
            (structlog.stdlib.BoundLogger, structlog.stdlib.LoggerFactory()),
            (structlog.BoundLogger, structlog.stdlib.LoggerFactory()),
            (structlog.BoundLogger, structlog.testing.CapturingLoggerFactory()),
            (structlog.BoundLogger, structlog.WriteLoggerFactory(sys.stderr)),
        ],
        ids=["filtering", "stdlib", "generic over stdlib", "generic over capturing", "generic"],
    )
    def test_every_kind_of_logger(self, wrapper: Any, factory: Any) -> None:
        """Whichever wrapper and logger the host chose, the records reach its processors."""
        pipeline = Pipeline()
        logging.getLogger("guarded").setLevel(logging.INFO)
        structlog.configure(processors=[pipeline], wrapper_class=wrapper, logger_factory=factory)
        fail(FailureTracker(), 3)
        assert [record[0] for record in pipeline.records] == ["error", "error", "error", "critical"]

    def test_an_async_logger(self, caplog: pytest.LogCaptureFixture) -> None:
        """Records reach a pipeline whose methods would have to be awaited; without a loop, the stdlib logger."""
        pipeline = Pipeline()
        structlog.configure(
            processors=[pipeline],
            wrapper_class=structlog.stdlib.AsyncBoundLogger,
            logger_factory=structlog.stdlib.LoggerFactory(),
        )

        async def trade() -> None:
            fail(FailureTracker(), 3)

        asyncio.run(trade())
        assert [record[0] for record in pipeline.records] == ["error", "error", "error", "critical"]
        assert caplog.messages == []
        fail(FailureTracker())
        assert caplog.messages[0].endswith("(the log pipeline raised RuntimeError at guarded.signal_failed)")

    @pytest.mark.parametrize("wrapper", ["filtering", "stdlib"])
    def test_a_trace_that_nobody_wants(self, wrapper: str, formatted: list[CapturedStack]) -> None:
        """Where the level is filtered out, the trace is not formatted; the halt is above the filter and logged."""
        pipeline = Pipeline()
        if wrapper == "filtering":
            structlog.configure(
                processors=[pipeline], wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL)
            )
        else:
            logging.getLogger("guarded").setLevel(logging.CRITICAL)
            structlog.configure(
                processors=[pipeline],
                wrapper_class=structlog.stdlib.BoundLogger,
                logger_factory=structlog.stdlib.LoggerFactory(),
            )
        fail(FailureTracker(), 3)
        assert formatted == []
        assert [fields["event"] for _, fields in pipeline.records] == ["guarded.trading_halted"]

    def test_a_pipeline_that_raises(self, caplog: pytest.LogCaptureFixture) -> None:
        """When the host's pipeline raises, the guard does what it would have done, and the stdlib logger is told."""

        def broken(logger: Any, method: str, event_dict: Any) -> Any:
            raise RuntimeError("disk full")

        structlog.configure(processors=[broken])
        tracker = FailureTracker()
        fail(tracker, 3)
        assert (tracker.total_failures, tracker.halt_triggered) == (3, True)
        assert [record.levelno for record in caplog.records] == [logging.ERROR] * 3 + [logging.CRITICAL]
        assert caplog.messages[0] == (
            "[FAILURE] VWAP failed for AAPL: ZeroDivisionError: division by zero [strategy_error]."
            " Consecutive failures: 1/3 (the log pipeline raised RuntimeError at guarded.signal_failed)"
        )


class TestStdlib:
    def test_nothing_is_configured(self, capfd: pytest.CaptureFixture[str]) -> None:
        """A failing strategy leaves structlog and the root logger unconfigured, and stdout empty."""
        handlers = list(logging.getLogger().handlers)
        tracker = FailureTracker(halt_callback=raising)
        fail(tracker, 3)
        refuse(tracker)
        tracker.resume(by="ana", reason="feed is back")
        assert not structlog.is_configured()
        assert logging.getLogger().handlers == handlers
        assert capfd.readouterr().out == ""

    def test_a_host_without_any_logging(self) -> None:
        """Without a line of logging set-up, failures and halts are readable on stderr, and stdout stays empty."""
        program = (
            "import guarded\n"
            "@guarded.guarded_signal(strategy='VWAP', symbol='AAPL')\n"
            "def signal(): return [][0]\n"
            "for _ in range(4): signal()\n"
        )
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
        assert done.stdout == ""
        assert done.stderr.count("[FAILURE] VWAP failed for AAPL: IndexError: list index out of range") == 3
        assert done.stderr.count("Traceback (most recent call last):") == 3
        assert done.stderr.count("EMERGENCY HALT") == 1
        assert done.stderr.count("is refused") == 1

    def test_the_lines(self, clock: FakeClock, caplog: pytest.LogCaptureFixture) -> None:
        """Each record reads as a sentence; a failure's is followed by its trace."""
        caplog.set_level(logging.INFO, "guarded")
        tracker = FailureTracker(clock=clock, halt_callback=raising)
        fail(tracker)
        refuse(tracker)
        fail(tracker, 3)
        refuse(tracker)
        refuse(tracker, "RSI", "MSFT")
        tracker.resume(by="ana", reason="feed is back")
        lines = [(record.levelname, record.getMessage().split("\nTraceback")[0]) for record in caplog.records]
        error = "ZeroDivisionError: division by zero"
        failed = f"[FAILURE] VWAP failed for AAPL: {error} [strategy_error]. Consecutive failures:"
        reason = f"3 consecutive failures (threshold 3); last: VWAP for AAPL: {error}"
        callback = (
            "The halt callback raised ConnectionError: no route to the broker."
            " It is tried again for as long as trading stays halted."
        )
        refused = f"is refused: trading is halted for everything since 2025-11-11T14:00:00+00:00: {reason}"
        assert lines == [
            ("ERROR", f"{failed} 1/3"),
            ("INFO", "VWAP recovered for AAPL after 1 failure"),
            ("ERROR", f"{failed} 1/3"),
            ("ERROR", f"{failed} 2/3"),
            ("ERROR", f"{failed} 3/3"),
            (
                "CRITICAL",
                (
                    "EMERGENCY HALT: trading is halted for everything, at level halted\n"
                    f"   Reason: {reason}\n"
                    "   Consecutive failures: 3 (threshold 3)\n"
                    "   Strategy: VWAP\n"
                    "   Symbol: AAPL\n"
                    f"   Error: {error}\n"
                    "   Guarded calls are refused until somebody resumes trading with a name and a reason.\n"
                    "   The halt is kept in this process's memory: a restart forgets it."
                ),
            ),
            ("CRITICAL", callback),
            ("WARNING", f"VWAP for AAPL {refused}"),
            ("CRITICAL", callback),
            ("WARNING", f"RSI for MSFT {refused}"),
            (
                "WARNING",
                (
                    "Trading resumed for everything by ana: feed is back"
                    f" (halted since 2025-11-11T14:00:00+00:00: {reason})"
                ),
            ),
        ]

    def test_the_rarer_lines(self, clock: FakeClock, caplog: pytest.LogCaptureFixture) -> None:
        """Warnings say what happened and what to do about it."""
        caplog.set_level(logging.INFO, "guarded")
        tracker = FailureTracker(clock=clock)
        for _ in range(3):
            clock.advance(timedelta(hours=1))
            fail(tracker)
        tracker.record_success("VWAP", "AAPL")
        tracker.halt_manager.trigger_halt("drill")
        for _ in range(4):
            tracker.record_failure("VWAP", "AAPL", "rejected")
        lines = [line for line in caplog.messages if not line.startswith(("[FAILURE]", "EMERGENCY"))]
        assert lines == [
            (
                "VWAP for AAPL keeps failing with no success between, but too far apart to count as consecutive:"
                " the window is 0:05:00. Use a window longer than the time between two calls, or None"
                " (reset_window= of the tracker, within= of a policy)."
            ),
            "VWAP recovered for AAPL after 3 failures",
            "3 consecutive failures (threshold 3), last by VWAP for AAPL; everything is halted already",
            "4 consecutive failures (threshold 3), last by VWAP for AAPL; everything is halted already",
        ]

    def test_failures_without_a_threshold(self, caplog: pytest.LogCaptureFixture) -> None:
        """Where no policy looks at consecutive failures, the line tells their number alone."""
        tracker = FailureTracker(policies=[FailureRate(0.5, calls=10)])
        tracker.record_failure("VWAP", "AAPL", "order rejected", "execution_error")
        assert caplog.messages == [
            "[FAILURE] VWAP failed for AAPL: order rejected [execution_error]. Consecutive failures: 1"
        ]

    @pytest.mark.parametrize("raise_exceptions", [True, False])
    @pytest.mark.parametrize("part", ["handler", "handler's emit", "filter", "formatter"])
    def test_logging_that_raises(
        self, part: str, raise_exceptions: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A handler, filter or formatter that raises changes nothing about what the guard does."""

        def broken(*_: object) -> bool:
            raise RuntimeError("disk full")

        handler = logging.StreamHandler(sys.stderr)
        logger = logging.getLogger("guarded")
        logger.addHandler(handler)
        logger.propagate = False
        monkeypatch.setattr(logging, "raiseExceptions", raise_exceptions)
        if part == "handler":
            monkeypatch.setattr(handler, "handle", broken)
        elif part == "handler's emit":
            monkeypatch.setattr(handler, "emit", broken)
        elif part == "filter":
            logger.addFilter(broken)
        else:
            monkeypatch.setattr(handler, "format", broken)
        tracker = FailureTracker()
        fail(tracker, 3)
        refuse(tracker)
        assert (tracker.total_failures, tracker.refusals, tracker.halt_triggered) == (3, 1, True)

    def test_an_interrupt_in_a_handler(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """KeyboardInterrupt while a record is written passes on, once everybody has heard of the failure."""

        class Interrupted(logging.Handler):
            def emit(self, record: logging.LogRecord) -> None:
                raise KeyboardInterrupt

        logging.getLogger("guarded").addHandler(Interrupted())
        tracker = FailureTracker()
        heard: list[object] = []
        tracker.subscribe(heard.append)
        with pytest.raises(KeyboardInterrupt):
            fail(tracker)
        assert (len(heard), tracker.total_failures) == (1, 1)

    def test_a_trace_that_nobody_wants(self, formatted: list[CapturedStack], caplog: pytest.LogCaptureFixture) -> None:
        """Where the logger's level is above ERROR, the trace is not formatted."""
        logging.getLogger("guarded").setLevel(logging.CRITICAL)
        fail(FailureTracker(), 3)
        assert formatted == []
        assert [record.levelno for record in caplog.records] == [logging.CRITICAL]

    def test_percent_signs(self, caplog: pytest.LogCaptureFixture) -> None:
        """A message that looks like a format string is written as it is."""
        FailureTracker().record_failure("VWAP", "AAPL", "100 %s of %(margin)d", "data_error")
        assert "failed for AAPL: 100 %s of %(margin)d [data_error]" in caplog.text


class Durable(MemoryStore):
    """A store that says it outlives the process."""

    @property
    def survives_restart(self) -> bool:
        return True


LAST = (
    "\n   Guarded calls are refused until somebody resumes trading with a name and a reason."
    "\n   The halt is kept in this process's memory: a restart forgets it."
)
LAST_WHILE_REDUCING = LAST.replace("calls are", "calls, but for those that only reduce positions, are")


@pytest.fixture
def announced(caplog: pytest.LogCaptureFixture) -> Iterator[list[str]]:
    """The announcements of halts, all of which are at CRITICAL."""
    lines: list[str] = []
    yield lines
    records = caplog.get_records("call")
    assert [record.getMessage() for record in records if record.levelno == logging.CRITICAL] == lines


class TestAnnouncement:
    def test_by_hand(self, announced: list[str]) -> None:
        """A halt by hand names its operator and trigger, and no strategy."""
        EmergencyHaltManager().trigger_halt("daily loss of 2.1 %", HaltTrigger.DAILY_LOSS, by="risk desk")
        announced.append(
            "EMERGENCY HALT: trading is halted for everything, at level halted\n"
            "   Reason: daily loss of 2.1 %\n"
            "   By: risk desk (daily_loss)" + LAST
        )

    def test_by_nobody(self, announced: list[str]) -> None:
        """A halt by a program that gives no name says so."""
        EmergencyHaltManager().trigger_halt("drill", symbol="AAPL")
        announced.append(
            "EMERGENCY HALT: trading is halted for symbol AAPL, at level halted\n"
            "   Reason: drill\n"
            "   By: a program (manual)" + LAST
        )

    def test_an_escalation(self, announced: list[str]) -> None:
        """A halt that is raised to a stricter level is announced with both reasons."""
        manager = EmergencyHaltManager()
        manager.trigger_halt("drawdown", level="reducing", by="ana")
        manager.trigger_halt("crash", by="ben")
        reducing = (
            "EMERGENCY HALT: trading is halted for everything, at level reducing\n"
            "   Reason: drawdown\n"
            "   By: ana (manual)" + LAST_WHILE_REDUCING
        )
        halted = (
            "EMERGENCY HALT: trading is halted for everything, raised to level halted\n"
            "   Reason: drawdown; raised to halted by ben: crash\n"
            "   By: ana (manual)" + LAST
        )
        announced += [reducing, halted]

    def test_errors_that_came_as_text(self, announced: list[str]) -> None:
        """A streak of errors that came as events is announced with strategy, symbol and error."""
        tracker = FailureTracker(failure_threshold=1)
        tracker.record_failure("VWAP", "AAPL", "order rejected: margin")
        announced.append(
            "EMERGENCY HALT: trading is halted for everything, at level halted\n"
            "   Reason: 1 consecutive failure (threshold 1); last: VWAP for AAPL: order rejected: margin\n"
            "   Consecutive failures: 1 (threshold 1)\n"
            "   Strategy: VWAP\n"
            "   Symbol: AAPL\n"
            "   Error: order rejected: margin" + LAST
        )

    def test_a_failure_rate(self, announced: list[str]) -> None:
        """A halt by a failure rate tells the failure that tripped it, and no streak."""
        tracker = FailureTracker(policies=[FailureRate(0.5, calls=2, scope="strategy", halt_scope="same")])
        tracker.record_success("VWAP", "AAPL")
        tracker.record_failure("VWAP", "AAPL", "order rejected: margin")
        announced.append(
            "EMERGENCY HALT: trading is halted for strategy VWAP, at level halted\n"
            "   Reason: failure rate 50% of strategy VWAP over 2 calls (limit 50%);"
            " last: VWAP for AAPL: order rejected: margin\n"
            "   Strategy: VWAP\n"
            "   Symbol: AAPL\n"
            "   Error: order rejected: margin" + LAST
        )

    def test_once_for_all_trackers(self, caplog: pytest.LogCaptureFixture) -> None:
        """A halt is announced once, however many trackers share the latch."""
        manager = EmergencyHaltManager()
        trackers = [FailureTracker(halt_manager=manager) for _ in range(3)]
        manager.trigger_halt("drill")
        assert all(tracker.halt_triggered for tracker in trackers)
        assert [record.levelno for record in caplog.records] == [logging.CRITICAL]

    def test_a_store_that_outlives_the_process(self, caplog: pytest.LogCaptureFixture) -> None:
        """The announcement does not speak of a restart that would forget the halt if none does."""
        EmergencyHaltManager(Durable()).trigger_halt("drill")
        assert caplog.messages[0].endswith("with a name and a reason.")


class TestOperators:
    def test_a_resume_of_what_is_not_halted(self, caplog: pytest.LogCaptureFixture) -> None:
        """Whoever resumes what is not halted is told what is."""
        manager = EmergencyHaltManager()
        manager.resume_trading(by="ana", reason="just in case")
        manager.trigger_halt("bad data", symbol="AAPL")
        manager.trigger_halt("bad model", strategy="VWAP")
        manager.resume_trading(by="ana", reason="just in case")
        warnings = [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]
        assert warnings == [
            "ana resumed trading for everything, which is not halted; halted is: nothing",
            "ana resumed trading for everything, which is not halted; halted is: symbol AAPL, strategy VWAP",
        ]

    def test_the_shared_tracker_is_replaced_while_halted(
        self, tracker: FailureTracker, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A new shared tracker does not know of the old one's halts, and the log says so; with one latch it does."""
        with set_failure_tracker(FailureTracker()):
            assert caplog.messages == []
        tracker.halt_manager.trigger_halt("drill")
        caplog.clear()
        with set_failure_tracker(FailureTracker(halt_manager=tracker.halt_manager)):
            assert caplog.messages == []
        with set_failure_tracker(FailureTracker()):
            assert caplog.messages == [
                (
                    "The shared tracker was replaced while trading was halted for everything;"
                    " the new tracker is not halted"
                )
            ]


class TestRefusals:
    def refused(self, caplog: pytest.LogCaptureFixture) -> list[str]:
        return [line.split(" is refused")[0] for line in caplog.messages if " is refused" in line]

    def test_once_for_each_key_and_episode(self, caplog: pytest.LogCaptureFixture) -> None:
        """However often a key is refused, it is logged once per episode; all refusals are counted."""
        tracker = FailureTracker()
        for _ in range(2):
            tracker.halt_manager.trigger_halt("drill")
            for _ in range(5):
                refuse(tracker, "VWAP")
                refuse(tracker, "RSI")
            tracker.resume(by="ana", reason="drill over")
        assert self.refused(caplog) == ["VWAP for AAPL", "RSI for AAPL"] * 2
        assert tracker.refusals == 20

    def test_another_halt_of_the_same_key(self, caplog: pytest.LogCaptureFixture) -> None:
        """A resume of one episode does not make another's refusals be logged again."""
        tracker = FailureTracker()
        tracker.halt_manager.trigger_halt("bad data", symbol="AAPL")
        refuse(tracker)
        tracker.halt_manager.trigger_halt("crash")
        refuse(tracker)
        tracker.resume(by="ana", reason="calm again")
        refuse(tracker)
        assert self.refused(caplog) == ["VWAP for AAPL", "VWAP for AAPL"]

    def test_nothing_is_remembered_after_a_resume(self) -> None:
        """What was logged of an episode is forgotten when it ends, so that memory does not grow with episodes."""
        log, tracker = SignalLog(), FailureTracker()
        tracker.subscribe(log)
        for _ in range(3):
            tracker.halt_manager.trigger_halt("drill")
            refuse(tracker)
            tracker.resume(by="ana", reason="drill over")
        assert log._refused == {}

    def test_from_many_threads(self, caplog: pytest.LogCaptureFixture) -> None:
        """Sixteen threads that are refused at once are one log line for each key."""
        tracker = FailureTracker()
        tracker.halt_manager.trigger_halt("drill")
        barrier = threading.Barrier(16)
        interval = sys.getswitchinterval()

        def work() -> None:
            barrier.wait()
            for number in range(50):
                refuse(tracker, f"S{number}")

        sys.setswitchinterval(1e-6)
        try:
            with ThreadPoolExecutor(16) as pool:
                for job in [pool.submit(work) for _ in range(16)]:
                    job.result()
        finally:
            sys.setswitchinterval(interval)
        assert sorted(self.refused(caplog)) == sorted(f"S{number} for AAPL" for number in range(50))


class TestSuccessIsSilent:
    def test_a_success_without_a_streak(self, pipeline: Pipeline) -> None:
        """A call that succeeds, and recovers from nothing, is not logged."""
        tracker = FailureTracker(policies=[ConsecutiveFailures(3), FailureRate(0.5, calls=4)])
        refuse(tracker)
        assert pipeline.records == []
