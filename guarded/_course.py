"""Course: what a call itself has recorded, told apart from what others recorded meanwhile.

A success whose own course recorded a failure counts neither way. The course of a plain function is what its thread
does until it returns. The course of a coroutine function, and of a block, is what runs within it in the sense of
`_enclosing`: what it awaits, and the tasks that are started in it, for they inherit it through the context.
"""

from __future__ import annotations

import threading
import weakref
from typing import TYPE_CHECKING

from guarded._enclosing import Enclosing, around, enclosing, nearest_open

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextvars import Token

    from guarded._tracker import FailureTracker

_thread = threading.local()


class Course:
    """The course of one call of a guarded coroutine function."""

    # Defaults of the class, not slots: a course is made for every call, and most never need more than the tracker.
    tracker: FailureTracker
    failed = False
    ended = False
    outer: Enclosing | None = None
    strategy: str | None = None
    symbol: str | None = None

    def inherit(self, outer: Enclosing) -> None:
        """Take the names of what the call runs in."""
        self.outer, self.strategy, self.symbol = nearest_open(outer), outer.strategy, outer.symbol

    def resolve_context(self) -> dict[str, object]:
        """The call's own context is found out by its guard."""
        return {}

    def note_failure(self, tracker: FailureTracker) -> None:
        """Hear that a failure was recorded in this course."""
        if tracker is self.tracker:
            self.failed = True


def enter(course: Course, tracker: FailureTracker) -> Token[Enclosing | None]:
    """Begin the course of a call; what is returned is for `leave`."""
    course.tracker = tracker
    outer = enclosing.get()
    if outer is not None:
        course.inherit(outer)
    return enclosing.set(course)


def leave(course: Course, token: Token[Enclosing | None]) -> None:
    """End the course of a call."""
    course.ended = True
    try:
        enclosing.reset(token)
    except ValueError:  # a coroutine that somebody drives by hand, each step in another context
        pass


def mark(tracker: FailureTracker, sequence: int) -> None:
    """Note where a failure was recorded: in this thread, and in the blocks and coroutine calls around.

    Args:
        tracker: Who recorded it.
        sequence: The failure's number in that tracker.
    """
    marks: Mapping[weakref.ref[FailureTracker], int] = getattr(_thread, "marks", {})
    alive = {other: number for other, number in marks.items() if other() is not None}
    _thread.marks = {**alive, weakref.ref(tracker): sequence}
    for one in around():
        one.note_failure(tracker)


def thread_failed(tracker: FailureTracker, since: int) -> bool:
    """Whether this thread has recorded a failure with a number above `since`."""
    marks: Mapping[weakref.ref[FailureTracker], int] = getattr(_thread, "marks", {})
    return marks.get(weakref.ref(tracker), 0) > since
