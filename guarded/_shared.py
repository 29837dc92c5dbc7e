"""The shared tracker: the one that guards use when they are given none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from guarded import _log
from guarded._errors import InvalidConfiguration
from guarded._restore import restoring
from guarded._tracker import FailureTracker

if TYPE_CHECKING:
    from collections.abc import Callable

    from guarded._restore import Restore

# Guards read it through this module, so that a guard which is pickled by value finds the tracker of its new process.
tracker: FailureTracker = FailureTracker()


def get_failure_tracker() -> FailureTracker:
    """The shared tracker of this process."""
    return tracker


def set_failure_tracker(new: FailureTracker) -> Restore[FailureTracker]:
    """Replace the shared tracker, for all threads and tasks; as a context manager: until the block ends.

    The halts of the old tracker do not bind the new one; a log line says so if there are any.

    Args:
        new: The tracker that guards without `tracker=` use from now on.

    Raises:
        InvalidConfiguration: It is no tracker.

    Example:
        set_failure_tracker(FailureTracker(halt_callback=cancel_all_orders))
    """
    if not isinstance(new, FailureTracker):
        raise InvalidConfiguration(f"tracker={new!r}: expected a FailureTracker")
    previous = tracker
    if previous.halts and new.halt_manager is not previous.halt_manager:
        _log.tracker_replaced_while_halted([halt.scope for halt in previous.halts])
    _put(new)
    return restoring(_put, previous)


def follow(begin: Callable[[FailureTracker], Callable[[], None]]) -> Callable[[], None]:
    """Have something begun with the shared tracker, and anew with each that replaces it.

    Args:
        begin: Begins it with a tracker; what it returns ends it.

    Returns:
        What ends it for good.
    """
    _following[begin] = begin(tracker)

    def end() -> None:
        _following.pop(begin, _nothing)()

    return end


_following: dict[Callable[[FailureTracker], Callable[[], None]], Callable[[], None]] = {}


def _nothing() -> None:
    """What ends what has ended."""


def _put(new: FailureTracker) -> None:
    global tracker  # noqa: PLW0603  # one shared tracker for the process
    tracker = new
    for begin, end in list(_following.items()):
        end()
        _following[begin] = begin(new)
