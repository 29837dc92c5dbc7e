"""The guards around functions and coroutine functions: the way of a call that succeeds.

They reach what belongs to the process through a module: a guard that is pickled by value takes its globals along.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from guarded import _enclosing, _shared
from guarded._course import Course
from guarded._deferred import PLAIN, deferral
from guarded._names import position_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from guarded._guard import Guard


def guard_function(guard: Guard) -> Callable[..., Any]:
    """The guarded form of what returns its result."""
    own, function, long_way = guard.tracker, guard.function, guard.goes_the_long_way
    position = position_of(guard.symbol)

    def guarded(*args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        tracker = _shared.tracker if own is None else own
        trouble = tracker._trouble
        # There is a halt or a streak. Unless all calls of this guard, or all of this symbol, are known to be clear of
        # it, the call goes the long way.
        if (trouble or long_way) and (
            long_way
            or (
                tracker._calm is not guard.calm
                and (len(args) <= position or type(args[position]) is not str or args[position] in trouble)
            )
        ):
            return guard.call(tracker, args, kwargs).value
        sequence = tracker._sequence
        try:
            result = function(*args, **kwargs)
        except Exception as error:
            ended = guard.failed(tracker, sequence, error, args, kwargs)
            if ended is None:
                raise
            return guard.handed_over(ended).value
        if type(result) not in PLAIN:
            defer = deferral(type(result))  # type: ignore[arg-type]  # types are hashable
            if defer is not None:
                return defer(guard, tracker, result, args, kwargs)
        if tracker._trouble is trouble and tracker._sequence is sequence:
            read_time = tracker._read_time
            tracker._succeeded_at = read_time()
        else:
            guard.succeeded(tracker, sequence, args, kwargs)
        return result

    return guarded


def guard_coroutine_function(guard: Guard) -> Callable[..., Any]:
    """The guarded form of what returns a coroutine."""
    own, function, long_way = guard.tracker, guard.function, guard.goes_the_long_way

    async def guarded(*args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        tracker = _shared.tracker if own is None else own
        pulse = tracker._pulse
        if pulse is None or long_way:
            return (await guard.call_async(tracker, args, kwargs)).value
        # `enter` and `leave` written out: their calls would cost as much as what they do.
        course = Course()
        course.tracker = tracker
        enclosing = _enclosing.enclosing
        outer = enclosing.get()
        if outer is not None:
            course.inherit(outer)
        token = enclosing.set(course)
        try:
            result = await function(*args, **kwargs)
        except Exception as error:
            ended = await guard.failed_async(tracker, pulse, error, course, args, kwargs)
            if ended is None:
                raise
            return ended.value
        finally:
            course.ended = True
            try:
                enclosing.reset(token)
            except ValueError:
                pass
        if tracker._pulse is pulse and not tracker._live:
            read_time = tracker._read_time
            tracker._succeeded_at = read_time()
        else:
            guard.succeeded_async(tracker, course, args, kwargs)
        return result

    return guarded
