"""SQLiteStore: its settings, its file, and what it says of a file that will not do."""

from __future__ import annotations

import gc
import sqlite3
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from stores import fork, heard
from threads import THREADS, together

from guarded import EmergencyHaltManager, FailureTracker, InvalidConfiguration, Scope, StoreUnavailable
from guarded.stores import Change, Touched, open_store, sqlite
from guarded.stores._backend import Backend, Ticket, is_dead, new_identity
from guarded.stores.shared import _Task
from guarded.stores.sqlite import APPLICATION, SQLiteStore


@pytest.fixture
def opened(tmp_path: Path) -> Iterator[Callable[..., SQLiteStore]]:
    """Opens stores on one file, and closes them at the end."""
    stores: list[SQLiteStore] = []

    def open_one(**settings: Any) -> SQLiteStore:
        stores.append(SQLiteStore(tmp_path / "guarded.db", **settings))
        return stores[-1]

    yield open_one
    for store in stores:
        store.close()


def look(path: Path, query: str) -> Any:
    """What a connection of its own finds in the file."""
    connection = sqlite3.connect(path)
    try:
        return connection.execute(query).fetchone()[0]
    finally:
        connection.close()


class TestSettings:
    @pytest.mark.parametrize("path", ["", ":memory:", 7, None, b"guarded.db"])
    def test_path(self, path: Any) -> None:
        """A path is the path of a file."""
        with pytest.raises(InvalidConfiguration, match=r"path=.* of SQLiteStore: expected the path of a file"):
            SQLiteStore(path)

    @pytest.mark.parametrize(
        ("settings", "says"),
        [
            ({"durability": "none"}, "durability of SQLiteStore='none': expected one of 'power', 'process'"),
            ({"timeout": -1}, "timeout=-1 of SQLiteStore: expected a number of seconds"),
            ({"timeout": "5"}, "timeout='5' of SQLiteStore: expected a number of seconds"),
            ({"timeout": True}, "timeout=True of SQLiteStore: expected a number of seconds"),
        ],
    )
    def test_other_settings(self, opened: Callable[..., SQLiteStore], settings: dict[str, Any], says: str) -> None:
        """A setting that cannot work is an error at once, and names itself."""
        with pytest.raises(InvalidConfiguration, match=says):
            opened(**settings)

    @pytest.mark.parametrize(("durability", "synchronous"), [("power", 2), ("process", 1)])
    def test_durability(self, opened: Callable[..., SQLiteStore], durability: str, synchronous: int) -> None:
        """For `"power"` SQLite waits for the disk at each transaction, for `"process"` it does not."""
        store = opened(durability=durability)
        backend: Any = store._backend
        assert backend._connection.execute("PRAGMA synchronous").fetchone()[0] == synchronous
        assert backend._connection.execute("PRAGMA journal_mode").fetchone()[0] == "wal"

    def test_urls(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A URL has a path from here, or from the root with a fourth slash, and settings; one URL is one store."""
        monkeypatch.chdir(tmp_path)
        here = open_store("sqlite:///a%20b.db?durability=process&timeout=0.5")
        assert isinstance(here, SQLiteStore)
        assert here.path == tmp_path / "a b.db"
        assert here._settings == {"durability": "process", "timeout": 0.5}
        assert open_store("sqlite:///a%20b.db?durability=process&timeout=0.5") is here
        absolute = FailureTracker(store=f"sqlite:///{tmp_path}/a b.db")._store
        assert isinstance(absolute, SQLiteStore)
        assert absolute.path == here.path
        assert absolute is not here
        here.close()
        absolute.close()
        again = open_store("sqlite:///a%20b.db?durability=process&timeout=0.5")
        assert again is not here, "it was closed"
        assert isinstance(again, SQLiteStore)
        again.close()

    def test_it_shows_its_path(self, opened: Callable[..., SQLiteStore], tmp_path: Path) -> None:
        """Its repr shows the file."""
        assert repr(opened()) == f"SQLiteStore({str(tmp_path / 'guarded.db')!r})"


class TestTheFile:
    def test_it_is_marked(self, opened: Callable[..., SQLiteStore]) -> None:
        """The file says that it is guarded's, and which version of the schema it has; nothing else is left behind."""
        path = opened().path
        assert look(path, "PRAGMA application_id") == APPLICATION
        assert look(path, "PRAGMA user_version") == len(sqlite.MIGRATIONS)
        assert {each.name for each in path.parent.iterdir()} <= {"guarded.db", "guarded.db-wal", "guarded.db-shm"}

    def test_the_audit_cannot_be_changed(self, opened: Callable[..., SQLiteStore]) -> None:
        """The file itself refuses to take entries out of the audit, or to change them."""
        store = opened()
        FailureTracker(store=store)
        for statement in (
            "DELETE FROM audit",
            "UPDATE audit SET entry = ''",
            "INSERT OR REPLACE INTO audit (number, entry) VALUES (1, '')",
        ):
            with pytest.raises(sqlite3.IntegrityError, match="the audit is append-only"):
                look(store.path, statement)

    def test_many_who_make_it_at_once(self, tmp_path: Path) -> None:
        """Of many who open a file that is not there yet, all have the same one."""
        stores: list[SQLiteStore] = []
        together(lambda _number: stores.append(SQLiteStore(tmp_path / "new.db")))
        trackers = [FailureTracker(store=store) for store in stores]
        for tracker in trackers:
            tracker.record_failure("VWAP", "AAPL", "late")
        assert trackers[0].total_failures == THREADS
        assert not list(tmp_path.glob("*.new-*"))
        for store in stores:
            store.close()

    def test_an_older_schema_is_brought_up_to_date(
        self, opened: Callable[..., SQLiteStore], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A file of an older version is migrated when it is opened, and keeps what is in it; others may wait for it."""
        store = opened()
        FailureTracker(store=store).halt_manager.trigger_halt("drill")
        store.close()
        monkeypatch.setattr(
            sqlite, "MIGRATIONS", (*sqlite.MIGRATIONS, "CREATE TABLE notes (note TEXT);\nCREATE TABLE more (x);")
        )
        halts: list[object] = []

        def migrate(_number: int) -> None:
            one = SQLiteStore(store.path)
            halts.append(one.halts[Scope()].reason)
            one.close()

        together(migrate)
        assert halts == ["drill"] * THREADS
        assert look(store.path, "SELECT count(*) FROM notes") == 0
        assert look(store.path, "PRAGMA user_version") == len(sqlite.MIGRATIONS)

    def test_a_newer_schema_is_refused(
        self, opened: Callable[..., SQLiteStore], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A file that a newer guarded wrote is not touched."""
        opened().close()
        monkeypatch.setattr(sqlite, "MIGRATIONS", ())
        with pytest.raises(StoreUnavailable, match="schema version 1, and this guarded knows 0: a newer guarded"):
            opened()

    def test_a_file_of_another_program(self, opened: Callable[..., SQLiteStore], tmp_path: Path) -> None:
        """A database that is not guarded's is refused, and left as it was."""
        path = tmp_path / "guarded.db"
        connection = sqlite3.connect(path)
        connection.execute("CREATE TABLE orders (number)")
        connection.close()
        before = path.read_bytes()
        with pytest.raises(StoreUnavailable, match="is not one of guarded's"):
            opened()
        assert path.read_bytes() == before

    def test_what_is_in_the_way(self, tmp_path: Path) -> None:
        """A missing folder, a folder, a text and an empty file are told apart, each with what to do."""
        (tmp_path / "text.db").write_text("these are not the bytes of a database, " * 100, encoding="utf-8")
        (tmp_path / "empty.db").touch()
        for name, says in {
            "no/such/folder/guarded.db": "the folder .* does not exist; make it",
            ".": "it is a folder; give the path of a file in it",
            "text.db": r"is damaged \(file is not a database\).* Restore it from a copy",
            "empty.db": "is empty: .*Whether trading is halted cannot be told",
        }.items():
            with pytest.raises(StoreUnavailable, match=says):
                SQLiteStore(tmp_path / name)

    def test_a_log_without_its_file(self, tmp_path: Path) -> None:
        """A log whose file is gone is no reason to begin anew: what was halted may be in it."""
        (tmp_path / "guarded.db-wal").touch()
        with pytest.raises(StoreUnavailable, match=r"is gone, and its log guarded\.db-wal is there"):
            SQLiteStore(tmp_path / "guarded.db")

    def test_what_is_no_lock(self, opened: Callable[..., SQLiteStore]) -> None:
        """What is wrong for another reason than a lock is not tried again, and leaves no transaction open."""
        backend: Any = opened()._backend
        connection = backend._connection
        with pytest.raises(sqlite3.OperationalError, match="no such table"):
            backend._patiently(lambda: connection.execute("SELECT * FROM elsewhere"))

        def rolled_back_already() -> None:
            with backend._in_transaction(connection):
                connection.execute("ROLLBACK")
                raise RuntimeError

        with pytest.raises(RuntimeError):
            rolled_back_already()
        assert not connection.in_transaction

    def test_damage_that_shows_when_it_is_read(self, opened: Callable[..., SQLiteStore]) -> None:
        """Rows that guarded did not write are damage."""
        path = opened().path
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute("INSERT INTO halts VALUES ('[null,null]', '{\"by\": 1')")
        connection.close()
        with pytest.raises(StoreUnavailable, match=r"is damaged .*Whether trading is halted cannot be told"):
            opened()

    def test_what_cannot_be_opened_for_another_reason(
        self, opened: Callable[..., SQLiteStore], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What the operating system says is passed on."""

        def refuse(_new: Path, _path: Path) -> None:
            raise OSError("links are not supported here")

        monkeypatch.setattr(sqlite, "_take_name", refuse)
        with pytest.raises(StoreUnavailable, match=r"guarded\.db cannot be opened: links are not supported here"):
            opened()
        assert list(tmp_path.iterdir()) == []

    def test_it_waits_for_other_writers(self, opened: Callable[..., SQLiteStore]) -> None:
        """A writer waits for another one, and goes on as soon as that is done."""
        store = opened(timeout=20)
        tracker = FailureTracker(store=store)
        other = sqlite3.connect(store.path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        worker = threading.Thread(target=tracker.record_failure, args=("VWAP", "AAPL", "late"))
        worker.start()
        worker.join(0.1)
        assert worker.is_alive()
        other.execute("ROLLBACK")
        other.close()
        worker.join(10)
        assert (tracker.degraded, tracker.total_failures) == (None, 1)

    def test_it_gives_up_on_a_lock(self, opened: Callable[..., SQLiteStore]) -> None:
        """A file that stays locked is a store that is away; the text says what to look for."""
        store = opened(timeout=0.05)
        tracker = FailureTracker(store=store)
        other = sqlite3.connect(store.path, isolation_level=None)
        other.execute("BEGIN IMMEDIATE")
        tracker.record_failure("VWAP", "AAPL", "late")
        assert tracker.degraded is not None
        assert "cannot be written: database is locked. Another program holds it locked" in tracker.degraded
        other.close()
        heard(lambda: tracker.degraded is None)
        assert tracker.total_failures == 1

    def test_a_file_that_is_taken_away(
        self, opened: Callable[..., SQLiteStore], caplog: pytest.LogCaptureFixture
    ) -> None:
        """A file that is removed or replaced while processes run is noticed; the halts that they know are set again."""
        store = opened()
        tracker = FailureTracker(store=store)
        tracker.halt_manager.trigger_halt("drill")
        for each in store.path.parent.iterdir():
            each.unlink()
        heard(lambda: "is gone" in caplog.text)
        heard(lambda: tracker.degraded is None and look(store.path, "SELECT count(*) FROM halts") == 1)
        (halt,) = opened().halts.values()
        assert halt == next(iter(store.halts.values()))
        assert tracker.halt_triggered

    def test_a_file_that_is_replaced(self, opened: Callable[..., SQLiteStore], tmp_path: Path) -> None:
        """Another file in place of the one that was opened is another store: it is opened anew."""
        store = opened()
        tracker = FailureTracker(store=store)
        other = SQLiteStore(tmp_path / "other.db")
        FailureTracker(store=other).halt_manager.trigger_halt("drill")
        other.close()
        (tmp_path / "other.db").replace(store.path)
        heard(lambda: tracker.halt_triggered)
        heard(lambda: tracker.degraded is None)


class TestChanges:
    def test_who_is_far_behind_reads_everything(
        self, opened: Callable[..., SQLiteStore], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A process that missed more changes than are kept reads all that it has to know."""
        monkeypatch.setattr(sqlite, "CHANGES_KEPT", 10)
        one, two = FailureTracker(history_size=1, store=opened(durability="process")), FailureTracker(store=opened())
        with two._store._backend.still():  # type: ignore[attr-defined]  # it cannot look meanwhile
            for number in range(120):
                one.record_failure(f"S{number}", "AAPL", "late")
            assert look(opened().path, "SELECT min(number) FROM changes") > two._store._position + 1  # type: ignore[attr-defined]
        heard(lambda: len(two._store.live) == 120)
        assert look(opened().path, "SELECT count(*) FROM changes") <= 120

    def test_a_ledger_that_is_not_what_it_was(self, opened: Callable[..., SQLiteStore]) -> None:
        """A process that knows of more changes than there are reads everything anew."""
        store = opened()
        tracker = FailureTracker(store=store)
        tracker.halt_manager.trigger_halt("drill")
        connection = sqlite3.connect(store.path, isolation_level=None)
        connection.execute("DELETE FROM halts")
        connection.execute("DELETE FROM changes")
        connection.close()
        store._keeper._beat_at = 0.0
        heard(lambda: look(store.path, "SELECT count(*) FROM halts") == 1)
        assert tracker.halt_triggered

    def test_a_transaction_is_carried_out_once(self, opened: Callable[..., SQLiteStore]) -> None:
        """A transaction whose answer was lost is not carried out again."""
        store = opened()
        backend: Backend = store._backend
        counting = Change(counted=[("all", "")])
        store.update(Touched(), lambda _rows: counting)
        ticket = Ticket(store._identity, 1)
        assert backend.commit(ticket, Touched(), store.read(), lambda _streaks, _halts: counting) is None
        assert store.read().totals == {("all", ""): 1}

    def test_a_closed_file(self, opened: Callable[..., SQLiteStore]) -> None:
        """Who asks a closed store for its audit is told that it is closed."""
        store = opened()
        store.close()
        with pytest.raises(StoreUnavailable, match="has been closed"):
            store.audit()
        with pytest.raises(StoreUnavailable, match="is closed"):
            store._backend.audit()


def test_a_fork_in_the_midst_of_a_transaction(opened: Callable[..., SQLiteStore]) -> None:
    """A child that a signal handler forks leaves its parent's transaction alone. It is played by this process."""
    backend: Any = opened()._backend
    connection = backend._connection
    connection.execute("BEGIN IMMEDIATE")
    backend.forked()
    assert backend._connection is None
    assert connection.in_transaction, "it was not closed"
    connection.execute("ROLLBACK")
    connection.close()


def test_a_log_that_another_process_has_put_aside(opened: Callable[..., SQLiteStore], tmp_path: Path) -> None:
    """Of two processes that find a removed file's log, the slower one finds nothing, which is no error."""
    sqlite._put_aside(tmp_path / "guarded.db-wal")
    assert list(tmp_path.iterdir()) == []


def test_who_cannot_be_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    """A process of another user is there; without namespaces of processes their numbers are the machine's."""

    def refused(*_: object) -> None:
        raise PermissionError

    mine = new_identity()
    with monkeypatch.context() as patched:
        patched.setattr("os.kill", refused)
        assert not is_dead(mine)
    monkeypatch.setattr(Path, "readlink", refused)
    assert new_identity().count("/") == 0


def test_who_is_dead() -> None:
    """A process of this machine whose number is nobody's is dead; of others, and of other machines, nobody knows."""
    mine = new_identity()
    place, _, _ = mine.rsplit(":", 2)
    assert not is_dead(mine)
    assert is_dead(f"{place}:4194305:00000000"), "beyond the highest number that Linux gives"
    assert not is_dead("elsewhere:4194305:00000000")
    assert not is_dead(f"{place}:x:00000000")
    assert not is_dead("")


def test_an_error_that_nobody_has_foreseen(opened: Callable[..., SQLiteStore]) -> None:
    """An error for which there is no advice is told as it is."""
    with pytest.raises(sqlite3.OperationalError) as caught:
        opened()._backend._opened().execute("SELECT * FROM nowhere")  # type: ignore[attr-defined]  # a file's
    explained = opened()._backend._explained("cannot be read", caught.value)  # type: ignore[attr-defined]  # the same
    assert explained.endswith("guarded.db cannot be read: no such table: nowhere")


def test_another_process_was_quicker(opened: Callable[..., SQLiteStore], monkeypatch: pytest.MonkeyPatch) -> None:
    """A schema that another process has brought up to date, while this one waited for its turn, is left as it is."""
    backend: Any = opened()._backend
    seen = [0, 1, 1]
    monkeypatch.setattr(sqlite, "_schema_version", lambda _connection: seen.pop(0))
    backend._migrate(backend._opened())
    assert seen == []


def test_another_process_made_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who finds that the file has been made meanwhile takes that one, with what is in it."""
    path, take_name = tmp_path / "new.db", sqlite._take_name

    def too_late(new: Path, wanted: Path) -> None:
        monkeypatch.undo()
        other = SQLiteStore(path)
        FailureTracker(store=other).halt_manager.trigger_halt("drill")
        other.close()
        take_name(new, wanted)

    monkeypatch.setattr(sqlite, "_take_name", too_late)
    store = SQLiteStore(path)
    assert store.halts[Scope()].reason == "drill"
    store.close()
    assert not list(tmp_path.glob("*.new-*"))


def test_a_store_that_is_dropped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A store that nobody has any more is closed by the thread that asked the file last: no other is in its midst."""
    store = SQLiteStore(tmp_path / "dropped.db")
    backend, closing = store._backend, []
    close = backend.close

    def noted() -> None:
        closing.append(threading.current_thread().name)
        close()

    monkeypatch.setattr(backend, "close", noted)
    del store
    gc.collect()
    heard(lambda: bool(closing))
    assert closing == ["guarded store"]


def test_a_store_without_trackers(opened: Callable[..., SQLiteStore], monkeypatch: pytest.MonkeyPatch) -> None:
    """A store by itself wakes after a fork when it is asked, is lost when an answer fails, and merges all it missed."""
    store = opened()
    assert FailureTracker(halt_manager=EmergencyHaltManager(store))._store is store
    gc.collect()
    for question in (store.read, store.audit):
        fork(store)
        assert question() is not None
        assert store.awake
    backend = store._backend

    def gone() -> None:
        raise StoreUnavailable("gone")

    with monkeypatch.context() as patched:
        patched.setattr(backend, "failures", gone)
        patched.setattr(backend, "open", gone)
        assert store.failures() == []
        store._lose(StoreUnavailable("gone again"))
        for _ in range(60):
            store.update(Touched(), lambda _rows: Change(counted=[("all", "")]))
        store._journal[0].number = 0
    heard(lambda: store.lost is None)
    assert store.read().totals == {("all", ""): 60}
    again = _Task(Touched(), lambda _rows: Change(counted=[("all", "")]), number=1)
    store._journal.append(again)
    assert store.audit() != []
    assert store.read().totals == {("all", ""): 60}, "that number had been carried out"
    with monkeypatch.context() as patched:
        patched.setattr(backend, "commit", lambda *_: gone())
        store._lose(StoreUnavailable("gone"))
        store.close()
    assert store.lost is not None
