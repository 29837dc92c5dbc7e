"""Keeper: the thread of a shared store that hears of what other processes do, and the one that tells of it."""

from __future__ import annotations

import queue
import threading
import time
import weakref
from functools import partial
from typing import TYPE_CHECKING

from guarded import _faults
from guarded._errors import StoreUnavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from guarded.stores._backend import Backend, News
    from guarded.stores.shared import SharedStore

BEAT = 5.0
"""Seconds from one sign of life to the next."""

LOOKS = 6
"""At every so many beats it is told when strategies last succeeded, and looked at anew."""

RETRIES = (0.5, 1.0, 2.0, 5.0)
"""Seconds from losing the backend to the first attempt to open it again, and between the next ones."""


class Keeper:
    """The two threads of a store: one hears of changes, the other tells of them what may take its time."""

    def __init__(self, store: SharedStore) -> None:
        self._store = weakref.ref(store)
        self._backend = store._backend
        self._steps: queue.SimpleQueue[Callable[[], object] | None] = queue.SimpleQueue()
        self._beat_at = 0.0
        self._look_at = 0.0
        self._tries = 0
        self._beats = 0

    def start(self) -> None:
        """Begin to hear, and to tell."""
        threading.Thread(target=self._keep, name="guarded store", daemon=True).start()
        threading.Thread(target=_tell, args=(self._steps,), name="guarded events", daemon=True).start()

    def tell(self, steps: Iterable[Callable[[], object]]) -> None:
        """Have steps taken in their order, in a thread of their own."""
        for step in steps:
            self._steps.put(step)

    def _keep(self) -> None:
        backend = self._backend
        try:
            while (store := self._mine()) is not None:
                position, lost = store._position, store._lost
                del store  # while it waits, nobody but its users holds the store
                self._once(backend, position, lost=lost is not None)
        finally:
            backend.hush()
            if self._store() is None:  # here, and not where it is collected: that may be in the midst of a question
                backend.close()
            self._steps.put(None)

    def _mine(self) -> SharedStore | None:
        store = self._store()
        return None if store is None or store._closed or store._keeper is not self else store

    def _once(self, backend: Backend, position: int, *, lost: bool) -> None:
        try:
            if lost:
                time.sleep(RETRIES[min(self._tries, len(RETRIES) - 1)])
                self._tries += 1
                self._with_store(lambda store: store._recover())
                self._tries = 0
            else:
                news = backend.wait(position)
                self._with_store(lambda store: self._work(store, news))
        except StoreUnavailable as error:
            self._lose(error)
        except BaseException as fault:  # noqa: BLE001  # without this thread the process would not hear of a halt
            _faults.report("the keeper of a store met a fault; it goes on", fault)
            self._with_store(_is_behind)
            time.sleep(1)

    def _work(self, store: SharedStore, news: News) -> None:
        if store._behind:
            store._catch_up()
        store._hear(news)
        now = time.monotonic()
        if news.halts or now >= self._look_at:
            self._look_at = now + 1
            store._see_to_callbacks()
        if now >= self._beat_at:
            self._beat_at = now + BEAT
            store._beat(looks=self._beats % LOOKS == 0)
            self._beats += 1

    def _lose(self, error: StoreUnavailable) -> None:
        """Know at once; tell of it aside, for listeners and callbacks may take their time, and may raise anything."""
        store = self._mine()
        if store is not None and store._lose_quietly(error):
            aside(partial(store._tell_lost, error))

    def _with_store(self, work: Callable[[SharedStore], object]) -> None:
        store = self._mine()
        if store is not None:
            work(store)


def _is_behind(store: SharedStore) -> None:
    store._behind = True


def _tell(steps: queue.SimpleQueue[Callable[[], object] | None]) -> None:
    while (step := steps.get()) is not None:
        _safely(step)


def aside(step: Callable[[], object]) -> None:
    """Take a step in a thread of its own."""
    try:
        threading.Thread(target=_safely, args=(step,), name="guarded halt callback", daemon=True).start()
    except RuntimeError as error:
        _faults.report("no thread can be started; it is tried again", error)


def _safely(step: Callable[[], object]) -> None:
    try:
        step()
    except BaseException as fault:  # noqa: BLE001  # what a listener raises in this thread, interrupts among it, is nobody's
        _faults.report("what another process did could not be told to everybody", fault)
