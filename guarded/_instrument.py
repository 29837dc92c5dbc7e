"""instrument, guarded_strategy and uninstrument: guards for classes, modules and packages that nobody has to edit."""

from __future__ import annotations

import itertools
import sys
import weakref
from importlib.abc import MetaPathFinder
from types import ModuleType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeVar, get_origin, overload

import wrapt

from guarded import _faults
from guarded._checks import near_miss
from guarded._decorator import Context, Settings, Spec, check_settings
from guarded._errors import InvalidConfiguration
from guarded._hosts import host_named, host_of
from guarded._instrumentation import Instrumentation, Methods, path_of
from guarded._locks import ForkSafeLock
from guarded._subclasses import follow, unfollow
from guarded._targets import Target, is_whole, of_base, of_module, parsed

if TYPE_CHECKING:
    from collections.abc import Callable
    from importlib.machinery import ModuleSpec

    from guarded._rules import FailureRules
    from guarded._tracker import FailureTracker

C = TypeVar("C", bound=type)


class _Active(NamedTuple):
    """An instrumentation, and what it was asked for with; a class is held weakly."""

    target: object
    methods: Methods
    instrumentation: Instrumentation

    def is_for(self, target: object) -> bool:
        """Whether it was asked for with this target, or is that."""
        mine = self.target() if isinstance(self.target, weakref.ref) else self.target
        is_equal = isinstance(target, str) and mine == target
        return is_equal or target is mine or target is self.instrumentation

    def is_like(self, methods: Methods) -> bool:
        """Whether it was asked for with the same settings."""
        same = all(map(_is_same, self.methods.given, methods.given))
        return same and (self.methods.names, self.methods.host) == (methods.names, methods.host)

    @property
    def is_gone(self) -> bool:
        """Whether its class is."""
        return isinstance(self.target, weakref.ref) and self.target() is None


_active: list[_Active] = []
_expected: set[str] = set()
_unfinished: set[str] = set()
"""Modules that are wanted, and were being imported when they were looked for."""
_lock = ForkSafeLock()
_numbers = itertools.count(1)


def instrument(
    target: str | type | ModuleType | None = None,
    /,
    *methods: str,
    host: str | None = None,
    strategy: Spec = None,
    symbol: Spec = None,
    tracker: FailureTracker | None = None,
    rules: FailureRules | None = None,
    context: Context = None,
    validate: Callable[[Any], object] | None = None,
    reraise: bool = False,
    no_signal: Callable[..., Any] | None = None,
    when_halted: Literal["refuse", "run"] = "refuse",
    reduce_only: bool = False,
) -> Instrumentation:
    """Guard methods of a class and of all its subclasses, or of what is in modules, without editing them.

    The guards are those that `guarded_signal` makes. Subclasses are covered when they are made, and modules when they
    are imported. What a subclass overrides is guarded there; where it calls `super()`, that call is part of its own:
    one exception is one failure, and the outermost call is the judge of success. Methods that are guarded together
    answer for a strategy and a symbol together: a success counts once each of them that failed has succeeded again.

    What cannot be seen: a method that is assigned to a class later (call this again), a function that a module has
    imported by its name before, a subclass that derives first from a class whose `__init_subclass__` does not call
    `super()`, what a reload makes anew.

    Args:
        target: A class; a module, or a package with all that is in it; or a text: a module or package, and in it, after
            a colon, a path of classes, methods and functions, as in `"my_bot.strategies.*:*.generate_signals"`. None:
            all strategies of the host.
        *methods: The names of methods and functions; `*` stands for anything. Left out where the target's path ends in
            one, or where the classes are strategies of a host.
        host: Whose callbacks are to be guarded, and how: `"backtesting"`, `"backtrader"`, `"freqtrade"`, `"ib_async"`,
            `"nautilus_trader"` or `"vnpy"`. By default that from whose base the class derives.
        strategy: As of `guarded_signal`, like all that follow; what is given here goes before what the host has.
        symbol: The same.
        tracker: The same.
        rules: The same.
        context: The same.
        validate: The same.
        reraise: The same.
        no_signal: The same.
        when_halted: The same.
        reduce_only: The same.

    Returns:
        What is guarded, what could not be and why, and what is not imported yet; it goes on to tell.

    Raises:
        InvalidConfiguration: The target matches nothing, or a setting cannot work. Of a module that is not imported yet
            its import raises it.

    Example:
        instrument("my_bot.strategies.*:*.generate_signals", symbol="{symbol}")
        instrument(MyStrategy)  # a subclass of freqtrade's IStrategy, say
        instrument(host="backtrader")  # every strategy of that host
    """
    given = Settings(strategy, symbol, tracker, rules, context, validate, reraise, no_signal, when_halted, reduce_only)
    _check(methods, given)
    what: Any = host if target is None else get_origin(target) or target
    preset = host_named(host) if host is not None else host_of(what) if isinstance(what, type) else None
    wanted = Methods(methods, preset, given)
    cover = _cover_host if target is None else _cover_class if isinstance(what, type) else _cover_modules
    with _lock:
        _active[:] = [one for one in _active if not one.is_gone]
        again = next((one for one in _active if one.is_for(what) and one.methods.names == methods), None)
        if again is None:
            return _begun(what, wanted, cover)
        if not again.is_like(wanted):
            raise InvalidConfiguration(
                f"instrument({_shown(what)!r}): it is instrumented already, with other settings; uninstrument it first"
            )
        _cover_again(again.instrumentation)
        return again.instrumentation


@overload
def guarded_strategy(cls: C, /) -> C: ...
@overload
def guarded_strategy(
    *methods: str,
    host: str | None = None,
    strategy: Spec = None,
    symbol: Spec = None,
    tracker: FailureTracker | None = None,
    rules: FailureRules | None = None,
    context: Context = None,
    validate: Callable[[Any], object] | None = None,
    reraise: bool = False,
    no_signal: Callable[..., Any] | None = None,
    when_halted: Literal["refuse", "run"] = "refuse",
    reduce_only: bool = False,
) -> Callable[[C], C]: ...
def guarded_strategy(*given: Any, **settings: Any) -> Any:
    """Guard methods of the class below, and of all its subclasses: `instrument` as a decorator.

    Args:
        *given: The names of the methods; none for a strategy of a host.
        **settings: What `instrument` takes.

    Returns:
        The class itself. Put this above a decorator that makes a new class, such as `attrs.define`.

    Raises:
        InvalidConfiguration: The class has no such method, or a setting cannot work.

    Example:
        @guarded_strategy("generate_signals", symbol="{symbol}")
        class Vwap:
            name = "VWAP"

            def generate_signals(self, symbol, bars):
                ...
    """
    if len(given) == 1 and isinstance(given[0], type):
        return guarded_strategy(**settings)(given[0])

    def decorate(cls: C) -> C:
        instrument(cls, *given, **settings)
        return cls

    return decorate


def uninstrument(target: str | type | ModuleType | Instrumentation | None = None) -> dict[str, str]:
    """Take guards off again, and put back exactly what was there.

    Args:
        target: What was given to `instrument`, the name of a host among it, or what it returned; None for everything.

    Returns:
        What had to be left as it is, and why: somebody has put something else there since.

    Raises:
        InvalidConfiguration: That is not instrumented.
    """
    target = get_origin(target) or target
    left: dict[str, str] = {}
    with _lock:
        wanted = [one for one in _active if target is None or one.is_for(target)]
        if target is not None and not wanted:
            known = ", ".join(sorted({one.instrumentation.target for one in _active})) or "nothing"
            raise InvalidConfiguration(f"uninstrument({_shown(target)!r}): that is not instrumented; {known} is")
        for one in wanted:
            left |= _end(one)
    return left


def _check(methods: tuple[Any, ...], given: Settings) -> None:
    """Check what can be checked before there is a method that it is for.

    Raises:
        InvalidConfiguration: It cannot work.
    """
    for name in methods:
        if not isinstance(name, str) or not name or "." in name:
            raise InvalidConfiguration(
                f"instrument(): method {name!r}: expected the name of a method or function, as in"
                ' instrument(target, "generate_signals", "on_bar"); where it is, the target says'
            )
    check_settings(given, "given to instrument")


def _begun(target: Any, methods: Methods, cover: Callable[[Instrumentation, Any], object]) -> Instrumentation:
    held = weakref.ref(target) if isinstance(target, type) else target
    one = _Active(held, methods, Instrumentation(_shown(target), methods, next(_numbers)))
    _active.append(one)
    try:
        cover(one.instrumentation, target)
        one.instrumentation.act_on_halts()
    except BaseException:
        _end(one)
        raise
    return one.instrumentation


def _end(one: _Active) -> dict[str, str]:
    _active.remove(one)
    followed = one.instrumentation.classes
    left = one.instrumentation.take_off()
    unfollow(followed, lambda cls: any(other.instrumentation.covers(cls) for other in _active))
    for other in _active:  # what this one had guarded may be the other's, too
        try:
            _cover_again(other.instrumentation)
        except Exception as fault:  # noqa: BLE001  # what was asked for is done, whatever the others meet
            _faults.report(f"{other.instrumentation.target} could not be guarded again", fault)
    return left


def _cover_again(one: Instrumentation) -> None:
    one.add_again()
    if one.modules is not None:
        _watch(one, one.modules)


def _cover_class(one: Instrumentation, cls: type) -> None:
    methods = one.methods
    if methods.host is None and not methods.names:
        raise InvalidConfiguration(
            f"instrument({path_of(cls)!r}): it names no method, and the class is no strategy of a host that guarded"
            f" knows; give the names of its methods, such as {', '.join(map(repr, _methods_of(cls)[:5]))}"
        )
    _check_callbacks(one)
    if methods.host is not None and not methods.names and not methods.host.has(cls):
        raise InvalidConfiguration(
            f"instrument({path_of(cls)!r}, host={methods.host.name!r}): it does not derive from"
            f" {' or '.join(methods.host.bases)}; give the names of its methods"
        )
    one.add_class(cls, strict=True)
    follow(cls, _made)
    if methods.names and not one.guarded and not one.is_guarded_elsewhere:
        reasons = "; ".join(f"{name}: {why}" for name, why in one.skipped.items())
        if reasons:
            raise InvalidConfiguration(f"instrument({path_of(cls)!r}): nothing of it can be guarded: {reasons}")
        misses = [near_miss(name, _methods_of(cls)) for name in methods.names]
        raise InvalidConfiguration(
            f"instrument({path_of(cls)!r}): neither it nor a subclass of it has {' or '.join(methods.names)}"
            f"{next(filter(None, misses), '')}"
        )


def _check_callbacks(one: Instrumentation) -> None:
    host = one.methods.host
    if host is not None and not host.callbacks and not one.methods.names:
        raise InvalidConfiguration(
            f"instrument({one.target!r}, host={host.name!r}): that host's handlers may have any name; give theirs, as"
            f' in instrument(Bot, "on_*", host={host.name!r})'
        )


def _cover_modules(one: Instrumentation, target: str | ModuleType) -> None:
    methods = one.methods
    if isinstance(target, ModuleType):
        if not methods.names and methods.host is None:
            raise InvalidConfiguration(f"instrument({target.__name__}): it names no method; give their names")
        one.modules = of_module(target, methods.names)
        _add_module(one, target)  # as far as it is there: it may call this itself
    elif isinstance(target, str):
        one.modules = parsed(target, methods.names, of_host=methods.host is not None)
        one.methods = methods._replace(names=one.modules.methods)
    else:
        raise InvalidConfiguration(f"instrument({target!r}): expected a class, a module, or the text of a target")
    _check_callbacks(one)
    _watch(one, one.modules)


def _cover_host(one: Instrumentation, name: object) -> None:
    host = one.methods.host
    if host is None or one.methods.names:
        raise InvalidConfiguration("instrument() was given no target: give a class, a module, or the text of a target")
    if not host.may_be_hooked:
        raise InvalidConfiguration(
            f"instrument(host={name!r}): its strategies cannot be found by themselves; name them, or their module, as"
            f' in instrument("my_bot.strategies", host={name!r})'
        )
    one.modules = of_base(host.bases[0])
    _watch(one, one.modules)


def _watch(one: Instrumentation, modules: Target) -> None:
    """Cover the modules that are imported, and be told of those that will be."""
    wrapt.register_post_import_hook(_nothing, __name__)  # so that wrapt's finder is there, behind ours
    if _finder not in sys.meta_path:
        sys.meta_path.insert(0, _finder)
    for module in modules.imported():
        if is_whole(module):
            _add_module(one, module)
        else:
            _unfinished.add(module.__name__)


def _add_module(one: Instrumentation, module: ModuleType) -> None:
    for cls in one.add_module(module):
        follow(cls, _made)


def _made(cls: type) -> None:
    """Cover a class that has just been made; a fault of ours does not keep it from being made."""
    with _lock:
        for one in _active:
            try:
                if one.instrumentation.covers(cls):
                    one.instrumentation.add_subclass(cls)
            except Exception as fault:  # noqa: BLE001  # a metaclass may raise anything
                _faults.report(f"{path_of(cls)} could not be guarded", fault)


def _imported(module: ModuleType) -> None:
    """Cover a module that has just been imported."""
    _expected.discard(module.__name__)
    with _lock:
        for one in _active:
            _add_module(one.instrumentation, module)


class _Finder(MetaPathFinder):
    """Finds nothing: it has wrapt tell when the modules that somebody waits for have been imported."""

    def find_spec(self, fullname: str, _path: object = None, _target: object = None) -> ModuleSpec | None:
        """None, always."""
        _finish()
        known = tuple(_active)  # a thread that imports does not wait for one that instruments
        waited_for = any((modules := one.instrumentation.modules) and modules.fits(fullname) for one in known)
        if waited_for and fullname not in _expected:
            _expected.add(fullname)
            wrapt.register_post_import_hook(_imported, fullname)
        return None


_finder = _Finder()


def _finish() -> None:
    """Cover the modules that were being imported when they were looked for, and are there by now."""
    for name in tuple(_unfinished):
        module = sys.modules.get(name)
        if module is None or is_whole(module):
            _unfinished.discard(name)
            if module is not None:
                _imported(module)


def _nothing(_module: ModuleType) -> None:
    """What is called for a module that nobody waits for."""


def _shown(target: object) -> str:
    if isinstance(target, type):
        return path_of(target)
    return target.__name__ if isinstance(target, ModuleType) else str(target)


def _methods_of(cls: type) -> list[str]:
    return [name for name in dir(cls) if not name.startswith("_") and callable(getattr(cls, name, None))]


def _is_same(one: object, other: object) -> bool:
    """Whether two settings are the same; only of texts and of mappings of them is it asked whether they are equal."""
    return one is other or (isinstance(one, str | dict) and type(one) is type(other) and one == other)
