"""The package as a user finds it: its names, its types, its weight."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import requires
from pathlib import Path

import pytest

import guarded
from guarded import testing

PACKAGE = Path(guarded.__file__).parent


def python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    return done.stdout.strip()


def test_all_is_sorted_and_complete() -> None:
    """__all__ is sorted, without doubles, and names everything public that the package holds."""
    assert guarded.__all__ == sorted(set(guarded.__all__))
    held = {name for name in dir(guarded) if not name.startswith(("_", "@"))}  # pytest's own begin with an @
    assert set(guarded.__all__) == held - {"hosts", "pytest_plugin", "stores", "testing"}


def test_what_is_for_tests_is_sorted_and_complete() -> None:
    """__all__ of guarded.testing is sorted, and names everything that is defined there."""
    assert testing.__all__ == sorted(set(testing.__all__))
    defined = {name for name, value in vars(testing).items() if getattr(value, "__module__", "") == testing.__name__}
    assert set(testing.__all__) == {name for name in defined if not name.startswith("_")} - {"E"}


def test_everything_public_is_documented() -> None:
    """Every public name has a docstring of its own."""
    undocumented = [name for name in guarded.__all__ if not getattr(getattr(guarded, name), "__doc__", None)]
    assert [name for name in undocumented if name != "Event"] == []


def test_it_is_typed() -> None:
    """The package says that it has type annotations."""
    assert (PACKAGE / "py.typed").exists()


def test_two_core_dependencies() -> None:
    """Without extras only structlog and wrapt are installed."""
    core = [line for line in requires("guarded") or [] if "extra ==" not in line]
    assert sorted(line.split(">=")[0] for line in core) == ["structlog", "wrapt"]


def test_importing_is_light_and_quiet() -> None:
    """Importing guarded imports no numbers, no TOML parser, no database, nothing for tests, and prints nothing."""
    heavy = ("numpy", "pandas", "polars", "tomllib", "pytest", "sqlite3", "redis", "typer", "guarded.testing")
    assert python(f"import sys, guarded; print([m for m in {heavy} if m in sys.modules])") == "[]"


def test_what_only_some_need_comes_later() -> None:
    """What instruments and configures is imported when it is first asked for, and then is there like the rest."""
    names = ["Configuration", "Instrumentation", "configure", "guarded_strategy", "instrument", "uninstrument"]
    loaded = "[name for name in ('_configure', '_instrument', '_instrumentation') if f'guarded.{name}' in sys.modules]"
    assert python(f"import sys, guarded; print({loaded})") == "[]"
    assert python(f"import guarded; print([name for name in {names} if name not in dir(guarded)])") == "[]"
    for name in names:
        seen = f"guarded.{name}.__name__, guarded.{name} is vars(guarded)['{name}']"
        assert python(f"import sys, guarded; print({seen}, {loaded} != [])") == f"{name} True True"
    assert python("from guarded import *; print(instrument.__module__)") == "guarded._instrument"


def test_a_name_that_is_not_there() -> None:
    """A name that guarded does not have is the error that every module raises."""
    with pytest.raises(AttributeError, match="module 'guarded' has no attribute 'gaurded_signal'"):
        guarded.gaurded_signal  # type: ignore[attr-defined]  # noqa: B018


def test_importing_leaves_structlog_unconfigured() -> None:
    """Importing guarded, and a failure, leave structlog and the root logger as they were."""
    code = (
        "import logging, structlog, guarded; guarded.guarded_signal(lambda: {}['x'])();"
        "print(structlog.is_configured(), logging.getLogger().handlers)"
    )
    assert python(code) == "False []"


def test_every_module_says_what_it_is_for() -> None:
    """Every module opens with a docstring of one line."""
    for path in PACKAGE.rglob("*.py"):
        first = path.read_text(encoding="utf-8").splitlines()[0]
        assert first.startswith('"""'), path
        assert len(first) > 20, path


def test_the_pytest_plugin_is_light() -> None:
    """The pytest plugin imports nothing but guarded, which its package is, and what pytest has imported."""
    code = (
        "import sys, pytest, guarded; before = set(sys.modules); import guarded.pytest_plugin;"
        "print(sorted(set(sys.modules) - before))"
    )
    assert python(code) == "['guarded.pytest_plugin', 'guarded.testing']"
