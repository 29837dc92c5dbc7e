"""Threads that do the same at the same moment, switching as often as Python can."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable

THREADS = 16


def together(work: Callable[[int], object]) -> None:
    """Run `work(number of the thread)` in 16 threads at once, and raise what they raised."""
    barrier = threading.Barrier(THREADS)
    errors: list[BaseException] = []

    def run(number: int) -> None:
        try:
            barrier.wait(30)
            work(number)
        except BaseException as error:  # noqa: BLE001  # all are shown
            errors.append(error)

    workers = [threading.Thread(target=run, args=(number,)) for number in range(THREADS)]
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join(100)
    finally:
        sys.setswitchinterval(interval)
    assert not any(worker.is_alive() for worker in workers)
    assert errors == []
