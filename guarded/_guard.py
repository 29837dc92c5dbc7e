"""guarded_signal: the guard around a strategy's function or method; one rung for each kind of callable."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass
from types import CoroutineType, MethodType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, ParamSpec, Protocol, TypeVar, overload

from guarded import _course, _faults, _mode, _shared
from guarded._callback import finish, wait
from guarded._checks import checked_choice, checked_instance
from guarded._context import ContextResolver, context_resolver
from guarded._course import Course, enter, leave
from guarded._errors import InvalidConfiguration, SignalRejected
from guarded._json import json_safe
from guarded._names import Resolver, strategy_resolver, symbol_resolver
from guarded._outcome import Outcome
from guarded._recording import Settled, record_refusal, refusal, settle
from guarded._rules import FailureRules
from guarded._secrets import text_of
from guarded._templates import function_name, is_async
from guarded._tracker import FailureTracker

if TYPE_CHECKING:
    from guarded._halt import HaltRecord

P = ParamSpec("P")
R = TypeVar("R")
N = TypeVar("N")
T = TypeVar("T")
N_co = TypeVar("N_co", covariant=True)

_LONGEST_NAME = 200

Spec = str | Callable[..., object] | None
Context = Mapping[str, object] | Callable[..., Mapping[str, object]] | None


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


@dataclass(slots=True, eq=False)
class Guard:
    """What one guard was told, and what it does with a call that does not simply succeed.

    Attributes:
        awaits: Whether a plain `def` is known to return coroutines, as a decorator around an `async def` does.
    """

    function: Callable[..., Any]
    strategy: Resolver | str
    symbol: Resolver | str
    tracker: FailureTracker | None
    rules: FailureRules | None
    find_context: ContextResolver | None
    validate: Callable[[Any], object] | None
    reraise: bool
    no_signal: Callable[..., Any] | None
    runs_halted: bool
    reduce_only: bool
    awaits: bool = False

    def current_tracker(self) -> FailureTracker:
        """The tracker given, or the shared one."""
        return _shared.tracker if self.tracker is None else self.tracker

    def call(self, tracker: FailureTracker, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Outcome[Any]:
        """One guarded call the long way: with halts, mode and validation looked at."""
        __tracebackhide__ = True
        if _mode.current == "off":
            return Outcome(self.function(*args, **kwargs))
        halt = self._refusal(tracker, args, kwargs)
        if halt is not None:
            finish(record_refusal(tracker, GuardedCall(self, args, kwargs), halt))
            value = self._no_signal(args, kwargs)
            return Outcome(_awaitable(value) if self.awaits else value, refused=True)
        since = tracker._sequence
        try:
            result = self.function(*args, **kwargs)
            if type(result) is CoroutineType:
                return Outcome(self.awaited(tracker, result, args, kwargs))
            self.check(result)
        except Exception as error:
            ended = self.failed(tracker, since, error, args, kwargs)
            if ended is None:
                raise
            return ended
        self.succeeded(tracker, since, args, kwargs)
        return Outcome(result)

    def awaited(
        self,
        tracker: FailureTracker,
        coroutine: Coroutine[Any, Any, Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Coroutine[Any, Any, Any]:
        """What a plain `def` that returned a coroutine gives to its caller: that coroutine, guarded."""
        self.awaits = True

        async def value() -> Any:
            __tracebackhide__ = True
            return (await self.call_async(tracker, args, kwargs, coroutine)).value

        return value()

    async def call_async(
        self,
        tracker: FailureTracker,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        begun: Coroutine[Any, Any, Any] | None = None,
    ) -> Outcome[Any]:
        """The same for a coroutine function, or for the coroutine that a plain `def` has returned."""
        __tracebackhide__ = True
        if _mode.current == "off":
            return Outcome(await (self.function(*args, **kwargs) if begun is None else begun))
        halt = self._refusal(tracker, args, kwargs)
        if halt is not None:
            if begun is not None:
                begun.close()
            await wait(record_refusal(tracker, GuardedCall(self, args, kwargs), halt))
            return Outcome(self._no_signal(args, kwargs), refused=True)
        since = tracker._sequence
        course = Course()
        token = enter(course, tracker)
        try:
            result = await (self.function(*args, **kwargs) if begun is None else begun)
            self.check(result)
        except Exception as error:
            ended = await self.failed_async(tracker, since, error, course, args, kwargs)
            if ended is None:
                raise
            return ended
        finally:
            leave(course, token)
        self.succeeded_async(tracker, course, args, kwargs)
        return Outcome(result)

    def _refusal(self, tracker: FailureTracker, args: tuple[Any, ...], kwargs: dict[str, Any]) -> HaltRecord | None:
        if self.runs_halted:
            return None
        return refusal(tracker, GuardedCall(self, args, kwargs), reduce_only=self.reduce_only)

    def check(self, result: object) -> None:
        """Hold a result against `validate=`.

        Raises:
            SignalRejected: It is not accepted, or the validator cannot tell.
        """
        if self.validate is None or result is None:
            return
        try:
            accepted = _verdict(self.validate(result))
        except Exception as error:
            what = f"{_faults.kind_of(error)}: {_faults.describe(error)}"
            raise SignalRejected(f"{_validator_name(self.validate)} raised {what}") from error
        if not accepted:
            shown = repr(json_safe(result)) if isinstance(result, str) else json_safe(result)
            raise SignalRejected(f"{_validator_name(self.validate)} did not accept {shown}")

    def failed(
        self, tracker: FailureTracker, since: int, error: Exception, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Outcome[Any] | None:
        """What a call that raised ends in; None: the exception goes on."""
        settled = settle(tracker, since, error, GuardedCall(self, args, kwargs))
        finish(settled.unfinished)
        ended = self._ended(settled, args, kwargs)
        if ended is not None and self.awaits:
            return Outcome(_awaitable(ended.value), ended.failure, ended.refused)
        return ended

    async def failed_async(
        self,
        tracker: FailureTracker,
        since: int,
        error: Exception,
        course: Course,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Outcome[Any] | None:
        """The same for a coroutine function."""
        settled = settle(tracker, since, error, GuardedCall(self, args, kwargs, course))
        await wait(settled.unfinished)
        return self._ended(settled, args, kwargs)

    def _ended(self, settled: Settled, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Outcome[Any] | None:
        if settled.raises:
            return None
        return Outcome(self._no_signal(args, kwargs), settled.failure, settled.refused)

    def _no_signal(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        if self.no_signal is None:
            return None
        try:
            return self.no_signal(*args, **kwargs)
        except Exception as fault:  # noqa: BLE001  # a user's callable may raise anything
            _faults.report(f"no_signal= of {function_name(self.function)} raised; the caller gets None", fault)
            return None

    def succeeded(self, tracker: FailureTracker, since: int, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        """Count a success, unless the call's own course, which is its thread's, recorded a failure."""
        if tracker._sequence == since or not _course.thread_failed(tracker, since):
            self._succeed(tracker, args, kwargs)

    def succeeded_async(
        self, tracker: FailureTracker, course: Course, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        """The same for a coroutine function, whose course reaches the tasks that it starts."""
        if not course.failed:
            self._succeed(tracker, args, kwargs)

    def _succeed(self, tracker: FailureTracker, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        try:
            strategy, symbol = self.names(args, kwargs, None)
            tracker._succeed(strategy, symbol)
        except Exception as fault:  # noqa: BLE001  # a fault of ours is never the caller's
            _faults.report(f"a success of {function_name(self.function)} could not be recorded", fault)

    def names(self, args: tuple[Any, ...], kwargs: dict[str, Any], error: BaseException | None) -> tuple[str, str]:
        """Strategy and symbol of one call."""
        strategy, symbol = self.strategy, self.symbol
        return (
            strategy if isinstance(strategy, str) else strategy(args, kwargs, error),
            symbol if isinstance(symbol, str) else symbol(args, kwargs, error),
        )


class GuardedCall:
    """One call of a guarded function, for when it is refused or fails."""

    __slots__ = ("_args", "_course", "_guard", "_kwargs", "reraise", "rules")

    def __init__(
        self, guard: Guard, args: tuple[Any, ...], kwargs: dict[str, Any], course: Course | None = None
    ) -> None:
        self._course = course
        self._guard = guard
        self._args = args
        self._kwargs = kwargs
        self.rules = guard.rules
        self.reraise = guard.reraise

    def names(self, error: BaseException | None) -> tuple[str, str]:
        """Strategy and symbol."""
        return self._guard.names(self._args, self._kwargs, error)

    def course_failed(self, tracker: FailureTracker, since: int) -> bool:
        """Whether its own course has recorded a failure: its thread, or for a coroutine what runs within it."""
        return _course.thread_failed(tracker, since) if self._course is None else self._course.failed

    def context(self) -> dict[str, object]:
        """What `context=` adds."""
        find = self._guard.find_context
        return {} if find is None else find(self._args, self._kwargs)


async def _awaitable(value: Any) -> Any:
    return value


def _verdict(given: object) -> bool:
    if inspect.isawaitable(given):
        if inspect.iscoroutine(given):
            given.close()
        raise TypeError("it returned an awaitable instead of a verdict")
    if callable(given):
        raise TypeError("it returned a function instead of a verdict: a validator such as fresh(60) has to be called")
    return bool(given)


def _validator_name(validate: Callable[[Any], object]) -> str:
    name = getattr(validate, "__name__", None)
    return name if isinstance(name, str) else text_of(validate, _LONGEST_NAME, repr)


def _guard_def(guard: Guard) -> Callable[..., Any]:
    own, function, validates = guard.tracker, guard.function, guard.validate is not None

    @functools.wraps(function)
    def guarded(*args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        tracker = _shared.tracker if own is None else own
        pulse = tracker._pulse
        if pulse is None or validates:
            return guard.call(tracker, args, kwargs).value
        try:
            result = function(*args, **kwargs)
        except Exception as error:
            ended = guard.failed(tracker, pulse, error, args, kwargs)
            if ended is None:
                raise
            return ended.value
        if type(result) is CoroutineType:
            return guard.awaited(tracker, result, args, kwargs)
        if tracker._pulse is pulse and not tracker._live:
            tracker._succeeded_at = tracker._read_time()
        else:
            guard.succeeded(tracker, pulse, args, kwargs)
        return result

    return guarded


def _guard_async_def(guard: Guard) -> Callable[..., Any]:
    own, function, validates = guard.tracker, guard.function, guard.validate is not None

    @functools.wraps(function)
    async def guarded(*args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        tracker = _shared.tracker if own is None else own
        pulse = tracker._pulse
        if pulse is None or validates:
            return (await guard.call_async(tracker, args, kwargs)).value
        course = Course()
        token = enter(course, tracker)
        try:
            result = await function(*args, **kwargs)
        except Exception as error:
            ended = await guard.failed_async(tracker, pulse, error, course, args, kwargs)
            if ended is None:
                raise
            return ended.value
        finally:
            leave(course, token)
        if tracker._pulse is pulse and not tracker._live:
            tracker._succeeded_at = tracker._read_time()
        else:
            guard.succeeded_async(tracker, course, args, kwargs)
        return result

    return guarded


class Decorator(Protocol[N_co]):
    """What `guarded_signal(...)` returns: it takes a function and gives the guarded one."""

    @overload
    def __call__(self, function: staticmethod[P, R], /) -> staticmethod[P, R | N_co]: ...  # type: ignore[overload-overlap]  # it can be called, too
    @overload
    def __call__(self, function: classmethod[T, P, R], /) -> classmethod[T, P, R | N_co]: ...
    @overload
    def __call__(
        self, function: Callable[P, Coroutine[Any, Any, R]], /
    ) -> Callable[P, Coroutine[Any, Any, R | N_co]]: ...
    @overload
    def __call__(self, function: Callable[P, R], /) -> Callable[P, R | N_co]: ...


@overload
def guarded_signal(function: staticmethod[P, R], /) -> staticmethod[P, R | None]: ...  # type: ignore[overload-overlap]  # it can be called, too
@overload
def guarded_signal(function: classmethod[T, P, R], /) -> classmethod[T, P, R | None]: ...
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
    calls are refused until somebody resumes it. Works on functions, methods, `async def`, and on classmethods and
    staticmethods in either order; used bare or with settings. A success resets the streaks of its scopes.

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
            (`SignalRejected`, a data error). See `guarded.validators`.
        reraise: Record the failure, then let the same exception go on to the caller.
        no_signal: What to return instead of None, for hosts that cannot take it: a function of the call's arguments.
        when_halted: `"refuse"`: do not run while trading is halted. `"run"`: run all the same.
        reduce_only: The call only closes positions: it still runs while the halt's level is `REDUCING`.

    Returns:
        The guarded function, a plain Python function with the same signature. A function that is guarded already is
        returned as it is.

    Raises:
        InvalidConfiguration: A setting that cannot work.
        TypeError: What is decorated is no function, method, classmethod or staticmethod.

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
    return functools.partial(_guarded, settings=settings) if function is None else _guarded(function, settings)


def _guarded(target: Any, settings: Settings) -> Any:
    """The guarded form of whatever was decorated."""
    if isinstance(target, staticmethod | classmethod):
        return type(target)(_guarded(target.__func__, settings))
    if isinstance(target, MethodType):
        return MethodType(_guarded(target.__func__, settings), target.__self__)
    if guard_of(target) is not None:
        if settings != Settings():
            raise InvalidConfiguration(
                f"{function_name(target)} is guarded already: give all settings to one guarded_signal"
            )
        return target
    wrap = _rung(target)
    guard = _configured(target, settings)
    guarded = wrap(guard)
    guarded.__signature__ = inspect.signature(target)  # type: ignore[attr-defined]  # getfullargspec reads only this
    guarded.__guarded__ = guard  # type: ignore[attr-defined]
    return guarded


def _rung(target: Any) -> Callable[[Guard], Callable[..., Any]]:
    """What guards this kind of callable."""
    if isinstance(target, str):
        raise TypeError(f"guarded_signal was given the text {target!r}: did you mean strategy={target!r}?")
    if isinstance(target, type):
        raise TypeError(f"guarded_signal was given the class {target.__qualname__}: decorate its methods instead")
    if not inspect.isfunction(target) or inspect.isgeneratorfunction(target) or inspect.isasyncgenfunction(target):
        raise TypeError(
            f"guarded_signal was given {target!r}: expected a def or async def that returns its signal, a method,"
            " a classmethod or a staticmethod"
        )
    return _guard_async_def if inspect.iscoroutinefunction(target) else _guard_def


def _configured(function: Callable[..., Any], settings: Settings) -> Guard:
    """The guard of a function, its settings checked."""
    where = f"on {function_name(function)}"
    when_halted = checked_choice(settings.when_halted, ("refuse", "run"), f"when_halted {where}")
    return Guard(
        function=function,
        strategy=strategy_resolver(function, settings.strategy),
        symbol=symbol_resolver(function, settings.symbol),
        tracker=checked_instance(settings.tracker, FailureTracker, f"tracker {where}"),
        rules=checked_instance(settings.rules, FailureRules, f"rules {where}"),
        find_context=context_resolver(function, settings.context),
        validate=_checked_callable(settings.validate, f"validate {where}"),
        reraise=settings.reraise,
        no_signal=_checked_callable(settings.no_signal, f"no_signal {where}"),
        runs_halted=when_halted == "run",
        reduce_only=settings.reduce_only,
    )


def _checked_callable(given: Any, where: str) -> Any:
    if given is None or (callable(given) and not is_async(given)):
        return given
    raise InvalidConfiguration(f"{where}: expected a plain (not async) callable, got {given!r}")


def guard_of(target: Any) -> Guard | None:
    """The guard around a function; None for a function that has none of its own.

    A decorator around a guarded function copies the function's attributes, but is not what the guard wraps.
    """
    guard = getattr(target, "__guarded__", None)
    return guard if isinstance(guard, Guard) and getattr(target, "__wrapped__", None) is guard.function else None


@overload
def outcome(  # type: ignore[overload-overlap]  # a coroutine is a result, too
    function: Callable[P, Coroutine[Any, Any, R]], /, *args: P.args, **kwargs: P.kwargs
) -> Awaitable[Outcome[R]]: ...
@overload
def outcome(function: Callable[P, R], /, *args: P.args, **kwargs: P.kwargs) -> Outcome[R]: ...
def outcome(function: Any, /, *args: Any, **kwargs: Any) -> Any:
    """Call a guarded function and learn what became of the call; await the result for an `async def`.

    Args:
        function: A function or bound method that is guarded.
        *args: The call's arguments.
        **kwargs: The call's arguments.

    Returns:
        The `Outcome`. What the guard raises again (`reraise=True`, strict mode) is raised here as well.

    Raises:
        TypeError: The function is not guarded.

    Example:
        result = outcome(strategy.generate_signals, "AAPL", bars)
        if result.failure is not None:
            ...
    """
    if isinstance(function, MethodType):
        function, args = function.__func__, (function.__self__, *args)
    guard = guard_of(function)
    if guard is None:
        raise TypeError(f"outcome was given {function!r}, which is not guarded: decorate it with guarded_signal")
    call = guard.call_async if inspect.iscoroutinefunction(guard.function) else guard.call
    return call(guard.current_tracker(), args, kwargs)
