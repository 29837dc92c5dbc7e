"""Listeners: who hears what, in which order, and what becomes of one that raises."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest

from guarded import (
    EmergencyHaltManager,
    Event,
    FailureTracker,
    HaltTriggered,
    InvalidConfiguration,
    Scope,
    SignalFailed,
    SignalRecovered,
    SignalRefused,
    TradingResumed,
    guarded_signal,
)

LONG_ENOUGH = 30.0
"""Seconds after which a thread that has not come back is taken to be in a deadlock."""


def fail(tracker: FailureTracker, times: int = 1, error: str = "bad bar") -> None:
    for _ in range(times):
        tracker.record_failure("VWAP", "AAPL", ValueError(error))


def named(event: Event) -> str:
    """A failure by its message, any other event by its kind."""
    return event.failure.error_message if isinstance(event, SignalFailed) else type(event).__name__


class Listener:
    """A listener that notes what it hears under its name."""

    def __init__(self, notes: list[str], name: str = "") -> None:
        self.notes = notes
        self.name = name

    def __call__(self, event: Event) -> None:
        self.notes.append(f"{self.name}{named(event)}")


class TestWhatIsHeard:
    def test_one_event_for_each_thing_that_happens(self, tracker: FailureTracker) -> None:
        """Failures, recoveries, halts, refusals and resumes are told, each with what it is about."""
        heard: list[Event] = []
        tracker.subscribe(heard.append)
        fail(tracker, 2)
        tracker.record_success("VWAP", "AAPL")
        tracker.record_success("VWAP", "AAPL")
        fail(tracker, 3)
        guarded_signal(strategy="RSI", symbol="MSFT")(lambda: "long")()
        (halt,) = tracker.halts
        tracker.resume(by="ana", reason="feed is back")
        failures = iter(tracker.failure_history)
        assert heard == [
            SignalFailed(next(failures), 1, 3),
            SignalFailed(next(failures), 2, 3),
            SignalRecovered(Scope("VWAP", "AAPL"), 2),
            SignalFailed(next(failures), 1, 3),
            SignalFailed(next(failures), 2, 3),
            SignalFailed(next(failures), 3, 3),
            HaltTriggered(halt, halt.failure),
            SignalRefused(Scope("RSI", "MSFT"), halt),
            TradingResumed(tracker.halt_manager.history[0], "ana", "feed is back"),
        ]

    def test_after_the_state_has_changed(self, tracker: FailureTracker) -> None:
        """A listener finds counts and latch as they are after the event."""
        seen: list[tuple[str, int, bool]] = []
        tracker.subscribe(lambda event: seen.append((named(event), tracker.total_failures, tracker.halt_triggered)))
        fail(tracker, 3)
        tracker.resume(by="ana", reason="feed is back")
        assert seen == [
            ("bad bar", 1, False),
            ("bad bar", 2, False),
            ("bad bar", 3, True),
            ("HaltTriggered", 3, True),
            ("TradingResumed", 3, False),
        ]

    def test_in_the_order_of_subscription(self, tracker: FailureTracker) -> None:
        """Each event reaches the listeners in the order in which they subscribed, and all before the next event."""
        notes: list[str] = []
        for name in ("a ", "b "):
            tracker.subscribe(Listener(notes, name))
        fail(tracker, 3)
        assert notes[-4:] == ["a bad bar", "b bad bar", "a HaltTriggered", "b HaltTriggered"]

    def test_what_a_listener_causes_comes_afterwards(self, tracker: FailureTracker) -> None:
        """An event that a listener causes reaches everybody after the one that is being told."""
        notes: list[str] = []

        def fail_again(event: Event) -> None:
            if named(event) == "first":
                fail(tracker, error="caused")
                notes.append("(recorded)")

        tracker.subscribe(Listener(notes, "a "))
        tracker.subscribe(fail_again)
        tracker.subscribe(Listener(notes, "b "))
        fail(tracker, error="first")
        assert notes == ["a first", "(recorded)", "b first", "a caused", "b caused"]

    def test_a_listener_may_resume(self, tracker: FailureTracker) -> None:
        """A listener that resumes trading at each halt does not deadlock, and everybody hears halt before resume."""
        notes: list[str] = []

        def resume(event: Event) -> None:
            if isinstance(event, HaltTriggered):
                tracker.resume(by="robot", reason="never give up")

        tracker.subscribe(resume)
        tracker.subscribe(Listener(notes))
        with ThreadPoolExecutor(1) as pool:
            pool.submit(fail, tracker, 3).result(LONG_ENOUGH)
        assert notes[-2:] == ["HaltTriggered", "TradingResumed"]
        assert not tracker.halt_triggered

    def test_no_lock_is_held(self, tracker: FailureTracker) -> None:
        """While a listener runs, another thread can record, read, subscribe and resume."""

        def use_everything() -> None:
            fail(tracker)
            tracker.record_success("VWAP", "AAPL")
            tracker.get_status()
            tracker.subscribe(print)()
            tracker.halt_manager.trigger_halt("drill")
            tracker.resume(by="ana", reason="drill over")

        def from_another_thread(event: Event) -> None:
            if named(event) == "first":
                other = threading.Thread(target=use_everything)
                other.start()
                other.join(LONG_ENOUGH)
                ended.append(not other.is_alive())

        ended: list[bool] = []
        tracker.subscribe(from_another_thread)
        fail(tracker, error="first")
        assert ended == [True]

    def test_threads_do_not_wait_for_each_other(self, tracker: FailureTracker) -> None:
        """While a listener is busy with one thread's event, another thread's event is told in that thread."""
        notes: list[str] = []

        def busy(event: Event) -> None:
            if named(event) == "first":
                other = threading.Thread(target=partial(fail, tracker, error="second"))
                other.start()
                other.join(LONG_ENOUGH)
            notes.append(named(event))

        tracker.subscribe(busy)
        fail(tracker, error="first")
        assert notes == ["second", "first"]

    def test_events_without_end(self, tracker: FailureTracker, caplog: pytest.LogCaptureFixture) -> None:
        """A listener that fails at every failure is cut off after ten thousand, and that is reported."""
        caplog.set_level("WARNING", "guarded")
        before = tracker.get_status()["internal_errors"]
        heard: list[str] = []
        tracker.halt_manager.trigger_halt("drill")

        def fail_always(event: Event) -> None:
            if isinstance(event, SignalFailed):
                heard.append(event.failure.error_message)
                tracker.record_failure("VWAP", "AAPL", f"alert {len(heard)}")

        unsubscribe = tracker.subscribe(fail_always)
        fail(tracker)
        assert len(heard) == 10_001
        assert tracker.get_status()["internal_errors"] == before + 1
        assert "events are not delivered: RecursionError: listeners cause events without end" in caplog.messages
        unsubscribe()
        notes: list[str] = []
        tracker.subscribe(lambda event: fail(tracker, error="caused") if named(event) == "bad bar" else None)
        tracker.subscribe(Listener(notes))
        fail(tracker)
        assert notes == ["bad bar", "caused"]


class TestSubscribing:
    def test_from_now_on(self, tracker: FailureTracker) -> None:
        """A listener hears what happens after it subscribed, and nothing after it was taken off."""
        notes: list[str] = []
        fail(tracker, error="before")
        unsubscribe = tracker.subscribe(Listener(notes))
        fail(tracker, error="while")
        unsubscribe()
        fail(tracker, error="after")
        assert notes == ["while"]

    def test_unsubscribing_twice_is_harmless(self, tracker: FailureTracker) -> None:
        """Of a listener that subscribed twice, one unsubscribe called twice takes off one."""
        notes: list[str] = []
        listener = Listener(notes)
        first = tracker.subscribe(listener)
        tracker.subscribe(listener)
        first()
        first()
        fail(tracker)
        assert notes == ["bad bar"]

    def test_while_events_are_told(self, tracker: FailureTracker) -> None:
        """A listener that is taken off by another one hears nothing more, not even of the event that is being told."""
        notes: list[str] = []
        tracker.subscribe(lambda event: unsubscribe())
        unsubscribe = tracker.subscribe(Listener(notes))
        fail(tracker)
        assert notes == []

    def test_it_lets_go(self, tracker: FailureTracker) -> None:
        """A listener that was taken off is not kept alive."""
        listener = Listener([])
        alive = weakref.ref(listener)
        unsubscribe = tracker.subscribe(listener)
        unsubscribe()
        del listener, unsubscribe
        gc.collect()
        assert alive() is None

    @pytest.mark.parametrize("listener", [None, "log", lambda: None, lambda event, failure: None])
    def test_what_cannot_be_called_with_an_event(self, tracker: FailureTracker, listener: Any) -> None:
        """What cannot be called with one event is refused at once."""
        with pytest.raises(InvalidConfiguration, match=r"listener=.*expected a function of \(event\)"):
            tracker.subscribe(listener)

    def test_what_would_never_run(self, tracker: FailureTracker) -> None:
        """Async functions and generators would only make an object that nobody runs, so they are refused."""

        async def coroutine(event: Event) -> None: ...

        def generator(event: Event) -> Iterator[None]:
            yield

        class AsyncCall:
            async def __call__(self, event: Event) -> None: ...

        for listener in (coroutine, partial(coroutine), AsyncCall()):
            with pytest.raises(InvalidConfiguration, match="is async, but listeners are called, not awaited"):
                tracker.subscribe(listener)
        with pytest.raises(InvalidConfiguration, match="without yield"):
            tracker.subscribe(generator)


class TestRaising:
    @pytest.mark.parametrize("error", [ValueError("mail is down"), asyncio.CancelledError("mail is down")])
    def test_the_others_are_told(
        self, tracker: FailureTracker, caplog: pytest.LogCaptureFixture, error: BaseException
    ) -> None:
        """A listener that raises is logged by its name, and disturbs neither the other listeners nor the caller."""
        notes: list[str] = []

        def send_mail(event: Event) -> None:
            raise error

        tracker.subscribe(Listener(notes, "a "))
        tracker.subscribe(send_mail)
        tracker.subscribe(Listener(notes, "b "))
        before = tracker.get_status()["internal_errors"]
        fail(tracker, 3)
        assert notes[-4:] == ["a bad bar", "b bad bar", "a HaltTriggered", "b HaltTriggered"]
        assert tracker.halt_triggered
        assert tracker.get_status()["internal_errors"] == before + 4
        assert f"send_mail raised at SignalFailed; the others are told: {type(error).__name__}: mail" in caplog.text

    def test_a_hostile_listener(self, tracker: FailureTracker, caplog: pytest.LogCaptureFixture) -> None:
        """A listener whose __repr__ raises, or holds secrets, is logged by its kind alone."""

        class Hostile:
            def __repr__(self) -> str:
                raise RuntimeError("token=0123456789abcdef")

            def __call__(self, event: Event) -> None:
                raise ValueError("POST /hook?token=0123456789abcdef")

        tracker.subscribe(Hostile())
        tracker.subscribe(partial(Hostile()))
        fail(tracker)
        assert "Hostile raised at SignalFailed; the others are told: ValueError: POST /hook?token=***" in caplog.text
        assert "0123456789abcdef" not in caplog.text

    @pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit])
    def test_an_interrupt_passes_on_once_all_are_told(self, tracker: FailureTracker, kind: type[BaseException]) -> None:
        """An interrupt out of a listener reaches the caller after everybody has heard everything, the halt included."""
        notes: list[str] = []

        def interrupt(event: Event) -> None:
            raise kind(named(event))

        fail(tracker, 2)
        tracker.subscribe(Listener(notes, "a "))
        tracker.subscribe(interrupt)
        tracker.subscribe(Listener(notes, "b "))
        with pytest.raises(kind, match="bad bar"):
            fail(tracker)
        assert notes == ["a bad bar", "b bad bar", "a HaltTriggered", "b HaltTriggered"]
        assert tracker.halt_triggered

    def test_an_interrupt_and_other_trackers(self) -> None:
        """An interrupt out of one tracker's listener does not keep a halt or a resume from another tracker's."""
        manager = EmergencyHaltManager()
        one, two = FailureTracker(halt_manager=manager), FailureTracker(halt_manager=manager)
        notes: list[str] = []

        def interrupt(event: Event) -> None:
            raise KeyboardInterrupt

        one.subscribe(interrupt)
        two.subscribe(Listener(notes))
        with pytest.raises(KeyboardInterrupt):
            manager.trigger_halt("drill")
        with pytest.raises(KeyboardInterrupt):
            manager.resume_trading(by="ana", reason="drill over")
        assert notes == ["HaltTriggered", "TradingResumed"]
        assert not manager.is_halted()

    def test_events_are_told_again_after_an_interrupt(self, tracker: FailureTracker) -> None:
        """An interrupt leaves nothing behind that would keep later events back."""
        notes: list[str] = []

        def interrupt(event: Event) -> None:
            if named(event) == "first":
                raise KeyboardInterrupt

        tracker.subscribe(interrupt)
        tracker.subscribe(Listener(notes))
        with pytest.raises(KeyboardInterrupt):
            fail(tracker, error="first")
        fail(tracker, error="second")
        assert notes == ["first", "second"]


class TestLiveException:
    @pytest.mark.parametrize("how", ["by hand", "by a guard"])
    def test_live_while_listeners_run(self, tracker: FailureTracker, how: str) -> None:
        """SignalFailed.error is the exception itself for every listener, and None afterwards."""
        error = ValueError("bad bar")
        seen: list[tuple[Event, BaseException | None]] = []

        def look(event: Event) -> None:
            assert isinstance(event, SignalFailed)
            seen.append((event, event.error))

        def raises() -> None:
            raise error

        tracker.subscribe(look)
        tracker.subscribe(look)
        fail_now: Callable[[], object] = guarded_signal(raises)
        if how == "by hand":
            tracker.record_failure("VWAP", "AAPL", error)
        else:
            fail_now()
        assert [live for _, live in seen] == [error, error]
        assert [event.error for event, _ in seen if isinstance(event, SignalFailed)] == [None, None]

    def test_dropped_after_an_interrupt_too(self, tracker: FailureTracker) -> None:
        """An interrupt out of a listener does not keep the exception alive."""
        heard: list[SignalFailed] = []

        def interrupt(event: Event) -> None:
            assert isinstance(event, SignalFailed)
            heard.append(event)
            raise KeyboardInterrupt

        tracker.subscribe(interrupt)
        with pytest.raises(KeyboardInterrupt):
            fail(tracker)
        assert heard[0].error is None

    def test_a_text_has_none(self, tracker: FailureTracker) -> None:
        """A failure that was recorded as a text has no exception."""
        seen: list[Event] = []
        tracker.subscribe(lambda event: seen.append(event) if event.error is None else None)  # type: ignore[union-attr]
        tracker.record_failure("VWAP", "AAPL", "order rejected")
        assert len(seen) == 1
