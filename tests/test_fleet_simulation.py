"""The simulation of a fleet runs, and has a line for each phase; what it measures is nobody's business here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent / "benchmarks" / "fleet_simulation.py"
PHASES = {
    "never halts": [
        "start of all",
        "healthy",
        "1 % begin to fail",
        "1 % fail",
        "outage begins",
        "outage",
        "recovery",
        "recovered",
    ],
    "halts alone": [
        "start of all",
        "healthy",
        "1 % begin to fail",
        "1 % fail",
        "3 resumed",
        "10 % begin to fail",
        "10 % fail",
    ],
    "default": ["start of all", "healthy", "outage begins", "outage", "recovery", "recovered"],
}


@pytest.fixture(scope="module")
def quick(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, list[dict[str, object]]]:
    """What a quick run prints, and what it writes."""
    folder = tmp_path_factory.mktemp("simulation")
    command = [sys.executable, "-W", "error", str(SCRIPT), "--quick", "--json", str(folder / "table.json")]
    done = subprocess.run(command, cwd=folder, capture_output=True, encoding="utf-8", timeout=100, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout, json.loads((folder / "table.json").read_text(encoding="utf-8"))


def test_the_simulation_goes_through_all_phases(quick: tuple[str, list[dict[str, object]]]) -> None:
    """Each policy goes through its phases, in their order, and both tables have a line for each."""
    printed, rows = quick
    expected = [(policy, phase) for policy, phases in PHASES.items() for phase in phases]
    assert [(row["policy"], row["phase"]) for row in rows] == expected
    lines = printed.splitlines()
    for policy, phase in expected:
        assert sum(line.startswith(f"{policy:<13}{phase:<19}") for line in lines) == 2, (policy, phase)


def test_the_simulation_says_what_it_assumes(quick: tuple[str, list[dict[str, object]]]) -> None:
    """The output begins with how large the fleet is, and what is not real."""
    head = " ".join(quick[0].splitlines()[:2])
    assert "6 simulated processes in 2 of the system" in head
    assert "60 keys" in head
    assert "time is not compressed" in head


def test_failures_and_halts_are_there(quick: tuple[str, list[dict[str, object]]]) -> None:
    """Keys fail where they should, and calls are refused where trading is halted."""
    rows = {(row["policy"], row["phase"]): row for row in quick[1]}
    assert rows["never halts", "healthy"]["failures"] == rows["never halts", "recovered"]["failures"] == 0
    assert rows["never halts", "outage"]["failures"]
    assert rows["halts alone", "1 % fail"]["refusals"]
    assert rows["default", "outage"]["refusals"]
