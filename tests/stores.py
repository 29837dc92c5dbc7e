"""Stores for tests: a fresh one of each kind, and one more process's view of the same."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Callable
from pathlib import Path

from servers import Server

from guarded import MemoryStore
from guarded.stores import Store, redis
from guarded.stores._keeper import Keeper
from guarded.stores.redis import RedisStore
from guarded.stores.shared import SharedStore, _go_on, _hold_still
from guarded.stores.sqlite import SQLiteStore

_numbers = itertools.count()


KINDS = ("memory", "sqlite", "redis")
SHARED = ("sqlite", "redis")


class Place:
    """Where stores are opened, each as another process would; all are closed at the end.

    Args:
        open_one: Opens one more on the same ledger.
    """

    def __init__(self, open_one: Callable[[], Store]) -> None:
        self._open = open_one
        self._opened: list[Store] = []

    def open(self) -> Store:
        """One more store on the ledger."""
        store = self._open()
        self._opened.append(store)
        return store

    def close(self) -> None:
        """Close all that were opened."""
        for store in self._opened:
            if isinstance(store, SharedStore):
                store.close()


def fork(store: SharedStore) -> None:
    """Make a store what it is in a child that was forked, under the locks that the process holds while it forks.

    The parent's threads, which are not there in a child, are ended before.
    """
    keeper, store._keeper = store._keeper, Keeper(store)
    heard(lambda: not any(_is_of(one, keeper) for one in threading.enumerate()), 20)
    _hold_still()
    try:
        store._forked()
    finally:
        _go_on()
    for client in redis._left_to_the_parent:
        if client is not None:
            client.close()


def _is_of(thread: threading.Thread, keeper: Keeper) -> bool:
    """Whether a thread is that of a keeper, or one that it has a callback run in."""
    return thread.name == "guarded halt callback" or getattr(vars(thread).get("_target"), "__self__", None) is keeper


def place(kind: str, folder: Path, server: Callable[[], Server]) -> Place:
    """A new ledger of a kind."""
    if kind == "memory":
        return Place(MemoryStore)
    return sqlite(folder) if kind == "sqlite" else on_server(server())


def sqlite(folder: Path) -> Place:
    """A ledger in a file."""
    path = folder / f"guarded-{next(_numbers)}.db"
    return Place(lambda: SQLiteStore(path, durability="process"))


def on_server(server: Server) -> Place:
    """A ledger on a server."""
    namespace = f"test-{next(_numbers)}"
    return Place(lambda: RedisStore(server.url, namespace=namespace))


def heard(what: Callable[[], object], seconds: float = 10.0) -> None:
    """Wait until something is so that another thread or process does."""
    give_up = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < give_up, "it did not come to be in time"
        time.sleep(0.002)
