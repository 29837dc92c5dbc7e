"""What a tracker costs that has seen many keys: time, memory, history."""

from __future__ import annotations

import tracemalloc

from harness import Case, Effort, Measured, Pair, compare, repeated

from guarded import ConsecutiveFailures, FailureTracker

STRATEGIES = 100
FEW = 10
NEVER = 10**9


def tracker_of(keys: int) -> FailureTracker:
    """A tracker in which so many keys, of 100 strategies, have failed once."""
    tracker = FailureTracker(policies=[ConsecutiveFailures(NEVER)])
    for number in range(keys):
        tracker.record_failure(f"strategy-{number % STRATEGIES}", f"symbol-{number // STRATEGIES}", "no bars")
    return tracker


def among_many(effort: Effort) -> Measured:
    """One more failure of each of ten keys among 100,000, against the same among the ten."""
    record = "for strategy in strategies:\n    record(strategy, 'symbol-0', 'no bars')"
    strategies = [f"strategy-{number}" for number in range(FEW)]
    many, few = (
        repeated(record, strategies=strategies, record=tracker_of(keys).record_failure) for keys in (effort.keys, FEW)
    )
    return compare(Pair(many, few), effort)


def bytes_per_key(effort: Effort) -> Measured:
    """What tracemalloc counts, with the names themselves, and with what the history holds spread over all keys."""
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        tracker = tracker_of(effort.keys)
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    del tracker
    return Measured((after - before) / effort.keys, unit="bytes")


def history(effort: Effort) -> Measured:
    """The failures that are kept after all of them."""
    return Measured(len(tracker_of(effort.keys).failure_history), unit="records")


CASES = (
    Case("ten records, 100,000 keys against ten", 1.1, among_many),
    Case("memory per key", 500, bytes_per_key),
    Case("history after 100,000 failures", 100, history),
)
