"""What a store that outlives the process costs: a success against the memory store's, and a failure in microseconds.

A success reads what this process knows of the ledger, and nothing else. So it should cost the same on each store, also
while 1 % of the 10,000 keys of a fleet fail permanently: then 100 streaks, or 100 halts, that another process has
written are known here. Both sides of these cases are in the same state; what the state itself costs is told by the
cases of the memory store.
"""

from __future__ import annotations

import atexit
import functools
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from statistics import median
from time import perf_counter

sys.path.append(str(Path(__file__).parents[1]))

from failure import NEVER, failing
from harness import Case, Effort, Measured, Pair, Side, compare, ratio, repeated
from servers import Server
from success import CALL, mid

from guarded import ConsecutiveFailures, FailureTracker, MemoryStore, _tracker, guarded_signal
from guarded.stores import Store
from guarded.stores.redis import RedisStore
from guarded.stores.sqlite import SQLiteStore

LIMIT = 1.3
FAILING = 100
POLICIES = (ConsecutiveFailures(NEVER, scope="key", halt_scope="same"),)

Together = tuple[Store, Store]
"""Two stores on one ledger, as two processes have them; in memory it is one."""

_left = ExitStack()
atexit.register(_left.close)


# -- the stores


@functools.cache
def folder() -> Path:
    """Where the files are: not in memory, where a disk costs nothing."""
    made = Path(tempfile.mkdtemp(prefix="guarded-"))
    _left.callback(shutil.rmtree, made, ignore_errors=True)
    return made


@functools.cache
def server(appendfsync: str) -> Server:
    """A server that keeps what it is told."""
    started = Server("--appendonly", "yes", "--appendfsync", appendfsync)
    _left.callback(started.remove)
    return started


@functools.cache
def numbers() -> Iterator[int]:
    """One number for each ledger."""
    return iter(range(NEVER))


def in_memory() -> Together:
    """The baseline."""
    store = MemoryStore()
    return store, store


def on_sqlite(durability: str = "power") -> Together:
    """A file of its own."""
    path = folder() / f"{next(numbers())}.db"
    one, two = (SQLiteStore(path, durability=durability) for _ in range(2))  # type: ignore[arg-type]  # one of the two
    _left.callback(one.close)
    _left.callback(two.close)
    return one, two


def on_redis(appendfsync: str = "everysec") -> Together:
    """A namespace of its own."""
    namespace, url = str(next(numbers())), server(appendfsync).url
    one, two = (RedisStore(url, namespace=namespace) for _ in range(2))
    _left.callback(one.close)
    _left.callback(two.close)
    return one, two


# -- the states


def healthy(_tracker: FailureTracker) -> None:
    """Nothing fails."""


def streaks(tracker: FailureTracker) -> None:
    """100 keys fail, each of a symbol of its own."""
    for number in range(FAILING):
        tracker.record_failure(f"strategy-{number}", f"symbol-{number}", "no bars")


def streaks_of_this_symbol(tracker: FailureTracker) -> None:
    """100 keys fail, and one of them is of the symbol that is called."""
    streaks(tracker)
    tracker.record_failure("Momentum", "AAPL", "no bars")


def halts(tracker: FailureTracker) -> None:
    """100 keys have failed until each was halted alone."""
    streaks(tracker)
    for number in range(FAILING):
        tracker.halt_manager.trigger_halt("no bars", strategy=f"strategy-{number}", symbol=f"symbol-{number}")


STATES: dict[str, Callable[[FailureTracker], None]] = {
    "healthy": healthy,
    "1 % fail": streaks,
    "1 % fail, one of this symbol": streaks_of_this_symbol,
    "1 % halted": halts,
}


def beside(together: Together, state: str) -> FailureTracker:
    """A tracker, on a ledger in which another process has made this state."""
    mine, other = together
    STATES[state](FailureTracker(policies=POLICIES, store=other))
    if mine is not other:
        _await(mine, other)
    return FailureTracker(policies=POLICIES, store=mine)


def _await(mine: Store, other: Store) -> None:
    """Wait until this process has heard of all that the other one did."""
    give_up = perf_counter() + 10
    while mine.live.keys() != other.live.keys() or mine.halts.keys() != other.halts.keys():
        if perf_counter() > give_up:
            raise TimeoutError("one process has not heard of what the other one did")


# -- the calls


class Vwap:
    """A strategy as a class."""

    name = "VWAP"

    def mid(self, symbol: str, bid: float, ask: float) -> float:
        """What is guarded."""
        return (bid + ask) / 2


def static(tracker: FailureTracker) -> Side:
    """Both names are plain texts."""
    return repeated(CALL, mid=guarded_signal(strategy="VWAP", symbol="AAPL", tracker=tracker)(mid))


def template(tracker: FailureTracker) -> Side:
    """The symbol is an argument."""
    return repeated(CALL, mid=guarded_signal(strategy="VWAP", symbol="{symbol}", tracker=tracker)(mid))


def method(tracker: FailureTracker) -> Side:
    """A method without names."""
    cls = type("Vwap", (Vwap,), {"mid": guarded_signal(tracker=tracker)(Vwap.mid)})
    return repeated("vwap.mid('AAPL', 101.0, 102.5)", vwap=cls())


WAYS: dict[str, Callable[[FailureTracker], Side]] = {
    "names static": static,
    "template": template,
    "method": method,
}


def success(way: str, store: Callable[[], Together], state: str, against: str) -> Callable[[], Pair]:
    """A success on a store against one on the memory store."""
    return lambda: Pair(WAYS[way](beside(store(), state)), WAYS[way](beside(in_memory(), against)))


def looked_at(store: Callable[[], Together]) -> Callable[[Effort], Measured]:
    """The first successes after a sign of life, which are looked at: 10,000 of every five seconds'."""

    def measure(effort: Effort) -> Measured:
        ten_thousand, _tracker.LOOKED_AT = _tracker.LOOKED_AT, NEVER
        try:
            tracker = beside(store(), "healthy")
            tracker._take_successes()
            return compare(Pair(template(tracker), template(beside(in_memory(), "healthy"))), effort)
        finally:
            _tracker.LOOKED_AT = ten_thousand

    return measure


def failure(store: Callable[[], Together]) -> Callable[[Effort], Measured]:
    """The microseconds of a failure: half of them take less."""

    def measure(effort: Effort) -> Measured:
        tracker = beside(store(), "healthy")
        call = guarded_signal(strategy="VWAP", symbol="{symbol}", tracker=tracker)(
            failing(lambda: ValueError("invalid momentum calculation"))
        )
        seconds = []
        for _ in range(effort.rounds * 5):
            start = perf_counter()
            call("AAPL", 101.0, 102.5)
            seconds.append(perf_counter() - start)
        return Measured(median(seconds) * 1e6, median(seconds) * 1e9, unit="us")

    return measure


SHARED: dict[str, Callable[[], Together]] = {"SQLite": on_sqlite, "Redis": on_redis}

CASES: tuple[Case, ...] = (
    *(
        ratio(f"{way}, {name}, {state}", LIMIT, success(way, store, state, against=state))
        for way in WAYS
        for name, store in SHARED.items()
        for state in STATES
    ),
    *(
        ratio(f"{way}, memory, {state}", None, success(way, in_memory, state, against="healthy"))
        for way in WAYS
        for state in STATES
        if state != "healthy"
    ),
    *(Case(f"template, {name}, looked at", None, looked_at(store)) for name, store in SHARED.items()),
    Case("failure, memory", None, failure(in_memory)),
    Case("failure, SQLite", None, failure(on_sqlite)),
    Case("failure, SQLite, durability process", None, failure(functools.partial(on_sqlite, "process"))),
    Case("failure, Redis", None, failure(on_redis)),
    Case("failure, Redis, appendfsync always", None, failure(functools.partial(on_redis, "always"))),
)
