"""What a failure and a refusal cost."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable
from functools import partial

import handwritten
from harness import Case, Pair, Side, ratio, repeated
from success import CALL, calls

from guarded import ConsecutiveFailures, FailureTracker, get_failure_tracker, guarded_signal

NEVER = 10**9


def failing(error: Callable[[], Exception]) -> Callable[[str, float, float], float]:
    """A strategy that raises two calls further in: with its own frame, three below that of the guard."""

    def mid(symbol: str, bid: float, ask: float) -> float:
        return quote(bid + ask) / 2

    def quote(total: float) -> float:
        return checked(total)

    def checked(total: float) -> float:
        raise error()

    return mid


def failures(error: Callable[[], Exception]) -> Pair:
    """A guarded call that fails, nobody logging, against one `traceback.format_exception` and a counter.

    It is the same key again and again, and nothing ever halts.
    """
    mid = failing(error)
    guard = guarded_signal(
        strategy="VWAP", symbol="{symbol}", tracker=FailureTracker(policies=[ConsecutiveFailures(NEVER)])
    )
    return Pair(repeated(CALL, mid=guard(mid)), repeated(CALL, mid=handwritten.formatting(mid)))


def logged_failures(error: Callable[[], Exception]) -> Pair:
    """The same with the log written: the record is formatted once, with its traceback."""
    subject, baseline = failures(error)
    return Pair(_logged(subject), baseline)


def refusals() -> Pair:
    """A call while trading is halted, which does not run, against the hand-written closure, which does."""
    get_failure_tracker().halt_manager.trigger_halt("a benchmark", by="ana")
    return calls(strategy="VWAP", symbol="{symbol}")


class _Nowhere(io.TextIOBase):
    """Where a log goes that nobody reads."""

    def write(self, text: str, /) -> int:
        return len(text)


def _logged(side: Side) -> Side:
    def timed(number: int) -> float:
        logger, handler = logging.getLogger("guarded"), logging.StreamHandler(_Nowhere())
        level = logger.level
        logger.addHandler(handler)
        logger.setLevel(logging.INFO)
        try:
            return side(number)
        finally:
            logger.setLevel(level)
            logger.removeHandler(handler)

    return timed


_value_error = partial(ValueError, "invalid momentum calculation")
_key_error = partial(KeyError, "close")

CASES: tuple[Case, ...] = (
    ratio("failure, a ValueError", 0.2, partial(failures, _value_error)),
    ratio("failure, a KeyError", 0.2, partial(failures, _key_error)),
    ratio("failure with log output, a ValueError", None, partial(logged_failures, _value_error)),
    ratio("failure with log output, a KeyError", None, partial(logged_failures, _key_error)),
    ratio("refused call", None, refusals),
)
