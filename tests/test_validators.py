"""Validators: finite, not_empty, fresh and one_of, over the results that strategies return."""

from __future__ import annotations

import math
import pickle
import subprocess
import sys
from array import array
from collections import OrderedDict, UserString, deque
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, Flag
from fractions import Fraction
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import pandas as pd  # type: ignore[import-untyped]
import polars as pl
import pytest

from guarded import validators
from guarded._errors import InvalidConfiguration
from guarded.validators import finite, fresh, not_empty, one_of

if TYPE_CHECKING:
    from collections.abc import Iterator

NAN, INF = math.nan, math.inf


@dataclass
class Order:
    side: str
    price: Any
    legs: tuple[Any, ...] = ()


class Quote(NamedTuple):
    bid: float
    ask: float
    time: Any = None


class Side(Enum):
    LONG = 1


class Flags(Flag):
    ENTRY = 1
    EXIT = 2


class Measure:
    """A number that is registered nowhere, as other libraries have them."""

    def __init__(self, value: float) -> None:
        self.value = value

    def __float__(self) -> float:
        return self.value


class Tensor:
    """What is no numpy array, and can be had as one."""

    def __init__(self, *values: float) -> None:
        self.values = values

    def __array__(self, dtype: Any = None, copy: Any = None) -> Any:
        return np.array(self.values, dtype)


def cyclic() -> list[Any]:
    ring: list[Any] = [1.0, {"a": 2.0}]
    ring += [ring, ring, [ring, ring]]
    return ring


def nested(levels: int, core: Any) -> Any:
    for _ in range(levels):
        core = [core]
    return core


def test_every_validator_is_public() -> None:
    """The module offers these and nothing else."""
    assert validators.__all__ == ["finite", "fresh", "not_empty", "one_of"]


def test_libraries_are_not_imported() -> None:
    """Importing and using the validators imports no numpy, pandas or polars."""
    code = (
        "import sys; from guarded.validators import *; from datetime import datetime, UTC; "
        "assert finite({'a': [1.0, 'x']}) and not_empty([1]) and one_of('long')('long'); "
        "assert fresh(60)({'timestamp': datetime.now(UTC)}); "
        "print(sorted({'numpy', 'pandas', 'polars'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# finite

FINITE: list[Any] = [
    1,
    0.5,
    True,
    10**400,
    Fraction(10**400, 3),
    1 + 2j,
    Decimal("1.5"),
    Measure(1.5),
    "long",
    "nan",
    b"nan",
    UserString("nan"),
    Side.LONG,
    Flags.ENTRY | Flags.EXIT,
    Order,
    object(),
    datetime(2025, 1, 1, tzinfo=UTC),
    [],
    {},
    [1, "a", (2.0, {3.0}), {"k": [4]}],
    deque([1.0]),
    range(5),
    array("d", [1.0, 2.0]),
    OrderedDict(a=1.0).values(),
    Order("long", 1.5, (1.0,)),
    Quote(1.0, 2.0, "now"),
    cyclic(),
    nested(100_000, 1.0),
    Tensor(1.0, 2.0),
    np.float32(1.5),
    np.int64(5),
    np.bool_(True),
    np.str_("long"),
    np.datetime64("2025-01-01"),
    np.array([1.0, 2.0]),
    np.array([1, 2]),
    np.array([]),
    np.array(["a", "nan"]),
    np.array([1, "a", [2.0]], dtype=object),
    np.array([(1.0, 2)], dtype=[("a", float), ("b", int)]),
    np.array([b"\0\0"], dtype="V2"),
    np.array(["2025-01-01"], dtype="datetime64[D]"),
    pd.Timestamp("2025-01-01"),
    pd.Series([1.0, 2.0]),
    pd.Series([1, 2], dtype="Int64"),
    pd.Series([1.0, 2.0], dtype="Float64"),
    pd.Series([1.0, 0.0], dtype="Sparse[float]"),
    pd.Series([1 + 1j]),
    pd.Series(["long", "nan"]),
    pd.Series(["long", 1.5], dtype=object),
    pd.Series(["a", "b"], dtype="category"),
    pd.Series(pd.date_range("2025-01-01", periods=2, tz="UTC")),
    pd.Series([1.0], index=[NAN]),
    pd.Index([1.0, 2.0]),
    pd.DataFrame({"a": [1.0], "b": ["x"], "c": [True]}),
    pd.DataFrame([[1.0, 2.0]], columns=["same", "same"]),
    pd.DataFrame(),
    pl.Series([1.0, 2.0]),
    pl.Series(["a", "nan"]),
    pl.Series([[1.0], [2.0, 3.0]]),
    pl.Series([object()], dtype=pl.Object),
    pl.DataFrame({"a": [1.0], "b": ["x"], "c": [1]}),
    pl.DataFrame(),
]
NOT_FINITE: list[Any] = [
    None,
    NAN,
    INF,
    -INF,
    complex(NAN, 0),
    complex(0, INF),
    Decimal("NaN"),
    Decimal("sNaN"),
    Decimal("Infinity"),
    Measure(NAN),
    [1.0, NAN],
    [1.0, None],
    (1.0, [2.0, (NAN,)]),
    {1.0, INF},
    {"a": {"b": [NAN]}},
    deque([INF]),
    array("d", [NAN]),
    OrderedDict(a=NAN).values(),
    Order("long", NAN),
    Order("long", 1.0, (INF,)),
    Quote(1.0, NAN, "now"),
    [cyclic(), NAN],
    nested(100_000, NAN),
    Tensor(1.0, NAN),
    np.float64(NAN),
    np.float32(INF),
    np.datetime64("NaT", "s"),
    np.timedelta64("NaT", "s"),
    np.array([1.0, NAN]),
    np.array([[1.0, 2.0], [INF, 1.0]]),
    np.array(NAN),
    np.array([complex(1, NAN)]),
    np.array(["2025-01-01", "NaT"], dtype="datetime64[D]"),
    np.array([1, None], dtype=object),
    np.array([1, [2.0, NAN]], dtype=object),
    np.array([(1.0, 2), (NAN, 3)], dtype=[("a", float), ("b", int)]),
    pd.NaT,
    pd.NA,
    [1.0, pd.NaT],
    {"a": pd.NA},
    pd.Series([1.0, NAN]),
    pd.Series([1.0, INF]),
    pd.Series([1, None], dtype="Int64"),
    pd.Series([1.0, None], dtype="Float64"),
    pd.Series([1.0, INF], dtype="Float64"),
    pd.Series([1.0, NAN], dtype="Sparse[float]"),
    pd.Series([complex(1, NAN)]),
    pd.Series(["long", None]),
    pd.Series(["long", INF], dtype=object),
    pd.Series([Decimal("Infinity")], dtype=object),
    pd.Series(["a", None], dtype="category"),
    pd.Series([1.0, INF], dtype="category"),
    pd.Series(pd.to_datetime(["2025-01-01", None])),
    pd.Index([1.0, NAN]),
    pd.DataFrame({"a": [1.0], "b": [NAN]}),
    pd.DataFrame({"a": [1], "b": [INF]}),
    pd.DataFrame([[1.0, NAN]], columns=["same", "same"]),
    {"frame": pd.DataFrame({"a": [NAN]})},
    pl.Series([1.0, NAN]),
    pl.Series([1.0, INF]),
    pl.Series([1.0, None]),
    pl.Series(["a", None]),
    pl.Series([[1.0], [2.0, NAN]]),
    pl.Series([[1.0], [2.0, None]]),
    pl.Series([INF], dtype=pl.Object),
    pl.Series([{"a": 1.0, "b": INF}]),
    pl.DataFrame({"a": [1.0], "b": [NAN]}),
    [pl.DataFrame({"a": [None]})],
]


def described(value: object) -> str:
    return f"{type(value).__name__}-{repr(value)[:40] if not isinstance(value, list) else len(value)}"


@pytest.mark.parametrize("result", FINITE, ids=described)
def test_finite_accepts(result: Any) -> None:
    """Numbers that are finite, whatever holds them, and what is no number."""
    assert finite(result) is True


@pytest.mark.parametrize("result", NOT_FINITE, ids=described)
def test_finite_rejects(result: Any) -> None:
    """A NaN, an infinity or a missing value, however deep."""
    assert finite(result) is False


def bars() -> Iterator[float]:
    yield 1.0


@pytest.mark.parametrize("wrap", [lambda value: value, lambda value: [1.0, value]], ids=["alone", "within"])
@pytest.mark.parametrize("make", [bars, lambda: iter([1.0]), lambda: map(float, [1])])
def test_finite_refuses_iterators_unconsumed(make: Any, wrap: Any) -> None:
    """Looking into an iterator would use it up, so it is refused and left as it was."""
    iterator = make()
    with pytest.raises(TypeError, match=f"finite cannot look into {type(iterator).__name__} without running it"):
        finite(wrap(iterator))
    assert list(iterator) == [1.0]


def test_finite_refuses_lazy_frames() -> None:
    """A LazyFrame holds no values until it is collected."""
    with pytest.raises(TypeError, match="finite cannot look into LazyFrame without running it"):
        finite(pl.LazyFrame({"a": [1.0]}))


def test_finite_looks_at_a_bounded_number_of_objects() -> None:
    """What is too large to look at is refused."""
    with pytest.raises(ValueError, match="finite looks at no more than 1,000,000 objects; return an array, or check a"):
        finite(range(10**15))


def test_finite_ends_with_what_has_no_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A collection that makes new collections whenever it is looked into is refused."""

    class Endless:
        def __len__(self) -> int:
            return 1

        def __contains__(self, item: object) -> bool:
            return True

        def __iter__(self) -> Iterator[Endless]:
            while True:
                yield Endless()

    monkeypatch.setattr(validators, "_MOST_OBJECTS", 1000)
    with pytest.raises(ValueError, match="finite looks at no more than 1,000 objects"):
        finite(Endless())


def test_finite_has_no_bound_for_arrays_and_columns() -> None:
    """Numbers and texts in an array or column are judged as a whole, however many."""
    assert finite(np.zeros(2_000_000))
    assert finite(pd.Series(np.zeros(2_000_000)))
    texts = np.array(["long", "short"], dtype=object)[np.zeros(1_100_000, dtype=int)]
    assert finite(pd.Series(texts, dtype=object))
    assert finite(pd.Series(texts, dtype="category"))
    assert finite(pl.Series(texts.tolist()))


def test_finite_looks_once_at_what_is_shared() -> None:
    """A million references to one list are one list."""
    shared = [1.0] * 100_000
    assert finite([shared] * 500_000)
    assert not finite([shared, [*shared, NAN]])


def test_finite_without_numpy_takes_what_it_cannot_read_for_finite(monkeypatch: pytest.MonkeyPatch) -> None:
    """An object that could be an array is no number where there is no numpy to make one."""
    monkeypatch.delitem(sys.modules, "numpy")
    assert finite(Tensor(NAN))


def test_library_that_is_still_being_imported_has_no_values(monkeypatch: pytest.MonkeyPatch) -> None:
    """A module without its classes yet, in another thread, disturbs nobody."""
    monkeypatch.setitem(sys.modules, "pandas", type(sys)("pandas"))
    monkeypatch.setitem(sys.modules, "polars", type(sys)("polars"))
    assert finite([1.0, Order("long", 1.0)])


# not_empty


@pytest.mark.parametrize(
    "result",
    [
        "long",
        [0],
        (None,),
        {"a": None},
        {1},
        range(1),
        np.array([NAN]),
        np.array(5),
        pd.Series([False]),
        pd.DataFrame({"a": [1]}),
        pd.Index([1]),
        pl.Series([1]),
        pl.DataFrame({"a": [None]}),
    ],
    ids=described,
)
def test_not_empty_accepts(result: Any) -> None:
    """Whatever has an item, or a row, whatever that is."""
    assert not_empty(result) is True


@pytest.mark.parametrize(
    "result",
    [
        "",
        [],
        (),
        {},
        set(),
        range(0),
        np.array([]),
        np.zeros((3, 0)),
        pd.Series(dtype=float),
        pd.DataFrame(),
        pd.DataFrame({"a": []}),
        pd.DataFrame(index=[1, 2]),
        pl.Series([]),
        pl.DataFrame({"a": []}),
        pl.DataFrame(),
    ],
    ids=described,
)
def test_not_empty_rejects(result: Any) -> None:
    """No items, no rows, or no columns."""
    assert not_empty(result) is False


@pytest.mark.parametrize("result", [5, 0.0, Side.LONG, iter([1]), bars(), pl.LazyFrame({"a": [1]}), np.float64(1)])
def test_not_empty_refuses_what_has_no_length(result: Any) -> None:
    """A number or an iterator is neither empty nor not."""
    if isinstance(result, np.float64):
        assert not_empty(result)  # numpy's scalars are arrays of one item
        return
    with pytest.raises(TypeError, match=f"not_empty cannot judge {type(result).__name__}: it has no length"):
        not_empty(result)


# fresh

NOW = datetime(2025, 11, 11, 14, 30, tzinfo=UTC)
FRESH = NOW - timedelta(minutes=5)
STALE = NOW - timedelta(minutes=5, seconds=1)
OLD = NOW - timedelta(days=30)


class StoppedClock:
    def monotonic(self) -> float:
        return 0.0

    def now(self) -> datetime:
        return NOW


@dataclass
class Bar:
    datetime: Any
    close: float = 1.0


@dataclass
class TimedBar:
    date: Any
    time: Any


RECENT = fresh(timedelta(minutes=5), clock=StoppedClock())


def naive(stamp: datetime) -> datetime:
    return stamp.replace(tzinfo=None)


def stamps(newest: datetime) -> list[datetime]:
    return [OLD, newest, OLD - timedelta(days=1)]


def pandas_index(newest: datetime) -> Any:
    return pd.DatetimeIndex(stamps(newest))


SHAPES: dict[str, Any] = {
    "datetime": lambda newest: newest,
    "naive datetime": naive,
    "other zone": lambda newest: newest.astimezone(timezone(timedelta(hours=9))),
    "timestamp": pd.Timestamp,
    "datetime64": lambda newest: np.datetime64(naive(newest), "ns"),
    "list": stamps,
    "mixed list": lambda newest: [OLD, naive(newest), "long", 5, None, pd.NaT],
    "tuple with a signal": lambda newest: ("long", newest),
    "mapping": lambda newest: {"close": 1.0, "timestamp": newest},
    "capitalised": lambda newest: {"Date": newest},
    "epoch s": lambda newest: {"timestamp": newest.timestamp()},
    "epoch ms": lambda newest: {"timestamp": int(newest.timestamp() * 1e3), "datetime": None},
    "epoch us": lambda newest: {"time": int(newest.timestamp() * 1e6)},
    "epoch ns": lambda newest: {"time": np.int64(int(newest.timestamp()) * 10**9)},
    "iso": lambda newest: {"datetime": newest.isoformat()},
    "iso z": lambda newest: {"datetime": newest.strftime("%Y-%m-%dT%H:%M:%SZ")},
    "attribute": Bar,
    "attribute naive": lambda newest: Bar(naive(newest)),
    "named tuple": lambda newest: Quote(1.0, 2.0, newest),
    "second name": lambda newest: TimedBar(newest, time(14, 30)),
    "bars": lambda newest: [Bar(stamp) for stamp in stamps(newest)],
    "bar mappings": lambda newest: [{"date": stamp} for stamp in stamps(newest)],
    "index": pandas_index,
    "series by index": lambda newest: pd.Series([1, 2, 3], index=pandas_index(newest)),
    "frame by index": lambda newest: pd.DataFrame({"close": [1, 2, 3]}, index=pandas_index(newest)),
    "naive index": lambda newest: pd.Series([1], index=pd.DatetimeIndex([naive(newest)])),
    "index with NaT": lambda newest: pd.Series([1, 2], index=pd.DatetimeIndex([newest, None])),
    "multi-index": lambda newest: pd.Series(
        [1, 2, 3], index=pd.MultiIndex.from_product([["AAPL"], stamps(newest)], names=["symbol", "date"])
    ),
    "series of stamps": lambda newest: pd.Series(stamps(newest)),
    "column": lambda newest: pd.DataFrame({"close": [1, 2, 3], "date": stamps(newest)}),
    "column of objects": lambda newest: pd.DataFrame({"date": pd.Series([newest, None, OLD], dtype=object)}),
    "column of texts": lambda newest: pd.DataFrame({"Date": [stamp.isoformat() for stamp in stamps(newest)]}),
    "column of epochs": lambda newest: pd.DataFrame({"time": [stamp.timestamp() * 1e3 for stamp in stamps(newest)]}),
    "row with a stamp": lambda newest: pd.DataFrame({"close": [1], "date": [newest]}).iloc[-1],
    "row of an indexed frame": lambda newest: pd.DataFrame({"close": [1]}, index=[newest]).iloc[-1],
    "datetime64 array": lambda newest: np.array([naive(stamp) for stamp in stamps(newest)], dtype="datetime64[s]"),
    "array with NaT": lambda newest: np.array([naive(newest), "NaT"], dtype="datetime64[s]"),
    "polars frame": lambda newest: pl.DataFrame({"close": [1, 2, 3], "date": stamps(newest)}),
    "polars naive": lambda newest: pl.DataFrame({"timestamp": [naive(newest)]}),
    "polars texts": lambda newest: pl.DataFrame({"time": [newest.isoformat()]}),
    "polars series": lambda newest: pl.Series(stamps(newest)),
    "list of frames": lambda newest: [pd.DataFrame({"date": [OLD]}), pl.DataFrame({"date": [newest]})],
}


@pytest.mark.parametrize("shape", SHAPES)
def test_fresh_finds_the_newest_time_stamp(shape: str) -> None:
    """Accepted if the newest stamp is as old as `max_age`, not if it is a second older."""
    assert RECENT(SHAPES[shape](FRESH)) is True
    assert RECENT(SHAPES[shape](STALE)) is False


def test_date_is_its_midnight() -> None:
    """A date is as old as its midnight in UTC."""
    assert fresh(timedelta(hours=15), clock=StoppedClock())(NOW.date())
    assert not fresh(timedelta(hours=14), clock=StoppedClock())(NOW.date())
    assert fresh(timedelta(hours=15), clock=StoppedClock())(pl.DataFrame({"date": [date(2025, 1, 1), NOW.date()]}))


@pytest.mark.parametrize(
    "result",
    [
        None,
        "long",
        "2025-11-11T14:30:00Z",
        1762871400,
        FRESH.timestamp(),
        object(),
        [],
        ["long", 5],
        [[FRESH]],
        {},
        {"close": 1.0},
        {"time": "morning"},
        {"time": time(14, 30)},
        {"timestamp": None},
        {"timestamp": True},
        {"timestamp": NAN},
        {"timestamp": INF},
        {"timestamp": 1e300},
        {"timestamp": 1e16 * 1e4 * 1e5},
        {"open_time": FRESH},
        {FRESH: 1.0},
        Quote(1.0, 2.0),
        pd.NaT,
        np.datetime64("NaT", "s"),
        np.datetime64("30000-01-01"),
        bars(),
        np.array([1.0]),
        np.array([], dtype="datetime64[s]"),
        np.array(["NaT"], dtype="datetime64[s]"),
        pd.DataFrame({"close": [1.0]}),
        pd.DataFrame({"close": []}, index=pd.DatetimeIndex([])),
        pd.DataFrame({"date": []}),
        pd.DataFrame([[FRESH, FRESH]], columns=["date", "date"]),
        pd.DataFrame({"close": [1.0], "open": [2.0]}).iloc[-1],
        pd.Series([1.0, 2.0], name=5),
        pd.Index([1, 2]),
        pl.DataFrame({"close": [1.0]}),
        pl.DataFrame({"date": []}),
        pl.Series([1.0]),
        pl.Series([timedelta(1)]),
        pl.LazyFrame({"date": [FRESH]}),
    ],
    ids=described,
)
def test_fresh_refuses_what_has_no_time_stamp(result: Any) -> None:
    """A result that does not say of when it is cannot be called fresh; bare numbers and texts are no stamps."""
    with pytest.raises(TypeError) as caught:
        RECENT(result)
    assert str(caught.value) == (
        f"fresh(max_age=0:05:00) finds no time stamp in {type(result).__name__}: it needs a datetime, a DatetimeIndex, "
        "or an item, column or attribute called timestamp, datetime, time or date"
    )


def test_fresh_leaves_generators_alone() -> None:
    """A generator has no time stamp, and is not run to find one."""
    generator = bars()
    with pytest.raises(TypeError):
        RECENT(generator)
    assert list(generator) == [1.0]


@pytest.mark.parametrize("newest", [NOW + timedelta(minutes=5), pd.Timestamp(NOW + timedelta(minutes=5))])
def test_stamp_a_little_ahead_is_fresh(newest: Any) -> None:
    """A bar may carry the time of its close, and clocks differ."""
    assert RECENT(newest) is True


@pytest.mark.parametrize("newest", [naive(NOW + timedelta(hours=8)), pd.Timestamp(NOW + timedelta(hours=8))])
def test_stamp_far_ahead_is_refused(newest: Any) -> None:
    """A local time read as UTC would look fresh for hours after the feed has died."""
    with pytest.raises(ValueError, match=r"8:00:00 ahead of the clock, 2025-11-11T22:30:00\+00:00: .* is read as UTC"):
        RECENT(newest)


def test_fresh_goes_by_the_machines_clock_by_default() -> None:
    """Without `clock=` the age is told by the machine's time of day."""
    assert fresh(60)(datetime.now(UTC))
    assert not fresh(60)(datetime.now(UTC) - timedelta(minutes=2))


@pytest.mark.parametrize("max_age", [300, 300.0, np.float64(300), np.int64(300), timedelta(minutes=5)])
def test_max_age_is_a_span_or_seconds(max_age: Any) -> None:
    """Seconds of any number type, or a timedelta."""
    validator = fresh(max_age, clock=StoppedClock())
    assert validator(FRESH)
    assert not validator(STALE)
    assert repr(validator) == "fresh(max_age=0:05:00)"


@pytest.mark.parametrize(
    "max_age",
    [0, -1, timedelta(0), timedelta(seconds=-1), NAN, INF, 1e300, True, None, "5m", np.timedelta64(5, "m"), pd.NaT],
)
def test_bad_max_age_is_refused_at_once(max_age: Any) -> None:
    """What is no positive span of time is an error that says what is."""
    with pytest.raises(InvalidConfiguration) as caught:
        fresh(max_age)
    assert str(caught.value) == (
        f"fresh(max_age={max_age!r}): expected a positive timedelta or number of seconds, such as timedelta(minutes=5)"
    )


def test_bad_clock_is_refused_at_once() -> None:
    """What cannot tell the time is no clock."""
    with pytest.raises(InvalidConfiguration, match=r"fresh\(clock=5\): expected a Clock, with monotonic\(\) and now"):
        fresh(60, clock=5)  # type: ignore[arg-type]


# one_of

SIDE = one_of("long", "short", "hold")


@pytest.mark.parametrize("result", ["long", "hold", np.str_("short")])
def test_one_of_accepts_its_values(result: Any) -> None:
    """A result that equals one of the values."""
    assert SIDE(result) is True


@pytest.mark.parametrize(
    "result",
    [
        "LONG",
        "",
        None,
        5,
        ["long"],
        {"long": 1},
        np.array(["long"]),
        np.array(["long", "short"]),
        pd.Series(["long"]),
        pd.DataFrame({"a": ["long"]}),
        pl.Series(["long"]),
        pl.DataFrame({"a": ["long"]}),
        pd.NA,
    ],
    ids=described,
)
def test_one_of_rejects_all_else(result: Any) -> None:
    """Also what holds one of the values, and what cannot be tested for truth."""
    assert SIDE(result) is False


def test_one_of_takes_values_of_any_kind() -> None:
    """Unhashable values, numbers of other types, members, and arrays by identity."""
    weights = np.array([0.5, 0.5])
    validator = one_of([1, 2], {"a": 1}, 3, Side.LONG, weights, NAN)
    accepted: list[Any] = [[1, 2], {"a": 1}, 3.0, np.int64(3), Side.LONG, weights, NAN]
    rejected: list[Any] = [[1], {}, 4, weights.copy(), [weights]]
    assert [validator(result) for result in accepted] == [True] * 7
    assert [validator(result) for result in rejected] == [False] * 5


def test_one_of_survives_comparisons_that_raise() -> None:
    """A comparison that raises is no match, and the other values are still looked at."""

    class Hostile:
        def __eq__(self, other: object) -> bool:
            if other == "long":
                raise RuntimeError("no equality")
            return True

        __hash__ = None  # type: ignore[assignment]

    assert one_of("long", "short")(Hostile())
    assert not one_of("long")(Hostile())


def test_one_of_nothing_is_refused_at_once() -> None:
    """Without values nothing could ever be accepted."""
    with pytest.raises(InvalidConfiguration, match=r"one_of\(\) accepts nothing; name the values"):
        one_of()


# All of them


def test_validators_say_who_they_are() -> None:
    """A rejection can name the validator that refused."""
    assert finite.__name__ == "finite"
    assert not_empty.__name__ == "not_empty"
    assert repr(SIDE) == "one_of('long', 'short', 'hold')"
    assert repr(fresh(timedelta(days=1, seconds=1))) == "fresh(max_age=1 day, 0:00:01)"


def test_validators_pickle() -> None:
    """Hosts pickle strategies, and the validators with them."""
    given: tuple[Any, ...] = (finite, not_empty, SIDE)
    for validator in given:
        assert pickle.loads(pickle.dumps(validator))(["long"]) == validator(["long"])  # noqa: S301  # our own bytes
    assert pickle.loads(pickle.dumps(RECENT))(FRESH)  # noqa: S301  # our own bytes
