"""What it costs to classify an exception, against a look-up by type in a dictionary of one's own."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import count
from typing import NoReturn

import handwritten
from harness import Case, Effort, Measured, Pair, ratio, repeated
from importing import MOST_ROUNDS, in_a_fresh_interpreter

from guarded import FailureRules


class VenueError(Exception):
    """Of a library that no pack is about."""

    status_code = 503


def caught(raises: Callable[[], object]) -> Exception:
    """What something raises, with its traceback."""
    try:
        raises()
    except Exception as error:
        return error
    raise AssertionError("it raised nothing")


def classifying(error: Exception) -> Pair:
    """The same exception again and again, as it is in a streak."""
    rules = FailureRules()
    return Pair(
        repeated("classify(error)", classify=rules.classify, error=error),
        repeated("look_up(error)", look_up=handwritten.type_of, error=error),
    )


def missing_field() -> float:
    """Read a field that a bar does not have."""
    bar: dict[str, float] = {}
    return bar["close"]


def wrapped() -> NoReturn:
    """Raise the worst case: a chain of three, to which rules for texts, for attributes and for origins are put."""
    try:
        try:
            raise VenueError("no reply")
        except VenueError as inner:
            raise RuntimeError("fetch failed") from inner
    except RuntimeError as middle:
        raise ValueError("cannot compute the signal") from middle


def new_texts() -> Pair:
    """A text that was not seen before, each time."""
    pair = classifying(caught(wrapped))
    number = count()

    def numbered() -> Exception:
        return RuntimeError(f"cannot compute the signal of {next(number)}")

    return Pair(repeated("classify(error())", classify=FailureRules().classify, error=numbered), pair.baseline)


def first_classification(effort: Effort) -> Measured:
    """The milliseconds of the first classification in a process; the first run leaves the bytecode behind."""
    side = in_a_fresh_interpreter(
        "rules.classify(KeyError('close'))", "from guarded import FailureRules; rules = FailureRules()"
    )
    side(1)
    return Measured(min(side(1) for _ in range(min(effort.rounds, MOST_ROUNDS))) * 1e3, unit="ms")


CASES: tuple[Case, ...] = (
    ratio("classify, by class alone", 2, partial(classifying, ZeroDivisionError())),
    ratio("classify, a KeyError: by class and origin", None, lambda: classifying(caught(missing_field))),
    ratio("classify, text, attributes, chain of three", 25, lambda: classifying(caught(wrapped))),
    ratio("classify, a text never seen before", None, new_texts),
    Case("first classification in a process", 5, first_classification),
)
