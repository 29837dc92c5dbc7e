"""The guard stays on wherever people put guarded callables, with the real libraries that take them there."""

from __future__ import annotations

import asyncio
import concurrent.futures
import copy
import dataclasses
import functools
import inspect
import multiprocessing
import pickle
import pydoc
import subprocess
import sys
import threading
import typing
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

import attrs
import eventkit
import joblib
import numba
import pool_strategies
import pytest
from kinds import call
from pool_strategies import EVERY, Strategy, counted, generate
from pytest_mock import MockerFixture

from guarded import FailureTracker, guarded_signal, is_guarded
from guarded._callables import GuardedCallable

every_one = pytest.mark.parametrize("name", EVERY)


class Handlers:
    """What hosts are given: each takes one bar."""

    name = "Handlers"

    @guarded_signal
    def method(self, bar: float) -> float:
        return 1 / bar

    @guarded_signal
    @functools.lru_cache(maxsize=0)  # noqa: B019  # which caches nothing: a method that is no Python function
    def cached(self, bar: float) -> float:
        return 1 / bar

    @guarded_signal
    async def asynchronous(self, bar: float) -> float:
        return 1 / bar

    def __call__(self, bar: float) -> float:
        return 1 / bar


@guarded_signal
def function(bar: float) -> float:
    return 1 / bar


def divided(scale: float, bar: float) -> float:
    return scale / bar


handlers = Handlers()
HANDLERS: dict[str, Any] = {
    "function": function,
    "method": handlers.method,
    "cached method": handlers.cached,
    "callable object": guarded_signal(Handlers()),
    "partial": guarded_signal(functools.partial(divided, 1.0)),
    "builtin": guarded_signal((1.0).__truediv__),
}
every_handler = pytest.mark.parametrize("handler", HANDLERS.values(), ids=HANDLERS)


class TestEventkit:
    """`event += handler`, as ib_async has it."""

    @every_handler
    def test_a_handler_stays_guarded(self, handler: Any, tracker: FailureTracker) -> None:
        """An event calls the guard: a failing handler is recorded, does not run while halted, and can be taken off."""
        event = eventkit.Event("bar")
        event += handler
        event.emit(0.0)
        assert tracker.total_failures == 1
        tracker.halt_manager.trigger_halt("drill")
        event.emit(0.0)
        assert (tracker.total_failures, tracker.refusals) == (1, 1)
        event -= handler
        event.emit(0.0)
        assert tracker.refusals == 1

    def test_an_async_handler_stays_guarded(self, tracker: FailureTracker) -> None:
        """An async handler is started by the event, and guarded."""

        async def main() -> None:
            event = eventkit.Event("bar")
            event += handlers.asynchronous
            event.emit(0.0)
            await asyncio.gather(*(asyncio.all_tasks() - {asyncio.current_task()}))

        asyncio.run(main())
        assert tracker.total_failures == 1

    def test_an_event_holds_a_method_weakly(self, tracker: FailureTracker) -> None:
        """An event lets go of a strategy that nobody else holds, as it does without the guard."""
        event = eventkit.Event("bar")
        strategy = Handlers()
        event += strategy.method
        del strategy
        event.emit(0.0)
        assert tracker.total_failures == 0


SCRIPT = """
import functools, sys
from pathlib import Path
import cloudpickle
from guarded import guarded_signal

@guarded_signal(strategy="VWAP", symbol="AAPL")
def function(close):
    return 1 / close

@guarded_signal
def generator(close):
    yield 1 / close

@guarded_signal
async def coroutine(close):
    return 1 / close

class Strategy:
    name = "Main"
    @guarded_signal
    def method(self, close):
        return 1 / close
    def __call__(self, close):
        return 1 / close

function(1.0)  # a guard that has been used pickles as well
calls = [function, Strategy().method, guarded_signal(Strategy()), guarded_signal(functools.partial(divmod, 1))]
Path(sys.argv[1]).write_bytes(cloudpickle.dumps([*calls, generator, coroutine]))
"""

READER = """
import asyncio, pickle, sys
from pathlib import Path
from guarded import get_failure_tracker, is_guarded

*calls, generator, coroutine = pickle.loads(Path(sys.argv[1]).read_bytes())
tracker = get_failure_tracker()
assert all(map(is_guarded, [*calls, generator, coroutine]))
results = [call(0) for call in calls[:2]]
tracker.reset()
results += [call(0) for call in calls[2:]]
tracker.reset()
results += [list(generator(0)), asyncio.run(coroutine(0))]
tracker.halt_manager.trigger_halt("drill")
results += [call(1) for call in calls]
print(results, tracker.total_failures, tracker.refusals)
"""


def test_cloudpickle_by_value(tmp_path: Path) -> None:
    """What `__main__` defines is pickled by value, guard and all, and counts in the tracker of its new process."""
    for name, script in (("writer", SCRIPT), ("reader", READER)):
        (tmp_path / f"{name}.py").write_text(script, encoding="utf-8")
        done = subprocess.run(
            [sys.executable, f"{name}.py", "things.pickle"],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
    assert done.stdout.split("\n")[0] == "[None, None, None, None, [], None, None, None, None, None] 6 4"


def test_joblib_with_loky() -> None:
    """Joblib's worker processes call the guard, of functions, methods, callable objects and partials."""
    with joblib.parallel_config(backend="loky", n_jobs=2):
        results = joblib.Parallel()(joblib.delayed(counted)(name, signal) for name, signal in EVERY.items())
    assert results == [(0.5, None, 1)] * len(EVERY)


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_process_pools(method: str, tracker: FailureTracker) -> None:
    """Worker processes, however they are started, call the guard, and count in a tracker of their own."""
    context = multiprocessing.get_context(method)
    with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
        results = [pool.submit(counted, name, signal).result(60) for name, signal in EVERY.items()]
    assert results == [(0.5, None, 1)] * len(EVERY)
    assert tracker.total_failures == 0


def _any(value: Any) -> Any:
    return value


class TestNumba:
    """Compiled code has no place for a guard."""

    def test_compiling_a_guarded_function_is_refused(self) -> None:
        """numba.njit of a guarded function raises when it is called, rather than compile what is guarded."""
        with pytest.raises(numba.core.errors.UnsupportedBytecodeError):
            numba.njit(_any(function))(1.0)

    def test_a_compiled_function_is_guarded_from_python(self, tracker: FailureTracker) -> None:
        """A guard around a compiled function works, also as a method, and the function keeps its attributes."""
        compiled = numba.njit(lambda bar: 1 / bar)
        guarded: Any = guarded_signal(compiled)
        method = type("Strategy", (), {"generate": guarded_signal(numba.njit(lambda self, bar: 1 / bar))})
        assert (guarded(2.0), guarded(0)) == (0.5, None)
        assert method.generate(None, 0) is None  # type: ignore[attr-defined]  # made here
        assert tracker.total_failures == 2
        assert guarded.py_func is compiled.py_func

    def test_compiled_code_does_not_leave_the_guard_out(self, tracker: FailureTracker) -> None:
        """Compiled code that calls a guarded compiled function raises a TypeError that says what to do."""
        guarded: Any = guarded_signal(numba.njit(lambda bar: 1 / bar))

        outer = numba.njit(_any(lambda bar: guarded(bar)))  # noqa: PLW0108  # the call is to be compiled
        with pytest.raises(TypeError, match="is guarded, and would lose its guard inside compiled code: call it from"):
            outer(1.0)
        with pytest.raises(AttributeError):
            guarded_signal(Handlers())._numba_type_  # type: ignore[attr-defined]  # noqa: B018  # as numba asks


class TestReferences:
    """What holds a method and calls it later."""

    @pytest.mark.parametrize("name", ["method", "cached"])
    def test_weak_methods_and_functions_of_methods(self, name: str, tracker: FailureTracker) -> None:
        """weakref.WeakMethod gives the guarded method, and `method.__func__` is guarded."""
        method = getattr(handlers, name)
        assert _any(weakref.WeakMethod(method)())(0.0) is None
        assert method.__func__(handlers, 0.0) is None
        assert tracker.total_failures == 2
        assert method == getattr(handlers, name)
        assert hash(method) == hash(getattr(handlers, name))

    @every_handler
    def test_threads_and_executors(self, handler: Any, tracker: FailureTracker) -> None:
        """A thread, a thread pool and a loop's executor call the guard."""

        async def main() -> list[Any]:
            loop = asyncio.get_running_loop()
            return [await asyncio.to_thread(handler, 0.0), await loop.run_in_executor(None, handler, 0.0)]

        thread = threading.Thread(target=handler, args=(0.0,))
        thread.start()
        thread.join()
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            assert list(pool.map(handler, [2.0, 0.0])) == [0.5, None]
        tracker.reset()
        tracker.resume(by="ana", reason="so far two")
        assert asyncio.run(main()) == [None, None]
        assert tracker.total_failures == 4


class TestPickling:
    """pickle, copy and deepcopy."""

    @every_one
    @pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
    def test_it_comes_back_guarded(self, name: str, protocol: int, tracker: FailureTracker) -> None:
        """Everything that pickles without its guard pickles with it, by every protocol."""
        signal = pickle.loads(pickle.dumps(EVERY[name], protocol))  # noqa: S301  # its own
        assert counted(name, signal) == (0.5, None, 1)
        assert is_guarded(signal)

    @every_one
    @pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy])
    def test_copies_are_guarded(self, name: str, copied: Callable[[Any], Any], tracker: FailureTracker) -> None:
        """Copies, deep or not, are guarded."""
        assert counted(name, copied(EVERY[name])) == (0.5, None, 1)

    def test_an_object_that_keeps_a_bound_method(self, tracker: FailureTracker) -> None:
        """What keeps the guarded method of another object survives pickle and deepcopy, and the two stay together."""
        kept: dict[str, Any] = {"strategy": (strategy := Strategy()), "signal": strategy.generate}
        for again in (pickle.loads(pickle.dumps(kept)), copy.deepcopy(kept)):  # noqa: S301  # its own
            assert again["signal"].__self__ is again["strategy"] is not strategy
            assert again["signal"]("AAPL", 0.0) is None
        assert tracker.strategy_failures == {"Pooled": 2}

    def test_a_function_pickles_by_name(self) -> None:
        """A function of a module is pickled by its name."""
        assert pickle.loads(pickle.dumps(generate)) is generate  # noqa: S301  # its own


class TestMocks:
    """unittest.mock and pytest-mock."""

    @pytest.mark.parametrize("signal", [generate, Strategy.generate, Strategy().generate, Handlers.asynchronous])
    def test_autospec_has_the_signature(self, signal: Any) -> None:
        """create_autospec of something guarded checks arguments as the strategy would, and is async where that is."""
        double = mock.create_autospec(signal)
        with pytest.raises(TypeError):
            call(double, 1, 2, 3, 4)
        count = len(inspect.signature(signal).parameters)
        result = double(*range(count))
        assert inspect.iscoroutine(result) == inspect.iscoroutinefunction(signal)
        if inspect.iscoroutine(result):
            result.close()

    def test_patching_with_autospec(self) -> None:
        """patch.object(..., autospec=True) replaces a guarded method, and puts it back."""
        with mock.patch.object(Strategy, "generate", autospec=True, return_value="patched") as double:
            strategy = Strategy()
            assert strategy.generate("AAPL", 0.0) == "patched"  # type: ignore[comparison-overlap]  # patched
            double.assert_called_once_with(strategy, "AAPL", 0.0)
        assert is_guarded(Strategy.generate)

    def test_spying_keeps_the_guard(self, mocker: MockerFixture, tracker: FailureTracker) -> None:
        """mocker.spy on a guarded method or function sees the calls, and the guard is still there."""
        strategy = Strategy()
        method, spied = mocker.spy(strategy, "generate"), mocker.spy(pool_strategies, "generate")
        assert strategy.generate("AAPL", 0.0) is None
        assert pool_strategies.generate("MSFT", 0.0) is None
        assert (method.spy_return, spied.spy_return) == (None, None)
        assert (method.call_count, spied.call_count) == (1, 1)
        assert tracker.symbol_failures == {"AAPL": 1, "MSFT": 1}


class TestInspection:
    """What hosts read of a callable."""

    @staticmethod
    def pairs() -> list[tuple[Any, Any]]:
        def of_function(symbol: str, close: float = 1.0, *bars: int, deep: bool = False, **rest: str) -> float:
            """Make a signal."""
            return 1 / close

        class Of:
            """A strategy as an object."""

            def __call__(self, symbol: str, close: float = 1.0) -> float:
                """Make a signal."""
                return 1 / close

            def method(self, symbol: str, close: float = 1.0) -> float:
                """Make a signal."""
                return 1 / close

        instance = Of()
        partial = functools.partial(of_function, "AAPL")
        every = (of_function, Of.method, instance.method, instance, partial)
        return [(plain, guarded_signal(_any(plain))) for plain in every]

    @pytest.mark.parametrize("pair", pairs(), ids=["function", "plain method", "bound method", "object", "partial"])
    def test_they_read_the_same(self, pair: tuple[Any, Any]) -> None:
        """Signature, argument specification, names, docstring, module and help are those of what is guarded."""
        plain, guarded = pair
        assert inspect.signature(guarded) == inspect.signature(plain)
        if not isinstance(guarded, GuardedCallable):
            assert inspect.getfullargspec(guarded) == inspect.getfullargspec(plain)
            assert pydoc.render_doc(guarded) == pydoc.render_doc(plain)
        else:  # read from its signature, which has no self
            by_position = inspect.Parameter.POSITIONAL_OR_KEYWORD
            named = [name for name, p in inspect.signature(plain).parameters.items() if p.kind is by_position]
            assert inspect.getfullargspec(guarded).args == named
        for attribute in ("__name__", "__qualname__", "__module__", "__doc__"):
            assert getattr(guarded, attribute, None) == getattr(plain, attribute, None)

    def test_hints_and_source(self) -> None:
        """Type hints and source are those of the strategy's own function."""
        assert typing.get_type_hints(generate) == {"symbol": str, "close": float, "return": float}
        assert "return 1 / close" in inspect.getsource(generate)


class Quotes:
    def generate(self, symbol: str) -> float:
        return 1 / len(symbol)


class TestSlots:
    """A class with slots is made anew; attrs mends what `super()` looks at, where it finds it."""

    @pytest.mark.parametrize("define", [attrs.define, dataclasses.dataclass(slots=True)], ids=["attrs", "dataclass"])
    def test_a_guard_in_a_class_with_slots(self, define: Any, tracker: FailureTracker) -> None:
        """A guarded method of a class with slots works; with arguments so does its super()."""

        @define
        class Strategy(Quotes):
            scale: float = 2.0

            @guarded_signal
            def generate(self, symbol: str) -> float:  # type: ignore[override]  # it may be None
                return self.scale * super(Strategy, self).generate(symbol)

        assert Strategy().generate("AAPL") == 0.5
        assert Strategy().generate("") is None
        assert tracker.strategy_failures == {"Strategy": 1}

    def test_super_without_arguments_fails_for_all_to_see(self, tracker: FailureTracker) -> None:
        """With a guard inside, super() without arguments fails at each call, which is recorded; outside, it works."""

        @attrs.define
        class Inside(Quotes):
            @guarded_signal
            def generate(self, symbol: str) -> float:  # type: ignore[override]  # it may be None
                return super().generate(symbol)

        @attrs.define
        class Outside(Quotes):
            def generate(self, symbol: str) -> float:
                return super().generate(symbol)

        Outside.generate = guarded_signal(Outside.generate)  # type: ignore[assignment,method-assign]  # from outside
        assert Inside().generate("AAPL") is None
        assert tracker.last_failure is not None
        assert "super(type, obj)" in tracker.last_failure.error
        assert Outside().generate("AAPL") == 0.25
        assert Outside().generate("") is None
        assert tracker.total_failures == 2
