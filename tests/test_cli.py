"""The command line: what each command says and does, its exit status, and what it never does."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import prometheus_client.openmetrics.parser
import prometheus_client.parser
import pytest
from prometheus_client.metrics_core import Metric

from guarded import FailureTracker, StoreUnavailable, _cli, set_mode
from guarded.__main__ import main
from guarded.stores import Member
from guarded.stores.sqlite import SQLiteStore, _File
from guarded.testing import FakeClock

ESCAPE = "\x1b[2J"
"""Clears a terminal."""


class Done(NamedTuple):
    status: int
    out: str
    err: str


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("GUARDED_STORE", "NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)
    logging.getLogger("guarded").setLevel(logging.CRITICAL + 1)  # what bots log is tested elsewhere


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "guarded.db"


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], path: Path) -> Callable[..., Done]:
    """Run a command on the store at `path`, or on another one."""

    def run(*arguments: str, store: str | None = f"sqlite:///{path}") -> Done:
        capsys.readouterr()
        status = main([*arguments, *(() if store is None else ("--store", store))])
        return Done(status, *capsys.readouterr())

    return run


Command = Callable[..., Done]


@pytest.fixture(scope="module")
def new_store(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A store in which nothing has happened; to make one takes longer than most of these tests."""
    path = tmp_path_factory.mktemp("new") / "guarded.db"
    SQLiteStore(path).close()
    return path.read_bytes()


@pytest.fixture
def bot(path: Path, new_store: bytes) -> Iterator[Callable[..., FailureTracker]]:
    """Makes trackers on the store at `path`, as a bot would: each is a process on the store."""
    made: list[FailureTracker] = []
    path.write_bytes(new_store)

    def make(**settings: Any) -> FailureTracker:
        made.append(FailureTracker(**{"store": SQLiteStore(path, durability="process"), **settings}))
        stored(made[-1])._beat()  # it is heard of from the start, rather than a moment later
        return made[-1]

    yield make
    for tracker in made:
        stored(tracker).close()


Bot = Callable[..., FailureTracker]


def stored(tracker: FailureTracker) -> SQLiteStore:
    store = tracker._store
    assert isinstance(store, SQLiteStore)
    return store


def fail(tracker: FailureTracker, strategy: str = "VWAP", symbol: str = "AAPL", error: str = "bad bar") -> None:
    try:
        raise ValueError(error)
    except ValueError as raised:
        tracker.record_failure(strategy, symbol, raised, "data_error")


def succeed(tracker: FailureTracker, strategy: str = "VWAP", symbol: str = "AAPL") -> None:
    """Succeed, and make that known to other processes."""
    tracker.record_success(strategy, symbol)
    stored(tracker)._beat()


def beat(tracker: FailureTracker, ago: float = 0.0, *, host: str = "elsewhere", has_callback: bool = False) -> None:
    """Have another process on the store be heard of, so many seconds ago."""
    now = datetime.now(UTC) - timedelta(seconds=ago)
    stored(tracker)._backend.beat(Member(f"{host}:7:abcd", host, 7, now, now, 5, has_callback), {}, ())


def halts(tracker: FailureTracker) -> dict[str, str]:
    """The scopes that are halted in the file, with their reasons; a process hears of a change a moment later."""
    with contextlib.closing(SQLiteStore(stored(tracker).path)) as store:
        return {str(scope): halt.reason for scope, halt in store.read().halts.items()}


def words(text: str) -> str:
    """The text with one space between any two words."""
    return " ".join(text.split())


class Terminal(io.StringIO):
    """A terminal of eighty columns, in the place of standard output."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__()
        monkeypatch.setattr(sys, "stdout", self)
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setenv("COLUMNS", "80")

    def isatty(self) -> bool:
        return True


class TestProgram:
    def test_the_module_is_a_program(self, bot: Bot, path: Path) -> None:
        """`python -m guarded` reads its store from GUARDED_STORE, and ends with the status; its log is not shown."""
        fail(bot())
        program = [sys.executable, "-m", "guarded"]
        settings: dict[str, Any] = {
            "env": {**os.environ, "GUARDED_STORE": f"sqlite:///{path}"},
            "capture_output": True,
            "text": True,
        }
        halted = subprocess.run([*program, "halt", "--by", "ana", "--reason", "drill"], check=False, **settings)
        status = subprocess.run([*program, "status"], check=False, **settings)

        assert (halted.returncode, status.returncode) == (0, 3)
        assert (halted.stderr, status.stderr) == ("", "")
        assert status.stdout.startswith(f"HALTED  sqlite:///{path}")

    @pytest.mark.parametrize("name", ["typer", "rich"])
    def test_without_the_extra(self, name: str) -> None:
        """Without typer or rich, one line on standard error says what to install, and the exit status is 1."""
        program = f"import sys; sys.modules[{name!r}] = None; from guarded.__main__ import main; sys.exit(main())"
        done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)

        assert done.returncode == 1
        assert done.stderr == "guarded: the command line needs typer and rich: install guarded[cli]\n"
        assert done.stdout == ""

    def test_without_typer_in_this_process(
        self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        """The function `main` returns that exit status."""
        monkeypatch.delitem(sys.modules, "guarded._cli")
        monkeypatch.setitem(sys.modules, "typer", None)
        assert main(["status"]) == 1
        assert "install guarded[cli]" in capsys.readouterr().err

    def test_what_else_is_missing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Another module that is missing is not taken for the extra."""
        monkeypatch.delitem(sys.modules, "guarded._cli")
        monkeypatch.setitem(sys.modules, "guarded._explained", None)
        with pytest.raises(ModuleNotFoundError, match=r"guarded\._explained"):
            main(["status"])

    def test_no_command(self, cli: Command) -> None:
        """Without a command it says which there are; the exit status is 2."""
        done = cli(store=None)
        assert done.status == 2
        assert done.out == ""
        assert done.err == (
            "guarded: give a command: status, history, halt, resume, audit, explain; `guarded --help` describes them\n"
        )

    @pytest.mark.parametrize("command", [[], ["status"], ["halt"], ["resume"], ["history"], ["audit"]])
    def test_the_help_documents_the_exit_status(self, cli: Command, command: list[str]) -> None:
        """`--help` says what each exit status means."""
        done = cli(*command, "--help", store=None)
        assert done.status == 0
        for meaning in ("0 active, or done", "1 a fault", "2 wrong usage", "3 halted", "resume, if anything stays so"):
            assert meaning in words(done.out)

    @pytest.mark.parametrize("command", [["stauts"], ["status", "--nope"], ["halt"], ["status", "--interval", "0"]])
    def test_wrong_usage(self, cli: Command, command: list[str]) -> None:
        """What the command line does not have ends with 2."""
        done = cli(*command, store=None)
        assert (done.status, done.out) == (2, "")
        assert "--help' for help" in done.err

    def test_a_mistyped_command(self, cli: Command) -> None:
        """A mistyped command gets what was meant."""
        assert "Did you mean 'status'?" in cli("stauts", store=None).err

    def test_the_log_is_as_it_was(self, cli: Command, bot: Bot, caplog: pytest.LogCaptureFixture) -> None:
        """A command keeps the library's log quiet, and no longer than it runs."""
        fail(bot())
        logging.getLogger("guarded").setLevel(logging.INFO)
        assert cli("halt", "--by", "ana", "--reason", "drill").err == ""
        assert caplog.records == []
        logging.getLogger("guarded").warning("heard")
        assert caplog.messages == ["heard"]

    def test_a_reader_that_goes_away(self, bot: Bot, path: Path) -> None:
        """A pipe that is closed, as by `head`, is no traceback."""
        tracker = bot()
        for _ in range(100):
            fail(tracker, error="x" * 2_000)
        program = [sys.executable, "-m", "guarded", "history", "--limit", "0", "--store", f"sqlite:///{path}"]
        buffered = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
        with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=buffered) as running:
            assert running.stdout is not None
            assert running.stderr is not None
            running.stdout.read(10)
            running.stdout.close()
            assert running.stderr.read() == b""
        assert running.returncode == 1


class TestWhichStore:
    @pytest.mark.parametrize("given", [None, ""])
    def test_none(self, cli: Command, monkeypatch: pytest.MonkeyPatch, given: str | None) -> None:
        """Without a store the exit status is 2, and the text says both ways to name one."""
        monkeypatch.setenv("GUARDED_STORE", "")
        done = cli("status", store=given)
        assert done.status == 2
        assert done.err.startswith("guarded: no store is named: give --store URL or set GUARDED_STORE")
        assert done.err.count("\n") == 1

    def test_the_option_comes_first(self, cli: Command, bot: Bot, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """GUARDED_STORE names the store, and `--store` another one."""
        bot()
        monkeypatch.setenv("GUARDED_STORE", f"sqlite:///{path}")
        assert cli("status", store=None).status == 0
        assert cli("status", store="memory://").status == 2

    @pytest.mark.parametrize(
        ("store", "says"),
        [
            ("memory://", "a memory store belongs to its process"),
            ("guarded.db", "expected a URL; that of a file is 'sqlite:///guarded.db'"),
            ("mysql://host/db", "expected 'memory://', 'sqlite:///guarded.db'"),
            ("sqlite://[/guarded.db", "--store='sqlite://[/guarded.db': "),
            ("sqlite://", "expected 'sqlite:///guarded.db' for a path from here"),
        ],
    )
    def test_no_such_store(self, cli: Command, store: str, says: str) -> None:
        """What is no store that other processes could use ends with 2."""
        done = cli("status", store=store)
        assert done.status == 2
        assert says in done.err
        assert done.err.count("\n") == 1

    def test_a_mistyped_setting(self, cli: Command, bot: Bot, path: Path) -> None:
        """A mistyped setting of a store ends with 2 and what was meant."""
        bot()
        done = cli("status", store=f"sqlite:///{path}?timeuot=3")
        assert done.status == 2
        assert "did you mean 'timeout'?" in done.err

    @pytest.mark.parametrize(
        "command",
        [
            ["status"],
            ["history"],
            ["audit"],
            ["halt", "--by", "ana", "--reason", "drill", "--force"],
            ["resume", "--by", "ana", "--reason", "drill"],
        ],
    )
    def test_a_file_that_is_not_there(self, cli: Command, path: Path, command: list[str]) -> None:
        """No command makes a file: where none is, it says so and how to give the right one, and ends with 1."""
        done = cli(*command)
        assert done.status == 1
        assert done.err.startswith(f"guarded: there is no file {path}: give the one that the bots use, as sqlite:///")
        assert done.err.count("\n") == 1
        assert list(path.parent.iterdir()) == []

    def test_a_path_from_here(self, cli: Command, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The text has the whole path, for a wrong folder is the usual mistake."""
        monkeypatch.chdir(path.parent)
        assert f"no file {path.parent.resolve() / 'a b.db'}:" in cli("status", store="sqlite:///a%20b.db").err

    @pytest.mark.parametrize("command", [["status"], ["audit"], ["halt", "--by", "ana", "--reason", "drill"]])
    def test_a_store_that_cannot_be_used(self, cli: Command, path: Path, command: list[str]) -> None:
        """A store that cannot be opened ends with 1 and one line that says why."""
        path.write_text("no database\n" * 100, encoding="utf-8")
        done = cli(*command)
        assert (done.status, done.out) == (1, "")
        assert done.err.startswith(f"guarded: the SQLite file {path} ")
        assert done.err.count("\n") == 1

    def test_what_the_system_refuses(self, cli: Command) -> None:
        """What the operating system refuses ends with 1 and one line, too."""
        done = cli("status", store=f"sqlite:///{'a' * 5_000}.db")
        assert done.status == 1
        assert done.err.startswith("guarded: ")
        assert done.err.count("\n") == 1

    def test_a_store_whose_package_is_missing(self, cli: Command, monkeypatch: pytest.MonkeyPatch) -> None:
        """Without the package that a store needs, the text says what to install."""
        monkeypatch.delitem(sys.modules, "guarded.stores.redis", raising=False)
        monkeypatch.setitem(sys.modules, "redis", None)
        done = cli("status", store="redis://127.0.0.1/0")
        assert done.status == 1
        assert "install guarded[redis]" in done.err

    @pytest.mark.parametrize(
        "command",
        [["status"], ["status", "--format", "openmetrics"], ["halt", "--by", "ana", "--reason", "drill"], ["audit"]],
    )
    @pytest.mark.parametrize("store", ["redis://bot:hunter2@127.0.0.1:1/0", "redis://127.0.0.1:1/0?password=hunter2"])
    def test_passwords(self, cli: Command, command: list[str], store: str) -> None:
        """The password of a URL is never printed."""
        done = cli(*command, store=store)
        assert done.status == 1
        assert "127.0.0.1:1" in done.err
        assert "hunter2" not in done.out + done.err

    def test_a_store_that_goes_away_while_it_is_read(
        self, cli: Command, bot: Bot, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What this process knew before is never reported: the status ends with 1."""
        fail(bot())

        def gone(_self: _File) -> Any:
            raise StoreUnavailable("the disk is on fire")

        monkeypatch.setattr(_File, "failures", gone)
        assert cli("status") == (1, "", "guarded: the disk is on fire\n")

    def test_nothing_is_left_in_the_store(self, cli: Command, bot: Bot) -> None:
        """A status writes nothing: no entry of the audit, and it is no process on the store afterwards."""
        tracker = bot()
        fail(tracker)
        before = len(stored(tracker).audit())
        for command in (["status"], ["history"], ["audit"]):
            assert cli(*command).status == 0
        assert len(stored(tracker).audit()) == before
        assert len(stored(tracker)._backend.members()) == 1
        stored(tracker).close()
        assert json.loads(cli("status", "--json").out)["processes"] == []


class TestStatus:
    def test_active(self, cli: Command, bot: Bot, path: Path) -> None:
        """While nothing is halted the status says so, and ends with 0."""
        bot()
        done = cli("status")
        assert done.status == 0
        assert done.err == ""
        assert done.out.startswith(f"ACTIVE  sqlite:///{path}  20")
        for nothing in (
            "Streaks: none",
            "Failures: none",
            "Last failures: none",
            "Last success of each strategy: none",
        ):
            assert nothing in done.out

    def test_halted(self, cli: Command, bot: Bot) -> None:
        """While something is halted it says what, since when, by whom and why, and ends with 3."""
        tracker = bot()
        for _ in range(3):
            fail(tracker)
        tracker.halt_manager.trigger_halt("maintenance", symbol="GOOG", by="ana", level="reducing")
        tracker.halt_manager.trigger_halt("no feed", symbol="MSFT")
        done = cli("status")
        assert done.status == 3
        assert done.out.startswith("HALTED")
        everything, goog, msft = (words(block) for block in done.out.split("\n\n")[1:4])
        since = stored(tracker).read().halts[(None, "GOOG")].since.isoformat(timespec="seconds")  # type: ignore[index]
        assert everything.startswith("Halt of everything level halted since 20")
        assert "reason 3 consecutive failures (threshold 3); last: VWAP for AAPL: ValueError: bad bar" in everything
        assert "halted by a policy trigger technical_failure" in everything
        assert goog.startswith("Halt of symbol GOOG level reducing: calls marked reduce_only=True still run")
        assert f"since {since} (0 s ago) reason maintenance claimed by ana trigger manual" in goog
        assert "halted by somebody who gave no name" in msft

    def test_counts(self, cli: Command, bot: Bot) -> None:
        """Streaks, totals by strategy, symbol and type, the last failures and last successes are shown."""
        tracker = bot(failure_threshold=9)
        fail(tracker, "VWAP", "AAPL")
        fail(tracker, "VWAP", "AAPL", "stale bar")
        fail(tracker, "RSI", "GOOG")
        succeed(tracker, "RSI", "GOOG")
        lines = [words(line) for line in cli("status").out.splitlines()]
        (streak,) = [line for line in lines if line.startswith("VWAP for AAPL")]
        assert streak.startswith("VWAP for AAPL key within 300 s 2 2 20")
        assert streak.endswith("(0 s ago)")
        for row in ("strategy VWAP 2", "strategy RSI 1", "symbol AAPL 2", "symbol GOOG 1", "total 3"):
            assert row in lines
        assert [line.partition(" ")[2] for line in lines if "ValueError" in line] == [
            "VWAP AAPL data_error ValueError: bad bar",
            "VWAP AAPL data_error ValueError: stale bar",
            "RSI GOOG data_error ValueError: bad bar",
        ]
        assert any(line.startswith("RSI 20") and line.endswith("(0 s ago)") for line in lines)

    def test_the_last_ten_failures(self, cli: Command, bot: Bot) -> None:
        """No more than ten failures are shown, the newest last."""
        tracker = bot(failure_threshold=99)
        for number in range(12):
            fail(tracker, error=f"number {number}.")
        report = json.loads(cli("status", "--json").out)
        assert [failure["error_message"] for failure in report["last_failures"]] == [
            f"number {n}." for n in range(2, 12)
        ]
        assert "stack_trace" not in report["last_failures"][0]

    def test_processes(self, cli: Command, bot: Bot) -> None:
        """Every process is shown; one that was not heard of for 15 s is told as silent."""
        tracker = bot()
        beat(tracker, host="quick")
        beat(tracker, 40, host="slow")
        done = cli("status")
        lines = [words(line) for line in done.out.splitlines()]
        assert any(line.startswith("quick 7 20") and line.endswith("0 s ago 5 no running") for line in lines)
        assert any(line.endswith("40 s ago 5 no silent: it hangs, or is without the store") for line in lines)
        assert lines[1] == "1 of 3 processes silent: see below."
        assert json.loads(cli("status", "--json").out)["stores_degraded"] == ["slow:7:abcd"]

    @pytest.mark.parametrize(
        ("heard", "callback"),
        [
            ([], "pending, and no process on the store has one"),
            ([False], "pending, and no process on the store has one"),
            ([True], "pending; 1 process on the store would run one"),
            ([True, True], "pending; 2 processes on the store would run one"),
        ],
    )
    def test_a_callback_that_is_pending(self, cli: Command, bot: Bot, heard: list[bool], callback: str) -> None:
        """A halt whose callback has not run says so, and whether a process would run it."""
        tracker = bot()
        for number, has_callback in enumerate(heard):
            beat(tracker, host=f"host{number}", has_callback=has_callback)
        beat(tracker, 40, host="silent", has_callback=True)
        tracker.halt_manager.trigger_halt("drill")
        assert f"callback {callback}" in words(cli("status").out)
        report = json.loads(cli("status", "--json").out)
        assert report["callback_pending"] is report["halts"][0]["callback_pending"] is True
        assert report["processes_with_callback"] == sum(heard)

    def test_a_callback_that_has_run(self, cli: Command, bot: Bot) -> None:
        """A halt whose callback has run to its end says so."""
        bot(halt_callback=lambda reason, failure: None).halt_manager.trigger_halt("drill")
        assert "callback has run to its end" in words(cli("status").out)
        assert json.loads(cli("status", "--json").out)["callback_pending"] is False

    @pytest.mark.parametrize(
        ("asked", "status"),
        [
            ([], 3),
            (["--strategy", "VWAP"], 3),
            (["--strategy", "RSI"], 0),
            (["--symbol", "AAPL"], 3),
            (["--symbol", "GOOG"], 0),
            (["--strategy", "VWAP", "--symbol", "AAPL"], 3),
            (["--strategy", "VWAP", "--symbol", "GOOG"], 0),
            (["--strategy", "RSI", "--symbol", "AAPL"], 0),
        ],
    )
    def test_a_scope(self, cli: Command, bot: Bot, asked: list[str], status: int) -> None:
        """With a scope, the exit status is about what may concern that scope."""
        tracker = bot()
        for strategy in ("VWAP", "RSI"):
            for symbol in ("AAPL", "GOOG"):
                fail(tracker, strategy, symbol)
                tracker.record_success(strategy, symbol)
        tracker.halt_manager.trigger_halt("drill", strategy="VWAP", symbol="AAPL")
        assert cli("status", *asked).status == status
        tracker.halt_manager.trigger_halt("drill")
        assert cli("status", *asked).status == 3

    @pytest.mark.parametrize(
        ("asked", "total", "strategies", "symbols", "types", "streaks", "head"),
        [
            (["--strategy", "VWAP"], 2, {"VWAP": 2}, {}, {}, 2, "strategy VWAP"),
            (["--symbol", "AAPL"], 2, {}, {"AAPL": 2}, {}, 2, "symbol AAPL"),
            (["--strategy", "VWAP", "--symbol", "AAPL"], None, {"VWAP": 2}, {"AAPL": 2}, {}, 1, "VWAP for AAPL"),
        ],
    )
    def test_a_scope_filters(
        self,
        cli: Command,
        bot: Bot,
        asked: list[str],
        total: int | None,
        strategies: dict[str, int],
        symbols: dict[str, int],
        types: dict[str, int],
        streaks: int,
        head: str,
    ) -> None:
        """With a scope, what is shown is what is known of it."""
        tracker = bot(failure_threshold=99)
        for strategy, symbol in (("VWAP", "AAPL"), ("VWAP", "GOOG"), ("RSI", "AAPL")):
            fail(tracker, strategy, symbol)
        succeed(tracker, "VWAP", "MSFT")
        succeed(tracker, "RSI", "MSFT")
        report = json.loads(cli("status", *asked, "--json").out)
        counted = {"total": total, "by_strategy": strategies, "by_symbol": symbols, "by_type": types}
        assert report["failures"] == counted
        assert len(report["streaks"]) == len(report["last_failures"]) == streaks
        assert report["last_success"].keys() == ({"VWAP"} if "--strategy" in asked else {"VWAP", "RSI"})
        assert cli("status", *asked).out.startswith(f"ACTIVE  {head}  sqlite:///")

    def test_json(self, cli: Command, bot: Bot, path: Path) -> None:
        """The keys of the JSON are those that are documented, and stay."""
        tracker = bot()
        for _ in range(3):
            fail(tracker)
        succeed(tracker, "RSI")
        beat(tracker)
        report = json.loads(cli("status", "--json").out)
        assert list(report) == [
            *("store", "at", "scope", "halted", "halts", "callback_pending", "processes_with_callback", "streaks"),
            *("failures", "last_failures", "last_success", "processes", "stores_degraded"),
        ]
        assert report["store"] == f"sqlite:///{path}"
        assert report["scope"] == {"strategy": None, "symbol": None}
        (halt,) = report["halts"]
        assert halt.keys() == {*tracker.halts[0].to_dict(), "kind", "seconds", "callback_pending"}
        assert (halt["kind"], halt["level"], halt["by"], halt["consecutive"]) == ("global", "halted", None, 3)
        (streak,) = report["streaks"]
        assert list(streak) == ["scope", "kind", "series", "failures", "unbroken", "last_failure", "seconds"]
        assert streak["scope"] == {"strategy": "VWAP", "symbol": "AAPL"}
        assert (streak["kind"], streak["failures"], streak["unbroken"]) == ("key", 3, 3)
        assert list(report["last_success"]["RSI"]) == ["at", "seconds"]
        elsewhere = next(process for process in report["processes"] if process["host"] == "elsewhere")
        assert list(elsewhere) == [
            *("identity", "host", "pid", "started", "seen", "seconds", "silent", "refusals", "has_callback")
        ]
        assert report == json.loads(cli("status", "--format", "json").out) | {
            key: report[key] for key in ("at", "halts", "streaks", "last_success", "processes")
        }

    def test_times(self, cli: Command, bot: Bot) -> None:
        """All times are in ISO 8601 and in UTC, whatever the clock's zone; ages are never negative."""

        class Tokyo(FakeClock):
            def now(self) -> datetime:
                from zoneinfo import ZoneInfo  # noqa: PLC0415  # for this test

                return super().now().astimezone(ZoneInfo("Asia/Tokyo"))

        tracker = bot(clock=Tokyo(datetime.now(UTC) + timedelta(days=3)))
        tracker.halt_manager.trigger_halt("drill")
        fail(tracker)
        texts = [cli("status", "--json").out, cli("audit", "--json").out]
        assert all("+09:00" not in text for text in texts)
        report = json.loads(texts[0])
        moments = [report["at"], report["halts"][0]["since"], report["streaks"][0]["last_failure"]]
        assert all(datetime.fromisoformat(moment).utcoffset() == timedelta() for moment in moments)
        assert report["halts"][0]["seconds"] == report["streaks"][0]["seconds"] == 0

    @pytest.mark.parametrize(
        ("ago", "told"),
        [
            (timedelta(seconds=59), "(59 s ago)"),
            (timedelta(minutes=59), "(59 min ago)"),
            (timedelta(hours=23, minutes=5, seconds=30), "(23 h 5 min ago)"),
            (timedelta(days=3, hours=4, minutes=30), "(3 d 4 h ago)"),
        ],
    )
    def test_ages(self, cli: Command, bot: Bot, ago: timedelta, told: str) -> None:
        """How long ago something was is told in two units at most."""
        bot(clock=FakeClock(datetime.now(UTC) - ago)).halt_manager.trigger_halt("drill")
        assert told in cli("status").out

    def test_formats_that_disagree(self, cli: Command, bot: Bot) -> None:
        """Two formats at once, and watching as OpenMetrics, are wrong usage."""
        bot()
        disagreeing = cli("status", "--json", "--format", "openmetrics")
        assert disagreeing.status == 2
        assert "--json and --format openmetrics disagree" in disagreeing.err
        watching = cli("status", "--watch", "--format", "openmetrics")
        assert watching.status == 2
        assert "--watch does not go with --format openmetrics" in watching.err


class TestNames:
    @pytest.mark.parametrize("command", ["status", "history", "resume", "halt"])
    def test_a_mistyped_name(self, cli: Command, bot: Bot, command: str) -> None:
        """A name that the store does not know ends with 2 and what was meant, in whatever case."""
        fail(bot())
        order = ["--by", "ana", "--reason", "drill"] if command in ("halt", "resume") else []
        hint = " (--force halts it all the same)" if command == "halt" else ""
        for option, given, meant in (("strategy", "Vwpa", "VWAP"), ("symbol", "aapl", "AAPL")):
            done = cli(command, *order, f"--{option}", given)
            assert done == (2, "", f"guarded: no {option} {given!r} is known here; did you mean {meant!r}?{hint}\n")

    def test_a_name_like_none(self, cli: Command, bot: Bot) -> None:
        """A name that is like none that the store knows gets no guess: a status is that of a name without failures."""
        fail(bot())
        assert cli("history", "--strategy", "Momentum").err == "guarded: no strategy 'Momentum' is known here\n"
        done = cli("status", "--symbol", "TSLA")
        assert (done.status, done.err) == (0, "guarded: nothing has been recorded of symbol 'TSLA' yet\n")

    def test_an_empty_name(self, cli: Command, bot: Bot) -> None:
        """An empty name is none."""
        bot()
        assert cli("status", "--strategy", "").status == 2

    def test_where_names_are_known_from(self, cli: Command, bot: Bot) -> None:
        """A name is known by its failures, totals, streaks, halts, and successes of a strategy."""
        tracker = bot(history_size=1)
        fail(tracker, "Total", "TOTAL")
        tracker.reset()
        fail(tracker, "Streak", "STREAK")
        tracker.clear_history()
        fail(tracker, "Last", "LAST")
        tracker.halt_manager.trigger_halt("drill", strategy="Halt", symbol="HALT")
        succeed(tracker, "Success", "SUCCESS")
        for name in ("Streak", "Last", "Halt", "Success"):
            assert cli("history", "--strategy", name).status != 2
            assert (cli("history", "--symbol", name.upper()).status == 2) is (name == "Success")
        assert cli("history", "--strategy", "Total").status == 2

    def test_totals(self, cli: Command, bot: Bot) -> None:
        """A name whose failures are no longer in the history is known by its totals."""
        tracker = bot(history_size=1)
        fail(tracker, "VWAP", "AAPL")
        tracker.reset()
        fail(tracker, "RSI", "GOOG")
        assert cli("status", "--strategy", "VWAP", "--symbol", "AAPL").status == 0


class TestWatch:
    def watched(self, monkeypatch: pytest.MonkeyPatch, *between: Callable[[], object]) -> list[float]:
        """Have the waits of a watch do these instead, and Ctrl-C at the end; returns how long they were."""
        steps, waits = iter(between), list[float]()

        def wait(seconds: float) -> None:
            waits.append(seconds)
            step = next(steps, None)
            if step is None:
                raise KeyboardInterrupt
            step()

        monkeypatch.setattr(_cli, "sleep", wait)
        return waits

    def test_into_a_pipe(self, cli: Command, bot: Bot, monkeypatch: pytest.MonkeyPatch) -> None:
        """Elsewhere than on a terminal each look is a new report; Ctrl-C ends with the status of the last one."""
        tracker = bot()
        waits = self.watched(
            monkeypatch,
            lambda: tracker.halt_manager.trigger_halt("drill"),
            lambda: tracker.resume(by="ana", reason="ok"),
        )
        done = cli("status", "--watch")
        assert done.status == 0
        assert [line.split()[0] for line in done.out.splitlines() if "sqlite:" in line] == [
            "ACTIVE",
            "HALTED",
            "ACTIVE",
        ]
        assert waits == [2.0, 2.0, 2.0]

    def test_the_status_of_the_last_look(self, cli: Command, bot: Bot, monkeypatch: pytest.MonkeyPatch) -> None:
        """A watch that ends while trading is halted ends with 3."""
        tracker = bot()
        waits = self.watched(monkeypatch, lambda: tracker.halt_manager.trigger_halt("drill"))
        assert cli("status", "--watch", "--interval", "0.5").status == 3
        assert waits == [0.5, 0.5]

    def test_as_json(self, cli: Command, bot: Bot, monkeypatch: pytest.MonkeyPatch) -> None:
        """As JSON each look is one line."""
        tracker = bot()
        self.watched(monkeypatch, lambda: tracker.halt_manager.trigger_halt("drill"))
        done = cli("status", "--watch", "--json")
        assert [json.loads(line)["halted"] for line in done.out.splitlines()] == [False, True]

    @pytest.mark.parametrize("as_json", [False, True])
    def test_a_store_that_goes_away(
        self, cli: Command, bot: Bot, path: Path, monkeypatch: pytest.MonkeyPatch, as_json: bool
    ) -> None:
        """A store that goes away is shown as away, with why, and the watch goes on; while it is, the status is 1."""
        stored(bot()).close()
        away, back = (lambda: path.rename(f"{path}.away")), (lambda: Path(f"{path}.away").rename(path))
        self.watched(monkeypatch, away, back, away)
        done = cli("status", "--watch", *(["--json"] if as_json else []))
        assert done.status == 1
        if as_json:
            looks = [json.loads(line) for line in done.out.splitlines()]
            assert ["error" in look for look in looks] == [False, True, False, True]
            assert list(looks[1]) == ["store", "at", "error"]
        else:
            heads = [line.split()[0] for line in done.out.splitlines() if "sqlite:" in line and "20" in line]
            assert [head for head in heads if head.isupper()] == ["ACTIVE", "AWAY", "ACTIVE", "AWAY"]
        assert f"there is no file {path}" in done.out

    def test_a_store_that_is_not_there(self, cli: Command) -> None:
        """A watch that cannot look even once ends with 1."""
        assert cli("status", "--watch").status == 1

    def test_on_a_terminal(self, bot: Bot, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """On a terminal the report is replaced in its place."""
        tracker, terminal = bot(), Terminal(monkeypatch)
        self.watched(monkeypatch, lambda: tracker.halt_manager.trigger_halt("drill"))
        assert main(["status", "--watch", "--store", f"sqlite:///{path}"]) == 3
        shown = terminal.getvalue()
        assert shown.index("ACTIVE") < shown.index("\x1b[1A") < shown.index("HALTED")

    @pytest.mark.skipif(os.name != "posix", reason="Ctrl-C is sent as a signal")
    def test_ctrl_c(self, bot: Bot, path: Path) -> None:
        """Ctrl-C ends the program with the status of the last look, and no traceback."""
        bot().halt_manager.trigger_halt("drill")
        program = [sys.executable, "-m", "guarded", "status", "--watch", "--json", "--store", f"sqlite:///{path}"]
        with subprocess.Popen(program, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
            assert running.stdout is not None
            assert running.stderr is not None
            assert json.loads(running.stdout.readline())["halted"] is True
            running.send_signal(signal.SIGINT)
            assert running.stderr.read() == ""
        assert running.returncode == 3


Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def samples(families: Iterable[Metric]) -> Samples:
    found = [sample for family in families for sample in family.samples]
    return {(sample.name, tuple(sorted(sample.labels.items()))): sample.value for sample in found}


def parsed_families(text: str) -> list[Metric]:
    parse: Callable[[str], Iterator[Metric]] = prometheus_client.openmetrics.parser.text_string_to_metric_families
    return list(parse(text))


def openmetrics(text: str) -> Samples:
    """The samples of a text, by a real parser of OpenMetrics; that of Prometheus' own format finds the same ones."""
    parsed = samples(parsed_families(text))
    assert parsed == samples(prometheus_client.parser.text_string_to_metric_families(text))
    return parsed


def of(found: Samples, name: str, **labels: str) -> float:
    return found[name, tuple(sorted(labels.items()))]


EVERYTHING = {"scope": "global", "strategy": "", "symbol": ""}


class TestOpenMetrics:
    def test_active(self, cli: Command, bot: Bot) -> None:
        """A store in which nothing has happened has the metrics that alerts are about, and ends with 0."""
        bot()
        done = cli("status", "--format", "openmetrics")
        found = openmetrics(done.out)
        assert done.status == 0
        assert done.out.endswith("\n# EOF\n")
        assert of(found, "guarded_store_up") == 1
        for level in ("halted", "reducing"):
            assert of(found, "guarded_halted", **EVERYTHING, level=level) == 0
        for name in ("guarded_callback_pending", "guarded_stores_degraded", "guarded_failures_total"):
            assert of(found, name) == 0

    def test_halted(self, cli: Command, bot: Bot) -> None:
        """Every halt is a sample with its scope and level, and the exit status is 3."""
        tracker = bot()
        tracker.halt_manager.trigger_halt("drill", level="reducing")
        tracker.halt_manager.trigger_halt("drill", strategy="VWAP", symbol="AAPL")
        beat(tracker, has_callback=True)
        done = cli("status", "--format", "openmetrics")
        found = openmetrics(done.out)
        key = {"scope": "key", "strategy": "VWAP", "symbol": "AAPL"}
        assert done.status == 3
        assert of(found, "guarded_halted", **EVERYTHING, level="halted") == 0
        assert of(found, "guarded_halted", **EVERYTHING, level="reducing") == 1
        assert of(found, "guarded_halted", **key, level="halted") == 1
        since = tracker.halts[0].since.timestamp()
        assert of(found, "guarded_halted_since_timestamp_seconds", **EVERYTHING) == pytest.approx(since, abs=1e-3)
        assert of(found, "guarded_callback_pending") == 2
        assert of(found, "guarded_processes_with_callback") == 1

    def test_counts(self, cli: Command, bot: Bot) -> None:
        """Failures by strategy, symbol and type are families of their own, so that no sum counts one twice."""
        tracker = bot(failure_threshold=99)
        fail(tracker, "VWAP", "AAPL")
        fail(tracker, "VWAP", "GOOG")
        fail(tracker, "RSI", "AAPL")
        succeed(tracker, "RSI", "AAPL")
        beat(tracker, 40)
        found = openmetrics(cli("status", "--format", "openmetrics").out)
        assert of(found, "guarded_failures_total") == 3
        assert of(found, "guarded_strategy_failures_total", strategy="VWAP") == 2
        assert of(found, "guarded_symbol_failures_total", symbol="AAPL") == 2
        assert of(found, "guarded_type_failures_total", type="data_error") == 3
        streak = {"scope": "key", "strategy": "VWAP", "symbol": "GOOG", "series": "key within 300 s"}
        assert of(found, "guarded_streak_failures", **streak) == 1
        now = time.time()
        assert of(found, "guarded_last_failure_timestamp_seconds") == pytest.approx(now, abs=60)
        assert of(found, "guarded_last_success_timestamp_seconds", strategy="RSI") == pytest.approx(now, abs=60)
        process = {"host": "elsewhere", "pid": "7", "process": "elsewhere:7:abcd"}
        assert of(found, "guarded_process_last_seen_timestamp_seconds", **process) == pytest.approx(now - 40, abs=30)
        assert of(found, "guarded_process_refusals_total", **process) == 5
        assert of(found, "guarded_stores_degraded") == 1

    def test_a_scope(self, cli: Command, bot: Bot) -> None:
        """With a scope whose failures are not counted by themselves, their number is left out."""
        fail(bot())
        done = cli("status", "--format", "openmetrics", "--strategy", "VWAP", "--symbol", "AAPL")
        assert ("guarded_failures_total", ()) not in openmetrics(done.out)

    @pytest.mark.parametrize(
        ("name", "read"),
        [
            ('say "hi"', 'say "hi"'),
            ("two\nlines", "two\nlines"),
            ("C:\\new\\n", "C:\\new\\n"),
            ('\\"', '\\"'),
            ('a{b="c"} # 1', 'a{b="c"} # 1'),
            ("日経", "日経"),
            ("half \ud800", "half \\ud800"),
        ],
        ids=["quotes", "lines", "backslashes", "both", "syntax", "letters", "surrogate"],
    )
    def test_labels_are_escaped(self, cli: Command, bot: Bot, name: str, read: str) -> None:
        """Whatever is in a name, the text stays valid and the name is read back."""
        fail(bot(), name)
        found = openmetrics(cli("status", "--format", "openmetrics").out)
        assert of(found, "guarded_strategy_failures_total", strategy=read) == 1

    def test_what_a_text_has(self, cli: Command, bot: Bot) -> None:
        """Every family has help and type, and a unit where it is a time."""
        fail(bot())
        text = cli("status", "--format", "openmetrics").out
        families = parsed_families(text)
        assert all(family.documentation and family.type in ("gauge", "counter") for family in families)
        times = [family for family in families if family.name.endswith("_timestamp_seconds")]
        assert [family.unit for family in times] == ["seconds"] * len(times) != []

    def test_a_store_that_is_away(self, cli: Command) -> None:
        """A store that cannot be read is a metric too, and the exit status is 1."""
        done = cli("status", "--format", "openmetrics")
        assert done.status == 1
        assert openmetrics(done.out) == {("guarded_store_up", ()): 0}
        assert "there is no file" in done.err

    def test_another_output(self, bot: Bot, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Standard output may be anything that can be written to."""
        bot()
        output = io.StringIO()
        monkeypatch.setattr(sys, "stdout", output)
        assert main(["status", "--format", "openmetrics", "--store", f"sqlite:///{path}"]) == 0
        assert of(openmetrics(output.getvalue()), "guarded_store_up") == 1

    def test_the_encoding(self, bot: Bot, path: Path) -> None:
        """The text is UTF-8 with line feeds, whatever the locale."""
        fail(bot(), "日経")
        program = [sys.executable, "-m", "guarded", "status", "--format", "openmetrics", "--store", f"sqlite:///{path}"]
        done = subprocess.run(program, env={**os.environ, "PYTHONIOENCODING": "ascii"}, capture_output=True, check=True)
        assert 'strategy="日経"' in done.stdout.decode("utf-8")
        assert b"\r" not in done.stdout


class TestHistory:
    @pytest.fixture
    def failed(self, bot: Bot) -> datetime:
        """Three failures, one hour from the one to the next; returns when the last one was."""
        now = datetime.now(UTC)
        clock = FakeClock(now - timedelta(hours=2, minutes=30))
        tracker = bot(clock=clock, failure_threshold=99)
        fail(tracker, "VWAP", "AAPL", "one")
        clock.advance(timedelta(hours=1))
        tracker.record_failure("VWAP", "GOOG", ConnectionError("two"))
        clock.advance(timedelta(hours=1))
        fail(tracker, "RSI", "AAPL", "three")
        return clock.now()

    @pytest.mark.parametrize(
        ("filters", "found"),
        [
            ([], ["one", "two", "three"]),
            (["--strategy", "VWAP"], ["one", "two"]),
            (["--symbol", "AAPL"], ["one", "three"]),
            (["--strategy", "VWAP", "--symbol", "AAPL"], ["one"]),
            (["--type", "connection_error"], ["two"]),
            (["--since", "2h"], ["two", "three"]),
            (["--since", "100m"], ["two", "three"]),
            (["--since", "1900s"], ["three"]),
            (["--since", "7d"], ["one", "two", "three"]),
            (["--since", "2020-01-01"], ["one", "two", "three"]),
            (["--since", "2999-01-01T00:00:00+09:00"], []),
            (["--limit", "1"], ["three"]),
            (["--limit", "0"], ["one", "two", "three"]),
            (["--strategy", "VWAP", "--limit", "1"], ["two"]),
        ],
    )
    def test_filters(self, cli: Command, failed: datetime, filters: list[str], found: list[str]) -> None:
        """Failures are told by strategy, symbol, type and time, the newest last."""
        done = cli("history", *filters, "--json")
        assert done.status == 0
        assert [failure["error_message"] for failure in json.loads(done.out)] == found

    def test_a_time_is_exact(self, cli: Command, failed: datetime) -> None:
        """A time is meant as it says, in UTC if it does not say."""
        for text in (failed.isoformat(), failed.replace(tzinfo=None).isoformat()):
            assert len(json.loads(cli("history", "--since", text, "--json").out)) == 1
            later = (datetime.fromisoformat(text) + timedelta(microseconds=1)).isoformat()
            assert json.loads(cli("history", "--since", later, "--json").out) == []

    @pytest.mark.parametrize("since", ["yesterday", "15", "15 m", "-3h", "999999999d", "2025-13-01", ""])
    def test_no_time(self, cli: Command, bot: Bot, since: str) -> None:
        """What is no time ends with 2, and says what one looks like."""
        bot()
        done = cli("history", f"--since={since}")
        assert done.status == 2
        assert "expected a time such as 2025-11-11T14:25:30+00:00, or a span such as 30s, 15m, 2h or 7d" in done.err

    def test_no_type(self, cli: Command, bot: Bot) -> None:
        """A mistyped failure type ends with 2 and what was meant."""
        bot()
        done = cli("history", "--type", "dta_error")
        assert done.status == 2
        assert "did you mean 'data_error'?" in done.err

    def test_as_text(self, cli: Command, failed: datetime) -> None:
        """Each failure is one line, with time, strategy, symbol, type and error."""
        lines = [words(line) for line in cli("history").out.splitlines()]
        assert lines[0] == "at strategy symbol type error"
        assert lines[3] == f"{failed.isoformat(timespec='seconds')} RSI AAPL data_error ValueError: three"
        assert len(lines) == 4

    def test_an_error_without_a_class(self, cli: Command, bot: Bot) -> None:
        """A failure that was recorded as a text is shown by its text."""
        bot().record_failure("VWAP", "AAPL", "rejected by the host")
        assert words(cli("history").out).endswith("VWAP AAPL unknown_error rejected by the host")

    @pytest.mark.parametrize("trace", [[], ["--trace"]])
    def test_nothing(self, cli: Command, bot: Bot, trace: list[str]) -> None:
        """Where there is nothing, it says so."""
        bot()
        assert cli("history", *trace) == (0, "No such failures are on record.\n", "")

    def test_traces(self, cli: Command, bot: Bot) -> None:
        """`--trace` shows rule, context and stack trace of each failure."""
        tracker = bot()
        tracker.record_failure("VWAP", "AAPL", "rejected by the host", additional_context={"order": 7})
        fail(tracker)
        without, with_trace = cli("history", "--trace").out.split("\n\n")
        assert 'context {"order": 7}' in words(without)
        assert "no trace was kept" in without
        assert "Traceback (most recent call last):" in with_trace
        assert "rule" in with_trace
        assert "context" not in with_trace
        assert "raise ValueError(error)" in with_trace

    def test_traces_in_json(self, cli: Command, failed: datetime) -> None:
        """As JSON a failure is what `to_dict()` returns, its trace only with `--trace`."""
        failure = json.loads(cli("history", "--json", "--trace").out)[0]
        assert "ValueError: one" in failure.pop("stack_trace")
        assert json.loads(cli("history", "--json").out)[0] == failure


class TestHalt:
    def test_halting(self, cli: Command, bot: Bot) -> None:
        """`halt` halts everything for every process on the store, on the record, and ends with 0."""
        tracker = bot()
        done = cli("halt", "--by", "ana", "--reason", "drawdown of 12 %")
        assert done.status == 0
        assert done.err == ""
        assert done.out.startswith("Trading is halted for everything.\n\nHalt of everything\n")
        assert "level halted" in words(done.out)
        assert "reason drawdown of 12 % claimed by ana trigger manual" in words(done.out)
        assert halts(tracker) == {"everything": "drawdown of 12 %"}
        entry = stored(tracker).audit()[-1]
        assert (entry.action, entry.by, entry.reason) == ("halt", "ana", "drawdown of 12 %")

    @pytest.mark.parametrize(
        ("scope", "halted"),
        [
            (["--strategy", "VWAP"], "strategy VWAP"),
            (["--symbol", "AAPL"], "symbol AAPL"),
            (["--strategy", "VWAP", "--symbol", "AAPL"], "VWAP for AAPL"),
        ],
    )
    def test_a_scope(self, cli: Command, bot: Bot, scope: list[str], halted: str) -> None:
        """A strategy, a symbol, or the two together are halted alone."""
        tracker = bot()
        fail(tracker)
        done = cli("halt", "--by", "ana", "--reason", "drill", *scope, "--level", "reducing")
        assert done.status == 0
        assert f"Trading is halted for {halted}." in done.out
        assert "level reducing: calls marked reduce_only=True still run" in words(done.out)
        assert list(halts(tracker)) == [halted]

    def test_a_name_that_is_not_known(self, cli: Command, bot: Bot) -> None:
        """A name of which nothing has been recorded is halted, with a note; one like a known name with `--force`."""
        fail(tracker := bot())
        order = ["halt", "--by", "ana", "--reason", "drill", "--strategy"]
        done = cli(*order, "Momentum")
        assert (done.status, done.err) == (0, "guarded: nothing has been recorded of strategy 'Momentum' yet\n")
        assert cli(*order, "VWPA").status == 2
        assert halts(tracker) == {"strategy Momentum": "drill"}
        assert cli(*order, "VWPA", "--force")[::2] == (0, "")
        assert halts(tracker) == {"strategy Momentum": "drill", "strategy VWPA": "drill"}

    def test_twice(self, cli: Command, bot: Bot) -> None:
        """What is halted already stays so; the reason is added, and the exit status is 0."""
        tracker = bot()
        cli("halt", "--by", "ana", "--reason", "drawdown")
        done = cli("halt", "--by", "bob", "--reason", "no feed")
        assert done.status == 0
        assert "Trading was halted for everything already; the reason is added to that halt." in done.out
        assert halts(tracker) == {"everything": "drawdown; also by bob: no feed"}
        assert "reason drawdown; also by bob: no feed claimed by ana" in words(done.out)

    def test_stricter(self, cli: Command, bot: Bot) -> None:
        """A stricter level makes the halt stricter."""
        bot()
        cli("halt", "--by", "ana", "--reason", "drawdown", "--level", "reducing")
        done = cli("halt", "--by", "bob", "--reason", "no feed")
        assert done.status == 0
        assert done.out.startswith("The halt of everything is stricter now.")
        assert "reason drawdown; raised to halted by bob: no feed" in words(done.out)

    def test_json(self, cli: Command, bot: Bot) -> None:
        """As JSON it says what became of it, and how many processes are there to hear of it."""
        tracker = bot()
        fail(tracker)
        beat(tracker, has_callback=True)
        beat(tracker, 40, host="silent")
        order = ["halt", "--by", "ana", "--reason", "drill", "--symbol", "AAPL", "--json", "--level"]
        reports = [json.loads(cli(*order, level).out) for level in ("reducing", "halted", "halted")]
        assert [report["outcome"] for report in reports] == ["halted", "raised", "halted_already"]
        assert list(reports[0]) == [
            *("store", "at", "scope", "outcome", "halts", "processes", "processes_with_callback")
        ]
        assert [halt["by"] for halt in reports[0]["halts"]] == ["ana"]
        assert reports[0]["scope"] == {"strategy": None, "symbol": "AAPL"}
        assert (reports[0]["processes"], reports[0]["processes_with_callback"]) == (2, 1)

    def test_who_hears(self, cli: Command, bot: Bot) -> None:
        """It says how many processes hear of the halt; where none does, that it may be the wrong store."""
        tracker = bot()
        stored(tracker).close()
        order = ["halt", "--by", "ana", "--reason", "drill"]
        assert "No process is on this store at the moment: see that it is the one that the bots use." in cli(*order).out
        other = bot()
        assert "On the store: 1 process." in cli(*order).out
        beat(other)
        beat(other, 40, host="silent")
        assert "On the store: 2 processes." in cli(*order).out

    @pytest.mark.parametrize("blank", ["--by", "--reason"])
    @pytest.mark.parametrize("command", ["halt", "resume"])
    def test_on_the_record(self, cli: Command, bot: Bot, command: str, blank: str) -> None:
        """Without a name, or a reason, nothing is done; the exit status is 2."""
        tracker = bot()
        tracker.halt_manager.trigger_halt("drill", symbol="AAPL")
        given = {"--by": "ana", "--reason": "drill"} | {blank: " "}
        done = cli(command, *(part for item in given.items() for part in item))
        assert done.status == 2
        assert "on the record, so say who and why" in done.err
        del given[blank]
        assert cli(command, *(part for item in given.items() for part in item)).status == 2
        assert halts(tracker) == {"symbol AAPL": "drill"}

    def test_no_such_level(self, cli: Command, bot: Bot) -> None:
        """A level that does not exist ends with 2."""
        bot()
        assert cli("halt", "--by", "ana", "--reason", "drill", "--level", "full").status == 2

    @pytest.mark.parametrize(("command", "what"), [("halt", "halted"), ("resume", "resumed")])
    def test_a_store_that_goes_away(
        self, cli: Command, bot: Bot, monkeypatch: pytest.MonkeyPatch, command: str, what: str
    ) -> None:
        """An order that may not have reached the store ends with 1 and says so."""
        bot().halt_manager.trigger_halt("drill")

        def gone(*_arguments: object) -> Any:
            raise StoreUnavailable("the disk is on fire")

        monkeypatch.setattr(_File, "commit", gone)
        done = cli(command, "--by", "ana", "--reason", "drill over")
        assert (done.status, done.out) == (1, "")
        assert done.err == (
            f"guarded: whether trading is {what} is not known, for the store went away: the disk is on fire."
            " Ask `guarded status`\n"
        )


class TestResume:
    def test_resuming(self, cli: Command, bot: Bot) -> None:
        """`resume` ends the halt of everything, on the record; where nothing stays halted it ends with 0."""
        tracker = bot()
        tracker.halt_manager.trigger_halt("drawdown", by="bob")
        since = tracker.halts[0].since.isoformat(timespec="seconds")
        done = cli("resume", "--by", "ana", "--reason", "positions are flat")
        assert (done.status, done.err) == (0, "")
        assert done.out.splitlines() == [
            "Trading is resumed for everything, claimed by ana: positions are flat",
            f"It was halted since {since}: drawdown",
            "Nothing is halted.",
        ]
        assert halts(tracker) == {}
        assert stored(tracker).audit()[-1].by == "ana"

    def test_what_stays_halted(self, cli: Command, bot: Bot) -> None:
        """What stays halted is shown, and the exit status is 3 until nothing is."""
        tracker = bot()
        for scope in ({}, {"strategy": "VWAP"}, {"symbol": "AAPL"}, {"strategy": "VWAP", "symbol": "AAPL"}):
            tracker.halt_manager.trigger_halt("drill", **scope)
        done = cli("resume", "--by", "ana", "--reason", "drill over")
        assert done.status == 3
        assert "Still halted:" in done.out
        left = [line for line in done.out.splitlines() if line.startswith("Halt of ")]
        assert sorted(left) == ["Halt of VWAP for AAPL", "Halt of strategy VWAP", "Halt of symbol AAPL"]
        order = ["resume", "--by", "ana", "--reason", "drill over"]
        assert cli(*order, "--strategy", "VWAP").status == 3
        assert cli(*order, "--symbol", "AAPL").status == 3
        assert cli(*order, "--symbol", "AAPL", "--strategy", "VWAP").status == 0

    def test_what_is_not_halted(self, cli: Command, bot: Bot) -> None:
        """Resuming what is not halted says so; the exit status tells whether anything else is."""
        tracker = bot()
        fail(tracker)
        order = ["resume", "--by", "ana", "--reason", "drill over", "--strategy", "VWAP"]
        done = cli(*order)
        assert done == (0, "Nothing is resumed: there is no halt of strategy VWAP.\nNothing is halted.\n", "")
        tracker.halt_manager.trigger_halt("drill")
        done = cli(*order)
        assert done.status == 3
        assert done.out.startswith("Nothing is resumed: there is no halt of strategy VWAP.\n\nStill halted:\n")
        assert halts(tracker) == {"everything": "drill"}

    def test_json(self, cli: Command, bot: Bot) -> None:
        """As JSON it says whether there was something to resume, what that was, and what stays halted."""
        tracker = bot()
        tracker.halt_manager.trigger_halt("earlier")
        tracker.resume(by="bob", reason="over")
        tracker.halt_manager.trigger_halt("drill")
        tracker.halt_manager.trigger_halt("maintenance", symbol="AAPL")
        order = ["resume", "--by", "ana", "--reason", "drill over", "--json"]
        first, second = (json.loads(cli(*order).out) for _ in range(2))
        assert list(first) == ["store", "at", "scope", "resumed", "ended", "halts"]
        assert first["resumed"] is True
        ended = {name: first["ended"][name] for name in ("reason", "resumed_by", "resume_reason")}
        assert ended == {"reason": "drill", "resumed_by": "ana", "resume_reason": "drill over"}
        assert datetime.fromisoformat(first["ended"]["resumed_at"]).utcoffset() == timedelta()
        assert [halt["reason"] for halt in first["halts"]] == ["maintenance"]
        assert (second["resumed"], second["ended"]) == (False, None)


class TestAudit:
    def test_entries(self, cli: Command, bot: Bot) -> None:
        """Who did what is told with what is claimed and what is known, the newest last."""
        tracker = bot()
        cli("halt", "--by", "ana", "--reason", "drawdown")
        cli("resume", "--by", "bob", "--reason", "positions are flat")
        done = cli("audit")
        assert done.status == 0
        start, halt, resume = done.out.splitlines()[1:]
        kept = stored(tracker).audit()[-1].to_dict()
        place = f"(host {kept['host']}, pid {os.getpid()}, os user {kept['os_user']};"
        assert f"start  {place} reset_window 300.0;" in start
        assert f"halt of everything, claimed by ana: drawdown  {place} level halted;" in halt
        assert f"resume of everything, claimed by bob: positions are flat  {place}" in resume
        assert all(datetime.fromisoformat(line.split()[0]).utcoffset() == timedelta() for line in (start, halt, resume))

    def test_one_action(self, cli: Command, bot: Bot) -> None:
        """`--action` tells of one kind of action only."""
        tracker = bot()
        tracker.reset()
        set_mode("off").__exit__(None, None, None)
        entries = json.loads(cli("audit", "--action", "mode", "--json").out)
        assert [entry["details"]["mode"] for entry in entries] == ["off", "on"]
        assert [entry["action"] for entry in json.loads(cli("audit", "--json").out)] == [
            *("start", "reset", "mode", "mode")
        ]
        assert cli("audit", "--action", "resume") == (0, "No such entries are in the audit.\n", "")

    def test_no_such_action(self, cli: Command, bot: Bot) -> None:
        """A mistyped action ends with 2 and what was meant."""
        bot()
        done = cli("audit", "--action", "resmue")
        assert done.status == 2
        assert "--action='resmue': expected one of 'halt', 'resume'" in done.err
        assert "did you mean 'resume' or" in done.err

    def test_limit(self, cli: Command, bot: Bot) -> None:
        """The newest fifty are told, or so many as are asked for; 0 is all of them."""
        tracker = bot()
        for _ in range(60):
            tracker.reset()
        for limit, told in ([], 50), (["--limit", "3"], 3), (["--limit", "0"], 61):
            assert len(json.loads(cli("audit", "--json", *limit).out)) == told
        assert cli("audit", "--limit", "-1").status == 2

    def test_json(self, cli: Command, bot: Bot) -> None:
        """As JSON an entry is what `to_dict()` returns."""
        tracker = bot()
        tracker.halt_manager.trigger_halt("drill", by="ana", symbol="AAPL")
        entries = json.loads(cli("audit", "--json").out)
        assert entries == [entry.to_dict() for entry in stored(tracker).audit()]
        assert entries[1]["claimed_by"] == "ana"


class TestExplain:
    def test_json(self, cli: Command) -> None:
        """As JSON an explanation has the fields of `Explanation`, and notes."""
        done = cli("explain", "builtins:KeyError", "--json", store=None)
        assert done.status == 0
        explanation = json.loads(done.out)
        assert explanation["failure_type"] == "data_error"
        assert explanation["notes"] == []

    def test_it_needs_no_store(self, cli: Command) -> None:
        """It works without a store."""
        assert cli("explain", "builtins:KeyError", store=None).out.startswith("KeyError counts as data_error")


class TestScreen:
    @pytest.fixture
    def hostile(self, bot: Bot) -> str:
        """Failures, halts and entries whose texts hold markup, escape sequences and line breaks; returns the text."""
        text = f"[red]x[/] :smile: {ESCAPE}\u202e\ud800\nend"
        tracker = bot()
        tracker.record_failure(text, text, text, additional_context={text: text})
        fail(tracker, text, text, text)
        tracker.halt_manager.trigger_halt(text, text, strategy=text, symbol=text, by=text)
        succeed(tracker, text, text)
        beat(tracker, host=text.replace("\ud800", ""))
        return text

    @pytest.mark.parametrize(
        "command",
        [["status"], ["history"], ["history", "--trace"], ["audit"], ["halt", "--by", "\x1b[2J", "--reason", "[b]y"]],
    )
    @pytest.mark.parametrize("on_terminal", [False, True])
    def test_texts_are_literal(
        self, hostile: str, path: Path, monkeypatch: pytest.MonkeyPatch, command: list[str], on_terminal: bool
    ) -> None:
        """Markup in names, reasons and messages is shown as it is; what moves cursors or hides text is escaped."""
        screen = Terminal(monkeypatch) if on_terminal else io.StringIO()
        monkeypatch.setattr(sys, "stdout", screen)
        monkeypatch.setenv("COLUMNS", "5000")
        main([*command, "--store", f"sqlite:///{path}"])
        shown = re.sub(r"\x1b\[[0-9;]*m", "", screen.getvalue())  # the terminal's colours
        assert "\x1b" not in shown
        assert "\u202e" not in shown
        shown.encode()
        if command[0] != "halt":
            assert "[red]x[/] :smile: \\x1b[2J\\u202e" in shown
        else:
            assert "claimed by  \\x1b[2J" in shown
            assert "[b]y" in shown

    @pytest.mark.parametrize("command", [["status", "--json"], ["history", "--json", "--trace"], ["audit", "--json"]])
    def test_json_is_ascii(self, cli: Command, hostile: str, command: list[str]) -> None:
        """JSON holds no such character either, and reads back as the text."""
        done = cli(*command)
        assert done.out.isascii()
        assert "\x1b" not in done.out
        assert "[red]x[/]" in str(json.loads(done.out))

    def test_errors_are_one_line(self, cli: Command, bot: Bot) -> None:
        """A name in an error's text cannot break its line or reach the terminal."""
        bot()
        done = cli("history", "--strategy", f"a\n{ESCAPE}")
        assert done.err == "guarded: no strategy 'a\\n\\x1b[2J' is known here\n"

    def test_nothing_is_cut_off(self, cli: Command, bot: Bot) -> None:
        """What is piped is neither folded nor cut: each entry is one line, and nothing trails it."""
        tracker = bot()
        text = "word " * 390 + "end"
        fail(tracker, error=text)
        fail(tracker)
        cli("halt", "--by", "ana", "--reason", text)
        for command in ("status", "history", "audit"):
            out = cli(command).out
            assert any(text in line for line in out.splitlines())
            assert all(line == line.rstrip() for line in out.splitlines())

    def test_a_terminal_folds(self, bot: Bot, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """On a terminal texts are folded to its width, and whole all the same."""
        text = "-".join(f"{number}" for number in range(200))
        fail(bot(), error=text)
        terminal = Terminal(monkeypatch)
        assert main(["history", "--store", f"sqlite:///{path}"]) == 0
        lines = terminal.getvalue().splitlines()
        assert len(lines) > 10
        assert text in "".join("".join(lines[1:]).split())

    def test_colours(self, bot: Bot, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """Colours are for terminals, unless NO_COLOR is set."""
        bot().halt_manager.trigger_halt("drill")
        terminal = Terminal(monkeypatch)
        assert main(["status", "--store", f"sqlite:///{path}"]) == 3
        assert "\x1b[1;31mHALTED\x1b[0m" in terminal.getvalue()
        monkeypatch.setenv("NO_COLOR", "1")
        terminal.truncate(0)
        main(["status", "--store", f"sqlite:///{path}"])
        assert "\x1b[1;31m" not in terminal.getvalue()

    def test_no_colours_elsewhere(self, cli: Command, bot: Bot, monkeypatch: pytest.MonkeyPatch) -> None:
        """What is piped has no colours, whatever the environment asks for."""
        bot().halt_manager.trigger_halt("drill")
        monkeypatch.setenv("FORCE_COLOR", "1")
        assert "\x1b" not in cli("status").out

    def test_an_encoding_without_the_letters(self, bot: Bot, path: Path) -> None:
        """What the encoding of standard output does not have is escaped."""
        fail(bot(), "日経")
        program = [sys.executable, "-m", "guarded", "history", "--store", f"sqlite:///{path}"]
        done = subprocess.run(
            program, env={**os.environ, "PYTHONIOENCODING": "ascii"}, capture_output=True, text=True, check=True
        )
        assert "\\u65e5\\u7d4c" in done.stdout
