"""Processes on one store: what they count and halt together, what becomes of halt callbacks, files and forks."""

from __future__ import annotations

import contextlib
import functools
import multiprocessing
import os
import shutil
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest
from processes import (
    OUT_OF_REACH,
    Proxy,
    Worker,
    all_of,
    back_again,
    count_together,
    divided,
    fail_in,
    lines,
    mount,
    mounted,
    ready,
    until,
)
from servers import Server
from stores import SHARED, heard

from guarded import ConsecutiveFailures, FailureTracker, StoreUnavailable, guarded_signal
from guarded.stores import open_store
from guarded.stores.shared import SharedStore
from guarded.stores.sqlite import SQLiteStore

# The tests' own proxy ends with sockets that its loop has accepted and not got to yet.
pytestmark = [
    pytest.mark.filterwarnings("ignore:Exception ignored in. <(socket|function _Selector)"),
    pytest.mark.usefixtures("quiet"),
]

Hire = Callable[..., Worker]

NEVER = [ConsecutiveFailures(OUT_OF_REACH)]


@pytest.fixture(scope="module")
def own_server() -> Iterator[Server]:
    started = Server("--appendonly", "yes")
    yield started
    started.remove()


@pytest.fixture(params=SHARED)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A new ledger."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/guarded.db?durability=process"
    own: Server = request.getfixturevalue("own_server")
    return f"{own.url}?namespace={tmp_path.name}"


@contextlib.contextmanager
def opened(url: str) -> Iterator[SharedStore]:
    """A store as this process sees it."""
    store = open_store(url)
    assert isinstance(store, SharedStore)
    with closing(store):
        yield store


class TestTogether:
    def test_eight_processes_count_exactly(self, url: str, hire: Hire, tmp_path: Path) -> None:
        """8 processes that fail at the same moment: totals and streaks exact, one halt, one callback, all are told."""
        ran = tmp_path / "ran"
        workers = [hire(url, threshold=8 * 50 // 2, callback=("note", ran)) for _ in range(8)]
        ready(*workers)
        count_together(workers, 50, ran)

    def test_they_count_exactly_on_the_disk(self, hire: Hire, tmp_path: Path) -> None:
        """The same where each failure is on the disk before its call returns."""
        ran = tmp_path / "ran"
        workers = [hire(f"sqlite:///{tmp_path}/guarded.db", threshold=20, callback=("note", ran)) for _ in range(4)]
        ready(*workers)
        count_together(workers, 10, ran)

    def test_of_those_that_halt_at_once_one_did(self, url: str, hire: Hire, tmp_path: Path) -> None:
        """4 processes that halt by hand at the same moment: one did, one callback runs, and each is told once."""
        ran = tmp_path / "ran"
        workers = [hire(url, callback=("note", ran)) for _ in range(4)]
        ready(*workers)
        assert sorted(all_of(workers, "halt", "drill")) == [False, False, False, True]
        ((_, _, episode),) = workers[0].ask("status")["halts"]
        for worker in workers:
            until(worker, lambda worker: worker.ask("events"), 5)
            assert worker.ask("events") == {f"HaltTriggered {episode}": 1}
            until(worker, lambda worker: not worker.ask("status")["pending"])
        assert len(lines(ran)) == 1

    def test_a_halt_is_heard_soon(self, url: str, hire: Hire) -> None:
        """A process refuses soon after another one has halted, and runs soon after a third one has resumed."""
        workers = [hire(url) for _ in range(3)]
        ready(*workers)
        for worker in workers[:2]:
            worker.tell("until_refused")
        began, _ = workers[2].ask("halt_at", time.time() + 0.1, "drill")
        assert max(worker.hear() for worker in workers[:2]) - began < 1
        workers[0].tell("until_it_runs")
        before = time.monotonic()
        workers[1].ask("resume")
        assert workers[0].hear() == "long"
        assert time.monotonic() - before < 1


class TestCallbacks:
    @pytest.fixture
    def ran(self, tmp_path: Path) -> Path:
        return tmp_path / "ran"

    @staticmethod
    def left_undone(url: str, hire: Hire, ran: Path) -> None:
        """A process halts, and is killed while its callback runs."""
        blocked = hire(url, callback=("block", ran))
        ready(blocked)
        blocked.tell("halt", "crash")
        heard(lambda: lines(ran) == [f"{blocked.pid} began"])
        ran.unlink()
        blocked.kill()

    def test_a_living_process_takes_over(self, url: str, hire: Hire, ran: Path) -> None:
        """Where the process that halted is killed in its callback, exactly one other runs its own, within seconds."""
        others = [hire(url, callback=("note", ran)) for _ in range(2)]
        ready(*others)
        self.left_undone(url, hire, ran)
        heard(lambda: lines(ran) != [], 5)
        for other in others:
            until(other, lambda other: not other.ask("status")["pending"])
        assert len(lines(ran)) == 1
        assert sum(["warning", "guarded.halt_callback_taken_over"] in other.ask("logged") for other in others) == 1

    def test_the_next_start_takes_over(self, url: str, hire: Hire, ran: Path) -> None:
        """Where nobody else is there, the next process that has a halt callback runs it, and the one after does not."""
        self.left_undone(url, hire, ran)
        for _ in range(2):
            new = hire(url, callback=("note", ran))
            ready(new)
            assert new.ask("status")["halted here"] == ["everything"]
            until(new, lambda new: not new.ask("status")["pending"])
            assert len(lines(ran)) == 1
            new.kill()

    def test_who_has_no_callback_leaves_it(self, url: str, hire: Hire, ran: Path) -> None:
        """A process without a halt callback does not take it over; one that has one does."""
        without = hire(url)
        ready(without)
        self.left_undone(url, hire, ran)
        with_one = hire(url, callback=("note", ran))
        ready(with_one)
        heard(lambda: lines(ran) == [f"{with_one.pid} ran"], 5)

    def test_a_callback_that_has_run_is_over(self, url: str, hire: Hire, ran: Path) -> None:
        """Nobody runs a halt callback again that has run to its end, also after a restart."""
        first = hire(url, callback=("note", ran))
        ready(first)
        first.ask("halt", "crash")
        first.kill()
        second = hire(url, callback=("note", ran))
        ready(second)
        status = second.ask("status")
        assert (status["halted here"], status["pending"]) == (["everything"], False)
        assert len(lines(ran)) == 1

    def test_a_callback_that_raises_stays_with_its_process(self, url: str, hire: Hire, ran: Path) -> None:
        """A halt callback that raises is run again by its own process while that lives, and by no other."""
        one, other = hire(url, callback=("raise twice", ran)), hire(url, callback=("note", ran))
        ready(one, other)
        one.ask("halt", "crash")
        heard(lambda: len(lines(ran)) == 3)
        assert lines(ran) == [f"{one.pid} raised", f"{one.pid} raised", f"{one.pid} ran"]
        until(other, lambda other: not other.ask("status")["pending"])

    def test_a_take_over_whose_answer_is_lost(self, hire: Hire, ran: Path, own_server: Server, tmp_path: Path) -> None:
        """A process that takes a callback over, and does not hear that it may, runs it all the same once it is back."""
        proxy = Proxy(own_server.port)
        try:
            blocked = hire(f"{own_server.url}?namespace={tmp_path.name}", callback=("block", ran))
            other = hire(proxy.url(tmp_path.name), callback=("note", ran))
            ready(blocked, other)
            blocked.tell("halt", "crash")
            heard(lambda: lines(ran) == [f"{blocked.pid} began"])
            until(other, lambda other: other.ask("status")["halted here"] == ["everything"])
            proxy.hold_answers_after(f":{blocked.pid}:".encode())  # who speaks of the dead takes over from them
            blocked.kill()
            heard(lambda: proxy.is_trapped)
            proxy.cut()
            proxy.release()
            proxy.mend()
            heard(lambda: lines(ran)[1:] == [f"{other.pid} ran"], 15)
        finally:
            proxy.close()


def filled(path: Path) -> Path:
    """A ledger of some size with a halt in force, that nobody has open."""
    with closing(SQLiteStore(path, durability="process")) as store:
        tracker = FailureTracker(store=store, policies=NEVER)
        for number in range(60):
            tracker.record_failure(f"S{number}", "AAPL", ValueError("bad bar"))
        tracker.halt_manager.trigger_halt("crash", by="ana")
    heard(lambda: not path.with_name(f"{path.name}-wal").exists())
    return path


def torn(path: Path, at: int, size: int) -> None:
    with path.open("r+b") as file:
        file.seek(at)
        file.write(b"\xa5" * size)


def of_another(path: Path) -> None:
    path.unlink()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE orders (id INTEGER)")
        connection.commit()


def of_a_newer_one(path: Path) -> None:
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA user_version = 99")


def a_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


PAGE = 4_096
HARM: dict[str, tuple[Callable[[Path], object], str]] = {
    "torn at the start": (lambda path: torn(path, 0, PAGE), "damaged.*Restore it from a copy"),
    "torn in the middle": (lambda path: torn(path, 2 * PAGE, 2 * PAGE), "damaged.*Restore it from a copy"),
    "torn but for its start": (lambda path: torn(path, PAGE, path.stat().st_size - PAGE), "damaged.*Restore it"),
    "cut in half": (lambda path: os.truncate(path, path.stat().st_size // 2 + 100), "damaged.*Restore it from a copy"),
    "cut at a page": (lambda path: os.truncate(path, path.stat().st_size - PAGE), "damaged.*Restore it from a copy"),
    "empty": (lambda path: os.truncate(path, 0), "is empty: it has been truncated.*Restore it from a copy"),
    "of another program": (of_another, "not one of guarded's.*Give another path"),
    "a text": (lambda path: path.write_text("orders\n" * 1_000), "damaged.*Restore it from a copy"),
    "a short text": (lambda path: path.write_text("orders"), "damaged.*Restore it from a copy"),
    "a folder": (a_folder, "it is a folder; give the path of a file in it"),
    "of a newer guarded": (of_a_newer_one, "schema version 99.*newer guarded wrote it. Install that one"),
}


class TestFilesAtTheStart:
    @pytest.mark.parametrize("how", HARM)
    def test_a_file_that_is_no_ledger(self, how: str, tmp_path: Path) -> None:
        """What cannot be read is an error that says what, where and what to do, and is never taken for no halt."""
        harm, says = HARM[how]
        path = filled(tmp_path / "guarded.db")
        harm(path)
        with pytest.raises(StoreUnavailable, match=f"(?s){says}") as caught:
            SQLiteStore(path)
        assert str(path) in str(caught.value)

    def test_a_folder_that_is_missing(self, tmp_path: Path) -> None:
        """A folder that is not there is named, and not made."""
        with pytest.raises(StoreUnavailable, match=rf"{tmp_path}/var/guarded.db cannot be opened: .* make it"):
            SQLiteStore(tmp_path / "var" / "guarded.db")
        assert list(tmp_path.iterdir()) == []

    def test_a_file_that_another_program_locks(self, tmp_path: Path) -> None:
        """A file that cannot be written for as long as the timeout is an error that says so."""
        path = filled(tmp_path / "guarded.db")
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            with pytest.raises(StoreUnavailable, match=r"database is locked.*Another program holds it") as caught:
                SQLiteStore(path, timeout=0.2)
        assert str(path) in str(caught.value)
        with closing(SQLiteStore(path)) as store:
            assert FailureTracker(store=store).halt_triggered

    @pytest.mark.parametrize("which", ["the file", "its folder"])
    def test_what_may_not_be_written(self, which: str, hire: Hire, tmp_path: Path) -> None:
        """A file, or a folder, that this user may only read is an error that says so."""
        worker = hire("memory://")
        ready(worker)
        (folder := tmp_path / "var").mkdir()
        path = filled(folder / "guarded.db")
        read_only = path if which == "the file" else folder
        mode = read_only.stat().st_mode
        read_only.chmod(mode & 0o555)
        try:
            text = worker.ask("refusal", str(path))
        finally:
            read_only.chmod(mode)
        assert text is not None
        assert str(path) in text
        assert "Let this user" in text

    def test_a_disk_that_may_not_be_written(self, tmp_path: Path) -> None:
        """A ledger on a read-only disk is an error that says so."""
        with mounted(tmp_path / "disk", "4m") as disk:
            if disk is None:
                pytest.skip("this user may not mount a disk that can be made read-only")
            path = filled(disk / "guarded.db")
            assert mount("-o", "remount,ro", str(disk))
            with pytest.raises(StoreUnavailable, match=r"cannot be opened.*Let this user") as caught:
                SQLiteStore(path)
            assert str(path) in str(caught.value)
            with pytest.raises(StoreUnavailable, match="Read-only file system"):
                SQLiteStore(disk / "new.db")

    def test_a_store_that_cannot_be_opened_leaves_nothing_open(self, tmp_path: Path) -> None:
        """Whoever tries again and again to open a store does not run out of files."""
        folder = Path("/proc/self/fd")
        if not folder.exists():
            pytest.skip("this system does not say which files are open")
        path = filled(tmp_path / "guarded.db")
        with closing(sqlite3.connect(path)) as connection:
            connection.execute("UPDATE halts SET halt = 'no halt'")
            connection.commit()
        before = len(list(folder.iterdir()))
        for _ in range(5):
            with contextlib.suppress(StoreUnavailable):
                SQLiteStore(path)
        assert len(list(folder.iterdir())) == before


class TestClosed:
    def test_a_closed_ledger_is_one_file(self, hire: Hire, tmp_path: Path) -> None:
        """Once the last process has closed a file, or has ended, everything is in it: a copy of it is a whole one."""
        path, copy = tmp_path / "guarded.db", tmp_path / "copy.db"
        worker = hire(f"sqlite:///{path}?durability=process", threshold=3)
        ready(worker)
        worker.ask("fail", "bad", "AAPL", 3)
        assert worker.end() == 0
        assert [file.name for file in tmp_path.iterdir()] == ["guarded.db"]
        with closing(SQLiteStore(path)) as store:
            FailureTracker(store=store).record_failure("VWAP", "AAPL", ValueError("bad bar"))
            heard(lambda: store.members() != [])  # its thread reads by now, too
        shutil.copy(path, copy)
        with closing(SQLiteStore(copy)) as store:
            tracker = FailureTracker(store=store)
            assert tracker.strategy_failures == {"bad": 3, "VWAP": 1}
            assert tracker.halt_triggered

    def test_a_closed_store_has_left_its_server(self, own_server: Server, tmp_path: Path) -> None:
        """A store that is closed holds no connection any more once its thread has ended."""

        def listening() -> int:
            return sum(thread.name == "guarded store" for thread in threading.enumerate())

        before = listening()
        with own_server.client() as client:
            with opened(f"{own_server.url}?namespace={tmp_path.name}"):
                heard(lambda: "xread" in [each["cmd"] for each in client.client_list()])
            heard(lambda: listening() <= before)
            heard(lambda: "guarded" not in [each["name"] for each in client.client_list()])


class Disk:
    """A disk that becomes full: one of its own, or, as a stand-in for one, a limit to the size of a worker's files."""

    def __init__(self, folder: Path | None, worker: Worker) -> None:
        self._folder = folder
        self._worker = worker

    def fill(self) -> None:
        if self._folder is None:
            self._worker.ask("limit_files", PAGE)
            return
        with contextlib.suppress(OSError), (self._folder / "filler").open("wb", buffering=0) as filler:
            while True:
                filler.write(bytes(PAGE))

    def make_room(self) -> None:
        if self._folder is None:
            self._worker.ask("unlimit_files")
        else:
            (self._folder / "filler").unlink()


def lost_while_running(worker: Worker) -> None:
    """Fail until the store is known to be away; then see that the worker goes on, and halts by itself."""
    heard(lambda: worker.ask("fail", str(time.monotonic()), "AAPL") is not None)
    status = worker.ask("status")
    assert status["halted here"] == []
    heard(lambda: ["critical", "guarded.store_lost"] in worker.ask("logged"))
    assert worker.ask("call") == "long"
    worker.ask("fail", "bad", "AAPL", 3)
    assert worker.ask("status")["halted here"] == ["everything"]
    assert worker.ask("call") is None


class TestFilesWhileRunning:
    @pytest.mark.parametrize("stand_in", [False, True])
    def test_a_full_disk(self, stand_in: bool, hire: Hire, tmp_path: Path) -> None:
        """On a full disk a process goes on and halts by itself; once there is room, everything is in the ledger."""
        with contextlib.ExitStack() as stack:
            folder = None if stand_in else stack.enter_context(mounted(tmp_path / "disk", "1m"))
            if folder is None and not stand_in:
                pytest.skip("this user may not mount a small disk; the stand-in is a limit to the size of files")
            path = (folder or tmp_path) / "guarded.db"
            worker = hire(f"sqlite:///{path}?durability=process", threshold=3)
            ready(worker)
            disk = Disk(folder, worker)
            disk.fill()
            lost_while_running(worker)
            if not stand_in:
                with pytest.raises(StoreUnavailable, match=r"disk is full.*Make room"):
                    SQLiteStore(path.with_name("new.db"))
            before = worker.ask("status")
            disk.make_room()
            after = back_again(worker)
            assert after["strategies"] == before["strategies"]
            with closing(SQLiteStore(path)) as store:
                assert FailureTracker(store=store).halt_triggered
            assert worker.end() == 0

    def test_a_file_that_another_program_locks(self, hire: Hire, tmp_path: Path) -> None:
        """While somebody else holds the file locked a process goes on by itself; then everything is in the ledger."""
        path = tmp_path / "guarded.db"
        worker = hire(f"sqlite:///{path}?durability=process&timeout=0.2", threshold=3)
        ready(worker)
        with closing(sqlite3.connect(path, isolation_level=None)) as other:
            other.execute("BEGIN EXCLUSIVE")
            lost_while_running(worker)
            before = worker.ask("status")
        after = back_again(worker)
        assert after["strategies"] == before["strategies"]
        with closing(SQLiteStore(path)) as store:
            assert FailureTracker(store=store).halt_triggered

    def test_the_reason_is_the_latest_one(self, tmp_path: Path) -> None:
        """Why the store is away is what the last attempt to open it has met."""
        path = tmp_path / "guarded.db"
        (text := tmp_path / "orders").write_text("orders")
        with closing(SQLiteStore(path)) as store:
            tracker = FailureTracker(store=store)
            text.replace(path)
            heard(lambda: tracker.degraded is not None and "has been replaced" in tracker.degraded)
            heard(lambda: tracker.degraded is not None and "is damaged" in tracker.degraded)

    @pytest.mark.parametrize("how", ["removed", "removed alone", "replaced", "replaced alone"])
    def test_a_file_that_is_taken_away(self, how: str, hire: Hire, tmp_path: Path) -> None:
        """A file that is removed, or replaced, with what belongs to it or alone, is noticed; halts are set again."""
        path, copy = tmp_path / "guarded.db", filled(tmp_path / "copy.db")
        with closing(SQLiteStore(copy)) as store:
            FailureTracker(store=store).resume(by="ana", reason="over")
        heard(lambda: not copy.with_name("copy.db-wal").exists())
        workers = [hire(f"sqlite:///{path}?durability=process") for _ in range(2)]
        ready(*workers)
        for worker in workers:
            worker.ask("fail", f"S{worker.pid}", "AAPL", 100)
        workers[0].ask("halt", "the latest crash")
        until(workers[1], lambda worker: worker.ask("status")["halted here"])
        if not how.endswith("alone"):
            for name in ("-wal", "-shm"):
                path.with_name(f"{path.name}{name}").unlink()
        if how.startswith("replaced"):
            copy.replace(path)
        else:
            path.unlink()
        for worker in workers:
            back_again(worker)
            assert worker.ask("fail", "after", "AAPL") is None
            assert worker.ask("call") is None
        with closing(SQLiteStore(path)) as store:
            tracker = FailureTracker(store=store, policies=NEVER)
            assert tracker.halt_reason == "the latest crash"
            assert tracker.strategy_failures["after"] == 2
        for worker in workers:
            assert worker.end() == 0
        with closing(sqlite3.connect(path)) as raw:
            assert raw.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
class TestForks:
    def test_a_child_is_a_process_of_its_own(self, url: str, hire: Hire) -> None:
        """A forked child counts into the same store under its own identity, and does not disturb its parent."""
        worker = hire(url)
        ready(worker)
        worker.ask("fail", "parent", "AAPL", 1)
        child, parent = worker.ask("fork_once")
        assert child[0] != parent[0] == worker.pid
        assert child[1] != parent[1]
        assert child[2] is parent[2] is None
        status = worker.ask("status")
        assert status["strategies"] == {"parent": 3, "child": 3}
        assert status["streaks"]["child/AAPL"] == status["streaks"]["parent/AAPL"] == 3

    def test_a_child_that_asks_for_nothing_opens_nothing(self, url: str, hire: Hire, own_server: Server) -> None:
        """A forked child that never calls a guard has no thread, no file and no connection beside its parent's."""
        worker = hire(url)
        ready(worker)
        with own_server.client() as client:
            before = len(client.client_list())
            assert worker.ask("fork_idle") == {"threads": ["MainThread"], "opened": [], "awake": False}
            assert len(client.client_list()) == before
        worker.ask("end_idle")
        assert worker.ask("fail", "parent", "AAPL") is None

    def test_forks_in_the_midst_of_updates(self, url: str, hire: Hire) -> None:
        """20 forks while four threads count: each child counts its failure within seconds, and nobody is degraded."""
        worker = hire(url)
        ready(worker)
        assert worker.ask("fork_under_load", 20, 2) == [0] * 20
        status = worker.ask("status")
        assert status["strategies"]["child"] == 20
        assert status["degraded"] is None

    def test_a_daemon(self, url: str, hire: Hire) -> None:
        """A child that outlives its parent stays on the store, whoever else opens it and closes it."""
        worker = hire(url)
        ready(worker)
        worker.ask("fail", "parent", "AAPL")
        assert worker.ask("become_a_daemon") != worker.pid
        with opened(url) as store:
            assert FailureTracker(store=store).strategy_failures == {"parent": 1, "daemon": 1}
        worker.ask("fail", "daemon", "AAPL")
        worker.ask("halt", "crash")
        with opened(url) as store:
            other = FailureTracker(store=store)
            assert other.strategy_failures == {"parent": 1, "daemon": 2}
            assert other.halt_triggered
            other.resume(by="ana", reason="over")
            until(worker, lambda worker: worker.ask("call") == "long", 5)

    def test_a_child_knows_what_its_parent_knew(self, hire: Hire, own_server: Server, tmp_path: Path) -> None:
        """A child of a process that has halted in an outage is halted, also before the parent has told the store."""
        proxy = Proxy(own_server.port)
        try:
            worker = hire(proxy.url(tmp_path.name), threshold=3)
            ready(worker)
            proxy.cut()
            worker.ask("fail", "bad", "AAPL", 3)
            proxy.mend()
            assert worker.ask("is_halted_in_child") is True
            back_again(worker)
        finally:
            proxy.close()


class TestPickles:
    @pytest.fixture
    def tracker(self, url: str) -> Iterator[FailureTracker]:
        with opened(url) as store:
            yield FailureTracker(store=store, policies=NEVER)

    def test_a_spawned_process(self, tracker: FailureTracker) -> None:
        """A tracker that is handed to a spawned process counts into the same store there."""
        process = multiprocessing.get_context("spawn").Process(target=fail_in, args=(tracker,))
        process.start()
        try:
            process.join(60)
            assert process.exitcode == 0
        finally:
            process.kill()
            process.join(60)
            process.close()
        assert tracker.strategy_failures == {"spawned": 1}

    def test_a_pool_of_processes(self, tracker: FailureTracker) -> None:
        """A guarded function in a pool of processes counts into the store, as one member for each process."""
        guarded = guarded_signal(strategy="pooled", symbol="AAPL", tracker=tracker)(functools.partial(divided, 1.0))
        with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
            assert list(pool.map(guarded, [0.0, 2.0] * 10)) == [None, 0.5] * 10
        assert tracker.strategy_failures == {"pooled": 10}
        assert tracker.degraded is None
        assert len(tracker._store.members()) <= 3
