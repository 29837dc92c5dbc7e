"""instrument, guarded_strategy, uninstrument: classes and modules that are guarded from outside."""

from __future__ import annotations

import abc
import asyncio
import dataclasses
import functools
import gc
import importlib
import inspect
import pickle
import subprocess
import sys
import textwrap
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from types import ModuleType
from typing import Any, Generic, Protocol, TypeVar

import attrs
import cloudpickle
import pytest

from guarded import (
    ConsecutiveFailures,
    FailureTracker,
    Instrumentation,
    InvalidConfiguration,
    guarded_signal,
    guarded_strategy,
    instrument,
    is_guarded,
    outcome,
    set_failure_tracker,
    set_mode,
    track_signal,
    uninstrument,
    validators,
)
from guarded.testing import FakeClock

T = TypeVar("T")


@pytest.fixture(autouse=True)
def _nothing_left(tracker: FailureTracker) -> Iterator[None]:
    yield
    uninstrument()


def failing_for(symbol: str) -> str:
    if symbol == "BAD":
        raise ValueError(symbol)
    return symbol


class TestClasses:
    def test_the_class_and_all_its_subclasses(self, tracker: FailureTracker) -> None:
        """The named method is guarded in the class, in subclasses that override it, and in those made later."""

        class Base:
            def generate_signals(self, symbol: str) -> str:
                return failing_for(symbol)

        class Sub(Base):
            def generate_signals(self, symbol: str) -> str:
                return failing_for(symbol).lower()

        report = instrument(Base, "generate_signals")

        class Later(Sub):
            def generate_signals(self, symbol: str) -> str:
                return failing_for(symbol)[:1]

        class Heir(Later):
            pass

        for cls in (Base, Sub, Later, Heir):
            assert is_guarded(cls.generate_signals)
            assert cls().generate_signals("AAPL") in ("AAPL", "aapl", "A")
            assert cls().generate_signals("BAD") is None
        assert tracker.strategy_failures == {"Base": 1, "Sub": 1, "Later": 1, "Heir": 1}
        assert tracker.symbol_failures == {"BAD": 4}
        here = f"{__name__}:TestClasses.test_the_class_and_all_its_subclasses.<locals>."
        assert report.guarded == tuple(f"{here}{name}.generate_signals" for name in ("Base", "Later", "Sub"))
        assert report.skipped == {}
        assert str(report).startswith(f"{here}Base: 3 guarded\n  {here}Base.generate_signals\n")

    def test_diamonds(self, tracker: FailureTracker) -> None:
        """A class that derives from the one named in many ways is guarded once, and at once."""

        class Base:
            def generate_signals(self) -> str:
                raise ValueError("bad bar")

        bottom: type[Base] = Base
        for _ in range(30):  # which is 2 ** 30 ways down
            left, right = type("Left", (bottom,), {}), type("Right", (bottom,), {})
            bottom = type("Both", (left, right), {})

        class Sub(bottom):  # type: ignore[valid-type, misc]
            def generate_signals(self) -> str:
                return super().generate_signals()  # type: ignore[no-any-return]

        report = instrument(Base, "generate_signals")
        assert [name.split(".")[-2] for name in report.guarded] == ["Base", "Sub"]
        assert report.skipped == {}
        assert Sub().generate_signals() is None
        assert tracker.total_failures == 1

    def test_only_what_is_named(self) -> None:
        """Other methods, and other classes, are left alone; names may have wildcards."""

        class Base:
            def on_bar(self) -> None: ...
            def on_tick(self) -> None: ...
            def size(self) -> None: ...

        class Other(Base):
            def on_bar(self) -> None: ...

        instrument(Other, "on_*")
        assert is_guarded(Other.on_bar)
        assert is_guarded(Other.on_tick)
        assert not is_guarded(Other.size)
        assert not is_guarded(Base.on_bar)
        assert not is_guarded(Base.on_tick)

    def test_everything_that_the_decorator_takes(self, tracker: FailureTracker) -> None:
        """Settings are those of guarded_signal."""
        own = FailureTracker()

        class Strategy:
            venue = "XNAS"

            def generate(self, bar: dict[str, float]) -> float:
                return bar["close"]

        instrument(
            Strategy,
            "generate",
            strategy="VWAP",
            symbol="{bar[symbol]}",
            tracker=own,
            context={"venue": "{self.venue}"},
            validate=validators.finite,
            no_signal=lambda _self, _bar: 0.0,
        )
        strategy = Strategy()
        assert strategy.generate({"close": float("nan"), "symbol": "AAPL"}) == 0.0  # type: ignore[dict-item]
        assert own.last_failure is not None
        assert own.last_failure.strategy_name == "VWAP"
        assert own.last_failure.symbol == "AAPL"
        assert own.last_failure.additional_context["venue"] == "XNAS"
        assert tracker.total_failures == 0

    def test_mixins(self) -> None:
        """What a mixin brings in front of the guarded class is guarded, and stays unguarded elsewhere."""

        class Base:
            def generate(self) -> str:
                return "base"

        class Mixin:
            def generate(self) -> str:
                raise ValueError("mixin")

        class Now(Mixin, Base): ...

        instrument(Base, "generate")

        class Later(Mixin, Base): ...

        assert Now().generate() is None
        assert Later().generate() is None
        with pytest.raises(ValueError, match="mixin"):
            Mixin().generate()
        uninstrument()
        assert "generate" not in vars(Now)
        assert "generate" not in vars(Later)

    def test_chains_of_init_subclass(self) -> None:
        """A class's own __init_subclass__ is called as before, and its subclasses are seen if it ends the chain."""
        seen: list[tuple[str, str]] = []

        class Base:
            def __init_subclass__(cls, *, venue: str, **others: Any) -> None:
                seen.append((cls.__name__, venue))
                super().__init_subclass__(**others)

            def generate(self) -> str:
                raise ValueError

        instrument(Base, "generate")

        class Registry(Base, venue="XNAS"):
            def __init_subclass__(cls, **_: Any) -> None:
                seen.append((cls.__name__, "ends here"))

        class Strategy(Registry, anything=1):
            def generate(self) -> str:
                raise KeyError

        class Deeper(Strategy):
            def generate(self) -> str:
                raise TypeError

        assert seen == [("Registry", "XNAS"), ("Strategy", "ends here"), ("Deeper", "ends here")]
        assert Strategy().generate() is None
        assert Deeper().generate() is None

    def test_slotted_and_frozen_classes_with_super(self, tracker: FailureTracker) -> None:
        """Classes that a decorator makes anew keep their guards, and super() without arguments works in them."""

        class Base:
            __slots__ = ()

            def generate(self, symbol: str) -> str:
                return failing_for(symbol)

        instrument(Base, "generate")

        @attrs.define
        class Attrs(Base):
            factor: int = 2

            def generate(self, symbol: str) -> str:
                return super().generate(symbol) * self.factor

        @dataclasses.dataclass(frozen=True, slots=True)
        class Data(Base):
            factor: int = 2

            def generate(self, symbol: str) -> str:
                return super().generate(symbol) * self.factor

        @attrs.frozen
        class Frozen(Base):
            factor: int = 2

            def generate(self, symbol: str) -> str:
                return super().generate(symbol) * self.factor

        for cls in (Attrs, Data, Frozen):
            assert cls().generate("A") == "AA"
            assert cls().generate("BAD") is None
        assert tracker.strategy_failures == {"Attrs": 1, "Data": 1, "Frozen": 1}

    def test_abstract_classes_protocols_and_generics(self) -> None:
        """Abstract methods stay abstract, protocols protocols, and a generic class may be given with its arguments."""

        class Abstract(abc.ABC):
            @abc.abstractmethod
            def generate(self) -> str: ...

        class Signals(Protocol):
            def generate(self) -> str: ...

        class Typed(Generic[T]):
            def generate(self) -> T:
                raise NotImplementedError

        instrument(Abstract, "generate")
        instrument(Signals, "generate")
        instrument(Typed[int], "generate")
        with pytest.raises(TypeError, match="abstract"):
            Abstract()  # type: ignore[abstract]

        class Concrete(Abstract):
            def generate(self) -> str:
                raise ValueError

        class Explicit(Signals):
            def generate(self) -> str:
                raise ValueError

        class Integer(Typed[int]):
            def generate(self) -> int:
                raise ValueError("not an integer")

        assert [cls().generate() for cls in (Concrete, Explicit, Integer)] == [None, None, None]
        uninstrument(Typed[int])
        with pytest.raises(ValueError, match="an integer"):
            Integer().generate()

    def test_a_method_that_is_assigned_later(self) -> None:
        """A method that is assigned to a class later is guarded once instrument is called again."""

        class Strategy:
            def generate(self) -> str:
                return "long"

        instrument(Strategy, "generate")
        Strategy.generate = lambda _self: "short"  # type: ignore[method-assign,assignment]
        assert not is_guarded(Strategy.generate)
        report = instrument(Strategy, "generate")
        assert is_guarded(Strategy.generate)
        assert Strategy().generate() == "short"
        assert len(report.guarded) == 1

    def test_classes_that_do_not_let_themselves_be_changed(self) -> None:
        """A subclass whose metaclass refuses is made all the same, and is reported as not guarded."""

        class Base:
            def generate(self) -> str:
                return "long"

        report = instrument(Base, "generate")

        class Meta(type):
            def __setattr__(cls, name: str, value: object) -> None:
                raise AttributeError(f"{name} is fixed")

        class Fixed(Base, metaclass=Meta):
            def generate(self) -> str:
                return "short"

        assert Fixed().generate() == "short"
        assert [*report.skipped.values()] == ["generate is fixed"]

        class Unhashable(type):
            __hash__ = None  # type: ignore[assignment]

        odd: Any = Unhashable("Odd", (Base,), {"generate": lambda _self: "odd"})
        assert odd().generate() == "odd"
        assert [*report.skipped.values()] == ["generate is fixed", "its metaclass says that it cannot be hashed"]

    def test_a_fault_of_ours(self, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
        """A fault of ours keeps no class from being made; it is logged."""

        class Base:
            def generate(self) -> str:
                return "long"

        instrument(Base, "generate")
        monkeypatch.setattr(Instrumentation, "add_subclass", lambda *_: 1 / 0)

        class Sub(Base): ...

        assert Sub().generate() == "long"
        assert "Sub could not be guarded" in caplog.text

    def test_properties_are_guarded_by_name_only(self) -> None:
        """Wildcards do not stand for properties: one that raises may say that there is no such attribute."""

        class Strategy:
            @property
            def price(self) -> float:
                raise AttributeError("price")

            def generate(self) -> None: ...

        instrument(Strategy, "*")
        assert not hasattr(Strategy(), "price")
        uninstrument()
        instrument(Strategy, "price")
        assert Strategy().price is None

    def test_classes_are_not_kept_alive(self) -> None:
        """A class that is gone is gone, with its guards, also if it was the target."""

        class Base:
            def generate(self) -> None: ...

        report = instrument(Base, "generate")

        class Sub(Base):
            def generate(self) -> None: ...

        gone = weakref.ref(Sub)
        del Sub
        gc.collect()
        assert gone() is None
        assert len(report.guarded) == 1
        base = weakref.ref(Base)
        del Base
        gc.collect()
        assert base() is None
        assert not report.guarded
        uninstrument()


def _function(body: Callable[[], str]) -> Any:
    return lambda _self: body()


def _coroutine(body: Callable[[], str]) -> Any:
    async def generate(_self: object) -> str:
        await asyncio.sleep(0)
        return body()

    return generate


def _generator(body: Callable[[], str]) -> Any:
    def generate(_self: object) -> Iterator[str]:
        yield body()

    return generate


def _async_generator(body: Callable[[], str]) -> Any:
    async def generate(_self: object) -> AsyncIterator[str]:
        await asyncio.sleep(0)
        yield body()

    return generate


def _classmethod(body: Callable[[], str]) -> Any:
    return classmethod(lambda _cls: body())


def _staticmethod(body: Callable[[], str]) -> Any:
    return staticmethod(body)


def _property(body: Callable[[], str]) -> Any:
    return property(lambda _self: body())


def _partialmethod(body: Callable[[], str]) -> Any:
    return functools.partialmethod(lambda _self, _unit: body(), 1)


KINDS = (
    _function, _coroutine, _generator, _async_generator, _classmethod, _staticmethod, _property, _partialmethod,
)  # fmt: skip


def value_of(strategy: Any) -> Any:
    """What a strategy's `generate` gives, whatever kind it is."""

    async def collected(made: Any) -> list[str]:
        return [item async for item in made]

    made = strategy.generate
    result = made() if callable(made) else made
    if inspect.iscoroutine(result):
        return asyncio.run(result)
    if inspect.isasyncgen(result):
        return next(iter(asyncio.run(collected(result))), None)
    return next(result, None) if inspect.isgenerator(result) else result


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_method(kind: Callable[..., Any], tracker: FailureTracker) -> None:
    """Methods of every kind are guarded, and put back as the very objects that they were."""

    def body() -> str:
        raise ValueError("bad bar")

    original = kind(body)
    cls = type("Strategy", (), {"generate": original, "__module__": __name__})
    instrument(cls, "generate")
    assert value_of(cls()) is None
    assert tracker.total_failures == 1
    uninstrument(cls)
    assert vars(cls)["generate"] is original
    assert "__init_subclass__" not in vars(cls)


SOURCES = {
    "function": """
        def generate(self):
            before()
            value = super().generate()
            after()
            return value
    """,
    "coroutine": """
        async def generate(self):
            before()
            value = await super().generate()
            after()
            return value
    """,
    "deferred": """
        def generate(self):
            async def run(base=super().generate):
                before()
                value = await base()
                after()
                return value
            return run()
    """,
    "generator": """
        def generate(self):
            before()
            yield from super().generate()
            after()
    """,
    "async generator": """
        async def generate(self):
            before()
            async for item in super().generate():
                after()
                yield item
    """,
    "classmethod": """
        @classmethod
        def generate(cls):
            before()
            value = super().generate()
            after()
            return value
    """,
    "property": """
        @property
        def generate(self):
            before()
            value = super().generate
            after()
            return value
    """,
}
_BASES = {
    "function": _function,
    "coroutine": _coroutine,
    "deferred": _coroutine,
    "generator": _generator,
    "async generator": _async_generator,
    "classmethod": _classmethod,
    "property": _property,
}


class Chain:
    """A base, and a subclass whose method calls the one that it overrides; each does what it is told to."""

    def __init__(self, kind: str) -> None:
        self.doing: dict[str, Callable[[], None]] = {}
        self.base: Any = type("Base", (), {"generate": _BASES[kind](self.inner), "__module__": __name__})
        namespace = {"Base": self.base, "before": lambda: self.do("before"), "after": lambda: self.do("after")}
        exec(f"class Sub(Base):{SOURCES[kind]}", namespace)  # noqa: S102  # a source of ours
        self.sub: Any = namespace["Sub"]

    def inner(self) -> str:
        self.do("inner")
        return "long"

    def do(self, name: str) -> None:
        self.doing.get(name, lambda: None)()


def raising() -> None:
    raise ValueError("bad bar")


@pytest.fixture(params=SOURCES)
def chain(request: pytest.FixtureRequest) -> Chain:
    made = Chain(request.param)
    instrument(made.base, "generate", strategy="S", symbol="A")
    return made


class TestSuper:
    def test_one_exception_is_one_failure(self, chain: Chain, tracker: FailureTracker) -> None:
        """What a base raises goes through the subclass's code, and is counted once, by the outermost call."""
        chain.doing["inner"] = raising
        assert value_of(chain.sub()) is None
        assert tracker.total_failures == 1
        assert value_of(chain.base()) is None
        assert tracker.total_failures == 2

    @pytest.mark.parametrize("where", ["before", "after"])
    def test_the_outermost_call_is_the_judge_of_success(
        self, where: str, chain: Chain, tracker: FailureTracker
    ) -> None:
        """A base that succeeds within a call that fails has not succeeded: the streak grows, and trading halts."""
        chain.doing[where] = raising
        if inspect.isgeneratorfunction(chain.sub.generate) and where == "after":
            chain.doing["before"] = raising  # what it has yielded by then was a success
        for times in (1, 2, 3):
            assert value_of(chain.sub()) is None
            assert tracker.consecutive_failures == times
        assert tracker.last_success_time is None
        assert tracker.halt_triggered

    def test_a_call_that_works(self, chain: Chain, tracker: FailureTracker) -> None:
        """A chain that works gives its value, and ends the streak."""
        tracker.record_failure("S", "A", "by hand")
        assert value_of(chain.sub()) == "long"
        assert tracker.consecutive_failures == 0
        assert value_of(chain.base()) == "long"

    def test_a_halt_while_it_runs(self, chain: Chain, tracker: FailureTracker) -> None:
        """A call that has begun when trading is halted goes on into its base; the next one is refused."""
        manager = tracker.halt_manager

        def halt() -> None:
            manager.trigger_halt("drill")

        chain.doing["before"] = halt
        assert value_of(chain.sub()) == "long"
        refused = tracker.refusals  # a generator's next step is
        assert value_of(chain.sub()) is None
        assert tracker.refusals == refused + 1

    def test_off(self, chain: Chain) -> None:
        """With the guards off, exceptions go through all of the chain."""
        chain.doing["inner"] = raising
        with set_mode("off"), pytest.raises(ValueError, match="bad bar"):
            value_of(chain.sub())

    def test_a_base_that_is_rescued(self, tracker: FailureTracker) -> None:
        """A subclass that handles what its base raises has succeeded."""

        class Base:
            def generate(self) -> str:
                raise ValueError("bad bar")

        class Sub(Base):
            def generate(self) -> str:
                try:
                    return super().generate()
                except ValueError:
                    return "flat"

        instrument(Base, "generate")
        assert Sub().generate() == "flat"
        assert tracker.total_failures == 0

    def test_the_base_is_not_validated(self, tracker: FailureTracker) -> None:
        """What a base returns to a subclass is the subclass's to see to; its own result is validated."""

        class Base:
            def generate(self) -> float:
                return float("nan")

        class Sub(Base):
            def generate(self) -> float:
                return 1.0 if super().generate() != 1.0 else 0.0

        instrument(Base, "generate", validate=validators.finite)
        assert Sub().generate() == 1.0
        assert tracker.total_failures == 0
        assert Base().generate() is None

    def test_a_call_of_super_from_elsewhere(self, tracker: FailureTracker) -> None:
        """What a base raises that was not called by the object's own method is recorded, and goes on to the caller."""

        class Base:
            def generate(self) -> str:
                raise ValueError("bad bar")

        class Sub(Base):
            def generate(self) -> str:
                return "long"

            def fall_back(self) -> str:
                return super().generate()

        class Other(Base):
            def generate(self) -> str:
                return Sub().fall_back()

        instrument(Base, "generate")
        with pytest.raises(ValueError, match="bad bar"):
            Sub().fall_back()
        assert tracker.total_failures == 1
        assert Other().generate() is None
        assert tracker.strategy_failures == {"Sub": 2}

    def test_called_on_something_else(self, tracker: FailureTracker) -> None:
        """A method that is called on no object, or on one of another class, is guarded like any other."""

        class Base:
            def generate(self) -> str:
                return f"{self.price}"  # type: ignore[attr-defined]

        class Sub(Base):
            def generate(self) -> str:
                return "long"

        instrument(Base, "generate")
        assert Base.generate() is None  # type: ignore[call-arg]
        assert Base.generate(object()) is None  # type: ignore[arg-type]
        assert tracker.total_failures == 2
        assert Sub().generate() == "long"

    def test_in_another_thread_or_task(self, tracker: FailureTracker) -> None:
        """A base that runs in another thread or task raises there what it raises, and it is counted once."""

        class Base:
            def generate(self) -> str:
                raise ValueError("bad bar")

            async def generate_later(self) -> str:
                raise ValueError("bad bar")

        class Sub(Base):
            def generate(self) -> str:
                with ThreadPoolExecutor() as pool:
                    return pool.submit(super().generate).result()

            async def generate_later(self) -> str:
                return await asyncio.create_task(super().generate_later())

        instrument(Base, "generate*")
        assert Sub().generate() is None
        assert asyncio.run(Sub().generate_later()) is None
        assert tracker.total_failures == 2
        assert tracker.consecutive_failures == 2

    def test_siblings(self, tracker: FailureTracker) -> None:
        """Where several bases define it, `super()` leads from one to the next: one exception is one failure."""

        class Root:
            def generate(self) -> str:
                return "root"

        class Left(Root):
            def generate(self) -> str:
                try:
                    return super().generate()
                except KeyError:
                    return "rescued"

        class Right(Root):
            failing: Exception = ValueError("bad bar")

            def generate(self) -> str:
                raise self.failing

        instrument(Root, "generate")

        class Both(Left, Right): ...

        assert Both().generate() is None
        assert tracker.total_failures == 1
        Right.failing = KeyError("bad bar")
        assert Both().generate() == "rescued"
        assert tracker.total_failures == 1

    def test_whichever_was_instrumented_first(self, tracker: FailureTracker) -> None:
        """It is the same if the subclass was instrumented by itself, before its base."""

        class Base:
            def generate(self) -> str:
                raise ValueError("bad bar")

        class Sub(Base):
            def generate(self) -> str:
                return super().generate() + "!"

        instrument(Sub, "generate")
        instrument(Base, "generate")
        assert Sub().generate() is None
        assert tracker.type_failures == {"data_error": 1}

    @pytest.mark.parametrize("kind", [_function, _coroutine, _generator, _async_generator, _classmethod, _property])
    def test_a_class_between(self, kind: Callable[..., Any], tracker: FailureTracker) -> None:
        """A class that inherits the method leaves way for one that a subclass puts between, which overrides it."""
        base = type("Base", (), {"generate": kind(lambda: "base"), "__module__": __name__})
        heir = type("Heir", (base,), {"__module__": __name__})
        instrument(heir, "generate")
        veto = type("Veto", (base,), {"generate": kind(lambda: "veto"), "__module__": __name__})
        mine = type("Mine", (heir, veto), {"__module__": __name__})
        assert value_of(heir()) == "base"
        assert value_of(mine()) == "veto"
        asked = inspect.getattr_static(heir, "generate")
        original = inspect.getattr_static(base, "generate")
        function, plain = (getattr(one, "__func__", getattr(one, "fget", one)) for one in (asked, original))
        assert inspect.signature(function) == inspect.signature(plain)
        assert function.__qualname__ == plain.__qualname__
        assert inspect.iscoroutinefunction(function) == inspect.iscoroutinefunction(plain)
        assert inspect.isgeneratorfunction(function) == inspect.isgeneratorfunction(plain)
        uninstrument()
        assert "generate" not in vars(heir)

    def test_an_abstract_method_that_another_class_fulfils(self) -> None:
        """A class that inherits an abstract method, and is instrumented, keeps nobody from fulfilling it."""

        class Abstract(abc.ABC):
            @abc.abstractmethod
            def generate(self) -> str: ...

        class Named(Abstract): ...

        instrument(Named, "generate")

        class Works(Abstract):
            def generate(self) -> str:
                return "long"

        class Both(Named, Works): ...

        assert Both().generate() == "long"

    def test_through_outcome(self, tracker: FailureTracker) -> None:
        """A call by `outcome` is the outermost one."""

        class Base:
            def generate(self) -> str:
                raise ValueError("bad bar")

            async def generate_later(self) -> str:
                raise ValueError("bad bar")

        class Sub(Base):
            def generate(self) -> str:
                return super().generate()

            async def generate_later(self) -> str:
                return await super().generate_later()

        instrument(Base, "generate*")
        assert outcome(Sub().generate).failure is not None
        assert tracker.total_failures == 1

        async def later() -> bool:
            return (await outcome(Sub().generate_later)).failure is not None

        assert asyncio.run(later())
        assert tracker.total_failures == 2

    def test_middle_classes_and_another_instrumentation(self, tracker: FailureTracker) -> None:
        """However long the chain, one exception is one failure; what another instrumentation guards is left to that."""

        class First:
            def generate(self) -> str:
                raise ValueError("bad bar")

        class Second(First):
            def generate(self) -> str:
                return super().generate()

        class Third(Second):
            def generate(self) -> str:
                return super().generate()

        lower = instrument(Second, "generate")
        upper = instrument(First, "generate")
        assert Third().generate() is None
        assert tracker.total_failures == 1
        assert len(lower.guarded) == 2
        assert len(upper.guarded) == 1
        assert set(upper.skipped.values()) == {"guarded already, by another instrument"}


class TestTogether:
    """Methods that are guarded together answer for a strategy and a symbol together."""

    class Strategy:
        name = "VWAP"
        failing = ""

        def on_bar(self, symbol: str) -> str:
            return self.signal("on_bar", symbol)

        def on_tick(self, symbol: str) -> str:
            return self.signal("on_tick", symbol)

        async def on_news(self, symbol: str) -> str:
            return self.signal("on_news", symbol)

        def signal(self, method: str, symbol: str) -> str:
            if self.failing == method:
                raise ValueError(symbol)
            return method

    @pytest.fixture
    def strategy(self) -> TestTogether.Strategy:
        instrument(self.Strategy, "on_*")
        return self.Strategy()

    def test_one_that_always_fails_halts(self, strategy: TestTogether.Strategy, tracker: FailureTracker) -> None:
        """A method that fails at every call halts trading, although others succeed between."""
        strategy.failing = "on_bar"
        for _ in range(2):
            assert strategy.on_bar("A") is None
            assert strategy.on_tick("A") == "on_tick"
            assert asyncio.run(strategy.on_news("A")) == "on_news"
        assert strategy.on_bar("A") is None
        assert tracker.halt_triggered

    def test_a_success_counts_once_all_have_recovered(
        self, strategy: TestTogether.Strategy, tracker: FailureTracker
    ) -> None:
        """The streak ends when each method that failed has succeeded again."""
        for failing, fails in ("on_bar", strategy.on_bar), ("on_tick", strategy.on_tick):
            strategy.failing = failing
            assert fails("A") is None
        strategy.failing = ""
        assert strategy.on_bar("A") == "on_bar"
        assert tracker.consecutive_failures == 2
        assert strategy.on_tick("A") == "on_tick"
        assert tracker.consecutive_failures == 0

    def test_keys_are_apart(self, strategy: TestTogether.Strategy, tracker: FailureTracker) -> None:
        """What fails for one symbol does not keep another's success from counting."""
        strategy.failing = "on_bar"
        assert strategy.on_bar("A") is None
        assert strategy.on_tick("B") == "on_tick"
        assert tracker.consecutive_failures == 0

    def test_the_window_is_that_of_the_policies(self, clock: FakeClock) -> None:
        """An hourly strategy whose policies never forget halts although another method works between."""
        tracker = FailureTracker(policies=[ConsecutiveFailures(3, within=None)], clock=clock)
        instrument(self.Strategy, "on_*", tracker=tracker)
        strategy = self.Strategy()
        strategy.failing = "on_bar"
        for _ in range(3):
            assert strategy.on_bar("A") is None
            strategy.on_tick("A")
            clock.advance(timedelta(hours=1))
        assert tracker.halt_triggered

    @pytest.mark.parametrize("window", [timedelta(minutes=5), None])
    def test_old_failures_do_not_matter(self, window: timedelta | None, clock: FakeClock) -> None:
        """A failure older than the reset window has not to be recovered from; without a window it always has."""
        tracker = FailureTracker(9, window, clock=clock)
        instrument(self.Strategy, "on_*", tracker=tracker)
        strategy = self.Strategy()
        strategy.failing = "on_bar"
        assert strategy.on_bar("A") is None
        clock.advance(timedelta(minutes=4))
        strategy.failing = "on_tick"
        assert strategy.on_tick("A") is None
        clock.advance(timedelta(minutes=2))
        strategy.failing = ""
        assert strategy.on_tick("A") == "on_tick"
        assert tracker.consecutive_failures == (2 if window is None else 0)

    def test_after_a_reset(self, strategy: TestTogether.Strategy, tracker: FailureTracker) -> None:
        """After a reset, or a resume, nothing has to be recovered from."""
        strategy.failing = "on_bar"
        assert strategy.on_bar("A") is None
        tracker.reset()
        strategy.failing = "on_tick"
        assert strategy.on_tick("A") is None
        strategy.failing = ""
        assert strategy.on_tick("A") == "on_tick"
        assert tracker.consecutive_failures == 0

    def test_fixed_names(self, tracker: FailureTracker) -> None:
        """The same holds where strategy and symbol are fixed, and calls without trouble stay quick again after it."""
        instrument(self.Strategy, "on_*", strategy="VWAP", symbol="A")
        strategy = self.Strategy()
        strategy.failing = "on_bar"
        assert strategy.on_bar("A") is None
        strategy.failing = ""
        assert strategy.on_tick("A") == "on_tick"
        assert tracker.consecutive_failures == 1
        assert strategy.on_bar("A") == "on_bar"
        assert tracker.consecutive_failures == 0

    def test_in_another_process(self, strategy: TestTogether.Strategy) -> None:
        """Guards that are pickled by value know of no failures there."""
        strategy.failing = "on_bar"
        assert strategy.on_bar("A") is None
        again = cloudpickle.loads(cloudpickle.dumps(vars(self.Strategy)["on_tick"].__guarded__.patch.methods))
        assert again.succeeded(FailureTracker(), ("VWAP", "A"), "on_tick")


class TestRestoring:
    def test_exactly_what_was_there(self) -> None:
        """After uninstrument every class is as it was: the same objects, in the same order, and nothing more."""

        class Base:
            def __init_subclass__(cls) -> None: ...
            @classmethod
            def generate(cls) -> None: ...
            def other(self) -> None: ...

        class Sub(Base):
            def generate(self) -> None: ...  # type: ignore[override]

        class Plain:
            def generate(self) -> None: ...

        class Heir(Plain): ...

        before = [list(vars(cls).items()) for cls in (Base, Sub, Plain, Heir)]
        instrument(Base, "generate")
        instrument(Heir, "generate")
        assert uninstrument() == {}
        assert [list(vars(cls).items()) for cls in (Base, Sub, Plain, Heir)] == before

    def test_one_of_two(self) -> None:
        """Only what was asked for is taken off; a class that another instrumentation covers goes on to be followed."""

        class Base:
            def on_bar(self) -> None: ...
            def on_tick(self) -> None: ...

        instrument(Base, "on_bar")
        instrument(Base, "on_tick", symbol="A")
        uninstrument(Base)
        assert not is_guarded(Base.on_bar)
        report = instrument(Base, "on_bar")
        second = instrument(Base, "on_tick")
        assert second.guarded
        del report

        class Sub(Base):
            def on_bar(self) -> None: ...

        assert is_guarded(Sub.on_bar)

    def test_what_another_one_covers(self) -> None:
        """What two have asked for stays guarded until both are taken off, and the other's report has it."""

        class Base:
            def generate(self) -> str:
                return "base"

        class Sub(Base):
            def generate(self) -> str:
                return "sub"

        first, second = instrument(Base, "generate"), instrument(Sub, "generate")
        assert (len(first.guarded), len(second.guarded), len(second.skipped)) == (2, 0, 1)
        uninstrument(first)
        assert not is_guarded(Base.generate)
        assert is_guarded(Sub.generate)
        assert (len(second.guarded), len(second.skipped)) == (1, 0)
        uninstrument(second)
        assert not is_guarded(Sub.generate)

    def test_a_fault_of_another_one(self, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> None:
        """What another instrumentation meets when it is looked at again is logged; what was asked for is done."""

        class One:
            def generate(self) -> None: ...

        class Other:
            def generate(self) -> None: ...

        instrument(One, "generate")
        instrument(Other, "generate")
        monkeypatch.setattr(Instrumentation, "add_again", lambda _self: 1 / 0)
        assert uninstrument(One) == {}
        assert not is_guarded(One.generate)
        assert "Other could not be guarded again" in caplog.text

    def test_under_another_name(self) -> None:
        """A method that a subclass has given another name is put back there, as its own."""

        class Root:
            def on_bar(self) -> str:
                return "bar"

        class Base(Root): ...

        instrument(Base, "on_*")

        class Sub(Base):
            on_tick = Base.on_bar

        assert is_guarded(Sub.on_tick)
        assert uninstrument() == {}
        assert Sub().on_tick() == "bar"
        assert not is_guarded(Sub.on_tick)
        assert "on_bar" not in vars(Base)

    def test_a_class_that_does_not_let_it_be_put_back(self) -> None:
        """What cannot be put back is named, and keeps nothing else from being put back."""

        class Meta(type):
            sealed = False

            def __setattr__(cls, name: str, value: object) -> None:
                if Meta.sealed:
                    raise AttributeError("sealed")
                super().__setattr__(name, value)

        class Sealed(metaclass=Meta):
            def generate(self) -> None: ...

        class Open:
            def generate(self) -> None: ...

        instrument(Sealed, "generate")
        instrument(Open, "generate")
        Meta.sealed = True
        left = uninstrument()
        Meta.sealed = False
        assert [*left.values()] == ["sealed"]
        assert not is_guarded(Open.generate)

    def test_what_somebody_has_put_over_it(self) -> None:
        """What was put over a guard since is left there, and named."""

        class Strategy:
            def generate(self) -> str:
                return "long"

        instrument(Strategy, "generate")
        guarded = Strategy.generate

        def noisy(self: Strategy) -> str:
            return guarded(self)

        Strategy.generate = noisy  # type: ignore[method-assign]
        left = uninstrument(Strategy)
        assert [*left.values()] == ["something else has been put in its place since"]
        assert Strategy().generate() == "long"

    def test_what_is_not_instrumented(self) -> None:
        """To take off what was never put on is an error that names what was."""

        class Strategy:
            def generate(self) -> None: ...

        with pytest.raises(InvalidConfiguration, match=r"that is not instrumented; nothing is"):
            uninstrument(Strategy)
        instrument(Strategy, "generate")
        with pytest.raises(InvalidConfiguration, match=r"Strategy'\): that is not instrumented; .*Strategy is"):
            uninstrument("Strategy")


class TestReport:
    def test_twice_is_harmless(self) -> None:
        """The same again gives the same report, and no second guard."""

        class Strategy:
            def generate(self, symbol: str) -> str:
                return symbol

        def again() -> Any:
            return instrument(Strategy, "generate", symbol="{symbol}", validate=validators.finite, context={"a": "b"})

        first = again()
        guarded = Strategy.generate
        assert again() is first
        assert Strategy.generate is guarded

    def test_other_settings(self) -> None:
        """The same target with other settings is an error."""

        class Strategy:
            def generate(self, symbol: str) -> str:
                return symbol

        instrument(Strategy, "generate")
        with pytest.raises(InvalidConfiguration, match="instrumented already, with other settings; uninstrument it"):
            instrument(Strategy, "generate", symbol="{symbol}")

    def test_what_could_not_be_guarded(self) -> None:
        """Methods that have a guard, and what is no method, are named with the reason."""

        class Strategy:
            size = 3

            class Nested: ...

            @guarded_signal
            def on_bar(self) -> None: ...
            def on_tick(self) -> None: ...

        report = instrument(Strategy, "on_*", "size", "Nested")
        reasons = {name.rpartition(".")[2]: why for name, why in report.skipped.items()}
        assert reasons["on_bar"] == "guarded already, by guarded_signal"
        assert "was given 3" in reasons["size"]
        assert "was given the class" in reasons["Nested"]
        assert f"{__name__}" in str(report)
        assert "guarded already, by guarded_signal" in str(report)
        assert repr(report).endswith("Strategy: 1 guarded>")

    def test_a_class_that_cannot_be_changed(self) -> None:
        """A class that is made in C is reported as such; its subclasses in Python can be named."""
        report = instrument(dict, "items")
        assert "cannot set 'items' attribute of immutable type 'dict'" in report.skipped["builtins:dict.items"]

    @pytest.mark.parametrize(
        ("methods", "settings", "error"),
        [
            ((), {}, r"names no method, .* give the names of its methods, such as 'generate_signals'"),
            (("generate_signal",), {}, r"has generate_signal; did you mean 'generate_signals'\?"),
            (("nothing",), {}, r"neither it nor a subclass of it has nothing$"),
            (("generate_signals",), {"symbol": "{bar}"}, r"has no parameter 'bar'"),
            (
                ("generate_signals",),
                {"when_halted": "maybe"},
                r"when_halted given to instrument='maybe': expected one of",
            ),
            (("generate_signals",), {"validate": "finite"}, r"validate given to instrument: expected a plain"),
            (("generate_signals",), {"symbol": "{symbol"}, r"symbol='{symbol' given to instrument: expected"),
            (("Strategy.generate_signals",), {}, r"method 'Strategy\.generate_signals': expected the name of a method"),
            ((["generate_signals"],), {}, r"method \['generate_signals'\]: expected the name of a method"),
            (("limit",), {}, r"nothing of it can be guarded: .*Strategy\.limit: guarded_signal was given 3"),
            ((), {"host": "ib_async"}, r"that host's handlers may have any name; give theirs, as"),
            (("generate_signals",), {"host": "freqtrad"}, r"does not know it; did you mean 'freqtrade'\?"),
            ((), {"host": "backtrader"}, r"does not derive from backtrader\.strategy\.Strategy; give the names"),
        ],
    )
    def test_errors(self, methods: tuple[str, ...], settings: dict[str, Any], error: str) -> None:
        """What cannot work is an error at once, and leaves nothing behind."""

        class Strategy:
            limit = 3

            def generate_signals(self, symbol: str) -> str:
                return symbol

        before = dict(vars(Strategy))
        with pytest.raises(InvalidConfiguration, match=error):
            instrument(Strategy, *methods, **settings)
        assert dict(vars(Strategy)) == before
        with pytest.raises(InvalidConfiguration):
            uninstrument(Strategy)

    def test_settings_that_do_not_fit_a_subclass(self, caplog: pytest.LogCaptureFixture) -> None:
        """A subclass whose method has other parameters is guarded without the names, and both report and log say so."""

        class Base:
            def generate(self, symbol: str) -> str:
                return symbol

        report = instrument(Base, "generate", symbol="{symbol}")

        class Sub(Base):
            def generate(self, pair: str) -> str:
                raise ValueError(pair)

        assert Sub().generate("A") is None
        (why,) = report.skipped.values()
        assert why.startswith("guarded, but without names of its own: symbol='{symbol}' on")
        assert "is guarded, but without names of its own" in caplog.text

    def test_no_target(self) -> None:
        """Without a target a host has to be given, and no methods; its strategies have to be such as can be found."""
        with pytest.raises(InvalidConfiguration, match=r"^instrument\(\) was given no target: give a class"):
            instrument()
        with pytest.raises(
            InvalidConfiguration, match=r"strategies cannot be found by themselves; name them, or their"
        ):
            instrument(host="nautilus_trader")

    def test_settings_that_no_method_of_that_kind_can_have(self) -> None:
        """A subclass whose method is of a kind that a setting is not for is not guarded, and the report says why."""

        class Base:
            def generate(self) -> Any:
                return "long"

        report = instrument(Base, "generate", no_signal=lambda _self: "flat")

        class Sub(Base):
            async def generate(self) -> AsyncIterator[str]:
                yield "long"

        assert not is_guarded(Sub.generate)
        (why,) = report.skipped.values()
        assert "an asynchronous generator ends without a value; leave it out" in why

    @pytest.mark.parametrize("target", [3, ["my_bot"]])
    def test_what_is_no_target(self, target: Any) -> None:
        """A target is a class, a module, or a text."""
        with pytest.raises(InvalidConfiguration, match="expected a class, a module, or the text of a target"):
            instrument(target, "generate")


class TestDecorator:
    def test_on_a_class(self, tracker: FailureTracker) -> None:
        """guarded_strategy is instrument for the class below it, which it returns."""

        @guarded_strategy("generate", symbol="{symbol}")
        class Strategy:
            def generate(self, symbol: str) -> str:
                return failing_for(symbol)

        class Sub(Strategy):
            def generate(self, symbol: str) -> str:
                return failing_for(symbol)

        assert inspect.isclass(Strategy)
        assert Sub().generate("BAD") is None
        assert tracker.symbol_failures == {"BAD": 1}

    def test_above_one_that_makes_a_new_class(self) -> None:
        """Above attrs.define it guards the class that attrs has made, super() without arguments included."""

        class Base:
            __slots__ = ()

            def generate(self) -> str:
                return "long"

        @guarded_strategy("generate")
        @attrs.define
        class Strategy(Base):
            def generate(self) -> str:
                return super().generate()

        assert is_guarded(Strategy.generate)
        assert Strategy().generate() == "long"

    def test_without_names(self) -> None:
        """Without names it has to be a strategy of a host."""
        with pytest.raises(InvalidConfiguration, match="it names no method"):

            @guarded_strategy
            class Strategy:
                def generate(self) -> None: ...


class Package:
    """A package of a test's own, that can be imported."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.name = f"my_bot_{folder.name.replace('-', '_')}"

    def write(self, path: str, source: str) -> None:
        file = self.folder / self.name / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(source))
        importlib.invalidate_caches()

    def load(self, module: str = "") -> ModuleType:
        return importlib.import_module(f"{self.name}.{module}" if module else self.name)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Package]:
    made = Package(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    strategy = """
        import functools
        from dataclasses import dataclass

        class {0}:
            class Inner:
                def generate_signals(self, symbol):
                    return 1 / 0

            def generate_signals(self, symbol):
                return 1 / 0

            def size(self):
                return 1

        def make_signal(symbol):
            return 1 / 0
    """
    made.write("__init__.py", "")
    made.write("strategies/__init__.py", "")
    made.write("strategies/vwap.py", strategy.format("Vwap"))
    made.write(
        "strategies/rsi.py",
        textwrap.dedent(strategy).format("Rsi") + f"\nfrom {made.name}.strategies import vwap\n",
    )
    yield made
    for name in [name for name in sys.modules if name.partition(".")[0] == made.name]:
        del sys.modules[name]


class TestModules:
    def test_modules_that_are_not_imported_yet(self, package: Package, tracker: FailureTracker) -> None:
        """A pattern guards what fits it in modules when they are imported, and until then says what it waits for."""
        report = instrument(f"{package.name}.strategies.*:*.generate_signals", symbol="{symbol}")
        assert report.pending == (f"{package.name}.strategies.*:*.generate_signals",)
        assert "is not imported yet" in str(report)
        assert not any(name.startswith(package.name) for name in sys.modules), "nothing is imported for it"
        rsi = package.load("strategies.rsi")
        assert not report.pending
        assert rsi.Rsi().generate_signals("A") is None
        assert rsi.vwap.Vwap().generate_signals("A") is None
        assert report.guarded == (
            f"{package.name}.strategies.rsi:Rsi.generate_signals",
            f"{package.name}.strategies.vwap:Vwap.generate_signals",
        )
        assert not is_guarded(rsi.make_signal)
        assert not is_guarded(rsi.Rsi.Inner.generate_signals)
        assert tracker.symbol_failures == {"A": 2}

    @pytest.mark.parametrize(
        ("path", "methods", "guarded"),
        [
            ("Vwap.generate_signals", (), ["Vwap.generate_signals"]),
            ("Vwap", ("generate_signals",), ["Vwap.generate_signals"]),
            ("Vwap.Inner.*", (), ["Vwap.Inner.generate_signals"]),
            ("make_signal", (), ["make_signal"]),
            ("make_*", (), ["make_signal"]),
            ("V*.*", (), ["Vwap.generate_signals", "Vwap.size"]),
        ],
    )
    def test_paths(self, path: str, methods: tuple[str, ...], guarded: list[str], package: Package) -> None:
        """A path names classes, nested ones too, and a method; or a function of the module."""
        report = instrument(f"{package.name}.strategies.vwap:{path}", *methods)
        package.load("strategies.vwap")
        found = [name.partition(":")[2] for name in (*report.guarded, *report.skipped)]
        assert sorted(found) == guarded

    def test_modules_that_are_imported(self, package: Package) -> None:
        """A module, by itself or by its name, is covered at once: its classes' methods, and its functions."""
        module = package.load("strategies.vwap")
        report = instrument(module, "generate_signals", "make_signal")
        assert [name.partition(":")[2] for name in report.guarded] == ["Vwap.generate_signals", "make_signal"]
        original = module.make_signal.__wrapped__
        uninstrument(module)
        assert module.make_signal is original
        again = instrument(f"{package.name}.strategies.vwap", "make_signal")
        assert len(again.guarded) == 1
        assert instrument(f"{package.name}.strategies.vwap", "make_signal") is again

    def test_packages(self, package: Package) -> None:
        """A package is all that is in it, now and later."""
        strategies = package.load("strategies")
        package.load("strategies.vwap")
        report = instrument(strategies, "generate_signals")
        assert len(report.guarded) == 1
        package.load("strategies.rsi")
        assert len(report.guarded) == 2
        package.write("strategies/later.py", "class Later:\n    def generate_signals(self): return 1 / 0\n")
        assert package.load("strategies.later").Later().generate_signals() is None

    def test_packages_by_name(self, package: Package) -> None:
        """The name of a package is all that is in it, too, imported or not; with a path it is the module itself."""
        report = instrument(f"{package.name}.strategies", "generate_signals")
        package.load("strategies.vwap")
        package.load("strategies.rsi")
        assert len(report.guarded) == 2
        again = instrument(f"{package.name}.strategies", "size")
        assert len(again.guarded) == 2
        with pytest.raises(InvalidConfiguration, match=r"strategies has no \*\.generate_signals"):
            instrument(f"{package.name}.strategies:*.generate_signals")

    def test_packages_without_an_init(self, package: Package, tmp_path: Path) -> None:
        """Folders without an __init__ are packages, too, at every depth."""
        name = f"spaces_{package.name}"
        (tmp_path / name / "deeper").mkdir(parents=True)
        (tmp_path / name / "deeper" / "signals.py").write_text("def signal(): return 1 / 0\n")
        with pytest.raises(InvalidConfiguration, match=rf"no module '{name}\.deeper\.signal'; did you mean 'signals'"):
            instrument(f"{name}.deeper.signal:signal")
        instrument(f"{name}.deeper.signals:signal")
        assert importlib.import_module(f"{name}.deeper.signals").signal() is None

    def test_each_waits_for_its_own(self, package: Package) -> None:
        """A module that is imported is covered by those who wait for it, and by no others."""
        vwap = instrument(f"{package.name}.strategies.vwap:Vwap.generate_signals")
        rsi = instrument(f"{package.name}.strategies.rsi:Rsi.size")
        package.load("strategies.vwap")
        assert (len(vwap.guarded), vwap.pending) == (1, ())
        assert (rsi.guarded, len(rsi.pending)) == ((), 1)

    def test_subclasses_elsewhere(self, package: Package) -> None:
        """Classes that derive from those of a module are covered wherever they are."""
        instrument(f"{package.name}.strategies.vwap:Vwap.generate_signals")
        module = package.load("strategies.vwap")

        class Mine(module.Vwap):  # type: ignore[name-defined,misc]
            def generate_signals(self, symbol: str) -> float:
                return 1 / 0

        assert Mine().generate_signals("A") is None

    def test_a_function_that_has_a_guard(self, package: Package) -> None:
        """A function that is guarded already is reported, and left as it is."""
        package.write("guarded.py", "from guarded import guarded_signal\n@guarded_signal\ndef signal(): return 1\n")
        module = package.load("guarded")
        report = instrument(module, "signal")
        assert report.skipped == {f"{package.name}.guarded:signal": "guarded already, by guarded_signal"}

    @pytest.mark.parametrize(
        ("target", "methods", "error"),
        [
            (
                "{0}.strategies.vwap:Vwap.generate_signal",
                (),
                r"vwap has no Vwap\.generate_signal; did you mean 'generate_",
            ),
            (
                "{0}.strategies.vwap:Vwapp.generate_signals",
                (),
                r"has no Vwapp\.generate_signals; did you mean 'Vwap'\?",
            ),
            ("{0}.strategies.vwap:make_signals", (), r"has no make_signals; did you mean 'make_signal'"),
            ("{0}.strategies.vwap", ("nothing",), r"vwap has no nothing$"),
            (
                "{0}.strategies.vwap:Vwap",
                (),
                r"vwap: Vwap is a class; name its methods, as in '.*:Vwap\.generate_signals'",
            ),
            ("{0}.strategies.vwap:make_signal.generate", (), r"vwap has no make_signal\.generate"),
            ("{0}.strategies.vwap:make_signal.Inner.generate", (), r"vwap has no make_signal\.Inner\.generate"),
            ("{0}.strategies.vwap", (), r"it names no method; give their names, as in instrument\("),
            ("{0}.strategies.wvap:Vwap.size", (), r"no module '{0}\.strategies\.wvap'; did you mean 'vwap'\?"),
            ("{0}.strategy.vwap:Vwap.size", (), r"no module '{0}\.strategy'; did you mean 'strategies'\?"),
            ("{0}x.strategies:Vwap.size", (), r"there is no module '{0}x'; did you mean '{0}'\?"),
            ("{0}.strategies.vwap:", (), "expected one such as"),
            ("{0}..vwap:x", (), "expected one such as"),
            ("{0}:a:b", (), "expected one such as"),
        ],
    )
    def test_errors(self, target: str, methods: tuple[str, ...], error: str, package: Package) -> None:
        """A target about one module that has nothing of it is an error with near misses; so is a module that is not."""
        package.load("strategies.vwap")
        with pytest.raises(InvalidConfiguration, match=error.format(package.name)):
            instrument(target.format(package.name), *methods)

    def test_an_error_of_a_module_that_comes_later(self, package: Package) -> None:
        """The import of a module that does not have what was named of it raises the error."""
        instrument(f"{package.name}.strategies.vwap:Vwap.generate")
        with pytest.raises(InvalidConfiguration, match=r"has no Vwap\.generate"):
            package.load("strategies.vwap")

    def test_a_module_that_cannot_be_imported(self, package: Package) -> None:
        """A module whose import fails is covered once it succeeds."""
        package.write("broken.py", "1 / 0")
        report = instrument(f"{package.name}.*:signal")
        with pytest.raises(ZeroDivisionError):
            package.load("broken")
        package.write("broken.py", "def signal(): return 1 / 0  # mended")
        assert package.load("broken").signal() is None
        assert len(report.guarded) == 1

    def test_a_pattern_that_is_misspelt(self, package: Package, caplog: pytest.LogCaptureFixture) -> None:
        """A pattern that finds nothing in a module, where there is something like it, says so in log and report."""
        report = instrument(f"{package.name}.strategies.*:*.generate_signal")
        package.load("strategies.vwap")
        assert "has guarded nothing so far" in caplog.text
        assert f"{package.name}.strategies.vwap has nothing of it; did you mean 'generate_signals'" in caplog.text
        assert [*report.skipped] == [f"{package.name}.strategies.vwap"]
        caplog.clear()
        package.write("strategies/right.py", "class Right:\n    def generate_signal(self): return 1 / 0\n")
        package.load("strategies.right")
        package.load("strategies.rsi")
        assert caplog.text == ""
        assert len(report.guarded) == 1

    def test_a_pattern_with_nothing_like_it(self, package: Package, caplog: pytest.LogCaptureFixture) -> None:
        """A module that has nothing like what a pattern names is nothing to speak of."""
        report = instrument(f"{package.name}.strategies.*:*.on_bar")
        package.load("strategies.vwap")
        assert (caplog.text, report.skipped) == ("", {})

    def test_twice(self, package: Package) -> None:
        """A text that is given twice is the same instrumentation, and goes on to cover what is imported."""
        text = f"{package.name}.strategies.*:*.generate_signals"
        first = instrument(text)
        package.load("strategies.vwap")
        assert instrument(text) is first
        package.load("strategies.rsi")
        assert len(first.guarded) == 2
        exact = f"{package.name}.strategies.vwap:Vwap.size"
        assert instrument(exact) is instrument(exact)

    def test_from_within_a_module(self, package: Package) -> None:
        """A module may have itself guarded on its last line, or on its first: then once it has been imported."""
        body = "def signal():\n    return 1 / 0\n"
        head = f"import guarded\nguarded.instrument('{package.name}.first:signal')\n"
        first = f"{head}import {package.name}.strategies\n{body}"
        last = f"import guarded, sys\n{body}\nguarded.instrument(sys.modules[__name__], 'signal')\n"
        package.write("first.py", first)
        package.write("last.py", last)
        assert package.load("last").signal() is None
        module = package.load("first")
        package.write("broken.py", f"import guarded\nguarded.instrument('{package.name}.broken:signal')\n1 / 0\n")
        with pytest.raises(ZeroDivisionError):
            package.load("broken")
        package.load("strategies.vwap")  # whatever is imported next
        assert module.signal() is None

    def test_a_module_without_methods(self, package: Package) -> None:
        """A module by itself does not say what is to be guarded in it."""
        with pytest.raises(InvalidConfiguration, match="it names no method; give their names"):
            instrument(package.load("strategies.vwap"))

    def test_from_within_a_package(self, package: Package) -> None:
        """A package may have what is in it guarded on its own first line."""
        package.write("__init__.py", f"import guarded\nguarded.instrument('{package.name}.*:*.generate_signals')\n")
        assert is_guarded(package.load("strategies.vwap").Vwap.generate_signals)


class TestIdentity:
    def test_what_hosts_ask(self) -> None:
        """Signature, argument names, qualified name, module and being a coroutine function are as before."""

        class Strategy:
            def populate(self, dataframe: list[int], metadata: dict[str, str], *, limit: int = 3) -> list[int]:
                """Doc."""
                return dataframe[:limit]

            async def on_bar(self, bar: int) -> int:
                return bar

        questions: list[Callable[[Any], object]] = [
            inspect.signature,
            inspect.getfullargspec,
            inspect.iscoroutinefunction,
            inspect.isfunction,
            inspect.getsource,
            lambda function: (function.__qualname__, function.__name__, function.__module__, function.__doc__),
        ]
        before = [[ask(vars(Strategy)[name]) for ask in questions] for name in ("populate", "on_bar")]
        instrument(Strategy, "populate", "on_bar")
        assert [[ask(vars(Strategy)[name]) for ask in questions] for name in ("populate", "on_bar")] == before

    def test_by_value_in_another_process(self, tmp_path: Path) -> None:
        """A class that goes to another process by value takes its guards along, its later subclasses' among them."""
        code = """
            import cloudpickle, pathlib, sys
            from guarded import instrument
            class Base:
                def generate(self):
                    return 1 / 0
            class Sub(Base):
                def generate(self):
                    return super().generate()
            instrument(Base, "generate", symbol="A")
            pathlib.Path(sys.argv[1]).write_bytes(cloudpickle.dumps((Base, Sub)))
        """
        file = tmp_path / "classes.pickle"
        subprocess.run([sys.executable, "-c", textwrap.dedent(code), str(file)], check=True, timeout=60)
        code = """
            import pathlib, pickle, sys
            from guarded import get_failure_tracker
            Base, Sub = pickle.loads(pathlib.Path(sys.argv[1]).read_bytes())
            assert Base().generate() is None and Sub().generate() is None
            print(get_failure_tracker().get_status()["symbol_failures"])
        """
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(code), str(file)],
            check=True, timeout=60, capture_output=True, text=True,
        )  # fmt: skip
        assert done.stdout.strip() == "{'A': 2}"

    def test_instances_are_pickled_as_before(self) -> None:
        """An instance of a class that is instrumented is pickled by its class's name."""
        instrument(Importable, "generate")
        assert isinstance(pickle.loads(pickle.dumps(Importable())), Importable)  # noqa: S301  # of ours

    def test_a_block_around(self, tracker: FailureTracker) -> None:
        """Names come from an enclosing block as they do for the decorator."""
        instrument(Importable, "generate")
        with track_signal(symbol="AAPL"):
            assert Importable().generate() is None
        assert tracker.symbol_failures == {"AAPL": 1}

    def test_the_shared_tracker_of_the_moment(self, tracker: FailureTracker) -> None:
        """The shared tracker is the one at the time of the call."""
        instrument(Importable, "generate")
        other = FailureTracker()
        with set_failure_tracker(other):
            assert Importable().generate() is None
            assert other.total_failures == 1
        assert tracker.total_failures == 0


class Importable:
    def generate(self) -> str:
        raise ValueError("bad bar")
