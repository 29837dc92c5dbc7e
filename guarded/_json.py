"""JSON: turns anything that a user hands over into plain data that can be kept, printed and sent."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Mapping, MappingView, Sequence
from collections.abc import Set as AbstractSet
from datetime import date, time, timedelta
from enum import Enum
from itertools import islice
from pathlib import PurePath
from types import NoneType
from typing import Any, TypeAlias
from uuid import UUID

from guarded._faults import report
from guarded._secrets import MASK, clean, is_secret_name, text_of, type_name

JSON: TypeAlias = "bool | int | float | str | list[JSON] | dict[str, JSON] | None"

_LEVELS = 6
_ITEMS = 100
_VALUES = 1_000
_TEXT = 1_000
_KEY = 200
_BITS = 4_096  # json refuses to write integers of more than 4,300 digits

_COLLECTIONS = (Mapping, Sequence, AbstractSet, MappingView)
_ARRAY_LIBRARIES = frozenset({"numpy", "pandas", "polars"})


def json_safe(value: object) -> JSON:
    """Turn anything into JSON-ready plain data that shares nothing with it.

    Numbers, texts and None stay as they are, and collections become lists and dicts. Non-finite floats, decimals,
    times and paths become texts, a member of an enumeration its text or `Class.NAME`; arrays and data frames are told
    by type and shape, such as `<DataFrame 1047x6>`; anything else by its `repr`. Secrets are masked. At most 6 levels,
    100 items of a collection, 1,000 characters of a text and 1,000 values in all are kept; what is left out is
    marked. Nothing is tested for truth or equality, and a value whose methods raise becomes a fixed text.

    Args:
        value: Anything, also hostile and cyclic.

    Returns:
        What `json.dumps(..., allow_nan=False)` takes.
    """
    return _Conversion().convert(value, 0)


class _Conversion:
    """One call of `json_safe`, with what is left of the values that it may keep."""

    __slots__ = ("_left",)

    def __init__(self) -> None:
        self._left = _VALUES

    def convert(self, value: object, level: int) -> JSON:
        kind = type(value)
        self._left -= 1
        try:
            return self._converted(value, kind, level)
        except Exception as error:  # noqa: BLE001  # a user's object may raise anything
            report(f"a {type_name(kind)} raised while it was made JSON-ready; it is left out", error)
            return f"<{type_name(kind)}: raised while it was read>"

    def _converted(self, value: Any, kind: type, level: int) -> JSON:
        exact = _EXACT.get(kind)
        if exact is not None:
            return exact(value)
        for bases, convert in _SCALARS:
            if issubclass(kind, bases):
                return convert(value)
        if issubclass(kind, _COLLECTIONS):
            return self._collection(value, kind, level)
        if _is_array(kind):
            return self._array(value, kind, level)
        return text_of(value, _TEXT, str if issubclass(kind, numbers.Number) else repr)

    def _collection(self, value: Any, kind: type, level: int) -> JSON:
        if level >= _LEVELS:
            return f"<{type_name(kind)}>"
        if issubclass(kind, Mapping):
            return self._mapping(value, level)
        return self._list(value, level)

    def _mapping(self, mapping: Mapping[object, object], level: int) -> JSON:
        result: dict[str, JSON] = {}
        taken = 0
        for key, value in islice(mapping.items(), _ITEMS):
            if self._left <= 0:
                break
            name = text_of(key, _KEY)
            result[name] = MASK if is_secret_name(name) else self.convert(value, level + 1)
            taken += 1
        rest = len(mapping) - taken
        return {**result, "...": f"{rest} more"} if rest > 0 else result

    def _list(self, values: Any, level: int) -> JSON:
        result: list[JSON] = []
        for value in islice(values, _ITEMS):
            if self._left <= 0:
                break
            result.append(self.convert(value, level + 1))
        rest = len(values) - len(result)
        return [*result, f"... {rest} more"] if rest > 0 else result

    def _array(self, value: Any, kind: type, level: int) -> JSON:
        shape = getattr(value, "shape", None)
        if type(shape) is tuple and shape:
            return clean(f"<{type_name(kind)} {'x'.join(map(str, shape))}>", _TEXT)
        if type(shape) is not tuple or not hasattr(value, "item"):
            return text_of(value, _TEXT, repr)
        # The item of a datetime64 may be a bare count of nanoseconds, that of a longdouble is itself.
        plain = str(value) if value.dtype.kind in "mM" else value.item()
        return text_of(value, _TEXT) if type(plain) is kind else self.convert(plain, level)


def _text(value: str) -> JSON:
    return clean(str.__str__(value), _TEXT)


def _integer(value: int) -> JSON:
    plain = int.__index__(value)
    bits = plain.bit_length()
    return plain if bits <= _BITS else f"<int of {bits} bits>"


def _float(value: float) -> JSON:
    plain = float.__float__(value)
    return plain if math.isfinite(plain) else repr(plain)


def _member(value: Enum) -> JSON:
    if issubclass(type(value.value), str):
        return _text(value.value)
    return clean(f"{type_name(type(value))}.{value.name}", _TEXT)


def _moment(value: date | time) -> JSON:
    return _text(value.isoformat())


def _bytes(value: bytes | bytearray | memoryview) -> JSON:
    view = memoryview(value)
    if view.nbytes > _TEXT:
        return f"<{type_name(type(value))} {view.nbytes}>"
    return clean(view.tobytes().decode("utf-8", "backslashreplace"), _TEXT)


def _as_str(value: object) -> JSON:
    return text_of(value, _TEXT)


def _itself(value: JSON) -> JSON:
    return value


# In this order: members of enumerations may be texts or numbers as well.
_SCALARS: tuple[tuple[tuple[type, ...], Callable[[Any], JSON]], ...] = (
    ((Enum,), _member),
    ((str,), _text),
    ((int,), _integer),
    ((float,), _float),
    ((date, time), _moment),
    ((bytes, bytearray, memoryview), _bytes),
    ((timedelta, UUID, PurePath), _as_str),
)
_EXACT: dict[type, Callable[[Any], JSON]] = {
    NoneType: _itself,
    bool: _itself,
    str: _text,
    int: _integer,
    float: _float,
}


def _is_array(kind: type) -> bool:
    return any(str(base.__module__).partition(".")[0] in _ARRAY_LIBRARIES for base in kind.__mro__)
