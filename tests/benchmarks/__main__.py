"""The benchmarks: `python tests/benchmarks` runs all of them and prints one table.

Figures are ratios to the hand-written equivalent in the same run, unless a unit stands beside them.
"""

from __future__ import annotations

import argparse
import importlib
import json
import logging
import platform
from pathlib import Path
from typing import TYPE_CHECKING

from harness import FULL, QUICK, Case, Measured

from guarded import FailureTracker, set_failure_tracker, set_mode

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

GROUPS = ("success", "instrumenting", "failure", "storing", "classifying", "growth", "importing", "peers")
WIDTH = 50


def main() -> None:
    """Run what the command line asks for."""
    options = _options()
    logging.getLogger("guarded").setLevel(logging.CRITICAL + 1)  # the cases that log say so
    machine = f"{platform.python_implementation()} {platform.python_version()}, {_processor()}"
    rows = []
    print(machine)
    print(_line("", "ratio", "limit", "ns", "within"))
    for case in _chosen(options.group or GROUPS, options.only):
        with set_mode("on"), set_failure_tracker(FailureTracker()):
            measured = case.measure(QUICK if options.quick else FULL)
        print(_shown(case, measured), flush=True)
        rows.append({"name": case.name, "limit": case.limit, "within": _within(case, measured), **measured._asdict()})
    if options.json is not None:
        options.json.write_text(json.dumps({"machine": machine, "rows": rows}, indent=2), encoding="utf-8")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python tests/benchmarks", description="Measure what guards cost.")
    parser.add_argument("--only", default="", metavar="NAME", help="the cases whose name contains this")
    parser.add_argument("--group", action="append", choices=GROUPS, help="the cases of this group; may be repeated")
    parser.add_argument("--quick", action="store_true", help="see that everything runs; the figures mean nothing")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the table there as well")
    return parser.parse_args()


def _chosen(groups: Iterable[str], only: str) -> Iterator[Case]:
    for group in groups:
        for case in importlib.import_module(group).CASES:
            if only in case.name:
                yield case


def _within(case: Case, measured: Measured) -> bool | None:
    return None if case.limit is None else measured.figure <= case.limit


def _shown(case: Case, measured: Measured) -> str:
    digits = 0 if measured.figure >= 100 else 2
    figure = f"{measured.figure:.{digits if measured.unit else 2}f} {measured.unit}".rstrip()
    limit = "" if case.limit is None else f"{case.limit:g}"
    ns = "" if measured.ns is None else f"{measured.ns:,.0f}"
    return _line(case.name, figure, limit, ns, {True: "yes", False: "NO", None: ""}[_within(case, measured)])


def _line(*cells: str) -> str:
    name, figure, limit, ns, within = cells
    return f"{name:<{WIDTH}}{figure:>14}{limit:>7}{ns:>14}{within:>8}".rstrip()


def _processor() -> str:
    """The processor's model where Linux tells it, else its architecture."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, platform.machine())


if __name__ == "__main__":
    main()
