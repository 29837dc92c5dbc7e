"""The halt callback: once per episode, outside every lock, tried again until it succeeds; sync and async."""

from __future__ import annotations

import asyncio
import gc
import logging
import threading
import weakref
from collections.abc import Awaitable, Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest

from guarded import (
    EmergencyHaltManager,
    Event,
    FailureTracker,
    HaltCallbackFailed,
    HaltTriggered,
    InvalidConfiguration,
    SignalFailed,
    SignalGenerationFailure,
    TradingResumed,
    guarded_signal,
    track_signal,
)
from guarded.testing import FakeClock

LONG_ENOUGH = 30.0
"""Seconds after which a thread that has not come back is taken to be in a deadlock."""


class Callback:
    """A halt callback that raises what it is told to, and keeps what it is called with."""

    def __init__(self, *errors: BaseException) -> None:
        self.errors = list(errors)
        self.calls: list[tuple[str, SignalGenerationFailure]] = []

    def __call__(self, reason: str, failure: SignalGenerationFailure) -> None:
        self.calls.append((reason, failure))
        if self.errors:
            raise self.errors.pop(0)


class AsyncCallback(Callback):
    """The same for async code; it gives way to other tasks before it returns or raises."""

    finished = 0

    async def __call__(self, reason: str, failure: SignalGenerationFailure) -> None:  # type: ignore[override]
        await asyncio.sleep(0)
        super().__call__(reason, failure)
        self.finished += 1


class Events(list[Event]):
    """What a listener heard."""

    def of(self, kind: type[Event]) -> list[Any]:
        return [event for event in self if isinstance(event, kind)]


def heard_by(tracker: FailureTracker) -> Events:
    events = Events()
    tracker.subscribe(events.append)
    return events


def fail(tracker: FailureTracker, times: int = 3) -> None:
    for _ in range(times):
        tracker.record_failure("VWAP", "AAPL", ValueError("bad bar"))


def refuse(tracker: FailureTracker) -> None:
    """One guarded call that is refused."""
    result: str | None = guarded_signal(strategy="VWAP", symbol="AAPL", tracker=tracker)(lambda: "long")()
    assert result is None


async def failing_signal() -> None:
    raise ValueError("bad bar")


async def fail_async(tracker: FailureTracker, times: int = 3) -> None:
    guarded = guarded_signal(strategy="VWAP", symbol="AAPL", tracker=tracker)(failing_signal)
    for _ in range(times):
        await guarded()


def without_deadlock(function: Callable[[], object]) -> None:
    """Run a function in a thread, and give up on it rather than hang."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(function).result(LONG_ENOUGH)


@pytest.fixture
def quiet() -> None:
    """No log output, for tests of thousands of attempts."""
    logging.getLogger("guarded").setLevel(logging.CRITICAL + 1)


class TestOnce:
    def test_with_the_reason_and_the_failure(self, clock: FakeClock) -> None:
        """The callback gets the halt's reason and the failure that tripped it."""
        callback = Callback()
        tracker = FailureTracker(halt_callback=callback, clock=clock)
        fail(tracker)
        assert callback.calls == [(tracker.halt_reason, tracker.last_failure)]
        assert not tracker.callback_pending

    def test_however_many_threads_fail(self, quiet: None) -> None:
        """Sixteen threads that fail at once run the callback once."""
        callback = Callback()
        tracker = FailureTracker(halt_callback=callback)
        barrier = threading.Barrier(16)

        def work() -> None:
            barrier.wait()
            fail(tracker, 10)

        with ThreadPoolExecutor(16) as pool:
            for job in [pool.submit(work) for _ in range(16)]:
                job.result(LONG_ENOUGH)
        assert len(callback.calls) == 1

    def test_however_many_trackers_share_it(self) -> None:
        """Two trackers of one manager that share a callback run it once, whichever of them halts."""
        callback, manager = Callback(), EmergencyHaltManager()
        one = FailureTracker(halt_callback=callback, halt_manager=manager)
        two = FailureTracker(halt_callback=callback, halt_manager=manager)
        fail(two)
        fail(one)
        refuse(one)
        refuse(two)
        assert len(callback.calls) == 1

    def test_after_the_listeners(self) -> None:
        """Listeners hear of the failure and the halt before the callback runs."""
        order: list[str] = []
        tracker = FailureTracker(halt_callback=lambda reason, failure: order.append("callback"))
        tracker.subscribe(lambda event: order.append(type(event).__name__))
        fail(tracker)
        assert order == ["SignalFailed", "SignalFailed", "SignalFailed", "HaltTriggered", "callback"]

    def test_outside_every_lock(self, tracker: FailureTracker) -> None:
        """The callback may call anything in guarded: nothing waits for itself."""

        def on_halt(reason: str, failure: SignalGenerationFailure) -> None:
            other_thread = threading.Thread(target=fail, args=(mine,))
            other_thread.start()
            other_thread.join()
            fail(mine)
            refuse(mine)
            mine.record_success("VWAP", "AAPL")
            mine.get_status()
            mine.get_failure_summary()
            mine.halt_manager.trigger_halt("from the callback")
            mine.halt_manager.get_halt_summary()
            mine.reset()
            mine.clear_history()
            mine.subscribe(print)()
            mine.resume(by="callback", reason="to see whether it can")

        mine = FailureTracker(halt_callback=on_halt)
        without_deadlock(lambda: fail(mine))
        assert not mine.halt_triggered
        assert not mine.callback_pending

    def test_a_blocking_callback_blocks_nobody_else(self) -> None:
        """While the callback runs in one thread, calls in others are refused at once and do not run it again."""
        started, release = threading.Event(), threading.Event()
        runs: list[str] = []

        def on_halt(reason: str, failure: SignalGenerationFailure) -> None:
            runs.append(reason)
            started.set()
            assert release.wait(LONG_ENOUGH)

        tracker = FailureTracker(halt_callback=on_halt)
        with ThreadPoolExecutor(1) as pool:
            job = pool.submit(fail, tracker)
            assert started.wait(LONG_ENOUGH)
            refuse(tracker)
            fail(tracker, 1)
            assert tracker.callback_pending
            release.set()
            job.result(LONG_ENOUGH)
        assert len(runs) == 1
        assert not tracker.callback_pending

    @pytest.mark.parametrize(
        "callback",
        [
            "cancel_all_orders",
            lambda: None,
            lambda reason: None,
            lambda reason, failure, order: None,
        ],
    )
    def test_what_cannot_be_a_callback(self, callback: Any) -> None:
        """What cannot be called with reason and failure is refused when the tracker is made, not when it halts."""
        with pytest.raises(InvalidConfiguration, match=r"halt_callback=.*expected a function of \(reason, failure\)"):
            FailureTracker(halt_callback=callback)

    def test_a_generator_function_is_no_callback(self) -> None:
        """A function with yield in it would never run, so it is refused."""

        def generator(reason: str, failure: SignalGenerationFailure) -> Iterator[None]:
            yield

        async def async_generator(reason: str, failure: SignalGenerationFailure) -> Any:
            yield

        class Generates:
            def __call__(self, reason: str, failure: SignalGenerationFailure) -> Iterator[None]:
                yield

        for callback in (generator, async_generator, Generates()):
            with pytest.raises(InvalidConfiguration, match="without yield"):
                FailureTracker(halt_callback=callback)

    def test_a_callable_whose_signature_is_not_known(self) -> None:
        """What Python cannot look into is taken as it is."""
        tracker = FailureTracker(halt_callback=max)  # type: ignore[arg-type]
        fail(tracker)
        assert tracker.callback_pending  # a text and a failure have no maximum


class TestRaising:
    def test_the_halt_stands(self, clock: FakeClock, caplog: pytest.LogCaptureFixture) -> None:
        """A callback that raises changes nothing about the halt: it is logged, told, and shown as pending."""
        error = ConnectionError("no route to the broker")
        tracker = FailureTracker(halt_callback=Callback(error), clock=clock)
        events = heard_by(tracker)
        fail(tracker)
        assert tracker.halt_triggered
        assert tracker.callback_pending
        assert tracker.get_status()["callback_pending"] is True
        assert tracker.halt_manager.get_halt_status()["callback_pending"] is True
        (failed,) = events.of(HaltCallbackFailed)
        assert (failed.halt, failed.error) == (tracker.halts[0], error)
        _halted, line = [record.getMessage() for record in caplog.records if record.levelno == logging.CRITICAL]
        assert line == (
            "The halt callback raised ConnectionError: no route to the broker."
            " It is tried again for as long as trading stays halted."
        )

    @pytest.mark.parametrize("trigger", [refuse, lambda tracker: fail(tracker, 1)], ids=["refusal", "failure"])
    def test_tried_again_at_once_then_after_longer_and_longer(
        self, clock: FakeClock, trigger: Callable[[FailureTracker], None]
    ) -> None:
        """The next refused call or failure tries again at once, then not before 1 s, doubling to 60 s."""
        callback = Callback(*(OSError("down") for _ in range(10)))
        tracker = FailureTracker(halt_callback=callback, clock=clock)
        fail(tracker)
        made = 1
        for wait in (0, 1, 2, 4, 8, 16, 32, 60, 60, 60):
            if wait:
                clock.advance(timedelta(seconds=wait) - timedelta(milliseconds=1))
                trigger(tracker)
                assert len(callback.calls) == made
                clock.advance(timedelta(milliseconds=1))
            trigger(tracker)
            made += 1
            assert len(callback.calls) == made
        assert not tracker.callback_pending
        clock.advance(timedelta(hours=1))
        trigger(tracker)
        assert len(callback.calls) == made

    def test_its_first_run_is_the_first_once(self, clock: FakeClock) -> None:
        """A callback that a process has begun to run is not begun by it anew before the next run is due."""
        callback = Callback(OSError("the broker is away"))
        tracker = FailureTracker(clock=clock, halt_callback=callback)
        tracker.halt_manager.trigger_halt("drill")
        (halt,) = tracker.halts
        tracker.halt_manager.run_callbacks(halt)
        assert len(callback.calls) == 1
        assert tracker.callback_pending

    def test_a_refused_block_tries_again_too(self, clock: FakeClock) -> None:
        """A block that is not entered counts as a refused call."""
        callback = Callback(OSError("down"))
        tracker = FailureTracker(halt_callback=callback, clock=clock)
        fail(tracker)
        with pytest.raises(Exception, match="trading is halted"), track_signal("VWAP", "AAPL", tracker=tracker):
            pass
        assert len(callback.calls) == 2

    def test_a_success_does_not_try_again(self, clock: FakeClock) -> None:
        """Only refused calls and failures try the callback again."""
        callback = Callback(OSError("down"))
        tracker = FailureTracker(halt_callback=callback, clock=clock)
        fail(tracker)
        tracker.record_success("VWAP", "AAPL")
        assert len(callback.calls) == 1

    def test_for_days(self, clock: FakeClock, quiet: None) -> None:
        """A callback that keeps raising for two thousand attempts is still tried every minute."""
        callback = Callback(*(OSError("down") for _ in range(2_000)))
        tracker = FailureTracker(halt_callback=callback, clock=clock)
        fail(tracker)
        for _ in range(2_000):
            clock.advance(timedelta(minutes=1))
            refuse(tracker)
        assert len(callback.calls) == 2_001
        assert not tracker.callback_pending

    @pytest.mark.parametrize("has_it", [0, 1])
    def test_by_whichever_tracker_is_still_called(self, has_it: int, clock: FakeClock) -> None:
        """A refused call of one tracker tries the callback of another one of the same manager again."""
        callback, manager = Callback(OSError("down")), EmergencyHaltManager(clock=clock)
        trackers = [
            FailureTracker(halt_callback=callback if number == has_it else None, halt_manager=manager)
            for number in range(2)
        ]
        fail(trackers[has_it])
        refuse(trackers[1 - has_it])
        assert len(callback.calls) == 2
        assert not trackers[has_it].callback_pending

    def test_each_halt_has_its_own_callback(self, clock: FakeClock) -> None:
        """Of two halts whose callback raised, each is tried again."""
        callback = Callback(OSError("down"), OSError("down"))
        tracker = FailureTracker(halt_callback=callback, clock=clock)
        tracker.halt_manager.trigger_halt("bad data", symbol="AAPL")
        tracker.halt_manager.trigger_halt("bad model", strategy="VWAP")
        refuse(tracker)
        assert [reason for reason, _ in callback.calls] == ["bad data", "bad model"] * 2

    def test_dropped_on_resume(self, clock: FakeClock) -> None:
        """Once trading is resumed, the callback of that halt is neither pending nor tried again."""
        callback = Callback(OSError("down"))
        tracker = FailureTracker(halt_callback=callback, clock=clock)
        fail(tracker)
        tracker.resume(by="ana", reason="cancelled by hand")
        assert not tracker.callback_pending
        assert not tracker.halt_manager.get_halt_status()["callback_pending"]
        clock.advance(timedelta(minutes=2))
        fail(tracker, 1)
        assert len(callback.calls) == 1

    def test_dropped_although_there_is_another_halt(self, clock: FakeClock) -> None:
        """The callback of an episode that is over is not tried again in the next one."""
        callback = Callback(OSError("down"))
        tracker = FailureTracker(halt_callback=callback, clock=clock)
        tracker.halt_manager.trigger_halt("first")
        tracker.resume(by="ana", reason="cancelled by hand")
        tracker.halt_manager.trigger_halt("second")
        assert not tracker.callback_pending
        refuse(tracker)
        assert [reason for reason, _ in callback.calls] == ["first", "second"]

    def test_dropped_when_another_manager_resumes(self, clock: FakeClock) -> None:
        """A resume through another manager on the same store drops the callback as well."""
        callback = Callback(OSError("down"))
        tracker = FailureTracker(halt_callback=callback, clock=clock)
        fail(tracker)
        other = EmergencyHaltManager(tracker.halt_manager.store, clock=clock)
        assert other.resume_trading(by="ana", reason="cancelled by hand") == ()
        assert not tracker.callback_pending
        fail(tracker, 1)
        assert len(callback.calls) == 1

    def test_resumed_by_a_listener(self, clock: FakeClock) -> None:
        """A listener that resumes at once leaves no callback pending, although it ran and raised."""
        callback = Callback(OSError("down"))
        tracker = FailureTracker(halt_callback=callback, clock=clock)

        def resume(event: Event) -> None:
            if isinstance(event, HaltTriggered):
                tracker.resume(by="robot", reason="never give up")

        tracker.subscribe(resume)
        without_deadlock(lambda: fail(tracker))
        assert len(callback.calls) == 1
        assert not tracker.halt_triggered
        assert not tracker.callback_pending

    def test_resumed_by_itself(self, clock: FakeClock) -> None:
        """A callback that resumes trading and then raises is told of, and not tried again."""
        calls: list[str] = []

        def on_halt(reason: str, failure: SignalGenerationFailure) -> None:
            calls.append(reason)
            tracker.resume(by="callback", reason="let me try")
            raise OSError("down")

        tracker = FailureTracker(halt_callback=on_halt, clock=clock)
        events = heard_by(tracker)
        without_deadlock(lambda: fail(tracker))
        assert [type(event) for event in events[-3:]] == [HaltTriggered, TradingResumed, HaltCallbackFailed]
        assert not tracker.callback_pending
        fail(tracker, 1)
        assert len(calls) == 1

    def test_what_it_says_is_masked(self, caplog: pytest.LogCaptureFixture) -> None:
        """Secrets in what the callback raises do not reach the log."""
        fail(FailureTracker(halt_callback=Callback(OSError("POST /cancel?signature=0123456789abcdef"))))
        assert "POST /cancel?signature=***" in caplog.text
        assert "0123456789abcdef" not in caplog.text

    def test_a_hostile_error(self, caplog: pytest.LogCaptureFixture) -> None:
        """An exception that cannot be shown is logged all the same."""

        class Hostile(Exception):
            def __str__(self) -> str:
                raise RuntimeError("no text")

        tracker = FailureTracker(halt_callback=Callback(Hostile()))
        fail(tracker)
        assert tracker.callback_pending
        assert "The halt callback raised Hostile: <no text: its __str__ raised>." in caplog.text

    def test_a_hostile_result(self) -> None:
        """A result that cannot be looked at counts as raised."""

        class Hostile:
            @property  # type: ignore[misc]
            def __class__(self) -> Any:
                raise RuntimeError("no class")

        tracker = FailureTracker(halt_callback=lambda reason, failure: Hostile())
        fail(tracker)
        assert tracker.callback_pending

    def test_cancelled_counts_as_raised(self) -> None:
        """A sync callback that raises CancelledError, as a cancelled future's result does, has failed."""
        tracker = FailureTracker(halt_callback=Callback(asyncio.CancelledError()))
        fail(tracker)
        assert tracker.callback_pending


class TestInterrupts:
    @pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, GeneratorExit])
    def test_out_of_the_callback(self, clock: FakeClock, kind: type[BaseException]) -> None:
        """An interrupt passes on; trading stays halted and the callback is tried again by the next refused call."""
        callback = Callback(kind())
        tracker = FailureTracker(halt_callback=callback, clock=clock)
        fail(tracker, 2)
        with pytest.raises(kind):
            fail(tracker, 1)
        assert tracker.halt_triggered
        assert tracker.callback_pending
        refuse(tracker)
        assert len(callback.calls) == 2
        assert not tracker.callback_pending

    def test_out_of_one_of_two_callbacks(self, clock: FakeClock) -> None:
        """An interrupt out of one tracker's callback does not keep the other's from running."""
        manager, other = EmergencyHaltManager(clock=clock), Callback()
        one = FailureTracker(halt_manager=manager, halt_callback=Callback(KeyboardInterrupt()))
        two = FailureTracker(halt_manager=manager, halt_callback=other)
        with pytest.raises(KeyboardInterrupt):
            manager.trigger_halt("drill")
        assert (len(other.calls), one.callback_pending, two.callback_pending) == (1, True, False)

    def test_out_of_a_retry(self, clock: FakeClock) -> None:
        """An interrupt out of a second attempt leaves the failure told, and the other halts' callbacks to be tried."""
        callback = Callback(OSError("down"), OSError("down"), KeyboardInterrupt())
        tracker = FailureTracker(halt_callback=callback, clock=clock)
        tracker.halt_manager.trigger_halt("bad data", symbol="AAPL")
        tracker.halt_manager.trigger_halt("bad model", strategy="VWAP")
        events = heard_by(tracker)
        with pytest.raises(KeyboardInterrupt):
            fail(tracker, 1)
        assert len(events.of(SignalFailed)) == 1
        clock.advance(timedelta(seconds=1))
        refuse(tracker)
        assert [reason for reason, _ in callback.calls[3:]] == ["bad data", "bad model"]
        assert not tracker.callback_pending

    @pytest.mark.parametrize("interrupted", [SignalFailed, HaltTriggered])
    def test_out_of_a_listener(self, interrupted: type[Event]) -> None:
        """A listener that ends the process does not keep the callback from cancelling orders."""
        callback = Callback()
        tracker = FailureTracker(halt_callback=callback)
        fail(tracker, 2)

        def stop(event: Event) -> None:
            if isinstance(event, interrupted):
                raise SystemExit(1)

        tracker.subscribe(stop)
        with pytest.raises(SystemExit):
            fail(tracker, 1)
        assert tracker.halt_triggered
        assert len(callback.calls) == 1

    def test_out_of_a_listener_with_an_async_callback(self) -> None:
        """An async callback runs to completion before the interrupt passes on."""
        callback = AsyncCallback()
        tracker = FailureTracker(halt_callback=callback)
        fail(tracker, 2)

        def stop(event: Event) -> None:
            raise KeyboardInterrupt

        tracker.subscribe(stop)
        with pytest.raises(KeyboardInterrupt):
            fail(tracker, 1)
        assert callback.finished == 1
        assert not tracker.callback_pending

    def test_out_of_an_async_callback(self, clock: FakeClock) -> None:
        """An interrupt out of an async callback that runs to completion passes on, and it is tried again."""
        callback = AsyncCallback(KeyboardInterrupt())
        tracker = FailureTracker(halt_callback=callback, clock=clock)
        fail(tracker, 2)
        with pytest.raises(KeyboardInterrupt):
            fail(tracker, 1)
        assert tracker.callback_pending
        refuse(tracker)
        assert not tracker.callback_pending


class TestAsync:
    def test_awaited_in_an_async_guard(self) -> None:
        """When an async guarded call returns, the callback has run."""
        callback = AsyncCallback()
        tracker = FailureTracker(halt_callback=callback)
        asyncio.run(fail_async(tracker))
        assert callback.finished == 1
        assert not tracker.callback_pending

    def test_awaited_in_an_async_block(self) -> None:
        """When an async block ends, or is refused, the callback has run."""
        callback = AsyncCallback(OSError("down"))
        tracker = FailureTracker(halt_callback=callback)

        async def trade() -> None:
            for _ in range(3):
                async with track_signal("VWAP", "AAPL", tracker=tracker):
                    raise ValueError("bad bar")
            assert tracker.callback_pending
            with pytest.raises(Exception, match="trading is halted"):
                async with track_signal("VWAP", "AAPL", tracker=tracker):
                    pass
            assert not tracker.callback_pending

        asyncio.run(trade())

    def test_tried_again_by_a_refused_async_call(self, clock: FakeClock) -> None:
        """A refused async call awaits the next attempt."""
        callback = AsyncCallback(OSError("down"))
        tracker = FailureTracker(halt_callback=callback, clock=clock)

        async def trade() -> None:
            await fail_async(tracker)
            assert tracker.callback_pending
            await fail_async(tracker, 1)
            assert not tracker.callback_pending

        asyncio.run(trade())
        assert callback.finished == 1

    def test_scheduled_from_a_sync_guard(self) -> None:
        """A sync guard inside a running loop schedules the callback there and does not wait for it."""
        callback = AsyncCallback()
        tracker = FailureTracker(halt_callback=callback)

        async def trade() -> None:
            fail(tracker)
            assert callback.calls == []
            assert tracker.callback_pending
            await asyncio.gather(*(asyncio.all_tasks() - {asyncio.current_task()}))
            assert not tracker.callback_pending

        asyncio.run(trade())
        assert callback.finished == 1

    def test_run_to_completion_where_there_is_no_loop(self) -> None:
        """Without a loop the callback has run when the failing call returns; the thread's own loop is left alone."""
        callback = AsyncCallback()
        tracker = FailureTracker(halt_callback=callback)
        mine = asyncio.new_event_loop()
        asyncio.set_event_loop(mine)
        try:
            fail(tracker)
            assert asyncio.get_event_loop() is mine
            assert not mine.is_closed()
        finally:
            asyncio.set_event_loop(None)
            mine.close()
        assert callback.finished == 1

    def test_a_kill_switch_runs_it_too(self) -> None:
        """trigger_halt runs an async callback to completion."""
        callback = AsyncCallback()
        tracker = FailureTracker(halt_callback=callback)
        tracker.halt_manager.trigger_halt("drill")
        assert callback.finished == 1

    def test_a_plain_function_that_returns_an_awaitable(self) -> None:
        """What a plain callback returns is awaited, if it can be."""
        callback = AsyncCallback()

        def on_halt(reason: str, failure: SignalGenerationFailure) -> Awaitable[None]:
            return callback(reason, failure)

        fail(FailureTracker(halt_callback=on_halt))
        assert callback.finished == 1

    def test_raising(self, clock: FakeClock) -> None:
        """An async callback that raises leaves the outcome as it is and is tried again."""
        callback = AsyncCallback(OSError("down"))
        tracker = FailureTracker(halt_callback=callback, clock=clock)
        events = heard_by(tracker)
        fail(tracker)
        (failed,) = events.of(HaltCallbackFailed)
        assert str(failed.error) == "down"
        assert failed.error.__context__ is None
        refuse(tracker)
        assert callback.finished == 1
        assert not tracker.callback_pending

    @pytest.mark.parametrize("fails", ["sync, no loop", "sync, in a loop", "async"])
    def test_cancelled_counts_as_raised(self, fails: str) -> None:
        """A callback that is cancelled has failed; the guarded call is not cancelled."""
        tracker = FailureTracker(halt_callback=AsyncCallback(asyncio.CancelledError()))
        events = heard_by(tracker)

        async def trade() -> str:
            if fails == "async":
                await fail_async(tracker)
            else:
                fail(tracker)
                await asyncio.gather(*(asyncio.all_tasks() - {asyncio.current_task()}))
            return "not cancelled"

        if fails == "sync, no loop":
            fail(tracker)
        else:
            assert asyncio.run(trade()) == "not cancelled"
        (failed,) = events.of(HaltCallbackFailed)
        assert isinstance(failed.error, asyncio.CancelledError)
        assert tracker.callback_pending

    @pytest.mark.parametrize("as_coroutine", [True, False])
    @pytest.mark.parametrize("steps", [0, 1])
    def test_a_scheduled_callback_that_is_cancelled(self, steps: int, as_coroutine: bool, clock: FakeClock) -> None:
        """A task that is cancelled, be it before its first step, leaves the callback to be tried again."""
        callback = AsyncCallback()

        class Waiting:
            def __await__(self) -> Generator[Any, None, None]:
                return callback("", failure).__await__()

        failure = SignalGenerationFailure("VWAP", "AAPL", "bad bar", "data_error", clock.now())

        def on_halt(reason: str, failure: SignalGenerationFailure) -> Awaitable[None]:
            return callback(reason, failure) if as_coroutine else Waiting()

        tracker = FailureTracker(halt_callback=on_halt, clock=clock)
        events = heard_by(tracker)

        async def trade() -> None:
            fail(tracker)
            (task,) = asyncio.all_tasks() - {asyncio.current_task()}
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
            await asyncio.sleep(0)

        asyncio.run(trade())
        (failed,) = events.of(HaltCallbackFailed)
        assert isinstance(failed.error, asyncio.CancelledError)
        assert tracker.callback_pending
        refuse(tracker)
        assert callback.finished == 1
        assert not tracker.callback_pending

    def test_the_hosts_own_cancellation_passes_through(self) -> None:
        """A task that is cancelled while it awaits the callback is cancelled, and the callback has failed."""
        started = asyncio.Event()

        async def on_halt(reason: str, failure: SignalGenerationFailure) -> None:
            started.set()
            await asyncio.Event().wait()

        tracker = FailureTracker(halt_callback=on_halt)

        async def trade() -> None:
            task = asyncio.create_task(fail_async(tracker))
            await started.wait()
            task.cancel()
            await asyncio.wait([task])
            assert task.cancelled()

        asyncio.run(trade())
        assert tracker.halt_triggered
        assert tracker.callback_pending

    def test_the_hosts_timeout_passes_through(self) -> None:
        """asyncio.timeout around a guarded call ends a callback that hangs."""

        async def on_halt(reason: str, failure: SignalGenerationFailure) -> None:
            await asyncio.Event().wait()

        tracker = FailureTracker(halt_callback=on_halt)

        async def trade() -> None:
            await fail_async(tracker, 2)
            async with asyncio.timeout(0):
                await fail_async(tracker, 1)

        with pytest.raises(TimeoutError):
            asyncio.run(trade())
        assert tracker.callback_pending

    def test_cancelled_while_several_wait(self, clock: FakeClock) -> None:
        """When the host cancels the call that awaits the first of two callbacks, the second one is scheduled."""
        manager, other = EmergencyHaltManager(clock=clock), AsyncCallback()
        started = asyncio.Event()

        async def hangs(reason: str, failure: SignalGenerationFailure) -> None:
            started.set()
            await asyncio.Event().wait()

        one = FailureTracker(halt_manager=manager, halt_callback=hangs)
        two = FailureTracker(halt_manager=manager, halt_callback=other)

        async def trade() -> None:
            task = asyncio.create_task(fail_async(one))
            await started.wait()
            task.cancel()
            await asyncio.wait([task])
            await asyncio.gather(*(asyncio.all_tasks() - {asyncio.current_task()}))

        asyncio.run(trade())
        assert other.finished == 1
        assert (one.callback_pending, two.callback_pending) == (True, False)

    def test_an_abandoned_call(self) -> None:
        """A coroutine that is closed while it awaits the callback leaves it to be tried again."""

        class Suspended:
            def __await__(self) -> Generator[None, None, None]:
                yield

        tracker = FailureTracker(halt_callback=lambda reason, failure: Suspended())
        fail_all = fail_async(tracker)
        fail_all.send(None)
        fail_all.close()
        assert tracker.callback_pending

    def test_no_loop_to_be_had(self, clock: FakeClock) -> None:
        """Where no event loop can be made, as when too many files are open, the callback has failed."""

        class NoLoops(asyncio.DefaultEventLoopPolicy):
            def new_event_loop(self) -> asyncio.AbstractEventLoop:
                raise OSError(24, "Too many open files")

        callback = AsyncCallback()
        tracker = FailureTracker(halt_callback=callback, clock=clock)
        events = heard_by(tracker)
        asyncio.set_event_loop_policy(NoLoops())
        try:
            fail(tracker)
        finally:
            asyncio.set_event_loop_policy(None)
        (failed,) = events.of(HaltCallbackFailed)
        assert isinstance(failed.error, OSError)
        refuse(tracker)
        assert callback.finished == 1

    def test_a_loop_that_cannot_be_closed(self, caplog: pytest.LogCaptureFixture) -> None:
        """What a loop raises when it is closed, after the callback ran, is reported and not raised."""

        class Stubborn(asyncio.SelectorEventLoop):
            def close(self) -> None:
                super().close()
                raise OSError(9, "Bad file descriptor")

        class StubbornLoops(asyncio.DefaultEventLoopPolicy):
            def new_event_loop(self) -> asyncio.AbstractEventLoop:
                return Stubborn()

        callback = AsyncCallback()
        tracker = FailureTracker(halt_callback=callback)
        asyncio.set_event_loop_policy(StubbornLoops())
        try:
            fail(tracker)
        finally:
            asyncio.set_event_loop_policy(None)
        assert callback.finished == 1
        assert not tracker.callback_pending
        assert "the event loop of a halt callback raised after it had run: OSError: [Errno 9]" in caplog.text

    def test_a_loop_that_takes_no_task(self, clock: FakeClock) -> None:
        """Where the running loop's task factory raises, the callback has failed and the caller is not told."""
        callback = AsyncCallback()
        tracker = FailureTracker(halt_callback=callback, clock=clock)

        def no_tasks(loop: asyncio.AbstractEventLoop, coroutine: Any, **_: Any) -> Any:
            raise RuntimeError("shutting down")

        async def trade() -> None:
            loop = asyncio.get_running_loop()
            loop.set_task_factory(no_tasks)
            fail(tracker)
            loop.set_task_factory(None)

        asyncio.run(trade())
        assert tracker.callback_pending
        refuse(tracker)
        assert callback.finished == 1

    def test_a_scheduled_task_is_kept(self) -> None:
        """The task of a scheduled callback is held until it is done, for a loop holds its tasks weakly."""
        waited_for: list[weakref.ref[asyncio.Future[None]]] = []

        async def on_halt(reason: str, failure: SignalGenerationFailure) -> None:
            answer = asyncio.get_running_loop().create_future()
            waited_for.append(weakref.ref(answer))
            await answer

        tracker = FailureTracker(halt_callback=on_halt)

        async def trade() -> None:
            fail(tracker)
            await asyncio.sleep(0)
            gc.collect()
            answer = waited_for[0]()
            assert answer is not None
            answer.set_result(None)
            await asyncio.gather(*(asyncio.all_tasks() - {asyncio.current_task()}))

        asyncio.run(trade())
        assert not tracker.callback_pending
