"""Subclasses: being told of every class that is made from one, by its `__init_subclass__`."""

from __future__ import annotations

import functools
from inspect import Parameter
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_HOOK = "__init_subclass__"
_REPLACED = "__guarded_replaces__"

ABSENT = Parameter.empty
"""What stands for what was not there; a class, so that it is the same in every process."""


def family(cls: type) -> list[type]:
    """A class and all that derive from it, each after its bases."""
    found: dict[int, type] = {}  # by identity: a metaclass may say that its classes cannot be hashed
    left = [cls]
    while left:
        one = left.pop()
        if id(one) not in found:
            found[id(one)] = one
            left += type.__subclasses__(one)
    return sorted(found.values(), key=lambda one: len(one.__mro__))


def follow(cls: type, made: Callable[[type], None]) -> None:
    """Have a function called with every class that is made from one, now and later.

    Each class of the family that has an `__init_subclass__` of its own is told by that, for it may not call `super()`.
    """
    for one in family(cls):
        if one is cls or _HOOK in vars(one):
            _hook(one, made)


def unfollow(classes: Iterable[type], is_followed: Callable[[type], bool]) -> None:
    """Put back what was there, but for those that somebody else follows."""
    for cls in classes:
        replaced = getattr(_own_hook(cls), _REPLACED, None)
        if replaced is None or is_followed(cls):
            continue
        if replaced is ABSENT:
            delattr(cls, _HOOK)
        else:
            setattr(cls, _HOOK, replaced)


def _own_hook(cls: type) -> object:
    return getattr(vars(cls).get(_HOOK), "__func__", None)


def _hook(cls: type, made: Callable[[type], None]) -> None:
    if hasattr(_own_hook(cls), _REPLACED):
        return
    replaced = vars(cls).get(_HOOK, ABSENT)

    def __init_subclass__(sub: type, /, *args: Any, **kwargs: Any) -> None:  # noqa: N807  # Python's own name for it
        if replaced is ABSENT:
            super(cls, sub).__init_subclass__(*args, **kwargs)  # type: ignore[arg-type]  # it is a classmethod
        else:
            replaced.__get__(None, sub)(*args, **kwargs)
        if _HOOK in vars(sub):
            _hook(sub, made)
        made(sub)

    if replaced is not ABSENT:
        functools.update_wrapper(__init_subclass__, replaced.__func__)
    setattr(__init_subclass__, _REPLACED, replaced)
    try:
        setattr(cls, _HOOK, classmethod(__init_subclass__))
    except (
        TypeError,
        AttributeError,
    ):  # a class that is made in C, or that does not let it be set: name its subclasses
        pass
