"""Targets: what `instrument` is told to guard, as patterns over modules and the names in them."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from fnmatch import fnmatchcase
from importlib.machinery import PathFinder
from importlib.util import find_spec
from pkgutil import iter_modules
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any

from guarded._checks import near_miss
from guarded._errors import InvalidConfiguration

if TYPE_CHECKING:
    from collections.abc import Iterator

_WILDCARDS = frozenset("*?[")
_EXAMPLES = '"my_bot.strategies:Vwap.generate_signals" or "my_bot.strategies.*:*.generate_signals"'


@dataclass(frozen=True, slots=True)
class Target:
    """Some modules, and some classes and functions in them.

    Attributes:
        text: What was given, for reports.
        module: The modules' names; with wildcards, of which `*` stands for dots as well.
        path: The names of what is in them, from the module inwards; each with wildcards. Empty: all classes, and the
            functions that have a method's name.
        methods: The names of the methods of those classes, with wildcards; none: those that a host calls.
        is_package: Whether it is about all modules in the module, too.
    """

    text: str
    module: str
    path: tuple[str, ...]
    methods: tuple[str, ...]
    is_package: bool = False

    @property
    def is_named(self) -> bool:
        """Whether it names all that it is about."""
        return not any(map(_has_wildcard, (self.module, *self.path, *self.methods)))

    @property
    def must_match(self) -> bool:
        """Whether it is about one module, which has to have what it is about."""
        return not (self.is_package or _has_wildcard(self.module))

    def fits(self, module: str) -> bool:
        """Whether it is about a module."""
        if self.is_package:
            return module == self.module or module.startswith(f"{self.module}.")
        return fnmatchcase(module, self.module)

    def imported(self) -> list[ModuleType]:
        """The modules that it is about and that are imported."""
        found = [module for name, module in sorted(sys.modules.items()) if self.fits(name)]
        return [module for module in found if isinstance(module, ModuleType)]

    def missed(self, module: ModuleType, host: str | None) -> str:
        """What is to be said of a module that has nothing of what it is about."""
        where = f"target={self.text!r} of instrument: {module.__name__}"
        if host is not None and not self.methods:
            return f"{where} has no strategy of {host}"
        if not self.path and isinstance(vars(module).get(self.methods[0]), type):
            return f"{where}: {self.methods[0]} is a class; name its methods, as in {self.text + '.generate_signals'!r}"
        wanted = ".".join((*self.path, " or ".join(self.methods)))
        return f"{where} has no {wanted}{self.near_misses_in(module)}"

    def near_misses_in(self, module: ModuleType) -> str:
        """What may have been meant of what a module has, for the end of an error's text."""
        known = _names_in(module)
        misses = [near_miss(name, known) for name in (*self.path, *self.methods) if name not in known]
        return next(filter(None, misses), "")

    def classes_in(self, module: ModuleType) -> Iterator[type]:
        """The classes of a module that it is about: those that are defined there, and those that it names."""
        return (found for _, found in _found(module, module, self.path or ("*",)) if isinstance(found, type))

    def functions_in(self, module: ModuleType) -> Iterator[str]:
        """The names of a module's functions that it is about: those that are defined there, and those that it names."""
        if self.path:
            return
        for name, found in vars(module).items():
            wanted = any(is_named(name, method) for method in self.methods)
            if wanted and _is_function(found) and (name in self.methods or _is_of(found, module)):
                yield name


def parsed(text: str, methods: tuple[str, ...], *, of_host: bool) -> Target:
    """The target that a text stands for.

    Args:
        text: A module, or a module and a path in it with a colon between; both may have wildcards.
        methods: The names of the methods; none if the path ends in one.
        of_host: Whether it may name no method, for a host's callbacks are meant.

    Raises:
        InvalidConfiguration: It is malformed, names no method, or a module that cannot be found.
    """
    module, colon, path = text.partition(":")
    parts = tuple(path.split(".")) if path else ()
    if not all(module.split(".")) or not all(parts) or (colon and not path) or ":" in path:
        raise InvalidConfiguration(f"target={text!r} of instrument: expected one such as {_EXAMPLES}")
    if not methods and not of_host:
        if not parts:
            raise InvalidConfiguration(
                f"target={text!r} of instrument: it names no method; give their names, as in"
                f' instrument({text!r}, "generate_signals"), or a target such as {_EXAMPLES}'
            )
        parts, methods = parts[:-1], parts[-1:]
    is_package = _is_package(text, module)
    return Target(text, module, parts, methods, is_package=is_package and not path)


def of_module(module: ModuleType, methods: tuple[str, ...]) -> Target:
    """The target that a module stands for; a package is all that is in it, and itself."""
    name = module.__name__
    return Target(name, name, (), methods, is_package=hasattr(module, "__path__"))


def of_base(dotted: str) -> Target:
    """The target that a host's base class is."""
    module, _, name = dotted.rpartition(".")
    return Target(dotted, module, (name,), ())


def is_named(name: str, wanted: str) -> bool:
    """Whether a name is the one that is wanted; wildcards do not stand for what begins with an underscore."""
    return fnmatchcase(name, wanted) and (not name.startswith("_") or wanted.startswith("_"))


def is_whole(module: ModuleType) -> bool:
    """Whether a module has been imported to its end."""
    return not getattr(module.__spec__, "_initializing", False)


def _names_in(module: ModuleType) -> list[str]:
    """The names by which a path may begin or end in a module: of its classes, their methods, and its functions."""
    classes = [found for found in vars(module).values() if isinstance(found, type) and _is_of(found, module)]
    functions = [name for name, found in vars(module).items() if _is_function(found) and _is_of(found, module)]
    return [*functions, *(one.__name__ for one in classes), *(name for one in classes for name in vars(one))]


def _found(module: ModuleType, holder: Any, path: tuple[str, ...]) -> Iterator[tuple[str, object]]:
    first, *rest = path
    for name, found in list(vars(holder).items()):
        if not is_named(name, first) or not (name == first or _is_of(found, module)):
            continue
        if not rest:
            yield name, found
        elif isinstance(found, type):
            yield from _found(module, found, tuple(rest))


def _is_function(found: object) -> bool:
    return isinstance(found, FunctionType) or (callable(found) and not isinstance(found, type))


def _is_of(found: object, module: ModuleType) -> bool:
    return getattr(found, "__module__", None) == module.__name__


def _has_wildcard(text: str) -> bool:
    return not _WILDCARDS.isdisjoint(text)


def _is_package(text: str, module: str) -> bool:
    """Whether a target is about a package, found out without importing anything.

    Raises:
        InvalidConfiguration: There is no such module or package.
    """
    names = module.split(".")
    fixed = names[: next((n for n, name in enumerate(names) if _has_wildcard(name)), len(names))]
    where: list[str] | None = None
    for depth in range(1, len(fixed) + 1):
        name = ".".join(fixed[:depth])
        if name in sys.modules:
            where = list(getattr(sys.modules[name], "__path__", ()))
            continue
        # By its last name: a namespace package with a parent would ask for that, which is not imported.
        spec = find_spec(name) if where is None else PathFinder.find_spec(fixed[depth - 1], where)
        if spec is None:
            siblings = [module.name for module in iter_modules(where)]
            misses = near_miss(fixed[depth - 1], siblings)
            raise InvalidConfiguration(f"target={text!r} of instrument: there is no module {name!r}{misses}")
        where = list(spec.submodule_search_locations or ())
    return bool(where) and fixed == names
