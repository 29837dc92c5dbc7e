"""The guards around callables that are no Python functions: proxies that are the thing itself in all else."""

from __future__ import annotations

import copy
import inspect
import sys
from types import MethodType
from typing import TYPE_CHECKING, Any, Self

import wrapt

if TYPE_CHECKING:
    from collections.abc import Callable

    from guarded._guard import Guard


class GuardedCallable(wrapt.ObjectProxy):  # type: ignore[type-arg]  # generic for type checkers only
    """An object, partial, builtin or Cython function with a guard around its calls.

    Args:
        wrapped: What is guarded.
        guarded: Calls it under guard.
        guard: Its guard.
        rebuild: Makes the like of this around another object: a copy, or what comes out of a pickle.
    """

    def __init__(
        self, wrapped: Any, guarded: Callable[..., Any], guard: Guard, rebuild: Callable[[Any], GuardedCallable]
    ) -> None:
        super().__init__(wrapped)
        self._self_guarded = guarded
        self._self_guard = guard
        self._self_rebuild = rebuild

    @property
    def __guarded__(self) -> Guard:
        return self._self_guard

    @property
    def __signature__(self) -> inspect.Signature:
        return inspect.signature(self.__wrapped__)

    @property
    def _numba_type_(self) -> Any:
        """What numba asks for to compile a call of this into other code, where the guard would be left out."""
        if not hasattr(self.__wrapped__, "_numba_type_"):
            raise AttributeError("_numba_type_")
        raise TypeError(
            f"{self.__name__} is guarded, and would lose its guard inside compiled code: call it from Python"
        )

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        return self._self_guarded(*args, **kwargs)

    def __get__(self, instance: object, owner: type | None = None) -> Self | MethodType:
        """The bound method, if what is guarded would be one; its `__func__` is guarded, too."""
        if instance is None or not hasattr(type(self.__wrapped__), "__get__"):
            return self
        return MethodType(self, instance)

    def __reduce__(self) -> str | tuple[Callable[[Any], GuardedCallable], tuple[Any]]:
        """Pickle by name, as functions do, where its module has it under its name; otherwise what is guarded."""
        name = getattr(self, "__qualname__", None)
        module = sys.modules.get(getattr(self, "__module__", None) or "")
        if isinstance(name, str) and getattr(module, name, None) is self:
            return name
        return self._self_rebuild, (self.__wrapped__,)

    def __reduce_ex__(self, _protocol: object) -> Any:
        return self.__reduce__()

    def __copy__(self) -> GuardedCallable:
        return self._self_rebuild(copy.copy(self.__wrapped__))

    def __deepcopy__(self, memo: dict[int, Any]) -> GuardedCallable:
        return self._self_rebuild(copy.deepcopy(self.__wrapped__, memo))


class GuardedAsyncCallable(GuardedCallable):
    """The same for one that has to be awaited: hosts ask its `__call__` whether it is an `async def`."""

    async def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        return await self._self_guarded(*args, **kwargs)
