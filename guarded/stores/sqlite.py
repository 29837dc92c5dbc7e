"""SQLiteStore: a ledger in a file, for all processes of one machine."""

from __future__ import annotations

import ctypes
import os
import random
import sqlite3
import time
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, TypeVar

from guarded._checks import checked_choice
from guarded._errors import InvalidConfiguration, StoreUnavailable
from guarded._locks import ForkSafeLock
from guarded._scope import EVERYTHING, Scope
from guarded.stores import Change, Member, Rows, Touched, _wire
from guarded.stores._backend import (
    CHANGES_KEPT,
    ENDED_KEPT,
    FORGOTTEN_AFTER,
    LEASE,
    Committed,
    News,
    Snapshot,
    Ticket,
    is_dead,
)
from guarded.stores.shared import SharedStore

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from guarded._audit import AuditEntry
    from guarded._failure import SignalGenerationFailure
    from guarded._halt import HaltRecord
    from guarded._ledger import Row
    from guarded.stores._backend import Decide

T = TypeVar("T")

POLL: Final = 0.1
"""Seconds between two looks for what other processes have changed."""

APPLICATION: Final = 0x67756172  # "guar": what https://sqlite.org/pragma.html#pragma_application_id is for

MIGRATIONS: Final = (
    """
    CREATE TABLE streaks (scope TEXT PRIMARY KEY, row TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE totals (total TEXT PRIMARY KEY, failures INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE halts (scope TEXT PRIMARY KEY, halt TEXT NOT NULL) WITHOUT ROWID;
    CREATE TABLE callbacks (episode TEXT PRIMARY KEY, runner TEXT NOT NULL, until REAL NOT NULL) WITHOUT ROWID;
    CREATE TABLE ended (number INTEGER PRIMARY KEY AUTOINCREMENT, episode TEXT NOT NULL, halt TEXT NOT NULL);
    CREATE INDEX ended_by ON ended (episode);
    CREATE TABLE failures (number INTEGER PRIMARY KEY AUTOINCREMENT, failure TEXT NOT NULL);
    CREATE TABLE audit (number INTEGER PRIMARY KEY AUTOINCREMENT, entry TEXT NOT NULL);
    CREATE TABLE changes (number INTEGER PRIMARY KEY AUTOINCREMENT, what TEXT NOT NULL, scope TEXT);
    CREATE TABLE applied (process TEXT PRIMARY KEY, number INTEGER NOT NULL) WITHOUT ROWID;
    CREATE TABLE members (identity TEXT PRIMARY KEY, member TEXT NOT NULL, seen REAL NOT NULL) WITHOUT ROWID;
    CREATE TABLE successes (strategy TEXT PRIMARY KEY, at TEXT NOT NULL) WITHOUT ROWID;
    CREATE TRIGGER audit_is_kept BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END;
    CREATE TRIGGER audit_is_not_replaced BEFORE INSERT ON audit
        WHEN EXISTS (SELECT 1 FROM audit WHERE number = NEW.number)
        BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END;
    CREATE TRIGGER audit_is_fixed BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END;
    """,
)
"""One script for each version of the schema: from the one before it."""


class SQLiteStore(SharedStore):
    """A ledger in an SQLite file: shared by the processes of one machine, and there after a restart.

    One transaction per failure; it is on the disk when the guarded call returns, also if the power fails then. Other
    processes see a halt within a quarter of a second. The file must lie on a local disk: SQLite's write-ahead log does
    not work on network file systems.

    Args:
        path: The file; it is made if it is not there. Its folder has to be there.
        durability: `"power"`: a failure that was recorded survives a power cut. `"process"`: it survives a crash of
            the process, and the last ones before a power cut may be lost; some fifty times quicker.
        timeout: Seconds to wait for other writers, and for whoever else locks the file, before the store counts as
            away.

    Raises:
        InvalidConfiguration: A setting that cannot work.
        StoreUnavailable: The file cannot be used: the text says which, why, and what to do. A damaged file is never
            taken for one without halts.

    Example:
        set_failure_tracker(FailureTracker(store=SQLiteStore("/var/lib/bot/guarded.db")))
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        durability: Literal["power", "process"] = "power",
        timeout: float = 5.0,
    ) -> None:
        if not isinstance(path, str | os.PathLike) or not str(path) or str(path).startswith(":memory:"):
            raise InvalidConfiguration(f"path={path!r} of SQLiteStore: expected the path of a file")
        checked_choice(durability, ("power", "process"), "durability of SQLiteStore")
        if isinstance(timeout, bool) or not isinstance(timeout, int | float) or timeout < 0:
            raise InvalidConfiguration(f"timeout={timeout!r} of SQLiteStore: expected a number of seconds")
        self.path = Path(path).absolute()
        file = _File(self.path, synchronous="FULL" if durability == "power" else "NORMAL", timeout=timeout)
        super().__init__(file, str(self.path), {"durability": durability, "timeout": timeout})

    def __repr__(self) -> str:
        return f"SQLiteStore({str(self.path)!r})"


class _File:
    """The file, and this process's two connections to it: one for the transactions, one for the keeper.

    A connection that is closed while another thread uses it takes the whole process with it (CPython 3.11): the first
    is used and closed under the store's lock, or while nobody else asks anything, and the other under `_hearing`.
    """

    def __init__(self, path: Path, *, synchronous: str, timeout: float) -> None:
        self.where = f"the SQLite file {path}"
        self._path = path
        self._synchronous = synchronous
        self._timeout = timeout
        self._connection: sqlite3.Connection | None = None
        self._listening: sqlite3.Connection | None = None
        self._version: int | None = None
        self._inode: tuple[int, int] | None = None
        self._beside: dict[Path, tuple[int, int] | None] = {}
        self._hearing = ForkSafeLock()

    # -- opening

    def open(self) -> None:
        """Open the file, make it if it is not there, and bring its schema up to date."""
        if self._inode not in (None, _inode(self._path)):
            self._abandon()
        self.close()
        self._check_place()
        with self._faults("cannot be opened"):
            if not self._path.exists():
                self._make()
            connection = self._connect()
            try:
                self._check(connection)
                self._migrate(connection)
                with self._in_transaction(connection):
                    connection.execute("DELETE FROM applied WHERE process = ''")  # to see that it can be written
            except BaseException:
                connection.close()
                raise
            self._connection = connection
        self._inode = _inode(self._path)
        self._beside = {path: _inode(path) for path in self._files_beside()}

    def _files_beside(self) -> list[Path]:
        return [self._path.with_name(f"{self._path.name}{suffix}") for suffix in ("-wal", "-shm")]

    def _abandon(self) -> None:
        """Let go of a file that was removed or replaced.

        To close its connections would remove the log of the file that has its name now. And its own log, if it was
        left behind, would be taken for that file's.
        """
        with self._hearing:
            for connection in (self._connection, self._listening):
                if connection is not None:
                    _leave_open(connection)
            self._connection = self._listening = None
        for path, inode in self._beside.items():
            if inode is not None and _inode(path) == inode:
                _put_aside(path)

    def _check_place(self) -> None:
        log = self._files_beside()[0]
        if log.exists() and not self._path.exists():
            raise StoreUnavailable(
                f"{self.where} is gone, and its log {log.name} is there: somebody has removed one without the other."
                " Whether trading is halted cannot be told. Restore it from a copy; or, if you are sure that nothing is"
                " halted, remove the log as well"
            )
        folder = self._path.parent
        if not folder.is_dir():
            raise StoreUnavailable(f"{self.where} cannot be opened: the folder {folder} does not exist; make it")
        if self._path.is_dir():
            raise StoreUnavailable(f"{self.where} cannot be opened: it is a folder; give the path of a file in it")
        if self._path.exists() and self._path.stat().st_size == 0:
            raise StoreUnavailable(
                f"{self.where} is empty: it has been truncated, or somebody has made it by hand. Whether trading is"
                " halted cannot be told. Restore it from a copy; or, if you are sure that nothing is halted, remove it"
            )

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            f"{self._path.as_uri()}?mode=rw", uri=True, timeout=0, isolation_level=None, check_same_thread=False
        )
        try:
            self._patiently(lambda: connection.execute(f"PRAGMA synchronous = {self._synchronous}"))
        except BaseException:
            connection.close()
            raise
        return connection

    def _check(self, connection: sqlite3.Connection) -> None:
        application = self._patiently(lambda: connection.execute("PRAGMA application_id").fetchone()[0])
        if application != APPLICATION:
            raise StoreUnavailable(
                f"{self.where} is not one of guarded's: another program wrote it, or it is damaged. Whether trading is"
                " halted cannot be told. Give another path, or restore the file from a copy"
            )
        found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
        if found != "ok":
            raise StoreUnavailable(self._damaged(found))

    def _make(self) -> None:
        """Make the file under another name, whole, and give it its name: who opens it never finds half of one."""
        new = self._path.with_name(f"{self._path.name}.new-{os.getpid()}-{os.urandom(4).hex()}")
        try:
            connection = sqlite3.connect(new, isolation_level=None)
            try:
                connection.execute("PRAGMA journal_mode = DELETE")
                connection.execute(f"PRAGMA application_id = {APPLICATION}")
                self._migrate(connection)
                connection.execute("PRAGMA journal_mode = WAL")
            finally:
                connection.close()
            _take_name(new, self._path)
        finally:
            new.unlink(missing_ok=True)

    def _migrate(self, connection: sqlite3.Connection) -> None:
        """Bring the schema up to date, one version after the other."""
        while (version := _schema_version(connection)) < len(MIGRATIONS):
            with self._in_transaction(connection):
                if _schema_version(connection) == version:  # else another process was quicker
                    for statement in _statements(MIGRATIONS[version]):
                        connection.execute(statement)
                    connection.execute(f"PRAGMA user_version = {version + 1}")
        if version > len(MIGRATIONS):
            raise StoreUnavailable(
                f"{self.where} has schema version {version}, and this guarded knows {len(MIGRATIONS)}: a newer guarded"
                " wrote it. Install that one"
            )

    def close(self) -> None:
        """Close both connections; the last one of all to be closed brings what is in the log into the file."""
        self.hush()
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def hush(self) -> None:
        """Close the other one."""
        with self._hearing:
            if self._listening is not None:
                self._listening.close()
            self._listening = self._version = None

    def still(self) -> AbstractContextManager[object]:
        """What the keeper holds while it reads."""
        return self._hearing

    def forked(self) -> None:
        """Close the parent's connections, which disturbs no lock of the parent's.

        As long as they were open SQLite would believe that this process holds the locks that its parent holds.
        """
        for connection in (self._connection, self._listening):
            if connection is not None:
                if connection.in_transaction:  # a signal handler has forked; to close it would end it for the parent
                    _leave_open(connection)
                else:
                    connection.close()
        self._connection = self._listening = self._version = None

    # -- transactions

    def commit(self, ticket: Ticket, touched: Touched, guess: Rows, decide: Decide) -> Committed | None:  # noqa: ARG002  # it is read again
        """Carry out a transaction."""
        with self._faults("cannot be written"), self._in_transaction(self._opened()) as connection:
            if not _is_new(connection, ticket):
                return None
            return _carried_out(connection, ticket, touched, decide)

    @contextmanager
    def _in_transaction(self, connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
        self._patiently(lambda: connection.execute("BEGIN IMMEDIATE"))
        try:
            yield connection
            connection.execute("COMMIT")
        except BaseException:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            raise

    def _patiently(self, attempt: Callable[[], T]) -> T:
        """Try again while another connection writes; SQLite's own way to wait is unfair to who waits long."""
        give_up = time.monotonic() + self._timeout
        while True:
            try:
                return attempt()
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                    raise
                if time.monotonic() >= give_up:
                    raise
            time.sleep(random.uniform(0.0002, 0.002))  # noqa: S311  # nobody gains by guessing it

    def _opened(self) -> sqlite3.Connection:
        if self._connection is None:
            raise StoreUnavailable(f"{self.where} is closed")
        return self._connection

    @contextmanager
    def _faults(self, what: str) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise StoreUnavailable(self._explained(what, error)) from error
        except (ValueError, TypeError, KeyError) as error:
            raise StoreUnavailable(self._damaged(str(error))) from error

    def _explained(self, what: str, error: Exception) -> str:
        text = str(error)
        if isinstance(error, sqlite3.Error):
            code = getattr(error, "sqlite_errorcode", 0) & 0xFF
            if code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB):
                return self._damaged(text)
            hint = _HINTS.get(code)
            if hint is not None:
                return f"{self.where} {what}: {text}. {hint}"
        return f"{self.where} {what}: {text}"

    def _damaged(self, how: str) -> str:
        return (
            f"{self.where} is damaged ({how}). Whether trading is halted cannot be told. Restore it from a copy; or, if"
            " you are sure that nothing is halted, move it away together with the files whose names begin alike"
        )

    # -- hearing of others

    def snapshot(self) -> Snapshot:
        """Everything that a process has to know."""
        with self._faults("cannot be read"), _reading(self._opened()) as connection:
            callbacks = connection.execute("SELECT episode, runner FROM callbacks").fetchall()
            scopes = connection.execute("SELECT scope FROM streaks").fetchall()
            return Snapshot(
                _position(connection),
                {_wire.scope_of(text) for (text,) in scopes},
                _halts(connection),
                dict(callbacks),
            )

    def wait(self, position: int) -> News:
        """Wait for a moment; then look whether something has changed."""
        time.sleep(POLL)
        with self._hearing, self._faults("cannot be read"):
            self._opened()
            self._check_inode()
            if self._listening is None:
                self._listening = self._connect()
            version = self._listening.execute("PRAGMA data_version").fetchone()[0]
            if version == self._version:
                return News(position)
            news = _news(self._listening, position)
            self._version = version
            return news

    def _check_inode(self) -> None:
        inode = _inode(self._path)
        if inode is None:
            raise StoreUnavailable(f"{self.where} is gone")
        if inode != self._inode:
            raise StoreUnavailable(f"{self.where} has been replaced by another file")

    def halts(self, scopes: Collection[Scope]) -> Mapping[Scope, HaltRecord]:
        """Those of the scopes' halts that are in force."""
        with self._faults("cannot be read"):
            return _found(self._opened(), "SELECT halt FROM halts WHERE scope = ?", scopes, _wire.halt_of)

    def callbacks(self) -> Mapping[str, str]:
        """The episodes whose callback has not run to its end, and who runs each."""
        with self._faults("cannot be read"):
            return dict(self._opened().execute("SELECT episode, runner FROM callbacks").fetchall())

    def position(self) -> int:
        """The number of the last change."""
        with self._faults("cannot be read"):
            return _position(self._opened())

    # -- reading

    def read(self) -> Rows:
        """All rows."""
        with self._faults("cannot be read"), _reading(self._opened()) as connection:
            streaks = connection.execute("SELECT scope, row FROM streaks").fetchall()
            totals = connection.execute("SELECT total, failures FROM totals").fetchall()
            return Rows(
                {_wire.scope_of(scope): _wire.row_of(row) for scope, row in streaks},
                {},
                _halts(connection),
                {_wire.total_of(total): failures for total, failures in totals},
            )

    def failures(self) -> list[SignalGenerationFailure]:
        """The history of failures, the oldest first."""
        return self._texts("SELECT failure FROM failures ORDER BY number", _wire.failure_of)

    def ended(self) -> list[HaltRecord]:
        """The history of halts that ended, the oldest first."""
        return self._texts("SELECT halt FROM ended ORDER BY number", _wire.halt_of)

    def ended_by(self, episodes: Collection[str]) -> dict[str, HaltRecord]:
        """Those of the episodes that ended."""
        with self._faults("cannot be read"):
            query = "SELECT halt FROM ended WHERE episode = ?"
            rows = {episode: self._opened().execute(query, (episode,)).fetchone() for episode in episodes}
            return {episode: _wire.halt_of(row[0]) for episode, row in rows.items() if row is not None}

    def audit(self) -> list[AuditEntry]:
        """The audit, the oldest first."""
        return self._texts("SELECT entry FROM audit ORDER BY number", _wire.entry_of)

    def members(self) -> list[Member]:
        """The processes on the store."""
        return self._texts("SELECT member FROM members ORDER BY identity", _wire.member_of)

    def _texts(self, query: str, parsed: Callable[[str], T]) -> list[T]:
        with self._faults("cannot be read"):
            return [parsed(text) for (text,) in self._opened().execute(query).fetchall()]

    def successes(self) -> dict[str, datetime]:
        """When each strategy last succeeded."""
        with self._faults("cannot be read"):
            rows = self._opened().execute("SELECT strategy, at FROM successes ORDER BY strategy").fetchall()
            return {_wire.name_of(strategy): datetime.fromisoformat(at) for strategy, at in rows}

    # -- members

    def beat(self, member: Member, successes: Mapping[str, datetime], running: Iterable[str]) -> None:
        """Be heard of."""
        now = time.time()
        with self._faults("cannot be written"), self._in_transaction(self._opened()) as connection:
            row = (member.identity, _wire.member_text(member), now)
            connection.execute("INSERT OR REPLACE INTO members VALUES (?, ?, ?)", row)
            connection.execute("DELETE FROM members WHERE seen < ?", (now - FORGOTTEN_AFTER,))
            connection.execute("DELETE FROM applied WHERE process NOT IN (SELECT identity FROM members)")
            connection.executemany(
                "INSERT INTO successes VALUES (?, ?) ON CONFLICT DO UPDATE SET at = max(at, excluded.at)",
                [(_wire.dumps(name), at.astimezone(UTC).isoformat()) for name, at in successes.items()],
            )
            connection.executemany(
                "UPDATE callbacks SET until = ? WHERE episode = ? AND runner = ?",
                [(now + LEASE, episode, member.identity) for episode in running],
            )

    def leave(self, identity: str) -> None:
        """Take a process off the store."""
        with self._faults("cannot be written"), self._in_transaction(self._opened()) as connection:
            connection.execute("DELETE FROM members WHERE identity = ?", (identity,))
            connection.execute("DELETE FROM applied WHERE process = ?", (identity,))
            released = connection.execute("UPDATE callbacks SET runner = '', until = 0 WHERE runner = ?", (identity,))
            if released.rowcount:
                _make_known(connection, "callbacks")

    def claim(self, identity: str, episodes: Mapping[str, str]) -> list[str]:
        """Run the callbacks of others."""
        now = time.time()
        claimed = []
        with self._faults("cannot be written"), self._in_transaction(self._opened()) as connection:
            for episode in episodes:
                query = "SELECT runner, until FROM callbacks WHERE episode = ?"
                found = connection.execute(query, (episode,)).fetchone()
                if found is not None and found[0] != identity and (found[1] < now or is_dead(found[0])):
                    connection.execute(
                        "UPDATE callbacks SET runner = ?, until = ? WHERE episode = ?", (identity, now + LEASE, episode)
                    )
                    _make_known(connection, "callbacks")
                    claimed.append(episode)
        return claimed


_STREAKS: Final = ("live", "gone")
_HINTS: Final = {
    sqlite3.SQLITE_BUSY: "Another program holds it locked: find out which (fuser, lsof) and end it",
    sqlite3.SQLITE_LOCKED: "Another program holds it locked: find out which (fuser, lsof) and end it",
    sqlite3.SQLITE_READONLY: "Let this user write the file, and its folder",
    sqlite3.SQLITE_CANTOPEN: "Let this user read and write the file, and its folder",
    sqlite3.SQLITE_PERM: "Let this user read and write the file, and its folder",
    sqlite3.SQLITE_FULL: "Make room on the disk",
    sqlite3.SQLITE_IOERR: "Look after the disk",
}


def _inode(path: Path) -> tuple[int, int] | None:
    """What a file is, whatever it is called; None if there is none."""
    try:
        stat = path.stat()
    except FileNotFoundError:
        return None
    return stat.st_dev, stat.st_ino


def _leave_open(connection: sqlite3.Connection) -> None:
    """Never close a connection, also not at the very end of the process."""
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(connection))


def _put_aside(path: Path) -> None:
    """Give a file another name, unless another process was quicker."""
    try:
        path.rename(path.with_name(f"{path.name}.left-{os.getpid()}-{os.urandom(4).hex()}"))
    except FileNotFoundError:
        pass


def _take_name(new: Path, path: Path) -> None:
    """Give a file its name, unless another process was quicker."""
    try:
        if os.name == "posix":
            path.hardlink_to(new)
        else:  # pragma: no cover  # Windows, where this does not replace
            new.rename(path)
    except FileExistsError:
        pass


def _schema_version(connection: sqlite3.Connection) -> int:
    version: int = connection.execute("PRAGMA user_version").fetchone()[0]
    return version


def _statements(script: str) -> Iterator[str]:
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""


@contextmanager
def _reading(connection: sqlite3.Connection) -> Iterator[sqlite3.Connection]:
    """Read everything as it was at one moment."""
    connection.execute("BEGIN")
    try:
        yield connection
    finally:
        connection.execute("ROLLBACK")


def _is_new(connection: sqlite3.Connection, ticket: Ticket) -> bool:
    """Whether a transaction has not been carried out before; from now on it has."""
    found = connection.execute("SELECT number FROM applied WHERE process = ?", (ticket.process,)).fetchone()
    if found is not None and found[0] >= ticket.number:
        return False
    connection.execute("INSERT OR REPLACE INTO applied VALUES (?, ?)", ticket)
    return True


def _carried_out(connection: sqlite3.Connection, ticket: Ticket, touched: Touched, decide: Decide) -> Committed:
    streaks = _found(connection, "SELECT row FROM streaks WHERE scope = ?", touched.streaks, _wire.row_of)
    halts = _found(connection, "SELECT halt FROM halts WHERE scope = ?", touched.halts, _wire.halt_of)
    change = decide(streaks, halts)
    cleared = [] if change.clear is None else _clear(connection, change.clear)
    for scope in cleared:
        _make_known(connection, "gone", scope)
    for scope, row in change.streaks.items():
        _write_streak(connection, scope, row, was_there=scope in streaks and scope not in cleared)
    _write_halts(connection, change, halts, ticket.process)
    _write_history(connection, change)
    position = _position(connection) if cleared or change.streaks or change.halts or change.settled else None
    return Committed(change, streaks, halts, cleared, position)


def _found(
    connection: sqlite3.Connection, query: str, scopes: Iterable[Scope], parsed: Callable[[str], T]
) -> dict[Scope, T]:
    rows = {scope: connection.execute(query, (_wire.scope_text(scope),)).fetchone() for scope in scopes}
    return {scope: parsed(row[0]) for scope, row in rows.items() if row is not None}


def _clear(connection: sqlite3.Connection, scope: Scope) -> list[Scope]:
    every = [_wire.scope_of(text) for (text,) in connection.execute("SELECT scope FROM streaks")]
    covered = [other for other in every if scope.covers(other)]
    connection.executemany("DELETE FROM streaks WHERE scope = ?", [(_wire.scope_text(other),) for other in covered])
    return covered


def _write_streak(connection: sqlite3.Connection, scope: Scope, row: Row | None, *, was_there: bool) -> None:
    text = _wire.scope_text(scope)
    if row is None:
        connection.execute("DELETE FROM streaks WHERE scope = ?", (text,))
    else:
        connection.execute("INSERT OR REPLACE INTO streaks VALUES (?, ?)", (text, _wire.row_text(row)))
    if (row is not None) != was_there:
        _make_known(connection, "gone" if row is None else "live", scope)


def _write_halts(
    connection: sqlite3.Connection, change: Change, before: Mapping[Scope, HaltRecord], process: str
) -> None:
    for scope, halt in change.halts.items():
        text, old = _wire.scope_text(scope), before.get(scope)
        if old is not None and (halt is None or halt.episode != old.episode):
            connection.execute("DELETE FROM callbacks WHERE episode = ?", (old.episode,))
        if halt is None:
            connection.execute("DELETE FROM halts WHERE scope = ?", (text,))
            continue
        connection.execute("INSERT OR REPLACE INTO halts VALUES (?, ?)", (text, _wire.halt_text(halt)))
        if old is None or old.episode != halt.episode:
            lease = (process, time.time() + LEASE) if change.claim else ("", 0.0)
            connection.execute("INSERT OR REPLACE INTO callbacks VALUES (?, ?, ?)", (halt.episode, *lease))
    for episode in change.settled:
        connection.execute("DELETE FROM callbacks WHERE episode = ?", (episode,))
    for scope in change.halts:
        _make_known(connection, "halt", scope)
    if change.halts or change.settled:
        _make_known(connection, "callbacks")


def _write_history(connection: sqlite3.Connection, change: Change) -> None:
    if change.forget:
        connection.execute("DELETE FROM failures")
        connection.execute("DELETE FROM totals")
    connection.executemany(
        "INSERT INTO totals VALUES (?, 1) ON CONFLICT DO UPDATE SET failures = failures + 1",
        [(_wire.total_text(total),) for total in change.counted],
    )
    if change.failure is not None:
        added = connection.execute("INSERT INTO failures (failure) VALUES (?)", (_wire.failure_text(change.failure),))
        _trim(connection, "failures", added.lastrowid, change.keep)
    for halt in change.ended:
        row = (halt.episode, _wire.halt_text(halt))
        added = connection.execute("INSERT INTO ended (episode, halt) VALUES (?, ?)", row)
        _trim(connection, "ended", added.lastrowid, ENDED_KEPT)
    connection.executemany(
        "INSERT INTO audit (entry) VALUES (?)", [(_wire.entry_text(entry),) for entry in change.audit]
    )


def _trim(connection: sqlite3.Connection, table: str, last: int | None, keep: int) -> None:
    connection.execute(f"DELETE FROM {table} WHERE number <= ?", ((last or 0) - keep,))  # noqa: S608  # our own tables


def _make_known(
    connection: sqlite3.Connection, what: Literal["live", "gone", "halt", "callbacks"], scope: Scope = EVERYTHING
) -> None:
    """Let other processes hear that a scope has a streak, or none, or another halt; or that callbacks have changed."""
    added = connection.execute("INSERT INTO changes (what, scope) VALUES (?, ?)", (what, _wire.scope_text(scope)))
    if added.lastrowid is not None and added.lastrowid % 100 == 0:
        _trim(connection, "changes", added.lastrowid, CHANGES_KEPT)


def _position(connection: sqlite3.Connection) -> int:
    last: int | None = connection.execute("SELECT max(number) FROM changes").fetchone()[0]
    return last or 0


def _halts(connection: sqlite3.Connection) -> dict[Scope, HaltRecord]:
    rows = connection.execute("SELECT scope, halt FROM halts ORDER BY scope DESC").fetchall()
    return {_wire.scope_of(scope): _wire.halt_of(halt) for scope, halt in rows}


def _news(connection: sqlite3.Connection, position: int) -> News:
    with _reading(connection):
        first, last = connection.execute("SELECT min(number), max(number) FROM changes").fetchone()
        query = "SELECT number, what, scope FROM changes WHERE number > ? ORDER BY number"
        rows: Sequence[tuple[int, str, str]] = connection.execute(query, (position,)).fetchall()
    if (last or 0) < position or (first is not None and first > position + 1):
        return News(last or 0, gap=True)
    streaks = [(number, _wire.scope_of(scope), what == "live") for number, what, scope in rows if what in _STREAKS]
    halts = {_wire.scope_of(scope) for _, what, scope in rows if what == "halt"}
    return News(max(position, last or 0), streaks, halts, any(what == "callbacks" for _, what, _ in rows))
