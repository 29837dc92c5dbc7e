"""Listeners: who is told of events, and in which order."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from guarded import _faults
from guarded._checks import checked_function
from guarded._errors import InvalidConfiguration
from guarded._events import Event, SignalFailed
from guarded._interrupts import take_all
from guarded._locks import ForkSafeLock
from guarded._templates import function_name, is_async

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

Listener = Callable[[Event], object]

MOST_CAUSED = 10_000


class Listeners:
    """The listeners of one tracker.

    Each event reaches every listener, in the order in which they subscribed, before the next event does: also when
    a listener itself makes something happen. A listener that raises is logged and does not disturb the others; an
    interrupt out of one passes on once everybody has been told.
    """

    def __init__(self, *first: Listener) -> None:
        self._subscriptions = tuple(map(_Subscription, first))
        self._lock = ForkSafeLock()
        self._delivering = _Delivering()

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Add a listener; the function returned takes it off again.

        Raises:
            InvalidConfiguration: It cannot be called with an event, or it is an `async def`.
        """
        checked_function(listener, ("event",), "listener")
        if is_async(listener):
            raise InvalidConfiguration(
                f"listener={listener!r} is async, but listeners are called, not awaited:"
                " give a plain function, which may start a task"
            )
        subscription = _Subscription(listener)
        with self._lock:
            self._subscriptions = (*self._subscriptions, subscription)

        def unsubscribe() -> None:
            subscription.ended = True
            with self._lock:
                self._subscriptions = tuple(other for other in self._subscriptions if other is not subscription)

        return unsubscribe

    def tell(self, events: Iterable[Event]) -> None:
        """Deliver events; from within a listener: after those that are being delivered."""
        events = list(events)
        told: tuple[Listener, ...] = (*self._subscriptions, _drop_error)
        deliveries = [partial(listener, event) for event in events for listener in told]
        now = self._delivering
        if now.queue is None:
            self._deliver(deque(deliveries))
        elif now.caused < MOST_CAUSED:
            now.caused += len(events)
            now.queue.extend(deliveries)
        else:
            _faults.report("events are not delivered", RecursionError("listeners cause events without end"))

    def _deliver(self, queue: deque[Callable[[], object]]) -> None:
        now = self._delivering
        now.queue, now.caused = queue, 0
        try:
            take_all(_until_empty(queue))
        finally:
            now.queue = None


class _Delivering(threading.local):
    """What this thread has left to deliver, and how many events its listeners have caused meanwhile."""

    queue: deque[Callable[[], object]] | None = None
    caused = 0


class _Subscription:
    """One subscription, told apart from another of the same listener."""

    __slots__ = ("_listener", "_name", "ended")

    def __init__(self, listener: Listener) -> None:
        self._listener = listener
        self._name = function_name(listener)  # not its repr, which may hold secrets
        self.ended = False

    def __call__(self, event: Event) -> None:
        if self.ended:
            return
        try:
            self._listener(event)
        except (Exception, asyncio.CancelledError) as error:  # noqa: BLE001  # nobody cancels code that does not await
            _faults.report(f"listener {self._name} raised at {type(event).__name__}; the others are told", error)


def _until_empty(queue: deque[Callable[[], object]]) -> Iterator[Callable[[], object]]:
    while queue:
        yield queue.popleft()


def _drop_error(event: Event) -> None:
    """Let go of the live exception, and with it of every frame's locals, once the listeners have seen it."""
    if isinstance(event, SignalFailed):
        object.__setattr__(event, "error", None)
