"""Raise exceptions through frames of chosen modules and functions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def raised(function: Callable[[], Any]) -> Exception:
    """What a function raises."""
    try:
        function()
    except Exception as error:  # noqa: BLE001  # the point is to get at it
        return error
    raise AssertionError("it raised nothing")


def raised_through(*frames: str | tuple[str, str] | None, error: BaseException | None = None) -> BaseException:
    """An exception, by default a ValueError, with a frame in each module or (module, function), the innermost last."""
    raised = ValueError("x") if error is None else error
    inner: Any = None
    for frame in reversed(frames):
        module, function = frame if isinstance(frame, tuple) else (frame, "step")
        scope: dict[str, Any] = {"inner": inner, "error": raised, "__name__": module}
        exec(f"def {function}():\n    if not inner: raise error\n    inner()", scope)  # noqa: S102  # so that its module has that name
        if module is None:
            del scope["__name__"]
        inner = scope[function]
    try:
        inner()
    except BaseException as caught:  # noqa: BLE001  # the point is to get at it
        return caught.with_traceback(caught.__traceback__ and caught.__traceback__.tb_next)
    raise AssertionError("it raised nothing")
