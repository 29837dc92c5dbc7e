"""The general rules: what errors of libraries that nobody listed are worth, by shapes that many libraries share."""

from __future__ import annotations

import errno
import types
import warnings
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import pytest
from failure_types import CONFIGURATION, CONNECTION, DATA, EXECUTION, STRATEGY, UNKNOWN
from raising import raised_through

from guarded import FailureRules, FailureType

if TYPE_CHECKING:
    from pathlib import Path

    from guarded import Explanation


class Fault(Exception):  # a name that says nothing
    """Of a library that no pack is about."""


@pytest.fixture(scope="module")
def rules() -> FailureRules:
    return FailureRules()


def fault(text: str = "", **attributes: Any) -> Fault:
    made = Fault(text)
    for name, value in attributes.items():
        setattr(made, name, value)
    return made


def named(name: str, base: type[Exception] = Exception) -> Exception:
    made: Exception = type(name, (base,), {"__module__": "unlisted.errors"})()
    return made


def response(**attributes: Any) -> types.SimpleNamespace:
    return types.SimpleNamespace(**attributes)


# -- HTTP status -----------------------------------------------------------------------------------------------------

STATUSES = {
    CONNECTION: [302, 408, 418, 429, 500, 503, 520, 599],
    STRATEGY: [400, 405, 409, 422, 501],
    CONFIGURATION: [401, 403, 407, 451],
    DATA: [404, 410],
}


@pytest.mark.parametrize(
    ("status", "expected"), [(status, kind) for kind, statuses in STATUSES.items() for status in statuses]
)
def test_an_http_status_tells_the_type(rules: FailureRules, status: int, expected: FailureType) -> None:
    """An error of an unlisted library that carries an HTTP status counts as what that means, and explain says so."""
    explanation = rules.explain(fault("refused", status_code=status))

    assert explanation.failure_type is expected
    assert (explanation.pack, explanation.rule) == ("general", "HTTP status")


@pytest.mark.parametrize(
    "carrying",
    [
        pytest.param({"status_code": 401}, id="status_code"),
        pytest.param({"status": 401}, id="status"),
        pytest.param({"http_status": 401}, id="http_status"),
        pytest.param({"status_code": "401"}, id="a text"),
        pytest.param({"status_code": HTTPStatus.UNAUTHORIZED}, id="an enum"),
        pytest.param({"response": response(status_code=401)}, id="response.status_code"),
        pytest.param({"response": response(status=401)}, id="response.status"),
        pytest.param({"response": {"ResponseMetadata": {"HTTPStatusCode": 401}}}, id="botocore's"),
        pytest.param({"resp": response(status=401)}, id="resp.status"),
    ],
)
def test_an_http_status_is_found_where_libraries_keep_it(rules: FailureRules, carrying: dict[str, Any]) -> None:
    """The status is found on the error or on its response, as a number, a text or a member of an enum."""
    assert rules.classify(fault(**carrying)) is CONFIGURATION


@pytest.mark.parametrize("status", [True, 200, 10003, "rejected", None, 0])
def test_what_is_no_http_status_is_none(rules: FailureRules, status: object) -> None:
    """A truth value, a code of the library's own or a word is no HTTP status."""
    assert rules.classify(fault("odd", status=status)) is UNKNOWN


@pytest.mark.parametrize("status", [400, 404, 409, 422])
@pytest.mark.parametrize(
    "text", ["422 for url: https://api/v2/orders", "insufficient balance", "qty must be > 0", "leverage not modified"]
)
def test_a_request_that_is_about_an_order_fails_as_one(rules: FailureRules, status: int, text: str) -> None:
    """A refusal counts as execution_error where the text says that it was about an order or the account."""
    explanation = rules.explain(fault(text, status_code=status))

    assert explanation.failure_type is EXECUTION
    assert explanation.rule == "HTTP status, of an order"


def test_a_forbidden_order_is_a_matter_of_permission_unless_means_lack(rules: FailureRules) -> None:
    """403 speaks of permissions, also at the address of orders; only missing means make it the order's failure."""
    assert rules.classify(fault("403 Forbidden for url: https://api/v2/orders", status_code=403)) is CONFIGURATION
    assert rules.classify(fault("insufficient buying power", status_code=403)) is EXECUTION


@pytest.mark.parametrize("function", ["submit_order", "createOrder", "place_market_order", "close_position"])
def test_a_refusal_below_a_call_that_orders_is_of_the_order(rules: FailureRules, function: str) -> None:
    """A refusal that says nothing counts as execution_error if a function on the traceback places orders."""
    error = raised_through(("unlisted.client", function), ("unlisted.http", "request"), error=fault(status_code=400))

    assert rules.classify(error) is EXECUTION


def test_a_request_for_data_fails_as_one(rules: FailureRules) -> None:
    """A refusal counts as data_error where the text says that data were asked for."""
    explanation = rules.explain(fault("400 for url: https://api/v1/klines?symbol=FOO", status_code=400))

    assert explanation.failure_type is DATA
    assert explanation.rule == "HTTP status, of a request for data"


# -- SQLSTATE, gRPC, errno -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("08006", CONNECTION),
        ("40001", CONNECTION),
        ("53300", CONNECTION),
        ("57P03", CONNECTION),
        ("HYT00", CONNECTION),
        ("55P03", CONNECTION),
        ("28P01", CONFIGURATION),
        ("3D000", CONFIGURATION),
        ("42501", CONFIGURATION),
        ("42P01", DATA),
        ("42703", DATA),
        ("22P02", DATA),
        ("23505", DATA),
        ("22012", STRATEGY),
        ("42601", STRATEGY),
        ("25P02", STRATEGY),
        ("99999", UNKNOWN),
    ],
)
@pytest.mark.parametrize("place", ["sqlstate", "pgcode", "orig"])
def test_an_sqlstate_tells_the_type(rules: FailureRules, place: str, state: str, expected: FailureType) -> None:
    """A SQLSTATE on the error, or on the driver's error in it, tells the type by its class and some by their own."""
    error = fault(orig=response(sqlstate=state)) if place == "orig" else fault(**{place: state})
    explanation = rules.explain(error)

    assert explanation.failure_type is expected
    assert explanation.rule == (None if expected is UNKNOWN else "SQLSTATE")


@pytest.mark.parametrize(
    ("code", "text", "expected"),
    [
        ("UNAVAILABLE", "", CONNECTION),
        ("DEADLINE_EXCEEDED", "", CONNECTION),
        ("RESOURCE_EXHAUSTED", "", CONNECTION),
        ("UNAUTHENTICATED", "", CONFIGURATION),
        ("PERMISSION_DENIED", "", CONFIGURATION),
        ("NOT_FOUND", "", DATA),
        ("NOT_FOUND", "order 17 not found", EXECUTION),
        ("INVALID_ARGUMENT", "", STRATEGY),
        ("INVALID_ARGUMENT", "quantity must be positive", EXECUTION),
        ("FAILED_PRECONDITION", "", EXECUTION),
        ("OK", "", UNKNOWN),
    ],
)
def test_a_grpc_status_tells_the_type(rules: FailureRules, code: str, text: str, expected: FailureType) -> None:
    """A gRPC status, which a method gives, tells the type; of an order where the text says so."""
    made = type("GRPCError", (Exception,), {"__module__": "grpclib.exceptions", "code": lambda _: response(name=code)})

    assert rules.classify(made(text)) is expected


def test_what_is_no_method_is_not_called(rules: FailureRules) -> None:
    """Code of others is not called: a property might warn of going out of use, a coroutine would not be awaited."""

    class GRPCError(Exception):
        """As grpclib has it, but for its code."""

    GRPCError.__module__, GRPCError.__qualname__ = "grpclib.exceptions", "GRPCError"

    class Awaited(GRPCError):
        async def code(self) -> int:
            return 14

    class Read(GRPCError):
        @property
        def code(self) -> int:
            warnings.warn("use status", DeprecationWarning, stacklevel=1)
            return 14

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert [rules.classify(kind()) for kind in (Awaited, Read)] == [UNKNOWN, UNKNOWN]
    called: list[int] = []
    rules.classify(fault(code=lambda: called.append(1)))
    assert called == []


@pytest.mark.parametrize(
    ("number", "expected"),
    [(errno.ECONNREFUSED, CONNECTION), (errno.EACCES, CONFIGURATION), (errno.ENOSPC, UNKNOWN)],
)
def test_an_errno_tells_the_type_on_what_is_no_oserror(rules: FailureRules, number: int, expected: FailureType) -> None:
    """Libraries whose errors are no OSError carry an errno all the same."""
    assert rules.classify(fault(errno=number)) is expected


# -- words -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("RequestTimeout", CONNECTION),
        ("HTTPTimeoutError", CONNECTION),
        ("RateLimitExceeded", CONNECTION),
        ("ServiceUnavailableException", CONNECTION),
        ("rate_limit_error", CONNECTION),
        ("AuthError", CONFIGURATION),
        ("MissingApiKey", CONFIGURATION),
        ("InvalidURL", CONFIGURATION),
        ("InsufficientFunds", EXECUTION),
        ("OrderNotFound", EXECUTION),
        ("MarketClosedError", EXECUTION),
        ("ColumnNotFoundError", DATA),
        ("JSONDecodeError", DATA),
        ("SymbolUnknown", DATA),
        ("NotFittedError", STRATEGY),
        ("ShapeError", STRATEGY),
        ("OrderBookStale", DATA),
        ("DuplicateKeyError", DATA),
        ("UnexpectedTokenError", UNKNOWN),
        ("TokenExpired", CONFIGURATION),
        ("DrawDownExceeded", STRATEGY),
        ("MaxDrawDownError", STRATEGY),
        ("RiskLimitExceeded", STRATEGY),
        ("VenueDown", CONNECTION),
        ("AuthorGone", UNKNOWN),
        ("Oops", UNKNOWN),
    ],
)
def test_words_of_the_name_are_the_last_resort(rules: FailureRules, name: str, expected: FailureType) -> None:
    """A class of an unlisted library is taken at its name, word by word; a part of a word is none."""
    explanation = rules.explain(named(name))

    assert explanation.failure_type is expected
    assert explanation.rule == (None if expected is UNKNOWN else "words of the class's name")


@pytest.mark.parametrize(
    "name",
    [
        "GapDownFilter", "DownTrendOnly", "BreakDown", "OptionChainEmpty", "OptionExpired", "TokenNotListed",
        "TokenPriceStale", "KeyLevelNotFound", "FeatureKeyMissing", "PivotKeys", "SupportBroken", "SignalReset",
        "LiquidityPoolDry", "RegionOfInterest", "SecretSauce", "BackendPrices", "StreamOfBars", "SettlementPending",
        "NoSetup", "CooldownActive", "SpreadTooWide", "VolumeTooLow", "NoEntry", "TrendUnclear", "WarmupNotDone",
    ],
)  # fmt: skip
def test_words_of_trading_are_neither_settings_nor_links(rules: FailureRules, name: str) -> None:
    """What traders call things is not taken for credentials, settings or a connection: a halt may follow from that."""
    assert rules.classify(named(name)) not in (CONFIGURATION, CONNECTION)


@pytest.mark.parametrize(
    "text",
    [
        "entry signal forbidden in uptrend", "permissionless pool empty", "price of token XYZ is not found",
        "code 500 shares", "key level broken", "trend is down", "option chain empty",
        "negative dimensions are not allowed",
    ],
)  # fmt: skip
def test_texts_of_trading_are_neither_settings_nor_links(rules: FailureRules, text: str) -> None:
    """What a strategy says of the market is not taken for credentials, settings or a connection."""
    assert rules.classify(RuntimeError(text)) not in (CONFIGURATION, CONNECTION)


def test_the_name_of_the_nearest_class_counts(rules: FailureRules) -> None:
    """Where a class and its base are both telling, the class's own name is believed."""
    base = type(named("FeedConnectionError"))

    assert rules.classify(named("BadCredentials", base)) is CONFIGURATION
    assert rules.classify(named("Odd", base)) is CONNECTION


def test_a_status_is_worth_more_than_a_name(rules: FailureRules) -> None:
    """What an error carries is asked before what its class is called."""
    error = named("OrderError")
    error.status_code = 503  # type: ignore[attr-defined]

    assert rules.classify(error) is CONNECTION


def test_a_malformed_request_may_be_about_credentials(rules: FailureRules) -> None:
    """Servers answer 400 to a wrong key, too: then the name of the class tells."""
    error = named("AuthenticationError", RuntimeError)
    error.status_code = 400  # type: ignore[attr-defined]
    assert rules.classify(error) is CONFIGURATION

    error.status_code = 503  # type: ignore[attr-defined]
    assert rules.classify(error) is CONNECTION


def test_the_name_is_worth_more_than_a_builtin_base(rules: FailureRules) -> None:
    """Libraries derive from ValueError or OSError what is neither data nor a link."""
    assert rules.classify(named("AuthFailed", ConnectionError)) is CONFIGURATION
    assert rules.classify(named("InsufficientMargin", ValueError)) is EXECUTION
    assert rules.classify(named("Odd", ConnectionError)) is CONNECTION


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Order 17 rejected by broker: insufficient funds", EXECUTION),
        ("not enough free margin", EXECUTION),
        ("market is closed", EXECUTION),
        ("Invalid API-key, IP, or permissions for action", CONFIGURATION),
        ("authentication failed", CONFIGURATION),
        ("request timed out", CONNECTION),
        ("HTTP 503 from venue", CONNECTION),
        ("Too many requests", CONNECTION),
        ("unknown symbol FOO", DATA),
        ("not enough data for ATR", DATA),
        ("solver did not converge", STRATEGY),
        ("client has been closed", STRATEGY),
        ("Missing the required parameter `identifier`", STRATEGY),
        ("5minutes is an invalid frequency", STRATEGY),
        ("invalid interval: 7m", STRATEGY),
        ("API_SECRET is not set", CONFIGURATION),
        ("We could not recognize your API key", CONFIGURATION),
        ("invalid_grant: Grant revoked", CONFIGURATION),
        ("can only be called when logged in", CONFIGURATION),
        ("You have run out of API credits", CONNECTION),
        ("Account does not have sufficient buying power", EXECUTION),
        ("record_not_found: Couldn't find equity FOOO", DATA),
        ("no market data received for 120 seconds", DATA),
        ("failed", UNKNOWN),
        ("level 7", UNKNOWN),
    ],
)
@pytest.mark.parametrize("kind", [Exception, RuntimeError, Fault])
def test_words_of_the_text_count_where_the_class_says_nothing(
    rules: FailureRules, kind: type[Exception], text: str, expected: FailureType
) -> None:
    """An exception whose class says nothing is taken at its text, and explain says so."""
    explanation = rules.explain(kind(text))

    assert explanation.failure_type is expected
    assert explanation.rule == (None if expected is UNKNOWN else "words of the text")


def test_the_cause_is_worth_more_than_words(rules: FailureRules) -> None:
    """What caused an exception decides before the words of its text."""
    error = RuntimeError("order rejected: timed out")
    error.__cause__ = ZeroDivisionError()

    assert rules.classify(error) is STRATEGY


# -- origin ----------------------------------------------------------------------------------------------------------


def where(rules: FailureRules, error: Exception, *frames: str) -> Explanation:
    return rules.explain(raised_through(*frames, error=error))


def test_a_value_error_of_a_library_for_data_is_about_data(rules: FailureRules) -> None:
    """A ValueError that a library for data raises is a matter of the data, and explain names the general rule."""
    explanation = where(rules, ValueError("arrays must all be same length"), "strategy", "xarray.core.dataset")

    assert explanation.failure_type is DATA
    assert explanation.rule == "raised in a library for data"


def test_an_error_of_a_library_for_settings_is_about_settings(rules: FailureRules) -> None:
    """A KeyError that is raised where settings are read is a matter of the settings."""
    explanation = where(rules, KeyError("exchange"), "strategy", "dynaconf.base")

    assert explanation.failure_type is CONFIGURATION
    assert explanation.rule == "raised in settings code"
    assert where(rules, KeyError("exchange"), "mybot.settings").failure_type is CONFIGURATION
    assert where(rules, KeyError("exchange"), "mybot.settings_page").failure_type is DATA


def test_a_check_in_the_authors_own_code_is_about_the_strategy(rules: FailureRules) -> None:
    """A ValueError raised by the author's own code is a bug or a bad parameter, unless its text speaks of data."""
    assert where(rules, ValueError("fast must be below slow"), "strategy").failure_type is STRATEGY
    assert where(rules, ValueError("fast must be below slow"), "mybot.core").failure_type is STRATEGY
    assert where(rules, ValueError("stale quote: 95 s old"), "strategy").failure_type is DATA
    assert where(rules, ValueError("could not convert string to float: 'N/A'"), "strategy").failure_type is DATA
    assert where(rules, ValueError("odd"), "strategy", "pandas.core.frame").failure_type is DATA


# -- precedence ------------------------------------------------------------------------------------------------------


def test_a_rule_of_the_users_comes_before_the_general_ones() -> None:
    """What the user maps by class is not asked for its status."""
    assert FailureRules().map(Fault, DATA).classify(fault(status_code=503)) is DATA


def test_what_otherwise_says_comes_after_the_general_ones() -> None:
    """A rule with otherwise stands where neither the general rules nor what is wrapped say anything."""
    rules = FailureRules().load(
        {"pack": "mine", "rule": [{"exception": f"{__name__}.Fault", "otherwise": "execution_error"}]}
    )

    assert rules.classify(fault()) is EXECUTION
    assert rules.classify(fault(status_code=503)) is CONNECTION
    assert rules.classify(fault("no data for AAPL")) is DATA


def test_what_otherwise_says_of_the_users_comes_before_a_packs() -> None:
    """A user's rule with otherwise comes before one of a pack, for the same class and for a base of it."""
    kind = type("ExchangeError", (Exception,), {"__module__": "ccxt.base.errors"})
    error = type("InvalidNonceOfSome", (kind,), {"__module__": "unlisted"})("odd")
    assert FailureRules().explain(kind("odd")).pack == "ccxt"

    for name in ("ccxt.base.errors.ExchangeError", "builtins.Exception"):
        rules = FailureRules().load({"pack": "mine", "rule": [{"exception": name, "otherwise": "unknown_error"}]})
        assert [rules.explain(each).pack for each in (kind("odd"), error)] == ["mine", "mine"]


def test_what_an_error_carries_is_worth_more_than_where_a_base_of_it_was_raised(rules: FailureRules) -> None:
    """A library's rule for ValueErrors raised in it comes after the general rules for classes that derive from it."""
    error = named("Odd", ValueError)
    assert where(rules, error, "strategy", "redis.client").pack == "redis"

    error.status_code = 503  # type: ignore[attr-defined]
    assert where(rules, error, "strategy", "redis.client").rule == "HTTP status"


def test_of_a_functions_name_the_beginning_counts() -> None:
    """However long the name of a function is, its first 200 characters are searched."""
    rules = FailureRules(()).load(
        {"pack": "mine", "rule": [{"exception": "Exception", "called": "order$", "type": "execution_error"}]}
    )

    assert rules.classify(raised_through("bot", ("bot", f"{'x' * 195}order"))) is EXECUTION
    assert rules.classify(raised_through("bot", ("bot", f"{'x' * 196}order"))) is UNKNOWN


def test_of_pythons_own_classes_the_nearest_comes_first(rules: FailureRules) -> None:
    """About a class of Python's itself a general rule for all exceptions comes after the rules that name it."""
    error = KeyError("close")
    error.status_code = 429  # type: ignore[attr-defined]

    assert rules.classify(error) is DATA


def test_a_module_of_the_users_that_is_called_as_a_library_is_own_code(rules: FailureRules, tmp_path: Path) -> None:
    """The author's own redis.py is not taken for the library."""
    file = tmp_path / "redis.py"
    file.write_text("def check():\n    raise ValueError('fast window above slow window')\n", encoding="utf-8")
    scope: dict[str, Any] = {"__name__": "redis"}
    exec(compile(file.read_text(encoding="utf-8"), str(file), "exec"), scope)  # noqa: S102  # as if it were imported
    with pytest.raises(ValueError, match="fast window") as caught:
        scope["check"]()

    assert rules.explain(caught.value).rule == "ValueError raised in own code"
    assert where(rules, ValueError("fast window"), "redis.client").pack == "redis"


def test_without_the_general_pack_no_shape_is_looked_at() -> None:
    """The general rules are a pack that can be left out."""
    assert FailureRules(("builtin",)).classify(fault(status_code=503)) is UNKNOWN
