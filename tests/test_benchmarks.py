"""The benchmarks run, and their table has a line for each case; what they measure is nobody's business here."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

FOLDER = Path(__file__).parent / "benchmarks"
README = Path(__file__).parent.parent / "README.md"
OWN = ("success", "instrumenting", "failure", "classifying", "growth", "importing")  # the peers need the extra `bench`


def test_the_benchmarks_print_one_line_for_each_case(tmp_path: Path) -> None:
    """Every case of our own runs: it is in the table, with a figure, and so it is in the README's, with its limit."""
    groups = [option for group in OWN for option in ("--group", group)]
    command = [sys.executable, "-W", "error", str(FOLDER), "--quick", "--json", str(tmp_path / "table.json"), *groups]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, encoding="utf-8", timeout=60, check=False)
    assert (done.returncode, done.stderr) == (0, "")

    rows = json.loads((tmp_path / "table.json").read_text(encoding="utf-8"))["rows"]
    machine, head, *lines = done.stdout.splitlines()
    assert machine.startswith(sys.implementation.name.replace("cpython", "CPython"))
    assert head.split() == ["ratio", "limit", "ns", "within"]
    assert [line.startswith(row["name"]) for line, row in zip(lines, rows, strict=True)] == [True] * len(rows)
    assert all(row["figure"] > 0 for row in rows)
    for phrase in ("call", "block", "async call", "failure", "refused", "records", "memory", "import guarded"):
        assert any(phrase in row["name"] for row in rows), phrase
    shown = README.read_text(encoding="utf-8").splitlines()
    for row in rows:
        limit = "" if row["limit"] is None else f" {row['limit']:g} "
        assert any(line.startswith(row["name"]) and limit in line for line in shown), row["name"]


def test_pytest_does_not_run_the_benchmarks() -> None:
    """No file of theirs has a name that pytest looks for."""
    assert not list(FOLDER.rglob("test_*.py")) + list(FOLDER.rglob("*_test.py"))
    assert (FOLDER / "__main__.py").exists()
