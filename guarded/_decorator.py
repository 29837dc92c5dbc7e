"""guarded_signal: the decorator, for every kind of callable; is_guarded and outcome, which ask about its guards."""

from __future__ import annotations

import functools
import inspect
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator, Mapping
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, NoReturn, ParamSpec, Protocol, TypeVar, overload

from guarded import _exempt
from guarded._callables import GuardedAsyncCallable, GuardedCallable
from guarded._checks import checked_choice, checked_instance
from guarded._context import context_resolver
from guarded._errors import InvalidConfiguration
from guarded._functions import guard_coroutine_function, guard_function
from guarded._generators import guard_async_generator, guard_generator
from guarded._guard import Guard, guard_of
from guarded._kinds import Kind, kind_of
from guarded._names import strategy_resolver, symbol_resolver
from guarded._overrides import runs_guarded
from guarded._rules import FailureRules
from guarded._templates import check_syntax, function_name, is_async
from guarded._tracker import FailureTracker

if TYPE_CHECKING:
    from guarded._outcome import Outcome
    from guarded._overrides import Patch

P = ParamSpec("P")
R = TypeVar("R")
N = TypeVar("N")
T = TypeVar("T")
Y = TypeVar("Y")
S = TypeVar("S")
N_co = TypeVar("N_co", covariant=True)
D = TypeVar("D", bound="property | functools.partialmethod[Any]")

Spec = str | Callable[..., object] | None
Context = Mapping[str, object] | Callable[..., Mapping[str, object]] | None

_RUNGS: dict[Kind, Callable[[Guard], Callable[..., Any]]] = {
    Kind.RESULT: guard_function,
    Kind.COROUTINE: guard_coroutine_function,
    Kind.GENERATOR: guard_generator,
    Kind.ASYNC_GENERATOR: guard_async_generator,
}
_ENDS: dict[str, type[Exception]] = {"__next__": StopIteration, "__anext__": StopAsyncIteration}


class Settings(NamedTuple):
    """What somebody gave to `guarded_signal`."""

    strategy: Spec = None
    symbol: Spec = None
    tracker: FailureTracker | None = None
    rules: FailureRules | None = None
    context: Context = None
    validate: Callable[[Any], object] | None = None
    reraise: bool = False
    no_signal: Callable[..., Any] | None = None
    when_halted: str = "refuse"
    reduce_only: bool = False
    # What only `instrument` gives:
    patch: Patch | None = None
    skip: Callable[..., bool] | None = None
    reduces_by_call: Callable[..., bool] | None = None
    reduces_by_result: Callable[[Any], bool] | None = None


class Decorator(Protocol[N_co]):
    """What `guarded_signal(...)` returns: it takes a callable and gives the guarded one."""

    # The first keeps pyright from taking a function that returns Any for the first of the others that fits it.
    @overload
    def __call__(self, function: Callable[P, NoReturn], /) -> Callable[P, Any]: ...  # type: ignore[overload-overlap]  # NoReturn is every type
    @overload
    def __call__(self, function: D, /) -> D: ...
    @overload
    def __call__(self, function: staticmethod[P, R], /) -> staticmethod[P, R | N_co]: ...  # type: ignore[overload-overlap]  # it can be called, too
    @overload
    def __call__(self, function: classmethod[T, P, R], /) -> classmethod[T, P, R | N_co]: ...
    @overload
    def __call__(self, function: Callable[P, Generator[Y, S, R]], /) -> Callable[P, Generator[Y, S, R | N_co]]: ...
    @overload
    def __call__(self, function: Callable[P, AsyncGenerator[Y, S]], /) -> Callable[P, AsyncGenerator[Y, S]]: ...
    @overload
    def __call__(
        self, function: Callable[P, Coroutine[Any, Any, R]], /
    ) -> Callable[P, Coroutine[Any, Any, R | N_co]]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> Callable[P, R | N_co]: ...


@overload
def guarded_signal(function: Callable[P, NoReturn], /) -> Callable[P, Any]: ...  # type: ignore[overload-overlap]  # NoReturn is every type
@overload
def guarded_signal(function: D, /) -> D: ...
@overload
def guarded_signal(function: staticmethod[P, R], /) -> staticmethod[P, R | None]: ...  # type: ignore[overload-overlap]  # it can be called, too
@overload
def guarded_signal(function: classmethod[T, P, R], /) -> classmethod[T, P, R | None]: ...
@overload
def guarded_signal(function: Callable[P, Generator[Y, S, R]], /) -> Callable[P, Generator[Y, S, R | None]]: ...
@overload
def guarded_signal(function: Callable[P, AsyncGenerator[Y, S]], /) -> Callable[P, AsyncGenerator[Y, S]]: ...
@overload
def guarded_signal(function: Callable[P, Coroutine[Any, Any, R]], /) -> Callable[P, Coroutine[Any, Any, R | None]]: ...
@overload
def guarded_signal(function: Callable[P, R], /) -> Callable[P, R | None]: ...
@overload
def guarded_signal(
    *,
    strategy: Spec = None,
    symbol: Spec = None,
    tracker: FailureTracker | None = None,
    rules: FailureRules | None = None,
    context: Context = None,
    validate: Callable[[Any], object] | None = None,
    reraise: bool = False,
    no_signal: Callable[..., N],
    when_halted: Literal["refuse", "run"] = "refuse",
    reduce_only: bool = False,
) -> Decorator[N]: ...
@overload
def guarded_signal(
    *,
    strategy: Spec = None,
    symbol: Spec = None,
    tracker: FailureTracker | None = None,
    rules: FailureRules | None = None,
    context: Context = None,
    validate: Callable[[Any], object] | None = None,
    reraise: bool = False,
    no_signal: None = None,
    when_halted: Literal["refuse", "run"] = "refuse",
    reduce_only: bool = False,
) -> Decorator[None]: ...
def guarded_signal(
    function: Any = None,
    /,
    *,
    strategy: Spec = None,
    symbol: Spec = None,
    tracker: FailureTracker | None = None,
    rules: FailureRules | None = None,
    context: Context = None,
    validate: Callable[[Any], object] | None = None,
    reraise: bool = False,
    no_signal: Callable[..., Any] | None = None,
    when_halted: str = "refuse",
    reduce_only: bool = False,
) -> Any:
    """Guard a strategy's function or method: when it raises, the caller gets None, never an invented signal.

    The exception is classified, recorded under strategy and symbol, and counted; at the threshold trading halts, and
    calls are refused until somebody resumes it. A success resets the streaks of its scopes.

    Works on whatever can be called, bare or with settings: functions, methods, `async def`, callable objects, partials,
    builtins; on classmethods, staticmethods, properties and partialmethods in either order. A generator, asynchronous
    or not, is guarded step by step: each step asks whether trading is halted, each item is a success, and one that
    fails or is halted is closed and stops. What a plain `def` returns to be run later, an awaitable or a generator, is
    guarded until then. The end of an iteration passes through a guarded `__next__`.

    Args:
        function: What is guarded; left out where settings are given.
        strategy: Whose signal it is: a name, a template over the arguments such as `"{self.name}"`, or a callable over
            them. By default the nearest evidence: the instance's or class's `name` or `strategy_name`, the enclosing
            `track_signal` block, the class's name, the function's.
        symbol: Of which symbol; likewise. By default an argument called `symbol`, `pair` or `ticker`, the enclosing
            block, a `symbol` attribute of the exception, `"unknown"`.
        tracker: Who counts; by default the shared tracker as it is at the time of the call.
        rules: How exceptions are classified, instead of by the tracker's rules.
        context: What to add to the record of a failure: a mapping of values, templates and callables, or a callable
            over the arguments. It is looked at only when a call fails.
        validate: A function of the result, unless that is None; what it does not accept is a failure
            (`SignalRejected`, a data error). Of a generator each item. See `guarded.validators`.
        reraise: Record the failure, then let the same exception go on to the caller.
        no_signal: What to return instead of None, for hosts that cannot take it: a function of the call's arguments.
            A generator returns it where it stops.
        when_halted: `"refuse"`: do not run while trading is halted. `"run"`: run all the same.
        reduce_only: The call only closes positions: it still runs while the halt's level is `REDUCING`.

    Returns:
        The guarded function, a plain Python function with the same signature; for what is no Python function, a proxy
        that is the object itself in all else. What is guarded already is returned as it is.

    Raises:
        InvalidConfiguration: A setting that cannot work, or settings for what is guarded already.
        TypeError: What is decorated is a class, or cannot be called.

    Example:
        class Vwap:
            name = "VWAP"

            @guarded_signal(symbol="{symbol}")
            def generate_signals(self, symbol, bars):
                ...
    """
    settings = Settings(
        strategy, symbol, tracker, rules, context, validate, reraise, no_signal, when_halted, reduce_only
    )
    return functools.partial(guarded_form, settings=settings) if function is None else guarded_form(function, settings)


def is_guarded(target: object) -> bool:
    """Whether calls go through a guard.

    Args:
        target: A function or method, a classmethod, staticmethod, property or partial, or any other object.

    Example:
        assert is_guarded(strategy.generate_signals)
    """
    return guard_in(target) is not None


def guarded_form(target: Any, settings: Settings) -> Any:
    """The guarded form of whatever was decorated."""
    return _rebuilt(target, functools.partial(_guarded_callable, settings=settings))


def with_guard(target: Any, guard: Guard) -> Any:
    """What `guarded_form` has made with a guard, made anew, for the guard has changed since."""
    return _rebuilt(target, lambda _inner: _around_again(guard.function, guard))


def guard_in(target: object) -> Guard | None:
    """The guard that calls of a function, or of what a descriptor was made of, go through; None if there is none."""
    if isinstance(target, staticmethod | classmethod | MethodType):
        return guard_in(target.__func__)
    if isinstance(target, property):
        return guard_in(target.fget)
    guard = guard_of(target)
    if guard is None and isinstance(target, functools.partial | functools.partialmethod):
        return guard_in(target.func)
    return guard


def _rebuilt(target: Any, make: Callable[[Any], Any]) -> Any:
    """What was decorated, rebuilt around the guarded form of the callable in it."""
    kind = type(target)  # not isinstance: an object proxy may say that it is another's
    if issubclass(kind, staticmethod | classmethod):
        inner = _rebuilt(target.__func__, make)
        return target if inner is target.__func__ else kind(inner)
    if issubclass(kind, property) and target.fget is not None:
        inner = _rebuilt(target.fget, make)
        return target if inner is target.fget else target.getter(inner)
    if issubclass(kind, functools.partialmethod):
        inner = _rebuilt(target.func, make)
        return target if inner is target.func else kind(inner, *target.args, **target.keywords)
    if kind is MethodType:
        inner = _rebuilt(target.__func__, make)
        return target if inner is target.__func__ else MethodType(inner, target.__self__)
    return make(target)


def _guarded_callable(target: Any, settings: Settings) -> Any:
    if guard_of(target) is not None:
        if settings != Settings():
            raise InvalidConfiguration(
                f"{function_name(target)} is guarded already: give all settings to one guarded_signal"
            )
        return target
    _check_target(target)
    return _around(target, _configured(target, settings), functools.partial(_guarded_callable, settings=settings))


def _around_again(target: Any, guard: Guard) -> Any:
    return _around(target, guard, functools.partial(_around_again, guard=guard))


def _around(target: Any, guard: Guard, again: Callable[[Any], Any]) -> Any:
    """A target with its guard; `again` does the like for another object: a copy, or what comes out of a pickle."""
    guarded = _RUNGS[guard.kind](guard)
    if not isinstance(target, FunctionType):
        proxy = GuardedAsyncCallable if guard.kind is Kind.COROUTINE else GuardedCallable
        return proxy(target, guarded, guard, again)
    runs_guarded(guarded.__code__)
    functools.update_wrapper(guarded, target)
    guarded.__signature__ = inspect.signature(target)  # type: ignore[attr-defined]  # getfullargspec reads only this
    guarded.__guarded__ = guard  # type: ignore[attr-defined]
    return guarded


def _check_target(target: Any) -> None:
    if isinstance(target, str):
        raise TypeError(f"guarded_signal was given the text {target!r}: did you mean strategy={target!r}?")
    if isinstance(target, type):
        raise TypeError(
            f"guarded_signal was given the class {target.__qualname__}: decorate its methods instead,"
            " or a function that makes and uses an instance"
        )
    if not callable(target) or isinstance(target, staticmethod | classmethod | property):
        raise TypeError(
            f"guarded_signal was given {target!r}: expected a function, method, classmethod, staticmethod, property,"
            " partialmethod or another callable; of any other descriptor, decorate the function that it is made of"
        )


def check_settings(settings: Settings, where: str) -> None:
    """Check what can be checked of settings without the function that they are for.

    Args:
        settings: The settings.
        where: Where they came from, for the error's text.

    Raises:
        InvalidConfiguration: One of them cannot work.
    """
    checked_choice(settings.when_halted, ("refuse", "run"), f"when_halted {where}")
    checked_instance(settings.rules, FailureRules, f"rules {where}")
    checked_instance(settings.tracker, FailureTracker, f"tracker {where}")
    _checked_callable(settings.validate, f"validate {where}")
    _checked_callable(settings.no_signal, f"no_signal {where}")
    for name, text in ("strategy", settings.strategy), ("symbol", settings.symbol):
        try:
            check_syntax(text if isinstance(text, str) else "")
        except ValueError as error:
            raise InvalidConfiguration(f"{name}={text!r} {where}: {error}") from None


def _configured(function: Callable[..., Any], settings: Settings) -> Guard:
    """The guard of a function, its settings checked."""
    where = f"on {function_name(function)}"
    kind = kind_of(function)
    when_halted = checked_choice(settings.when_halted, ("refuse", "run"), f"when_halted {where}")
    if when_halted == "run":
        _exempt.note(f"{function_name(function)} runs while trading is halted")
    if settings.reduces_by_call is not None or settings.reduces_by_result is not None:
        _exempt.note(f"{function_name(function)} runs while trading is halted, if it opens nothing")
    if kind is Kind.ASYNC_GENERATOR and settings.no_signal is not None:
        raise InvalidConfiguration(f"no_signal {where}: an asynchronous generator ends without a value; leave it out")
    rules = checked_instance(settings.rules, FailureRules, f"rules {where}")
    for rule in () if rules is None else rules.exceptions_to_counting():
        _exempt.note(f"{function_name(function)}: {rule}")
    return Guard(
        function=function,
        kind=kind,
        ends=_ENDS.get(getattr(function, "__name__", "")),
        strategy=strategy_resolver(function, settings.strategy),
        symbol=symbol_resolver(function, settings.symbol),
        tracker=checked_instance(settings.tracker, FailureTracker, f"tracker {where}"),
        rules=rules,
        find_context=context_resolver(function, settings.context),
        validate=_checked_callable(settings.validate, f"validate {where}"),
        reraise=settings.reraise,
        no_signal=_checked_callable(settings.no_signal, f"no_signal {where}"),
        runs_halted=when_halted == "run",
        reduce_only=settings.reduce_only,
        patch=settings.patch,
        skip=settings.skip,
        reduces_by_call=settings.reduces_by_call,
        reduces_by_result=settings.reduces_by_result,
    )


def _checked_callable(given: Any, where: str) -> Any:
    if given is None or (callable(given) and not is_async(given)):
        return given
    raise InvalidConfiguration(f"{where}: expected a plain (not async) callable, got {given!r}")


@overload
def outcome(  # type: ignore[overload-overlap]  # a coroutine is a result, too
    function: Callable[P, Coroutine[Any, Any, R]], /, *args: P.args, **kwargs: P.kwargs
) -> Awaitable[Outcome[R]]: ...
@overload
def outcome(function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Outcome[R]: ...
def outcome(function: Any, /, *args: Any, **kwargs: Any) -> Any:
    """Call a guarded function and learn what became of the call; await the result for an `async def`.

    Args:
        function: A guarded function, bound method or other callable that returns its result or a coroutine.
        *args: The call's arguments.
        **kwargs: The call's arguments.

    Returns:
        The `Outcome`. What the guard raises again (`reraise=True`, strict mode) is raised here as well.

    Raises:
        TypeError: The function is not guarded, or it is a generator function: its failures belong to its steps.

    Example:
        result = outcome(strategy.generate_signals, "AAPL", bars)
        if result.failure is not None:
            ...
    """
    if type(function) is functools.partial:
        return outcome(function.func, *function.args, *args, **{**function.keywords, **kwargs})
    if isinstance(function, MethodType):
        function, args = function.__func__, (function.__self__, *args)
    guard = guard_of(function)
    if guard is None:
        raise TypeError(f"outcome was given {function!r}, which is not guarded: decorate it with guarded_signal")
    if guard.kind in (Kind.GENERATOR, Kind.ASYNC_GENERATOR):
        raise TypeError(
            f"outcome was given {function_name(function)}, whose calls give {guard.kind.value}, guarded step by step:"
            " subscribe to the tracker to learn of its failures"
        )
    call = guard.call_async if guard.kind is Kind.COROUTINE else guard.call
    return call(guard.current_tracker(), args, kwargs)
