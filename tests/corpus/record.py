"""Record an exception that a real library has raised, in the form that `replay` rebuilds.

    try:
        exchange.create_order(...)
    except Exception as error:
        line = json.dumps({"id": "ccxt.lot_size", "package": "ccxt", ..., "exception": record(error)})

Run it where the library is installed. Texts are cut at 2,000 characters, chains at eight links.
"""

from __future__ import annotations

import enum
import inspect
import sys
import traceback
from typing import Any

_ATTRIBUTES = (
    "errno", "strerror", "filename", "library", "reason", "status_code", "status", "http_status", "http_code",
    "code",    "error_code", "errcode", "ret_code", "message", "msg", "name", "key", "sqlstate", "pgcode", "orig",
    "response", "error_type", "returncode",
    "verify_code", "details", "reqId", "field_name",
)  # fmt: skip
_INNER = ("status_code", "status", "reason", "text", "sqlstate", "pgcode", "errno", "code")
_MOST_LINKS = 8
_LONGEST = 2_000


def record(error: BaseException, links: int = _MOST_LINKS) -> dict[str, Any]:
    """What a rule can look at in an exception, as plain data."""
    kind = type(error)
    found: dict[str, Any] = {
        "class": _path(kind),
        "mro": [[_path(base), _alias(base)] for base in kind.__mro__ if base is not object],
        "str": _text(error),
        "args": [_plain(argument) for argument in error.args],
        "attrs": _attributes(error),
        "frames": [
            [frame.f_globals.get("__name__") or "?", frame.f_code.co_name]
            for frame, _ in traceback.walk_tb(error.__traceback__)
        ],
    }
    if isinstance(error, BaseExceptionGroup):
        found["exceptions"] = [record(member, links - 1) for member in error.exceptions]
    if links and error.__cause__ is not None:
        found["cause"] = record(error.__cause__, links - 1)
    elif links and error.__context__ is not None and not error.__suppress_context__:
        found["context"] = record(error.__context__, links - 1)
    return found


def _path(kind: type) -> str:
    return f"{kind.__module__}.{kind.__qualname__}"


def _alias(kind: type) -> str:
    """The shortest dotted name under which the class's own package shows it."""
    top = kind.__module__.partition(".")[0].lstrip("_")
    holders = [
        name
        for name, module in list(sys.modules.items())
        if name.partition(".")[0].lstrip("_") == top and vars(module or object).get(kind.__name__) is kind
    ]
    best = min(holders, key=lambda name: (name.count("."), len(name), name), default=None)
    return f"{best}.{kind.__name__}" if best else _path(kind)


def _text(error: BaseException) -> str | None:
    try:
        return str(error)[:_LONGEST]
    except Exception:  # noqa: BLE001  # that is what there is to record
        return None


def _attributes(error: BaseException) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name in (*_ATTRIBUTES, *vars(error)):
        if name.startswith("__") or name in found:
            continue
        try:
            value = getattr(error, name)
        except Exception:  # noqa: BLE001, S112  # an attribute that cannot be read is not there for a rule either
            continue
        if name == "code" and callable(value):
            found["code()"] = _plain(value())
        elif not callable(value):
            found[name] = _plain(value)
    return found


def _plain(value: Any, depth: int = 2) -> Any:
    if isinstance(value, enum.Enum):
        return {"enum": value.name} if not isinstance(value, int) else int(value)
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, str):
        return value[:_LONGEST]
    if isinstance(value, dict) and depth:
        return {str(key): _plain(item, depth - 1) for key, item in list(value.items())[:20]}
    inner = {} if inspect.ismodule(value) else {name: _part(value, name) for name in _INNER}
    inner = {name: item for name, item in inner.items() if isinstance(item, str | int) and not isinstance(item, bool)}
    return {"object": inner} if inner else {"repr": type(value).__name__}


def _part(value: Any, name: str) -> Any:
    try:
        part = getattr(value, name, None)
    except Exception:  # noqa: BLE001  # as above
        return None
    return part[:_LONGEST] if isinstance(part, str) else part
