"""The examples of stores run as they are, against real files and servers, and tell the story that they promise."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from servers import Server, executables

FOLDER = Path(__file__).parents[1] / "examples"


def run(name: str, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run an example as a user does, in a directory of its own, only with warnings as errors."""
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(("GUARDED_", "COVERAGE_"))}
    return subprocess.run(
        [sys.executable, "-W", "error", str(FOLDER / f"{name}.py")],
        cwd=folder,
        env=inherited | environment,
        capture_output=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )


def tells(output: str, story: list[str]) -> None:
    """See that these patterns are in the output, in this order."""
    start = 0
    for pattern in story:
        found = re.compile(pattern).search(output, start)
        assert found, f"{pattern!r} is not in the rest of the output:\n{output[start:]}"
        start = found.start()


def unfolded(output: str) -> str:
    return re.sub(r"\n {6}", " ", output)


# -- restart.py


@pytest.fixture(scope="module")
def restart(tmp_path_factory: pytest.TempPathFactory) -> str:
    done = run("restart", tmp_path_factory.mktemp("restart"))
    assert (done.returncode, done.stderr) == (0, "")
    return unfolded(done.stdout)


def test_restart_tells_its_story_in_order(restart: str) -> None:
    """The bot halts, is killed, starts again halted, is resumed from the command line, and trades."""
    tells(
        restart,
        [
            r"bot \d+: started; halted: False",
            r"bot \d+: bar of 2004-11-01: long",
            r"Trend failed for IBM: ValueError: .* \[data_error\]\. Consecutive failures: 1/3",
            r"Consecutive failures: 3/3",
            r"EMERGENCY HALT: trading is halted for everything",
            r"halt callback: all orders are cancelled; 3 consecutive failures",
            r"bar of 2005-01-01: no signal",
            r"--- kill -9 \d+ -",
            r"bot \d+: started; halted: True",
            r"Trend for IBM is refused: trading is halted for everything\n",
            r"bar of 2005-02-01: no signal",
            r"\$ python -m guarded status --store sqlite:///",
            r"3 consecutive failures \(threshold 3\); last: Trend for IBM: ValueError",
            r"\(exit status 3\)",
            r"\$ python -m guarded resume --store \S+ --by Ana --reason \"blank rows are dropped now\"",
            r"\(exit status 0\)",
            r"bot \d+: Trading resumed for everything by Ana: blank rows are dropped now\n",
            r"bar of 2005-02-08: (long|flat)",
            r"bar of 2005-03-01: (long|flat)",
            r"\$ python -m guarded audit",
            r"start .*\n.*halt .*\n.*start .*\n.*resume .*\n",
            r"\(exit status 0\)",
        ],
    )


def test_restart_is_of_two_processes(restart: str) -> None:
    """The bot that is halted at its start is another process than the one that was killed."""
    first, second = re.findall(r"bot (\d+): started", restart)
    assert first != second
    assert f"kill -9 {first} " in restart


def test_restart_runs_the_halt_callback_once(restart: str) -> None:
    """The callback had run to its end before the kill: the next process does not run it again."""
    assert restart.count("halt callback: ") == 1


# -- fleet.py

URL_GIVEN = "GUARDED_STORE"


@pytest.fixture(scope="module", params=sorted(executables()))
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    """A server of each kind that there is, with what a ledger wants of it."""
    server = Server("--appendonly", "yes", executable=executables()[request.param])
    yield server
    server.remove()


@pytest.fixture(scope="module")
def fleet(server: Server, tmp_path_factory: pytest.TempPathFactory) -> str:
    done = run("fleet", tmp_path_factory.mktemp("fleet"), **{URL_GIVEN: server.url})
    assert (done.returncode, done.stderr) == (0, "")
    return unfolded(done.stdout)


def test_fleet_tells_its_story_in_order(fleet: str) -> None:
    """Bots fail alone and together, halt together, and one of them takes over the callback of one that is killed."""
    tells(
        fleet,
        [
            *(rf"bot {number}: Momentum for \w+ trades" for number in (1, 2, 3, 4)),
            r"bot 3: VWAP failed: KeyError: 'volume' \(1 of 3 in a row\)",
            r"bot 4: VWAP failed: KeyError: 'volume' \(2 of 3 in a row\)",
            r"bot 3: VWAP failed: KeyError: 'volume' \(3 of 3 in a row\)",
            r"VWAP for IBM is halted, and nothing else",
            r"bot 4: VWAP refused; Momentum for XRX trades",
            r"The venue goes away",
            r"bot 1: (?:Connection\w+|BrokenPipe)Error: .* \[connection_error\]",
            r"Halted is everything: 5 consecutive failures of type connection_error \(threshold 5\)",
            r"Halt callbacks that ran: 1, in bot \d, whose failure it was",
            r"First refused call, after that failure: ",
            r"Every bot trades, after: ",
            r"Still halted: VWAP for IBM\n",
            r"Ana halts everything by hand",
            r"bot (\d) began the halt callback \d\.\d\d s after the halt, and was killed",
            r"bot (\d) began it \d\.\d\d s after that",
            r"bot \d has run it to its end",
            r"bot \d is started again: refused",
            r"Every bot trades, after: ",
        ],
    )


def test_fleet_callback_is_taken_over_by_another(fleet: str) -> None:
    """Who is killed and who takes over are two; who was killed is the one that is started again."""
    killed, taken, ended, again = re.findall(r"bot (\d) (?:began|has run it|is started again)", fleet)
    assert killed != taken == ended
    assert again == killed


@pytest.mark.parametrize(
    ("line", "bots"),
    [("First refused call, after that failure", 3), ("First refused call, after the halt", 4), ("Every bot trades", 4)],
)
def test_fleet_is_quick(fleet: str, line: str, bots: int) -> None:
    """Every bot is told within what a busy machine takes; on a quiet one it is tens of milliseconds."""
    for told in re.findall(rf"{line}.*", fleet):
        measured = [int(number) for number in re.findall(r"bot \d (\d+) ms", told)]
        assert len(measured) == bots
        assert max(measured) < 1_000


def test_fleet_leaves_nothing_on_the_server(fleet: str, server: Server) -> None:
    """The ledger of the example is removed from a server that was there before it."""
    assert fleet
    with server.client() as client:
        assert client.keys() == []


def test_fleet_says_what_it_needs(tmp_path: Path) -> None:
    """Where there is no Redis, one line says what to install."""
    done = run("fleet", tmp_path, **{URL_GIVEN: "sqlite:///guarded.db"})
    assert (done.returncode, done.stdout) == (1, "")
    assert re.fullmatch(r"This example needs a Redis server and its client: pip install .*\n", done.stderr)


def test_fleet_says_which_server_does_not_answer(tmp_path: Path) -> None:
    """A server that is away is named, without a trace."""
    done = run("fleet", tmp_path, **{URL_GIVEN: "redis://127.0.0.1:1/0"})
    assert done.returncode == 1
    assert re.fullmatch(r"Redis at redis://127\.0\.0\.1:1/0 cannot be reached: .*\n", done.stderr)
