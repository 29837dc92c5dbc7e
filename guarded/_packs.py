"""Rule packs: TOML files of rules, each for one library."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache
from importlib.machinery import SourceFileLoader
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guarded._attributes import checked_tests
from guarded._checks import near_miss
from guarded._classnames import checked_targets
from guarded._errors import InvalidConfiguration
from guarded._failure import checked_type
from guarded._libraries import LIBRARIES
from guarded._matching import Action, Conditions, Rule, check_patterns, checked_modules, checked_text

if TYPE_CHECKING:
    from collections.abc import Iterable
    from types import CodeType

    from guarded._failure import FailureType

GENERAL, STANDARD = "general", "builtin"  # the packs for what is of no listed library
BUILT_IN = (STANDARD, GENERAL, *LIBRARIES)

_FOLDER = Path(__file__).parent / "packs"
_PACK_KEYS = ("pack", "about", "versions", "source", "rule")
_RULE_KEYS = (
    "exception", "type", "otherwise", "wrapper", "action",
    "message", "when", "raised_in", "called", "named", "name", "why",
)  # fmt: skip


def checked_names(names: object) -> tuple[str, ...]:
    """The names of built-in packs.

    Raises:
        InvalidConfiguration: One of them is none, or they are not a sequence.
    """
    if isinstance(names, str) or not isinstance(names, tuple | list):
        raise InvalidConfiguration(f"FailureRules(packs={names!r}): expected a tuple of names, such as ('builtin',)")
    for name in names:
        if name not in BUILT_IN:
            raise InvalidConfiguration(
                f"FailureRules(packs): there is no built-in pack {name!r}{near_miss(name, BUILT_IN)};"
                f" expected names among {', '.join(BUILT_IN)}; a pack of your own is read by .load(path)"
            )
    return tuple(names)


@cache
def built_in(name: str) -> tuple[Rule, ...]:
    """The rules of a built-in pack, read once per process."""
    return _rules(parsed(name), name)


def parsed(name: str) -> Mapping[str, Any]:
    """What a built-in pack holds."""
    namespace: dict[str, Any] = {}
    code: Any = _PackLoader(name, str(_FOLDER / f"{name}.toml")).get_code(name)
    exec(code, namespace)  # noqa: S102  # a literal of ours
    return namespace["pack"]  # type: ignore[no-any-return]  # a TOML file is a table


class _PackLoader(SourceFileLoader):
    """Reads TOML as Python reads modules: parsed once, and kept in `__pycache__` where that can be written.

    Parsing all that a first failure needs would take ten times as long.
    """

    def source_to_code(self, data: Any, path: Any, **_: Any) -> CodeType:  # type: ignore[override]  # fewer overloads
        """The code that makes what the file holds."""
        import tomllib  # noqa: PLC0415  # needed once per machine

        return compile(f"pack = {tomllib.loads(bytes(data).decode())!r}", f"<{path}>", "exec")


def read(source: str | os.PathLike[str] | Mapping[str, Any]) -> tuple[Rule, ...]:
    """The rules of a pack.

    Args:
        source: A TOML file, or what such a file would hold.

    Raises:
        InvalidConfiguration: The file cannot be read, is no TOML, or holds what no pack may hold. The text names the
            file, and the line, the key or the rule.
    """
    if isinstance(source, Mapping):
        pack, where = source, "pack given as a mapping"
    elif isinstance(source, str | os.PathLike):
        pack, where = _parsed(Path(source)), str(source)
    else:
        raise InvalidConfiguration(f"load({source!r}): expected the path of a TOML file, or a mapping of that form")
    rules = _rules(pack, where)
    for number, rule in enumerate(rules, start=1):
        check_patterns(rule.conditions, f"{where}, rule {number}")
    return rules


def _parsed(path: Path) -> dict[str, Any]:
    import tomllib  # noqa: PLC0415  # needed once, at the first failure

    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise InvalidConfiguration(f"{path}: this rule pack cannot be read: {error}") from error
    except UnicodeDecodeError as error:
        raise InvalidConfiguration(f"{path}: a rule pack has to be UTF-8: {error}") from error
    except tomllib.TOMLDecodeError as error:
        raise InvalidConfiguration(f"{path}: this rule pack is no TOML: {error}") from error


def _rules(pack: Mapping[str, Any], where: str) -> tuple[Rule, ...]:
    _check_keys(pack, _PACK_KEYS, where)
    name = pack.get("pack")
    if not isinstance(name, str) or not name:
        raise InvalidConfiguration(
            f"{where}: key 'pack': expected the pack's name, as in pack = \"mybot\", not {name!r}"
        )
    rules = pack.get("rule")
    if not isinstance(rules, list) or not all(isinstance(rule, Mapping) for rule in rules):
        raise InvalidConfiguration(f"{where}: key 'rule': expected tables, each under its own [[rule]], not {rules!r}")
    return tuple(_rule(rule, name, f"{where}, rule {number}") for number, rule in enumerate(rules, start=1))


def _rule(entry: Mapping[str, Any], pack: str, where: str) -> Rule:
    _check_keys(entry, _RULE_KEYS, where)
    wrapper = _typed(entry, "wrapper", bool, default=False, where=where)
    return Rule(
        targets=checked_targets(entry.get("exception", ()), f"{where}, key 'exception'"),
        conditions=_conditions(entry, where),
        action=_action(entry, wrapper, where),
        failure_type=_type(entry, where),
        wrapper=wrapper or "otherwise" in entry,
        why=_typed(entry, "why", str, default="", where=where),
        pack=pack,
        otherwise="otherwise" in entry,
        name=_typed(entry, "name", str, default=None, where=where),
    )


def _conditions(entry: Mapping[str, Any], where: str) -> Conditions:
    message, called, named = (checked_text(key, entry.get(key), where) for key in ("message", "called", "named"))
    tests = checked_tests(entry.get("when"), where)
    return Conditions(message, tests, checked_modules(entry.get("raised_in"), where), called, named)


def _type(entry: Mapping[str, Any], where: str) -> FailureType | None:
    for key in ("type", "wrapper"):
        if key in entry and "otherwise" in entry:
            raise InvalidConfiguration(f"{where}: {key} and otherwise do not go together; give the one or the other")
    key = "otherwise" if "otherwise" in entry else "type"
    return checked_type(entry[key], f"{where}, key {key!r}") if key in entry else None


def _action(entry: Mapping[str, Any], wrapper: bool, where: str) -> Action:
    says = [key for key in ("type", "otherwise", "wrapper") if key in entry]
    if "action" not in entry:
        if not wrapper and says in ([], ["wrapper"]):
            raise InvalidConfiguration(
                f"{where}: it decides nothing; give a type, an otherwise, wrapper = true, or an action"
            )
        return Action.COUNT
    if says:
        raise InvalidConfiguration(f"{where}: an action goes with no {says[0]!r}; give the one or the other")
    if entry["action"] not in ("ignore", "propagate"):
        raise InvalidConfiguration(f"{where}: action={entry['action']!r}: expected 'ignore' or 'propagate'")
    return Action(entry["action"])


def _typed(entry: Mapping[str, Any], key: str, kind: type, *, default: Any, where: str) -> Any:
    value = entry.get(key, default)
    if key in entry and not isinstance(value, kind):
        raise InvalidConfiguration(f"{where}: {key}={value!r}: expected a {kind.__name__}")
    return value


def _check_keys(table: Mapping[str, Any], allowed: Iterable[str], where: str) -> None:
    for key in table:
        if key not in allowed:
            raise InvalidConfiguration(
                f"{where}: key {key!r} is unknown{near_miss(key, allowed)}; allowed: {', '.join(allowed)}"
            )
