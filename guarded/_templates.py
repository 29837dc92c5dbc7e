"""Templates: format strings over a call's arguments, compiled at decoration to getters."""

from __future__ import annotations

import inspect
import operator
import re
import string
import sys
from collections.abc import Callable, Mapping
from functools import partial
from types import CoroutineType, MethodType
from typing import Any, Protocol

from guarded._checks import near_miss
from guarded._errors import InvalidConfiguration

Function = Callable[..., object]
Step = Callable[[Any], object]
Parameters = Mapping[str, inspect.Parameter]

ABSENT = inspect.Parameter.empty
"""What stands for an argument that a call did not get and that has no default value."""

_VARIADIC = {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD}
# Compiled where they are used: only decoration needs them.
_FIELD = r"([^.\[\]]*)((?:\.[^.\[\]]+|\[[^\]]+\])*)"
_STEP = r"((?:\.[^.\[\]]+)+)|\[([^\]]+)\]"
_ASYNC_TESTS = (inspect.iscoroutinefunction, inspect.isasyncgenfunction)
_CONVERSIONS: dict[str, Step] = {"r": repr, "s": str, "a": ascii}


class Source(Protocol):
    """Where a value comes from when a call is at hand."""

    def get(self, args: tuple[object, ...], kwargs: dict[str, object]) -> object:
        """The value for the call with these arguments; raises what the way to it raises."""


class Constant:
    """The same value for every call."""

    __slots__ = ("value",)

    def __init__(self, value: object) -> None:
        self.value = value

    def get(self, args: tuple[object, ...], kwargs: dict[str, object]) -> object:  # noqa: ARG002  # see Source
        """The value."""
        return self.value


class Called:
    """What a user's callable makes of the call's own arguments."""

    __slots__ = ("function",)

    def __init__(self, function: Function) -> None:
        self.function = function

    def get(self, args: tuple[object, ...], kwargs: dict[str, object]) -> object:
        """The callable's result.

        Raises:
            TypeError: The result is a coroutine, which nobody here can await.
        """
        value = self.function(*args, **kwargs)
        if type(value) is CoroutineType:
            value.close()
            raise TypeError("it returned a coroutine; give a callable that returns the value itself")
        return value


class Field:
    """One argument, and the steps from it to a value.

    Attributes:
        name: The parameter's name.
        index: Where the argument stands if it is passed by position; `sys.maxsize` if it never is.
        default: The parameter's default value, or ABSENT.
        steps: Getters of attributes and items, applied one after the other.
    """

    __slots__ = ("default", "index", "name", "steps")

    def __init__(self, name: str, index: int, default: object, steps: tuple[Step, ...] = ()) -> None:
        self.name = name
        self.index = index
        self.default = default
        self.steps = steps

    def find(self, args: tuple[object, ...], kwargs: dict[str, object]) -> object:
        """The argument itself, before any step; ABSENT if the call has none."""
        return args[self.index] if len(args) > self.index else kwargs.get(self.name, self.default)

    def get(self, args: tuple[object, ...], kwargs: dict[str, object]) -> object:
        """The value at the end of the steps.

        Raises:
            LookupError: The call has no such argument.
        """
        value = self.find(args, kwargs)
        if value is ABSENT:
            raise self.missing()
        for step in self.steps:
            value = step(value)
        return value

    def missing(self) -> LookupError:
        """What is raised for a call that has no such argument."""
        return LookupError(f"the call has no argument {self.name!r}")


class Rest:
    """What a `*args` parameter gets, and the steps from there."""

    __slots__ = ("start", "steps")

    def __init__(self, start: int, steps: tuple[Step, ...]) -> None:
        self.start = start
        self.steps = steps

    def get(self, args: tuple[object, ...], kwargs: dict[str, object]) -> object:  # noqa: ARG002  # see Source
        """The value at the end of the steps."""
        return _followed(args[self.start :], self.steps)


class Extra:
    """What a `**kwargs` parameter gets, and the steps from there."""

    __slots__ = ("named", "steps")

    def __init__(self, named: frozenset[str], steps: tuple[Step, ...]) -> None:
        self.named = named
        self.steps = steps

    def get(self, args: tuple[object, ...], kwargs: dict[str, object]) -> object:  # noqa: ARG002  # see Source
        """The value at the end of the steps."""
        return _followed({name: kwargs[name] for name in kwargs if name not in self.named}, self.steps)


class Formatted:
    """A value as text, converted and formatted as `str.format` would."""

    __slots__ = ("conversion", "source", "spec")

    def __init__(self, source: Source, conversion: Step | None, spec: str) -> None:
        self.source = source
        self.conversion = conversion
        self.spec = spec

    def get(self, args: tuple[object, ...], kwargs: dict[str, object]) -> str:
        """The text."""
        value = self.source.get(args, kwargs)
        if self.conversion is not None:
            value = self.conversion(value)
        return format(value, self.spec) if self.spec else exact(value)


class Joined:
    """Several pieces of text, one after the other."""

    __slots__ = ("pieces",)

    def __init__(self, pieces: tuple[str | Formatted, ...]) -> None:
        self.pieces = pieces

    def get(self, args: tuple[object, ...], kwargs: dict[str, object]) -> str:
        """The whole text."""
        return "".join([piece.get(args, kwargs) if isinstance(piece, Formatted) else piece for piece in self.pieces])


def exact(value: object) -> str:
    """A value as a plain `str`; text of a subclass (an enum's member) is its own characters, whatever its `__str__`."""
    if type(value) is str:
        return value
    return str.__str__(value if isinstance(value, str) else str(value))


def compile_template(template: str, function: Function, where: str) -> str | Source:
    """Make a getter of a format string whose fields are parameters of a function.

    Args:
        template: Text, with fields such as `{symbol}`, `{self.name}`, `{metadata[pair]}` or `{price:.2f}`.
        function: Whose parameters the fields are.
        where: The setting that the template was given to, such as "symbol=", for the error's text.

    Returns:
        The text itself if it has no fields; a `Field` (or `Rest`, `Extra`) that gives the raw value if it is one bare
        field; a source of text otherwise.

    Raises:
        InvalidConfiguration: The template is malformed, or a field is no parameter of the function.
    """
    try:
        pieces = [piece for piece in _pieces(template, parameters_of(function)) if piece != ""]
    except ValueError as error:
        raise InvalidConfiguration(f"{where}{template!r} on {function_name(function)}: {error}") from None
    if all(isinstance(piece, str) for piece in pieces):
        return "".join(piece for piece in pieces if isinstance(piece, str))
    if len(pieces) == 1 and isinstance(only := pieces[0], Formatted):
        return only if only.conversion or only.spec else only.source
    return Joined(tuple(pieces))


def check_syntax(text: str) -> None:
    """Check a template as far as that can be done without the function that it is for.

    Raises:
        ValueError: Its braces do not fit.
    """
    for _ in string.Formatter().parse(text):
        pass


def callable_source(spec: object, function: Function, where: str, expected: str) -> Called:
    """A source of what a user's callable returns.

    Args:
        spec: What the user gave.
        function: The function that it was given for.
        where: The setting that it was given to, for the error's text.
        expected: What could have been given, for the error's text.

    Raises:
        InvalidConfiguration: It is no callable, or one whose result would have to be awaited.
    """
    if not callable(spec):
        raise InvalidConfiguration(f"{where}{spec!r} on {function_name(function)}: expected {expected}")
    if is_async(spec):
        raise InvalidConfiguration(
            f"{where}{spec!r} on {function_name(function)} is async, and is needed where nothing can be awaited; "
            "give a plain callable"
        )
    return Called(spec)


def is_async(function: Function) -> bool:
    """Whether calling it gives something to await or to iterate with `async for`."""
    call = getattr(type(function), "__call__", None)  # noqa: B004  # it is the method itself that is asked about
    return any(test(given) for test in _ASYNC_TESTS for given in (function, call))


def function_name(function: Function) -> str:
    """The qualified name of a function; of what has none, its type's."""
    inner = function.func if isinstance(function, partial) else function
    name = getattr(inner, "__qualname__", None)
    return name if isinstance(name, str) else type(inner).__qualname__


def parameters_of(function: Function) -> Parameters | None:
    """The parameters that a call's arguments are bound to; None where Python cannot tell them.

    A decorator's wrapper that passes everything on has the parameters of the function in it; one that does not (it
    supplies an argument, say) has its own, for it is the wrapper that the call's arguments are meant for.
    """
    try:
        if isinstance(function, MethodType):
            return inspect.signature(function).parameters
        return _own_parameters(inspect.unwrap(function, stop=_takes_its_own))
    except (TypeError, ValueError):
        return None


def field(name: str, parameters: Parameters, steps: tuple[Step, ...] = ()) -> Source | None:
    """The source of the argument of this name; None if the function can have no such argument."""
    parameter = parameters.get(name)
    if parameter is None:
        return Field(name, sys.maxsize, ABSENT, steps) if _variadic_keyword(parameters) else None
    index = list(parameters).index(name)
    match parameter.kind:
        case inspect.Parameter.VAR_POSITIONAL:
            return Rest(index, steps)
        case inspect.Parameter.VAR_KEYWORD:
            return Extra(frozenset(parameters), steps)
        case inspect.Parameter.KEYWORD_ONLY:
            return Field(name, sys.maxsize, parameter.default, steps)
        case _:
            return Field(name, index, parameter.default, steps)


def _own_parameters(function: Function) -> Parameters:
    return inspect.signature(function, follow_wrapped=False).parameters


def _takes_its_own(function: Function) -> bool:
    try:
        own = _own_parameters(function)
    except ValueError:  # a wrapper that is no Python function, as a cache's: it passes on what it gets
        return False
    named = [name for name, parameter in own.items() if parameter.kind not in _VARIADIC]
    passes_on = {parameter.kind for parameter in own.values()} >= _VARIADIC
    return not passes_on or list(inspect.signature(function).parameters)[: len(named)] != named


def _variadic_keyword(parameters: Parameters) -> bool:
    return any(parameter.kind is inspect.Parameter.VAR_KEYWORD for parameter in parameters.values())


def _pieces(template: str, parameters: Parameters | None) -> list[str | Formatted]:
    pieces: list[str | Formatted] = []
    for literal, name, spec, conversion in string.Formatter().parse(template):
        pieces.append(literal)
        if name is not None:
            pieces.append(Formatted(_source(name, parameters), _conversion(conversion), _spec(spec)))
    return pieces


def _conversion(letter: str | None) -> Step | None:
    if letter is None:
        return None
    if letter not in _CONVERSIONS:
        raise ValueError(f"there is no conversion '!{letter}'; the conversions are !r, !s and !a")
    return _CONVERSIONS[letter]


def _spec(spec: str | None) -> str:
    if spec and "{" in spec:
        raise ValueError(f"the format {spec!r} has a field in it, which a template cannot have; give a callable")
    return spec or ""


def _source(text: str, parameters: Parameters | None) -> Source:
    match = re.fullmatch(_FIELD, text)
    if match is None:
        raise ValueError(f"{{{text}}} is malformed; write {{name}}, {{name.attribute}} or {{name[key]}}")
    name, path = match.groups()
    if parameters is None:
        raise ValueError(f"Python cannot tell what parameters it has, {name!r} among them or not; give a callable")
    if name == "" or name.isdigit():
        raise ValueError(f"{{{text}}} counts positions, which differ from call to call; {_choice(parameters)}")
    source = field(name, parameters, _steps(path))
    if source is None:
        raise ValueError(f"it has no parameter {name!r}; {_choice(parameters)}{near_miss(name, parameters)}")
    return source


def _steps(path: str) -> tuple[Step, ...]:
    return tuple(_step(*found.groups()) for found in re.finditer(_STEP, path))


def _step(attributes: str | None, item: str | None) -> Step:
    if attributes is not None:
        return operator.attrgetter(attributes[1:])
    key: object = int(item) if item and item.isdecimal() else item
    return operator.itemgetter(key)


def _followed(value: object, steps: tuple[Step, ...]) -> object:
    for step in steps:
        value = step(value)
    return value


def _choice(parameters: Parameters) -> str:
    if not parameters:
        return "it has no parameters, so give a plain name or a callable"
    return f"name one of its parameters: {', '.join(parameters)}"
