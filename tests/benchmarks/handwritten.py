"""What a strategy's author would write by hand: what guards are measured against."""

from __future__ import annotations

import functools
import logging
import traceback
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from typing import Any, Self

_log = logging.getLogger("handwritten")

failures: Counter[str] = Counter()


def _failed(name: str, error: Exception) -> None:
    failures[name] += 1
    _log.error("signal failed: %s", error)


def closure(function: Callable[..., Any]) -> Callable[..., Any]:
    """Guard a function."""

    @functools.wraps(function)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except Exception as error:
            _failed(function.__name__, error)
            return None

    return guarded


def formatting(function: Callable[..., Any]) -> Callable[..., Any]:
    """Guard a function, and format the traceback of what it raises, as one who logs it has to."""

    @functools.wraps(function)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except Exception as error:
            traceback.format_exception(error)
            failures[function.__name__] += 1
            return None

    return guarded


def async_closure(function: Callable[..., Coroutine[Any, Any, Any]]) -> Callable[..., Coroutine[Any, Any, Any]]:
    """Guard a coroutine function."""

    @functools.wraps(function)
    async def guarded(*args: Any, **kwargs: Any) -> Any:
        try:
            return await function(*args, **kwargs)
        except Exception as error:
            _failed(function.__name__, error)
            return None

    return guarded


def stream(function: Callable[..., Iterator[Any]]) -> Callable[..., Iterator[Any]]:
    """Guard a generator function for those who only iterate."""

    @functools.wraps(function)
    def guarded(*args: Any, **kwargs: Any) -> Iterator[Any]:
        try:
            for item in function(*args, **kwargs):  # noqa: UP028  # a step has to come by here, as it does in a guard
                yield item
        except Exception as error:
            _failed(function.__name__, error)

    return guarded


def forwarding_stream(function: Callable[..., Any]) -> Callable[..., Iterator[Any]]:
    """Guard a generator function step by step: what the consumer sends and throws gets to it."""

    @functools.wraps(function)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        generator = function(*args, **kwargs)
        try:
            item = next(generator)
            while True:
                try:
                    sent = yield item
                except GeneratorExit:
                    generator.close()
                    raise
                except BaseException as thrown:
                    item = generator.throw(thrown)
                else:
                    item = generator.send(sent)
        except StopIteration as stop:
            return stop.value
        except Exception as error:
            _failed(function.__name__, error)
            return None

    return guarded


class Block:
    """Guard a block."""

    __slots__ = ("strategy", "symbol", "value")

    def __init__(self, strategy: str, symbol: str) -> None:
        self.strategy = strategy
        self.symbol = symbol
        self.value: Any = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, traceback: object) -> bool:
        if error is None or not isinstance(error, Exception):
            return False
        self.value = None
        _failed(self.strategy, error)
        return True


_TYPES = {ZeroDivisionError: "strategy_error", KeyError: "data_error", ValueError: "data_error"}


def type_of(error: Exception) -> str | None:
    """Look up what an exception counts as, by its class alone."""
    return _TYPES.get(type(error))
