"""Validators: what a signal must satisfy, for `validate=`; they know numpy, pandas and polars without importing them.

A guard makes a result that its validator does not accept a failure (`SignalRejected`), and one on which the validator
raises as well: a validator here raises `TypeError` for what it cannot judge, rather than let it through.
"""

from __future__ import annotations

import math
import sys
from collections import UserString
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import fields, is_dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from numbers import Rational, Real
from typing import Any

from guarded._clock import Clock, SystemClock
from guarded._errors import InvalidConfiguration

__all__ = ["finite", "fresh", "not_empty", "one_of"]

Validator = Callable[[Any], bool]

_MOST_OBJECTS = 1_000_000
_PLAIN = (str, bytes, bytearray, UserString, int, float, complex, type(None))
_MISSING_TYPES = {"NaTType", "NAType"}
_STAMP_NAMES = tuple(
    spelling for name in ("timestamp", "datetime", "time", "date") for spelling in (name, name.capitalize())
)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_EPOCH_UNITS = ((1e11, 1.0), (1e14, 1e3), (1e17, 1e6), (math.inf, 1e9))
"""(below this size, this many make a second): an epoch is in s until the year 5138, else in ms, µs or ns."""


def finite(result: object) -> bool:
    """Whether there is no NaN, no infinity and no missing value anywhere in a result.

    It looks into sequences, sets, mappings' values, dataclasses, NumPy arrays, and the values (not the index) of
    pandas and polars objects. A missing value is None, `pandas.NA`, NaT or a polars null. What is no number, such as
    the text "long", is finite.

    A whole DataFrame of indicators has NaN where they warm up: check the part that is traded on,
    `validate=lambda frame: finite(frame["signal"].iloc[-1])`.

    Args:
        result: What the strategy returned.

    Raises:
        TypeError: The result is, or holds, an iterator or a polars `LazyFrame`: it cannot be looked into.
        ValueError: It holds more than 1,000,000 Python objects; arrays and columns of numbers, times or texts have no
            such limit.
    """
    pending = [result]
    # What was looked into, kept alive so that no later object can have its id.
    seen: dict[int, object] = {}
    for _ in range(_MOST_OBJECTS):
        if not pending:
            return True
        value = pending.pop()
        if isinstance(value, _PLAIN):
            if not _is_finite(value):
                return False
        elif id(value) not in seen:
            seen[id(value)] = value
            verdict = _look_into(value)
            if verdict is False:
                return False
            if verdict is not True:
                pending.extend(islice(verdict, _MOST_OBJECTS))
    raise ValueError(f"finite looks at no more than {_MOST_OBJECTS:,} objects; return an array, or check a part of it")


def not_empty(result: object) -> bool:
    """Whether a result has at least one item, and a table at least one row and one column.

    Args:
        result: What the strategy returned.

    Raises:
        TypeError: The result has no length, like a number, an iterator or a polars `LazyFrame`.
    """
    shape = getattr(result, "shape", None)
    if isinstance(shape, tuple):
        return 0 not in shape
    try:
        return len(result) > 0  # type: ignore[arg-type]  # what has no length raises
    except TypeError:
        raise TypeError(f"not_empty cannot judge {type(result).__name__}: it has no length") from None


def fresh(max_age: timedelta | float, *, clock: Clock | None = None) -> Validator:
    """Make a validator: whether the newest time stamp of a result is not older than `max_age`.

    The time stamp is the result itself if it is a datetime or date; of a pandas object, the newest of its
    DatetimeIndex, or of its values; else what is called `timestamp`, `datetime`, `time` or `date` (capitalised too): a
    mapping's item, a column, an attribute. Of a list or tuple it is the newest of its items'. Under such a name a
    number is taken as an epoch (in s, ms, µs or ns, by its size) and a text as ISO 8601.

    A stamp without a time zone is read as UTC, a date as its midnight.

    Args:
        max_age: The oldest that is accepted: a timedelta, or seconds.
        clock: Where the time comes from; the machine's clock by default.

    Returns:
        The validator. It raises `TypeError` for a result that has no time stamp, and `ValueError` for one that is
        ahead of the clock by more than `max_age`, for then a time zone is wrong, and its age cannot be told.

    Raises:
        InvalidConfiguration: `max_age` is not positive, or no span of time; `clock` is no `Clock`.
    """
    if clock is not None and not isinstance(clock, Clock):
        raise InvalidConfiguration(f"fresh(clock={clock!r}): expected a Clock, with monotonic() and now()")
    return _Fresh(_span(max_age), SystemClock() if clock is None else clock)


def one_of(*values: object) -> Validator:
    """Make a validator: whether a result is, or equals, one of these values.

    A result that cannot be compared, or whose comparison gives no plain yes or no (an array's), equals none of them.

    Args:
        *values: The results that are accepted, such as `"long", "short", "hold"`; they need not be hashable.

    Raises:
        InvalidConfiguration: There is no value.
    """
    if not values:
        raise InvalidConfiguration('one_of() accepts nothing; name the values, such as one_of("long", "short", "hold")')
    return _OneOf(values)


class _Fresh:
    __slots__ = ("clock", "max_age")

    def __init__(self, max_age: timedelta, clock: Clock) -> None:
        self.max_age = max_age
        self.clock = clock

    def __call__(self, result: object) -> bool:
        newest = _newest(result)
        if newest is None:
            raise TypeError(
                f"{self!r} finds no time stamp in {type(result).__name__}: it needs a datetime, a DatetimeIndex, or an "
                "item, column or attribute called timestamp, datetime, time or date"
            )
        age = self.clock.now() - newest
        if -age > self.max_age:
            raise ValueError(
                f"{self!r} got a time stamp that is {-age} ahead of the clock, {newest.isoformat()}: one without a "
                "time zone is read as UTC"
            )
        return bool(age <= self.max_age)

    def __repr__(self) -> str:
        return f"fresh(max_age={self.max_age})"


class _OneOf:
    __slots__ = ("values",)

    def __init__(self, values: tuple[object, ...]) -> None:
        self.values = values

    def __call__(self, result: object) -> bool:
        return any(result is value or _equal(result, value) for value in self.values)

    def __repr__(self) -> str:
        return f"one_of({', '.join(map(repr, self.values))})"


def _equal(result: object, value: object) -> bool:
    try:
        verdict = result == value
    except Exception:  # noqa: BLE001  # a comparison may raise anything; then the two are not equal
        return False
    return verdict is True or (_is_a(verdict, "numpy", "bool_") and bool(verdict))


def _is_a(value: object, library: str, *classes: str) -> bool:
    """Whether a value is of one of a library's classes; a library that is not imported has no values."""
    module = sys.modules.get(library)
    return module is not None and isinstance(value, tuple(getattr(module, name, ()) for name in classes))


def _is_finite(value: Any) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, complex):
        return math.isfinite(value.real) and math.isfinite(value.imag)
    return value is not None


def _look_into(value: Any) -> bool | Iterable[object]:
    """Whether a value is finite, if that can be said of it as a whole; else what it consists of."""
    if type(value).__name__ in _MISSING_TYPES:
        return False
    if isinstance(value, Iterator) or _is_a(value, "polars", "LazyFrame"):
        raise TypeError(f"finite cannot look into {type(value).__name__} without running it; return what it gives")
    if _is_a(value, "pandas", "DataFrame", "Series"):
        return _look_into_pandas(value)
    if _is_a(value, "polars", "DataFrame", "Series"):
        return _look_into_polars(value)
    if "numpy" in sys.modules and hasattr(type(value), "__array__"):
        return _look_into_array(sys.modules["numpy"].asarray(value))
    return _look_into_object(value)


def _look_into_array(array: Any) -> bool | Iterable[object]:
    match array.dtype.kind:
        case "f" | "c" | "m" | "M":
            return bool(sys.modules["numpy"].isfinite(array).all())
        case "O":
            return array.ravel().tolist()  # type: ignore[no-any-return]
        case "V":
            return [array[name] for name in array.dtype.names or ()]
        case _:
            return True


def _look_into_pandas(value: Any) -> bool | Iterable[object]:
    if _is_a(value, "pandas", "DataFrame"):
        return (column for _, column in value.items())
    kind = value.dtype.kind
    if kind in "fc":
        return _look_into_array(value.to_numpy(dtype=float if kind == "f" else complex, na_value=math.nan))
    if value.isna().any():
        return False
    if kind != "O":
        return True
    holds: str = sys.modules["pandas"].api.types.infer_dtype(value, skipna=False)
    return holds == "string" or (value.unique() if holds == "categorical" else value)


def _look_into_polars(value: Any) -> bool | Iterable[object]:
    if _is_a(value, "polars", "DataFrame"):
        return value.iter_columns()  # type: ignore[no-any-return]
    if value.null_count():
        return False
    if value.dtype.is_float():
        return bool(value.is_finite().all())
    return value.to_list() if value.dtype.is_nested() or str(value.dtype) == "Object" else True


def _look_into_object(value: Any) -> bool | Iterable[object]:
    if isinstance(value, Mapping):
        return value.values()
    if isinstance(value, Collection):
        return value
    if is_dataclass(type(value)):
        return [getattr(value, field.name) for field in fields(value)]
    if _is_a(value, "decimal", "Decimal"):
        return value.is_finite()  # type: ignore[no-any-return]
    if isinstance(value, Rational) or not hasattr(type(value), "__float__"):
        return True
    return math.isfinite(float(value))


def _span(max_age: Any) -> timedelta:
    try:
        span = timedelta(seconds=float(max_age)) if _is_number(max_age) else max_age
    except (OverflowError, ValueError):  # an infinite number, or NaN
        span = None
    if isinstance(span, timedelta) and span > timedelta(0):
        return span
    raise InvalidConfiguration(
        f"fresh(max_age={max_age!r}): expected a positive timedelta or number of seconds, such as timedelta(minutes=5)"
    )


def _is_number(value: object) -> bool:
    # A numpy.timedelta64 passes for a number, of units that it does not tell.
    return isinstance(value, Real) and not isinstance(value, bool) and not _is_a(value, "numpy", "timedelta64")


def _newest(result: object) -> datetime | None:
    """The newest time stamp of a result, aware; None if it has none."""
    items = result if isinstance(result, list | tuple) and not hasattr(result, "_fields") else (result,)
    return max((stamp for item in items if (stamp := _newest_of(item)) is not None), default=None)


def _newest_of(value: object) -> datetime | None:
    return _instant(value) or next((stamp for stamp in map(_stamp, _candidates(value)) if stamp is not None), None)


def _candidates(value: Any) -> Iterator[object]:
    """What may be a value's newest time stamp, the best first."""
    if _is_a(value, "pandas", "DataFrame", "Series", "Index"):
        yield from _pandas_candidates(value)
    elif _is_a(value, "polars", "DataFrame"):
        yield from (value[name].max() for name in _STAMP_NAMES if name in value.columns)
    elif _is_a(value, "polars", "Series"):
        yield value.max() if value.dtype.is_temporal() else None
    elif _is_a(value, "numpy", "ndarray"):
        yield _newest_in_array(value) if value.dtype.kind == "M" else None
    elif isinstance(value, Mapping):
        yield from (value[name] for name in _STAMP_NAMES if name in value)
    else:
        yield from (getattr(value, name, None) for name in _STAMP_NAMES)


def _pandas_candidates(value: Any) -> Iterator[object]:
    index = getattr(value, "index", value)
    for level in map(index.get_level_values, range(index.nlevels)):
        yield level.max() if level.dtype.kind == "M" else None
    if _is_a(value, "pandas", "Series"):
        yield value.max() if value.dtype.kind == "M" else None
        yield from (value[name] for name in _STAMP_NAMES if name in index)
        # A row taken out of a table has the table's index as its name.
        yield _instant(value.name)
    elif value is not index:
        yield from (value[name].dropna().max() for name in _STAMP_NAMES if name in value.columns)


def _newest_in_array(array: Any) -> object:
    stamps = array[~sys.modules["numpy"].isnat(array)]
    return stamps.max() if stamps.size else None


def _instant(value: Any) -> datetime | None:
    """A datetime, date or `numpy.datetime64` as an aware datetime; None for anything else, and for NaT."""
    if _is_a(value, "numpy", "datetime64"):
        value = value.astype("datetime64[us]").item()
    if type(value).__name__ in _MISSING_TYPES or not isinstance(value, date):
        return None
    if not isinstance(value, datetime):
        return datetime(value.year, value.month, value.day, tzinfo=UTC)
    return value.replace(tzinfo=UTC) if value.utcoffset() is None else value


def _stamp(value: Any) -> datetime | None:
    """What stands where a time stamp is expected, as an aware datetime; None if it is none."""
    if isinstance(value, str):
        return _from_text(value)
    return _from_epoch(float(value)) if _is_number(value) else _instant(value)


def _from_text(text: str) -> datetime | None:
    try:
        return _instant(datetime.fromisoformat(text))
    except ValueError:
        return None


def _from_epoch(number: float) -> datetime | None:
    units = next((units for size, units in _EPOCH_UNITS if abs(number) < size), math.inf)
    try:
        return _EPOCH + timedelta(seconds=number / units)
    except (OverflowError, ValueError):  # beyond the year 9999, or NaN
        return None
