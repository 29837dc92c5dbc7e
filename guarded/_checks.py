"""Checks of settings: each gives the value back, or says what was expected and where it came from."""

from __future__ import annotations

import inspect
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from guarded._errors import InvalidConfiguration

if TYPE_CHECKING:
    from collections.abc import Iterable

T = TypeVar("T")


def near_miss(word: object, allowed: Iterable[str]) -> str:
    """`"; did you mean 'data_error'?"` where something allowed looks like the word, or more than one, else nothing."""
    from difflib import get_close_matches  # noqa: PLC0415  # only a mistake needs it

    close = get_close_matches(str(word), dict.fromkeys(allowed), n=3, cutoff=0.7)
    return f"; did you mean {' or '.join(map(repr, close))}?" if close else ""


def checked_count(value: object, where: str) -> int:
    """A whole number of at least 1.

    Raises:
        InvalidConfiguration: It is something else.
    """
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InvalidConfiguration(f"{where}={value!r}: expected a whole number of at least 1")
    return value


def checked_window(value: object, where: str) -> timedelta | None:
    """A positive span of time, or None for "never".

    Raises:
        InvalidConfiguration: It is something else.
    """
    if value is None or (isinstance(value, timedelta) and value > timedelta(0)):
        return value
    raise InvalidConfiguration(
        f"{where}={value!r}: expected a positive timedelta, such as timedelta(minutes=5), or None for never"
    )


def checked_choice(value: object, allowed: tuple[str, ...], where: str) -> str:
    """One of several words.

    Raises:
        InvalidConfiguration: It is something else.
    """
    if isinstance(value, str) and value in allowed:
        return value
    raise InvalidConfiguration(f"{where}={value!r}: expected one of {', '.join(map(repr, allowed))}")


def checked_instance(value: T | None, kind: type[T], where: str) -> T | None:
    """An object of a class, or None for the default.

    Raises:
        InvalidConfiguration: It is something else.
    """
    if value is None or isinstance(value, kind):
        return value
    raise InvalidConfiguration(f"{where}={value!r}: expected an instance of {kind.__name__}, or None for the default")


def checked_function(value: Any, parameters: tuple[str, ...], where: str) -> None:
    """Something that runs when it is called with these arguments.

    Raises:
        InvalidConfiguration: It cannot be called so, or calling it would only make a generator.
    """
    if not callable(value) or _is_generator(value) or not _takes(value, parameters):
        raise InvalidConfiguration(
            f"{where}={value!r}: expected a function of ({', '.join(parameters)}), without yield"
        )


def _is_generator(function: Any) -> bool:
    tests = (inspect.isgeneratorfunction, inspect.isasyncgenfunction)
    return any(test(given) for test in tests for given in (function, type(function).__call__))


def _takes(function: Any, arguments: tuple[str, ...]) -> bool:
    try:
        signature = inspect.signature(function)
    except Exception:  # noqa: BLE001  # Python cannot tell, or the callable's own methods raise
        return True
    try:
        signature.bind(*arguments)
    except TypeError:
        return False
    return True
