"""configure: a program's guards from a configuration file, applied as a whole or not at all."""

from __future__ import annotations

import importlib
import json
import os
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from guarded import _mode
from guarded._checks import checked_function, near_miss
from guarded._errors import InvalidConfiguration
from guarded._instrument import instrument, uninstrument
from guarded._locks import ForkSafeLock
from guarded._mode import set_mode
from guarded._secrets import MASK, is_secret_name, mask
from guarded._shared import set_failure_tracker
from guarded._tracker import FailureTracker
from guarded.stores._urls import shown

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from guarded._config import Faults, Plan
    from guarded._failure import SignalGenerationFailure
    from guarded._instrumentation import Instrumentation
    from guarded._mode import Mode

SHOWN_ITEMS: Final = 5
"""How many items of a list are shown before the rest is only counted."""


@dataclass(frozen=True, slots=True)
class Configuration:
    """What a configuration file has put in force; its text says what that is, and where each setting came from.

    Attributes:
        path: The file.
        settings: The effective settings, with the defaults of what the file leaves out.
        origins: Where each came from, by its key such as `tracker.threshold`: `"file"`, `"default"`, or an environment
            variable.
        instrumented: What is guarded by it: of each `[[instrument]]`, then of each host.

    Example:
        print(configure())
    """

    path: Path
    settings: Mapping[str, Any] = field(repr=False)
    origins: Mapping[str, str] = field(repr=False)
    instrumented: tuple[Instrumentation, ...] = ()

    def __str__(self) -> str:
        lines = [f"guarded is configured by {self.path}", *described(self.settings, self.origins)]
        return "\n".join([*lines, *(str(one) for one in self.instrumented)])


def configure(path: str | os.PathLike[str] | None = None) -> Configuration:
    """Set up guarded from a configuration file: call it on a program's first line.

    The file is checked as a whole before anything is done. Then the mode and a shared tracker are set, what is named in
    it is instrumented, and the functions that it names are imported. If one of these fails, nothing of it stays. To
    call it again is harmless: a file that has not changed is left as it is, and one that has replaces the old one; the
    tracker stays where its settings are the same.

    Args:
        path: The file. None: the one that the environment variable `GUARDED_CONFIG` names; or else, from the current
            folder upwards, the first `guarded.toml`, or `pyproject.toml` with a table `[tool.guarded]`.

    Returns:
        What is in force.

    Raises:
        InvalidConfiguration: There is no such file, or something in it is wrong: one line for each fault, with the
            file, the key and what was expected.
        StoreUnavailable: The store cannot be opened.

    Example:
        import guarded

        print(guarded.configure())  # with a guarded.toml beside the program
    """
    global _in_force  # noqa: PLW0603  # one configuration for the process
    from guarded import _config  # noqa: PLC0415  # what it needs comes with an extra

    if _pending is not None:  # a module that the configuration names calls this while it is imported for it
        return _pending
    with _lock:
        file = _config.find(path, os.environ, Path.cwd())
        if _in_force is None or not (_in_force.plan.path == file.path and _in_force.plan.is_unchanged()):
            plan = _config.planned(file, os.environ)
            with _as_pending(plan):
                _in_force = _applied(plan, _in_force)
        return _in_force.configuration


def folder_of(path: str | os.PathLike[str] | None = None) -> Path:
    """Where the configuration is that `configure` would find.

    Raises:
        InvalidConfiguration: See `configure`.
    """
    from guarded import _config  # noqa: PLC0415  # what it needs comes with an extra

    return _config.find(path, os.environ, Path.cwd()).path.parent


def planned(path: str | os.PathLike[str] | None = None) -> Plan:
    """Find, read and check a configuration, without importing what it names.

    Args:
        path: See `configure`.

    Raises:
        InvalidConfiguration: See `configure`.
    """
    from guarded import _config  # noqa: PLC0415  # what it needs comes with an extra

    return _config.planned(_config.find(path, os.environ, Path.cwd()), os.environ)


def check(path: str | os.PathLike[str] | None = None) -> Configuration:
    """Check a configuration, and import the functions that it names; apply nothing.

    Args:
        path: See `configure`.

    Returns:
        What would be in force, with nothing instrumented.

    Raises:
        InvalidConfiguration: See `configure`.
    """
    with _lock:
        plan = planned(path)
        faults = plan.faults()
        with _as_pending(plan) as configuration:
            for key, name in plan.functions():
                _looked_up(name, key, faults)
        faults.check()
    return configuration


def described(settings: Mapping[str, Any], origins: Mapping[str, str]) -> list[str]:
    """The settings as people read them, a line for each, with where it came from."""
    lines = []
    for key, value in _flattened(as_json(settings)):
        lines.append(f"  {key} = {_written(value)}  ({_origin(key, origins)})")
    return lines


def as_json(settings: Mapping[str, Any]) -> dict[str, Any]:
    """The settings as JSON can hold them, without secrets."""
    return {**_plain(settings), "store": shown(settings["store"])}


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: MASK if is_secret_name(key) else _plain(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_plain(item) for item in value]
    return value if isinstance(value, bool | int | float | None) else mask(str(value))


def scope_of(settings: Mapping[str, Any]) -> str:
    """What is guarded with these settings."""
    targets = [entry["target"] for entry in settings["instrument"]]
    hosts = [f"every strategy of {name}" for name in settings["hosts"]]
    return f"it guards {', '.join([*targets, *hosts]) or 'nothing by itself, and sets the tracker'}"


def _flattened(value: Any, key: str = "") -> Iterator[tuple[str, Any]]:
    """The settings one by one, each with its key; those that are not set are left out."""
    if isinstance(value, dict) and value:
        for name, item in value.items():
            yield from _flattened(item, f"{key}.{name}" if key else name)
    elif isinstance(value, list) and value and all(isinstance(item, dict) for item in value):
        for number, item in enumerate(value):
            yield from _flattened(item, f"{key}[{number}]")
    elif value not in (None, [], {}):
        yield key, value


def _origin(key: str, origins: Mapping[str, str]) -> str:
    """Where a setting came from; what is in a table without a schema came with that."""
    while key not in origins:
        key = key[: max(key.rfind("."), key.rfind("["))]
    return origins[key]


def _written(value: Any) -> str:
    if not isinstance(value, list) or len(value) <= SHOWN_ITEMS:
        return json.dumps(value, ensure_ascii=False)
    first = json.dumps(value[:SHOWN_ITEMS], ensure_ascii=False)
    return f"{first[:-1]}, and {len(value) - SHOWN_ITEMS} more]"


# -- applying


@dataclass(frozen=True, slots=True)
class _InForce:
    """What was applied.

    Attributes:
        plan: What was to be applied.
        configuration: What `configure` returns of it.
        tracker: The tracker that was made for it.
        mode_before: The mode before any configuration.
    """

    plan: Plan
    configuration: Configuration
    tracker: FailureTracker
    mode_before: Mode


_lock = ForkSafeLock()
_in_force: _InForce | None = None
_pending: Configuration | None = None


@contextmanager
def _as_pending(plan: Plan) -> Iterator[Configuration]:
    """Let a call of `configure` in a module that is imported in the block return, and do nothing."""
    global _pending  # noqa: PLW0603  # there is one at a time, under the lock
    _pending = Configuration(plan.path, plan.settings, plan.origins)
    try:
        yield _pending
    finally:
        _pending = None


def _applied(plan: Plan, previous: _InForce | None) -> _InForce:
    """Put a configuration in the place of another one, or fail and leave everything as it was."""
    faults = plan.faults()
    mode_before = _mode.current if previous is None else previous.mode_before
    if previous is not None:  # nothing is to run without guards while modules are imported
        for key, name in plan.functions():
            _looked_up(name, key, faults)
        faults.check()
    with ExitStack() as undo:
        if previous is not None:
            for one in previous.configuration.instrumented:
                _take_off(one)
            undo.callback(_put_back, previous)
        undo.enter_context(set_mode(plan.mode or mode_before))
        tracker = _tracker(plan, previous)
        undo.enter_context(set_failure_tracker(tracker))
        instrumented = _put_on(plan, faults, undo)
        if plan.settings["halt_callback"] is not None:
            _looked_up(plan.settings["halt_callback"], "halt_callback", faults)
        faults.check()
        undo.pop_all()
    return _InForce(plan, Configuration(plan.path, plan.settings, plan.origins, instrumented), tracker, mode_before)


def _put_back(previous: _InForce) -> None:
    global _in_force  # noqa: PLW0603  # its reports are new ones
    instrumented = _put_on(previous.plan, previous.plan.faults(), ExitStack())
    _in_force = replace(previous, configuration=replace(previous.configuration, instrumented=instrumented))


def _tracker(plan: Plan, previous: _InForce | None) -> FailureTracker:
    """A tracker; the one that is there, with its halts, if it would be the same."""
    if previous is not None and previous.plan.tracked == plan.tracked:
        return previous.tracker
    store = plan.settings["store"] if plan.origins["store"] == "file" else None
    name = plan.settings["halt_callback"]
    return FailureTracker(**plan.tracker, store=store, halt_callback=None if name is None else NamedCallback(name))


class NamedCallback:
    """A halt callback that is looked up when it runs, so that the tracker is there before the module is imported.

    Args:
        name: The function's, as `module:function`.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.__qualname__ = name  # what the audit calls it

    def __call__(self, reason: str, failure: SignalGenerationFailure) -> object:
        """Call the function; what it returns may be awaited."""
        return function_named(self.name)(reason, failure)


def function_named(name: str) -> Any:
    """The function that a name stands for.

    Raises:
        InvalidConfiguration: Its module cannot be imported, or has no such function.
    """
    module, _, path = name.partition(":")
    try:
        found: Any = importlib.import_module(module)
    except (Exception, SystemExit) as error:
        raise InvalidConfiguration(f"importing {module!r} raised {type(error).__name__}: {error}") from error
    for part in path.split("."):
        if not hasattr(found, part):
            raise InvalidConfiguration(f"{found!r} has no {part!r}{near_miss(part, dir(found))}")
        found = getattr(found, part)
    if not callable(found):
        raise InvalidConfiguration(f"expected a function, not {found!r}")
    return found


def _looked_up(name: str, key: str, faults: Faults) -> Any:
    """The function of a name, or None, which is then among the faults."""
    function = None
    with faults.at(f"{key} = {name!r}"):
        function = function_named(name)
        if key == "halt_callback":
            checked_function(function, ("reason", "failure"), "halt_callback")
    return function


def _put_on(plan: Plan, faults: Faults, undo: ExitStack) -> tuple[Instrumentation, ...]:
    """Guard what the plan names; what goes wrong with one is among the faults."""
    done: list[Instrumentation] = []
    for number, entry in enumerate(plan.settings["instrument"]):
        key = f"instrument[{number}]"
        names = {name: entry[name] for name in ("validate", "no_signal") if entry[name] is not None}
        functions = {name: _looked_up(dotted, f"{key}.{name}", faults) for name, dotted in names.items()}
        if None in functions.values():
            continue
        settings = {name: value for name, value in entry.items() if name not in ("target", "methods")}
        settings |= {"context": entry["context"] or None, **functions}
        with faults.at(key):
            done.append(instrument(entry["target"], *entry["methods"], **settings))
            undo.callback(_take_off, done[-1])
    for number, name in enumerate(plan.settings["hosts"]):
        with faults.at(f"hosts[{number}]"):
            done.append(instrument(host=name))
            undo.callback(_take_off, done[-1])
    return tuple(done)


def _take_off(one: Instrumentation) -> None:
    with suppress(InvalidConfiguration):  # another table had the same target, or the program has taken it off
        uninstrument(one)
