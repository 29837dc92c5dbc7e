"""What an exception shows beside its class and attributes: its text, and where it was raised."""

from __future__ import annotations

import sys
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from types import EllipsisType, FrameType, TracebackType

# Read through the slot, because an exception may override `__getattribute__`.
_traceback = BaseException.__dict__["__traceback__"].__get__

_LONGEST_TEXT = 10_000
_MOST_FRAMES = 64


class Evidence:
    """One exception under examination; what is costly to read is read once, and only if a rule asks for it."""

    __slots__ = ("_origin", "_text", "error")

    def __init__(self, error: BaseException) -> None:
        self.error = error
        self._text: str | EllipsisType | None = ...
        self._origin: list[str] | None = None

    def text(self) -> str | None:
        """The first 10,000 characters of `str(error)`; None where that raises."""
        if self._text is ...:
            self._text = _text(self.error)
        return self._text

    def is_from(self, prefixes: tuple[str, ...]) -> bool:
        """Whether it was raised in one of some modules or packages, each given with a dot after it.

        It was raised in the innermost frame, and in the frames outwards from there through the standard library, up
        to and with the first that is not of it. A `KeyError` out of `configparser` was raised there, an error that
        pandas got out of `json` in both of these, and one of a strategy under `asyncio.run` in the strategy alone.
        Frames without a module name are left out.
        """
        if self._origin is None:
            self._origin = _origin(self.error)
        return any(module.startswith(prefixes) for module in self._origin)


def _text(error: BaseException) -> str | None:
    try:
        return str(error)[:_LONGEST_TEXT]
    except Exception:  # noqa: BLE001  # a hostile __str__ may raise anything
        return None


def _origin(error: BaseException) -> list[str]:
    """The modules in which it was raised, each with a dot after it, the innermost first."""
    modules: list[str] = []
    for frame in reversed(_innermost_frames(_traceback(error))):
        name = dict.get(frame.f_globals, "__name__")
        if isinstance(name, str):
            modules.append(f"{name}.")
            if name.partition(".")[0] not in sys.stdlib_module_names:
                break
    return modules


def _innermost_frames(traceback: TracebackType | None) -> deque[FrameType]:
    frames: deque[FrameType] = deque(maxlen=_MOST_FRAMES)
    while traceback is not None:
        frames.append(traceback.tb_frame)
        traceback = traceback.tb_next
    return frames
