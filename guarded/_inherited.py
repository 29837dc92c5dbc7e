"""Inherited methods: their guards in a class that does not define them, in front of whatever `super()` leads to."""

from __future__ import annotations

import functools
from types import FunctionType
from typing import TYPE_CHECKING, Any

from guarded._decorator import guarded_form
from guarded._kinds import Kind, kind_of

if TYPE_CHECKING:
    from collections.abc import Callable


def inherited_form(cls: type, name: str) -> Callable[..., Any]:
    """What makes the guarded form of a method that a class inherits.

    What is guarded looks the method up at each call, after the class in the order of the object's own bases: a subclass
    may have another class that defines it in between.
    """

    def form(found: Any, settings: Any) -> Any:
        return guarded_form(_looked_up(cls, name, found), settings)

    return form


def _looked_up(cls: type, name: str, found: Any) -> Any:
    if isinstance(found, property) and found.fget is not None:
        return found.getter(_like(found.fget, lambda self: getattr(super(cls, self), name)))
    if isinstance(found, classmethod):
        return classmethod(_passing_on(cls, name, found.__func__))
    return _passing_on(cls, name, found) if isinstance(found, FunctionType) else found


def _passing_on(cls: type, name: str, function: Any) -> Any:
    async def call_async(*args: Any, **kwargs: Any) -> Any:
        return await getattr(super(cls, args[0]), name)(*args[1:], **kwargs)

    def steps(*args: Any, **kwargs: Any) -> Any:
        return (yield from getattr(super(cls, args[0]), name)(*args[1:], **kwargs))

    def call(*args: Any, **kwargs: Any) -> Any:
        return getattr(super(cls, args[0]), name)(*args[1:], **kwargs)

    forms = {Kind.COROUTINE: call_async, Kind.GENERATOR: steps}
    return _like(function, forms.get(kind_of(function), call))


def _like(function: Any, form: Callable[..., Any]) -> Any:
    functools.update_wrapper(form, function)
    # Where the class's own bases leave it abstract, one in between may not.
    form.__dict__.pop("__isabstractmethod__", None)
    return form
