"""Guards around functions that Cython compiled, and guards in a module that Cython compiled."""

from __future__ import annotations

import asyncio
import functools
import importlib.util
import inspect
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from guarded import FailureTracker, guarded_signal, is_guarded

SOURCE = '''
# cython: language_level=3, binding=True
from guarded import guarded_signal

def divide(symbol, close):
    """Make a signal."""
    return 1 / close

async def fetch(symbol, close):
    return 1 / close

def stream(symbol, *closes):
    for close in closes:
        yield 1 / close

async def astream(symbol, *closes):
    for close in closes:
        yield 1 / close

class Strategy:
    name = "Compiled"

    def generate(self, symbol, close):
        return 1 / close

    @guarded_signal
    def inside(self, symbol, close):
        return 1 / close

    @guarded_signal
    @property
    def level(self):
        return 1 / 0

cdef class Fast:
    cdef public str name

    def __init__(self):
        self.name = "Fast"

    def generate(self, symbol, close):
        return 1 / close

    def __call__(self, symbol, close):
        return 1 / close

cdef class Feed:
    cdef list closes

    def __init__(self, closes):
        self.closes = closes

    def __iter__(self):
        return self

    def __next__(self):
        if not self.closes:
            raise StopIteration
        return 1 / self.closes.pop()

@guarded_signal(strategy="VWAP", symbol="{symbol}")
def decorated(symbol, close):
    return 1 / close
'''

SETUP = """
from setuptools import Extension, setup
from Cython.Build import cythonize
setup(ext_modules=cythonize([Extension("compiled_strategies", ["compiled_strategies.pyx"])], quiet=True))
"""


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The module, compiled with the machine's C compiler."""
    if shutil.which(os.environ.get("CC", "cc")) is None and sys.platform != "win32":
        pytest.skip("there is no C compiler on this machine")
    folder = tmp_path_factory.mktemp("cython")
    (folder / "compiled_strategies.pyx").write_text(SOURCE, encoding="utf-8")
    (folder / "setup.py").write_text(SETUP, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "setup.py", "-q", "build_ext", "--inplace"],
        cwd=folder,
        env={**os.environ, "CFLAGS": "-O0"},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (path,) = [path for path in Path(folder).iterdir() if path.suffix in (".so", ".pyd")]
    spec = importlib.util.spec_from_file_location("compiled_strategies", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["compiled_strategies"] = module
    spec.loader.exec_module(module)
    yield module
    del sys.modules["compiled_strategies"]


def test_a_function(compiled: Any, tracker: FailureTracker) -> None:
    """A compiled function is guarded, keeps its name and docstring, and its arguments can be named in templates."""
    guarded = guarded_signal(symbol="{symbol}")(compiled.divide)
    assert (guarded("AAPL", 2), guarded("AAPL", 0)) == (0.5, None)
    assert (guarded.__name__, guarded.__doc__) == ("divide", "Make a signal.")
    assert list(inspect.signature(guarded).parameters) == ["symbol", "close"]
    assert (tracker.strategy_failures, tracker.symbol_failures) == ({"divide": 1}, {"AAPL": 1})


def test_a_coroutine_function(compiled: Any, tracker: FailureTracker) -> None:
    """A compiled `async def` is guarded until it is awaited."""
    guarded = guarded_signal(compiled.fetch)

    async def main() -> list[Any]:
        return [await guarded("AAPL", 2), await guarded("AAPL", 0)]

    assert asyncio.run(main()) == [0.5, None]
    assert tracker.total_failures == 1
    tracker.halt_manager.trigger_halt("drill")
    assert asyncio.run(main()) == [None, None]
    assert tracker.refusals == 2


def test_generators(compiled: Any, tracker: FailureTracker) -> None:
    """Compiled generators, asynchronous ones too, are guarded step by step."""

    async def collected(*closes: float) -> list[float]:
        return [item async for item in guarded_signal(compiled.astream)("AAPL", *closes)]

    assert list(guarded_signal(compiled.stream)("AAPL", 2, 0, 4)) == [0.5]
    assert asyncio.run(collected(2, 0, 4)) == [0.5]
    assert tracker.total_failures == 2
    steps = guarded_signal(compiled.stream)("AAPL", 2, 4)
    assert next(steps) == 0.5
    tracker.halt_manager.trigger_halt("drill")
    assert list(steps) == []
    assert tracker.refusals == 1


def test_methods(compiled: Any, tracker: FailureTracker) -> None:
    """Compiled methods are bound and guarded, in a class made by Python, in one made by Cython, and on an instance."""

    class Ours(compiled.Strategy):  # type: ignore[misc]  # of any type
        generate = guarded_signal(compiled.Strategy.generate)

    ours, fast = Ours(), compiled.Fast()
    bound = ours.generate
    assert (bound("AAPL", 2), bound("AAPL", 0), bound.__func__(ours, "AAPL", 0)) == (0.5, None, None)
    tracker.reset()
    assert guarded_signal(fast.generate)("AAPL", 0) is None
    assert guarded_signal(fast)("AAPL", 0) is None
    assert tracker.strategy_failures == {"Compiled": 2, "Fast": 2}


def test_an_iterator(compiled: Any, tracker: FailureTracker) -> None:
    """The end of a compiled iteration passes through its guarded `__next__`."""
    step = guarded_signal(compiled.Feed([0, 2]).__next__)
    assert [step(), step()] == [0.5, None]
    with pytest.raises(StopIteration):
        step()
    assert tracker.total_failures == 1


def test_a_guard_in_the_compiled_module(compiled: Any, tracker: FailureTracker) -> None:
    """A guard that was put on in the compiled module is there: on functions, methods and properties."""
    strategy = compiled.Strategy()
    assert (compiled.decorated("AAPL", 0), strategy.inside("MSFT", 0)) == (None, None)
    tracker.reset()
    assert strategy.level is None
    assert strategy.inside("MSFT", 2) == 0.5
    assert tracker.strategy_failures == {"VWAP": 1, "Compiled": 2}
    assert all(map(is_guarded, (compiled.decorated, strategy.inside, compiled.Strategy.level)))


def test_it_pickles_by_name(compiled: Any) -> None:
    """What a compiled module guards is pickled by its name, and is that very thing when it comes back."""
    assert pickle.loads(pickle.dumps(compiled.decorated)) is compiled.decorated  # noqa: S301  # its own
    bound = pickle.loads(pickle.dumps(functools.partial(compiled.decorated, "AAPL")))  # noqa: S301  # its own
    assert bound.func is compiled.decorated
