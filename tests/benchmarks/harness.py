"""How a benchmark is run: two ways to do the same thing, in turns, and the ratio of their times.

Other work on the machine slows a whole stretch of time, so the two sides take turns, in many short samples. The figure
is the ratio of the quickest sample of each side. The median over the rounds of the ratio within a round is as steady on
a quiet machine; with other processes on both cores it was seen at half of what it is.
"""

from __future__ import annotations

import gc
from collections.abc import Callable
from dataclasses import dataclass
from timeit import Timer
from typing import NamedTuple

Side = Callable[[int], float]
"""Does its thing so many times; returns the seconds that it took."""


class Pair(NamedTuple):
    """What is measured, and what it is measured against."""

    subject: Side
    baseline: Side


class Effort(NamedTuple):
    """How much time to spend on one case.

    Attributes:
        rounds: How often each side is timed.
        seconds: How long one sample takes.
        keys: How many keys a large tracker holds.
    """

    rounds: int
    seconds: float
    keys: int


FULL = Effort(rounds=101, seconds=0.004, keys=100_000)
QUICK = Effort(rounds=3, seconds=0.000_02, keys=200)


class Measured(NamedTuple):
    """What came out of a case.

    Attributes:
        figure: The ratio, or a count of `unit`.
        ns: Nanoseconds that the subject takes once, where it is timed.
        unit: What the figure counts; "" for a ratio.
    """

    figure: float
    ns: float | None = None
    unit: str = ""


@dataclass(frozen=True, slots=True)
class Case:
    """One line of the table.

    Attributes:
        name: What is measured.
        limit: The most that the figure should be; None where there is no such thing.
        measure: Measures it.
    """

    name: str
    limit: float | None
    measure: Callable[[Effort], Measured]


def ratio(name: str, limit: float | None, prepare: Callable[[], Pair]) -> Case:
    """The case that compares the two sides which `prepare` makes."""

    def measure(effort: Effort) -> Measured:
        return compare(prepare(), effort)

    return Case(name, limit, measure)


def repeated(statement: str, **names: object) -> Side:
    """The side that executes a statement in a loop, without the cost of a call around it."""
    return Timer(statement, globals=names).timeit


def compare(pair: Pair, effort: Effort, number: int | None = None) -> Measured:
    """Time both sides in turns.

    Args:
        pair: The sides.
        effort: For how long.
        number: How often a side does its thing in one sample; by default what fills the time of a sample.
    """
    numbers = [number or _number_for(side, effort.seconds) for side in pair]
    seconds: tuple[list[float], list[float]] = ([], [])
    for turn in range(effort.rounds):
        for which in (0, 1) if turn % 2 else (1, 0):
            seconds[which].append(_sample(pair[which], numbers[which]))
    subject, baseline = map(min, seconds)
    return Measured(subject / baseline, subject * 1e9)


def _number_for(side: Side, seconds: float) -> int:
    """How often a side does its thing in that time.

    The first time does not count: that is when rules are read and caches are filled, and it may take longer than a
    whole sample.
    """
    side(1)
    number = 1
    while (taken := side(number)) < seconds:
        number = max(number * 2, int(number * seconds / max(taken, 1e-9)))
    return number


def _sample(side: Side, number: int) -> float:
    """The seconds for once; the garbage collector waits until afterwards, so that no side pays for the other."""
    gc.disable()
    try:
        return side(number) / number
    finally:
        gc.enable()
