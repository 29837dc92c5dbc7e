"""Exception classes by dotted name, looked up in what is loaded: nothing is imported, no lazy module is woken."""

from __future__ import annotations

import builtins
import sys
from typing import TYPE_CHECKING, Any

from guarded._checks import near_miss
from guarded._errors import InvalidConfiguration

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Target = type[BaseException] | str

# Read through the slots, because a metaclass may have attributes of these names.
mro = type.__dict__["__mro__"].__get__
_BUILTIN = {
    name: found
    for name, found in vars(builtins).items()
    if isinstance(found, type) and issubclass(found, BaseException)
}


def checked_targets(given: object, where: str) -> tuple[Target, ...]:
    """The classes and dotted names of a rule; the names of builtins become their classes.

    Args:
        given: A class, a dotted name, or a tuple or list of them.
        where: Where it came from, for the error's text.

    Raises:
        InvalidConfiguration: Something among them is no exception class and no dotted name.
    """
    items = given if isinstance(given, tuple | list) else (given,)
    if not items:
        raise InvalidConfiguration(f"{where}: no exception is named; give a class, a dotted name or several of them")
    return tuple(_checked_target(item, where) for item in items)


def _checked_target(item: Any, where: str) -> Target:
    if isinstance(item, str):
        return _checked_name(item, where)
    if issubclass(type(item), type) and BaseException in mro(item):
        return item  # type: ignore[no-any-return]  # its MRO was just looked at
    raise InvalidConfiguration(
        f"{where}: {item!r} is no exception class; give a class, or its dotted name such as 'ccxt.NetworkError'"
    )


def _checked_name(name: str, where: str) -> Target:
    if name in _BUILTIN:
        return _BUILTIN[name]
    if "." not in name:
        raise InvalidConfiguration(
            f"{where}: {name!r} is no builtin exception; name the module of any other class,"
            f" such as 'mybot.errors.{name if name.isidentifier() else 'Error'}'{near_miss(name, _BUILTIN)}"
        )
    if not all(part.isidentifier() or part == "<locals>" for part in name.split(".")):
        raise InvalidConfiguration(f"{where}: {name!r} is no dotted name; expected one such as 'ccxt.NetworkError'")
    found = find(name)
    if found is not None and BaseException not in mro(found):
        raise InvalidConfiguration(f"{where}: {name!r} is {found!r}, and no exception")
    return name


def label(target: Target) -> str:
    """The name under which a rule shows a class."""
    if isinstance(target, str):
        return target
    return target.__qualname__ if target.__module__ == "builtins" else f"{target.__module__}.{target.__qualname__}"


def defining_path(kind: type) -> str:
    """`__module__.__qualname__`: where a class says that it was defined."""
    return f"{kind.__module__}.{kind.__qualname__}"


def module_of(kind: type) -> str:
    """The module in which a class says that it was defined; nothing where it says something else."""
    module: object = kind.__module__
    return module if isinstance(module, str) else ""


def find(name: str) -> type | None:
    """The class that a dotted name stands for at this moment, or None."""
    for holder, path in _loaded_holders(name):
        found = _descend(holder, path)
        if found is not None:
            return found
    return None


def unsettled(name: str) -> list[Mapping[str, object]]:
    """The namespaces of loaded modules in which a dotted name is not to be found, but might be later."""
    if find(name) is not None:
        return []
    return [_namespace(holder) for holder, _ in _loaded_holders(name)]


def _loaded_holders(name: str) -> Iterable[tuple[object, list[str]]]:
    """The loaded modules that could hold the class, the innermost first, and the path on from there."""
    parts = name.split(".")
    for cut in range(len(parts) - 1, 0, -1):
        holder = sys.modules.get(".".join(parts[:cut]))
        if holder is not None:
            yield holder, parts[cut:]


def _descend(holder: object, path: list[str]) -> type | None:
    for part in path:
        holder = _namespace(holder).get(part)
    return holder if issubclass(type(holder), type) else None  # type: ignore[return-value]  # it is a class


def _namespace(holder: object) -> Mapping[str, object]:
    """What a module or class holds itself; `vars()` would make a lazily loaded module load."""
    try:
        return object.__getattribute__(holder, "__dict__")  # type: ignore[no-any-return]  # every __dict__ maps names
    except AttributeError:
        return {}
