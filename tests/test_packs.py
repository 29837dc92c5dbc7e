"""Rule packs: their format and its errors, and what the built-in pack says of exceptions that Python really raises."""

# ruff: noqa: S310, S321  # what urllib and ftplib raise is the subject; nothing leaves this machine
from __future__ import annotations

import asyncio
import base64
import binascii
import bz2
import collections
import concurrent.futures
import configparser
import contextlib
import csv
import ctypes
import dataclasses
import datetime as dt
import decimal
import errno
import fractions
import ftplib
import getopt
import graphlib
import gzip
import hmac
import http.client
import imaplib
import importlib
import io
import ipaddress
import json
import logging
import logging.config
import lzma
import math
import multiprocessing
import netrc
import os
import pickle
import poplib
import queue
import random
import re
import shutil
import smtplib
import socket
import sqlite3
import ssl
import statistics
import struct
import subprocess
import sys
import tarfile
import threading
import time
import tomllib
import urllib.error
import urllib.parse
import urllib.request
import uuid
import weakref
import xml.etree.ElementTree as ET
import xmlrpc.client
import zipfile
import zlib
import zoneinfo
from email.message import Message
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from failure_types import CONFIGURATION, CONNECTION, DATA, STRATEGY, UNKNOWN
from raising import raised_through

import guarded
from guarded import _packs, _plans
from guarded._errors import InvalidConfiguration, SignalRejected, StoreUnavailable
from guarded._failure import FailureType
from guarded._libraries import LIBRARIES, pack_of
from guarded._matching import Action
from guarded._packs import BUILT_IN, built_in
from guarded._rules import FailureRules

if TYPE_CHECKING:
    from collections.abc import Callable


# Names that the pack has for the sake of some versions or systems only.
NOT_EVERYWHERE = {
    "_tkinter.TclError",
    "asyncio.QueueShutDown",
    "builtins.PythonFinalizationError",
    "queue.ShutDown",
    "re.PatternError",
    "tkinter.TclError",
}


class Side(Enum):
    BUY = 1


@dataclasses.dataclass(frozen=True)
class Frozen:
    price: float = 1.0


@pytest.fixture(scope="module")
def rules() -> FailureRules:
    return FailureRules()


def caught(raises: Callable[[], Any]) -> BaseException:
    try:
        raises()
    except BaseException as error:  # noqa: BLE001  # the point is to get at it
        return error
    raise AssertionError("it raised nothing")


def raising(error: Exception) -> Callable[[], None]:
    def raises() -> None:
        raise error

    return raises


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def http_error(status: int) -> urllib.error.HTTPError:
    return urllib.error.HTTPError("http://127.0.0.1/", status, "as sent", Message(), io.BytesIO())


# -- the built-in pack: what Python raises ---------------------------------------------------------------------------


def changes_while_iterating() -> None:
    positions = {"AAPL": 1}
    for symbol in positions:
        positions[symbol + "X"] = 1


def generator_that_stops() -> None:
    def ticks() -> Any:
        yield next(iter([]))

    list(ticks())


def run_in_loop() -> None:
    async def main() -> None:
        pause = asyncio.sleep(0)
        try:
            asyncio.run(pause)
        finally:
            pause.close()

    asyncio.run(main())


def awaited_twice() -> None:
    async def main() -> None:
        pause = asyncio.sleep(0)
        await pause
        await pause

    asyncio.run(main())


def dead_proxy() -> None:
    weakref.proxy(Message()).keys()


def held_buffer() -> None:
    ticks = bytearray(8)
    with memoryview(ticks):
        ticks.append(1)


def not_connected() -> None:
    with socket.socket() as mine:
        mine.getpeername()


def too_few_fields() -> None:
    price, size, side = json.loads("[1, 2]")
    del price, size, side


def submit_after_shutdown() -> None:
    pool = concurrent.futures.ThreadPoolExecutor(1)
    pool.shutdown()
    pool.submit(int)


def result_set_twice() -> None:
    future: concurrent.futures.Future[int] = concurrent.futures.Future()
    future.set_result(1)
    future.set_result(1)


def started_twice() -> None:
    thread = threading.Thread(target=int)
    thread.start()
    thread.join()
    thread.start()


def context_that_yields_nothing() -> None:
    @contextlib.contextmanager
    def session() -> Any:
        yield from ()

    with session():
        pass


def used_after_close() -> None:
    with contextlib.closing(sqlite3.connect(":memory:")) as database:
        pass
    database.execute("select 1")


def read_after_close() -> None:
    with io.StringIO() as file:
        pass
    file.read()


def sql(statement: str) -> None:
    with contextlib.closing(sqlite3.connect(":memory:")) as database:
        database.execute(statement)


def duplicate_row() -> None:
    with contextlib.closing(sqlite3.connect(":memory:")) as database:
        database.execute("create table bars (ts unique)")
        database.execute("insert into bars values (1)")
        database.execute("insert into bars values (1)")


def line_too_long() -> None:
    async def main() -> None:
        reader = asyncio.StreamReader(limit=4)
        reader.feed_data(b"0123456789")
        await reader.readuntil(b"\n")

    asyncio.run(main())


def cut_short() -> None:
    async def main() -> None:
        reader = asyncio.StreamReader()
        reader.feed_eof()
        await reader.readexactly(4)

    asyncio.run(main())


def no_answer() -> None:
    async def main() -> None:
        await asyncio.wait_for(asyncio.Event().wait(), 0)

    asyncio.run(main())


def pipe_hung_up() -> None:
    mine, theirs = multiprocessing.Pipe()
    theirs.close()
    with mine:
        mine.recv()


def header(value: Any) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", 9)
    connection.putrequest("GET", "/")
    connection.putheader("X-Key", value)


def settings(text: str) -> configparser.ConfigParser:
    parser = configparser.ConfigParser()
    parser.read_string(text)
    return parser


def sorted_in_a_cycle() -> None:
    tuple(graphlib.TopologicalSorter({1: [2], 2: [1]}).static_order())


def bound_twice() -> None:
    with socket.socket() as first, socket.socket() as second:
        first.bind(("127.0.0.1", 0))
        first.listen()
        second.bind(first.getsockname())


def cancelled_future() -> None:
    future: concurrent.futures.Future[int] = concurrent.futures.Future()
    future.cancel()
    future.result()


def full_queue() -> None:
    one: queue.Queue[int] = queue.Queue(1)
    one.put(1)
    one.put_nowait(2)


BUGS: dict[str, Callable[[], Any]] = {
    "HTTP 400": raising(http_error(400)),
    "division by zero": lambda: 1 / 0,
    "decimal division by zero": lambda: decimal.Decimal(1) / 0,
    "decimal of nothing by nothing": lambda: decimal.Decimal(0) / 0,
    "overflow": lambda: math.exp(1e9),
    "outside the domain": lambda: math.sqrt(-1),
    "wrong type": lambda: 1 + "a",  # type: ignore[operator]  # on purpose
    "attribute of None": lambda: None.quantity,  # type: ignore[attr-defined]  # on purpose
    "unknown name": lambda: eval("fast_ma"),  # noqa: S307  # to raise what the compiler would
    "syntax": lambda: compile("def next(self)", "strategy.py", "exec"),
    "relative import": lambda: exec("from . import risk", {"__name__": "strategy", "__package__": ""}),  # noqa: S102  # to raise it
    "frozen": lambda: setattr(Frozen(), "price", 2.0),
    "changed while iterating": changes_while_iterating,
    "generator that stops": generator_that_stops,
    "exhausted": lambda: next(iter([])),
    "asyncio.run in a loop": run_in_loop,
    "no event loop": asyncio.get_running_loop,
    "awaited twice": awaited_twice,
    "dead weak reference": dead_proxy,
    "held buffer": held_buffer,
    "submit after shutdown": submit_after_shutdown,
    "no workers": lambda: concurrent.futures.ThreadPoolExecutor(0),
    "future resolved twice": result_set_twice,
    "thread started twice": started_twice,
    "lock not held": lambda: threading.Lock().release(),
    "condition not held": lambda: threading.Condition().notify(),
    "context manager without yield": context_that_yields_nothing,
    "unknown enum member": lambda: Side("BUYY"),
    "unserialisable": lambda: json.dumps({1, 2}),
    "closed database": used_after_close,
    "closed file": read_after_close,
    "closed file number": lambda: os.close(10_000),
    "format code": lambda: f"{1:zz}",
    "sample too large": lambda: random.sample([1], 5),
    "negative sleep": lambda: time.sleep(-1),
    "step of zero": lambda: range(1, 2, 0),
    "regular expression": lambda: re.compile("("),
    "cycle": sorted_in_a_cycle,
    "not writable": lambda: io.BytesIO().fileno(),
    "unpicklable": lambda: pickle.dumps(lambda: 0),
    "wrong SQL": lambda: sql("selec 1"),
    "missing SQL parameter": lambda: sql("select ?"),
    "encoding that cannot": lambda: "é".encode("ascii"),
    "queue full": full_queue,
    "reply before request": lambda: http.client.HTTPConnection("127.0.0.1").getresponse(),
    "no such procedure": raising(xmlrpc.client.Fault(xmlrpc.client.METHOD_NOT_FOUND, "?")),
    "mail command too early": raising(imaplib.IMAP4.error("command SEARCH illegal in state AUTH")),
}
DIRT: dict[str, Callable[[], Any]] = {
    "no JSON": lambda: json.loads("<html>"),
    "no CSV": lambda: list(csv.reader(['"abc'], strict=True)),
    "no XML": lambda: ET.fromstring("<a>"),  # noqa: S314  # it is a literal
    "no zip": lambda: zipfile.ZipFile(io.BytesIO(b"<html>")),
    "no gzip": lambda: gzip.decompress(b"<html>"),
    "gzip cut short": lambda: gzip.decompress(gzip.compress(b"bars" * 99)[:20]),
    "no bzip2": lambda: bz2.decompress(b"<html>"),
    "no xz": lambda: lzma.decompress(b"<html>"),
    "no zlib": lambda: zlib.decompress(b"<html>"),
    "no tar": lambda: tarfile.TarFile(fileobj=io.BytesIO(b"x" * 600)),
    "no pickle": lambda: pickle.loads(b"<html>"),  # noqa: S301  # it is a literal
    "empty pickle": lambda: pickle.loads(b""),  # noqa: S301  # it is a literal
    "struct too short": lambda: struct.unpack("<I", b"ab"),
    "no hex": lambda: binascii.unhexlify("zz"),
    "no float": lambda: float("N/A"),
    "no int": lambda: int(""),
    "NaN as int": lambda: int(float("nan")),
    "no decimal": lambda: decimal.Decimal("N/A"),
    "no fraction": lambda: fractions.Fraction("N/A"),
    "no UUID": lambda: uuid.UUID("x"),
    "no UTF-8": b"\xff".decode,
    "too few fields": too_few_fields,
    "no date": lambda: dt.datetime.strptime("soon", "%Y"),  # noqa: DTZ007  # it does not get that far
    "no such month": lambda: dt.date(2024, 13, 1),
    "no such day": lambda: dt.date(2024, 2, 30),
    "field missing": lambda: json.loads("{}")["close"],
    "too few bars": lambda: json.loads("[]")[0],
    "nothing left": lambda: collections.deque().pop(),
    "mean of nothing": lambda: statistics.mean([]),
    "maximum of nothing": lambda: max([]),
    "no tick in time": lambda: queue.Queue().get_nowait(),
    "no tick in this loop": lambda: asyncio.Queue().get_nowait(),
    "message too long": line_too_long,
    "no such file": lambda: Path("no-such-folder/BTCUSDT-1h.csv").read_text(encoding="utf-8"),
    "no such table": lambda: sql("select * from bars"),
    "duplicate row": duplicate_row,
    "HTTP 404": raising(http_error(404)),
    "FTP 550": raising(ftplib.error_perm("550 eod.csv: no such file")),
    "no XML-RPC": raising(xmlrpc.client.ResponseError()),
}
LINK: dict[str, Callable[[], Any]] = {
    "refused": lambda: socket.create_connection(("127.0.0.1", closed_port())),
    "refused, by urllib": lambda: urllib.request.urlopen(f"http://127.0.0.1:{closed_port()}/"),
    "refused, by smtplib": lambda: smtplib.SMTP("127.0.0.1", closed_port()),
    "refused, by asyncio": lambda: asyncio.run(asyncio.open_connection("127.0.0.1", closed_port())),
    "host without address": raising(socket.gaierror(socket.EAI_NONAME, "not known")),
    "not connected": not_connected,
    "network away": raising(OSError(errno.ENETUNREACH, "Network is unreachable")),
    "without a number": raising(OSError("Multiple exceptions: [Errno 111] refused")),
    "no answer in time": no_answer,
    "future not done in time": lambda: concurrent.futures.Future().result(0),
    "worker not done in time": raising(multiprocessing.TimeoutError()),
    "reply cut short": cut_short,
    "peer hung up": pipe_hung_up,
    "no HTTP": raising(http.client.BadStatusLine("SSH-2.0")),
    "TLS": raising(ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number")),
    "certificate": raising(ssl.SSLCertVerificationError(1, "certificate verify failed")),
    "SMTP 421": raising(smtplib.SMTPConnectError(421, "try later")),
    "FTP 421": raising(ftplib.error_temp("421 Service not available")),
    "database locked": raising(sqlite3.OperationalError("database is locked")),
    "HTTP redirects": raising(http_error(302)),
    "HTTP 429": raising(http_error(429)),
    "HTTP 503": raising(http_error(503)),
    "HTTP 520": raising(http_error(520)),
    "store away": raising(StoreUnavailable("ledger.db is gone")),
}
SETTINGS: dict[str, Callable[[], Any]] = {
    "environment": lambda: os.environ["NO_SUCH_VARIABLE"],
    "no module": lambda: importlib.import_module("no_such_module"),
    "no name in module": lambda: exec("from math import hull_moving_average"),  # noqa: S102  # to raise it
    "no section": lambda: settings("[a]\nb = 1").get("exchange", "key"),
    "no section, as a mapping": lambda: settings("[a]\nb = 1")["exchange"],
    "no option": lambda: settings("[a]\nb = 1").get("a", "key"),
    "no option, as a mapping": lambda: settings("[a]\nb = 1")["a"]["key"],
    "no number": lambda: settings("[a]\nb = lots").getint("a", "b"),
    "no truth value": lambda: settings("[a]\nb = lots").getboolean("a", "b"),
    "no header": lambda: settings("b = 1"),
    "no TOML": lambda: tomllib.loads("a = "),
    "TOML that is no text": lambda: tomllib.load(io.BytesIO(b"a = '\xff'")),
    "no time zone": lambda: zoneinfo.ZoneInfo("America/Wall_Street"),
    "no time zone's name": lambda: zoneinfo.ZoneInfo("../../etc/passwd"),
    "no logging handler": lambda: logging.config.dictConfig({"version": 1, "root": {"handlers": ["f"]}}),
    "no logging version": lambda: logging.config.dictConfig({}),
    "no logging level": lambda: logging.getLogger("guarded").setLevel("LOUD"),
    "no folder for the log": lambda: logging.FileHandler("no-such-folder/bot.log"),
    "no secret": lambda: hmac.new(None, b"", "sha256"),  # type: ignore[call-overload]  # on purpose
    "secret that is no ASCII": lambda: base64.b64decode("é"),
    "secret that is no base64": lambda: base64.b64decode("abc"),
    "header that is not set": lambda: header(None),
    "header of two lines": lambda: header("key\nkey"),
    "no library": lambda: ctypes.CDLL("libno_such_gateway.so.9"),
    "no client certificate": lambda: ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain("no-such-folder/client"),
    "no certificates": lambda: ssl.create_default_context(cafile="no-such-folder/ca"),
    "no program": lambda: subprocess.run(["no-such-program"], check=False),  # noqa: S607  # there is none
    "no settings file": lambda: Path("no-such-folder/settings.yaml").read_text(encoding="utf-8"),
    "no permission": raising(PermissionError(errno.EACCES, "Permission denied")),
    "port in use": bound_twice,
    "no port": lambda: http.client.HTTPConnection("127.0.0.1:http"),
    "no URL": lambda: urllib.request.urlopen("api.exchange"),
    "no such scheme": lambda: urllib.request.urlopen("wss://127.0.0.1/"),
    "no port in the URL": lambda: urllib.parse.urlsplit("http://127.0.0.1:http/").port,
    "no host name": lambda: "a..b".encode("idna"),
    "no IP address": lambda: ipaddress.ip_address("999.1.1.1"),
    "no encoding": lambda: "x".encode("utf-9"),
    "no option of the command line": lambda: getopt.getopt(["-z"], "a"),
    "SMTP 535": raising(smtplib.SMTPAuthenticationError(535, "rejected")),
    "FTP 530": raising(ftplib.error_perm("530 Login incorrect.")),
    "IMAP login": raising(imaplib.IMAP4.error("[AUTHENTICATIONFAILED] no")),
    "POP login": raising(poplib.error_proto("-ERR [AUTH] invalid login")),
    "netrc": raising(netrc.NetrcParseError("bad toplevel token", ".netrc", 1)),
    "no path to the database": lambda: sqlite3.connect("no-such-folder/bars.db"),
    "HTTP 401": raising(http_error(401)),
    "HTTP 451": raising(http_error(451)),
    "guarded's own": raising(InvalidConfiguration("failure_threshold=0")),
}
MACHINE: dict[str, Callable[[], Any]] = {
    "no memory": raising(MemoryError()),
    "disk full": raising(OSError(errno.ENOSPC, "No space left on device")),
    "too many files": raising(OSError(errno.EMFILE, "Too many open files")),
    "no more threads": raising(RuntimeError("can't start new thread")),
    "program failed": lambda: subprocess.run([sys.executable, "-c", "raise SystemExit(3)"], check=True),
    "cancelled future": cancelled_future,
    "deprecated": raising(DeprecationWarning("use the other one")),
    "no hint": raising(Exception()),
    "hardly a hint": raising(RuntimeError("failed")),
    "FTP 552": raising(ftplib.error_perm("552 storage exceeded")),
    "some fault": raising(xmlrpc.client.Fault(4, "too many parameters")),
}


REAL = [
    *[pytest.param(raises, STRATEGY, id=name) for name, raises in BUGS.items()],
    *[pytest.param(raises, DATA, id=name) for name, raises in DIRT.items()],
    *[pytest.param(raises, CONNECTION, id=name) for name, raises in LINK.items()],
    *[pytest.param(raises, CONFIGURATION, id=name) for name, raises in SETTINGS.items()],
    *[pytest.param(raises, UNKNOWN, id=name) for name, raises in MACHINE.items()],
]


@pytest.mark.parametrize(("raises", "expected"), REAL)
def test_what_python_raises_gets_the_type_that_the_documentation_gives_it(
    rules: FailureRules, raises: Callable[[], Any], expected: FailureType
) -> None:
    """What Python itself raises gets the type that fits what its documentation says of it."""
    explanation = rules.explain(caught(raises))

    assert explanation.action is Action.COUNT
    assert explanation.failure_type is expected, str(explanation)


def test_a_rejected_signal_is_a_matter_of_data(rules: FailureRules) -> None:
    """A signal that did not pass its validation counts as data_error, unless the user's rules say otherwise."""
    rejected = SignalRejected("VWAP: nan is not finite")

    assert rules.classify(rejected) is DATA
    assert rules.copy().map("guarded.SignalRejected", STRATEGY).classify(rejected) is STRATEGY


def test_leaving_the_debugger_goes_through() -> None:
    """Whoever leaves the debugger leaves the guarded code."""
    import bdb  # noqa: PLC0415  # its name has to be one that is loaded

    explanation = FailureRules().explain(bdb.BdbQuit())

    assert explanation.action is Action.PROPAGATE
    assert explanation.pack == "builtin"


def names_in(pack: str) -> list[str]:
    return sorted({target for rule in built_in(pack) for target in rule.targets if isinstance(target, str)})


@pytest.mark.parametrize("name", sorted(set(names_in("builtin")) - NOT_EVERYWHERE))
def test_every_name_in_the_pack_of_the_standard_library_exists(name: str) -> None:
    """Every class that Python's own pack names exists under that name, or was defined under it."""
    holder, _, rest = name.partition(".")
    found: Any = importlib.import_module(holder)
    for part in rest.split("."):
        if not hasattr(found, part):
            importlib.import_module(f"{found.__name__}.{part}")
        found = getattr(found, part)
    classes = found if isinstance(found, tuple) else (found,)

    assert all(issubclass(kind, Exception) for kind in classes)


def test_built_in_packs_are_read_once_per_process() -> None:
    """A built-in pack is parsed once, however many sets of rules there are."""
    assert built_in("builtin") is built_in("builtin")


def test_built_in_packs_are_read_when_they_are_needed() -> None:
    """Making rules reads nothing; the first classification reads what is of no listed library, and no other pack."""
    script = (
        "from guarded import _packs; read = []; parsed = _packs.parsed;"
        "_packs.parsed = lambda name: read.append(name) or parsed(name);"
        "from guarded import FailureRules; rules = FailureRules(); before = [*read];"
        "rules.classify(KeyError()); print(before, sorted(read))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "[] ['builtin', 'general']"


def test_a_pack_is_read_when_an_exception_is_of_its_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """The pack for a library is read when an exception is of that library, or was raised in it, and not before."""
    read: list[str] = []

    def reading(name: str) -> object:
        read.append(name)
        return built_in(name)

    monkeypatch.setattr(_plans, "built_in", reading)
    rules = FailureRules()
    rules.classify(KeyError())
    assert read == ["general", "builtin"]

    assert rules.classify(raised_through("strategy", "redis.connection")) is CONFIGURATION
    assert read == ["general", "builtin", "redis"]

    rules.classify(type("CatalogException", (Exception,), {"__module__": "_duckdb"})())
    assert read == ["general", "builtin", "redis", "duckdb"]


def test_what_was_parsed_is_kept_for_the_next_process(tmp_path: Path) -> None:
    """A pack is parsed once per machine: it is kept where Python keeps its own, and read anew when it has changed."""
    folder = tmp_path / "guarded"
    shutil.copytree(Path(guarded.__file__).parent, folder, ignore=shutil.ignore_patterns("__pycache__"))
    script = (
        "import sys; from guarded import FailureRules; print(FailureRules().explain(KeyError()).reason,"
        " 'tomllib' in sys.modules, sep='|')"
    )

    def run() -> list[str]:
        environment = {**os.environ, "PYTHONPATH": str(tmp_path), "PYTHONDONTWRITEBYTECODE": ""}
        done = subprocess.run(
            [sys.executable, "-c", script], capture_output=True, text=True, check=True, env=environment, cwd=tmp_path
        )
        return done.stdout.strip().split("|")

    assert [run()[1], run()[1]] == ["True", "False"]
    pack = folder / "packs" / "builtin.toml"
    pack.write_text(pack.read_text(encoding="utf-8").replace("a row, column or field", "something"), encoding="utf-8")
    assert run() == ["something that was expected is missing", "True"]


# -- all packs -------------------------------------------------------------------------------------------------------

PACKS = Path(_packs.__file__).parent / "packs"
NAMES: dict[str, dict[str, str]] = json.loads(
    (Path(__file__).parent / "corpus" / "names.json").read_text(encoding="utf-8")
)


def test_every_pack_is_about_some_library() -> None:
    """Every file among the packs is that of a library, of Python or of the general rules, and the other way round."""
    assert {path.stem for path in PACKS.glob("*.toml")} == set(BUILT_IN)


@pytest.mark.parametrize("pack", BUILT_IN)
def test_every_pack_says_what_it_was_written_against(pack: str) -> None:
    """A pack has its file's name, says what it is about, for which versions, and where its library lists its errors."""
    content = tomllib.loads((PACKS / f"{pack}.toml").read_text(encoding="utf-8"))
    sources = content["source"] if isinstance(content["source"], list) else [content["source"]]

    assert content["pack"] == pack
    assert content["about"]
    assert re.search(r"\d", content["versions"])
    assert all(source.startswith("https://") for source in sources)


@pytest.mark.parametrize("pack", BUILT_IN)
def test_every_pack_could_be_a_users(pack: str) -> None:
    """The built-in packs keep the rules that a user's has to keep, and their patterns are ready for lower case."""
    FailureRules(()).load(PACKS / f"{pack}.toml")
    for rule in built_in(pack):
        for pattern in (rule.conditions.message, rule.conditions.called, rule.conditions.named):
            assert pattern is None or re.sub(r"\\.", "", pattern) == re.sub(r"\\.", "", pattern).lower()


@pytest.mark.parametrize("pack", BUILT_IN)
def test_no_pattern_takes_long(pack: str) -> None:
    """No pattern searches onwards without bound from within a text, which takes long where texts are."""
    for rule in built_in(pack):
        message = rule.conditions.message or ""
        assert not re.search(r"\.[*+]", message), message


@pytest.mark.parametrize("pack", BUILT_IN)
def test_every_rule_says_why(pack: str) -> None:
    """Every rule gives its reason as a clause: one line without a full stop."""
    for rule in built_in(pack):
        assert rule.why, rule
        assert rule.why == rule.why.strip().removesuffix(".")
        assert "\n" not in rule.why


# Made when Rust panics: it says of itself that it is of a module that there is not.
NO_MODULE = {"pyo3_runtime.PanicException"}


@pytest.mark.parametrize("pack", LIBRARIES)
def test_every_name_in_a_pack_was_found_in_its_library(pack: str) -> None:
    """Every class that a library's pack names was found under that name in a version of the library."""
    found = {name for name, version in NAMES[pack].items() if version}

    assert sorted(set(names_in(pack)) - found - set(names_in("builtin")) - NO_MODULE) == []


@pytest.mark.parametrize("pack", LIBRARIES)
def test_no_pack_of_a_library_contradicts_python(pack: str) -> None:
    """What Python's own pack says of a class by itself stands: packs of libraries are read only as they are needed."""
    rules = FailureRules(("builtin", "general"))
    for rule in built_in(pack):
        for target in rule.targets:
            if isinstance(target, type):
                rules.classify(target.__new__(target))
                assert target not in rules._table.verdicts, target  # type: ignore[union-attr]  # it was just made
                assert rule.conditions.raised_in, target


def test_the_names_of_packages_lead_to_their_packs() -> None:
    """A module is of the pack of its package, or of a part of that which has a pack of its own."""
    assert pack_of("requests.exceptions") == "requests"
    assert pack_of("pydantic_core._pydantic_core") == "pydantic"
    assert pack_of("google.protobuf.message") == "protobuf"
    assert pack_of("google.cloud.storage") is None
    assert pack_of("requestsx") is None


# -- the format ------------------------------------------------------------------------------------------------------

RULE = {"exception": "KeyError", "type": "strategy_error"}


def pack(**rule: Any) -> dict[str, Any]:
    return {"pack": "mybot", "rule": [rule]}


def test_a_pack_of_the_users_is_read_from_a_file(tmp_path: Path) -> None:
    """A TOML file may name classes, a type, a message, attributes, a range, an origin and a reason."""
    file = tmp_path / "mybot.toml"
    file.write_text(
        f"""
        pack = "mybot"
        about = "our own exceptions"
        source = "the wiki"

        [[rule]]
        exception = ["KeyError", "IndexError"]
        type = "strategy_error"
        why = "our dictionaries are complete"

        [[rule]]
        exception = "KeyError"
        message = "^'close'$"
        type = "data_error"

        [[rule]]
        exception = "OSError"
        when = {{ errno = ["ENOSPC", 999], "args.0" = {{ min = 1 }} }}
        type = "configuration_error"

        [[rule]]
        exception = "OSError"
        when = {{ filename = "feed.csv" }}
        action = "ignore"

        [[rule]]
        exception = "ValueError"
        raised_in = "{__name__}"
        action = "propagate"
        """,
        encoding="utf-8",
    )
    rules = FailureRules(()).load(file).load(str(file))

    assert rules.classify(KeyError("MSFT")) is STRATEGY
    assert rules.classify(KeyError("close")) is DATA
    assert rules.classify(OSError(errno.ENOSPC, "full")) is CONFIGURATION
    assert rules.explain(OSError(errno.ENOENT, "gone", "feed.csv")).action is Action.IGNORE
    assert rules.explain(caught(raising(ValueError()))).action is Action.PROPAGATE
    assert rules.explain(IndexError()).pack == "mybot"
    assert rules.explain(IndexError()).reason == "our dictionaries are complete"


def test_a_pack_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    """A pack that an editor of Windows has saved is read."""
    pack = tmp_path / "mine.toml"
    pack.write_text('pack = "mine"\n[[rule]]\nexception = "KeyError"\ntype = "strategy_error"\n', encoding="utf-8-sig")

    assert FailureRules(()).load(pack).classify(KeyError()) is STRATEGY


def test_a_pack_may_be_given_as_a_mapping() -> None:
    """What such a file would hold may also be given as a mapping."""
    assert FailureRules(()).load(pack(**RULE)).classify(KeyError()) is STRATEGY


def test_a_pack_of_the_users_may_look_at_calls_and_names() -> None:
    """A rule may look at functions on the traceback and at words of the class's name, and have a name to be shown."""
    rules = FailureRules(()).load(
        {
            "pack": "mine",
            "rule": [
                {"exception": "Exception", "called": "^place_order$", "type": "execution_error", "name": "orders"},
                {"exception": "Exception", "named": r"\brate limit\b", "type": "connection_error"},
            ],
        }
    )
    limited = type("RateLimitError", (Exception,), {"__module__": "venue"})
    operated = type("OperateLimitError", (Exception,), {"__module__": "venue"})

    assert rules.explain(raised_through("bot", ("bot", "place_order"), "venue")).rule == "orders"
    assert rules.classify(raised_through("bot", ("bot", "place_orders"), "venue")) is UNKNOWN
    assert rules.classify(limited()) is CONNECTION
    assert rules.classify(operated()) is UNKNOWN


def test_a_pack_may_mark_classes_as_wrappers() -> None:
    """A wrapper is worth what it wraps, and its own type where that says nothing."""
    rules = FailureRules().load(pack(exception="ArithmeticError", wrapper=True))
    rules.load(pack(exception="LookupError", wrapper=True, type="execution_error"))
    bare, typed, empty = ArithmeticError(), LookupError(), LookupError()
    bare.__cause__ = typed.__cause__ = ConnectionError()

    assert rules.classify(bare) is CONNECTION
    assert rules.classify(typed) is CONNECTION
    assert rules.classify(ArithmeticError()) is UNKNOWN
    assert rules.classify(empty) is FailureType.EXECUTION_ERROR


@pytest.mark.parametrize(
    ("content", "told"),
    [
        pytest.param("pack = x", "mybot.toml: this rule pack is no TOML: .*line 1", id="syntax"),
        pytest.param('pack = "x"', "key 'rule': expected tables, each under its own \\[\\[rule]]", id="no rules"),
        pytest.param('pack = "x"\nrule = 3', "key 'rule': expected tables", id="rules that are none"),
        pytest.param('pack = "x"\nrule = [3]', "key 'rule': expected tables", id="a rule that is none"),
        pytest.param("rule = []", "key 'pack': expected the pack's name", id="no name"),
        pytest.param('pack = ""\nrule = []', "key 'pack': expected the pack's name", id="empty name"),
        pytest.param('packs = "x"', "key 'packs' is unknown; did you mean 'pack'.* allowed: pack, about", id="key"),
    ],
)
def test_a_broken_pack_is_refused_at_once(tmp_path: Path, content: str, told: str) -> None:
    """A pack that cannot work is an error that names the file, and the line or the key."""
    file = tmp_path / "mybot.toml"
    file.write_text(content, encoding="utf-8")

    with pytest.raises(InvalidConfiguration, match=told) as refusal:
        FailureRules(()).load(file)

    assert str(file) in str(refusal.value)


@pytest.mark.parametrize(
    ("rule", "told"),
    [
        ({**RULE, "mesage": "x"}, "rule 2: key 'mesage' is unknown; did you mean 'message'"),
        ({"type": "data_error"}, "rule 2, key 'exception': no exception is named"),
        ({"exception": 3, "type": "data_error"}, "rule 2, key 'exception': 3 is no exception class"),
        ({"exception": "KeyEror", "type": "data_error"}, "rule 2.*did you mean 'KeyError'"),
        (
            {"exception": "KeyError", "type": "dta_error"},
            "rule 2, key 'type'='dta_error': expected a FailureType or one of .*did you mean 'data_error'",
        ),
        ({"exception": "KeyError"}, "rule 2: it decides nothing; give a type, an otherwise, wrapper = true"),
        ({"exception": "KeyError", "wrapper": False}, "rule 2: it decides nothing"),
        ({**RULE, "otherwise": "data_error"}, "rule 2: type and otherwise do not go together"),
        (
            {"exception": "KeyError", "otherwise": "data_error", "wrapper": True},
            "rule 2: wrapper and otherwise do not go",
        ),
        ({"exception": "KeyError", "otherwise": "dta"}, "rule 2, key 'otherwise'='dta': expected a FailureType"),
        ({**RULE, "called": 3}, "rule 2: called=3 is no regular expression"),
        ({**RULE, "named": "("}, "rule 2: named='\\(' is no regular expression"),
        ({**RULE, "name": 3}, "rule 2: name=3: expected a str"),
        ({**RULE, "action": "ignore"}, "rule 2: an action goes with no 'type'"),
        ({"exception": "KeyError", "action": "ignore", "wrapper": True}, "rule 2: an action goes with no 'wrapper'"),
        ({"exception": "KeyError", "action": "count"}, "rule 2: action='count': expected 'ignore' or 'propagate'"),
        ({**RULE, "wrapper": "yes"}, "rule 2: wrapper='yes': expected a bool"),
        ({**RULE, "why": 3}, "rule 2: why=3: expected a str"),
        ({**RULE, "message": "("}, "rule 2: message='\\(' is no regular expression"),
        ({**RULE, "when": {}}, "rule 2: when={}: expected a mapping"),
        ({**RULE, "when": {"code": {"from": 1}}}, "rule 2: when: code={'from': 1}: expected a value"),
        ({**RULE, "raised_in": ""}, "rule 2: raised_in='': expected the name of a module"),
    ],
)
def test_a_broken_rule_is_refused_with_its_number(rule: dict[str, Any], told: str) -> None:
    """A rule that cannot work is an error that names the pack, the rule's number and what is allowed."""
    rules = FailureRules(())

    with pytest.raises(InvalidConfiguration, match=f"pack given as a mapping, {told}"):
        rules.load({"pack": "mybot", "rule": [RULE, rule]})

    assert rules.classify(KeyError()) is UNKNOWN


def test_a_pack_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    """A file that cannot be read is an error that names it."""
    with pytest.raises(InvalidConfiguration, match=r"mybot\.toml: this rule pack cannot be read: .*No such file"):
        FailureRules(()).load(tmp_path / "mybot.toml")


def test_a_pack_has_to_be_utf_8(tmp_path: Path) -> None:
    """A file in another encoding is an error that says so."""
    file = tmp_path / "mybot.toml"
    file.write_bytes(b'pack = "\xff"')

    with pytest.raises(InvalidConfiguration, match=r"mybot\.toml: a rule pack has to be UTF-8"):
        FailureRules(()).load(file)


def test_load_takes_a_path_or_a_mapping() -> None:
    """Anything but a path or a mapping is an error that says what is expected."""
    with pytest.raises(InvalidConfiguration, match=r"load\(3\): expected the path of a TOML file, or a mapping"):
        FailureRules(()).load(3)  # type: ignore[arg-type]  # on purpose


def test_packs_are_chosen_by_name() -> None:
    """Rules start with the packs that are named, and with none for an empty tuple."""
    assert FailureRules(packs=("builtin",)).classify(KeyError()) is DATA
    assert FailureRules(packs=["builtin"]).classify(KeyError()) is DATA
    assert FailureRules(packs=()).classify(KeyError()) is UNKNOWN


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (("bultin",), "there is no built-in pack 'bultin'; did you mean 'builtin'.*names among builtin"),
        ((3,), "there is no built-in pack 3"),
        ("builtin", r"FailureRules\(packs='builtin'\): expected a tuple of names"),
        (7, r"FailureRules\(packs=7\): expected a tuple of names"),
    ],
)
def test_a_pack_that_does_not_exist_is_refused_at_once(names: Any, told: str) -> None:
    """A pack that does not exist is an error at once, with the names that there are."""
    with pytest.raises(InvalidConfiguration, match=told):
        FailureRules(packs=names)
