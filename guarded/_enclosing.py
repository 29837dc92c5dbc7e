"""Enclosing: the blocks and coroutine calls that code runs in, as the calls and blocks within them see them."""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

    from guarded._tracker import FailureTracker


class Enclosing(Protocol):
    """What a `track_signal` block, or the call of a guarded coroutine function, tells what runs within it."""

    outer: Enclosing | None
    """What it runs in itself."""

    ended: bool
    """Whether it is over: tasks that were started in it may outlive it."""

    @property
    def strategy(self) -> str | None:
        """The strategy of the nearest block that names one; None = nobody has said."""

    @property
    def symbol(self) -> str | None:
        """The symbol of the nearest block that names one; None = nobody has said."""

    def resolve_context(self) -> dict[str, object]:
        """What it adds to the record of a failure; never raises."""

    def note_failure(self, tracker: FailureTracker) -> None:
        """Hear that a failure was recorded in its course."""


enclosing: ContextVar[Enclosing | None] = ContextVar("guarded_enclosing", default=None)
"""The innermost one; tasks inherit it, threads do not."""


def nearest_open(within: Enclosing | None) -> Enclosing | None:
    """The innermost one that is not over, for something that is entered now.

    The way there is made short for those who come after, so that a task which starts its successor from within a
    block, over and over, does not make a chain of all blocks that ever were.
    """
    while within is not None and within.ended:
        within = within.outer
    if within is not None:
        while within.outer is not None and within.outer.ended:
            within.outer = within.outer.outer
    return within


def around() -> Iterator[Enclosing]:
    """What this code runs in and is not over, the innermost first."""
    one = nearest_open(enclosing.get())
    while one is not None:
        yield one
        one = nearest_open(one.outer)
