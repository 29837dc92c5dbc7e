"""Names: strategy and symbol from texts, templates, callables and the nearest evidence."""

from __future__ import annotations

import contextlib
import functools
import inspect
import pickle
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd  # type: ignore[import-untyped]
import pytest
import wrapt

from guarded._enclosing import Enclosing, enclosing
from guarded._errors import InvalidConfiguration
from guarded._names import LONGEST, Resolver, name, strategy_resolver, symbol_of, symbol_resolver

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from guarded._tracker import FailureTracker


@dataclass
class Bar:
    vt_symbol: str = "rb2501.SHFE"
    close: float = 3210.5


class Vwap:
    name = "VWAP"

    def generate(
        self, df: object, symbol: str, metadata: object, bar: Bar, *, side: str = "buy", price: float = 1.5
    ) -> None:
        return None

    def on_bar(self, bar: Bar) -> None:
        return None

    async def poll(self, symbol: str) -> None:
        return None

    @classmethod
    def build(cls, symbol: str) -> None:
        return None


class Momentum:
    def on_bar(self, bar: Bar) -> None:
        return None


class Text(str):
    """A text that shows itself as something else, as an enum's member does."""

    __slots__ = ()

    def __str__(self) -> str:
        return "Text.MEMBER"


class Side(str, Enum):  # noqa: UP042  # unlike a StrEnum's, its members do not read as they are
    LONG = "long"


class Hostile:
    """Raises at whatever it is asked."""

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError("no")

    def __str__(self) -> str:
        raise RuntimeError("no")

    def __bool__(self) -> bool:
        raise RuntimeError("no truth")

    def __eq__(self, other: object) -> bool:
        raise RuntimeError("no equality")

    __hash__ = None  # type: ignore[assignment]


@dataclass
class Block:
    strategy: str | None = None
    symbol: str | None = None
    outer: Enclosing | None = None
    ended: bool = False

    def resolve_context(self) -> dict[str, object]:
        return {}

    def note_failure(self, tracker: FailureTracker) -> None:
        """Nothing is recorded here."""


@contextlib.contextmanager
def inside(block: Block) -> Iterator[None]:
    token = enclosing.set(block)
    try:
        yield
    finally:
        enclosing.reset(token)


def called(resolver: Resolver | str, *args: Any, error: BaseException | None = None, **kwargs: Any) -> str:
    """The name for a call with these arguments."""
    return resolver if isinstance(resolver, str) else resolver(args, kwargs, error)


def symbol(function: Callable[..., object], spec: Any, *args: Any, **kwargs: Any) -> str:
    return called(symbol_resolver(function, spec), *args, **kwargs)


def generate_arguments(**changes: Any) -> dict[str, Any]:
    return {"df": pd.DataFrame(), "symbol": "AAPL", "metadata": {"pair": "BTC/USDT"}, "bar": Bar()} | changes


# Texts


def test_text_without_braces_is_itself() -> None:
    """A plain string is the name, and there is nothing to call."""
    assert strategy_resolver(Vwap.generate, "VWAP") == "VWAP"
    assert symbol_resolver(Vwap.generate, "BTC/USDT") == "BTC/USDT"


def test_doubled_braces_are_braces() -> None:
    """A template of nothing but escapes is a plain text."""
    assert symbol_resolver(Vwap.generate, "{{AAPL}}") == "{AAPL}"


def test_plain_text_is_bounded() -> None:
    """A name given as text is no longer than any other."""
    assert symbol_resolver(Vwap.generate, "x" * 500) == "x" * LONGEST


# Templates

CALLS: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
    (("df", "AAPL", {"pair": "BTC/USDT", "0": "zero", 0: "first"}, Bar()), {}),
    (("df", "AAPL"), {"metadata": {"pair": "ETH/USDT", 0: 1}, "bar": Bar("IF2501"), "side": "sell"}),
    ((), {"df": "df", "symbol": "MSFT", "metadata": {"pair": "X", 0: 2}, "bar": Bar(close=2.0), "price": 12.25}),
]
TEMPLATES = [
    "{symbol}",
    "{self.name}",
    "{bar.vt_symbol}",
    "{bar.vt_symbol.__class__.__name__}",
    "{metadata[pair]}",
    "{metadata[0]}",
    "{metadata[pair][0]}",
    "{bar.__dict__[vt_symbol]}",
    "{side}",
    "{price}",
    "{price:.3f}",
    "{symbol!r}",
    "{symbol!s:>8}",
    "{symbol!a}",
    "{symbol:>8}",
    "{bar.close:08.2f}",
    "<{symbol}>",
    "{symbol}{side}",
    "{self.name}/{symbol}@{metadata[pair]}:{price:.1f}",
    "{{{symbol}}}",
]


@pytest.mark.parametrize("template", TEMPLATES)
@pytest.mark.parametrize("call", CALLS, ids=["positional", "mixed", "keyword"])
def test_template_says_what_str_format_says(template: str, call: tuple[tuple[Any, ...], dict[str, Any]]) -> None:
    """A template gives what `str.format` gives over the bound arguments with their defaults."""
    strategy = Vwap()
    bound = inspect.signature(Vwap.generate).bind(strategy, *call[0], **call[1])
    bound.apply_defaults()
    assert symbol(Vwap.generate, template, strategy, *call[0], **call[1]) == template.format(**bound.arguments)


def open_ended(self: Any, first: Any, *args: Any, price: float = 1, **kwargs: Any) -> None:
    return None


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("{args[0]}", "b"),
        ("{args[1].vt_symbol}", "rb2501.SHFE"),
        ("{args[0]}-{first}", "b-a"),
        ("{kwargs[pair]}", "BTC/USDT"),
        ("{pair}", "BTC/USDT"),
        ("{kwargs}", "{'pair': 'BTC/USDT'}"),
    ],
)
def test_variadic_parameters_can_be_named(template: str, expected: str) -> None:
    """`*args` and `**kwargs` are parameters, and what arrives through `**kwargs` has a name of its own."""
    assert symbol(open_ended, template, None, "a", "b", Bar(), price=2, pair="BTC/USDT") == expected


def test_coroutine_functions_have_templates_too() -> None:
    """An `async def` has parameters as a `def` has."""
    assert symbol(Vwap.poll, "{symbol}", Vwap(), "AAPL") == "AAPL"


def test_bound_methods_are_named_by_what_is_passed_to_them() -> None:
    """The arguments of a bound method start after `self`."""
    assert symbol(Vwap().poll, "{symbol}", "AAPL") == "AAPL"


def test_partials_are_named_by_what_is_passed_to_them() -> None:
    """The arguments that a partial adds are defaults of what it is called with."""
    assert symbol(functools.partial(open_ended, None), "{first}", "AAPL") == "AAPL"


def test_callable_objects_are_functions_too() -> None:
    """A template names the parameters of `__call__`; an error names the class."""

    class Rule:
        def __call__(self, symbol: str) -> None:
            return None

    assert symbol(Rule(), "{symbol}", "AAPL") == "AAPL"
    with pytest.raises(InvalidConfiguration, match=r"on .*Rule: "):
        symbol_resolver(Rule(), "{pair}")


@pytest.mark.parametrize(
    ("template", "detail"),
    [
        ("{symbol", "expected '}'"),
        ("symbol}", "Single '}'"),
        ("{", "Single '{'"),
        ("{}", "{} counts positions"),
        ("{0}", "{0} counts positions"),
        ("{0.name}", "{0.name} counts positions"),
        ("{bar.}", "{bar.} is malformed"),
        ("{bar[]}", "{bar[]} is malformed"),
        ("{bar[a]b}", "{bar[a]b} is malformed"),
        ("{symbol!x}", "no conversion '!x'"),
        ("{symbol:>{price}}", "has a field in it"),
        ("{ symbol }", "it has no parameter ' symbol '"),
        ("{Vwap.name}", "it has no parameter 'Vwap'"),
    ],
)
def test_templates_that_cannot_work_are_refused_at_decoration(template: str, detail: str) -> None:
    """A malformed template, a position, or a name that is no parameter is an error that names template and function."""
    with pytest.raises(InvalidConfiguration) as caught:
        strategy_resolver(Vwap.generate, template)
    assert str(caught.value).startswith(f"strategy={template!r} on Vwap.generate: ")
    assert detail in str(caught.value)


def test_unknown_parameter_is_answered_with_the_known_ones() -> None:
    """The error lists the parameters that could have been named, and the nearest."""
    with pytest.raises(InvalidConfiguration) as caught:
        symbol_resolver(Vwap.generate, "{simbol.name}")
    assert str(caught.value) == (
        "symbol='{simbol.name}' on Vwap.generate: it has no parameter 'simbol'; name one of its parameters: "
        "self, df, symbol, metadata, bar, side, price; did you mean 'symbol'?"
    )


def test_unknown_parameter_that_resembles_none_gets_no_guess() -> None:
    """Where no parameter's name is near, none is suggested."""
    with pytest.raises(InvalidConfiguration, match=r"name one of its parameters: self, bar$"):
        symbol_resolver(Momentum.on_bar, "{exchange}")


def test_function_without_parameters_has_no_templates() -> None:
    """The error says what to give instead."""
    with pytest.raises(InvalidConfiguration, match="it has no parameters, so give a plain name or a callable"):
        symbol_resolver(lambda: None, "{symbol}")


def unreadable(*args: Any, **kwargs: Any) -> None:
    """A function whose parameters Python cannot tell."""


unreadable.__signature__ = "nonsense"  # type: ignore[attr-defined]


@pytest.mark.parametrize("function", [max, unreadable])
def test_function_without_a_signature_takes_no_template_but_all_else(function: Callable[..., object]) -> None:
    """Where Python cannot tell the parameters, a template is refused; texts, callables and inference work."""
    with pytest.raises(
        InvalidConfiguration, match=r"Python cannot tell .* 'symbol' among them or not; give a callable"
    ):
        symbol_resolver(function, "{symbol}")
    assert symbol_resolver(function, "AAPL") == "AAPL"
    assert symbol(function, lambda *args: args[0], "AAPL") == "AAPL"
    assert symbol(function, None, symbol="AAPL") == "unknown"
    assert called(strategy_resolver(function, None)) == function.__qualname__


# Decorated functions


def logged(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(*args: Any, **kwargs: Any) -> Any:
        return function(*args, **kwargs)

    return wrapper


def logged_method(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(self: Any, *args: Any, **kwargs: Any) -> Any:
        return function(self, *args, **kwargs)

    return wrapper


def with_session(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(self: Any, symbol: str) -> Any:
        return function("session", self, symbol)

    return wrapper


def with_session_added(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def wrapper(own: Any, *args: Any, **kwargs: Any) -> Any:
        return function("session", *args, **kwargs)

    return wrapper


@wrapt.decorator
def traced(wrapped: Any, instance: Any, args: Any, kwargs: Any) -> Any:
    return wrapped(*args, **kwargs)


@pytest.mark.parametrize("decorate", [logged, logged_method, lambda f: logged(logged_method(f)), traced])
def test_parameters_are_seen_through_decorators(decorate: Callable[..., Any]) -> None:
    """A wrapper that passes everything on has the parameters of the function in it."""
    decorated = decorate(Vwap.generate)
    arguments = generate_arguments()
    assert symbol(decorated, "{symbol}", Vwap(), *arguments.values()) == "AAPL"
    assert symbol(decorated, "{metadata[pair]}", Vwap(), **arguments) == "BTC/USDT"
    assert symbol(decorated, "{side}", Vwap(), **arguments) == "buy"
    assert called(strategy_resolver(decorated, None), Vwap()) == "VWAP"


@pytest.mark.parametrize("decorate", [with_session, lambda f: logged(with_session(f))])
def test_wrapper_that_supplies_an_argument_has_its_own_parameters(decorate: Callable[..., Any]) -> None:
    """The names are those of what the caller calls, not of the function within."""

    def inner(session: Any, self: Any, symbol: str) -> None:
        return None

    decorated = decorate(inner)
    assert symbol(decorated, "{symbol}", Vwap(), "AAPL") == "AAPL"
    with pytest.raises(InvalidConfiguration, match="has no parameter 'session'"):
        symbol_resolver(decorated, "{session}")


def test_open_wrapper_whose_own_parameters_differ_is_not_seen_through() -> None:
    """A wrapper that passes the rest on, behind a parameter of its own, counts positions by its own parameters."""
    decorated = with_session_added(Vwap.poll)
    assert symbol(decorated, "{own}", "mine", "AAPL") == "mine"
    assert symbol(decorated, "{args[0]}", "mine", "AAPL") == "AAPL"


def test_wrapper_that_wraps_itself_ends() -> None:
    """A circle of `__wrapped__` is a function whose parameters cannot be told."""
    circular = logged(Vwap.generate)
    circular.__wrapped__ = circular  # type: ignore[attr-defined]
    with pytest.raises(InvalidConfiguration, match="Python cannot tell"):
        symbol_resolver(circular, "{symbol}")


# Callables


def test_callable_gets_the_calls_own_arguments() -> None:
    """A callable is called as the function was, positions and keywords alike."""
    spec = lambda self, df, symbol, **rest: f"{symbol}:{rest['side']}"  # noqa: E731  # as a user would write it
    assert symbol(Vwap.generate, spec, Vwap(), "df", "AAPL", side="sell") == "AAPL:sell"


async def name_async(*args: Any) -> str:
    return "AAPL"


async def names_async(*args: Any) -> Any:
    yield "AAPL"


class AsyncNamer:
    async def __call__(self, *args: Any) -> str:
        return "AAPL"


@pytest.mark.parametrize("spec", [name_async, names_async, AsyncNamer(), functools.partial(name_async, 1)])
def test_async_callables_are_refused_at_decoration(spec: Any) -> None:
    """A callable whose result would have to be awaited is an error that says so."""
    with pytest.raises(InvalidConfiguration, match=r"symbol=.* on Vwap.on_bar is async, .* give a plain callable"):
        symbol_resolver(Vwap.on_bar, spec)


@pytest.mark.parametrize("spec", [5, b"AAPL", ["AAPL"], {"symbol": "AAPL"}, False, ""])
def test_other_settings_are_refused_at_decoration(spec: Any) -> None:
    """What is neither name nor template nor callable is an error that says what was expected."""
    with pytest.raises(InvalidConfiguration) as caught:
        symbol_resolver(Vwap.on_bar, spec)
    assert str(caught.value) == (
        f'symbol={spec!r} on Vwap.on_bar: expected a name, a template such as "{{symbol}}", '
        "or a callable over the call's arguments"
    )


def test_errors_about_a_partial_name_the_function_in_it() -> None:
    """A partial is called by the name of what it calls."""
    with pytest.raises(InvalidConfiguration, match="on open_ended: expected a name"):
        symbol_resolver(functools.partial(open_ended, None), 5)  # type: ignore[arg-type]


# Results


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("AAPL", "AAPL"),
        (None, "unknown"),
        ("", "unknown"),
        (600519, "600519"),
        (0, "0"),
        (Side.LONG, "long"),
        (Text("AAPL"), "AAPL"),
        (np.str_("AAPL"), "AAPL"),
        ("x" * 201, "x" * 200),
        (Text("x" * 201), "x" * 200),
    ],
)
@pytest.mark.parametrize("spec", ["{symbol}", lambda symbol: symbol, None])
def test_results_become_short_plain_texts(value: object, expected: str, spec: Any) -> None:
    """A name is a plain `str` of at most 200 characters; None and the empty text are "unknown"."""
    found = symbol(lambda symbol: None, spec, value)
    assert found == expected
    assert type(found) is str


@pytest.mark.parametrize("spec", ["{symbol}", lambda symbol: symbol])
def test_what_was_asked_for_is_taken_by_its_text(spec: Any) -> None:
    """A template or a callable that gives an object means the object's text."""
    assert symbol(lambda symbol: None, spec, np.array(["a", "b"])) == "['a' 'b']"


def test_pieces_of_a_template_are_the_characters_of_a_text() -> None:
    """A member of a text enum reads in a longer template as it does alone."""
    assert symbol(lambda side: None, "{side}-{side}", Side.LONG) == "long-long"


def raising(*args: Any, **kwargs: Any) -> str:
    raise KeyError("pair")


@pytest.mark.parametrize(
    ("spec", "fault"),
    [
        (raising, "KeyError: 'pair'"),
        ("{metadata[ticker]}", "KeyError: 'ticker'"),
        ("{bar.symbol}", "AttributeError: 'Bar' object has no attribute 'symbol'"),
        ("{bar.symbol}-{df}", "AttributeError: 'Bar' object has no attribute 'symbol'"),
        ("{metadata:>8}", "TypeError: unsupported format string passed to dict.__format__"),
    ],
)
def test_resolver_that_raises_gives_unknown_and_a_warning(
    spec: Any, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A resolver never raises: the name is "unknown", and the fault is logged with the function's name."""
    assert symbol(Vwap.generate, spec, Vwap(), **generate_arguments()) == "unknown"
    assert caplog.messages == [f"symbol= of Vwap.generate raised; the call is filed under 'unknown': {fault}"]


@pytest.mark.parametrize("template", ["{symbol}", "{symbol.name}", "<{symbol}>"])
def test_argument_that_a_call_lacks_gives_unknown_and_a_warning(
    template: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Wrong arguments are a failure of the call, and no reason for a resolver to raise."""
    assert symbol(Vwap.generate, template, Vwap()) == "unknown"
    assert caplog.messages[0].endswith("LookupError: the call has no argument 'symbol'")


@pytest.mark.parametrize("spec", ["{bar}", "{bar.name}", "<{bar}>", "{bar[x]}", lambda self, bar: bar])
def test_hostile_arguments_give_unknown(spec: Any, caplog: pytest.LogCaptureFixture) -> None:
    """An argument that raises at whatever it is asked does not break the guard."""
    assert symbol(Vwap.on_bar, spec, Vwap(), Hostile()) == "unknown"
    assert len(caplog.messages) == 1


def test_what_is_no_exception_passes_through() -> None:
    """KeyboardInterrupt in a user's callable is not the resolver's to keep."""

    def interrupted(*args: Any) -> str:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        symbol(Vwap.on_bar, interrupted, Vwap(), Bar())


def test_callable_that_returns_a_coroutine_gives_unknown(caplog: pytest.LogCaptureFixture) -> None:
    """A coroutine is closed, unawaited, and is no name: its text would be another at every call."""
    made = []

    def forgetful(*args: Any) -> Any:
        made.append(name_async())
        return made[-1]

    assert symbol(Vwap.on_bar, forgetful, Vwap(), Bar()) == "unknown"
    assert inspect.getcoroutinestate(made[0]) == inspect.CORO_CLOSED
    assert "it returned a coroutine; give a callable that returns the value itself" in caplog.text


@pytest.mark.parametrize("frame", [pd.DataFrame({"a": [1, 2]}), np.array([1, 2]), pd.Series([1, 2])])
@pytest.mark.parametrize("spec", ["{df.shape}", "{df}", None])
def test_arguments_are_not_tested_for_truth(frame: Any, spec: Any, caplog: pytest.LogCaptureFixture) -> None:
    """A DataFrame or an array is an argument like any other."""

    def generate(df: Any, symbol: Any = frame) -> None:
        return None

    expected = {"{df.shape}": "2", "{df}": str(frame), None: "unknown"}[spec]
    assert symbol(generate, spec, frame).strip("(").startswith(expected[:5])
    assert caplog.messages == []


# The strategy's evidence


class NamedBySecondAttribute:
    strategy_name = "second"
    name = 5

    def run(self) -> None:
        return None


class NamedByProperty:
    @property
    def name(self) -> str:
        return "property"

    def run(self) -> None:
        return None


class BrokenProperty:
    strategy_name = "behind the broken one"

    @property
    def name(self) -> str:
        raise RuntimeError("not connected")

    def run(self) -> None:
        return None


class EmptyName:
    name = ""
    strategy_name = Text("")

    def run(self) -> None:
        return None


class MethodName:
    def name(self) -> str:
        return "called"

    def run(self) -> None:
        return None


@pytest.mark.parametrize(
    ("cls", "expected"),
    [
        (NamedBySecondAttribute, "second"),
        (NamedByProperty, "property"),
        (BrokenProperty, "behind the broken one"),
        (EmptyName, "EmptyName"),
        (MethodName, "MethodName"),
    ],
)
def test_strategy_is_the_instances_name_or_else_its_class(
    cls: Any, expected: str, caplog: pytest.LogCaptureFixture
) -> None:
    """`name`, then `strategy_name`, if it is a text; a property that raises is no evidence, and no fault."""
    assert called(strategy_resolver(cls.run, None), cls()) == expected
    assert caplog.messages == []


def test_strategy_of_an_instance_passed_by_keyword() -> None:
    """`self` is found wherever it is."""
    assert called(strategy_resolver(Momentum.on_bar, None), self=Vwap(), bar=Bar()) == "VWAP"


def test_strategy_of_a_classmethod_is_the_class() -> None:
    """`cls` is the class whose name counts, or a subclass."""

    class Fast(Vwap):
        pass

    class Plain:
        @classmethod
        def build(cls) -> None:
            return None

    assert called(strategy_resolver(Vwap.__dict__["build"].__func__, None), Fast, "AAPL") == "VWAP"
    assert called(strategy_resolver(Plain.__dict__["build"].__func__, None), Plain) == "Plain"


def test_strategy_of_a_bound_method_is_its_instance() -> None:
    """A bound method carries its `self`."""
    strategy = Vwap()
    strategy.name = "mine"
    assert called(strategy_resolver(strategy.on_bar, None), Bar()) == "mine"
    assert called(strategy_resolver(Momentum().on_bar, None), Bar()) == "Momentum"
    assert called(strategy_resolver(Vwap.build, None), "AAPL") == "VWAP"


def test_strategy_of_a_function_is_its_qualified_name() -> None:
    """A first parameter that is not called `self` or `cls` is no instance, even if it has a name."""
    assert called(strategy_resolver(open_ended, None), Momentum()) == "Momentum"
    assert called(strategy_resolver(logged, None), Vwap()) == "logged"


def test_strategy_of_a_method_called_without_an_instance_is_the_functions_name() -> None:
    """Wrong arguments are no reason for a resolver to raise."""
    assert called(strategy_resolver(Vwap.on_bar, None)) == "Vwap.on_bar"


def test_enclosing_block_comes_after_the_instances_name_and_before_the_classs() -> None:
    """Nearest first: the instance's name, the block's, the class's; for a function the block's, then its own."""
    with inside(Block(strategy="block")):
        assert called(strategy_resolver(Vwap.on_bar, None), Vwap(), Bar()) == "VWAP"
        assert called(strategy_resolver(Momentum.on_bar, None), Momentum(), Bar()) == "block"
        assert called(strategy_resolver(logged, None), None) == "block"
    with inside(Block()):
        assert called(strategy_resolver(Momentum.on_bar, None), Momentum(), Bar()) == "Momentum"


def test_strategy_of_a_hostile_instance_is_its_class(caplog: pytest.LogCaptureFixture) -> None:
    """An instance that raises at every attribute still has a class."""
    assert called(strategy_resolver(Vwap.on_bar, None), Hostile(), Bar()) == "Hostile"
    assert caplog.messages == []


def test_strategy_of_a_hostile_class_is_unknown(caplog: pytest.LogCaptureFixture) -> None:
    """A metaclass that raises at the class's name is reported."""

    class Meta(type):
        @property
        def __name__(cls) -> str:  # type: ignore[override]
            raise RuntimeError("nameless")

    class Nameless(metaclass=Meta):
        pass

    assert called(strategy_resolver(Vwap.on_bar, None), Nameless(), Bar()) == "unknown"
    assert caplog.messages == [
        "strategy= of Vwap.on_bar raised; the call is filed under 'unknown': RuntimeError: nameless"
    ]


def test_inferred_strategy_is_bounded() -> None:
    """A long name is cut wherever it comes from."""
    strategy = Vwap()
    strategy.name = "x" * 500
    assert called(strategy_resolver(Vwap.on_bar, None), strategy, Bar()) == "x" * LONGEST
    long_class = type("C" * 500, (Momentum,), {})
    assert called(strategy_resolver(Momentum.on_bar, None), long_class(), Bar()) == "C" * LONGEST


# The symbol's evidence


def test_an_object_called_symbol_is_named_by_its_own_symbol() -> None:
    """An object under such a name gives its own `symbol`; its text, which may change with every tick, is no name."""

    class Ticker:
        def __init__(self, symbol: object) -> None:
            self.symbol = symbol

    assert symbol(lambda ticker: None, None, Ticker("AAPL")) == "AAPL"
    assert symbol(lambda ticker: None, None, Ticker(17)) == "unknown"
    assert symbol(lambda pair, ticker: None, None, object(), "AAPL") == "AAPL"
    assert symbol(lambda pair, ticker: None, None, object(), Ticker("BTC/USDT")) == "BTC/USDT"


@pytest.mark.parametrize(
    ("function", "kwargs", "expected"),
    [
        (lambda symbol: None, {"symbol": "AAPL"}, "AAPL"),
        (lambda pair: None, {"pair": "BTC/USDT"}, "BTC/USDT"),
        (lambda ticker: None, {"ticker": "MSFT"}, "MSFT"),
        (lambda ticker, pair, symbol: None, {"ticker": "c", "pair": "b", "symbol": "a"}, "a"),
        (lambda ticker, pair: None, {"ticker": "c", "pair": "b"}, "b"),
        (lambda pair, symbol=None: None, {"pair": "b"}, "b"),
        (lambda pair, symbol="": None, {"pair": "b"}, "b"),
        (lambda symbol="AAPL": None, {}, "AAPL"),
        (lambda *, symbol: None, {"symbol": "AAPL"}, "AAPL"),
        (lambda **rest: None, {"symbol": "AAPL"}, "AAPL"),
        (lambda ticker, **rest: None, {"ticker": "MSFT"}, "MSFT"),
        (lambda symbol: None, {"symbol": 600519}, "600519"),
        (lambda *symbol: None, {}, "unknown"),
        (lambda **symbol: None, {}, "unknown"),
        (lambda metadata: None, {"metadata": {"pair": "BTC/USDT"}}, "unknown"),
        (lambda symbol: None, {}, "unknown"),
    ],
)
def test_symbol_is_an_argument_called_so(function: Any, kwargs: dict[str, Any], expected: str) -> None:
    """A parameter called symbol, pair or ticker, in that order, that has a value; reached however it is passed."""
    assert symbol(function, None, **kwargs) == expected


class QuotedError(Exception):
    symbol: Any = "IBM"


def test_symbol_comes_from_argument_then_block_then_exception() -> None:
    """Nearest first: the argument, the enclosing block, the exception's `symbol`, "unknown"."""
    by_argument = symbol_resolver(lambda symbol: None, None)
    elsewhere = symbol_resolver(Vwap.on_bar, None)
    with inside(Block(symbol="block")):
        assert called(by_argument, "AAPL", error=QuotedError()) == "AAPL"
        assert called(by_argument, None, error=QuotedError()) == "block"
        assert called(elsewhere, error=QuotedError()) == "block"
    with inside(Block(strategy="a block that names no symbol")):
        assert called(elsewhere, error=QuotedError()) == "IBM"
    assert called(elsewhere, error=QuotedError()) == "IBM"
    assert called(elsewhere, error=ValueError()) == "unknown"
    assert called(elsewhere) == "unknown"


@pytest.mark.parametrize("value", [5, None, "", ["AAPL"]])
def test_exceptions_symbol_that_is_no_text_is_no_evidence(value: object) -> None:
    """Only a text that is not empty is taken from an exception."""
    error = QuotedError()
    error.symbol = value
    assert called(symbol_resolver(Vwap.on_bar, None), error=error) == "unknown"


def test_exception_that_raises_at_its_symbol_is_no_evidence(caplog: pytest.LogCaptureFixture) -> None:
    """Looking at an exception may raise anything."""

    class HostileError(Exception):
        def __getattribute__(self, attribute: str) -> Any:
            raise RuntimeError(attribute)

    assert called(symbol_resolver(Vwap.on_bar, None), error=HostileError()) == "unknown"
    assert caplog.messages == []


def test_hostile_symbol_argument_gives_unknown_and_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    """An argument whose `__str__` raises is reported, once."""
    assert symbol(lambda symbol: None, None, Hostile()) == "unknown"
    assert len(caplog.messages) == 1
    assert caplog.messages[0].endswith("filed under 'unknown': RuntimeError: no")


def test_block_names_are_bounded() -> None:
    """A block's names are cut like others, and an empty one is "unknown"."""
    with inside(Block(strategy="s" * 500, symbol="")):
        assert called(strategy_resolver(logged, None)) == "s" * LONGEST
        assert called(symbol_resolver(logged, None)) == "unknown"


# Names of blocks


@pytest.mark.parametrize(("value", "expected"), [("AAPL", "AAPL"), (None, "unknown"), ("", "unknown"), (5, "5")])
def test_value_as_a_name(value: object, expected: str) -> None:
    """What a block was given is made a name as any other result."""
    assert name(value) == expected


def test_value_whose_text_cannot_be_had_is_unknown(caplog: pytest.LogCaptureFixture) -> None:
    """A hostile value makes no name, and no exception."""
    assert name(Hostile()) == "unknown"
    assert caplog.messages == ["the text of a name (Hostile) raised; it reads 'unknown': RuntimeError: no"]


def test_symbol_of_an_exception() -> None:
    """An exception's `symbol` is its symbol if it is a text."""
    assert symbol_of(QuotedError()) == "IBM"
    assert symbol_of(ValueError()) == "unknown"
    assert symbol_of(None) == "unknown"


# Pickle


@pytest.mark.parametrize("spec", ["{symbol}", "{self.name}-{symbol!r}", "{metadata[pair]}", raising, None])
def test_resolvers_pickle(spec: Any) -> None:
    """Hosts pickle strategies; a resolver holds nothing that does not go along."""
    for resolver in (strategy_resolver(Vwap.generate, spec), symbol_resolver(Vwap.generate, spec)):
        copy = pickle.loads(pickle.dumps(resolver))  # noqa: S301  # our own bytes
        arguments = generate_arguments()
        assert called(copy, Vwap(), **arguments) == called(resolver, Vwap(), **arguments)
