"""Names: the strategy and the symbol of a guarded call, from texts, templates, callables, or the nearest evidence."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from types import BuiltinMethodType, FunctionType, MethodType, ModuleType
from typing import Any

from guarded._enclosing import enclosing
from guarded._errors import InvalidConfiguration
from guarded._faults import report
from guarded._templates import (
    ABSENT,
    Constant,
    Field,
    Function,
    Source,
    callable_source,
    compile_template,
    exact,
    field,
    function_name,
    parameters_of,
)

Resolver = Callable[[tuple[object, ...], dict[str, object], BaseException | None], str]
"""(the call's positional arguments, its keyword arguments, what it raised) -> the name. It never raises."""

UNKNOWN = "unknown"
LONGEST = 200
"""How many characters of a name are kept: names are keys, and keys are kept for as long as the process runs."""

_EXPECTED = 'a name, a template such as "{symbol}", or a callable over the call\'s arguments'
_SYMBOL_PARAMETERS = ("symbol", "pair", "ticker")


def strategy_resolver(function: Function, spec: str | Function | None) -> Resolver | str:
    """How to name the strategy of a call of `function`.

    Args:
        function: The function under decoration.
        spec: A name, a template, a callable over the call's arguments, or None for the nearest evidence: `name` or
            `strategy_name` of the instance or class, the enclosing block, the name of the class, that of the function.

    Returns:
        The name itself if it is the same for every call, or what finds it out.

    Raises:
        InvalidConfiguration: The template or the callable cannot work.
    """
    if spec is not None:
        return _given(function, spec, "strategy")
    return _StrategyEvidence(_owner(function), bounded(function_name(function)), _fault("strategy", function)).resolve


def symbol_resolver(function: Function, spec: str | Function | None) -> Resolver | str:
    """How to name the symbol of a call of `function`.

    Args:
        function: The function under decoration.
        spec: A name, a template, a callable over the call's arguments, or None for the nearest evidence: an argument
            called `symbol`, `pair` or `ticker`, the enclosing block, a `symbol` attribute of the exception.

    Returns:
        The symbol itself if it is the same for every call, or what finds it out.

    Raises:
        InvalidConfiguration: The template or the callable cannot work.
    """
    if spec is not None:
        return _given(function, spec, "symbol")
    return _SymbolEvidence(_symbol_arguments(function), _fault("symbol", function)).resolve


def position_of(symbol: Resolver | str) -> int:
    """Where the argument stands that is the symbol as it is; beyond every call's arguments if there is none."""
    resolver = getattr(symbol, "__self__", None)
    if isinstance(resolver, _Argument) and not resolver.steps:
        return resolver.index
    if isinstance(resolver, _SymbolEvidence) and resolver.arguments:
        return resolver.arguments[0].index
    return sys.maxsize


def name(value: object) -> str:
    """A value as a name; "unknown", and a report, for one whose text cannot be had."""
    try:
        return bounded(value)
    except Exception as error:  # noqa: BLE001  # a value's __str__ may raise anything
        report(f"the text of a name ({type(value).__name__}) raised; it reads {UNKNOWN!r}", error)
        return UNKNOWN


def symbol_of(error: BaseException | None) -> str:
    """The `symbol` attribute of an exception if it is a text, else "unknown"; never raises."""
    return _text(error, "symbol") or UNKNOWN


def bounded(value: object) -> str:
    """A value's text, cut to LONGEST characters; "unknown" for None and for an empty text."""
    if type(value) is str and 0 < len(value) <= LONGEST:
        return value
    return UNKNOWN if value is None else exact(value)[:LONGEST] or UNKNOWN


class _Argument(Field):
    """A name that is an argument, or an attribute or item of one: the resolver that must be quick."""

    __slots__ = ("fault",)

    def __init__(self, field: Field, fault: str) -> None:
        super().__init__(field.name, field.index, field.default, field.steps)
        self.fault = fault

    def resolve(self, args: tuple[object, ...], kwargs: dict[str, object], _error: BaseException | None) -> str:
        try:
            # `find` and `get` written out: this runs once per call while any streak is live.
            index = self.index
            value = args[index] if len(args) > index else kwargs.get(self.name, self.default)
            if value is ABSENT:
                raise self.missing()  # noqa: TRY301  # it is reported like any other
            for step in self.steps:
                value = step(value)
            if type(value) is str and 0 < len(value) <= LONGEST:
                return value
            return bounded(value)
        except Exception as error:  # noqa: BLE001  # the user's attributes may raise anything
            report(self.fault, error)
            return UNKNOWN


class _Value:
    """A name that is put together from several pieces, or made by a user's callable."""

    __slots__ = ("fault", "source")

    def __init__(self, source: Source, fault: str) -> None:
        self.source = source
        self.fault = fault

    def resolve(self, args: tuple[object, ...], kwargs: dict[str, object], _error: BaseException | None) -> str:
        try:
            return bounded(self.source.get(args, kwargs))
        except Exception as error:  # noqa: BLE001  # a user's callable may raise anything
            report(self.fault, error)
            return UNKNOWN


class _StrategyEvidence:
    """The nearest evidence of a call's strategy."""

    __slots__ = ("fault", "function", "owner")

    def __init__(self, owner: Field | Constant | None, function: str, fault: str) -> None:
        self.owner = owner
        self.function = function
        self.fault = fault

    def resolve(self, args: tuple[object, ...], kwargs: dict[str, object], _error: BaseException | None) -> str:
        try:
            owner = ABSENT if self.owner is None else _owner_in(self.owner, args, kwargs)
            if owner is not ABSENT and (found := _text(owner, "name") or _text(owner, "strategy_name")):
                return found
            block = enclosing.get()
            if block is not None and block.strategy is not None:
                return bounded(block.strategy)
            return self.function if owner is ABSENT else _class_name(owner)
        except Exception as error:  # noqa: BLE001  # a metaclass may raise anything
            report(self.fault, error)
            return UNKNOWN


class _SymbolEvidence:
    """The nearest evidence of a call's symbol."""

    __slots__ = ("arguments", "fault")

    def __init__(self, arguments: tuple[Field, ...], fault: str) -> None:
        self.arguments = arguments
        self.fault = fault

    def resolve(self, args: tuple[object, ...], kwargs: dict[str, object], error: BaseException | None) -> str:
        try:
            for argument in self.arguments:
                value = argument.find(args, kwargs)
                if type(value) is str and 0 < len(value) <= LONGEST:
                    return value
                if found := _text_of_symbol(value):
                    return found
            block = enclosing.get()
            if block is not None and block.symbol is not None:
                return bounded(block.symbol)
            return symbol_of(error)
        except Exception as fault:  # noqa: BLE001  # an argument's __str__ may raise anything
            report(self.fault, fault)
            return UNKNOWN


def _text_of_symbol(value: object) -> str | None:
    """An argument as a symbol: a text or a number itself, or an object's own `symbol`.

    The text of any other object may be another one at each call, and would be another key.
    """
    if value is None or value is ABSENT:
        return None
    if isinstance(value, str | int):
        return str(value) and bounded(value)
    return _text(value, "symbol")


def _given(function: Function, spec: object, setting: str) -> Resolver | str:
    where, fault = f"{setting}=", _fault(setting, function)
    if not isinstance(spec, str):
        return _Value(callable_source(spec, function, where, _EXPECTED), fault).resolve
    source = compile_template(spec, function, where)
    if isinstance(source, Field):
        return _Argument(source, fault).resolve
    if not isinstance(source, str):
        return _Value(source, fault).resolve
    if not source:
        raise InvalidConfiguration(f"{where}{spec!r} on {function_name(function)}: expected {_EXPECTED}")
    return bounded(source)


def _fault(setting: str, function: Function) -> str:
    return f"{setting}= of {function_name(function)} raised; the call is filed under {UNKNOWN!r}"


def _owner(function: Function) -> Field | Constant | None:
    """Where the instance or class is whose method is called; None for what is no method.

    A partial is called on what its function is, and a callable object on itself.
    """
    if isinstance(function, partial) and not isinstance(function.func, FunctionType):
        return _owner(function.func)
    method = function if isinstance(function, MethodType | BuiltinMethodType) else getattr(function, "__call__", None)  # noqa: B004  # it is the method that is asked for
    if isinstance(method, MethodType | BuiltinMethodType) and not isinstance(method.__self__, ModuleType):
        return Constant(method.__self__)
    first = next(iter(parameters_of(function) or ()), None)
    return Field(first, 0, ABSENT) if first in ("self", "cls") else None


def _owner_in(owner: Field | Constant, args: tuple[object, ...], kwargs: dict[str, object]) -> object:
    return owner.find(args, kwargs) if isinstance(owner, Field) else owner.value


def _class_name(owner: Any) -> str:
    # Not isinstance(owner, type): that would ask a `__class__` which the owner may have made up.
    kind = type(owner)
    return bounded(owner.__name__ if issubclass(kind, type) else kind.__name__)


def _symbol_arguments(function: Function) -> tuple[Field, ...]:
    parameters = parameters_of(function) or {}
    found = (field(name, parameters) for name in _SYMBOL_PARAMETERS)
    return tuple(argument for argument in found if isinstance(argument, Field))


def _text(thing: object, attribute: str) -> str | None:
    """An attribute if it is a text that is not empty; None too where looking at it raises."""
    try:
        value = getattr(thing, attribute, None)
        if type(value) is str and 0 < len(value) <= LONGEST:
            return value
        return exact(value)[:LONGEST] or None if isinstance(value, str) else None
    except Exception:  # noqa: BLE001  # a property may raise anything; then it is no evidence
        return None
