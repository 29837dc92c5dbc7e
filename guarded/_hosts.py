"""Hosts: the frameworks whose strategies guarded knows: which callbacks they have, and how each is guarded."""

from __future__ import annotations

import importlib
import inspect
import re
from copy import copy
from dataclasses import dataclass
from functools import cache, partial
from operator import attrgetter
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from guarded._checks import near_miss
from guarded._decorator import Settings
from guarded._errors import InvalidConfiguration
from guarded._templates import compile_template, exact, parameters_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

HOSTS: Final = ("backtesting", "backtrader", "freqtrade", "ib_async", "nautilus_trader", "vnpy")

_FOLDER = Path(__file__).parent / "hosts"
_FIELD = re.compile(r"(?<!\{)\{(\w+)")
_NAME = re.compile(r"[\w.]+:[\w.]+")
_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)


@dataclass(frozen=True, slots=True)
class Callback:
    """A method that a host calls, and how it is guarded.

    Attributes:
        parameters: Its parameters as the host calls them; a strategy may have other names for those.
        strategy: As of `guarded_signal`, with the host's names for the parameters.
        symbol: The same.
        when_halted: The same.
        reraise: The same.
        returns: What the host takes for "no signal": a value, the name of the argument that it is, or a function of
            the call's arguments by its dotted name; None if it takes None.
        skip: A function of the call's arguments, by its dotted name, that says whether it is not worth making: what it
            needs is known to be missing. Then it neither runs nor counts; None: it always is.
        reduces: A function by its dotted name that says whether a call opens nothing, and may run while trading is
            halted: by `"call"`, of its arguments, or by `"result"`, of what it returned.
        inherited: Whether it is guarded in strategies that do not define it, too.
    """

    parameters: tuple[str, ...]
    strategy: str | None
    symbol: str | None
    when_halted: str
    reraise: bool
    returns: Mapping[str, Any] | None
    skip: str | None
    reduces: Mapping[str, str]
    inherited: bool

    def settings(self, function: Any) -> Settings:
        """The settings for a strategy's own method."""
        renamed = partial(_renamed, self.parameters, function)
        return Settings(
            strategy=None if self.strategy is None else renamed(self.strategy),
            symbol=None if self.symbol is None else _source(renamed(self.symbol)),
            reraise=self.reraise,
            no_signal=None if self.returns is None else _no_signal(self.returns, renamed, function),
            when_halted=self.when_halted,
            skip=None if self.skip is None else resolved(self.skip),
            **{f"reduces_by_{what}": resolved(function) for what, function in self.reduces.items()},
        )


@dataclass(frozen=True, slots=True, eq=False)
class Host:
    """A framework whose strategies guarded knows.

    Attributes:
        name: The name it has in settings.
        bases: Its classes that strategies derive from; their own methods are left alone.
        callbacks: What it calls, by name.
        others: How any other method is guarded.
        on_halt: What a halt has to do to a strategy, in every process: `on_halt(strategy, halt)`.
        may_be_hooked: Whether its base can be told to tell of its subclasses: it is no class made in C.
    """

    name: str
    bases: tuple[str, ...]
    callbacks: Mapping[str, Callback]
    others: Callback
    on_halt: Callable[[Any, Any], object] | None
    may_be_hooked: bool

    def has(self, cls: type) -> bool:
        """Whether a class is a strategy of this host; any may be if it has no base."""
        return not self.bases or any(_dotted(one) in self.bases for one in cls.__mro__)

    def callbacks_of(self, cls: type) -> list[str]:
        """The names of the callbacks that are to be guarded in a class: those that are not the host's own."""
        own = {base for one in cls.__mro__ if _dotted(one) in self.bases for base in one.__mro__}
        if cls in own:
            return []
        found = {name: next((one for one in cls.__mro__ if name in vars(one)), None) for name in self.callbacks}
        return [
            name
            for name, owner in found.items()
            if owner is not None and (owner not in own or self.callbacks[name].inherited)
        ]

    def names_of(self, strategy: Any, given: Settings) -> tuple[str | None, str | None]:
        """The strategy's name and its symbol, as far as the strategy by itself can tell them."""
        name = self.others.strategy if given.strategy is None else given.strategy
        symbol = self.others.symbol if given.symbol is None else given.symbol
        return _told(name, strategy), _told(symbol, strategy)

    def settings_of(self, name: str, function: object) -> Settings:
        """How a method of a strategy is guarded."""
        return self.callbacks.get(name, self.others).settings(function)


def host_named(name: str) -> Host:
    """A host by its name.

    Raises:
        InvalidConfiguration: There is none.
    """
    if name not in HOSTS:
        raise InvalidConfiguration(
            f"host={name!r}: guarded does not know it{near_miss(str(name), HOSTS)}; expected one of"
            f" {', '.join(map(repr, HOSTS))}, or give the names of the methods"
        )
    return _read(name)


def host_of(cls: type) -> Host | None:
    """The host whose base a class derives from."""
    packages = {one.__module__.partition(".")[0] for one in cls.__mro__}
    for name in HOSTS:
        host = _read(name)
        if host.bases and not packages.isdisjoint(base.partition(".")[0] for base in host.bases) and host.has(cls):
            return host
    return None


@cache
def _read(name: str) -> Host:
    import tomllib  # noqa: PLC0415  # only what a host's strategies need

    data = tomllib.loads((_FOLDER / f"{name}.toml").read_text(encoding="utf-8"))
    plain = {"strategy": data.get("strategy"), "symbol": data.get("symbol")}
    callbacks = {each: _callback({**plain, **entry}) for entry in data["callback"] for each in entry["names"]}
    on_halt = data.get("on_halt")
    return Host(
        name=data["host"],
        bases=tuple(data["bases"]),
        callbacks=MappingProxyType(callbacks),
        others=_callback({**plain, "parameters": ["self"]}),
        on_halt=None if on_halt is None else resolved(on_halt),
        may_be_hooked=data.get("may_be_hooked", bool(data["bases"])),
    )


def _callback(entry: Mapping[str, Any]) -> Callback:
    return Callback(
        parameters=tuple(entry["parameters"]),
        strategy=entry.get("strategy"),
        symbol=entry.get("symbol"),
        when_halted=entry.get("when_halted", "refuse"),
        reraise=entry.get("reraise", False),
        returns=entry.get("returns"),
        skip=entry.get("skip"),
        reduces=entry.get("reduces", {}),
        inherited=entry.get("inherited", False),
    )


def resolved(dotted: str) -> Any:
    """What a dotted name such as `"guarded.hosts.vnpy:stop"` names."""
    module, _, path = dotted.partition(":")
    return attrgetter(path)(importlib.import_module(module))


def _dotted(cls: type) -> str:
    return f"{cls.__module__}.{cls.__qualname__}"


def _source(text: str) -> str | Callable[..., object]:
    """A template, or the function that a dotted name with a colon names."""
    return resolved(text) if _NAME.fullmatch(text) else text


def _renamed(parameters: tuple[str, ...], function: Any, template: str) -> str:
    """A template whose fields have the names that a strategy's own method has for the host's parameters."""
    own = parameters_of(function)
    names = [] if own is None else [one.name for one in own.values() if one.kind in _POSITIONAL]
    known = {theirs: mine for theirs, mine in zip(parameters, names, strict=False) if own and theirs not in own}
    return _FIELD.sub(lambda found: "{" + known.get(found[1], found[1]), template)


def _no_signal(returns: Mapping[str, Any], renamed: Callable[[str], str], function: Any) -> Callable[..., Any]:
    if "function" in returns:
        return resolved(returns["function"])  # type: ignore[no-any-return]  # it is a function
    if "value" in returns:
        return partial(_value, returns["value"])
    name = returns["argument"]
    try:
        return partial(_argument, compile_template(renamed(f"{{{name}}}"), function, "no_signal="))
    except InvalidConfiguration:
        return partial(_keyword, name)  # it has other parameters, and the host passes this one by its name


def _of_itself(self: object) -> None: ...


def _told(spec: object, strategy: Any) -> str | None:
    """What a name is for a strategy; None where that takes more than the strategy."""
    if not isinstance(spec, str) or _NAME.fullmatch(spec):
        return None
    try:
        source = compile_template(spec, _of_itself, "")
        return source if isinstance(source, str) else exact(source.get((strategy,), {}))
    except Exception:  # noqa: BLE001  # it needs the call, or the strategy is not made to its end
        return None


def _value(value: object, /, *_: object, **__: object) -> object:
    return copy(value)


def _keyword(name: str, /, *_: object, **kwargs: object) -> object:
    return kwargs[name]


def _argument(source: Any, /, *args: object, **kwargs: object) -> object:
    return source.get(args, kwargs)
