"""track_signal: what becomes of a block, sync and async, alone, nested and halted."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from typing import Any

import pytest
from pytest_mock import MockerFixture

from guarded import (
    FailureRules,
    FailureTracker,
    FailureType,
    InvalidConfiguration,
    Signal,
    TradingHalted,
    guarded_signal,
    set_mode,
    track_signal,
)

Run = Callable[..., Signal]
"""run(body, **settings): run body(signal) in a block of one kind, and give back its signal."""


def in_with(body: Callable[[Signal], object], **settings: Any) -> Signal:
    with track_signal(**settings) as signal:
        body(signal)
    return signal


def in_async_with(body: Callable[[Signal], object], **settings: Any) -> Signal:
    async def main() -> Signal:
        async with track_signal(**settings) as signal:
            await asyncio.sleep(0)
            body(signal)
        return signal

    return asyncio.run(main())


def in_with_within_a_coroutine(body: Callable[[Signal], object], **settings: Any) -> Signal:
    async def main() -> Signal:
        with track_signal(**settings) as signal:
            await asyncio.sleep(0)
            body(signal)
        return signal

    return asyncio.run(main())


both = pytest.mark.parametrize(
    "run", [in_with, in_async_with, in_with_within_a_coroutine], ids=lambda run: run.__name__[3:]
)


def setting(value: object) -> Callable[[Signal], None]:
    def body(signal: Signal) -> None:
        signal.value = value

    return body


def raising(error: BaseException) -> Callable[[Signal], None]:
    def body(signal: Signal) -> None:
        signal.value = "half done"
        raise error

    return body


@both
def test_a_block_that_ends_well(run: Run, tracker: FailureTracker) -> None:
    """The value that the block set is there, and nothing failed."""
    signal = run(setting("long"), strategy="VWAP", symbol="AAPL")
    assert (signal.value, signal.failed, signal.refused, signal.failure) == ("long", False, False, None)
    assert tracker.last_success_time is not None


@both
def test_a_block_that_raises(run: Run, tracker: FailureTracker) -> None:
    """The exception is kept from the code around and recorded, and the value is None."""
    signal = run(raising(KeyError("close")), strategy="VWAP", symbol="AAPL", context={"bars": lambda: 12, "tz": "UTC"})
    assert (signal.value, signal.failed, signal.refused) == (None, True, False)
    failure = signal.failure
    assert failure is not None
    assert failure == tracker.last_failure
    assert (failure.strategy_name, failure.symbol, failure.error_message) == ("VWAP", "AAPL", "'close'")
    assert failure.additional_context == {"bars": 12, "tz": "UTC"}


@both
def test_reraise_and_strict_mode(run: Run, tracker: FailureTracker) -> None:
    """With reraise=True, and in strict mode, the same exception goes on, recorded."""
    error = KeyError("close")
    with pytest.raises(KeyError) as caught:
        run(raising(error), reraise=True)
    assert caught.value is error
    with set_mode("strict"), pytest.raises(KeyError):
        run(raising(KeyError("close")))
    assert tracker.total_failures == 2


@both
@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, GeneratorExit, asyncio.CancelledError])
def test_interrupts_pass_through(run: Run, kind: type[BaseException], tracker: FailureTracker) -> None:
    """Interrupts and cancellation pass through, uncounted."""
    with pytest.raises(kind):
        run(raising(kind()))
    assert tracker.total_failures == 0


@both
def test_ignored_and_propagated(run: Run, tracker: FailureTracker) -> None:
    """Rules decide for blocks as for guards: ignored is uncounted and kept back, propagated goes on."""
    signal = run(raising(KeyError("x")), rules=FailureRules().ignore(LookupError))
    assert (signal.value, signal.failed, signal.failure) == (None, True, None)
    with pytest.raises(KeyError):
        run(raising(KeyError("x")), rules=FailureRules().propagate(LookupError))
    assert tracker.total_failures == 0


@both
def test_a_halted_block_raises_on_entry(run: Run, tracker: FailureTracker) -> None:
    """While halted the block is not entered: TradingHalted says who, since when and why; it is a refusal."""
    tracker.halt_manager.trigger_halt("drill", by="ana")
    entered: list[Signal] = []
    with pytest.raises(TradingHalted, match=r"halted for everything since .* by ana: drill\. .*resume\(by=") as caught:
        run(entered.append, strategy="VWAP")
    assert entered == []
    assert caught.value.halt == tracker.halts[0]
    assert (tracker.refusals, tracker.total_failures) == (1, 0)
    assert run(setting("long"), when_halted="run").value == "long"


@both
@pytest.mark.parametrize(("level", "enters"), [("reducing", True), ("halted", False)])
def test_reduce_only_blocks(run: Run, level: str, enters: bool, tracker: FailureTracker) -> None:
    """A block marked reduce_only is entered at level reducing, not at halted."""
    tracker.halt_manager.trigger_halt("drawdown", level=level, strategy="VWAP")
    try:
        signal = run(setting("close"), strategy="VWAP", reduce_only=True)
    except TradingHalted:
        assert not enters
    else:
        assert enters
        assert signal.value == "close"
    with pytest.raises(TradingHalted):
        run(setting("open"), strategy="VWAP")
    assert run(setting("open"), strategy="RSI").value == "open"


@both
def test_an_outer_block_of_a_refused_one_ends_refused(run: Run, tracker: FailureTracker) -> None:
    """An outer block whose inner block is refused ends with refused, and counts neither way."""
    tracker.halt_manager.trigger_halt("bad feed", symbol="AAPL")
    tracker.record_failure("Outer", "all", "an error event")

    def body(signal: Signal) -> None:
        signal.value = "half done"
        with track_signal(symbol="AAPL"):
            raise AssertionError("not entered")

    signal = run(body, strategy="Outer", symbol="all")
    assert (signal.value, signal.failed, signal.refused, signal.failure) == (None, False, True, None)
    assert (tracker.refusals, tracker.total_failures, tracker.consecutive_failures) == (1, 1, 1)
    with pytest.raises(TradingHalted):
        run(body, strategy="Outer", symbol="all", reraise=True)


@both
def test_off_means_no_block(run: Run, tracker: FailureTracker) -> None:
    """In mode off a block does nothing: no record, no refusal, no success."""
    tracker.halt_manager.trigger_halt("drill")
    with set_mode("off"):
        assert run(setting("long")).value == "long"
        with pytest.raises(KeyError):
            run(raising(KeyError("x")))
    assert (tracker.total_failures, tracker.refusals, tracker.last_success_time) == (0, 0, None)


@both
def test_a_success_ends_the_streak_of_its_names(run: Run, tracker: FailureTracker) -> None:
    """A block that ends well ends the streaks of its scopes, an ended streak is told, and a failure within keeps it."""
    tracker.record_failure("VWAP", "AAPL", "an error event")
    run(lambda _: tracker.record_failure("VWAP", "AAPL", "another"), strategy="VWAP", symbol="AAPL")
    assert tracker.consecutive_failures == 2
    run(setting("long"), strategy="VWAP", symbol="AAPL")
    assert tracker.consecutive_failures == 0


@both
def test_blocks_inherit_names_and_add_context(run: Run, tracker: FailureTracker) -> None:
    """An inner block takes the names that it lacks from the outer, and adds to its context."""

    def body(_signal: Signal) -> None:
        with track_signal(symbol="AAPL", context={"venue": "X"}):
            raise KeyError("close")

    run(body, strategy="VWAP", symbol="all", context={"desk": "FX", "venue": "none"})
    failure = tracker.last_failure
    assert failure is not None
    assert (failure.strategy_name, failure.symbol) == ("VWAP", "AAPL")
    assert failure.additional_context == {"desk": "FX", "venue": "X"}


@both
def test_a_block_is_refused_by_the_names_that_it_inherits(run: Run, tracker: FailureTracker) -> None:
    """A halt of the strategy that only the outer block names refuses the inner block."""
    tracker.halt_manager.trigger_halt("drill", strategy="VWAP")
    with track_signal("VWAP", "AAPL", when_halted="run") as outer:
        run(setting("long"))
    assert outer.refused


@both
def test_names_that_nobody_gave(run: Run, tracker: FailureTracker) -> None:
    """Without names the symbol is the exception's, if it has one, and the rest is "unknown"."""

    class NoQuote(Exception):
        symbol = "AAPL"

    run(raising(NoQuote()))
    run(raising(KeyError("x")))
    assert [(f.strategy_name, f.symbol) for f in tracker.failure_history] == [
        ("unknown", "AAPL"),
        ("unknown", "unknown"),
    ]


@both
def test_a_name_that_is_no_text(run: Run, tracker: FailureTracker) -> None:
    """A name that is no text is taken as its text, and one whose text cannot be had costs nothing but the name."""

    class Symbol:
        def __str__(self) -> str:
            raise RuntimeError("no text")

    run(raising(KeyError("x")), strategy=FailureType.DATA_ERROR, symbol=17)
    run(raising(KeyError("x")), strategy="VWAP", symbol=Symbol())
    assert [(f.strategy_name, f.symbol) for f in tracker.failure_history] == [("data_error", "17"), ("VWAP", "unknown")]


def test_names_reach_tasks_and_not_threads(tracker: FailureTracker) -> None:
    """A block's names reach the tasks started in it, not its threads."""

    @guarded_signal
    def task() -> None:
        raise KeyError("x")

    async def main() -> None:
        async with track_signal("VWAP", "AAPL"):
            await asyncio.create_task(asyncio.to_thread(task))
            worker = threading.Thread(target=task)
            worker.start()
            worker.join()

    asyncio.run(main())
    assert [f.symbol for f in tracker.failure_history] == ["AAPL", "unknown"]


@both
def test_a_block_is_entered_once(run: Run, tracker: FailureTracker) -> None:
    """A block that was entered, also one that is still open, cannot be entered again, and the error says what to do."""

    def again(signal: Signal) -> None:
        with signal:
            raise AssertionError("not entered")

    tracker.halt_manager.trigger_halt("drill")
    refused = track_signal("VWAP", "AAPL")
    with pytest.raises(TradingHalted):
        refused.__enter__()
    tracker.resume(by="ana", reason="drill over")
    with pytest.raises(InvalidConfiguration, match="entered once"):
        refused.__enter__()
    assert (refused.refused, refused.value) == (True, None)
    with pytest.raises(InvalidConfiguration, match=r"entered once: call track_signal\(\) anew for each `with`"):
        again(run(setting("long")))
    assert run(again).failed
    assert tracker.last_failure is not None
    assert tracker.last_failure.error_type == "InvalidConfiguration"

    async def again_async() -> None:
        async with refused:
            raise AssertionError("not entered")

    with pytest.raises(InvalidConfiguration, match="entered once"):
        asyncio.run(again_async())


def test_a_block_left_in_another_context(tracker: FailureTracker) -> None:
    """A block that a generator entered in one context and left in another works, and nothing is raised."""

    def generator() -> Any:
        with track_signal("VWAP", "AAPL"):
            yield 1
            raise KeyError("x")

    steps = generator()
    contextvars.copy_context().run(next, steps)
    assert list(steps) == []
    assert tracker.total_failures == 1

    async def async_generator() -> Any:
        async with track_signal("VWAP", "AAPL"):
            yield 1
            raise KeyError("x")

    async def main() -> None:
        steps = async_generator()
        await asyncio.create_task(anext(steps))
        assert [step async for step in steps] == []

    asyncio.run(main())
    assert tracker.total_failures == 2


def test_timeouts_and_task_groups_work_as_without(tracker: FailureTracker) -> None:
    """asyncio.timeout around and within a block, and a TaskGroup's cancellation, do what they do without it."""

    async def main() -> None:
        with pytest.raises(TimeoutError):  # noqa: PT012  # the nesting is the claim
            async with asyncio.timeout(0):
                async with track_signal("VWAP", "AAPL"):
                    await asyncio.Event().wait()
        assert tracker.total_failures == 0
        async with track_signal("VWAP", "AAPL") as signal:
            async with asyncio.timeout(0):
                await asyncio.Event().wait()
        assert signal.failure is not None
        assert signal.failure.failure_type is FailureType.CONNECTION_ERROR
        with pytest.raises(ExceptionGroup):  # noqa: PT012  # the same
            async with asyncio.TaskGroup() as group:
                group.create_task(_waits_in_a_block())
                await asyncio.sleep(0)
                raise ValueError("the group fails")
        assert tracker.total_failures == 1

    asyncio.run(main())


async def _waits_in_a_block() -> None:
    with track_signal("VWAP", "AAPL"):
        await asyncio.Event().wait()


@both
def test_a_fault_while_recording_is_reported(run: Run, tracker: FailureTracker, mocker: MockerFixture) -> None:
    """If recording fails, the block ends as it would have, and the fault is counted."""
    before = tracker.get_status()["internal_errors"]
    tracker.record_failure("VWAP", "AAPL", "an error event")
    mocker.patch.object(tracker, "_record", side_effect=OSError("disk full"))
    mocker.patch.object(tracker, "_succeed", side_effect=OSError("disk full"))
    assert run(raising(KeyError("x"))).value is None
    assert run(setting("long")).value == "long"
    assert tracker.get_status()["internal_errors"] == before + 3


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"when_halted": "refuse"}, "when_halted of track_signal='refuse': expected one of 'raise', 'run'"),
        ({"rules": {}}, "expected an instance of FailureRules"),
        ({"tracker": "mine"}, "tracker='mine' of track_signal: expected a FailureTracker"),
    ],
)
def test_bad_settings(settings: dict[str, Any], says: str) -> None:
    """A setting that cannot work is an error before the block is entered."""
    with pytest.raises(InvalidConfiguration, match=says):
        track_signal("VWAP", "AAPL", **settings)


def test_an_explicit_tracker(tracker: FailureTracker) -> None:
    """With tracker= the block is counted there."""
    own = FailureTracker()
    in_with(raising(KeyError("x")), tracker=own)
    assert (own.total_failures, tracker.total_failures) == (1, 0)
