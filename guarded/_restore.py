"""Restore: what a setting's function returns, so that `with set_x(...):` puts the old value back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


class Restore(Generic[T]):
    """A context manager that does nothing on entry and puts a previous value back on exit.

    Whoever wants the setting for good ignores it.
    """

    __slots__ = ("_previous", "_put")

    def __init__(self, put: Callable[[T], object], previous: T) -> None:
        self._put = put
        self._previous = previous

    def __enter__(self) -> None:
        """Do nothing: the setting has been made already."""

    def __exit__(self, *exc_info: object) -> None:
        """Put the previous value back."""
        self._put(self._previous)


def restoring(put: Callable[[T], object], previous: T) -> Restore[T]:
    """Let a setting be undone at the end of a `with` block.

    Args:
        put: Makes the setting; called with `previous` when the block ends, however it ends.
        previous: What was set before.

    Returns:
        The context manager.
    """
    return Restore(put, previous)
