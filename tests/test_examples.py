"""The examples run as they are, from anywhere, and show what they say they show."""

from __future__ import annotations

import ast
import functools
import importlib.util
import os
import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from guarded import FailureTracker, FailureType, set_failure_tracker, set_mode

if TYPE_CHECKING:
    from collections.abc import Iterator

FOLDER = Path(__file__).parents[1] / "examples"
EXAMPLES = sorted(FOLDER.glob("*.py"))
BY_NAME = pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)


@dataclass(frozen=True)
class Run:
    """What became of an example."""

    status: int
    stdout: str
    stderr: str
    left_behind: list[str]


def run(example: Path, **environment: str) -> Run:
    """Run an example as a user does, in a directory of its own, only with warnings as errors."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("GUARDED_", "COVERAGE_"))}
    with tempfile.TemporaryDirectory() as elsewhere:
        done = subprocess.run(
            [sys.executable, "-W", "error", str(example)],
            cwd=elsewhere,
            env=inherited | environment,
            capture_output=True,
            encoding="utf-8",
            timeout=60,
            check=False,
        )
        return Run(done.returncode, done.stdout, done.stderr, [path.name for path in Path(elsewhere).iterdir()])


@functools.cache
def once(example: Path) -> Run:
    """The one run of an example that most tests look at."""
    return run(example)


def output_of(name: str) -> str:
    return once(FOLDER / f"{name}.py").stdout


# -- all of them


def test_there_is_an_example_for_every_way_of_use() -> None:
    """The examples that the documentation names are there."""
    assert {path.stem for path in EXAMPLES} >= {
        "async_strategies",
        "decorate_existing",
        "halt_callbacks",
        "halt_manager",
        "ib_events",
        "live_trading",
        "map_exceptions",
        "wrap_block",
    }


@BY_NAME
def test_runs_from_any_directory(example: Path) -> None:
    """An example runs from any directory, succeeds, complains of nothing and leaves nothing behind."""
    done = once(example)
    assert (done.status, done.stderr, done.left_behind) == (0, "", [])


@BY_NAME
def test_prints_plain_text(example: Path) -> None:
    """An example prints something: ASCII without control codes, so that it reads the same on every terminal."""
    assert re.fullmatch(r"[\n\x20-\x7e]+", once(example).stdout)


@BY_NAME
def test_needs_nothing_but_guarded(example: Path) -> None:
    """An example imports the standard library and `guarded`, of that the public names only."""
    for node in ast.walk(ast.parse(example.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import | ast.ImportFrom):
            module = node.module if isinstance(node, ast.ImportFrom) else node.names[0].name
            assert module == "guarded" or str(module).partition(".")[0] in sys.stdlib_module_names


@BY_NAME
def test_says_how_to_run_it(example: Path) -> None:
    """The first line of an example says what it shows and with which command."""
    docstring = ast.get_docstring(ast.parse(example.read_text(encoding="utf-8"))) or ""
    assert f"python examples/{example.name}" in docstring.splitlines()[0]


# -- live_trading.py


@pytest.fixture(scope="module")
def live() -> str:
    """What the run on real data prints."""
    return output_of("live_trading")


def position(text: str, output: str) -> int:
    assert text in output
    return output.index(text)


@pytest.mark.parametrize(
    ("error", "failure_type"),
    [
        ("IndexError: list index out of range", "data_error"),
        ("StatisticsError: fmean requires at least one data point", "data_error"),
        ("ZeroDivisionError", "strategy_error"),
        ("KeyError: 'volume'", "data_error"),
        ("ValueError: could not convert string to float: ''", "data_error"),
    ],
    ids=["too few bars", "one bar", "no loss yet", "no volume", "blank row"],
)
def test_live_shows_failures_with_their_types(live: str, error: str, failure_type: str) -> None:
    """The dirt in the data shows as failures, each with its type and its place in the streak."""
    unfolded = re.sub(r"\n {14}", " ", live)
    pattern = rf"\[FAILURE\] \w+ failed for \w+: {re.escape(error)}.* \[{failure_type}\]\. Consecutive failures: \d/3"
    assert re.search(pattern, unfolded)


def test_live_shows_one_trace_in_full(live: str) -> None:
    """The first failure is shown with its trace, down to the line of the strategy; the others without."""
    assert live.count("Traceback (most recent call last):") == 1
    assert 'change = float(bars[-1]["close"]) - float(bars[-3]["close"])' in live


def test_live_tells_its_story_in_order(live: str) -> None:
    """Failures, a recovery, the halt, refusals, the summary, the resume and signals again come one after the other."""
    story = [
        "Momentum failed for GOOG: IndexError",
        "Momentum recovered for GOOG after 2 failures",
        "EMERGENCY HALT: trading is halted for everything, at level halted",
        "VWAP for GOOG is refused: trading is halted for everything",
        "Ana looks at the desk; calls refused so far: 40",
        "Failure Tracker Status",
        "Status: HALTED (everything, level halted)",
        "Trading resumed for everything by Ana: GOOG has 15 bars by now",
        "Signals for GOOG again: Momentum long, RSI flat, VWAP flat",
        "VWAP failed for IBM: KeyError: 'volume'",
        "Ben looks at the desk; calls refused so far: 43",
        "Trading resumed for everything by Ben: blank rows are dropped now",
        "2008-10-14: the end of the data",
        "Halted 2004-11-08 to 2004-11-10; Ben: ",
        "Status: Active (no halt)",
    ]
    positions = [position(text, live) for text in story]
    assert positions == sorted(positions)


def test_live_announces_each_halt_once_and_in_full(live: str) -> None:
    """Both halts are announced once, with the streak, the threshold, and the failure that tripped them."""
    assert live.count("EMERGENCY HALT") == 2
    assert live.count("Consecutive failures: 3 (threshold 3)") == 2
    for strategy, symbol, error in (("RSI", "GOOG", "ZeroDivisionError: "), ("VWAP", "IBM", "KeyError: 'volume'")):
        indented = r"\n +".join((f"Strategy: {strategy}", f"Symbol: {symbol}", f"Error: {error}"))
        assert re.search(indented, live)


def test_live_is_pleasant_to_read(live: str) -> None:
    """The run fits on a few screens, and its lines on a terminal."""
    lines = live.splitlines()
    assert len(lines) < 130
    assert max(map(len, lines)) <= 120


def test_live_is_the_same_whenever_it_runs(live: str) -> None:
    """Time is that of the bars, so two runs print the same to the letter."""
    assert run(FOLDER / "live_trading.py", PYTHONHASHSEED="7").stdout == live


# -- live_trading.py from within


@pytest.fixture
def module() -> Any:
    """The example as a module, not run."""
    spec = importlib.util.spec_from_file_location("live_trading", FOLDER / "live_trading.py")
    assert spec is not None
    assert spec.loader is not None
    loaded = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = loaded  # dataclasses look themselves up
    try:
        spec.loader.exec_module(loaded)
        yield loaded
    finally:
        del sys.modules[spec.name]


@pytest.fixture
def desk(module: Any) -> Iterator[tuple[Any, Any, FailureTracker]]:
    """A desk with its clock and its tracker, before the run."""
    clock = module.BarClock(module.GOES_LIVE)
    tracker = FailureTracker(reset_window=timedelta(days=45), clock=clock)
    with set_failure_tracker(tracker):
        yield module.Desk(), clock, tracker


def bars(closes: list[float], volumes: list[float] | None = None) -> list[dict[str, str]]:
    found = [{"close": str(close)} for close in closes]
    for bar, volume in zip(found, volumes or [], strict=False):
        bar["volume"] = str(volume)
    return found


@pytest.mark.parametrize(
    ("strategy", "history", "side"),
    [
        ("Momentum", bars([10, 9, 11]), "long"),
        ("Momentum", bars([10, 12, 10]), "flat"),
        ("Rsi", bars([100.0 - n for n in range(14)] + [88]), "long"),
        ("Rsi", bars([100.0 + n for n in range(14)] + [112]), "short"),
        ("Rsi", bars([100.0 + n % 2 for n in range(15)]), "flat"),
        ("Vwap", bars([10, 20, 12], [1, 9, 1]), "long"),
        ("Vwap", bars([10, 20, 12], [9, 1, 1]), "flat"),
    ],
)
def test_live_strategies_work_on_clean_data(module: Any, strategy: str, history: Any, side: str) -> None:
    """The strategies are real: on clean bars each says what its rule says."""
    with set_failure_tracker(FailureTracker()), set_mode("strict"):
        signal = getattr(module, strategy)().generate_signals("GOOG", history)
    assert signal == module.Signal("GOOG", side)


def test_live_raises_nothing_for_show() -> None:
    """No `raise` and no `assert` stands in the example: what fails is the strategies' work on the data."""
    tree = ast.parse((FOLDER / "live_trading.py").read_text(encoding="utf-8"))
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.Raise | ast.Assert)]


def test_live_breaks_down_without_its_guards(module: Any, desk: tuple[Any, Any, FailureTracker]) -> None:
    """With guards switched off, the same run ends in the first strategy's exception."""
    trader, clock, tracker = desk
    with set_mode("off"), pytest.raises(IndexError, match="list index out of range"):
        module.trade(trader, tracker, clock)


def test_live_loses_no_call(module: Any, desk: tuple[Any, Any, FailureTracker]) -> None:
    """Every call of a strategy ends as a signal, a failure or a refusal, and the totals say so."""
    trader, clock, tracker = desk
    module.trade(trader, tracker, clock)
    live = [(day, symbol) for day, symbol, _ in module.feed() if module.GOES_LIVE <= day <= module.ENDS]
    calls = sum(2 if symbol == "IBM" and day >= "2004-11-10" else 3 for day, symbol in live)
    assert trader.signals.total() + tracker.total_failures + tracker.refusals == calls
    assert tracker.type_failures == {FailureType.DATA_ERROR: 8, FailureType.STRATEGY_ERROR: 2}
    assert not tracker.halt_triggered


def test_live_stamps_records_with_simulated_time(module: Any, desk: tuple[Any, Any, FailureTracker]) -> None:
    """Failures and halts carry the time of the bar that caused them, not of the run."""
    trader, clock, tracker = desk
    module.trade(trader, tracker, clock)
    days = [f"{failure.timestamp:%Y-%m-%d}" for failure in tracker.failure_history]
    assert (days[0], days[-1]) == ("2004-08-19", "2004-11-08")
    assert [(f"{halt.since:%Y-%m-%d}", halt.resumed_by) for halt in tracker.halt_manager.history] == [
        ("2004-08-23", "Ana"),
        ("2004-11-08", "Ben"),
    ]


# -- the short ones


@pytest.mark.parametrize(
    ("name", "claims"),
    [
        (
            "decorate_existing",
            [
                r"good data: +buy IBM",
                r"a blank cell: +None",
                r"outcome: +None because of ValueError",
                r"Breakout for GOOG: KeyError: 'high' \[data_error\]",
                r"Carry for EURUSD: KeyError",
            ],
        ),
        (
            "wrap_block",
            [
                r"IBM +signal: +56\.38",
                r"AAPL +failed: +ValueError",
                r"XRX +failed: +ZeroDivisionError",
                r"EMERGENCY HALT",
                r"GOOGL +refused: trading is halted for everything\n",
                r"resumed; still halted: \(\)",
                r"rebalance\(\) halts at its first failure and returns None",
            ],
        ),
        (
            "map_exceptions",
            [
                r"VenueError counts as connection_error",
                r"counts as execution_error, by the rule .*insufficient",
                r"counts as configuration_error, by the rule .*401, 403",
                r"counts as data_error: the classifier by_age says so",
                r"MarketClosed is ignored.*\n +the call returns None; failures: 4",
                r"Shutdown goes through the guard.*\n +the call raises it; failures: 4",
                r"LookupError counts as configuration_error, by the rule 'LookupError' of the pack 'mybot'",
                r"ZeroDivisionError counts as strategy_error, by the rule .* of the pack 'builtin'",
            ],
        ),
        (
            "async_strategies",
            [
                r"round 1 +buy +- +hold +- +hold +buy",
                r"EMERGENCY HALT: trading is halted for Threshold for GOOGL",
                r"EMERGENCY HALT: trading is halted for Threshold for SLOW",
                r"round 4 +buy +- +hold +- +hold +buy",
                r"Refused calls: 2\. Is everything halted\? False",
                r"\[FAILURE\] Spread failed for AAPL/GOOGL",
            ],
        ),
        (
            "halt_manager",
            [
                r"Reason: 3 consecutive failures .* \[strategy_error\]",
                r"manager halted: False, tracker halted: True",
                r"manager halted: False, tracker halted: False",
                r"after the kill switch: None, halted by risk desk",
                r"after the resume: +buy",
                r"technical_failure: resumed by Ana",
            ],
        ),
        (
            "halt_callbacks",
            [
                r"HEAR everything is halted",
                r"CALL cancelled: buy 100 IBM\nLOG  The halt callback raised ConnectionError",
                r"call 3: None\nhalted: True, callback pending: True, open: \['sell 50 MSFT', 'buy 10 GOOG'\]",
                r"CALL cancelled: sell 50 MSFT\nCALL cancelled: buy 10 GOOG\nCALL to Ana",
                r"call 4: None\nhalted: True, callback pending: False, open: \[\]",
            ],
        ),
        (
            "ib_events",
            [
                r"2158 .* streak 0",
                r"1100 .* streak 2\n",
                r"1102 .* streak 0\n",
                r" 202 .* streak 0\n",
                r"1100 .* streak 3\n",
                r"By type: data_error 1, connection_error 3, execution_error 1",
                r"Halted: 3 consecutive failures .*1100: Connectivity",
            ],
        ),
    ],
)
def test_short_example_makes_its_point(name: str, claims: list[str]) -> None:
    """A short example prints what it is about, in this order."""
    output = output_of(name)
    start = 0
    for claim in claims:
        found = re.compile(claim).search(output, start)
        assert found, f"{claim!r} is not in the rest of the output:\n{output[start:]}"
        start = found.start()


def test_decorating_leaves_the_body_untouched() -> None:
    """The classes of decorate_existing.py have no line of `guarded` in a method's body."""
    tree = ast.parse((FOLDER / "decorate_existing.py").read_text(encoding="utf-8"))
    methods = [
        method
        for cls in tree.body
        if isinstance(cls, ast.ClassDef)
        for method in cls.body
        if isinstance(method, ast.FunctionDef)
    ]
    assert len(methods) == 3
    for method in methods:
        assert "guarded" not in "\n".join(ast.unparse(line) for line in method.body)
