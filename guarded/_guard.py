"""Guard: what one guard was told, and what it does with a call that does not simply succeed."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from guarded import _course, _faults, _mode, _shared
from guarded._callback import finish, wait
from guarded._course import Course, enter, leave
from guarded._deferred import deferral
from guarded._errors import SignalRejected
from guarded._json import json_safe
from guarded._outcome import Outcome
from guarded._overrides import is_called_through_super, is_part_of_another, runs_guarded
from guarded._recording import Settled, record_refusal, refusal, settle
from guarded._secrets import text_of
from guarded._templates import function_name

if TYPE_CHECKING:
    from guarded._context import ContextResolver
    from guarded._halt import HaltRecord
    from guarded._kinds import Kind
    from guarded._names import Resolver
    from guarded._overrides import Patch
    from guarded._rules import FailureRules
    from guarded._tracker import FailureTracker

_LONGEST_NAME = 200


@dataclass(slots=True, eq=False)
class Guard:
    """What one guard was told, and what it does with a call that does not simply succeed.

    Attributes:
        function: What is guarded.
        kind: What a call of it gives.
        ends: What it raises to end an iteration, if it is an iterator's `__next__` or `__anext__`: no failure.
        skip: Says of a call that returns its result that it is not worth making; then it neither runs nor counts.
        reduces_by_call: Says of a call's arguments that it opens nothing: it is made while trading is halted, too.
        reduces_by_result: Says of a result that it opens nothing. Calls are made while trading is halted, too, and one
            that gives another result is refused.
        patch: What it stands in place of, if it was put there by `instrument`.
        calm: The set of calm keys of a tracker in which the key of all of its calls was last found: as long as the
            tracker still has that set, no streak and no halt is about them.
        hand_over: Makes the no-signal of a plain `def` what its caller waits for, once it is known to return awaitables
            or generators, as a decorator around an `async def` does.
    """

    function: Callable[..., Any]
    kind: Kind
    ends: type[Exception] | None
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
    patch: Patch | None = None
    skip: Callable[..., bool] | None = None
    reduces_by_call: Callable[..., bool] | None = None
    reduces_by_result: Callable[[Any], bool] | None = None
    hand_over: Callable[[Any], Any] | None = None
    calm: object = None

    def current_tracker(self) -> FailureTracker:
        """The tracker given, or the shared one."""
        return _shared.tracker if self.tracker is None else self.tracker

    @property
    def goes_the_long_way(self) -> bool:
        """Whether every call has to be looked at: it may be skipped, or part of another; its result may be refused."""
        return self._is_overridden or self.validate is not None or self.skip is not None

    def is_part(self, args: tuple[Any, ...]) -> bool:
        """Whether a call is part of one of a method that overrides this one, which answers for it."""
        return self.is_told(args) and is_part_of_another(self, args)

    def is_told(self, args: tuple[Any, ...]) -> bool:
        """Whether what a call raises goes on: `super()` has led to it in another thread than the call it belongs to."""
        return self._is_overridden and is_called_through_super(self, args)

    @property
    def _is_overridden(self) -> bool:
        return self.patch is not None and self.patch.overridden

    def call(self, tracker: FailureTracker, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Outcome[Any]:
        """One guarded call the long way: with halts, mode and validation looked at."""
        __tracebackhide__ = True
        if _mode.current == "off" or self.is_part(args):
            return Outcome(self.function(*args, **kwargs))
        halt = self.refusal(tracker, args, kwargs)
        if halt is not None and self.reduces_by_result is None:
            return self.handed_over(self.refuse(tracker, halt, args, kwargs))
        if self.skip is not None and self._tells(self.skip, args, kwargs, "called"):
            return Outcome(self._no_signal(args, kwargs))
        since = tracker._sequence
        try:
            result = self.function(*args, **kwargs)
            defer = deferral(type(result))  # type: ignore[arg-type]  # types are hashable
            if defer is None:
                self.check(result)
        except Exception as error:
            ended = self.failed(tracker, since, error, args, kwargs)
            if ended is None:
                raise
            return self.handed_over(ended)
        if defer is not None:
            return Outcome(defer(self, tracker, result, args, kwargs))
        return self._passed_on(tracker, since, halt, result, args, kwargs)

    def awaited(
        self,
        tracker: FailureTracker,
        begun: Awaitable[Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Coroutine[Any, Any, Any]:
        """A coroutine that awaits under guard what a plain `def` has returned."""

        async def value() -> Any:
            __tracebackhide__ = True
            return (await self.call_async(tracker, args, kwargs, begun)).value

        return value()

    async def call_async(
        self,
        tracker: FailureTracker,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
        begun: Awaitable[Any] | None = None,
    ) -> Outcome[Any]:
        """The same for a coroutine function, or for the awaitable that a plain `def` has returned.

        A coroutine has not run before it is awaited, so it may still be refused; a task, or another object, has.
        """
        __tracebackhide__ = True
        if _mode.current == "off" or self.is_part(args):
            return Outcome(await (self.function(*args, **kwargs) if begun is None else begun))
        halt = self.refusal(tracker, args, kwargs) if begun is None or isinstance(begun, Coroutine) else None
        if halt is not None:
            if isinstance(begun, Coroutine):
                begun.close()
            return await self.refuse_async(tracker, halt, args, kwargs)
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

    def refusal(self, tracker: FailureTracker, args: tuple[Any, ...], kwargs: dict[str, Any]) -> HaltRecord | None:
        """The halt that refuses a call; None if it may run."""
        if self.runs_halted:
            return None
        halt = refusal(tracker, GuardedCall(self, args, kwargs), reduce_only=self.reduce_only)
        if halt is None or self.reduces_by_call is None:
            return halt
        return None if self._tells(self.reduces_by_call, args, kwargs, "refused") else halt

    def _passed_on(
        self,
        tracker: FailureTracker,
        since: int,
        halt: HaltRecord | None,
        result: object,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> Outcome[Any]:
        """What a call that returned ends in: at a halt, in its result only if that opens nothing."""
        reduces = self.reduces_by_result
        if halt is not None and reduces is not None and not self._tells(reduces, (result,), {}, "refused"):
            return self.refuse(tracker, halt, args, kwargs)
        self.succeeded(tracker, since, args, kwargs)
        return Outcome(result)

    def refuse(
        self, tracker: FailureTracker, halt: HaltRecord, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Outcome[Any]:
        """Record a refusal, and what the call ends in."""
        finish(record_refusal(tracker, GuardedCall(self, args, kwargs), halt))
        return self._refused(args, kwargs)

    async def refuse_async(
        self, tracker: FailureTracker, halt: HaltRecord, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Outcome[Any]:
        """The same for what is awaited."""
        await wait(record_refusal(tracker, GuardedCall(self, args, kwargs), halt))
        return self._refused(args, kwargs)

    def _refused(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Outcome[Any]:
        """No signal; for an iterator its end, lest a loop over it spins."""
        if self.ends is not None and self.no_signal is None:
            raise self.ends
        return Outcome(self._no_signal(args, kwargs), refused=True)

    def handed_over(self, ended: Outcome[Any]) -> Outcome[Any]:
        """What a plain `def` that was refused or failed gives to its caller."""
        if self.hand_over is None:
            return ended
        return Outcome(self.hand_over(ended.value), ended.failure, ended.refused)

    def _tells(self, ask: Callable[..., bool], args: tuple[Any, ...], kwargs: dict[str, Any], otherwise: str) -> bool:
        """What one of a host's functions says; no if it cannot tell."""
        try:
            return ask(*args, **kwargs)
        except Exception as fault:  # noqa: BLE001  # a fault of ours is never the strategy's failure
            _faults.report(f"{function_name(ask)} could not tell; {function_name(self.function)} is {otherwise}", fault)
            return False

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
        if self.ends is not None and isinstance(error, self.ends):
            return None
        self._begin_anew(tracker)
        settled = settle(tracker, since, error, GuardedCall(self, args, kwargs))
        finish(settled.unfinished)
        return self._ended(tracker, settled, args, kwargs)

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
        if self.ends is not None and isinstance(error, self.ends):
            return None
        self._begin_anew(tracker)
        settled = settle(tracker, since, error, GuardedCall(self, args, kwargs, course))
        await wait(settled.unfinished)
        return self._ended(tracker, settled, args, kwargs)

    def _begin_anew(self, tracker: FailureTracker) -> None:
        """Know that nothing has to recover any more where no streak is left: it was reset, or resumed."""
        if self.patch is not None and not tracker._trouble:
            self.patch.methods.forget()

    def _ended(
        self, tracker: FailureTracker, settled: Settled, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> Outcome[Any] | None:
        patch, failure = self.patch, settled.failure
        if patch is not None and failure is not None:
            patch.methods.failed(tracker, (failure.strategy_name, failure.symbol), patch.name)
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
        if tracker._sequence != since and _course.thread_failed(tracker, since):
            return
        try:
            strategy, symbol, calm = self.strategy, self.symbol, tracker._calm
            if self.patch is not None:
                self._succeed_together(tracker, self.patch, args, kwargs)
            elif isinstance(strategy, str) and isinstance(symbol, str):
                tracker._succeed(strategy, symbol)
            else:
                tracker._succeed(
                    strategy if isinstance(strategy, str) else strategy(args, kwargs, None),
                    symbol if isinstance(symbol, str) else symbol(args, kwargs, None),
                )
            if isinstance(strategy, str) and isinstance(symbol, str) and (strategy, symbol) in calm:
                self.calm = calm
        except Exception as fault:  # noqa: BLE001  # a fault of ours is never the caller's
            _faults.report(f"a success of {function_name(self.function)} could not be recorded", fault)

    def succeeded_async(
        self, tracker: FailureTracker, course: Course, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        """The same for a coroutine function, whose course reaches the tasks that it starts."""
        if not course.failed:
            self._succeed(tracker, args, kwargs)

    def _succeed(self, tracker: FailureTracker, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        try:
            if self.patch is not None:
                self._succeed_together(tracker, self.patch, args, kwargs)
            else:
                tracker._succeed(*self.names(args, kwargs, None))
        except Exception as fault:  # noqa: BLE001  # a fault of ours is never the caller's
            _faults.report(f"a success of {function_name(self.function)} could not be recorded", fault)

    def _succeed_together(
        self, tracker: FailureTracker, patch: Patch, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> None:
        """Count a success of a method that was guarded together with others, unless one of them has to recover yet."""
        key = self.names(args, kwargs, None)
        if patch.methods.succeeded(tracker, key, patch.name):
            tracker._succeed(*key)

    def names(self, args: tuple[Any, ...], kwargs: dict[str, Any], error: BaseException | None) -> tuple[str, str]:
        """Strategy and symbol of one call."""
        strategy, symbol = self.strategy, self.symbol
        return (
            strategy if isinstance(strategy, str) else strategy(args, kwargs, error),
            symbol if isinstance(symbol, str) else symbol(args, kwargs, error),
        )


for _run in (Guard.call, Guard.call_async):
    runs_guarded(_run.__code__)


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
        self.reraise = guard.reraise or guard.is_told(args)

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


def guard_of(target: Any) -> Guard | None:
    """The guard around a function; None for a function that has none of its own.

    A decorator around a guarded function copies the function's attributes, but is not what the guard wraps.
    """
    guard = getattr(target, "__guarded__", None)
    return guard if isinstance(guard, Guard) and getattr(target, "__wrapped__", None) is guard.function else None


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
