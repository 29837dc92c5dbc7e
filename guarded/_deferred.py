"""What a plain `def` returned to be run later, an awaitable or a generator, and how it stays guarded until then."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator
from typing import TYPE_CHECKING, Any

import wrapt

from guarded._generators import async_steps, steps

if TYPE_CHECKING:
    from guarded._guard import Guard
    from guarded._tracker import FailureTracker

Defer = Callable[["Guard", "FailureTracker", Any, tuple[Any, ...], dict[str, Any]], Any]
"""(guard, tracker, what was returned, the call's arguments) -> the guarded form of it."""

PLAIN = frozenset({type(None), bool, int, float, str, bytes, tuple, list, dict, set})
"""Types of results that need no second look."""


@functools.lru_cache(maxsize=512)
def deferral(kind: type) -> Defer | None:
    """How results of a type stay guarded until they are run; None for a type that is a result by itself."""
    if issubclass(kind, asyncio.Future):
        return _await_future
    if issubclass(kind, Coroutine):
        return _await_coroutine
    if issubclass(kind, Awaitable):
        return _await_object
    if issubclass(kind, AsyncGenerator):
        return _take_async_steps
    return _take_steps if issubclass(kind, Generator) else None


def _await_coroutine(
    guard: Guard, tracker: FailureTracker, result: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Coroutine[Any, Any, Any]:
    guard.hand_over = _coroutine
    return guard.awaited(tracker, result, args, kwargs)


def _await_future(
    guard: Guard, tracker: FailureTracker, result: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> asyncio.Future[Any]:
    """A task in place of a task or future: it runs, and is counted, also if nobody awaits it."""
    guard.hand_over = _task
    return result.get_loop().create_task(guard.awaited(tracker, result, args, kwargs))  # type: ignore[no-any-return]  # an asyncio.Task


def _await_object(
    guard: Guard, tracker: FailureTracker, result: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> GuardedAwaitable:
    guard.hand_over = _coroutine
    return GuardedAwaitable(result, lambda: guard.awaited(tracker, result, args, kwargs))


def _take_steps(
    guard: Guard, _tracker: FailureTracker, result: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Generator[Any, Any, Any]:
    guard.hand_over = _generator
    return steps(guard, lambda *_args, **_kwargs: result)(*args, **kwargs)


def _take_async_steps(
    guard: Guard, _tracker: FailureTracker, result: Any, args: tuple[Any, ...], kwargs: dict[str, Any]
) -> AsyncGenerator[Any, Any]:
    guard.hand_over = _async_generator
    return async_steps(guard, lambda *_args, **_kwargs: result)(*args, **kwargs)


class GuardedAwaitable(wrapt.ObjectProxy):  # type: ignore[type-arg]  # generic for type checkers only
    """An object of somebody's own that can be awaited: the object itself in all else."""

    def __init__(self, wrapped: Any, awaited: Callable[[], Coroutine[Any, Any, Any]]) -> None:
        super().__init__(wrapped)
        self._self_awaited = awaited

    def __await__(self) -> Generator[Any, Any, Any]:
        return self._self_awaited().__await__()


# What the caller gets in place of a result that can be awaited or iterated.


async def _coroutine(value: Any) -> Any:
    return value


def _task(value: Any) -> Any:
    try:
        return asyncio.get_running_loop().create_task(_coroutine(value))
    except RuntimeError:  # no loop runs here, where there was one before
        return _coroutine(value)


def _generator(value: Any) -> Generator[Any, Any, Any]:
    yield from ()
    return value


async def _async_generator(_value: Any) -> AsyncGenerator[Any, Any]:
    return
    yield  # likewise
