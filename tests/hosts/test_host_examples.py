"""The examples for hosts run from anywhere and show what they say; without its host each says how to get it."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "examples" / "hosts"
EXAMPLES = sorted(FOLDER.glob("*.py"))
BY_NAME = pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
HOSTS = {
    "backtesting_py": "backtesting",
    "backtrader_bt": "backtrader",
    "freqtrade_strategy": "freqtrade",
    "ib_async_handlers": "ib_async",
    "nautilus": "nautilus_trader",
    "vnpy_cta": "vnpy_ctastrategy",
}


def run(example: Path, folder: Path, *, without: str | None = None) -> subprocess.CompletedProcess[str]:
    """Run an example in a folder; without a package if that is asked for."""
    hidden = "" if without is None else f"import sys; sys.modules[{without!r}] = None; "
    code = f"{hidden}import runpy; runpy.run_path({str(example)!r}, run_name='__main__')"
    environment = {**os.environ, "PYTHONPATH": str(FOLDER.parents[1]), "PYTHONWARNINGS": "ignore"}
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        cwd=folder,
        env=environment,
        timeout=90,
    )


def test_there_is_one_for_each_host() -> None:
    """Every host has an example."""
    assert {path.stem for path in EXAMPLES} == set(HOSTS)


@BY_NAME
def test_it_says_how_to_run_it(example: Path) -> None:
    """The first line of an example says what it shows and with which command."""
    docstring = ast.get_docstring(ast.parse(example.read_text(encoding="utf-8"))) or ""
    assert f"python examples/hosts/{example.name}" in docstring.splitlines()[0]


@BY_NAME
def test_without_its_host(example: Path, tmp_path: Path) -> None:
    """Without its host an example says what to install, and ends well."""
    done = run(example, tmp_path, without=HOSTS[example.stem])
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("this example needs ")
    assert "pip install " in done.stdout


@pytest.mark.parametrize(
    ("name", "claims"),
    [
        (
            "backtesting_py",
            ["Unguarded: the run ends with ZeroDivisionError", "the run goes on; 5 trades", "Halted: 3 con"],
        ),
        (
            "backtrader_bt",
            ["last traded on day 249", "{'GOOG': 3}, calls refused: 795", "Halted: 3 consecutive failures"],
        ),
        ("ib_async_handlers", ["AAPL: +1.00%", "{'MSFT': 3}, calls refused: 1", "Halted: 3 consecutive failures"]),
    ],
)
def test_it_makes_its_point(name: str, claims: list[str], tmp_path: Path) -> None:
    """An example prints what it is about, in this order."""
    done = run(FOLDER / f"{name}.py", tmp_path)
    assert done.returncode == 0, done.stderr
    start = 0
    for claim in claims:
        start = done.stdout.index(claim, start)
