"""HaltCallback: runs the halt callback once per episode, and again after it raised."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from guarded import _faults
from guarded._checks import checked_function
from guarded._events import Event, HaltCallbackFailed
from guarded._locks import ForkSafeLock

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from guarded._clock import Clock
    from guarded._failure import SignalGenerationFailure
    from guarded._halt import HaltRecord

Function = Callable[[str, "SignalGenerationFailure"], object]
"""`halt_callback(reason, failure)`; it may be an `async def`."""

WAITS = (0.0, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0)
"""Seconds from an attempt that raised to the next one; the last of them stays."""

_scheduled: set[asyncio.Task[None]] = set()  # a loop holds its tasks weakly


class Episodes(Protocol):
    """Who knows of the episodes that a callback is run for."""

    def in_force(self, halt: HaltRecord) -> bool:
        """Whether a halt's episode is still under way; one that is over is not tried again."""

    def settled(self, halt: HaltRecord) -> None:
        """Hear that a callback has run to its end."""


@dataclass(slots=True, eq=False)
class _Attempt:
    """The state of the callback in one episode."""

    halt: HaltRecord
    begun: bool = False
    running: bool = True
    loop: asyncio.AbstractEventLoop | None = None
    raised: int = 0
    due: float = 0.0


class HaltCallback:
    """The halt callback of one tracker.

    An attempt that raised is made again by `retry`: the first time at once, then after 1 s, doubling to 60 s.

    Args:
        function: The user's callback, or None.
        clock: Measures the waits.
        episodes: Who knows of the episodes.
        tell: Tells the listeners, of each attempt that raised.

    Raises:
        InvalidConfiguration: The function cannot be called with a reason and a failure.
    """

    def __init__(
        self,
        function: Function | None,
        clock: Clock,
        episodes: Episodes,
        tell: Callable[[Iterable[Event]], None],
    ) -> None:
        if function is not None:
            checked_function(function, ("reason", "failure"), "halt_callback")
        self.function = function
        self._clock = clock
        self._episodes = episodes
        self._tell = tell
        self._lock = ForkSafeLock()
        self._attempts: dict[str, _Attempt] = {}

    @property
    def pending(self) -> bool:
        """Whether the callback of some halt in force has not succeeded yet."""
        return any(self._episodes.in_force(attempt.halt) for attempt in self._unsuccessful())

    def expect(self, halt: HaltRecord) -> None:
        """Know that the callback is to be run for a new episode, before any callback is."""
        if self.function is not None:
            with self._lock:
                self._attempts.setdefault(halt.episode, _Attempt(halt))

    def expects(self, halt: HaltRecord) -> bool:
        """Whether the callback has not run to its end for an episode that it was expected for."""
        return halt.episode in self._attempts

    def start(self, halt: HaltRecord) -> list[Unfinished]:
        """Run the callback for an episode that it is expected for.

        Returns:
            What is left to await if the callback is asynchronous.
        """
        with self._lock:
            attempt = self._attempts.get(halt.episode)
            if attempt is None or attempt.begun or self.function is None:
                return []
            attempt.begun = True
        attempt.loop = _running_loop()
        return self._run(self.function, attempt)

    def forget(self) -> None:
        """Expect nothing any more."""
        with self._lock:
            self._attempts.clear()

    def retry(self) -> list[Unfinished]:
        """Run the callback again for each episode in which it raised and whose wait is over."""
        unfinished: list[Unfinished] = []
        if self.function is not None and self._attempts:
            now = self._clock.monotonic()
            with Finishing(unfinished):
                for attempt in self._unsuccessful():
                    if self._take(attempt, now):
                        unfinished += self._run(self.function, attempt)
        return unfinished

    def _unsuccessful(self) -> list[_Attempt]:
        with self._lock:
            return list(self._attempts.values())

    def _take(self, attempt: _Attempt, now: float) -> bool:
        """Whether the attempt is this thread's to run."""
        if not self._episodes.in_force(attempt.halt):
            self._forget(attempt)
            return False
        with self._lock:
            if attempt.running or attempt.due > now:
                return False
            attempt.running = True
            return True

    def _forget(self, attempt: _Attempt) -> None:
        with self._lock:
            self._attempts.pop(attempt.halt.episode, None)

    def _run(self, function: Function, attempt: _Attempt) -> list[Unfinished]:
        try:
            result = function(attempt.halt.reason, attempt.halt.failure)
            left = [Unfinished(self, attempt, result)] if inspect.isawaitable(result) else []
        except BaseException as error:
            self._raised(attempt, error)
            if isinstance(error, Exception | asyncio.CancelledError):  # nobody cancels code that does not await
                return []
            raise
        if not left:
            self._succeeded(attempt)
        return left

    def _succeeded(self, attempt: _Attempt) -> None:
        self._forget(attempt)
        self._episodes.settled(attempt.halt)

    def _raised(self, attempt: _Attempt, error: BaseException) -> None:
        now = self._clock.monotonic()
        with self._lock:
            attempt.due = now + WAITS[min(attempt.raised, len(WAITS) - 1)]
            attempt.raised += 1
            attempt.running = False
        self._tell([HaltCallbackFailed(attempt.halt, error)])


@dataclass(slots=True, eq=False)
class Unfinished:
    """A call of an asynchronous callback that is still to be awaited: by `wait` in async code, else by `finish`."""

    _callback: HaltCallback
    _attempt: _Attempt
    _result: Awaitable[object]
    _begun: bool = False

    async def wait(self) -> None:
        """Await the callback; what it raises counts, and only a cancellation of the caller itself passes on."""
        self._begun = True
        try:
            await self._result
        except BaseException as error:
            self._callback._raised(self._attempt, error)  # two halves of one thing
            if not isinstance(error, Exception | asyncio.CancelledError) or _caller_is_cancelled():
                raise
        else:
            self._callback._succeeded(self._attempt)  # two halves of one thing

    def finish(self) -> None:
        """Schedule the callback on the running loop; without one, run it to completion on a loop of its own."""
        loop, first = _running_loop(), self._attempt.loop
        try:
            if loop is not None:
                self._schedule(loop)
                return
            if first is not None and first.is_running():  # in another thread; what it uses belongs to that loop
                first.call_soon_threadsafe(self._schedule_here)
                return
            # asyncio.run would leave this thread without its current event loop, which some hosts rely on.
            with asyncio.Runner(loop_factory=asyncio.new_event_loop) as runner:
                runner.run(self.wait())
        except Exception as error:  # noqa: BLE001  # what loops raise, such as at too many open files
            self._lost(error)

    def _schedule_here(self) -> None:
        self._schedule(asyncio.get_running_loop())

    def _schedule(self, loop: asyncio.AbstractEventLoop) -> None:
        waiting = self.wait()
        try:
            task = loop.create_task(waiting)
        except BaseException:
            waiting.close()
            raise
        _scheduled.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[None]) -> None:
        _scheduled.discard(task)
        if not self._begun:  # cancelled before its first step
            self._lost(asyncio.CancelledError())

    def _lost(self, error: BaseException) -> None:
        if self._begun:  # the loop raised when it was closed
            _faults.report("the event loop of a halt callback raised after it had run", error)
            return
        if inspect.iscoroutine(self._result):
            self._result.close()
        self._callback._raised(self._attempt, error)


class Finishing:
    """A `with` that finishes callbacks if its block is interrupted, for then nobody will be there to await them."""

    __slots__ = ("_unfinished",)

    def __init__(self, unfinished: list[Unfinished]) -> None:
        self._unfinished = unfinished

    def __enter__(self) -> None:
        """Do nothing yet."""

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        """Finish what is in the list by now, if an exception leaves the block."""
        if error is not None:
            for callback in self._unfinished:
                callback.finish()


def finish(unfinished: Sequence[Unfinished]) -> None:
    """Run, or schedule, callbacks that sync code cannot await."""
    if not unfinished:
        return
    left = list(unfinished)
    with Finishing(left):
        while left:
            left.pop(0).finish()


async def wait(unfinished: Iterable[Unfinished]) -> None:
    """Await callbacks in async code."""
    left = list(unfinished)
    with Finishing(left):
        while left:
            await left.pop(0).wait()


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def _caller_is_cancelled() -> bool:
    task = asyncio.current_task() if _running_loop() is not None else None  # somebody drives this code by hand
    return task is not None and task.cancelling() > 0
