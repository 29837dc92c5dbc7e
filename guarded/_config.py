"""Configuration files: where one is found, what may stand in it, and everything that is wrong with it."""

from __future__ import annotations

import inspect
import re
import tomllib
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from types import NoneType
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, cast, get_args, get_origin, get_type_hints
from urllib.parse import quote

from guarded import _mode
from guarded._checks import near_miss
from guarded._errors import InvalidConfiguration, StoreUnavailable
from guarded._hosts import host_named
from guarded._packs import BUILT_IN
from guarded._policies import ConsecutiveFailures, FailureRate
from guarded._rules import FailureRules
from guarded._secrets import mask
from guarded._targets import parsed
from guarded._templates import check_syntax
from guarded._tracker import DEFAULT_THRESHOLD, FailureTracker
from guarded.stores import open_store
from guarded.stores._urls import shown

try:
    import msgspec
except ImportError as missing:  # pragma: no cover  # tests/test_config.py looks at it in a process of its own
    raise ImportError("a configuration file needs the package msgspec: install guarded[config]") from missing

if TYPE_CHECKING:
    import os
    from collections.abc import Iterable, Iterator, Mapping

    from guarded._mode import Mode
    from guarded._policies import Policy

NAME: Final = "guarded.toml"
PYPROJECT: Final = "pyproject.toml"
VARIABLE: Final = "GUARDED_CONFIG"
MODE_VARIABLE: Final = "GUARDED_MODE"
FROM_FILE: Final = "file"
BY_DEFAULT: Final = "default"

_IDENTIFIERS: Final = r"[^\W\d]\w*(\.[^\W\d]\w*)*"
_SPAN: Final = (
    r"\A(never|(?=.*[1-9])((?P<days>[0-9]{1,6})d)?((?P<hours>[0-9]{1,6})h)?"
    r"((?P<minutes>[0-9]{1,6})m)?((?P<seconds>[0-9]{1,6})s)?)\Z"
)

Flag = Annotated[bool, msgspec.Meta(description="true or false")]
Text = Annotated[str, msgspec.Meta(min_length=1, description="a text that is not empty")]
FunctionName = Annotated[
    str,
    msgspec.Meta(
        pattern=rf"\A{_IDENTIFIERS}:{_IDENTIFIERS}\Z",
        description="the module and the name of a function, such as 'my_bot.risk:cancel_all'",
    ),
]
Span = Annotated[
    str,
    msgspec.Meta(pattern=_SPAN, description="a span of time such as '90s', '5m', '1h30m' or '2d', or 'never'"),
]
Table = Annotated[dict[str, Any], msgspec.Meta(description="a table")]


class TrackerTable(msgspec.Struct):
    """What may stand under `[tracker]`; which counts are sound is for the tracker to say."""

    threshold: Any = int(DEFAULT_THRESHOLD)
    reset_window: Span = "5m"
    history: Any = 100


class RulesTable(msgspec.Struct):
    """What may stand under `[rules]`."""

    packs: list[Text] = msgspec.field(default_factory=lambda: list(BUILT_IN))
    load: list[Text] = []
    rule: list[Table] = []


class InstrumentTable(msgspec.Struct):
    """What may stand under `[[instrument]]`."""

    target: Text
    methods: list[Text] = []
    host: Text | None = None
    strategy: Text | None = None
    symbol: Text | None = None
    reraise: Flag = False
    reduce_only: Flag = False
    when_halted: Literal["refuse", "run"] = "refuse"
    validate: FunctionName | None = None
    no_signal: FunctionName | None = None
    context: Table = {}


class FileTable(msgspec.Struct):
    """What may stand in a configuration file."""

    mode: Literal["on", "strict", "off"] = "on"
    store: Text = "memory://"
    on_store_loss: Any = "count"
    halt_callback: FunctionName | None = None
    hosts: list[Text] = []
    tracker: TrackerTable = msgspec.field(default_factory=TrackerTable)
    policy: list[Table] = []
    rules: RulesTable = msgspec.field(default_factory=RulesTable)
    instrument: list[InstrumentTable] = []


_PARAMETERS: Final = {
    "on_store_loss": "on_store_loss",
    "tracker.threshold": "failure_threshold",
    "tracker.reset_window": "reset_window",
    "tracker.history": "history_size",
}
_POLICIES: Final[Mapping[str, tuple[Any, Mapping[str, Any]]]] = {
    "consecutive_failures": (ConsecutiveFailures, {"threshold": 1}),
    "failure_rate": (FailureRate, {"ratio": 1, "calls": 1}),
}
"""Each kind of policy, and the settings that it has to have, with values that are sound."""
_TRACKED: Final = ("store", "on_store_loss", "halt_callback", "tracker", "policy", "rules")
"""The settings that a tracker is made of."""


class Faults:
    """What is wrong with a configuration, one line for each fault.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._lines: list[str] = []

    def add(self, key: str, what: str) -> None:
        """Note what is wrong with a key."""
        line = f"{self._path}: {key}{'' if what.startswith((',', ':')) else ': '}{what}"
        self._lines.append(" ".join(mask(line).splitlines()))

    @contextmanager
    def at(self, key: str) -> Iterator[None]:
        """Note what the block finds wrong, with the key in front."""
        try:
            yield
        except InvalidConfiguration as fault:
            self.add(key, str(fault))

    def check(self) -> None:
        """See that nothing is wrong.

        Raises:
            InvalidConfiguration: Something is; the text has a line for each fault.
        """
        if self._lines:
            raise InvalidConfiguration("\n".join(self._lines))


@dataclass(frozen=True, slots=True)
class File:
    """A configuration file that was read.

    Attributes:
        path: Where it is.
        content: Its bytes.
        table: What of it is meant for this package.
    """

    path: Path
    content: bytes
    table: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Plan:
    """A configuration with which nothing is wrong, as far as that can be told without importing what it names.

    Attributes:
        path: The file.
        settings: The effective settings.
        origins: Where each of them came from, by its key such as `tracker.threshold`.
        contents: What was in the files that were read.
        mode: The mode to set; None: it stays as it is.
        tracker: What `FailureTracker` is given beside its store and its callback.
        tracked: All that a tracker is made of, to tell whether it has changed.
    """

    path: Path
    settings: Mapping[str, Any]
    origins: Mapping[str, str]
    contents: Mapping[Path, bytes | None]
    mode: Mode | None
    tracker: Mapping[str, Any]
    tracked: object

    def is_unchanged(self) -> bool:
        """Whether the files hold what was in them when they were read."""
        return all(_content_of(path) == content for path, content in self.contents.items())

    def faults(self) -> Faults:
        """What turns out to be wrong with it when it is applied; nothing yet."""
        return Faults(self.path)

    def functions(self) -> Iterator[tuple[str, str]]:
        """The names of the functions that it names, each with its key."""
        return _functions(self.settings)


# -- finding and reading


def find(path: str | os.PathLike[str] | None, environment: Mapping[str, str], folder: Path) -> File:
    """Find the configuration, and read it.

    Args:
        path: The file; None: the one that `GUARDED_CONFIG` names, or else the nearest one.
        environment: The environment variables.
        folder: Where the search for the nearest one begins, upwards.

    Raises:
        InvalidConfiguration: There is none, or it cannot be read.
    """
    if path is not None:
        return _own_part(_parsed(Path(path).absolute()))
    if environment.get(VARIABLE):
        return _own_part(_parsed(Path(environment[VARIABLE]).absolute(), f" (environment variable {VARIABLE})"))
    for place in (folder, *folder.parents):
        if (place / NAME).is_file():
            return _parsed(place / NAME)
        if (place / PYPROJECT).is_file():
            pyproject = _parsed(place / PYPROJECT)
            if _guarded_table(pyproject) is not None:
                return _own_part(pyproject)
    raise InvalidConfiguration(
        f"there is no configuration: neither {folder} nor a folder above it has a {NAME}, or a {PYPROJECT} with a"
        f" table [tool.guarded], and the environment variable {VARIABLE} names no file; make a {NAME}, or name a file"
    )


def _parsed(path: Path, origin: str = "") -> File:
    try:
        content = path.read_bytes()
        return File(path, content, tomllib.loads(content.decode("utf-8-sig")))
    except FileNotFoundError:
        raise InvalidConfiguration(f"{path}{origin}: there is no such file; make it, or name another one") from None
    except OSError as error:
        raise InvalidConfiguration(f"{path}{origin}: this configuration cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InvalidConfiguration(f"{path}{origin}: a configuration has to be UTF-8: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise InvalidConfiguration(f"{path}{origin}: this configuration is no TOML: {error}") from error


def _own_part(file: File) -> File:
    if file.path.name != PYPROJECT:
        return file
    table = _guarded_table(file)
    if not isinstance(table, dict):
        raise InvalidConfiguration(f"{file.path}: it has no table [tool.guarded]; add one, or name another file")
    return File(file.path, file.content, table)


def _guarded_table(pyproject: File) -> object:
    tools = pyproject.table.get("tool")
    return tools.get("guarded") if isinstance(tools, dict) else None


def _content_of(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except OSError:
        return None


# -- checking


def planned(file: File, environment: Mapping[str, str]) -> Plan:
    """Check a configuration from end to end.

    Args:
        file: What was read.
        environment: The environment variables; in them `GUARDED_MODE` comes before the file.

    Raises:
        InvalidConfiguration: All that is wrong with it, one line for each fault.
    """
    faults = Faults(file.path)
    folder = file.path.parent
    given = _table(FileTable, file.table, "", faults)
    tracker = _tracker(given, faults)
    if "rules" in given:
        tracker["rules"] = _rules(given["rules"], file.path, faults)
    if "store" in given:
        with faults.at("store"):
            _check_store(given["store"])
    _check_hosts(given, faults)
    _check_targets(given, faults)
    _check_functions(given, faults)
    faults.check()
    settings, origins = _effective(given, environment, folder)
    packs = {folder / name: _content_of(folder / name) for name in settings["rules"]["load"]}
    return Plan(
        path=file.path,
        settings=settings,
        origins=origins,
        contents={file.path: file.content, **packs},
        mode=settings["mode"] if origins["mode"] == FROM_FILE else None,
        tracker=tracker,
        tracked=([settings[key] for key in _TRACKED], packs),
    )


def _effective(
    given: Mapping[str, Any], environment: Mapping[str, str], folder: Path
) -> tuple[dict[str, Any], dict[str, str]]:
    """The settings in force, and where each came from."""
    origins: dict[str, str] = {}
    settings = _completed(FileTable, given, "", origins)
    if settings["policy"]:
        del settings["tracker"]["threshold"], origins["tracker.threshold"]
    settings["store"] = _placed(settings["store"], folder)
    if environment.get(MODE_VARIABLE):
        settings["mode"] = _mode.from_environment(environment)
        origins["mode"] = f"environment variable {MODE_VARIABLE}"
    return settings, origins


def _placed(url: str, folder: Path) -> str:
    """The URL of a store; a file with a relative path is looked for from the configuration's own folder."""
    path = url.removeprefix("sqlite:///")
    return url if path == url or path.startswith("/") else f"sqlite:///{quote(str(folder))}/{path}"


def _completed(kind: Any, given: Mapping[str, Any], key: str, origins: dict[str, str]) -> dict[str, Any]:
    """A table with the defaults of what it leaves out."""
    types = _types(kind)
    table: dict[str, Any] = {}
    for field in msgspec.structs.fields(kind):
        name, where, inner = field.name, _joined(key, field.name), types[field.name]
        if _is_struct(inner):
            table[name] = _completed(inner, given.get(name, {}), where, origins)
            continue
        value = given[name] if name in given else _default(field)
        if get_origin(inner) is list and _is_struct(get_args(inner)[0]):
            of = get_args(inner)[0]
            value = [_completed(of, item, f"{where}[{number}]", origins) for number, item in enumerate(value)]
        origins[where] = FROM_FILE if name in given else BY_DEFAULT
        table[name] = value
    return table


def _default(field: Any) -> Any:
    return field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()


# -- the shape of tables


def _table(kind: Any, given: Mapping[str, Any], key: str, faults: Faults) -> dict[str, Any]:
    """What of a table is of the right shape."""
    types = _types(kind)
    _check_keys(given, types, key, faults)
    _check_complete(given, (field.name for field in msgspec.structs.fields(kind) if field.required), key, faults)
    found = {name: _value(types[name], given[name], _joined(key, name), faults) for name in given if name in types}
    return {name: value for name, value in found.items() if value is not None}


def _check_keys(given: Mapping[str, Any], allowed: Iterable[str], key: str, faults: Faults) -> None:
    for name, value in given.items():
        if name not in allowed:
            hint = near_miss(name, allowed)
            faults.add(f"{_joined(key, name)} = {value!r}", f"no such key{hint}; expected one of {', '.join(allowed)}")


def _check_complete(given: Mapping[str, Any], required: Iterable[str], key: str, faults: Faults) -> None:
    for name in required:
        if name not in given:
            faults.add(_joined(key, name), "it is missing, and has to be given")


def _value(kind: Any, value: Any, key: str, faults: Faults) -> Any:
    """The value, or None, which TOML does not have, if it is of the wrong shape."""
    if get_origin(kind) is list:
        return _several(get_args(kind)[0], value, key, faults)
    if _is_struct(kind) and isinstance(value, dict):
        return _table(kind, value, key, faults)
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError:
        faults.add(f"{key} = {value!r}", f"expected {_expected(kind, value)}")
        return None


def _several(kind: Any, value: Any, key: str, faults: Faults) -> list[Any] | None:
    if isinstance(value, list):
        return [_value(kind, item, f"{key}[{number}]", faults) for number, item in enumerate(value)]
    expected = f'a list, such as {key} = ["..."]' if kind is Text else f"tables, each under its own [[{key}]]"
    faults.add(f"{key} = {value!r}", f"expected {expected}")
    return None


def _expected(kind: Any, value: object) -> str:
    if get_origin(kind) is Literal:
        return f"one of {', '.join(map(repr, get_args(kind)))}{near_miss(value, get_args(kind))}"
    return "a table" if _is_struct(kind) else str(kind.__metadata__[0].description)


def _types(kind: Any) -> dict[str, Any]:
    """The types of a table's keys; TOML does not have the None of what is optional."""
    types = get_type_hints(kind, include_extras=True)
    return {name: get_args(one)[0] if NoneType in get_args(one) else one for name, one in types.items()}


def _is_struct(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, msgspec.Struct)


def _joined(key: str, name: str) -> str:
    return f"{key}.{name}" if key else name


def _items(table: Mapping[str, Any], name: str, key: str = "") -> Iterator[tuple[str, Any]]:
    """What of a list is of the right shape, each with its key."""
    for number, item in enumerate(table.get(name, ())):
        if item is not None:
            yield f"{_joined(key, name)}[{number}]", item


# -- what the constructors say


def _tracker(given: Mapping[str, Any], faults: Faults) -> dict[str, Any]:
    """What `FailureTracker` is given, each setting tried by itself on a tracker in memory."""
    values = {f"tracker.{name}": value for name, value in given.get("tracker", {}).items()}
    values |= {name: given[name] for name in ("on_store_loss",) if name in given}
    if "tracker.reset_window" in values:
        values["tracker.reset_window"] = _span_of(values["tracker.reset_window"])
    sound: dict[str, Any] = {}
    for key, value in values.items():
        with faults.at(key):
            FailureTracker(**{_PARAMETERS[key]: value})
            sound[_PARAMETERS[key]] = value
    if "policy" in given:
        with faults.at("tracker"):
            FailureTracker(**{**sound, "policies": [ConsecutiveFailures(1)]})
        sound["policies"] = _policies(given, faults)
    return sound


def _span_of(text: str) -> timedelta | None:
    """A span of time that is spelled as the schema has it; None for never."""
    parts = cast("re.Match[str]", re.fullmatch(_SPAN, text)).groupdict(default="0")
    return None if text == "never" else timedelta(**{unit: int(count) for unit, count in parts.items()})


def _policies(given: Mapping[str, Any], faults: Faults) -> list[Policy | None]:
    policies = [_policy(table, key, faults) for key, table in _items(given, "policy")]
    if not given["policy"]:
        with faults.at("policy"):
            FailureTracker(policies=())
    return policies


def _policy(given: Mapping[str, Any], key: str, faults: Faults) -> Policy | None:
    _check_complete(given, ("kind",), key, faults)
    kind = _value(Literal[tuple(_POLICIES)], given["kind"], f"{key}.kind", faults) if "kind" in given else None
    if kind is None:
        return None
    make, least = _POLICIES[kind]
    parameters = inspect.signature(make).parameters
    _check_keys(given, ("kind", *parameters), key, faults)
    _check_complete(given, least, key, faults)
    values = {name: given[name] for name in parameters if name in given}  # what others depend on comes first
    if "within" in values:
        text = _value(Span, values["within"], f"{key}.within", faults)
        values["within"] = None if text is None else _span_of(text)
    sound, policy = dict(least), None
    for name, value in values.items():
        with faults.at(f"{key}.{name}"):
            policy = make(**{**sound, name: value})
            sound[name] = value
    return cast("Policy | None", policy)


def _rules(given: Mapping[str, Any], path: Path, faults: Faults) -> FailureRules:
    """The rules, tried one by one; those of the file come last, so that they are asked before those of its packs."""
    for key, name in _items(given, "packs", "rules"):
        with faults.at(key):
            FailureRules((name,))
    rules = FailureRules([name for name in given["packs"] if name in BUILT_IN] if "packs" in given else BUILT_IN)
    for key, name in _items(given, "load", "rules"):
        with faults.at(key):
            rules.load(path.parent / name)
    for key, rule in _items(given, "rule", "rules"):
        with faults.at(key):
            _add_rule(rules, rule, path.name)
    return rules


def _add_rule(rules: FailureRules, rule: Mapping[str, Any], pack: str) -> None:
    try:
        rules.load({"pack": pack, "rule": [rule]})
    except InvalidConfiguration as fault:
        raise InvalidConfiguration(str(fault).removeprefix("pack given as a mapping, rule 1")) from fault


def _check_store(url: str) -> None:
    """Try a URL, that of a file at a place where it does no harm; whether the store is there is not asked.

    Raises:
        InvalidConfiguration: There is no store for it, or not with these settings.
    """
    place, _, settings = url.partition("?")
    is_file = place.startswith("sqlite:///") and place != "sqlite:///"
    if is_file and not settings:
        return
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder, suppress(StoreUnavailable):
        tried = f"sqlite:///{folder}/guarded.db?{settings}" if is_file else url
        try:
            store = open_store(tried)
        except InvalidConfiguration as fault:
            raise InvalidConfiguration(str(fault).replace(shown(tried), shown(url))) from fault
        except ImportError as missing:
            raise InvalidConfiguration(str(missing)) from missing
        if is_file:
            store.close()  # type: ignore[attr-defined]  # a store of a file can be closed


def _check_hosts(given: Mapping[str, Any], faults: Faults) -> None:
    for key, name in _items(given, "hosts"):
        with faults.at(key):
            if not host_named(name).may_be_hooked:
                faults.add(
                    f"{key} = {name!r}",
                    "its strategies cannot be found by themselves; name them under [[instrument]], as in"
                    f' target = "my_bot.strategies" and host = {name!r}',
                )
    for key, entry in _items(given, "instrument"):
        if "host" in entry:
            with faults.at(f"{key}.host"):
                host_named(entry["host"])


def _check_targets(given: Mapping[str, Any], faults: Faults) -> None:
    for key, entry in _items(given, "instrument"):
        methods = tuple(entry.get("methods", ()))
        if "target" in entry and None not in methods:
            with faults.at(f"{key}.target"):
                parsed(entry["target"], methods, of_host="host" in entry)
        for name in ("strategy", "symbol"):
            _check_template(entry.get(name, ""), f"{key}.{name}", faults)


def _check_template(text: str, key: str, faults: Faults) -> None:
    try:
        check_syntax(text)
    except ValueError as error:
        faults.add(f"{key} = {text!r}", f"expected a name, or a template such as '{{symbol}}': {error}")


def _check_functions(given: Mapping[str, Any], faults: Faults) -> None:
    for key, name in _functions(given):
        if name.startswith("__main__:"):
            faults.add(
                f"{key} = {name!r}",
                "__main__ is the program itself, which is at its first line when this is looked up, and in another"
                " process it is another program; move the function into a module, and name that",
            )


def _functions(settings: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The names of functions in some settings, each with its key, in the order in which they are looked up."""
    for key, entry in _items(settings, "instrument"):
        for name in ("validate", "no_signal"):
            if entry.get(name) is not None:
                yield f"{key}.{name}", entry[name]
    if settings.get("halt_callback") is not None:
        yield "halt_callback", settings["halt_callback"]
