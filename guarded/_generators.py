"""The guards around generators: each step is guarded by itself."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from guarded import _mode, _shared
from guarded._course import Course, enter, leave

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable, Generator

    from guarded._guard import Guard
    from guarded._outcome import Outcome
    from guarded._tracker import FailureTracker

    Begin = Callable[..., Generator[Any, Any, Any]]
    AsyncBegin = Callable[..., AsyncGenerator[Any, Any]]
    Resume = Callable[..., Awaitable[Any]]


def guard_generator(guard: Guard) -> Begin:
    """The guarded form of what returns a generator."""
    return steps(guard, guard.function)


def guard_async_generator(guard: Guard) -> AsyncBegin:
    """The guarded form of what returns an asynchronous generator."""
    return async_steps(guard, guard.function)


def steps(guard: Guard, begin: Begin) -> Begin:
    """A generator function that takes the steps of the generator which `begin` makes."""
    own, long_way = guard.tracker, guard.goes_the_long_way

    def guarded(*args: Any, **kwargs: Any) -> Generator[Any, Any, Any]:
        __tracebackhide__ = True
        sent: Any = None
        thrown: BaseException | None = None
        try:
            run = _Run(guard, args, kwargs)
            generator = run.begin(begin)
            send = generator.send
            while True:
                tracker = _shared.tracker if own is None else own
                pulse = tracker._pulse
                if pulse is None or long_way:
                    item = run.step(tracker, sent, thrown)
                else:
                    try:
                        item = send(sent) if thrown is None else generator.throw(thrown)
                    except Exception as error:
                        ended = run.failed(tracker, pulse, error, thrown)
                        if ended is None:
                            raise
                        return ended.value
                    if tracker._pulse is pulse and not tracker._live:
                        read_time = tracker._read_time
                        tracker._succeeded_at = read_time()
                    else:
                        guard.succeeded(tracker, pulse, args, kwargs)
                thrown = None
                try:
                    sent = yield item
                except BaseException as error:  # noqa: BLE001  # whatever the consumer throws is the generator's to take
                    sent, thrown = None, error
        except StopIteration as stop:
            return stop.value
        finally:
            del thrown  # its traceback may hold this frame

    return guarded


def async_steps(guard: Guard, begin: AsyncBegin) -> AsyncBegin:
    """The same for an asynchronous generator."""
    own, long_way = guard.tracker, guard.goes_the_long_way

    async def guarded(*args: Any, **kwargs: Any) -> AsyncGenerator[Any, Any]:
        __tracebackhide__ = True
        given: Any = None
        thrown: BaseException | None = None
        try:
            run = _AsyncRun(guard, args, kwargs)
            generator = await run.begin(begin)
            resume: Resume = run.first_step
            while True:
                tracker = _shared.tracker if own is None else own
                pulse = tracker._pulse
                if pulse is None or long_way:
                    item = await run.step(tracker, resume, given, thrown)
                else:
                    course = Course()
                    token = enter(course, tracker)
                    try:
                        item = await resume(given)
                    except Exception as error:
                        ended = await run.failed(tracker, pulse, error, thrown, course)
                        if ended is None:
                            raise
                        return
                    finally:
                        leave(course, token)
                    if tracker._pulse is pulse and not tracker._live:
                        read_time = tracker._read_time
                        tracker._succeeded_at = read_time()
                    else:
                        guard.succeeded_async(tracker, course, args, kwargs)
                try:
                    given = yield item
                except BaseException as error:  # noqa: BLE001  # whatever the consumer throws is the generator's to take
                    given = thrown = error
                    resume = generator.athrow
                else:
                    thrown = None
                    resume = generator.asend
        except StopAsyncIteration:
            return
        finally:
            del given, thrown  # its traceback may hold this frame

    return guarded


class _Run:
    """One run of a guarded generator: the long way of its steps, with halts, mode and validation looked at.

    The end of the iteration is raised as `StopIteration`: the generator has returned, or failed, or was refused and
    closed.
    """

    __slots__ = ("args", "generator", "guard", "is_part", "kwargs")

    generator: Generator[Any, Any, Any]

    def __init__(self, guard: Guard, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.guard = guard
        self.args = args
        self.kwargs = kwargs
        self.is_part = guard.is_part(args)

    def begin(self, begin: Begin) -> Generator[Any, Any, Any]:
        """Make the generator; wrong arguments are a failure."""
        __tracebackhide__ = True
        tracker = self.guard.current_tracker()
        since = tracker._sequence
        try:
            self.generator = begin(*self.args, **self.kwargs)
        except Exception as error:
            ended = None if self._runs_bare() else self.failed(tracker, since, error, None)
            if ended is None:
                raise
            raise StopIteration(ended.value) from None
        return self.generator

    def step(self, tracker: FailureTracker, sent: Any, thrown: BaseException | None) -> Any:
        """One step.

        What the consumer throws in, `close()` among it, reaches the generator although trading is halted, for it may
        have to clean up; what it yields then is withheld.
        """
        __tracebackhide__ = True
        if self._runs_bare():
            return self._resumed(sent, thrown)
        if thrown is None:
            self._stop_if_halted(tracker)
        since = tracker._sequence
        try:
            item = self._resumed(sent, thrown)
            self.guard.check(item)
        except Exception as error:
            ended = self.failed(tracker, since, error, thrown)
            self._close(tracker)
            if ended is None:
                raise
            raise StopIteration(ended.value) from None
        if thrown is not None:
            self._stop_if_halted(tracker)
        self.guard.succeeded(tracker, since, self.args, self.kwargs)
        return item

    def failed(
        self, tracker: FailureTracker, since: int, error: Exception, thrown: BaseException | None
    ) -> Outcome[Any] | None:
        """What a step that raised ends in; None: the exception goes on."""
        if isinstance(error, StopIteration) or _is_the_consumers(error, thrown):
            return None
        return self.guard.failed(tracker, since, error, self.args, self.kwargs)

    def _runs_bare(self) -> bool:
        """Whether the generator runs as if it were not guarded: its guard is off, or another one's is around it."""
        return self.is_part or _mode.current == "off"

    def _resumed(self, sent: Any, thrown: BaseException | None) -> Any:
        __tracebackhide__ = True
        return self.generator.send(sent) if thrown is None else self.generator.throw(thrown)

    def _stop_if_halted(self, tracker: FailureTracker) -> None:
        __tracebackhide__ = True
        halt = self.guard.refusal(tracker, self.args, self.kwargs)
        if halt is not None:
            refused = self.guard.refuse(tracker, halt, self.args, self.kwargs)
            self._close(tracker)
            raise StopIteration(refused.value)

    def _close(self, tracker: FailureTracker) -> None:
        """Close a generator that takes no more steps; what its cleaning up raises is a failure, too."""
        __tracebackhide__ = True
        since = tracker._sequence
        try:
            self.generator.close()
        except Exception as error:
            if self.failed(tracker, since, error, None) is None:
                raise


class _AsyncRun:
    """The same for an asynchronous generator; the end of the iteration is `StopAsyncIteration`."""

    __slots__ = ("args", "generator", "guard", "is_part", "kwargs")

    generator: AsyncGenerator[Any, Any]

    def __init__(self, guard: Guard, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        self.guard = guard
        self.args = args
        self.kwargs = kwargs
        self.is_part = guard.is_part(args)

    async def begin(self, begin: AsyncBegin) -> AsyncGenerator[Any, Any]:
        """Make the generator; wrong arguments are a failure."""
        __tracebackhide__ = True
        tracker = self.guard.current_tracker()
        since = tracker._sequence
        try:
            self.generator = begin(*self.args, **self.kwargs)
        except Exception as error:
            if self._runs_bare() or await self.failed(tracker, since, error, None, Course()) is None:
                raise
            raise StopAsyncIteration from None
        return self.generator

    def first_step(self, given: Any) -> Awaitable[Any]:
        """Take the first step, at which a generator asks for its loop.

        The loop closes the guarded generator, which closes this one: it must not do so itself, at the same time.
        """
        hooks = sys.get_asyncgen_hooks()
        sys.set_asyncgen_hooks(firstiter=None, finalizer=_left_to_the_guarded_one)
        try:
            return self.generator.asend(given)
        finally:
            sys.set_asyncgen_hooks(*hooks)

    async def step(self, tracker: FailureTracker, resume: Resume, given: Any, thrown: BaseException | None) -> Any:
        """One step."""
        __tracebackhide__ = True
        if self._runs_bare():
            return await resume(given)
        if thrown is None:
            await self._stop_if_halted(tracker)
        since = tracker._sequence
        course = Course()
        token = enter(course, tracker)
        try:
            item = await resume(given)
            self.guard.check(item)
        except Exception as error:
            ended = await self.failed(tracker, since, error, thrown, course)
            await self._close(tracker)
            if ended is None:
                raise
            raise StopAsyncIteration from None
        finally:
            leave(course, token)
        if thrown is not None:
            await self._stop_if_halted(tracker)
        self.guard.succeeded_async(tracker, course, self.args, self.kwargs)
        return item

    async def failed(
        self, tracker: FailureTracker, since: int, error: Exception, thrown: BaseException | None, course: Course
    ) -> Outcome[Any] | None:
        """What a step that raised ends in; None: the exception goes on."""
        if isinstance(error, StopAsyncIteration) or _is_the_consumers(error, thrown):
            return None
        return await self.guard.failed_async(tracker, since, error, course, self.args, self.kwargs)

    def _runs_bare(self) -> bool:
        """Whether the generator runs as if it were not guarded: its guard is off, or another one's is around it."""
        return self.is_part or _mode.current == "off"

    async def _stop_if_halted(self, tracker: FailureTracker) -> None:
        __tracebackhide__ = True
        halt = self.guard.refusal(tracker, self.args, self.kwargs)
        if halt is not None:
            await self.guard.refuse_async(tracker, halt, self.args, self.kwargs)
            await self._close(tracker)
            raise StopAsyncIteration

    async def _close(self, tracker: FailureTracker) -> None:
        """Close a generator that takes no more steps; what its cleaning up raises is a failure, too."""
        __tracebackhide__ = True
        since = tracker._sequence
        course = Course()
        token = enter(course, tracker)
        try:
            await self.generator.aclose()
        except Exception as error:
            if await self.failed(tracker, since, error, None, course) is None:
                raise
        finally:
            leave(course, token)


def _left_to_the_guarded_one(_generator: object) -> None:
    """Nothing: what the interpreter calls when a generator within a guarded one is collected together with it."""


def _is_the_consumers(error: Exception, thrown: BaseException | None) -> bool:
    """Whether it is what the consumer threw in; Python wraps the end of an iteration in a RuntimeError."""
    if thrown is None:
        return False
    return error is thrown or (isinstance(thrown, StopIteration | StopAsyncIteration) and error.__cause__ is thrown)
