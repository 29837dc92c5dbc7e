"""What an exception shows beside its class: its text, what it carries, where it was raised and through which calls."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, Any

from guarded._origin import origin_of

if TYPE_CHECKING:
    from collections.abc import Iterable

    from guarded._attributes import Paths
    from guarded._origin import Origin

# Read through the slots, because an exception may override `__getattribute__`.
_dict = BaseException.__dict__["__dict__"].__get__
_traceback = BaseException.__dict__["__traceback__"].__get__

_LONGEST_TEXT = 10_000
_MOST_FRAMES = 64


class Evidence:
    """One exception under examination; what is costly to read is read only if a rule asks for it."""

    __slots__ = ("_values", "error")

    def __init__(self, error: BaseException) -> None:
        self.error = error
        self._values: dict[Paths, tuple[Any, ...]] = {}

    def text(self) -> str | None:
        """The first 10,000 characters of `str(error)` in lower case; None where that raises."""
        try:
            return str(self.error)[:_LONGEST_TEXT].lower()
        except Exception:  # noqa: BLE001  # a hostile __str__ may raise anything
            return None

    def names(self) -> Iterable[str]:
        """The attributes that the exception itself carries, apart from what its class has."""
        return _dict(self.error)  # type: ignore[no-any-return]  # every __dict__ maps names

    def values(self, paths: Paths) -> tuple[Any, ...]:
        """What the paths lead to; those that lead nowhere, or raise, are left out."""
        found = self._values.get(paths)
        if found is None:
            found = self._values[paths] = paths.reached_from(self.error)
        return found

    def calls(self) -> set[str]:
        """The names of the functions on the way to where it was raised, in lower case; the innermost 64 of them."""
        names: deque[str] = deque(maxlen=_MOST_FRAMES)
        traceback = _traceback(self.error)
        while traceback is not None:
            names.append(traceback.tb_frame.f_code.co_name)
            traceback = traceback.tb_next
        return {name.lower() for name in names}

    def origin(self) -> Origin:
        """Where it was raised."""
        return origin_of(_traceback(self.error))
