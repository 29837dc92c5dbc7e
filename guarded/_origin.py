"""Origin: in which modules an exception was raised, and whose code that is."""

from __future__ import annotations

import sys
from collections import deque
from functools import cache, lru_cache
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, TypeGuard

from guarded._libraries import FAMILIES, pack_of

if TYPE_CHECKING:
    from types import FrameType, TracebackType

# The modules in which it was raised, the innermost first; OWN_CODE before them, where that is the user's own.
Origin = tuple[str, ...]

OWN_CODE = "own code"
SETTINGS_CODE = "settings code"
_MOST_FRAMES = 64
_SETTINGS = frozenset({"conf", "config", "configs", "configuration", "settings"})


def origin_of(traceback: TracebackType | None) -> Origin:
    """Where an exception was raised.

    It was raised in the innermost frame, and in the frames outwards from there through the standard library, up to
    and with the first that is not of it. A `KeyError` out of `configparser` was raised there, an error that pandas got
    out of `json` in both of these, and one of a strategy under `asyncio.run` in the strategy alone. What a package
    raised that another of the same family called, such as pydantic for pydantic_settings, was raised in both. Frames
    without a module name are left out, and of a deep traceback the innermost 64 are looked at.
    """
    if traceback is None:
        return ()
    innermost = traceback
    while innermost.tb_next is not None:
        innermost = innermost.tb_next
    frame = innermost.tb_frame
    module = dict.get(frame.f_globals, "__name__")
    return (_of_one(module, frame.f_code.co_filename) if isinstance(module, str) else ()) or _of_several(traceback)


@lru_cache(maxsize=1024)
def _of_one(module: str, file: str) -> Origin:
    """The origin of what was raised in a module; none where one has to look further outwards."""
    if not _is_name(module) or is_standard(module) or pack_of(module) in FAMILIES:
        return ()
    if is_installed(file):
        return (module,)
    if pack_of(module) is None:
        return (OWN_CODE, module)
    return (OWN_CODE,) if PurePath(file).is_absolute() and Path(file).exists() else (module,)  # the user's own redis.py


def _is_name(module: object) -> TypeGuard[str]:
    """Whether it is a module's name, and not a stand-in for one, as compiled code has it."""
    return isinstance(module, str) and module.strip("<?>") != ""


def innermost_frames(traceback: TracebackType | None) -> deque[FrameType]:
    """The frames of a traceback, of a deep one the last 64."""
    frames: deque[FrameType] = deque(maxlen=_MOST_FRAMES)
    while traceback is not None:
        frames.append(traceback.tb_frame)
        traceback = traceback.tb_next
    return frames


def _of_several(traceback: TracebackType | None) -> Origin:
    modules: list[str] = []
    family: str | None = None
    for frame in reversed(innermost_frames(traceback)):
        module = dict.get(frame.f_globals, "__name__")
        if not _is_name(module):
            continue
        if not modules and (found := _of_one(module, frame.f_code.co_filename)):
            return found
        if family is None:
            modules.append(module)
            family = pack_of(module)
            if not is_standard(module) and family not in FAMILIES:
                break
        elif pack_of(module) == family:
            modules.append(module)
        else:
            break
    return tuple(dict.fromkeys(modules))


def is_from(origin: Origin, places: tuple[str, ...]) -> bool:
    """Whether it was raised in one of some modules and packages; `OWN_CODE` and `SETTINGS_CODE` are places too."""
    return any(_is_in(module, place) for module in origin for place in places)


def _is_in(module: str, place: str) -> bool:
    if place == SETTINGS_CODE:
        return not _SETTINGS.isdisjoint(module.split("."))
    return module == place or module.startswith(f"{place}.")


@lru_cache(maxsize=1024)
def is_standard(module: str) -> bool:
    """Whether a module is of the standard library."""
    return module.partition(".")[0] in sys.stdlib_module_names


def is_installed(file: str) -> bool:
    """Whether a file is of an installed package."""
    return file.startswith(_installed_folders())


@cache
def _installed_folders() -> tuple[str, ...]:
    return tuple(folder for folder in sys.path if PurePath(folder).name in {"site-packages", "dist-packages"})
