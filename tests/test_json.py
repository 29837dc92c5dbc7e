"""json_safe: anything becomes plain data, bounded, masked, and shares nothing with what it was."""

from __future__ import annotations

import collections
import enum
import gc
import json
import types
import uuid
import weakref
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from fractions import Fraction
from pathlib import PurePosixPath
from typing import Any, NamedTuple

import numpy as np
import pandas as pd  # type: ignore[import-untyped]
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guarded import FailureType, _faults
from guarded._json import json_safe


class Side(enum.Enum):
    BUY = 1
    SELL = "sell"


class Level(enum.IntEnum):
    LOW = 1


class Option(enum.Flag):
    POST = 1
    HIDDEN = 2


class Bar(NamedTuple):
    open: float
    close: float


class Text(str):
    __slots__ = ("kept",)
    kept: object


class Count(int):
    pass


class Ratio(float):
    pass


PLAIN = [
    (None, None),
    (True, True),
    (5, 5),
    (Count(5), 5),
    (1.5, 1.5),
    (Ratio(1.5), 1.5),
    ("long", "long"),
    (Text("long"), "long"),
    (float("nan"), "nan"),
    (float("inf"), "inf"),
    (float("-inf"), "-inf"),
    (Decimal("1.50"), "1.50"),
    (Decimal("NaN"), "NaN"),
    (Fraction(1, 3), "1/3"),
    (1 + 2j, "(1+2j)"),
    (datetime(2025, 11, 11, 14, 25, tzinfo=UTC), "2025-11-11T14:25:00+00:00"),
    (date(2025, 11, 11), "2025-11-11"),
    (time(14, 25), "14:25:00"),
    (timedelta(minutes=5), "0:05:00"),
    (uuid.UUID(int=5), "00000000-0000-0000-0000-000000000005"),
    (PurePosixPath("data/goog.csv"), "data/goog.csv"),
    (b"abc\xff", "abc\\xff"),
    (bytearray(b"abc"), "abc"),
    (memoryview(b"abc"), "abc"),
    (b"x" * 1_001, "<bytes 1001>"),
    (Side.BUY, "Side.BUY"),
    (Side.SELL, "sell"),
    (Level.LOW, "Level.LOW"),
    (Option.POST | Option.HIDDEN, "Option.POST|HIDDEN"),
    (FailureType.DATA_ERROR, "data_error"),
    (ValueError("bad bar"), "ValueError('bad bar')"),
    (len, "<built-in function len>"),
    (iter(()), repr(iter(())).partition(" at ")[0]),
]

COLLECTIONS = [
    ({"a": 1, "b": [1.5]}, {"a": 1, "b": [1.5]}),
    ([1, (2, 3)], [1, [2, 3]]),
    (Bar(1.0, 2.0), [1.0, 2.0]),
    ({5}, [5]),
    (frozenset({5}), [5]),
    (collections.deque([1, 2]), [1, 2]),
    (range(3), [0, 1, 2]),
    ({"a": 1}.keys(), ["a"]),
    ({"a": 1}.values(), [1]),
    (types.MappingProxyType({"a": 1}), {"a": 1}),
    (collections.OrderedDict(a=1), {"a": 1}),
    ({1: "x", None: "y", Side.BUY: "z", ("a", 1): "t"}, {"1": "x", "None": "y", "Side.BUY": "z", "('a', 1)": "t"}),
]

ARRAYS = [
    (np.float64(1.5), 1.5),
    (np.float32(1.5), 1.5),
    (np.float64("nan"), "nan"),
    (np.int64(3), 3),
    (np.bool_(True), True),
    (np.str_("x"), "x"),
    (np.array(3), 3),
    (np.array({"a": 1}, dtype=object), {"a": 1}),
    (np.longdouble("1.5"), "1.5"),
    (np.datetime64("2025-01-01T00:00:00.000000001"), "2025-01-01T00:00:00.000000001"),
    (np.timedelta64(5, "ns"), "5 nanoseconds"),
    (np.zeros((3, 4)), "<ndarray 3x4>"),
    (np.zeros(0), "<ndarray 0>"),
    (np.dtype("f8"), "dtype('float64')"),
    (pd.DataFrame({"a": [1, 2]}), "<DataFrame 2x1>"),
    (pd.Series([1, 2, 3]), "<Series 3>"),
    (pd.Index([1]), "<Index 1>"),
    (pd.Timestamp("2025-01-01", tz="UTC"), "2025-01-01T00:00:00+00:00"),
    (pd.Timedelta("5min"), "0 days 00:05:00"),
    (pd.NaT, "NaT"),
    (pd.NA, "<NA>"),
    (pd.Period("2025-01", "M"), "Period('2025-01', 'M')"),
    (pl.DataFrame({"a": [1, 2]}), "<DataFrame 2x1>"),
    (pl.Series([1, 2]), "<Series 2>"),
]


@pytest.mark.parametrize(("value", "expected"), PLAIN)
def test_single_values(value: object, expected: object) -> None:
    """What JSON knows stays as it is, anything else becomes a text that a person can read."""
    safe = json_safe(value)
    if isinstance(safe, str) and "object at" in safe:
        assert safe.startswith(str(expected))
    else:
        assert safe == expected
    assert type(safe) in {type(None), bool, int, float, str}


def test_integers_that_json_refuses_are_told_by_their_size() -> None:
    """Integers of more than 4,096 bits, which json cannot write, become a text."""
    assert json_safe(2**4_096 - 1) == 2**4_096 - 1
    assert json_safe(10**5_000) == "<int of 16610 bits>"
    json.dumps(json_safe(2**4_096 - 1))


@pytest.mark.parametrize(("value", "expected"), COLLECTIONS)
def test_collections(value: object, expected: object) -> None:
    """Mappings become dicts with texts as keys, all other collections lists."""
    assert json_safe(value) == expected


@pytest.mark.parametrize(("value", "expected"), ARRAYS)
def test_arrays_and_frames(value: object, expected: object) -> None:
    """Scalars of numpy and pandas become plain ones, arrays and frames are told by type and shape."""
    assert json_safe(value) == expected


def test_a_lazy_frame_is_not_computed() -> None:
    """What has no shape yet is told by its bounded repr."""

    def explode(_: object) -> Any:
        raise AssertionError("computed")

    frame = pl.LazyFrame({"a": [1]}).map_batches(explode)
    assert str(json_safe(frame)).startswith("<LazyFrame at")


def test_a_subclass_of_a_frame_is_a_frame() -> None:
    """Frames of a host's own class are told like the library's."""
    bars = type("Bars", (pd.DataFrame,), {})
    assert json_safe(bars({"a": [1, 2]})) == "<Bars 2x1>"


def test_an_array_that_holds_itself_ends() -> None:
    """A zero-dimensional array whose item is itself becomes a text."""
    loop = np.array(None, dtype=object)
    loop[()] = loop
    assert isinstance(json_safe(loop), str)


def test_the_values_under_names_of_secrets_are_masked() -> None:
    """The value of a key such as `apiKey` is replaced at every level, whatever it is."""
    context = {"apiKey": "abc", "params": {"client_secret": ["abc"], "symbol": "BTC"}, "n": 1}
    assert json_safe(context) == {"apiKey": "***", "params": {"client_secret": "***", "symbol": "BTC"}, "n": 1}


def test_secrets_inside_texts_and_keys_are_masked() -> None:
    """Texts, also those of objects and keys, lose their secrets."""
    safe = json_safe({"url": "https://x?signature=abc", "token=abc": 1, "error": ValueError("password: abc")})
    assert "abc" not in json.dumps(safe)


@pytest.mark.parametrize(
    ("value", "length"),
    [("x" * 5_000, 1_000), (PurePosixPath("x" * 5_000), 1_000), ([1], 10), ({"x" * 5_000: 1}, 200)],
)
def test_texts_are_bounded(value: object, length: int) -> None:
    """1,000 characters of a text and 200 of a key are kept, and the rest is counted."""
    safe: Any = json_safe(value)
    text = next(iter(safe)) if isinstance(safe, dict) else str(safe)
    assert len(text) < length + 50
    assert ("more characters]" in text) == (len(str(value)) > length)


def test_collections_are_bounded() -> None:
    """100 items are kept, and the rest is counted."""
    assert json_safe(list(range(150))) == [*range(100), "... 50 more"]
    assert json_safe({str(n): n for n in range(150)}) == {**{str(n): n for n in range(100)}, "...": "50 more"}
    assert json_safe(list(range(100))) == list(range(100))


def test_levels_are_bounded() -> None:
    """Six levels are kept; what is deeper is told by its type."""
    deep: list[object] = []
    for _ in range(5_000):
        deep = [deep]
    assert json_safe(deep) == [[[[[["<list>"]]]]]]
    assert json_safe({"a": {"b": {"c": {"d": {"e": {"f": {}}}}}}}) == {"a": {"b": {"c": {"d": {"e": {"f": "<dict>"}}}}}}


@pytest.mark.timeout(20)
def test_values_in_all_are_bounded() -> None:
    """A thousand values are kept, however often they are shared; there would be 100 to the sixth."""
    wide: object = list(range(100))
    for _ in range(8):
        wide = [wide] * 100
    assert len(json.dumps(json_safe(wide))) < 50_000
    table: object = {str(n): n for n in range(100)}
    for _ in range(8):
        table = dict.fromkeys(map(str, range(100)), table)
    assert len(json.dumps(json_safe(table))) < 50_000


@pytest.mark.timeout(20)
def test_cycles_end() -> None:
    """What contains itself is cut off."""
    loop: list[object] = []
    loop.extend([loop] * 200)
    table: dict[str, object] = {}
    table["itself"] = table
    assert "<list>" in json.dumps(json_safe(loop))
    assert "<dict>" in json.dumps(json_safe(table))


class Hostile:
    """Raises wherever it is touched."""

    def __bool__(self) -> bool:
        raise RuntimeError("truth was tested")

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("equality was tested")

    __hash__ = None  # type: ignore[assignment]

    def __len__(self) -> int:
        raise RuntimeError("length was taken")

    def __iter__(self) -> Any:
        raise RuntimeError("it was iterated")

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(f"{name} was read")


class HostileMapping(Hostile, Mapping[str, object]):
    def __getitem__(self, key: str) -> object:
        raise RuntimeError("an item was read")


class HostileTime(datetime):
    def isoformat(self, sep: str = "T", timespec: str = "auto") -> str:
        raise RuntimeError("no text")


class HostileMeta(type):
    @property
    def __mro__(cls) -> Any:
        raise RuntimeError("no bases")

    def __hash__(cls) -> int:
        raise RuntimeError("no hash")


class HostileClass(metaclass=HostileMeta):
    pass


class Pretender:
    """Says that it is a dict."""

    @property  # type: ignore[misc]
    def __class__(self) -> type:
        return dict

    def __repr__(self) -> str:
        return "<pretender>"


def test_truth_and_equality_are_never_tested() -> None:
    """Objects that raise on `bool` and `==` are told by their repr."""

    class Line:
        def __bool__(self) -> bool:
            raise RuntimeError("truth was tested")

        def __eq__(self, other: object) -> bool:
            raise RuntimeError("equality was tested")

        def __hash__(self) -> int:
            raise RuntimeError("the hash was taken")

        def __repr__(self) -> str:
            return "<line>"

    before = _faults.count()
    assert json_safe([Line(), {"line": Line()}]) == ["<line>", {"line": "<line>"}]
    assert _faults.count() == before


def odd_time() -> object:
    return HostileTime(2025, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize("make", [HostileMapping, odd_time, HostileClass])
def test_an_object_that_raises_becomes_a_fixed_text(make: Callable[[], object]) -> None:
    """What raises is left out on its own; its neighbours stay, and the fault is reported."""
    before = _faults.count()
    value = make()
    safe: Any = json_safe({"odd": value, "n": 1})
    assert safe == {"odd": f"<{type(value).__name__}: raised while it was read>", "n": 1}
    assert _faults.count() == before + 1


def test_a_repr_that_raises_becomes_a_fixed_text() -> None:
    """An object without a usable repr is left out, and the fault is reported."""

    class Mute:
        def __repr__(self) -> str:
            raise RuntimeError("no text")

    before = _faults.count()
    assert json_safe([Mute(), 1]) == ["<no text: its __repr__ raised>", 1]
    assert _faults.count() == before + 1


def test_an_object_that_says_it_is_another_is_not_believed() -> None:
    """What counts is the real class."""
    assert json_safe(Pretender()) == "<pretender>"


def test_an_iterator_is_not_consumed() -> None:
    """A generator that a strategy still needs keeps its items."""
    bars = (number for number in range(3))
    assert str(json_safe(bars)).startswith("<generator object")
    assert list(bars) == [0, 1, 2]


def test_nothing_is_kept_alive() -> None:
    """The result shares nothing with the value, not even a text of the user's own class."""

    class Kept:
        pass

    sentinel = Kept()
    text = Text("long")
    text.kept = sentinel
    watched = weakref.ref(sentinel)
    safe = json_safe({"text": text, text: [sentinel], "set": {sentinel}})
    del sentinel, text
    gc.collect()
    assert watched() is None
    assert isinstance(safe, dict)


anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters())
    | st.binary()
    | st.decimals()
    | st.datetimes()
    | st.complex_numbers()
    | st.sampled_from([Side.BUY, np.zeros(3), object(), pd.NaT]),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters()) | st.integers(), inner) | st.tuples(inner),
)


@given(anything)
def test_the_result_can_be_written_as_json(value: object) -> None:
    """Whatever goes in, strict JSON in UTF-8 comes out, and reads back as it was."""
    safe = json_safe(value)
    text = json.dumps(safe, allow_nan=False, ensure_ascii=False)
    assert json.loads(text.encode().decode()) == safe
