"""Context: what `context=` adds to a failure's record."""

from __future__ import annotations

import pickle
from typing import Any

import pandas as pd  # type: ignore[import-untyped]
import pytest

from guarded._context import block_context, context_resolver
from guarded._errors import InvalidConfiguration


def generate(frame: object, symbol: str, *, side: str = "buy") -> None:
    return None


def resolve(spec: Any, *args: Any, **kwargs: Any) -> dict[str, object]:
    resolver = context_resolver(generate, spec)
    assert resolver is not None
    return resolver(args, kwargs)


def rows(frame: Any, symbol: str, *, side: str = "buy") -> int:
    return len(frame)


def raising(*args: Any, **kwargs: Any) -> Any:
    raise ValueError("no last bar")


def test_no_context_needs_no_resolver() -> None:
    """Without `context=` there is nothing to call."""
    assert context_resolver(generate, None) is None


def test_mapping_has_values_templates_and_callables() -> None:
    """Each value of a mapping is itself, or filled in from the call; the keys keep their order."""
    frame = pd.DataFrame({"close": [1.0, 2.0]})
    spec = {"version": 3, "desk": "rates", "where": "{symbol}/{side}", "rows": rows, "braces": "{{}}"}
    found = resolve(spec, frame, "AAPL", side="sell")
    assert list(found.items()) == [
        ("version", 3),
        ("desk", "rates"),
        ("where", "AAPL/sell"),
        ("rows", 2),
        ("braces", "{}"),
    ]


def test_values_are_raw() -> None:
    """A template of one bare field gives the argument itself."""
    frame = pd.DataFrame()
    assert resolve({"frame": "{frame}"}, frame, "AAPL")["frame"] is frame


def test_mapping_is_read_at_decoration() -> None:
    """What happens to the mapping afterwards changes nothing."""
    spec = {"a": 1}
    resolver = context_resolver(generate, spec)
    spec["b"] = 2
    assert resolver is not None
    assert resolver((), {}) == {"a": 1}


def test_callable_makes_the_whole_context() -> None:
    """One callable over the call's arguments returns the mapping; its keys become texts."""
    assert resolve(lambda frame, symbol, **rest: {"symbol": symbol, 1: rest}, None, "AAPL", side="sell") == {
        "symbol": "AAPL",
        "1": {"side": "sell"},
    }


def test_part_that_raises_leaves_a_note_in_its_place(caplog: pytest.LogCaptureFixture) -> None:
    """The other parts stand, the fault is logged."""
    assert resolve({"last": raising, "symbol": "{symbol}", "side": "{symbol.side}"}, None, "AAPL") == {
        "last": "<context raised ValueError: no last bar>",
        "symbol": "AAPL",
        "side": "<context raised AttributeError: 'str' object has no attribute 'side'>",
    }
    assert caplog.messages[0] == (
        "context['last']= of generate raised; the failure is recorded with a note in its place: ValueError: no last bar"
    )
    assert len(caplog.messages) == 2


def test_callable_that_raises_leaves_a_note(caplog: pytest.LogCaptureFixture) -> None:
    """The note stands under the key "context"."""
    assert resolve(raising) == {"context": "<context raised ValueError: no last bar>"}
    assert len(caplog.messages) == 1


@pytest.mark.parametrize("value", [None, [("a", 1)], "text", 5])
def test_callable_that_returns_no_mapping_is_reported(value: object, caplog: pytest.LogCaptureFixture) -> None:
    """What is no mapping is a fault like an exception."""
    note = f"it returned {type(value).__name__}, not a mapping"
    assert resolve(lambda: value) == {"context": f"<context raised TypeError: {note}>"}
    assert note in caplog.text


def test_note_is_bounded() -> None:
    """A long message is cut."""

    def verbose() -> Any:
        raise ValueError("x" * 10_000)

    assert resolve({"a": verbose}) == {"a": f"<context raised ValueError: {'x' * 200}>"}


def test_hostile_exception_leaves_a_note() -> None:
    """An exception without a text has a fixed one."""

    class HostileError(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    def hostile() -> Any:
        raise HostileError

    assert resolve({"a": hostile}) == {"a": "<context raised HostileError: <no text: its __str__ raised>>"}


def test_note_masks_secrets() -> None:
    """What an exception says of a secret is not kept."""

    def leaking() -> Any:
        raise ValueError("password=hunter2")

    assert "hunter2" not in str(resolve({"a": leaking}))


def test_callable_that_returns_a_coroutine_leaves_a_note() -> None:
    """A coroutine is closed, not recorded."""
    assert "it returned a coroutine" in str(resolve({"a": lambda: coroutine()})["a"])  # noqa: PLW0108  # not async itself


async def coroutine() -> None:
    """Never awaited."""


@pytest.mark.parametrize(
    ("spec", "text"),
    [
        (5, r"context=5 on generate: expected a mapping of values, templates and callables, or a callable"),
        ("{symbol}", r"context='{symbol}' on generate: expected a mapping"),
        ({5: "a"}, r"context= on generate: the key 5 is no text"),
        ({"a": "{simbol}"}, r"context\['a'\]='{simbol}' on generate: it has no parameter 'simbol'; .* 'symbol'\?"),
        ({"a": "{"}, r"context\['a'\]='{' on generate: Single '{'"),
        ({"a": coroutine}, r"context\['a'\]=<function coroutine .*> on generate is async"),
        (coroutine, r"context=<function coroutine .*> on generate is async"),
    ],
)
def test_settings_that_cannot_work_are_refused_at_decoration(spec: Any, text: str) -> None:
    """A wrong setting is an error that names the part, the function and what was expected."""
    with pytest.raises(InvalidConfiguration, match=text):
        context_resolver(generate, spec)


@pytest.mark.parametrize("spec", [{"a": "{symbol}", "b": 1, "c": raising}, raising])
def test_resolvers_pickle(spec: Any) -> None:
    """Hosts pickle strategies; a resolver holds nothing that does not go along."""
    copy = pickle.loads(pickle.dumps(context_resolver(generate, spec)))  # noqa: S301  # our own bytes
    assert copy((None, "AAPL"), {}) == resolve(spec, None, "AAPL")


# Blocks


class HostileKey:
    def __str__(self) -> str:
        raise RuntimeError("no text")


def test_blocks_context_has_values_and_callables() -> None:
    """A block has no arguments: its callables are called without any, and its texts are themselves."""
    spec = {"desk": "rates", "braces": "{symbol}", "bars": lambda: 20, 1: None, "last": raising}
    assert block_context(spec) == {  # type: ignore[arg-type]  # a user's mapping has what keys it has
        "desk": "rates",
        "braces": "{symbol}",
        "bars": 20,
        "1": None,
        "last": "<context raised ValueError: no last bar>",
    }


def test_blocks_context_can_be_a_callable_or_nothing() -> None:
    """A callable without parameters returns the whole mapping; None is no context."""
    assert block_context(lambda: {"bars": 20}) == {"bars": 20}
    assert block_context(None) == {}


@pytest.mark.parametrize(
    ("spec", "note"),
    [
        (5, "TypeError: 'int' object is not callable"),
        (raising, "ValueError: no last bar"),
        (lambda: 5, "TypeError: it returned int, not a mapping"),
        ({HostileKey(): 1}, "RuntimeError: no text"),
    ],
)
def test_blocks_context_that_cannot_work_is_a_note(spec: Any, note: str, caplog: pytest.LogCaptureFixture) -> None:
    """A block's context is looked at only when it failed; whatever is wrong with it then is reported, not raised."""
    assert block_context(spec) == {"context": f"<context raised {note}>"}
    assert len(caplog.messages) == 1
