"""What an exception shows beside its class: its text, what it carries, where it was raised and through which calls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from guarded._origin import innermost_frames, origin_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from guarded._attributes import Paths
    from guarded._origin import Origin

# Read through the slots, because an exception may override `__getattribute__`.
_dict = BaseException.__dict__["__dict__"].__get__
_traceback = BaseException.__dict__["__traceback__"].__get__

_LONGEST_NAME = 200


class Evidence:
    """One exception under examination; what is costly to read is read only if a rule asks for it."""

    __slots__ = ("_longest_text", "_values", "error")

    def __init__(self, error: BaseException, longest_text: int) -> None:
        self.error = error
        self._longest_text = longest_text
        self._values: dict[Paths, tuple[Any, ...]] = {}

    def text(self) -> str | None:
        """The beginning of `str(error)` in lower case; None where that raises."""
        try:
            # By the methods of str itself: a text may be of a class of its own, which might hold on to the exception.
            return str.__getitem__(str(self.error), slice(self._longest_text)).lower()
        except Exception:  # noqa: BLE001  # a hostile __str__ may raise anything
            return None

    def names(self) -> Iterable[str]:
        """The attributes that the exception itself carries, apart from what its class has."""
        return dict.keys(_dict(self.error))  # of dict itself: it may be of a class of its own

    def values(self, paths: Paths) -> tuple[Any, ...]:
        """What the paths lead to; those that lead nowhere, or raise, are left out."""
        found = self._values.get(paths)
        if found is None:
            found = self._values[paths] = paths.reached_from(self.error)
        return found

    def calls(self) -> set[str]:
        """The names of the functions on the way to where it was raised, in lower case; the innermost 64 of them."""
        frames = innermost_frames(_traceback(self.error))
        return {frame.f_code.co_name[:_LONGEST_NAME].lower() for frame in frames}

    def origin(self) -> Origin:
        """Where it was raised."""
        return origin_of(_traceback(self.error))
