"""Overrides: whether a guarded call is part of another one, by a method that overrides the one called."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import CodeType, FrameType

    from guarded._guard import Guard
    from guarded._unrecovered import Unrecovered


@dataclass(frozen=True, slots=True)
class Patch:
    """What an attribute of a class or module was before it was guarded there.

    Attributes:
        name: The attribute's name.
        original: What is guarded, as it was found.
        is_inherited: Whether it was found in a base: nothing of that name was there.
        number: That of the instrumentation.
        methods: What is known of the failures of all that were guarded together.
        overridden: Whether a guarded method of a subclass may call it through `super()`.
    """

    name: str
    original: object
    is_inherited: bool
    number: int
    methods: Unrecovered
    overridden: bool = False


_frames: set[CodeType] = set()
"""The code of the functions that run what is guarded; each knows a `guard`, or as its method `self`, and `args`."""


def runs_guarded(code: CodeType) -> None:
    """Know the frames of one more function that runs what is guarded."""
    _frames.add(code)


def is_part_of_another(guard: Guard, args: tuple[object, ...]) -> bool:
    """Whether a call is part of a guarded call of another class's method of that name, on the same object.

    That one is then the judge of it: what this one raises is for the method that called `super()` to see, and counts
    once. The stack is asked, so that the calls of methods that nobody overrides need not leave word of themselves.
    """
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_code in _frames and _is_another(frame, guard, args[0]):
            return True
        frame = frame.f_back
    return False


def is_called_through_super(guard: Guard, args: tuple[object, ...]) -> bool:
    """Whether the object's own class has another method of that name, so that `super()` has led here."""
    if not args or guard.patch is None:
        return False
    on, name = args[0], guard.patch.name
    for cls in (on if isinstance(on, type) else type(on)).__mro__:
        if name in cls.__dict__:
            return not _is_in(guard, cls.__dict__[name])
    return False


def _is_in(guard: Guard, found: Any) -> bool:
    """Whether an attribute is the guard's function, or was made of it."""
    inner = found.fget if isinstance(found, property) else getattr(found, "__func__", found)
    return getattr(inner, "__guarded__", None) is guard


def _is_another(frame: FrameType, guard: Guard, on: object) -> bool:
    known = frame.f_locals
    other: Guard = known["guard"] if "guard" in known else known["self"]
    patch, args = guard.patch, known["args"]
    return (
        other is not guard
        and patch is not None
        and other.patch is not None
        and other.patch.name == patch.name
        and bool(args)
        and args[0] is on
    )
