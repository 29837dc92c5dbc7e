"""What `import guarded` costs, against the import of what it depends on."""

from __future__ import annotations

import os
import subprocess
import sys

from harness import Case, Effort, Measured, Pair, Side, compare

MOST_ROUNDS = 31


def in_a_fresh_interpreter(statement: str, before: str = "") -> Side:
    """The side that runs in an interpreter of its own, which times it; the first run leaves the bytecode behind."""
    program = f"{before}\nfrom time import perf_counter as now; start = now(); {statement}; print(now() - start)"
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}

    def timed(number: int) -> float:
        command = [sys.executable, "-c", program]
        return sum(
            float(subprocess.run(command, env=environment, check=True, capture_output=True).stdout)
            for _ in range(number)
        )

    return timed


def importing(effort: Effort) -> Measured:
    """`import guarded` against `import structlog, wrapt`, start of the interpreter not included."""
    pair = Pair(in_a_fresh_interpreter("import guarded"), in_a_fresh_interpreter("import structlog, wrapt"))
    for side in pair:
        side(1)
    return compare(pair, effort._replace(rounds=min(effort.rounds, MOST_ROUNDS)), number=1)


CASES = (Case("import guarded, against structlog and wrapt", 1.3, importing),)
