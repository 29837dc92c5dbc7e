"""Guards around what is no plain function: properties, iterators, callable objects, partials, builtins."""

from __future__ import annotations

import abc
import asyncio
import copy
import enum
import functools
import inspect
import math
import operator
import pickle
import types
from collections.abc import Iterator
from typing import Any

import pytest

from guarded import FailureTracker, guarded_signal, is_guarded, outcome, set_failure_tracker


class Momentum:
    """Compares two closes."""

    name = "Momentum-20"

    def __init__(self, scale: float = 1.0) -> None:
        self.scale = scale

    def __call__(self, symbol: str, closes: list[float]) -> float:
        """Give the change."""
        return self.scale * (closes[-1] / closes[0] - 1)


class Fetch:
    """A callable object that has to be awaited."""

    async def __call__(self, symbol: str) -> float:
        await asyncio.sleep(0)
        return 1 / 0


# Of any type: type checkers see the guarded call, not the object's attributes.
momentum: Any = guarded_signal(Momentum(2.0))
halved: Any = guarded_signal(functools.partial(operator.truediv, 1))


class TestCallableObjects:
    """A callable object is guarded by a proxy that is the object itself in all else."""

    def test_it_is_still_the_object(self) -> None:
        """Attributes, class, docstring and signature are those of the object, and can be set through it."""
        guarded: Any = guarded_signal(Momentum())
        assert isinstance(guarded, Momentum)
        assert (guarded.scale, guarded.name, guarded.__doc__) == (1.0, "Momentum-20", "Compares two closes.")
        assert inspect.signature(guarded) == inspect.signature(Momentum())
        guarded.scale = 3.0
        assert guarded("AAPL", [100.0, 200.0]) == 3.0

    def test_its_names_are_its_own(self) -> None:
        """Without settings the strategy is the object's name, or its class's; the symbol an argument."""
        tracker = FailureTracker(failure_threshold=9)
        with set_failure_tracker(tracker):
            momentum("AAPL", [])
            asyncio.run(guarded_signal(Fetch())("MSFT"))
            guarded_signal(Momentum().__call__)("IBM", [])
            guarded_signal(functools.partial(Momentum(), "GOOG"))([])
        assert [(f.strategy_name, f.symbol) for f in tracker.failure_history] == [
            ("Momentum-20", "AAPL"),
            ("Fetch", "MSFT"),
            ("Momentum-20", "IBM"),
            ("Momentum-20", "unknown"),
        ]

    def test_templates_name_its_parameters(self, tracker: FailureTracker) -> None:
        """Templates are over the arguments of its `__call__`."""
        guarded = guarded_signal(strategy="{symbol}!", symbol="{closes[0]}")(Momentum())
        guarded("AAPL", [0.0, 1.0])
        assert tracker.last_failure is not None
        assert (tracker.last_failure.strategy_name, tracker.last_failure.symbol) == ("AAPL!", "0.0")

    def test_hosts_see_that_it_is_async(self) -> None:
        """Hosts that look at the `__call__` of an object see whether it is an `async def`."""
        asynchronous: Any = guarded_signal(Fetch())
        assert inspect.iscoroutinefunction(asynchronous.__call__)
        assert not inspect.iscoroutinefunction(momentum.__call__)

    def test_in_a_class_it_is_no_method(self, tracker: FailureTracker) -> None:
        """As a class attribute it gets no self, for it would get none without the guard."""

        class Book:
            signal = momentum

        assert Book().signal is momentum
        assert Book.signal is momentum

    def test_outcome_tells_of_it(self, tracker: FailureTracker) -> None:
        """outcome() takes it like a function, awaited if its `__call__` is async."""
        assert outcome(momentum, "AAPL", [1.0, 2.0]).value == 2.0
        assert asyncio.run(_awaited(outcome(guarded_signal(Fetch()), "AAPL"))).failure is tracker.last_failure

    @pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
    def test_it_pickles_with_its_guard(self, protocol: int, tracker: FailureTracker) -> None:
        """It pickles as the object and the guard's settings, and is guarded when it comes back."""
        own = guarded_signal(strategy="{symbol}", tracker=tracker)(Momentum(5.0))
        again = pickle.loads(pickle.dumps(own, protocol))  # noqa: S301  # its own
        assert again is not own
        assert again.scale == 5.0
        assert again("AAPL", []) is None
        assert tracker.strategy_failures == {"AAPL": 1}

    def test_under_its_modules_name_it_pickles_by_name(self) -> None:
        """What a module has under the name that it pickles by comes back as that very object."""
        module = types.ModuleType("strategies_of_somebody")
        function = functools.lru_cache(lambda symbol: 1 / 0)
        function.__module__, function.__qualname__ = "strategies_of_somebody", "signal"
        module.signal = guarded_signal(function)  # type: ignore[attr-defined]  # made here
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(__import__("sys").modules, "strategies_of_somebody", module)
            assert pickle.loads(pickle.dumps(module.signal)) is module.signal  # noqa: S301  # its own

    def test_copies_are_guarded(self, tracker: FailureTracker) -> None:
        """A copy is a guard around a copy of the object, deep or not."""
        own: Any = guarded_signal(Momentum())
        for again in (copy.copy(own), copy.deepcopy(own)):
            again.scale = 7.0
            assert again("AAPL", []) is None
        assert own.scale == 1.0
        assert tracker.total_failures == 2


async def _awaited(awaitable: Any) -> Any:
    return await awaitable


class TestPartialsAndBuiltins:
    """Callables that Python has not compiled from a def."""

    def test_a_partial(self, tracker: FailureTracker) -> None:
        """A partial is guarded, keeps its parts, and takes its name from its function."""
        assert (halved(2), halved.func, halved.args) == (0.5, operator.truediv, (1,))
        assert halved(0) is None
        assert tracker.strategy_failures == {"truediv": 1}

    @pytest.mark.parametrize(
        ("function", "good", "bad", "name"),
        [
            (math.sqrt, 4.0, -1.0, "sqrt"),
            ("AAPL".index, "A", "B", "AAPL"),
            (operator.itemgetter(0), "A", "", "itemgetter"),
            (str.upper, "a", 1, "int"),
            (functools.lru_cache(math.sqrt), 4.0, -1.0, "sqrt"),
        ],
        ids=["builtin", "bound builtin", "itemgetter", "method of a builtin type", "cached"],
    )
    def test_a_builtin(self, function: Any, good: Any, bad: Any, name: str, tracker: FailureTracker) -> None:
        """A builtin is guarded, and named after itself, or the class of the object that it is called on."""
        guarded = guarded_signal(function)
        assert guarded(good) == function(good)
        assert guarded(bad) is None
        expected = "str" if name == "AAPL" else name
        assert tracker.strategy_failures == {expected: 1}

    def test_what_would_be_a_method_is_one(self, tracker: FailureTracker) -> None:
        """What Python binds as a method is bound, and the function of the bound method is guarded as well."""

        class Strategy:
            name = "Cached"

            @guarded_signal
            @functools.lru_cache(maxsize=8)  # noqa: B019  # a strategy lives as long as its process
            def level(self, symbol: str) -> float:
                return 1 / (len(symbol) - 4)

        strategy = Strategy()
        assert strategy.level("MSFT") is None
        assert strategy.level.__func__(strategy, "MSFT") is None  # type: ignore[attr-defined]  # a bound method's
        assert strategy.level("AAPLE") == 1.0
        assert tracker.strategy_failures == {"Cached": 2}
        assert Strategy.level.cache_info().misses == 3  # type: ignore[attr-defined]  # the cache's own

    def test_partialmethods(self, tracker: FailureTracker) -> None:
        """A partialmethod is guarded within, also around a classmethod, and is named by its instance or class."""

        class Strategy:
            name = "Scaled"

            def scaled(self, scale: float, symbol: str) -> float:
                return 1 / scale

            @classmethod
            def of_class(cls, scale: float, symbol: str) -> float:
                return 1 / scale

            method = guarded_signal(functools.partialmethod(scaled, 0))
            class_method = guarded_signal(functools.partialmethod(of_class, 0))

        assert Strategy().method("AAPL") is None
        assert Strategy().class_method("MSFT") is None
        assert [(f.strategy_name, f.symbol) for f in tracker.failure_history] == [
            ("Scaled", "AAPL"),
            ("Scaled", "MSFT"),
        ]


class TestProperties:
    """A property is rebuilt around its guarded getter."""

    @pytest.mark.parametrize("order", ["inside", "outside"])
    def test_the_getter_is_guarded(self, order: str, tracker: FailureTracker) -> None:
        """Reading it gives None when the getter raises; the failure is that of the instance's strategy."""

        def wrap(getter: Any) -> Any:
            return property(guarded_signal(getter)) if order == "inside" else guarded_signal(property(getter))

        class Strategy:
            name = "VWAP"
            volume = 0.0

            @wrap
            def level(self) -> float:
                """The price level."""
                return 1 / self.volume

        strategy = Strategy()
        assert strategy.level is None
        strategy.volume = 2.0
        assert strategy.level == 0.5
        assert tracker.strategy_failures == {"VWAP": 1}
        assert Strategy.level.__doc__ == "The price level."

    def test_setter_deleter_and_docstring_stay(self, tracker: FailureTracker) -> None:
        """Setter, deleter, a docstring of its own and the class of the property stay what they were."""

        class Own(property):
            pass

        class Strategy:
            def _get(self) -> float:
                return 1 / 0

            def _set(self, value: float) -> None:
                self.set = value

            def _delete(self) -> None:
                self.deleted = True

            level = guarded_signal(Own(_get, _set, _delete))
            documented = guarded_signal(property(_get, doc="Its own."))

        strategy = Strategy()
        strategy.level = 3.0
        del strategy.level
        assert (strategy.set, strategy.deleted, strategy.level) == (3.0, True, None)
        assert type(Strategy.level) is Own
        assert Strategy.documented.__doc__ == "Its own."


class TestIterators:
    """The end of an iteration is no failure."""

    @pytest.mark.parametrize("validate", [None, lambda _: True], ids=["short way", "long way"])
    def test_stop_iteration_passes_through_next(self, validate: Any, tracker: FailureTracker) -> None:
        """A guarded `__next__` ends its iteration as ever; what else it raises is a failure, and the item None."""

        class Feed:
            def __init__(self) -> None:
                self.closes = iter([1.0, 0.0, 2.0])

            def __iter__(self) -> Feed:
                return self

            @guarded_signal(strategy="Feed", validate=validate)
            def __next__(self) -> float:
                return 1 / next(self.closes)

        assert list(Feed()) == [1.0, None, 0.5]
        assert tracker.total_failures == 1

    @pytest.mark.parametrize("validate", [None, lambda _: True], ids=["short way", "long way"])
    def test_stop_async_iteration_passes_through_anext(self, validate: Any, tracker: FailureTracker) -> None:
        """The same for `__anext__`."""

        class Feed:
            def __init__(self) -> None:
                self.closes = iter([1.0, 0.0, 2.0])

            def __aiter__(self) -> Feed:
                return self

            @guarded_signal(strategy="Feed", validate=validate)
            async def __anext__(self) -> float:
                for close in self.closes:
                    return 1 / close
                raise StopAsyncIteration

        async def consume() -> list[float | None]:
            return [item async for item in Feed()]

        assert asyncio.run(consume()) == [1.0, None, 0.5]
        assert tracker.total_failures == 1

    def test_the_next_of_somebody_elses_iterator(self, tracker: FailureTracker) -> None:
        """The bound `__next__` of a builtin iterator ends likewise."""
        step = guarded_signal(iter([1]).__next__)
        assert step() == 1
        with pytest.raises(StopIteration):
            step()
        assert tracker.total_failures == 0

    def test_a_halt_ends_the_iteration(self, tracker: FailureTracker) -> None:
        """A refused `__next__` ends the iteration, lest a loop over it spins; no_signal= gives its value instead."""

        class Feed:
            @guarded_signal(strategy="Feed")
            def __next__(self) -> float:
                return 1.0

            def __iter__(self) -> Iterator[float]:
                return self  # type: ignore[return-value]  # whose __next__ may give None

            async def __anext__(self) -> float:
                return 1.0

        halting = iter(Feed())
        assert next(halting) == 1.0
        tracker.halt_manager.trigger_halt("drill")
        assert list(halting) == []
        with pytest.raises(StopAsyncIteration):
            asyncio.run(guarded_signal(Feed().__anext__)())
        assert guarded_signal(no_signal=lambda: 0.0)(iter([1]).__next__)() == 0.0
        assert tracker.refusals == 3

    def test_stop_iteration_of_another_function_is_a_failure(self, tracker: FailureTracker) -> None:
        """StopIteration from any other function is a failure like any other."""
        assert guarded_signal(next)(iter([])) is None
        assert tracker.total_failures == 1


class TestAbstractMethods:
    """A guard keeps an abstract method abstract."""

    @pytest.mark.parametrize("order", ["inside", "outside"])
    @pytest.mark.parametrize("wrap", [lambda f: f, classmethod, staticmethod, property])
    def test_it_stays_abstract(self, wrap: Any, order: str) -> None:
        """A class with a guarded abstract method cannot be instantiated before it is overridden."""

        def generate(*_args: Any) -> float:
            return 1.0

        abstract: Any = (
            wrap(abc.abstractmethod(guarded_signal(generate)))
            if order == "inside"
            else guarded_signal(wrap(abc.abstractmethod(generate)))
        )
        strategy: Any = abc.ABCMeta("Strategy", (), {"generate": abstract})
        with pytest.raises(TypeError, match="abstract"):
            strategy()
        override = type("Override", (strategy,), {"generate": lambda *_: 2.0})
        assert override().generate() == 2.0


class TestInTheLanguage:
    """Where else Python has functions."""

    def test_super_across_two_guards(self, tracker: FailureTracker) -> None:
        """An exception that crosses the guarded methods of a class and of its base is one failure."""

        class Base:
            @guarded_signal(reraise=True)
            def generate(self) -> float:
                return 1 / 0

        class Strategy(Base):
            @guarded_signal
            def generate(self) -> float | None:
                return super().generate()

        assert Strategy().generate() is None
        assert tracker.strategy_failures == {"Strategy": 1}

    def test_recursion(self, tracker: FailureTracker) -> None:
        """A guarded function that calls itself fails once, for its innermost call keeps the exception."""

        @guarded_signal
        def down(depth: int) -> float | None:
            return down(depth - 1) if depth else 1 / 0

        assert down(5) is None
        assert tracker.total_failures == 1
        assert not tracker.halt_triggered

    def test_a_generic_function(self, tracker: FailureTracker) -> None:
        """A guard around functools.singledispatch keeps `register`, and guards what is registered."""

        @guarded_signal
        @functools.singledispatch
        def close_of(bar: object) -> float:
            raise TypeError(bar)

        generic: Any = close_of
        generic.register(dict, lambda bar: bar["close"])
        assert (generic({"close": 1.0}), generic({}), generic([])) == (1.0, None, None)
        assert tracker.total_failures == 2

    def test_members_of_an_enumeration(self, tracker: FailureTracker) -> None:
        """A guarded method of an enumeration is that of its members, under the member's name."""

        class Side(enum.Enum):
            LONG = 1
            FLAT = 0

            @guarded_signal
            def size(self, symbol: str) -> float:
                return 1 / float(self.value)

        assert (Side.LONG.size("AAPL"), Side.FLAT.size("AAPL")) == (1.0, None)
        assert tracker.strategy_failures == {"FLAT": 1}

    def test_a_cache_around_a_guard(self, tracker: FailureTracker) -> None:
        """A cache around a guard keeps its None, a guard around a cache does not: the order is the author's choice."""
        closes = {"AAPL": 0.0}

        def generate(symbol: str) -> float:
            return 1 / closes[symbol]

        caching, guarding = functools.cache(guarded_signal(generate)), guarded_signal(functools.cache(generate))
        assert (caching("AAPL"), guarding("AAPL")) == (None, None)
        closes["AAPL"] = 2.0
        assert (caching("AAPL"), guarding("AAPL")) == (None, 0.5)


def test_the_proxy_tells_that_it_is_guarded() -> None:
    """is_guarded() sees the guard of what is no function."""
    assert is_guarded(momentum)
    assert is_guarded(halved)
    assert not is_guarded(Momentum())
