"""Processes and servers that are killed at any moment: nothing that was acknowledged is lost, nothing counts twice."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from processes import Proxy, Worker, back_again, count_together, kill, lines, ready
from servers import Server
from stores import heard

from guarded import ConsecutiveFailures, FailureTracker, Scope, SignalGenerationFailure, TradingResumed, guarded_signal
from guarded.stores.redis import RedisStore
from guarded.stores.shared import SharedStore
from guarded.stores.sqlite import SQLiteStore
from guarded.testing import recorded_events

# The tests' own proxy ends with sockets that its loop has accepted and not got to yet.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Exception ignored in. <(socket|function _Selector)"),
    pytest.mark.usefixtures("quiet"),
]

ROUNDS = int(os.environ.get("GUARDED_CHAOS_ROUNDS", "2"))
FAILURES = min(500, 30 * ROUNDS)
NAMES = [f"S{number}" for number in range(4)]

Hire = Callable[..., Worker]

every_round = pytest.mark.parametrize("number", range(ROUNDS))


@pytest.fixture(scope="module")
def safe_server() -> Iterator[Server]:
    """A server that has everything on its disk before it answers."""
    started = Server("--appendonly", "yes", "--appendfsync", "always")
    yield started
    started.remove()


def file_url(path: Path, number: int) -> str:
    return f"sqlite:///{path}?durability={('process', 'power')[number % 2]}"


def seen_by(store: SharedStore) -> FailureTracker:
    return FailureTracker(policies=[ConsecutiveFailures(10**9)], store=store)


def check(tracker: FailureTracker, notes: list[str], *, in_flight: int) -> None:
    """Compare what is in the store with what processes have noted, each of them one strategy."""
    steps = [line.split() for line in notes]
    failed = Counter(name for name, what, _ in steps if what == "failed")
    totals = tracker.strategy_failures
    for name in {*failed, *totals}:
        assert failed[name] <= totals.get(name, 0) <= failed[name] + in_flight, f"{name}: {failed[name]}, {totals}"
    assert tracker.total_failures == sum(totals.values()) == sum(tracker.symbol_failures.values())
    streaks = tracker._store.read().streaks
    halted = {str(halt.scope.strategy): halt.reason for halt in tracker.halts}
    audit = Counter(
        (entry.action, entry.reason) for entry in tracker._store.audit() if "set_again" not in entry.details
    )
    for name in totals:
        mine = [(what, number) for who, what, number in steps if who == name and what != "failed"]
        check_halts(name, mine, halted.get(name), audit)
        row = streaks.get(Scope(name, "AAPL"))
        resumed = [0, *(int(number) for what, number in mine if what in ("resumes", "resumed"))]
        assert totals[name] - (row[0].failures if row else 0) in resumed[-2:]  # type: ignore[union-attr]  # a streak


def check_halts(name: str, mine: list[tuple[str, str]], halted: str | None, audit: Counter[Any]) -> None:
    """Compare a strategy's halt, and the audit, with what its process has done, step by step."""
    for what, number in mine:
        if what in ("halted", "resumed"):
            action = {"halted": "halt", "resumed": "resume"}[what]
            assert audit[action, f"{name}-{number}"] == 1, f"{what} {number} of {name} is in the audit once"
    last, number = mine[-1] if mine else ("resumed", "")
    if last == "halted":
        assert halted is not None, f"{name} was halted, and nobody resumed"
        assert halted.endswith(f"{name}-{number}")
    elif last == "resumed":
        assert halted is None, f"{name} was resumed"


class TestTogether:
    @pytest.mark.parametrize(
        ("kind", "failures"), [("process", FAILURES), ("power", FAILURES // 5), ("redis", FAILURES)]
    )
    def test_sixteen_processes_count_exactly(
        self, kind: str, failures: int, hire: Hire, tmp_path: Path, safe_server: Server
    ) -> None:
        """16 processes that fail at the same moment: totals and streaks exact, one halt, one callback, all are told."""
        if kind == "redis":
            safe_server.client().flushall()
        url = safe_server.url if kind == "redis" else f"sqlite:///{tmp_path}/guarded.db?durability={kind}"
        ran, each = tmp_path / "ran", failures // 2
        workers = [hire(url, threshold=16 * each // 2, callback=("note", ran)) for _ in range(16)]
        ready(*workers)
        count_together(workers, each, ran)


class TestKilledProcesses:
    @every_round
    def test_a_file_keeps_what_was_acknowledged(self, number: int, hire: Hire, tmp_path: Path) -> None:
        """SIGKILL at any moment: the file opens, and what had returned is in it; who lives on notices nothing."""
        dice = random.Random(number)  # noqa: S311  # so that a round can be had again
        url, notes = file_url(tmp_path / "guarded.db", number), tmp_path / "notes"
        for generation in range(2):
            workers = [hire(url) for _ in NAMES]
            ready(*workers)
            for name, worker in zip(NAMES, workers, strict=True):
                worker.tell("hammer", str(notes), f"{name}-{generation}")
            time.sleep(dice.uniform(0, 0.3))
            some = workers if number % 3 else workers[:2]
            kill(some)
            for worker in workers:
                if worker not in some:
                    worker.tell("status")
                    assert worker.hear() > 0
                    status = worker.hear()
                    assert status["degraded"] is None
                    assert ["critical", "guarded.store_lost"] not in worker.ask("logged")
                    assert worker.end() == 0
        with closing(SQLiteStore(tmp_path / "guarded.db")) as store:
            check(seen_by(store), lines(notes), in_flight=1)
        with closing(sqlite3.connect(tmp_path / "guarded.db")) as raw:
            assert raw.execute("PRAGMA integrity_check").fetchall() == [("ok",)]

    @every_round
    def test_a_file_is_whole_or_not_there(self, number: int, hire: Hire, tmp_path: Path) -> None:
        """SIGKILL while the file is made: there is none, or one that opens; what is left over does no harm."""
        dice = random.Random(number)  # noqa: S311  # the same
        path = tmp_path / "guarded.db"
        workers = [hire(file_url(path, number)) for _ in range(2)]
        for worker in workers:
            assert worker.hear() == "opening"
        time.sleep(dice.uniform(0, 0.05))
        kill(workers)
        was_there = path.exists()
        left_over = sorted(path.parent.glob("*.new-*"))
        with closing(SQLiteStore(path)) as store:
            tracker = seen_by(store)
            assert (tracker.total_failures, tracker.halts, tracker.degraded) == (0, (), None)
            starts = [entry for entry in store.audit() if entry.action == "start"]
            assert 1 <= len(starts) <= (3 if was_there else 1)
        assert sorted(path.parent.glob("*.new-*")) == left_over

    @every_round
    def test_a_server_keeps_what_was_acknowledged(
        self, number: int, hire: Hire, tmp_path: Path, safe_server: Server
    ) -> None:
        """SIGKILL of clients at any moment: what had returned is on the server."""
        dice = random.Random(number)  # noqa: S311  # the same
        notes = tmp_path / "notes"
        workers = [hire(f"{safe_server.url}?namespace=killed-{number}&timeout=5") for _ in NAMES]
        ready(*workers)
        for name, worker in zip(NAMES, workers, strict=True):
            worker.tell("hammer", str(notes), name)
        time.sleep(dice.uniform(0, 0.3))
        kill(workers)
        with closing(RedisStore(safe_server.url, namespace=f"killed-{number}")) as store:
            check(seen_by(store), lines(notes), in_flight=1)


class TestKilledServers:
    @every_round
    def test_a_server_that_dies_and_comes_back(
        self, number: int, hire: Hire, tmp_path: Path, safe_server: Server
    ) -> None:
        """A server that is killed, or stopped, under load and started again: every failure is there exactly once."""
        dice = random.Random(number)  # noqa: S311  # the same
        notes = tmp_path / "notes"
        workers = [hire(f"{safe_server.url}?namespace=dies-{number}&timeout=5") for _ in NAMES]
        ready(*workers)
        for name, worker in zip(NAMES, workers, strict=True):
            worker.tell("hammer", str(notes), name)
        heard(lambda: len(lines(notes)) > 20)
        time.sleep(dice.uniform(0, 0.2))
        (safe_server.kill if number % 2 else safe_server.stop)()
        before = len(lines(notes))
        try:
            heard(lambda: len(lines(notes)) > before + 20)
            time.sleep(dice.uniform(0, 0.3))
        finally:
            safe_server.start()
        for worker in workers:
            worker.tell("status")
            assert worker.hear() > 0
            worker.hear()
            back_again(worker)
            heard(lambda: ["critical", "guarded.store_lost"] in worker.ask("logged"))  # noqa: B023  # it is asked here
        with closing(RedisStore(safe_server.url, namespace=f"dies-{number}")) as store:
            check(seen_by(store), lines(notes), in_flight=0)


# -- one client that is cut off, and what it knows


class Fleet:
    """Trackers on one server, each as a process of its own; those that are cut off go by way of a proxy."""

    def __init__(self, server: Server, namespace: str) -> None:
        self.server = server
        self.proxy = Proxy(server.port)
        self._namespace = namespace
        self.stores: list[RedisStore] = []

    def tracker(self, *, by_proxy: bool = False, **settings: Any) -> FailureTracker:
        """One more."""
        port = self.proxy.port if by_proxy else self.server.port
        self.stores.append(RedisStore(f"redis://127.0.0.1:{port}/0", namespace=self._namespace))
        return FailureTracker(store=self.stores[-1], **settings)

    def close(self) -> None:
        """End all of them."""
        self.proxy.release()
        for store in self.stores:
            store.close()
        self.proxy.close()


@pytest.fixture
def fleet(safe_server: Server, tmp_path: Path) -> Iterator[Fleet]:
    made = Fleet(safe_server, f"fleet-{tmp_path.name}"[:100])
    yield made
    made.close()


@pytest.fixture
def forgetful_fleet(tmp_path: Path) -> Iterator[Fleet]:
    """A fleet on a server that keeps nothing."""
    server = Server()
    made = Fleet(server, "forgetful")
    yield made
    made.close()
    server.remove()


def fail(tracker: FailureTracker, times: int = 1, strategy: str = "VWAP") -> None:
    for _ in range(times):
        tracker.record_failure(strategy, "AAPL", ValueError("bad bar"))


NEVER = [ConsecutiveFailures(10**9)]


class TestCutOff:
    def test_a_halt_of_an_outage_holds(self, fleet: Fleet) -> None:
        """A halt that was latched while cut off refuses from then on, through the return, and is in the store then."""
        cut_off, other = fleet.tracker(by_proxy=True), fleet.tracker()
        signal_of = guarded_signal(tracker=cut_off)(lambda: "long")
        fleet.proxy.cut()
        fail(cut_off, 3)
        ran, over = [], threading.Event()

        def call() -> None:
            while not over.is_set():
                ran.append(signal_of())
                time.sleep(0.0005)

        caller = threading.Thread(target=call)
        caller.start()
        try:
            assert not other.halt_triggered
            fleet.proxy.mend()
            heard(lambda: other.halt_triggered)
            heard(lambda: cut_off.degraded is None)
            heard(lambda: cut_off.halts != () and cut_off.halts == other.halts)
        finally:
            over.set()
            caller.join()
        assert set(ran) == {None}
        assert other.total_failures == 3

    def test_a_server_that_comes_back_empty(self, forgetful_fleet: Fleet) -> None:
        """Halts that processes know are set again on a server that has forgotten them, until somebody resumes."""
        fleet = forgetful_fleet
        one, two = fleet.tracker(), fleet.tracker()
        one.halt_manager.trigger_halt("crash", by="ana")
        heard(lambda: two.halt_triggered)
        fleet.server.kill()
        fleet.server.start()
        heard(lambda: fleet.server.client().hlen("{guarded:forgetful}:halts") == 1, 20)
        for tracker in (one, two):
            heard(lambda tracker=tracker: tracker.degraded is None, 20)  # type: ignore[misc]  # mypy infers no lambda with a default
            assert tracker.halt_triggered
        new = fleet.tracker()
        assert new.halt_reason == "crash"
        new.resume(by="ana", reason="over")
        for tracker in (one, two):
            heard(lambda tracker=tracker: not tracker.halt_triggered)  # type: ignore[misc]  # the same
        fleet.server.kill()
        fleet.server.start()
        for tracker in (one, two, new):
            heard(lambda tracker=tracker: tracker._store.lost is None, 20)  # type: ignore[misc]  # the same
            assert not tracker.halts

    def test_a_callback_that_an_empty_server_does_not_know(self, forgetful_fleet: Fleet) -> None:
        """A halt callback that is not through when its server forgets everything is still to be run by somebody."""
        fleet, broken, ran = forgetful_fleet, [True], []

        def callback(reason: str, _failure: object) -> None:
            if broken:
                raise RuntimeError("the broker does not answer")
            ran.append(reason)

        one = fleet.tracker(halt_callback=callback)
        one.halt_manager.trigger_halt("crash")
        fleet.server.kill()
        fleet.server.start()
        heard(lambda: fleet.server.client().hlen("{guarded:forgetful}:halts") == 1, 20)
        assert one.callback_pending
        broken.clear()
        heard(lambda: ran == ["crash"], 20)  # nobody calls anything: it is the store that sees to it
        heard(lambda: not one.callback_pending)

    def test_a_server_that_is_emptied_under_load(self, forgetful_fleet: Fleet) -> None:
        """A server that is emptied while processes are on it gets their halts again, however much is written to it."""
        tracker = forgetful_fleet.tracker(policies=NEVER)
        tracker.halt_manager.trigger_halt("crash")
        heard(lambda: tracker._store._position > 0)  # type: ignore[attr-defined]  # a shared store
        forgetful_fleet.server.client().flushall()
        for number in range(30):
            fail(tracker, strategy=f"S{number}")
        heard(lambda: bool(tracker.halts), 20)

    def test_a_resume_elsewhere_wins(self, fleet: Fleet) -> None:
        """Who is cut off while somebody resumes trading stays halted until it is back; then it runs."""
        cut_off, other = fleet.tracker(by_proxy=True), fleet.tracker()
        signal_of = guarded_signal(tracker=cut_off)(lambda: "long")
        fail(other, 3)
        heard(lambda: cut_off.halt_triggered)
        fleet.proxy.cut()
        heard(lambda: cut_off.degraded is not None)
        other.resume(by="ana", reason="feed is back")
        assert signal_of() is None
        with recorded_events(cut_off) as recorder:
            fleet.proxy.mend()
            heard(lambda: signal_of() == "long")
            heard(lambda: len(recorder.of(TradingResumed)) == 1)
        assert not other.halts

    @pytest.mark.parametrize("held", ["requests", "answers"])
    def test_a_server_that_never_answers(self, fleet: Fleet, held: str) -> None:
        """A server that accepts and does not answer holds a call up for seconds; what it did late counts once."""
        slow, other = fleet.tracker(by_proxy=True, policies=NEVER), fleet.tracker(policies=NEVER)
        fail(slow)
        fleet.proxy.hold(**{held: True})
        before = time.monotonic()
        fail(slow)
        assert time.monotonic() - before < 5
        assert slow.degraded is not None
        fail(slow)
        fleet.proxy.release()
        heard(lambda: slow.degraded is None, 20)
        heard(lambda: other.total_failures == 3)
        fail(slow)
        assert other.total_failures == 4
        assert other._store.read().streaks == slow._store.read().streaks
        assert [failure.failure_id for failure in other.failure_history] == list(
            dict.fromkeys(failure.failure_id for failure in other.failure_history)
        )

    def test_it_is_back_when_everything_is_merged(self, fleet: Fleet) -> None:
        """As long as something is not in the store yet, the tracker says that it is degraded."""
        cut_off, other = fleet.tracker(by_proxy=True, policies=NEVER), fleet.tracker(policies=NEVER)
        fleet.proxy.cut()
        fail(cut_off, 500)
        fleet.proxy.mend()
        while cut_off.degraded is not None:
            time.sleep(0.001)
        assert other.total_failures == 500

    def test_a_kill_switch_while_the_store_is_read(self, fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
        """A signal handler that halts trading in the midst of a report: other processes hear of it soon."""
        tracker, other = fleet.tracker(policies=NEVER), fleet.tracker(policies=NEVER)
        backend = fleet.stores[0]._backend
        read = backend.failures

        def interrupted() -> list[SignalGenerationFailure]:
            monkeypatch.undo()
            signal.raise_signal(signal.SIGUSR1)
            return read()

        monkeypatch.setattr(backend, "failures", interrupted)
        previous = signal.signal(
            signal.SIGUSR1, lambda _number, _frame: tracker.halt_manager.trigger_halt("kill switch")
        )
        try:
            tracker.get_status()
        finally:
            signal.signal(signal.SIGUSR1, previous)
        assert tracker.halt_triggered
        heard(lambda: other.halt_triggered)
        assert tracker.degraded is None

    def test_a_kill_switch_while_the_server_dies(self, fleet: Fleet, monkeypatch: pytest.MonkeyPatch) -> None:
        """A signal handler that halts trading, in the midst of a failure whose server goes away: both are merged."""
        monkeypatch.setattr("guarded.stores._keeper.BEAT", 1_000)  # so that nothing but the call is under way
        tracker, other = fleet.tracker(by_proxy=True, policies=NEVER), fleet.tracker(policies=NEVER)
        heard(lambda: len(other._store.members()) == 2)
        fleet.proxy.hold(requests=True)
        previous = signal.signal(
            signal.SIGUSR1, lambda _number, _frame: tracker.halt_manager.trigger_halt("kill switch")
        )
        here = threading.get_ident()
        switch = threading.Timer(0.3, lambda: signal.pthread_kill(here, signal.SIGUSR1))
        try:
            switch.start()
            fail(tracker)
        finally:
            switch.join()
            signal.signal(signal.SIGUSR1, previous)
        assert tracker.halt_triggered
        fleet.proxy.cut()
        fleet.proxy.release()
        fleet.proxy.mend()
        heard(lambda: other.halt_triggered)
        heard(lambda: tracker.degraded is None)
        heard(lambda: other.total_failures == 1)
