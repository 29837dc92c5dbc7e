"""Other libraries around the same function, each set up as its manual shows it: three failures, a minute's wait.

They do other things than a guard: they raise, or try again. What is compared is what their users pay for each call
that works, against the same hand-written closure as the guard.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import circuitbreaker
import handwritten
import interlock
import purgatory
import pybreaker
import stamina
import tenacity
from harness import Case, Pair, ratio, repeated
from success import CALL, mid

THRESHOLD = 3
WAIT = 60


def peer(name: str, decorate: Callable[[Callable[..., Any]], Callable[..., Any]]) -> Case:
    """The case of one library."""

    def prepared() -> Pair:
        return Pair(repeated(CALL, mid=decorate(mid)), repeated(CALL, mid=handwritten.closure(mid)))

    return ratio(f"peer: {name}", None, prepared)


CASES = (
    peer("circuitbreaker", circuitbreaker.circuit(failure_threshold=THRESHOLD, recovery_timeout=WAIT)),
    peer("purgatory", purgatory.SyncCircuitBreakerFactory(default_threshold=THRESHOLD, default_ttl=WAIT)("mid")),
    peer("pybreaker", pybreaker.CircuitBreaker(fail_max=THRESHOLD, reset_timeout=WAIT)),
    peer("interlock-cb", interlock.CircuitBreaker(name="mid")),
    peer("tenacity", tenacity.retry(stop=tenacity.stop_after_attempt(THRESHOLD), reraise=True)),
    peer("stamina", stamina.retry(on=Exception, attempts=THRESHOLD)),
)
