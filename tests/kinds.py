"""Every kind of callable, made guarded around a body of one argument, for tests that hold for all of them."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest

from guarded import guarded_signal

Make = Callable[..., Callable[..., Any]]
"""make(body, **settings): a guarded callable of one kind, to be called with one argument through `call`."""


def as_function(body: Callable[[Any], Any], **settings: Any) -> Callable[..., Any]:
    @guarded_signal(**settings)
    def generate(value: Any) -> Any:
        return body(value)

    return generate


def as_method(body: Callable[[Any], Any], **settings: Any) -> Callable[..., Any]:
    class Strategy:
        @guarded_signal(**settings)
        def generate(self, value: Any) -> Any:
            return body(value)

    return Strategy().generate


def as_guarded_bound_method(body: Callable[[Any], Any], **settings: Any) -> Callable[..., Any]:
    class Strategy:
        def generate(self, value: Any) -> Any:
            return body(value)

    guarded: Callable[..., Any] = guarded_signal(**settings)(Strategy().generate)
    return guarded


def as_classmethod_inside(body: Callable[[Any], Any], **settings: Any) -> Callable[..., Any]:
    class Strategy:
        @classmethod
        @guarded_signal(**settings)
        def generate(cls, value: Any) -> Any:
            return body(value)

    return Strategy.generate


def as_classmethod_outside(body: Callable[[Any], Any], **settings: Any) -> Callable[..., Any]:
    class Strategy:
        @guarded_signal(**settings)
        @classmethod
        def generate(cls, value: Any) -> Any:
            return body(value)

    return Strategy.generate


def as_staticmethod_inside(body: Callable[[Any], Any], **settings: Any) -> Callable[..., Any]:
    class Strategy:
        @staticmethod
        @guarded_signal(**settings)
        def generate(value: Any) -> Any:
            return body(value)

    return Strategy().generate


def as_staticmethod_outside(body: Callable[[Any], Any], **settings: Any) -> Callable[..., Any]:
    class Strategy:
        @guarded_signal(**settings)
        @staticmethod
        def generate(value: Any) -> Any:
            return body(value)

    return Strategy.generate


def as_coroutine_function(body: Callable[[Any], Any], **settings: Any) -> Callable[..., Any]:
    @guarded_signal(**settings)
    async def generate(value: Any) -> Any:
        await asyncio.sleep(0)
        return body(value)

    return generate


def as_async_method(body: Callable[[Any], Any], **settings: Any) -> Callable[..., Any]:
    class Strategy:
        @guarded_signal(**settings)
        async def generate(self, value: Any) -> Any:
            await asyncio.sleep(0)
            return body(value)

    return Strategy().generate


def as_generator_function(body: Callable[[Any], Any], **settings: Any) -> Callable[..., Any]:
    @guarded_signal(**settings)
    def generate(value: Any) -> Iterator[Any]:
        yield body(value)

    return generate


def as_generator_method(body: Callable[[Any], Any], **settings: Any) -> Callable[..., Any]:
    class Strategy:
        @guarded_signal(**settings)
        def generate(self, value: Any) -> Iterator[Any]:
            yield body(value)

    return Strategy().generate


def as_async_generator_function(body: Callable[[Any], Any], **settings: Any) -> Callable[..., Any]:
    @guarded_signal(**settings)
    async def generate(value: Any) -> AsyncIterator[Any]:
        await asyncio.sleep(0)
        yield body(value)

    return generate


def as_callable_object(body: Callable[[Any], Any], **settings: Any) -> Callable[..., Any]:
    class Strategy:
        def __call__(self, value: Any) -> Any:
            return body(value)

    guarded: Callable[..., Any] = guarded_signal(**settings)(Strategy())
    return guarded


def as_async_callable_object(body: Callable[[Any], Any], **settings: Any) -> Callable[..., Any]:
    class Strategy:
        async def __call__(self, value: Any) -> Any:
            await asyncio.sleep(0)
            return body(value)

    guarded: Callable[..., Any] = guarded_signal(**settings)(Strategy())
    return guarded


def as_generating_callable_object(body: Callable[[Any], Any], **settings: Any) -> Callable[..., Any]:
    class Strategy:
        def __call__(self, value: Any) -> Iterator[Any]:
            yield body(value)

    guarded: Callable[..., Any] = guarded_signal(**settings)(Strategy())
    return guarded


def as_partial(body: Callable[[Any], Any], **settings: Any) -> Callable[..., Any]:
    def generate(scale: int, value: Any) -> Any:
        assert scale == 2
        return body(value)

    guarded: Callable[..., Any] = guarded_signal(**settings)(functools.partial(generate, 2))
    return guarded


def as_partialmethod(body: Callable[[Any], Any], **settings: Any) -> Callable[..., Any]:
    class Strategy:
        def scaled(self, scale: int, value: Any) -> Any:
            assert scale == 2
            return body(value)

        generate = guarded_signal(**settings)(functools.partialmethod(scaled, 2))

    bound: Callable[..., Any] = Strategy().generate
    return bound


def as_cached_method(body: Callable[[Any], Any], **settings: Any) -> Callable[..., Any]:
    class Strategy:
        @guarded_signal(**settings)
        @functools.lru_cache(maxsize=0)  # noqa: B019  # which caches nothing: it is a method that is no Python function
        def generate(self, value: Any) -> Any:
            return body(value)

    return Strategy().generate


RETURNING: list[Make] = [
    as_function,
    as_method,
    as_guarded_bound_method,
    as_classmethod_inside,
    as_classmethod_outside,
    as_staticmethod_inside,
    as_staticmethod_outside,
    as_coroutine_function,
    as_async_method,
    as_callable_object,
    as_async_callable_object,
    as_partial,
    as_partialmethod,
    as_cached_method,
]

GENERATING: list[Make] = [as_generator_function, as_generator_method, as_generating_callable_object]


def _mark(kinds: list[Make]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("make", kinds, ids=lambda make: make.__name__[3:])


every_kind = _mark([*RETURNING, *GENERATING, as_async_generator_function])
every_kind_but_async_generators = _mark([*RETURNING, *GENERATING])
every_kind_but_generators = _mark(RETURNING)


def call(function: Callable[..., Any], *args: Any) -> Any:
    """The result of a call; of a generator its first item, or what it returned before any."""
    result = function(*args)
    if inspect.isasyncgen(result):
        return asyncio.run(_first_async(result))
    if inspect.isgenerator(result):
        return _first(result)
    return asyncio.run(result_of(result)) if inspect.isawaitable(result) else result


def _first(generator: Any) -> Any:
    try:
        return next(generator)
    except StopIteration as stop:
        return stop.value


async def _first_async(generator: Any) -> Any:
    try:
        return await anext(generator, None)
    finally:
        await generator.aclose()


async def result_of(awaitable: Awaitable[Any]) -> Any:
    return await awaitable
