"""Overrides: whether a guarded call is part of another one, by a method that overrides the one called."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

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
    if not args or _is_outermost(guard, args[0]):
        return False
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_code in _frames and _is_another(frame, guard, args[0]):
            return True
        frame = frame.f_back
    return False


def _is_outermost(guard: Guard, on: object) -> bool:
    """Whether the object's class has no other method of that name, through which this could have been called."""
    name = guard.patch.name if guard.patch is not None else ""
    for cls in type(on).__mro__:
        if name in cls.__dict__:
            return getattr(cls.__dict__[name], "__guarded__", None) is guard
    return False


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
