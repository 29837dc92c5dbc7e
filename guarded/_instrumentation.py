"""Instrumentation: what one call of `instrument` guards, and the report of it."""

from __future__ import annotations

import dataclasses
import functools
import weakref
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

import wrapt

from guarded import _faults, _log
from guarded._decorator import Settings, guard_in, guarded_form, with_guard
from guarded._errors import InvalidConfiguration
from guarded._halt_actions import HaltActions
from guarded._inherited import inherited_form
from guarded._overrides import Patch
from guarded._subclasses import family
from guarded._targets import is_named
from guarded._unrecovered import Unrecovered

if TYPE_CHECKING:
    from guarded._guard import Guard
    from guarded._hosts import Host
    from guarded._targets import Target

_METHODS = (classmethod, staticmethod, functools.partialmethod)
_ALREADY = "guarded already, by"
_CLASS_CELL = "__class__"
_form: Any = guarded_form  # wrapt is typed for makers of proxies only


class Methods(NamedTuple):
    """Which methods are guarded, and how.

    Attributes:
        names: Their names, with wildcards; none for all callbacks of the host.
        host: Whose strategies the classes are, if they are some host's.
        given: What the user gave; it goes before what the host has.
    """

    names: tuple[str, ...]
    host: Host | None
    given: Settings

    def of(self, cls: type) -> list[str]:
        """The names of a class's methods that are to be guarded."""
        if not self.names and self.host is not None:
            return self.host.callbacks_of(cls)
        there = {name: found for one in reversed(cls.__mro__[:-1]) for name, found in vars(one).items()}
        return [name for name in there if name in self.names or self._fits(name, there[name])]

    def _fits(self, name: str, found: object) -> bool:
        """Whether wildcards stand for an attribute: for methods, and not for properties, classes and values."""
        is_method = isinstance(found, _METHODS) or (callable(found) and not isinstance(found, type))
        return is_method and any(is_named(name, wanted) for wanted in self.names)

    def settings_of(self, name: str, found: object) -> Settings:
        """How one of them is guarded."""
        if self.host is None:
            return self.given
        plain = Settings()
        given = {key: value for key, value in self.given._asdict().items() if value is not getattr(plain, key)}
        return self.host.settings_of(name, found)._replace(**given)


class Instrumentation:
    """What one call of `instrument` guards, and goes on to guard; its text is a report.

    Attributes:
        target: What it was told to guard.
        methods: Which methods, and how.
        modules: In which modules, if it was told of modules.
    """

    def __init__(self, target: str, methods: Methods, number: int) -> None:
        self.target = target
        self.methods = methods
        self.modules: Target | None = None
        self._number = number
        self._is_seen = False
        self._roots: weakref.WeakSet[type] = weakref.WeakSet()
        self._names: weakref.WeakKeyDictionary[type, dict[str, None]] = weakref.WeakKeyDictionary()
        self._functions: dict[str, tuple[ModuleType, str]] = {}
        self._skipped: dict[str, str] = {}
        self._unrecovered = Unrecovered()
        self._actions: HaltActions | None = None

    @property
    def guarded(self) -> tuple[str, ...]:
        """What is guarded, as in `"my_bot.strategies:Vwap.generate_signals"`."""
        methods = [f"{path_of(cls)}.{name}" for cls, names in self._names.items() for name in names]
        return tuple(sorted([*methods, *self._functions]))

    @property
    def skipped(self) -> dict[str, str]:
        """What could not be guarded, or not as it was asked for, and why."""
        return dict(self._skipped)

    @property
    def is_guarded_elsewhere(self) -> bool:
        """Whether something of it has a guard already, by the decorator or by another instrumentation."""
        return any(why.startswith(_ALREADY) for why in self._skipped.values())

    @property
    def pending(self) -> tuple[str, ...]:
        """What no module has been found for yet among those that are imported."""
        return () if self._is_seen or self.modules is None else (self.modules.text,)

    @property
    def classes(self) -> list[type]:
        """The classes that it was told of, and all that derive from them."""
        return list({id(one): one for root in self._roots for one in family(root)}.values())

    def covers(self, cls: type) -> bool:
        """Whether it was told of a class, or of one of its bases."""
        roots = {id(root) for root in self._roots}
        return any(id(one) in roots for one in cls.__mro__)

    def __repr__(self) -> str:
        return f"<Instrumentation of {self.target}: {len(self.guarded)} guarded>"

    def __str__(self) -> str:
        lines = [f"{self.target}: {len(self.guarded)} guarded"]
        lines += [f"  {name}" for name in self.guarded]
        lines += [f"  {name}: {why}" for name, why in self._skipped.items()]
        lines += [f"  {target} is not imported yet" for target in self.pending]
        return "\n".join(lines)

    # -- putting guards there

    def add_class(self, cls: type, *, strict: bool) -> None:
        """Cover a class and those that derive from it.

        Args:
            cls: The class.
            strict: Whether settings that do not fit its methods are an error; else these have guards without them.
        """
        self._roots.add(cls)
        for one in family(cls):
            self.add_subclass(one, strict=strict and one is cls)

    def add_again(self) -> None:
        """Cover the classes that it was told of once more."""
        for cls in list(self._roots):
            self.add_class(cls, strict=False)

    def add_subclass(self, cls: type, *, strict: bool = False) -> None:
        """Cover one class, by itself."""
        if type(cls).__hash__ is None:
            self._skipped[path_of(cls)] = "its metaclass says that it cannot be hashed"
            return
        for name in self.methods.of(cls):
            self._add_method(cls, name, strict=strict)

    def add_module(self, module: ModuleType) -> list[type]:
        """Cover a module.

        Returns:
            Its classes that are covered now.

        Raises:
            InvalidConfiguration: It is the one that was named, and has nothing of what was.
        """
        modules, host = self.modules, self.methods.host
        if modules is None or not modules.fits(module.__name__):
            return []
        self._is_seen = True
        classes = [cls for cls in modules.classes_in(module) if host is None or host.has(cls)]
        for cls in classes:
            self.add_class(cls, strict=modules.is_named)
        functions = list(modules.functions_in(module))
        for name in functions:
            self._add_function(module, name)
        has_methods = host is not None or any(self.methods.of(one) for cls in classes for one in family(cls))
        if modules.must_match and not functions and not (classes and has_methods):
            raise InvalidConfiguration(modules.missed(module, None if host is None else host.name))
        if host is None and not self.guarded and not self.is_guarded_elsewhere:
            self._tell_near_misses(modules, module)
        return classes

    def _tell_near_misses(self, modules: Target, module: ModuleType) -> None:
        """Say that nothing is guarded by a pattern so far, where a module has what may have been meant."""
        misses = modules.near_misses_in(module)
        if misses:
            self._skipped[module.__name__] = f"it has nothing of it{misses}"
            _log.nothing_guarded(modules.text, module.__name__, misses)
        else:
            self._skipped.pop(module.__name__, None)

    def _add_function(self, module: ModuleType, name: str) -> None:
        path = f"{module.__name__}:{name}"
        guard = guard_in(vars(module)[name])
        if guard is not None and not self._is_own(guard):
            self._skipped[path] = _already(guard)
        elif guard is None and self._guard(module, name, path, strict=False):
            self._functions[path] = (module, name)

    def _add_method(self, cls: type, name: str, *, strict: bool) -> None:
        path = f"{path_of(cls)}.{name}"
        owners = [one for one in cls.__mro__ if name in vars(one)]
        guard = guard_in(vars(owners[0])[name])
        if guard is None:
            if not self._guard(cls, name, path, strict=strict):
                return
            owners = [cls, *(one for one in owners if one is not cls)]
        elif not self._is_own(guard):
            self._skipped[path] = _already(guard)
        if owners[0] is cls and self._is_own(own := guard_in(vars(cls)[name])):
            self._names.setdefault(cls, {})[name] = None
            _renew_class_cell(own, cls)
        for one in owners[1:]:
            _note_overridden(one, name)

    def _guard(self, holder: type | ModuleType, name: str, path: str, *, strict: bool) -> bool:
        """Put a guard in the place of an attribute; whether that worked."""
        _, _, found = wrapt.resolve_path(holder, name)
        is_inherited = name not in vars(holder)
        patch = Patch(name, found, is_inherited, self._number, self._unrecovered)
        form = inherited_form(holder, name) if isinstance(holder, type) and is_inherited else _form
        settings = self.methods.settings_of(name, found)._replace(patch=patch)
        fault: InvalidConfiguration | None = None
        for given in (settings,) if strict else (settings, *_without_names(settings)):
            try:
                wrapt.wrap_object(holder, name, form, (given,))
            except InvalidConfiguration as error:
                fault = fault or error
            except Exception as error:  # noqa: BLE001  # it cannot be called; or its class does not let it be replaced
                self._skipped[path] = str(error)
                return False
            else:
                self._note(path, fault)
                return True
        if strict and fault is not None:
            raise fault
        self._skipped[path] = str(fault)
        return False

    def _note(self, path: str, fault: InvalidConfiguration | None) -> None:
        """Note that something is guarded, and what of its settings did not fit it."""
        self._skipped.pop(path, None)
        if fault is not None:
            self._skipped[path] = f"guarded, but without names of its own: {fault}"
            _faults.report(f"{path} is guarded, but without names of its own", fault)

    def _is_own(self, guard: Guard | None) -> bool:
        return guard is not None and guard.patch is not None and guard.patch.number == self._number

    def act_on_halts(self) -> None:
        """Have the host's halt action taken when trading halts."""
        host = self.methods.host
        if host is not None and host.on_halt is not None:
            self._actions = HaltActions(host, self.methods.given, lambda: self.classes)

    # -- taking them off

    def take_off(self) -> dict[str, str]:
        """Put back what was there.

        Returns:
            What is left as it is, for somebody has put something else there since, and why.
        """
        if self._actions is not None:
            self._actions.end()
        left: dict[str, str] = {}
        places: list[tuple[type | ModuleType, str, str]] = [
            (cls, name, f"{path_of(cls)}.{name}") for cls, names in self._names.items() for name in names
        ]
        places += [(module, name, path) for path, (module, name) in self._functions.items()]
        for holder, name, path in places:
            guard = guard_in(vars(holder).get(name))
            if guard is None or guard.patch is None or not self._is_own(guard):
                left[path] = "something else has been put in its place since"
                continue
            try:
                _put_back(holder, name, guard.patch)
            except Exception as error:  # noqa: BLE001  # a metaclass may raise anything
                left[path] = str(error)
        self._names.clear()
        self._functions.clear()
        self._roots.clear()
        return left


def path_of(cls: type) -> str:
    """A class's module and its name in it."""
    return f"{cls.__module__}:{cls.__qualname__}"


def _without_names(settings: Settings) -> list[Settings]:
    """The same without what may not fit a method's parameters: its symbol and context, then its strategy, too."""
    nameless = settings._replace(symbol=None, context=None)
    return [nameless, nameless._replace(strategy=None)]


def _put_back(holder: type | ModuleType, name: str, patch: Patch) -> None:
    if patch.is_inherited and name == patch.name:  # under another name somebody has put it there
        delattr(holder, name)
    else:
        setattr(holder, name, patch.original)


def _note_overridden(cls: type, name: str) -> None:
    """Let the guard of a method that may be called through `super()` know that such a call is part of another."""
    guard = guard_in(vars(cls)[name])
    if guard is not None and guard.patch is not None and not guard.patch.overridden:
        guard.patch = dataclasses.replace(guard.patch, overridden=True)
        setattr(cls, name, with_guard(vars(cls)[name], guard))


def _already(guard: Guard) -> str:
    by = "guarded_signal" if guard.patch is None else "another instrument"
    return f"{_ALREADY} {by}"


def _renew_class_cell(guard: Guard | None, cls: type) -> None:
    """Have `super()` without arguments work in a class that was made anew from another, with its methods in it.

    So do `attrs.define` and `dataclass(slots=True)`; they look for the cells in the methods, which guards hide.
    """
    function = None if guard is None else guard.function
    if not isinstance(function, FunctionType) or _CLASS_CELL not in function.__code__.co_freevars:
        return
    cells: tuple[Any, ...] = function.__closure__ or ()
    cell = cells[function.__code__.co_freevars.index(_CLASS_CELL)]
    if cell.cell_contents is not cls and _is_the_same_anew(cell.cell_contents, cls):
        cell.cell_contents = cls


def _is_the_same_anew(before: type, cls: type) -> bool:
    """Whether a class was made from another with its name, module and bases; it may have its path only later."""
    return (before.__module__, before.__name__, before.__bases__) == (cls.__module__, cls.__name__, cls.__bases__)
