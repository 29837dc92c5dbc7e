"""Processes for tests of shared stores: workers that do what they are told over pipes, small disks, and a proxy."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import faulthandler
import itertools
import json
import os
import queue
import select
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Coroutine, Iterator
from pathlib import Path
from typing import Any

import structlog
from stores import heard

from guarded import (
    ConsecutiveFailures,
    FailureTracker,
    HaltTriggered,
    StoreUnavailable,
    TradingResumed,
    guarded_signal,
)
from guarded.stores.shared import SharedStore
from guarded.stores.sqlite import SQLiteStore

LONGEST = 110
"""Seconds after which a worker ends by itself, whatever has become of the test."""

OUT_OF_REACH = 10**9
"""A threshold."""


# -- the workers, as tests see them


class Worker:
    """A Python process with a tracker on a store, which does what it is told.

    Args:
        store: The URL of the store.
        threshold: Consecutive failures of one strategy that halt everything.
        callback: What its halt callback does, a name in `CALLBACKS`, and the file to which it appends; None: it has no
            halt callback.
    """

    def __init__(self, store: str, *, threshold: int = OUT_OF_REACH, callback: tuple[str, Path] | None = None) -> None:
        given = {"store": store, "threshold": threshold, "callback": callback and [callback[0], str(callback[1])]}
        # Python 3.12 and newer warn of a fork beside threads, which is what some tests are about.
        warnings = ("-W", "error", "-W", "ignore:This process:DeprecationWarning")
        self._process = subprocess.Popen(
            [sys.executable, *warnings, __file__, json.dumps(given)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,  # so that its children can be found
        )
        self.pid = self._process.pid
        self._answers: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._errors: list[bytes] = []
        self._threads = [threading.Thread(target=work, daemon=True) for work in (self._listen, self._complain)]
        for thread in self._threads:
            thread.start()

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._answers.put(line)
        self._answers.put(None)

    def _complain(self) -> None:
        assert self._process.stderr is not None
        self._errors.extend(self._process.stderr)

    def tell(self, what: str, *given: object) -> None:
        """Have it do something: the name of a method of `Trader`, and what that is given."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{json.dumps([what, *given])}\n".encode())
        self._process.stdin.flush()

    def hear(self, seconds: float = 60.0) -> Any:
        """What it says next."""
        try:
            line = self._answers.get(timeout=seconds)
        except queue.Empty:
            raise AssertionError(f"process {self.pid} said nothing for {seconds} s") from None
        if line is None:
            self._threads[1].join(5)
            raise AssertionError(f"process {self.pid} has ended:\n{b''.join(self._errors).decode(errors='replace')}")
        answer = json.loads(line)
        if isinstance(answer, dict) and "raised" in answer:
            raise AssertionError(f"process {self.pid} raised:\n{answer['raised']}")
        return answer

    def ask(self, what: str, *given: object) -> Any:
        """Have it do something, and wait for what comes of it."""
        self.tell(what, *given)
        return self.hear()

    def shoot(self) -> None:
        """Send SIGKILL to it and its children."""
        if self._process.returncode is None:  # else its number may be somebody else's by now
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)

    def kill(self) -> None:
        """End it by SIGKILL, and reap it: a process that nobody has reaped counts as alive."""
        self.shoot()
        self._reap()

    def end(self) -> int:
        """Let it end as programs do, at the end of its main module.

        Returns:
            Its exit status.
        """
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        heard(self._has_ended, 60)
        self.shoot()  # children that are left, which hold its pipes open
        return self._reap()

    def _has_ended(self) -> bool:
        """Whether it has; it is not reaped, so that its number stays its own."""
        return os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None

    def _reap(self) -> int:
        status = self._process.wait(60)
        for thread in self._threads:
            thread.join(60)
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            assert pipe is not None
            with contextlib.suppress(BrokenPipeError):
                pipe.close()
        return status


@contextlib.contextmanager
def crew() -> Iterator[Callable[..., Worker]]:
    """Starts workers as `Worker` is called; whoever is left at the end is killed."""
    workers: list[Worker] = []

    def hire(*args: Any, **settings: Any) -> Worker:
        workers.append(Worker(*args, **settings))
        return workers[-1]

    try:
        yield hire
    finally:
        kill(workers)


def kill(workers: list[Worker]) -> None:
    """End them by SIGKILL, all at one moment."""
    for worker in workers:
        worker.shoot()
    for worker in workers:
        worker.kill()


def ready(*workers: Worker) -> None:
    """Wait until all have opened their store."""
    for worker in workers:
        assert worker.hear() == "opening"
        assert worker.hear() == "ready"


def all_of(workers: list[Worker], what: str, *given: object) -> list[Any]:
    """Have all of them do the same at the same moment, and wait for what comes of it."""
    for worker in workers:
        worker.tell("meet")
    for worker in workers:
        assert worker.hear() == "here"
    for worker in workers:
        worker.tell(what, *given)
    return [worker.hear(100) for worker in workers]


def until(worker: Worker, what: Callable[[Worker], object], seconds: float = 30.0) -> None:
    """Wait until something is so of a worker."""
    heard(lambda: what(worker), seconds)


def back_again(worker: Worker) -> dict[str, Any]:
    """Wait until a worker's store was away, and is back with everything in it.

    Returns:
        Its status.
    """
    until(worker, lambda worker: ["warning", "guarded.store_back"] in worker.ask("logged"))
    until(worker, lambda worker: worker.ask("status")["degraded"] is None)
    status: dict[str, Any] = worker.ask("status")
    return status


def lines(path: Path) -> list[str]:
    """What workers have appended to a file; a line that is not whole is none."""
    if not path.exists():
        return []
    return [line.rstrip("\n") for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]


def count_together(workers: list[Worker], each: int, ran: Path) -> None:
    """Have workers fail at the same moment, and see that everything is exact; trading is halted halfway.

    Args:
        workers: They have a threshold of `len(workers) * each // 2`, and "note" as their halt callback.
        each: How often each fails with a strategy of its own, and as often with one that all have.
        ran: The file to which their halt callbacks append.
    """
    every = len(workers) * each
    assert all_of(workers, "fail_as_pid", "AAPL", each) == [None] * len(workers)
    for worker in workers:
        until(worker, lambda worker: len(worker.ask("events")) == 1)
    status = workers[0].ask("status")
    both = {"common": every, **{f"S{worker.pid}": each for worker in workers}}
    assert (status["total"], status["strategies"], status["symbols"]) == (2 * every, both, {"AAPL": 2 * every})
    assert list(status["types"].values()) == [every] * 2
    assert status["streaks"] == {f"{name}/{of}": count for name, count in both.items() for of in ("AAPL", None)}
    ((scope, reason, episode),) = status["halts"]
    assert scope == "everything"
    assert reason.startswith(f"{every // 2} consecutive failures of strategy common (threshold {every // 2})")
    until(workers[0], lambda worker: not worker.ask("status")["pending"])
    workers[-1].ask("resume")
    for worker in workers:
        until(worker, lambda worker: len(worker.ask("events")) == 2)
        assert worker.ask("events") == {f"HaltTriggered {episode}": 1, f"TradingResumed {episode}": 1}
        assert worker.ask("status")["degraded"] is None
        assert ["critical", "guarded.store_lost"] not in worker.ask("logged")
    assert len(lines(ran)) == 1


# -- the workers, as they see themselves


def append(path: str, text: str) -> None:
    """Append a line to a file that other processes append to: in one write, so that none is torn."""
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
    try:
        os.write(file, f"{text}\n".encode())
    finally:
        os.close(file)


def _note(path: str) -> Callable[..., object]:
    return lambda reason, _failure: append(path, f"{os.getpid()} ran")


def _block(path: str) -> Callable[..., object]:
    def callback(reason: str, _failure: object) -> None:
        append(path, f"{os.getpid()} began")
        threading.Event().wait()

    return callback


def _raise_twice(path: str) -> Callable[..., object]:
    tries = itertools.count(1)

    def callback(reason: str, _failure: object) -> None:
        if next(tries) <= 2:
            append(path, f"{os.getpid()} raised")
            raise RuntimeError("the broker does not answer")
        append(path, f"{os.getpid()} ran")

    return callback


CALLBACKS: dict[str, Callable[[str], Callable[..., object]]] = {
    "note": _note,
    "block": _block,
    "raise twice": _raise_twice,
}


class Trader:
    """The tracker of a worker, and what a test may ask of it; answers are JSON-ready."""

    def __init__(self, store: str, threshold: int, callback: list[str] | None) -> None:
        self._logged: list[list[str]] = []
        structlog.configure(processors=[self._log])
        self.tracker = FailureTracker(
            policies=[ConsecutiveFailures(OUT_OF_REACH), ConsecutiveFailures(threshold, scope="strategy")],
            store=store,
            halt_callback=None if callback is None else CALLBACKS[callback[0]](callback[1]),
        )
        self._events: Counter[str] = Counter()
        self.tracker.subscribe(self._count)
        self._signal = guarded_signal(strategy="guarded", symbol="AAPL", tracker=self.tracker)(lambda: "long")
        self._idle_child = 0

    def _log(self, _logger: object, level: str, fields: Any) -> Any:
        self._logged.append([level, fields["event"]])
        raise structlog.DropEvent

    def _count(self, event: object) -> None:
        if isinstance(event, HaltTriggered | TradingResumed):
            self._events[f"{type(event).__name__} {event.halt.episode}"] += 1

    # -- counting, halting, resuming

    def meet(self) -> str:
        return "here"

    def fail(self, strategy: str, symbol: str, times: int = 1) -> str | None:
        """Fail so often.

        Returns:
            Why the store is away by then.
        """
        for _ in range(times):
            self.tracker.record_failure(strategy, symbol, ValueError("bad bar"))
        return self.tracker.degraded

    def fail_as_pid(self, symbol: str, times: int) -> str | None:
        """Fail as a strategy that is named after this process, and as one that all have."""
        for _ in range(times):
            self.tracker.record_failure(f"S{os.getpid()}", symbol, ValueError("bad bar"))
            self.tracker.record_failure("common", symbol, ConnectionError("no feed"))
        return self.tracker.degraded

    def halt(self, reason: str) -> bool:
        return self.tracker.halt_manager.trigger_halt(reason)

    def halt_at(self, moment: float, reason: str) -> list[float]:
        """Halt at a moment.

        Returns:
            When it began to, and when it had.
        """
        while time.time() < moment:
            time.sleep(0.0005)
        before = time.time()
        self.tracker.halt_manager.trigger_halt(reason)
        return [before, time.time()]

    def resume(self) -> None:
        self.tracker.resume(by="ana", reason="feed is back")

    def call(self) -> str | None:
        """Call a guarded function, which does not fail."""
        return self._signal()

    def until_refused(self) -> float:
        """Call it each millisecond until it is refused.

        Returns:
            When it was.
        """
        heard(lambda: self._signal() is None, 30)
        return time.time()

    def until_it_runs(self) -> str | None:
        heard(lambda: self._signal() == "long", 30)
        return self._signal()

    def hammer(self, path: str, name: str) -> int:
        """Fail over and over, halt by hand and resume now and then, and note each call that returned.

        Args:
            path: The file of notes.
            name: The strategy; no other process has it.

        Returns:
            How many failures there were by the time that somebody said anything.
        """
        notes = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
        manager, failures = self.tracker.halt_manager, 0

        def note(what: str) -> None:
            os.write(notes, f"{name} {what} {failures}\n".encode())

        while not select.select([0], [], [], 0)[0]:
            self.tracker.record_failure(name, "AAPL", ValueError("bad bar"))
            failures += 1
            note("failed")
            if failures % 5 == 0:
                note("halts")
                manager.trigger_halt(f"{name}-{failures}", strategy=name)
                note("halted")
            if failures % 15 == 0:
                note("resumes")
                manager.resume_trading(by=name, reason=f"{name}-{failures}", strategy=name)
                note("resumed")
            if self.tracker.degraded is not None:
                time.sleep(0.005)  # nobody asks a strategy more often
        os.close(notes)
        return failures

    # -- how things stand

    def status(self) -> dict[str, Any]:
        tracker = self.tracker
        rows = tracker._store.read()
        streaks = {f"{scope.strategy}/{scope.symbol}": row[0] for scope, row in rows.streaks.items() if row}
        return {
            "total": tracker.total_failures,
            "strategies": tracker.strategy_failures,
            "symbols": tracker.symbol_failures,
            "types": {kind.value: count for kind, count in tracker.type_failures.items()},
            "streaks": {name: streak[1] for name, streak in streaks.items()},
            "halts": [[str(halt.scope), halt.reason, halt.episode] for halt in rows.halts.values()],
            "halted here": [str(scope) for scope in tracker._store.halts],
            "degraded": tracker.degraded,
            "pending": tracker.callback_pending,
        }

    def events(self) -> dict[str, int]:
        """How often each halt, and each end of one, was told."""
        return dict(self._events)

    def logged(self) -> list[list[str]]:
        """The level and the name of everything that was logged."""
        return list(self._logged)

    def identity(self) -> str:
        """Which process this is, to its store."""
        assert isinstance(self.tracker._store, SharedStore)
        return self.tracker._store._identity

    # -- files

    def limit_files(self, size: int) -> None:
        """Let no file of this process grow beyond a size."""
        import resource  # noqa: PLC0415  # not on Windows

        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    def unlimit_files(self) -> None:
        import resource  # noqa: PLC0415  # the same

        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

    def refusal(self, path: str) -> str | None:
        """Open a file as somebody whom the modes of files bind.

        Returns:
            Why it cannot be opened.
        """
        child, pipe = _forked()
        if child == 0:
            give_up_privileges()
            try:
                SQLiteStore(path, timeout=0.2)
            except StoreUnavailable as error:
                os.write(pipe, str(error).encode())
            os._exit(0)
        return _told(child, pipe) or None

    # -- forks

    def fork_once(self) -> list[list[object]]:
        """Fork; the child fails three times, and then this process twice.

        Returns:
            Who each is, and why its store is away: first the child.
        """
        child, pipe = _forked()
        if child == 0:
            self.fail("child", "AAPL", 3)
            os.write(pipe, json.dumps([os.getpid(), self.identity(), self.tracker.degraded]).encode())
            os._exit(0)
        told = json.loads(_told(child, pipe))
        self.fail("parent", "AAPL", 2)
        return [told, [os.getpid(), self.identity(), self.tracker.degraded]]

    def fork_idle(self) -> dict[str, Any]:
        """Fork a child that never calls anything, and lives until `end_idle`.

        Returns:
            What it has that its parent has not.
        """
        before = set(_open_files())
        self._idle_child, pipe = _forked()
        if self._idle_child == 0:
            found = {
                "threads": [thread.name for thread in threading.enumerate()],
                "opened": [text for text in _open_files() if text not in before and "pipe:" not in text],
                "awake": self.tracker._store.awake,
            }
            os.write(pipe, f"{json.dumps(found)}\n".encode())
            threading.Event().wait()
        with os.fdopen(pipe) as answer:
            saw: dict[str, Any] = json.loads(answer.readline())
        return saw

    def end_idle(self) -> None:
        os.kill(self._idle_child, signal.SIGKILL)
        os.waitpid(self._idle_child, 0)

    def fork_under_load(self, times: int, seconds: float) -> list[str | int]:
        """Fork while four threads are in the midst of updates; each child fails once.

        Returns:
            What became of each child: its exit status, or "hung" where it took longer.
        """
        self.fail("parent", "AAPL")  # a module that a thread is importing is never imported in a child
        stop = threading.Event()

        def load(number: int) -> None:
            while not stop.is_set():
                self.tracker.record_failure(f"thread {number}", "AAPL", ValueError("bad bar"))

        threads = [threading.Thread(target=load, args=(number,)) for number in range(4)]
        for thread in threads:
            thread.start()
        try:
            return [self._child(seconds) for _ in range(times)]
        finally:
            stop.set()
            for thread in threads:
                thread.join()

    def _child(self, seconds: float) -> str | int:
        child, pipe = _forked()
        if child == 0:
            self.tracker.record_failure("child", "AAPL", ValueError("bad bar"))
            os._exit(0 if self.tracker.degraded is None else 3)
        os.close(pipe)
        give_up = time.monotonic() + seconds
        while (found := os.waitpid(child, os.WNOHANG))[0] == 0:
            if time.monotonic() > give_up:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                return "hung"
            time.sleep(0.001)
        return os.waitstatus_to_exitcode(found[1])

    def is_halted_in_child(self) -> bool:
        """Fork, and ask the child at once whether it is halted."""
        child, pipe = _forked()
        if child == 0:
            os.write(pipe, b"halted" if self.tracker.halt_triggered else b"not halted")
            os._exit(0)
        return _told(child, pipe) == "halted"

    def become_a_daemon(self) -> int:
        """Go on as a child of this process, which ends as programs do.

        Returns:
            The number of the child, once its parent is gone.
        """
        reader, writer = os.pipe()
        if os.fork():
            sys.exit()
        signal.alarm(LONGEST)
        self.fail("daemon", "AAPL")
        os.close(writer)
        os.read(reader, 1)  # which ends with the parent, who has the other end open
        os.close(reader)
        return os.getpid()


def _forked() -> tuple[int, int]:
    """Fork.

    Returns:
        In the parent: the number of the child, and what is to be read of it. In the child: 0, and where it writes.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        signal.alarm(LONGEST)  # faulthandler would wait for its thread, which stayed in the parent
        os.close(reader)
        return 0, writer
    os.close(writer)
    return child, reader


def _told(child: int, pipe: int) -> str:
    """What a child has written by its end."""
    with os.fdopen(pipe) as answer:
        text = answer.read()
    os.waitpid(child, 0)
    return text


def give_up_privileges() -> None:
    """Have the modes of files bind this thread and those that it starts, also if its user is root (Linux)."""
    if os.geteuid() != 0:
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header = (ctypes.c_uint32 * 2)(0x20080522, 0)
    sets = (ctypes.c_uint32 * 6)()
    libc.capget(header, sets)
    sets[0] &= ~0b1110  # of those in effect: CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH, CAP_FOWNER
    if libc.capset(header, sets) != 0:
        raise OSError(ctypes.get_errno(), "capset")


def _open_files() -> list[str]:
    """What the open files of this process are, where the system says so."""
    folder, found = Path("/proc/self/fd"), []
    for entry in folder.iterdir() if folder.exists() else ():
        with contextlib.suppress(OSError):
            found.append(f"{entry.name} {entry.readlink()}")
    return [text for text in found if "/proc/" not in text]


def _say(value: object) -> None:
    os.write(1, f"{json.dumps(value)}\n".encode())


def _heard() -> bytes:
    """A line; it is read without a buffer, so that a select knows whether there is another one."""
    line = b""
    while not line.endswith(b"\n"):
        byte = os.read(0, 1)
        if not byte:
            return b""
        line += byte
    return line


def _work(given: dict[str, Any]) -> None:
    faulthandler.dump_traceback_later(LONGEST, exit=True)
    _say("opening")
    trader = Trader(**given)
    _say("ready")
    while line := _heard():
        what, *arguments = json.loads(line)
        try:
            _say(getattr(trader, what)(*arguments))
        except Exception:  # noqa: BLE001  # the test shows it
            _say({"raised": traceback.format_exc()})


# -- what pools and spawned processes run


def fail_in(tracker: FailureTracker) -> None:
    """Fail once, and see that the store is there."""
    tracker.record_failure("spawned", "AAPL", ValueError("bad bar"))
    assert tracker.degraded is None


def divided(scale: float, close: float) -> float:
    return scale / close


# -- disks


def mount(*arguments: str) -> bool:
    """Whether the system mounted what it was asked to."""
    command = shutil.which("mount")
    return (
        command is not None and subprocess.run([command, *arguments], capture_output=True, check=False).returncode == 0
    )


@contextlib.contextmanager
def mounted(folder: Path, size: str) -> Iterator[Path | None]:
    """A disk of its own in a folder; None where this user may mount none."""
    folder.mkdir()
    if not mount("-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(folder)):
        yield None
        return
    try:
        yield folder
    finally:
        subprocess.run([shutil.which("umount") or "umount", "--lazy", str(folder)], capture_output=True, check=False)


# -- a proxy


class Proxy:
    """A TCP proxy before a server on this machine, in a thread of its own, that can be cut and held up.

    Args:
        port: Where the server listens.
    """

    def __init__(self, port: int) -> None:
        self._target = port
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._writers: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._requests, self._answers = asyncio.Event(), asyncio.Event()
        self._requests.set()
        self._answers.set()
        self._trap: bytes | None = None
        self._listener: socket.socket | None = None
        self._connections: set[socket.socket] = set()
        self.port = 0
        self._run(self._listen)

    def url(self, namespace: str) -> str:
        """The URL of a store by way of the proxy."""
        return f"redis://127.0.0.1:{self.port}/0?namespace={namespace}"

    def hold(self, *, requests: bool = False, answers: bool = False) -> None:
        """Accept, and pass nothing on, in one direction or in both."""

        async def hold() -> None:
            for held, gate in ((requests, self._requests), (answers, self._answers)):
                if held:
                    gate.clear()

        self._run(hold)

    def hold_answers_after(self, request: bytes) -> None:
        """Hold answers up from the next request on that has these bytes in it; that one still reaches the server."""

        async def trap() -> None:
            self._trap = request

        self._run(trap)

    @property
    def is_trapped(self) -> bool:
        """Whether that request has come."""
        return self._trap is None

    def release(self) -> None:
        """Pass on what was held up, and everything from now on."""

        async def release() -> None:
            self._trap = None
            self._requests.set()
            self._answers.set()

        self._run(release)

    def cut(self) -> None:
        """Close all connections and refuse new ones; what was held up is lost."""
        self._run(self._cut)

    def mend(self) -> None:
        """Accept again."""
        self._run(self._listen)

    def close(self) -> None:
        """End it."""
        self._run(self._cut)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def _run(self, work: Callable[[], Any]) -> None:
        asyncio.run_coroutine_threadsafe(work(), self._loop).result(10)

    async def _listen(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self._listener.setblocking(False)
        self.port = self._listener.getsockname()[1]
        # asyncio's own server loses connections that come while it is being closed: they are never closed
        self._loop.add_reader(self._listener, self._accept, self._listener)

    async def _cut(self) -> None:
        if self._listener is not None:
            self._loop.remove_reader(self._listener)
            self._listener.close()
            self._listener = None
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for writer in self._writers:
            writer.transport.abort()
        for connection in self._connections:
            connection.close()
        self._writers.clear()
        self._connections.clear()
        await asyncio.sleep(0)  # which is when the writers' are closed

    def _accept(self, listener: socket.socket) -> None:
        connection, _ = listener.accept()
        self._connections.add(connection)
        self._start(self._connect(connection))

    async def _connect(self, connection: socket.socket) -> None:
        reader, writer = await asyncio.open_connection(sock=connection)
        self._writers.add(writer)
        try:
            there, back = await asyncio.open_connection("127.0.0.1", self._target)
        except OSError:
            writer.transport.abort()
            return
        self._writers.add(back)
        self._start(self._pass_on(reader, back, self._requests))
        self._start(self._pass_on(there, writer, self._answers))

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, gate: asyncio.Event) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(1 << 20):
                await gate.wait()
                if gate is self._requests and self._trap is not None and self._trap in data:
                    self._trap = None
                    self._answers.clear()
                writer.write(data)
                await writer.drain()
            await gate.wait()
        writer.close()


if __name__ == "__main__":
    _work(json.loads(sys.argv[1]))
