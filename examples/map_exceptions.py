"""Say what your exceptions mean, and which are none of the guard's business: python examples/map_exceptions.py."""

from __future__ import annotations

import logging
import re
import tomllib

from guarded import FailureRules, FailureTracker, FailureType, guarded_signal

logging.basicConfig(level=logging.CRITICAL)

OLDEST_QUOTE = 5


class VenueError(Exception):
    """What the client of a trading venue raises, with the venue's own code."""

    def __init__(self, text: str, code: int = 0) -> None:
        super().__init__(text)
        self.code = code


class MarketClosed(VenueError):
    """There is nothing to trade at this hour: no failure, just no signal."""


class Shutdown(Exception):
    """The bot is asked to stop; somebody further out waits for it."""


rules = (
    FailureRules()  # starts with what Python's own exceptions mean
    .map(VenueError, FailureType.CONNECTION_ERROR)
    .map(VenueError, "execution_error", message="insufficient|rejected")
    .map(VenueError, "configuration_error", when={"code": [401, 403]})
    .map("ccxt.InsufficientFunds", "execution_error")  # by name: costs nothing where ccxt is not installed
    .ignore(MarketClosed)
    .propagate(Shutdown)
)

# The same as a pack. From a file of your own it is rules.load("mybot.toml"). The order decides only between rules that
# are equally specific, and then for the later one.
PACK = """
pack = "mybot"

[[rule]]
exception = "LookupError"
type = "configuration_error"
why = "our list of instruments is out of date"

[[rule]]
exception = "TimeoutError"
action = "ignore"
why = "the next bar will do"
"""
rules.load(tomllib.loads(PACK))


@rules.classifier
def by_age(error: BaseException) -> FailureType | None:
    """Judge what no rule can express; None leaves it to the rules."""
    age = re.search(r"(\d+) s old", str(error))
    return FailureType.DATA_ERROR if age is not None and int(age[1]) > OLDEST_QUOTE else None


ERRORS = [
    VenueError("gateway is down"),
    VenueError("order rejected: insufficient margin"),
    VenueError("bad key", code=403),
    VenueError("the last quote is 42 s old"),
    MarketClosed("until 09:30"),
    Shutdown("SIGTERM"),
    LookupError("ESZ9"),
    TimeoutError(),
    ZeroDivisionError("division by zero"),
]
tracker = FailureTracker(failure_threshold=10, rules=rules)


@guarded_signal(strategy="Carry", symbol="ES", tracker=tracker)
def generate_signals(error: Exception) -> str:
    """Fail as the venue would."""
    raise error


def main() -> None:
    """Explain each error, then let it meet a guard."""
    for error in ERRORS:
        print(rules.explain(error))
        try:
            print(f"    the call returns {generate_signals(error)}; failures: {tracker.total_failures}")
        except Shutdown:
            print(f"    the call raises it; failures: {tracker.total_failures}")


if __name__ == "__main__":
    main()
