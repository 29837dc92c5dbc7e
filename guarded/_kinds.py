"""Kind: what a call of something gives: a result, a coroutine, a generator, or an asynchronous generator."""

from __future__ import annotations

import inspect
from enum import Enum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


class Kind(Enum):
    """What a call gives, and so how it is guarded."""

    RESULT = "a result"
    COROUTINE = "a coroutine"
    GENERATOR = "a generator"
    ASYNC_GENERATOR = "an asynchronous generator"


def kind_of(target: Callable[..., Any]) -> Kind:
    """What a call of a function, or of an object through its `__call__`, gives."""
    for function in (target, getattr(type(target), "__call__", None)):  # noqa: B004  # it is the method that is asked
        if inspect.isasyncgenfunction(function):
            return Kind.ASYNC_GENERATOR
        if inspect.iscoroutinefunction(function) or _is_generator_to_await(function):
            return Kind.COROUTINE
        if inspect.isgeneratorfunction(function):
            return Kind.GENERATOR
    return Kind.RESULT


def _is_generator_to_await(function: Any) -> bool:
    """Whether it is what `types.coroutine` has made of a generator function."""
    flags: int = getattr(getattr(function, "__code__", None), "co_flags", 0)
    return inspect.isgeneratorfunction(function) and bool(flags & inspect.CO_ITERABLE_COROUTINE)
