"""Context: what a guard's `context=` adds to the record of a failure."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from guarded._errors import InvalidConfiguration
from guarded._faults import describe, kind_of, report
from guarded._templates import Called, Constant, Function, Source, callable_source, compile_template, function_name

ContextResolver = Callable[[tuple[object, ...], dict[str, object]], dict[str, object]]
"""(the call's positional arguments, its keyword arguments) -> the additional context. It never raises."""

_EXPECTED = "a mapping of values, templates and callables, or a callable over the call's arguments that returns one"
_LONGEST_MESSAGE = 200
_BLOCK = "track_signal"


def context_resolver(function: Function, spec: Mapping[str, object] | Function | None) -> ContextResolver | None:
    """How to find the additional context of a failed call of `function`.

    Args:
        function: The function under decoration.
        spec: A mapping, in which texts with braces are templates and callables are called with the call's arguments;
            or one callable over the call's arguments that returns a mapping.

    Returns:
        What finds the context out; its values are raw, and one that raised is the text
        "<context raised ValueError: its message>". None if there is nothing to find out.

    Raises:
        InvalidConfiguration: A key is no text, or a template or callable cannot work.
    """
    if spec is None:
        return None
    if not isinstance(spec, Mapping):
        return _Whole(callable_source(spec, function, "context=", _EXPECTED), function_name(function)).resolve
    parts = tuple((_key(key, function), _source(value, function, f"context[{key!r}]=")) for key, value in spec.items())
    return _Parts(parts, function_name(function)).resolve


def block_context(spec: Mapping[str, object] | Callable[[], object] | None) -> dict[str, object]:
    """The additional context of a block that failed.

    Args:
        spec: A mapping, whose callables are called without arguments, or one callable without parameters that returns
            a mapping. There are no arguments here that a template could name: texts are themselves.

    Returns:
        The context, its values raw; a note stands in the place of what raised. It never raises.
    """
    if spec is None:
        return {}
    try:
        if not isinstance(spec, Mapping):
            return _Whole(Called(spec), _BLOCK).resolve((), {})
        parts = tuple((str(key), _block_source(value)) for key, value in spec.items())
    except Exception as error:  # noqa: BLE001  # nobody has checked it before: it may be anything
        return {"context": _raised(f"context= of {_BLOCK}", error)}
    return _Parts(parts, _BLOCK).resolve((), {})


class _Parts:
    """A mapping whose values are found out one by one."""

    __slots__ = ("function", "parts")

    def __init__(self, parts: tuple[tuple[str, Source], ...], function: str) -> None:
        self.parts = parts
        self.function = function

    def resolve(self, args: tuple[object, ...], kwargs: dict[str, object]) -> dict[str, object]:
        return {key: self._value(key, source, args, kwargs) for key, source in self.parts}

    def _value(self, key: str, source: Source, args: tuple[object, ...], kwargs: dict[str, object]) -> object:
        try:
            return source.get(args, kwargs)
        except Exception as error:  # noqa: BLE001  # a user's callable may raise anything
            return _raised(f"context[{key!r}]= of {self.function}", error)


class _Whole:
    """A callable that returns the whole mapping."""

    __slots__ = ("function", "source")

    def __init__(self, source: Called, function: str) -> None:
        self.source = source
        self.function = function

    def resolve(self, args: tuple[object, ...], kwargs: dict[str, object]) -> dict[str, object]:
        try:
            return _as_dict(self.source.get(args, kwargs))
        except Exception as error:  # noqa: BLE001  # a user's callable may raise anything
            return {"context": _raised(f"context= of {self.function}", error)}


def _raised(where: str, error: Exception) -> str:
    report(f"{where} raised; the failure is recorded with a note in its place", error)
    return f"<context raised {kind_of(error)}: {describe(error)[:_LONGEST_MESSAGE]}>"


def _as_dict(value: object) -> dict[str, object]:
    if not isinstance(value, Mapping):
        raise TypeError(f"it returned {type(value).__name__}, not a mapping")
    return {str(key): value[key] for key in value}


def _key(key: object, function: Function) -> str:
    if isinstance(key, str):
        return key
    raise InvalidConfiguration(f"context= on {function_name(function)}: the key {key!r} is no text")


def _source(value: object, function: Function, where: str) -> Source:
    if callable(value):
        return callable_source(value, function, where, _EXPECTED)
    if not isinstance(value, str):
        return Constant(value)
    source = compile_template(value, function, where)
    return Constant(source) if isinstance(source, str) else source


def _block_source(value: object) -> Source:
    return Called(value) if callable(value) else Constant(value)
