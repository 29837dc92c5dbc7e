"""What a fleet of 200 processes with 10,000 keys costs one Redis: python tests/benchmarks/fleet_simulation.py.

What is real: the server, with an append-only file that is synced every second; its connections; 200 `RedisStore`s, each
with its two connections, its two threads, its identity and its copy of the ledger, as one process has them; 200
trackers; 10,000 guarded functions' keys, each called once per second, from one thread for each process; the exceptions
that they raise; time, which is not compressed.

What is simulated: the 200 processes, which are 200 stores in 8 processes of the system, for 200 interpreters would be
most of what the machine does. The stores of one such process share an interpreter lock and a garbage collector. The
machines: everything, the server included, runs on this one, over the loopback interface. Where clients and server want
more than it has, calls come late, and the rates are what this machine could do; what one failure costs the server is
exact even then. How late a halt is heard of is then for the most part how long 200 processes wait for two cores.

What is measured: the server's own account, INFO before and after each phase, without the questions of this script.
Commands are counted as Redis does, with those that scripts call; requests are what clients sent. After each phase a
halt is set by hand, to see how late each process hears of it; that is not part of the phase.
"""

from __future__ import annotations

import argparse
import json
import logging
import multiprocessing
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from typing import Any, Literal, NamedTuple

sys.path.append(str(Path(__file__).parents[1]))

import redis
from servers import Server

from guarded import ConsecutiveFailures, EmergencyHaltManager, FailureTracker, Scope, guarded_signal
from guarded.stores.redis import RedisStore

SETTLED = 0.5
AT_ONCE = 5
"""How many calls a process makes in a row, before it pauses: bars come in bundles."""


class Size(NamedTuple):
    """How large the fleet is, and how long a phase takes.

    Attributes:
        workers: Processes of the system.
        stores: Simulated processes in each.
        keys: Keys of each simulated process.
        every: The 1 %: one key in every so many simulated processes.
        many: The 10 %: so many keys of each simulated process.
        period: Seconds from one call of a key to the next.
        seconds: The length of a phase.
    """

    workers: int
    stores: int
    keys: int
    every: int
    many: int
    period: float
    seconds: float

    @property
    def processes(self) -> int:
        """Simulated processes."""
        return self.workers * self.stores


FULL = Size(workers=8, stores=25, keys=50, every=2, many=5, period=1.0, seconds=15.0)
QUICK = Size(workers=2, stores=3, keys=10, every=2, many=1, period=0.02, seconds=0.1)

POLICIES: dict[str, tuple[ConsecutiveFailures, ...] | None] = {
    "never halts": (ConsecutiveFailures(10**9, scope="key", halt_scope="same"),),
    "halts alone": (ConsecutiveFailures(3, scope="key", halt_scope="same"),),
    "default": None,
}
"""What halts whom. Of a fleet that halts one key at a time 10 % of the keys fail in the outage, not all: each simulated
process keeps every halt, and this one machine would have to hold 200 times 10,000 of them."""


# -- a worker: a process of the system with some simulated ones


class Member:
    """A simulated process: a store, a tracker, keys, and a thread that calls them once per second."""

    def __init__(self, number: int, url: str, namespace: str, policy: str, size: Size) -> None:
        self.store = RedisStore(url, namespace=namespace, timeout=10.0)
        tracker = FailureTracker(policies=POLICIES[policy], store=self.store)
        strategy = f"strategy-{number:03}"
        self._signal = guarded_signal(strategy=strategy, symbol="{symbol}", tracker=tracker)(self._strategy)
        self._symbols = [f"symbol-{key:02}" for key in range(size.keys)]
        self._broken = {"none": frozenset[str](), "all": frozenset(self._symbols)}
        self._broken["many"] = frozenset(self._symbols[: size.many])
        self._broken["some"] = frozenset(self._symbols[:1] if number % size.every == 0 else ())
        self.failing = self._broken["none"]
        self.calls = self.failures = 0
        self._tracker = tracker
        self._bundle = size.period / size.keys * AT_ONCE
        self._delay = number / size.processes * self._bundle
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _strategy(self, symbol: str) -> float:
        if symbol in self.failing:
            self.failures += 1
            raise ConnectionError("the venue does not answer")
        return 1.0

    def fail(self, which: str) -> None:
        """From now on, let these keys fail: "none", "some", "many" or "all"."""
        self.failing = self._broken[which]

    def _run(self) -> None:
        due = time.monotonic() + self._delay
        while True:
            for first in range(0, len(self._symbols), AT_ONCE):
                if self._stopped.wait(max(due - time.monotonic(), 0)):
                    return
                for symbol in self._symbols[first : first + AT_ONCE]:
                    self._signal(symbol)
                    self.calls += 1
                due = max(due + self._bundle, time.monotonic() - 1)

    def refusals(self) -> int:
        """How many calls were refused."""
        return self._tracker.refusals

    def stop(self) -> None:
        """Call no more, and leave the fleet."""
        self._stopped.set()
        self._thread.join()
        self.store.close()


class Counts(NamedTuple):
    """What a worker did until now."""

    calls: int
    failures: int
    refusals: int
    cpu: float
    memory: float


class Worker:
    """Some simulated processes."""

    def __init__(self, first: int, url: str, namespace: str, policy: str, size: Size) -> None:
        self._members = [Member(first + n, url, namespace, policy, size) for n in range(size.stores)]

    def fail(self, which: str) -> None:
        """Let these keys fail."""
        for member in self._members:
            member.fail(which)

    def counts(self) -> Counts:
        """What was done until now."""
        times = os.times()
        return Counts(
            sum(member.calls for member in self._members),
            sum(member.failures for member in self._members),
            sum(member.refusals() for member in self._members),
            times.user + times.system,
            _resident_mb(),
        )

    def await_halt(self, scope: Scope) -> list[float]:
        """When each simulated process has heard of a halt."""
        unaware = {member.store for member in self._members}
        seen: list[float] = []
        give_up = time.monotonic() + 60
        while unaware and time.monotonic() < give_up:
            aware = {store for store in unaware if scope in store.halts}
            seen += [time.time()] * len(aware)
            unaware -= aware
            time.sleep(0.001)
        return seen

    def stop(self) -> None:
        """Leave the fleet."""
        for member in self._members:
            member.stop()


def _resident_mb() -> float:
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:  # it is Linux that tells
        return 0.0
    return pages * os.sysconf("SC_PAGE_SIZE") / 1e6


def work(parent: Connection, *arguments: Any) -> None:
    """Be a worker: do what the script says, and answer."""
    logging.getLogger("guarded").setLevel(logging.CRITICAL + 1)
    worker = Worker(*arguments)
    parent.send(None)
    while True:
        name, given = parent.recv()
        parent.send(getattr(worker, name)(*given))
        if name == "stop":
            return


class Fleet:
    """All workers."""

    def __init__(self, url: str, namespace: str, policy: str, size: Size) -> None:
        self._url = url
        self._namespace = namespace
        spawning = multiprocessing.get_context("spawn")
        self._ends: list[Connection] = []
        self._processes = []
        for number in range(size.workers):
            mine, theirs = spawning.Pipe()
            arguments = (theirs, number * size.stores, url, namespace, policy, size)
            process = spawning.Process(target=work, args=arguments, daemon=True)
            process.start()
            self._ends.append(mine)
            self._processes.append(process)
        for end in self._ends:
            end.recv()

    def ask(self, name: str, *given: object) -> list[Any]:
        """Have all workers do something at the same time; returns their answers."""
        for end in self._ends:
            end.send((name, given))
        return [end.recv() for end in self._ends]

    def counts(self) -> Counts:
        """What all of them did until now."""
        return Counts(*map(sum, zip(*self.ask("counts"), strict=True)))

    def stop(self) -> None:
        """End them."""
        self.ask("stop")
        for process in self._processes:
            process.join()


# -- what the server says


class Reading(NamedTuple):
    """The server's account, and the fleet's, at one moment."""

    at: float
    commands: int
    requests: int
    bytes_in: int
    bytes_out: int
    cpu: float
    memory: int
    calls: dict[str, tuple[int, int]]
    fleet: Counts


NOBODY = Counts(0, 0, 0, 0.0, 0.0)
OWN = ("info", "config|resetstat", "client|setinfo", "hello", "scan", "hlen")
"""Commands that only this script sends while a phase is measured."""


class Book:
    """Reads the server's account."""

    def __init__(self, url: str) -> None:
        self.client = redis.Redis.from_url(url, decode_responses=True)
        self._asked = self._sizes = 0
        before, after = self._info(), self._info()
        self._own_in, self._own_out = (
            after[name] - before[name] for name in ("total_net_input_bytes", "total_net_output_bytes")
        )

    def size(self, key: str) -> int:
        """How many fields a hash has."""
        self._sizes += 1
        return int(self.client.hlen(key))

    def _info(self) -> dict[str, Any]:
        self._asked += 1
        info: dict[str, Any] = self.client.info("everything")
        return info

    def read(self, fleet: Fleet | None) -> Reading:
        """Read it now."""
        counts = NOBODY if fleet is None else fleet.counts()
        info = self._info()
        by_name = {
            name.removeprefix("cmdstat_"): (stat["calls"], stat["usec"])
            for name, stat in info.items()
            if name.startswith("cmdstat_")
        }
        own = sum(calls for name, (calls, _) in by_name.items() if name in OWN)
        return Reading(
            time.monotonic(),
            info["total_commands_processed"] - own,
            info["total_reads_processed"] - self._asked - self._sizes,
            info["total_net_input_bytes"] - self._asked * self._own_in,
            info["total_net_output_bytes"] - self._asked * self._own_out,
            info["used_cpu_user"] + info["used_cpu_sys"],
            info["used_memory"],
            {name: stat for name, stat in by_name.items() if name not in OWN},
            counts,
        )


class Row(NamedTuple):
    """One phase: rates per second, but for `seconds`, memory in MB and `heard` in milliseconds."""

    policy: str
    phase: str
    seconds: float
    calls: float
    failures: float
    refusals: float
    commands: float
    requests: float
    kb_in: float
    kb_out: float
    server_cpu: float
    fleet_cpu: float
    memory: float
    fleet_memory: float
    heard: tuple[float, float] | None
    top: list[tuple[str, float, float]]


def difference(policy: str, phase: str, before: Reading, after: Reading) -> Row:
    """What happened between two readings."""
    seconds = after.at - before.at

    def rate(of: Callable[[Reading], float]) -> float:
        return max(of(after) - of(before), 0) / seconds

    top = []
    for name, (calls, usec) in after.calls.items():
        calls_before, usec_before = before.calls.get(name, (0, 0))
        top.append((name, (calls - calls_before) / seconds, (usec - usec_before) / seconds / 1e6))
    return Row(
        policy,
        phase,
        seconds,
        rate(lambda r: r.fleet.calls),
        rate(lambda r: r.fleet.failures),
        rate(lambda r: r.fleet.refusals),
        rate(lambda r: r.commands),
        rate(lambda r: r.requests),
        rate(lambda r: r.bytes_in / 1e3),
        rate(lambda r: r.bytes_out / 1e3),
        rate(lambda r: r.cpu),
        rate(lambda r: r.fleet.cpu),
        after.memory / 1e6,
        after.fleet.memory,
        None,
        sorted(top, key=lambda item: -item[1])[:8],
    )


# -- the phases


class Phase(NamedTuple):
    """A stretch of time.

    Attributes:
        name: What happens.
        failing: Which keys fail.
        seconds: How long; the longest, if `until` says when it is over.
        until: A hash of the ledger, and how many fields it has to have, if the phase is over then.
        resumes: Whether somebody resumes trading at its beginning, one halt after the other.
    """

    name: str
    failing: Literal["none", "some", "many", "all"]
    seconds: float
    until: tuple[str, int] | None = None
    resumes: bool = False


def phases(policy: str, size: Size) -> list[Phase]:
    """What a fleet with this policy goes through."""
    seconds, keys, some = size.seconds, size.processes * size.keys, len(range(0, size.processes, size.every))
    begins, longest = min(5.0, seconds), seconds * 12
    healthy = Phase("healthy", "none", seconds)
    if policy == "default":
        return [
            healthy,
            Phase("outage begins", "all", begins),
            Phase("outage", "all", seconds),
            Phase("recovery", "none", begins, resumes=True),
            Phase("recovered", "none", seconds),
        ]
    one_percent = [Phase("1 % begin to fail", "some", begins), Phase("1 % fail", "some", seconds)]
    if policy == "never halts":
        return [
            healthy,
            *one_percent,
            Phase("outage begins", "all", longest, ("streaks", keys)),
            Phase("outage", "all", seconds),
            Phase("recovery", "none", longest, ("streaks", 0)),
            Phase("recovered", "none", seconds),
        ]
    return [
        healthy,
        *one_percent,
        Phase(f"{some} resumed", "none", longest, ("halts", 0), resumes=True),
        Phase("10 % begin to fail", "many", longest, ("halts", size.processes * size.many)),
        Phase("10 % fail", "many", seconds),
    ]


class Simulation:
    """One policy's way through all phases."""

    def __init__(self, url: str, policy: str, size: Size) -> None:
        self._book = Book(url)
        self._url = url
        self._policy = policy
        self._size = size
        self._namespace = f"simulation-{os.getpid()}-{policy.replace(' ', '-')}"
        self._probes = 0

    def run(self) -> Iterator[Row]:
        """Go through the phases."""
        before = self._book.read(None)
        fleet = Fleet(self._url, self._namespace, self._policy, self._size)
        store = RedisStore(self._url, namespace=self._namespace, timeout=60.0)
        manager = EmergencyHaltManager(store)
        try:
            after = self._book.read(fleet)
            yield difference(self._policy, "start of all", before, after._replace(fleet=NOBODY))
            for phase in phases(self._policy, self._size):
                row = self._phase(fleet, manager, phase)
                yield row._replace(heard=self._heard(fleet, manager))
        finally:
            fleet.stop()
            store.close()
            self._remove()

    def _phase(self, fleet: Fleet, manager: EmergencyHaltManager, phase: Phase) -> Row:
        before = self._book.read(fleet)
        fleet.ask("fail", phase.failing)
        if phase.resumes:
            for scope in list(manager.store.halts):
                manager.resume_trading(
                    by="simulation", reason="all is well", strategy=scope.strategy, symbol=scope.symbol
                )
        while (left := phase.seconds - (time.monotonic() - before.at)) > 0 and not self._over(phase):
            time.sleep(min(left, 0.25 if phase.until else left))
        return difference(self._policy, phase.name, before, self._book.read(fleet))

    def _over(self, phase: Phase) -> bool:
        if phase.until is None:
            return False
        name, number = phase.until
        return self._book.size(f"{{guarded:{self._namespace}}}:{name}") == number

    def _heard(self, fleet: Fleet, manager: EmergencyHaltManager) -> tuple[float, float]:
        """How late processes hear of a halt, half of them and all of them, in milliseconds."""
        self._probes += 1
        scope = Scope(None, f"probe-{self._probes}")
        asked = threading.Timer(0.02, manager.trigger_halt, ("a probe",), {"symbol": scope.symbol, "by": "simulation"})
        asked.start()
        seen = [moment for worker in fleet.ask("await_halt", scope) for moment in worker]
        asked.join()
        since = manager.store.halts[scope].since.timestamp()
        manager.resume_trading(by="simulation", reason="the probe is over", symbol=scope.symbol)
        time.sleep(min(SETTLED, self._size.seconds))  # until all have heard of that, too
        late = [(moment - since) * 1e3 for moment in seen]
        late += [float("inf")] * (self._size.processes - len(late))
        return median(late), max(late)

    def _remove(self) -> None:
        for key in self._book.client.scan_iter(f"{{guarded:{self._namespace}}}:*"):
            self._book.client.delete(key)
        self._book.client.close()


# -- the script


def main(arguments: Sequence[str] | None = None) -> None:
    """Run what the command line asks for."""
    options = _options(arguments)
    size = QUICK if options.quick else FULL
    logging.getLogger("guarded").setLevel(logging.CRITICAL + 1)
    print(_assumptions(size))
    print(_line(*HEAD))
    rows = []
    with _server(options.url) as url:
        for policy in options.policy or POLICIES:
            for row in Simulation(url, policy, size).run():
                print(_shown(row), flush=True)
                rows.append(row)
    print("\n".join(_commands(rows)))
    if options.json is not None:
        options.json.write_text(json.dumps([row._asdict() for row in rows], indent=2), encoding="utf-8")


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python tests/benchmarks/fleet_simulation.py", description="Measure what a fleet costs its Redis."
    )
    parser.add_argument("--quick", action="store_true", help="see that everything runs; the figures mean nothing")
    parser.add_argument("--url", help="a server that nobody else uses meanwhile; by default one is started")
    parser.add_argument("--policy", action="append", choices=POLICIES, help="this policy alone; may be repeated")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the figures there as well")
    return parser.parse_args(arguments)


@contextmanager
def _server(url: str | None) -> Iterator[str]:
    with ExitStack() as stack:
        if url is None:
            server = Server("--appendonly", "yes", "--appendfsync", "everysec")
            stack.callback(server.remove)
            url = server.url
        yield url


def _assumptions(size: Size) -> str:
    failing = sum(number % size.every == 0 for number in range(size.processes))
    return (
        f"{size.processes} simulated processes in {size.workers} of the system, {os.cpu_count()} cores for them and the"
        f" server;\n{size.processes * size.keys:,} keys, each called every {size.period:g} s; {failing} of them fail"
        " permanently; time is not compressed"
    )


HEAD = (
    "policy",
    "phase",
    "seconds",
    "calls/s",
    "failures/s",
    "refused/s",
    "commands/s",
    "requests/s",
    "kB/s in",
    "kB/s out",
    "server CPU",
    "fleet CPU",
    "server MB",
    "fleet MB",
    "heard ms",
)


def _shown(row: Row) -> str:
    return _line(
        row.policy,
        row.phase,
        f"{row.seconds:.1f}",
        *(f"{figure:,.0f}" for figure in (row.calls, row.failures, row.refusals, row.commands, row.requests)),
        f"{row.kb_in:,.0f}",
        f"{row.kb_out:,.0f}",
        f"{row.server_cpu:.3f}",
        f"{row.fleet_cpu:.2f}",
        f"{row.memory:.1f}",
        f"{row.fleet_memory:,.0f}",
        "" if row.heard is None else f"{row.heard[0]:,.0f}/{row.heard[1]:,.0f}",
    )


def _line(policy: str, phase: str, *cells: str) -> str:
    return f"{policy:<13}{phase:<19}" + " ".join(f"{cell:>10}" for cell in cells).rstrip()


def _commands(rows: Sequence[Row]) -> Iterator[str]:
    yield "\nCommands of each phase: per second, and the share of a core that the server spends in them"
    for row in rows:
        named = (f"{name} {calls:,.0f} ({cpu:.3f})" for name, calls, cpu in row.top if calls >= 1)
        yield f"{row.policy:<13}{row.phase:<19}{', '.join(named)}"


if __name__ == "__main__":
    main()
