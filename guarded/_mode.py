"""Mode: whether guards guard, guard and re-raise, or step aside, for the whole process."""

from __future__ import annotations

import os
import weakref
from typing import TYPE_CHECKING, Literal, Protocol, cast, get_args

from guarded._checks import checked_choice
from guarded._locks import ForkSafeLock
from guarded._restore import restoring

if TYPE_CHECKING:
    from collections.abc import Mapping

    from guarded._restore import Restore

Mode = Literal["on", "strict", "off"]


class Dependent(Protocol):
    """What keeps something that depends on the mode."""

    def _mode_changed(self, previous: str) -> None: ...


def _checked(mode: object, where: str) -> Mode:
    return cast("Mode", checked_choice(mode, get_args(Mode), where))


def from_environment(environment: Mapping[str, str]) -> Mode:
    """The mode that a process starts in: `GUARDED_MODE`, or `"on"`.

    Raises:
        InvalidConfiguration: The variable holds something else.
    """
    return _checked(environment.get("GUARDED_MODE", "on"), "environment variable GUARDED_MODE")


current: Mode = from_environment(os.environ)
_dependents: weakref.WeakSet[Dependent] = weakref.WeakSet()
_lock = ForkSafeLock()


def add_dependent(dependent: Dependent) -> None:
    """Tell an object, held weakly, whenever the mode changes."""
    with _lock:
        _dependents.add(dependent)


def set_mode(mode: Mode) -> Restore[Mode]:
    """Say what guards do, in the whole process; as a context manager: until the block ends.

    Args:
        mode: `"on"`: failures are recorded and kept from the caller. `"strict"`: they are recorded and raised again,
            for tests and backtests. `"off"`: guards do nothing at all, as if the code were not decorated; blocks too.

    Raises:
        InvalidConfiguration: There is no such mode.

    Example:
        with set_mode("strict"):
            run_backtest()
    """
    previous = current
    _put(_checked(mode, "mode"))
    return restoring(_put, previous)


def _put(mode: Mode) -> None:
    global current
    previous, current = current, mode
    if previous == mode:
        return
    with _lock:
        dependents = list(_dependents)
    for dependent in dependents:
        dependent._mode_changed(previous)
