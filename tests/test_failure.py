"""SignalGenerationFailure: what a record says, how it is made, and that it is plain data."""

from __future__ import annotations

import copy
import gc
import json
import pickle
import re
import types
import weakref
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

import pandas as pd  # type: ignore[import-untyped]
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guarded import FailureType, InvalidConfiguration, SignalGenerationFailure, _faults
from guarded._failure import checked_type
from guarded._stack import CapturedStack, capture

WHEN = datetime(2025, 11, 11, 14, 25, 30, tzinfo=UTC)


def raised(error: BaseException) -> BaseException:
    try:
        raise error
    except BaseException as caught:  # noqa: BLE001  # whatever it is
        return caught


def failure_of(error: BaseException | str, **more: Any) -> SignalGenerationFailure:
    given: dict[str, Any] = {
        "strategy_name": "VWAP",
        "symbol": "AAPL",
        "failure_type": FailureType.STRATEGY_ERROR,
        "timestamp": WHEN,
    }
    return SignalGenerationFailure.from_error(error, **{**given, **more})


def by_hand(**changes: Any) -> SignalGenerationFailure:
    given: dict[str, Any] = {
        "strategy_name": "VWAP",
        "symbol": "AAPL",
        "error_message": "invalid momentum calculation",
        "failure_type": FailureType.STRATEGY_ERROR,
        "timestamp": WHEN,
    }
    return SignalGenerationFailure(**{**given, **changes})


# What a record says


def test_the_text_of_a_failure() -> None:
    """`str(failure)` names strategy, symbol, type, time and error, each on its line."""
    assert str(by_hand()) == (
        "[FAILURE] VWAP failed for AAPL\n"
        "   Type: strategy_error\n"
        "   Time: 2025-11-11T14:25:30+00:00\n"
        "   Error: invalid momentum calculation"
    )


def test_the_failure_types() -> None:
    """There are six types, and each is its own name as text."""
    assert [str(kind) for kind in FailureType] == [
        "strategy_error",
        "data_error",
        "execution_error",
        "connection_error",
        "configuration_error",
        "unknown_error",
    ]


def test_the_defaults() -> None:
    """Four values are enough: the time is now, and there is no stack, context, class or rule."""
    before = datetime.now(UTC)
    failure = SignalGenerationFailure("VWAP", "AAPL", "bad bar", FailureType.DATA_ERROR)
    assert before <= failure.timestamp <= datetime.now(UTC)
    assert failure.timestamp.tzinfo is UTC
    assert failure.stack_trace is None
    assert failure.additional_context == {}
    assert (failure.error_type, failure.rule) == ("", None)


def test_the_order_of_the_values() -> None:
    """The first seven values can be given by position."""
    failure = SignalGenerationFailure("VWAP", "AAPL", "bad bar", "data_error", WHEN, "a stack", {"bar": 5})
    assert failure.failure_type is FailureType.DATA_ERROR
    assert failure.timestamp == WHEN
    assert failure.stack_trace == "a stack"
    assert failure.additional_context == {"bar": 5}


def test_each_record_has_an_id_of_its_own() -> None:
    """Ids differ unless they are given."""
    ids = {by_hand().failure_id for _ in range(500)} | {failure_of("x").failure_id for _ in range(500)}
    assert len(ids) == 1_000
    assert all(re.fullmatch("[0-9a-f]{16}", each) for each in ids)
    assert by_hand(failure_id="f-1").failure_id == "f-1"


@pytest.mark.parametrize(
    ("error_type", "message", "shown"),
    [
        ("ValueError", "bad bar", "ValueError: bad bar"),
        ("", "rejected", "rejected"),
        ("ValueError", "ValueError", "ValueError"),
    ],
)
def test_class_and_message_in_one(error_type: str, message: str, shown: str) -> None:
    """`error` puts the class before the message, where there is one and it says something else."""
    assert by_hand(error_type=error_type, error_message=message).error == shown


# Bad input


@pytest.mark.parametrize("value", ["nonsense", "STRATEGY_ERROR", ""])
def test_an_unknown_failure_type_is_refused(value: str) -> None:
    """The error names the value and all that is allowed."""
    with pytest.raises(InvalidConfiguration) as caught:
        by_hand(failure_type=value)
    assert repr(value) in str(caught.value)
    assert all(repr(kind.value) in str(caught.value) for kind in FailureType)


@pytest.mark.parametrize("value", [None, 5, FailureType])
def test_a_failure_type_that_is_no_text_is_refused(value: Any) -> None:
    """Only a type or its value is taken."""
    with pytest.raises(InvalidConfiguration, match="rules: types="):
        checked_type(value, "rules: types")


def test_a_failure_type_is_taken_by_its_value() -> None:
    """The value of a type stands for the type."""
    assert checked_type("data_error", "types") is FailureType.DATA_ERROR
    assert checked_type(FailureType.DATA_ERROR, "types") is FailureType.DATA_ERROR


class Nowhere(tzinfo):
    """A time zone without an offset."""

    def utcoffset(self, dt: datetime | None, /) -> None:
        return None

    dst = tzname = utcoffset


@pytest.mark.parametrize("value", [datetime(2025, 11, 11), datetime(2025, 11, 11, tzinfo=Nowhere())])  # noqa: DTZ001
def test_a_naive_timestamp_is_refused(value: datetime) -> None:
    """The error says what to pass instead."""
    with pytest.raises(InvalidConfiguration, match=r"is naive: pass an aware time, such as datetime\.now\(UTC\)"):
        by_hand(timestamp=value)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("strategy_name", None, "str"),
        ("symbol", 5, "str"),
        ("error_message", ValueError("x"), "str"),
        ("failure_type", 5, "str"),
        ("timestamp", "2025-11-11", "datetime"),
        ("stack_trace", 5, "CapturedStack or str or None"),
        ("additional_context", ["bar"], "Mapping"),
        ("error_type", None, "str"),
        ("rule", 5, "str or None"),
        ("failure_id", 5, "str"),
    ],
)
def test_a_value_of_the_wrong_type_is_refused(name: str, value: object, expected: str) -> None:
    """The error names the value, and the type that was expected."""
    with pytest.raises(InvalidConfiguration) as caught:
        by_hand(**{name: value})
    assert str(caught.value) == f"SignalGenerationFailure: {name}={value!r}: expected {expected}"


# Times


@pytest.mark.parametrize(
    "moment",
    [
        WHEN.astimezone(timezone(timedelta(hours=9))),
        WHEN.astimezone(ZoneInfo("America/New_York")),
        pd.Timestamp("2025-11-11T14:25:30.000000001Z"),
        pd.Timestamp("2025-11-11T09:25:30", tz="America/New_York"),
    ],
)
@pytest.mark.parametrize("make", [by_hand, lambda timestamp: failure_of("x", timestamp=timestamp)])
def test_times_are_kept_in_utc(moment: datetime, make: Callable[..., SignalGenerationFailure]) -> None:
    """An aware time of any kind becomes a plain one in UTC."""
    timestamp = make(timestamp=moment).timestamp
    assert type(timestamp) is datetime
    assert timestamp.tzinfo is UTC
    assert timestamp == WHEN


# From an exception


class ExchangeError(Exception):
    pass


@pytest.mark.parametrize(
    ("error", "error_type", "message"),
    [
        (ValueError("bad bar"), "ValueError", "bad bar"),
        (KeyError("close"), "KeyError", "'close'"),
        (ExchangeError("down"), "ExchangeError", "down"),
        (ValueError(), "ValueError", "ValueError"),
        (ExchangeError(""), "ExchangeError", "ExchangeError"),
        (SyntaxError("odd", ("f.py", 3, 1, "x")), "SyntaxError", "odd (f.py, line 3)"),
        (ExceptionGroup("both", [ValueError()]), "ExceptionGroup", "both (1 sub-exception)"),
        (ValueError(b"\xff"), "ValueError", "b'\\xff'"),
        (ValueError("\ud800"), "ValueError", "?"),
        (ValueError("apiKey=abc"), "ValueError", "apiKey=***"),
        ("order rejected", "", "order rejected"),
        ("token=abc \udcff", "", "token=*** ?"),
    ],
    ids=repr,
)
def test_class_and_message_of_an_error(error: BaseException | str, error_type: str, message: str) -> None:
    """The class without its module, and what the exception says as Python prints it; without a text, its class."""
    failure = failure_of(error)
    assert (failure.error_type, failure.error_message) == (error_type, message)
    json.dumps(failure.to_dict(), ensure_ascii=False).encode()


def test_the_values_that_a_failure_is_made_of() -> None:
    """Names, type, time, rule and context are those that were given."""
    failure = failure_of(
        ValueError("x"), failure_type=FailureType.DATA_ERROR, rule="builtin:ValueError", additional_context={"bar": 5}
    )
    assert (failure.strategy_name, failure.symbol, failure.timestamp) == ("VWAP", "AAPL", WHEN)
    assert (failure.failure_type, failure.rule) == (FailureType.DATA_ERROR, "builtin:ValueError")
    assert failure.additional_context == {"bar": 5}
    assert failure_of("x").additional_context == {}


def test_messages_are_bounded() -> None:
    """2,000 characters of a message are kept, and the rest is counted."""
    for failure in (failure_of(ValueError("x" * 5_000)), failure_of("x" * 5_000), by_hand(error_message="x" * 5_000)):
        assert failure.error_message == "x" * 2_000 + "... [3000 more characters]"


def test_the_stack_of_an_error() -> None:
    """The stack is that of the exception with its notes, which are no part of the message; a text has none."""
    error = ValueError("bad bar")
    error.add_note("bar 17")
    failure = failure_of(raised(error))
    assert failure.stack_trace == capture(error).format()
    assert failure.stack_trace.endswith("    raise error\nValueError: bad bar\nbar 17\n")
    assert failure.error_message == "bad bar"
    assert failure_of("bad bar").stack_trace is None


def test_the_stack_is_not_formatted_before_it_is_read() -> None:
    """What is kept are records, not the text."""
    failure = failure_of(raised(ValueError("bad bar")))
    assert isinstance(failure._stack, CapturedStack)


def test_an_error_whose_text_raises() -> None:
    """The message is a fixed text, the class is known, and the fault is reported."""

    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError("no text")

    before = _faults.count()
    failure = failure_of(raised(Mute()))
    assert failure.error == "Mute: <no text: its __str__ raised>"
    assert _faults.count() == before + 1


def test_something_that_only_pretends_to_be_an_error_is_a_text() -> None:
    """What counts is the real class."""

    class Pretender:
        @property  # type: ignore[misc]
        def __class__(self) -> type:
            return ValueError

        def __str__(self) -> str:
            return "pretended"

    failure = failure_of(Pretender())  # type: ignore[arg-type]
    assert (failure.error_type, failure.error_message, failure.stack_trace) == ("", "pretended", None)


# Context and secrets


def test_the_context_is_made_json_ready_at_once() -> None:
    """What happens to the caller's objects afterwards does not reach the record."""
    bars = [1, 2]
    context: dict[str, object] = {"bars": bars, "side": FailureType.DATA_ERROR, "frame": pd.DataFrame({"a": [1]})}
    for failure in (failure_of("x", additional_context=context), by_hand(additional_context=context)):
        bars.append(3)
        context["more"] = 1
        assert failure.additional_context == {"bars": [1, 2], "side": "data_error", "frame": "<DataFrame 1x1>"}
        del bars[2], context["more"]


def test_secrets_are_masked_when_the_record_is_made() -> None:
    """Neither message nor context nor a stack given as text has a secret left."""
    secret = {"apiKey": "abc123", "url": "https://x?signature=abc123"}
    cases = [
        by_hand(error_message="token=abc123", additional_context=secret, stack_trace="password: abc123 \ud800"),
        failure_of(raised(ValueError("token=abc123")), additional_context=secret),
        failure_of("token=abc123", additional_context=secret),
    ]
    for failure in cases:
        assert "abc123" not in json.dumps(failure.to_dict()) + repr(failure) + str(failure)
        assert pickle.dumps(failure).find(b"abc123") == -1
    assert cases[0].stack_trace == "password: *** ?"


def test_a_context_that_cannot_be_read() -> None:
    """A mapping that raises leaves a fixed text, and the failure is recorded."""

    class Odd(Mapping[str, object]):
        def __getitem__(self, key: str) -> object:
            raise RuntimeError("an item was read")

        def __iter__(self) -> Any:
            raise RuntimeError("it was iterated")

        def __len__(self) -> int:
            raise RuntimeError("length was taken")

    failure = failure_of("x", additional_context=Odd())
    assert failure.additional_context == {"additional_context": "<Odd: raised while it was read>"}


# Plain data


def test_records_cannot_be_changed() -> None:
    """Neither a field nor the context nor anything inside it can be changed."""
    failure = by_hand(additional_context={"bars": [1, 2]})
    with pytest.raises(AttributeError):
        failure.symbol = "MSFT"  # type: ignore[misc]
    assert isinstance(failure.additional_context, types.MappingProxyType)
    inner: Any = failure.additional_context["bars"]
    inner.append(3)
    assert failure.additional_context == {"bars": [1, 2]}
    assert not hasattr(failure, "__dict__")


def test_records_are_compared_by_all_but_their_stacks() -> None:
    """Equal values make equal records with equal hashes, however the stack is kept."""
    first, second = by_hand(failure_id="1", stack_trace="text"), by_hand(failure_id="1")
    assert first == second
    assert hash(first) == hash(second)
    assert len({first, second, by_hand(failure_id="2")}) == 2
    for change in ({"symbol": "MSFT"}, {"additional_context": {"a": 1}}, {"rule": "x"}, {"error_type": "KeyError"}):
        assert by_hand(failure_id="1", **change) != first


def full() -> SignalGenerationFailure:
    error = raised(ExchangeError("down"))
    error.__cause__ = raised(KeyError("close"))
    return failure_of(error, additional_context={"bars": [1, {"a": None}], "x": 1.5, "umlaut": "ä"}, rule="user:1")


@pytest.mark.parametrize(
    "duplicate",
    [copy.copy, copy.deepcopy, *(lambda f, p=p: pickle.loads(pickle.dumps(f, p)) for p in range(2, 6))],  # noqa: S301
)
def test_records_can_be_copied_and_pickled(
    duplicate: Callable[[SignalGenerationFailure], SignalGenerationFailure],
) -> None:
    """A copy is equal, and has the same stack."""
    failure = full()
    again = duplicate(failure)
    assert again == failure
    assert again.stack_trace == failure.stack_trace
    assert again.additional_context == failure.additional_context


def test_the_repr_shows_the_values_without_the_stack() -> None:
    """A failed test that shows a record stays readable."""
    assert repr(by_hand(failure_id="1", stack_trace="long")) == (
        "SignalGenerationFailure(strategy_name='VWAP', symbol='AAPL', error_message='invalid momentum calculation', "
        "failure_type=<FailureType.STRATEGY_ERROR: 'strategy_error'>, "
        f"timestamp={WHEN!r}, error_type='', rule=None, failure_id='1')"
    )


def test_nothing_is_kept_alive() -> None:
    """1,000 records of failures with something big in the failing frame keep no frame and no exception."""

    class Big:
        pass

    watched: list[weakref.ref[object]] = []

    def fail(number: int) -> None:
        local = Big()
        error = ExchangeError(local)
        watched.extend((weakref.ref(local), weakref.ref(error)))
        raise error from ValueError(number)

    records = []
    for number in range(1_000):
        try:
            fail(number)
        except ExchangeError as error:
            records.append(failure_of(error, additional_context={"error": error, "number": number}))
    gc.collect()
    assert len(watched) == 2_000
    assert not [each for each in watched if each() is not None]
    assert all("in fail" in str(record.stack_trace) for record in records)


# To and from a dict


def test_the_dict_of_a_failure() -> None:
    """The keys are the names of the fields, and the values are plain."""
    failure = full()
    assert failure.to_dict() == {
        "strategy_name": "VWAP",
        "symbol": "AAPL",
        "error_message": "down",
        "failure_type": "strategy_error",
        "timestamp": "2025-11-11T14:25:30+00:00",
        "stack_trace": failure.stack_trace,
        "additional_context": {"bars": [1, {"a": None}], "x": 1.5, "umlaut": "ä"},
        "error_type": "ExchangeError",
        "rule": "user:1",
        "failure_id": failure.failure_id,
    }
    assert type(failure.to_dict()["failure_type"]) is str


@pytest.mark.parametrize("make", [full, by_hand, lambda: by_hand(stack_trace="text", rule="x", error_type="E")])
def test_a_dict_is_restored(make: Callable[[], SignalGenerationFailure]) -> None:
    """Through JSON and back a record is equal, with its stack as text."""
    failure = make()
    restored = SignalGenerationFailure.from_dict(json.loads(json.dumps(failure.to_dict())))
    assert restored == failure
    assert hash(restored) == hash(failure)
    assert restored.stack_trace == failure.stack_trace
    assert restored.to_dict() == failure.to_dict()


def test_a_stack_is_restored_without_its_sources(tmp_path: Any) -> None:
    """A restored record shows the lines of source as they were when the dict was made."""
    file = tmp_path / "strategy.py"
    file.write_text("1 / 0  # token = read()\n")
    try:
        exec(compile(file.read_text(), str(file), "exec"))  # noqa: S102  # our own text
    except ZeroDivisionError as error:
        failure = failure_of(error)
    written = failure.to_dict()
    file.unlink()
    assert "1 / 0  # token = read()" in str(SignalGenerationFailure.from_dict(written).stack_trace)


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(st.characters()), inner),
    max_leaves=30,
)


@given(st.dictionaries(st.text(), values), st.text(st.characters()))
def test_any_context_and_message_is_restored(context: dict[str, object], message: str) -> None:
    """Also what was bounded, masked or replaced is restored as it was kept."""
    failure = failure_of(message, additional_context=context)
    text = json.dumps(failure.to_dict(), ensure_ascii=False, allow_nan=False).encode()
    restored = SignalGenerationFailure.from_dict(json.loads(text))
    assert restored == failure
    assert restored.additional_context == failure.additional_context


def recursive_context() -> dict[str, object]:
    loop: dict[str, object] = {}
    loop["itself"] = loop
    return loop


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"failure_type": "nonsense"}, "failure_type='nonsense': expected a FailureType or one of"),
        ({"failure_type": 5}, "failure_type=5: expected str"),
        ({"timestamp": "yesterday"}, "timestamp='yesterday': expected an ISO time"),
        ({"timestamp": "2025-11-11T14:25:30"}, "is naive"),
        ({"timestamp": 5}, "timestamp=5: expected datetime"),
        ({"symbol": None}, "symbol=None: expected str"),
        ({"stack_trace": ["a"]}, "stack_trace="),
        ({"additional_context": "a"}, "additional_context='a': expected Mapping"),
        ({"additional_context": {"a": object()}}, "is not JSON-ready"),
        ({"additional_context": {"a": float("nan")}}, "is not JSON-ready"),
        ({"additional_context": recursive_context()}, "is not JSON-ready"),
        ({"colour": "red"}, r"missing keys \[\], unknown keys \['colour'\]: pass what to_dict\(\) returned"),
        ({5: 6}, r"unknown keys \[5\]"),
    ],
    ids=range(13),
)
def test_a_dict_that_cannot_be_restored(changes: dict[Any, object], message: str) -> None:
    """The error names the key and the value, and says what was expected."""
    with pytest.raises(InvalidConfiguration, match=message) as caught:
        SignalGenerationFailure.from_dict({**full().to_dict(), **changes})
    assert str(caught.value).startswith("SignalGenerationFailure.from_dict: ")


def test_a_missing_key_is_named() -> None:
    """All keys are needed."""
    data = full().to_dict()
    del data["symbol"], data["rule"]
    with pytest.raises(InvalidConfiguration, match=r"missing keys \['rule', 'symbol'\]"):
        SignalGenerationFailure.from_dict(data)


@pytest.mark.parametrize("data", [None, [1], "text"])
def test_something_else_than_a_dict_is_refused(data: Any) -> None:
    """The error says what was expected."""
    with pytest.raises(InvalidConfiguration, match=r"expected a mapping as to_dict\(\) returns it"):
        SignalGenerationFailure.from_dict(data)
