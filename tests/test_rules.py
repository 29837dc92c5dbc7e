"""FailureRules: which rule decides, what it looks at, and that no exception can break it."""

from __future__ import annotations

import asyncio
import copy
import functools
import gc
import importlib.machinery
import importlib.util
import json
import pickle
import re
import subprocess
import sys
import threading
import types
import weakref
from enum import Enum
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import wrapt
from failure_types import CONFIGURATION, CONNECTION, DATA, EXECUTION, STRATEGY, UNKNOWN
from hypothesis import given
from hypothesis import strategies as st
from raising import raised, raised_through

from guarded import _faults
from guarded._errors import InvalidConfiguration
from guarded._explanation import Explanation
from guarded._failure import FailureType
from guarded._matching import Action, checked_conditions
from guarded._rules import FailureRules

if TYPE_CHECKING:
    from collections.abc import Callable


class VenueError(Exception):
    """A class of the user's that no pack knows."""

    def __init__(self, *args: object, **attributes: object) -> None:
        super().__init__(*args)
        vars(self).update(attributes)


class RateLimit(VenueError):
    pass


class Silent(Exception):
    """One whose text cannot be had."""

    def __str__(self) -> str:
        raise RuntimeError("no text")


class Grpc(Enum):
    UNAVAILABLE = (14, "unavailable")


@pytest.fixture
def rules() -> FailureRules:
    """Rules without a pack."""
    return FailureRules(())


@pytest.fixture
def faults() -> Callable[[], int]:
    """How many faults were reported since the test began."""
    before = _faults.count()
    return lambda: _faults.count() - before


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """A loaded module, `venue`."""
    made = types.ModuleType("venue")
    monkeypatch.setitem(sys.modules, "venue", made)
    return made


def caused(error: BaseException, cause: BaseException) -> BaseException:
    error.__cause__ = cause
    return error


def time_out() -> None:
    raise TimeoutError


# -- classes and names -----------------------------------------------------------------------------------------------


def test_a_rule_for_a_class_is_one_for_what_derives_from_it(rules: FailureRules) -> None:
    """A rule for a class covers derived classes, and no others."""
    rules.map(VenueError, EXECUTION)

    assert rules.classify(RateLimit()) is EXECUTION
    assert rules.classify(KeyError()) is UNKNOWN


@pytest.mark.parametrize("given_type", [FailureType.DATA_ERROR, "data_error"])
def test_a_type_may_be_given_by_its_value(rules: FailureRules, given_type: Any) -> None:
    """A type is a FailureType, or its value."""
    assert rules.map(VenueError, given_type).classify(VenueError()) is DATA


@pytest.mark.parametrize("several", [(KeyError, "venue.Halted"), [KeyError, "venue.Halted"]])
def test_a_rule_may_be_for_several_classes(rules: FailureRules, module: types.ModuleType, several: Any) -> None:
    """Several classes and names may share a rule."""
    halted = type("Halted", (Exception,), {"__module__": "venue"})
    rules.map(several, DATA)

    assert rules.classify(KeyError()) is DATA
    assert rules.classify(halted()) is DATA
    assert vars(module).get("Halted") is None


def test_builtins_may_be_named_without_a_module(rules: FailureRules) -> None:
    """The name of a builtin exception stands alone, an alias such as IOError too."""
    rules.map("IOError", CONNECTION).map("builtins.KeyError", DATA)

    assert rules.classify(OSError()) is CONNECTION
    assert rules.classify(KeyError()) is DATA


def test_a_dotted_name_may_be_the_public_one(rules: FailureRules, module: types.ModuleType) -> None:
    """A name under which a package re-exports a class matches it and what derives from it."""
    hidden = type("NetworkError", (Exception,), {"__module__": "venue.base.errors"})
    module.NetworkError = hidden  # type: ignore[attr-defined]  # a module takes any name
    rules.map("venue.NetworkError", CONNECTION)

    assert rules.classify(hidden()) is CONNECTION
    assert rules.classify(type("DDoS", (hidden,), {})()) is CONNECTION


def test_a_dotted_name_may_be_where_the_class_is_defined(rules: FailureRules) -> None:
    """The defining path matches although nothing of that name can be looked up."""
    hidden = type("NetworkError", (Exception,), {"__module__": "venue.base.errors"})
    rules.map("venue.base.errors.NetworkError", CONNECTION)

    assert rules.classify(hidden()) is CONNECTION
    assert rules.classify(type("DDoS", (hidden,), {})()) is CONNECTION


def test_a_dotted_name_may_lead_into_a_class(rules: FailureRules, module: types.ModuleType) -> None:
    """A class within a class is named by its path; what is no class there matches nothing."""
    inner = type("Error", (Exception,), {"__module__": "elsewhere"})
    module.Client = type("Client", (), {"Error": inner, "code": 3})  # type: ignore[attr-defined]  # as above
    rules.map("venue.Client.Error", CONNECTION).map("venue.Client.code.real", DATA).map("venue.Client.code", DATA)

    assert rules.classify(inner()) is CONNECTION


def test_names_import_nothing() -> None:
    """A rule by name leaves a module that is installed but not loaded alone."""
    script = (
        "import sys; from guarded._rules import FailureRules\n"
        "rules = FailureRules().map('mailbox.Error', 'data_error').map('wave.Error', 'strategy_error')\n"
        "rules.classify(KeyError()); print([name in sys.modules for name in ('mailbox', 'wave')])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)  # ours

    assert done.stdout.strip() == "[False, False]"


def test_names_do_not_wake_a_module(rules: FailureRules, module: types.ModuleType) -> None:
    """A module's own `__getattr__` is not asked for a name."""
    asked: list[str] = []
    module.__getattr__ = asked.append  # type: ignore[method-assign]  # PEP 562
    rules.map("venue.NetworkError", CONNECTION).map("venue.Client.Error", CONNECTION)

    assert rules.classify(KeyError()) is UNKNOWN
    assert asked == []


def test_names_do_not_load_a_lazy_module(rules: FailureRules, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module that importlib would load at the first access to it stays unloaded."""
    spec = importlib.util.find_spec("colorsys")
    assert spec is not None
    assert isinstance(spec.loader, importlib.machinery.SourceFileLoader)
    loader = importlib.util.LazyLoader(spec.loader)
    lazy = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "colorsys", lazy)
    loader.exec_module(lazy)
    rules.map("colorsys.Error", DATA).classify(KeyError())

    assert type(lazy) is not types.ModuleType


def test_a_strange_entry_among_the_modules_is_passed_over(rules: FailureRules, monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry of sys.modules that is None, or has no namespace, matches nothing and raises nothing."""
    monkeypatch.setitem(sys.modules, "venue", object())
    monkeypatch.setitem(sys.modules, "venue.base", None)

    assert rules.map("venue.base.Error", DATA).classify(KeyError()) is UNKNOWN


def test_a_name_takes_effect_when_its_module_is_loaded(rules: FailureRules, monkeypatch: pytest.MonkeyPatch) -> None:
    """A verdict that was remembered is dropped once the module that a rule names is there."""
    rules.map("venue.NetworkError", CONNECTION).map(VenueError, DATA)
    assert rules.classify(VenueError()) is DATA
    assert rules.classify(VenueError()) is DATA

    late = types.ModuleType("venue")
    late.NetworkError = RateLimit  # type: ignore[attr-defined]  # a module takes any name
    monkeypatch.setitem(sys.modules, "venue", late)

    assert rules.classify(RateLimit()) is CONNECTION


def test_a_name_takes_effect_when_a_loaded_module_gains_it(rules: FailureRules, module: types.ModuleType) -> None:
    """A verdict that was remembered is dropped once a loaded module has the name that a rule expects in it."""
    rules.map("venue.NetworkError", CONNECTION).map(VenueError, DATA)
    assert rules.classify(RateLimit()) is DATA

    module.NetworkError = RateLimit  # type: ignore[attr-defined]  # a module takes any name

    assert rules.classify(RateLimit()) is CONNECTION


@pytest.mark.parametrize(
    ("exception", "told"),
    [
        ("KeyEror", r"map\(\): 'KeyEror' is no builtin exception; name the module of .*'; did you mean 'KeyError'\?"),
        ("NetworkError", "'NetworkError' is no builtin exception.*such as 'mybot.errors.NetworkError'"),
        ("print", "'print' is no builtin exception"),
        ("", "'' is no builtin exception.*such as 'mybot.errors.Error'"),
        ("venue..Error", r"'venue..Error' is no dotted name; expected one such as 'ccxt.NetworkError'"),
        (". ", r"is no dotted name"),
        ("mybroker.*", r"'mybroker.\*' is no dotted name"),
        ("json.JSONEncoder", "'json.JSONEncoder' is <class 'json.encoder.JSONEncoder'>, and no exception"),
        ((), "no exception is named"),
        (int, r"<class 'int'> is no exception class; give a class, or its dotted name"),
        (KeyError("x"), r"KeyError\('x'\) is no exception class"),
        ((KeyError, 3), "3 is no exception class"),
        (None, "None is no exception class"),
    ],
)
def test_what_is_no_exception_is_refused_at_once(rules: FailureRules, exception: Any, told: str) -> None:
    """What is no exception class and no dotted name is an error that says what to give."""
    with pytest.raises(InvalidConfiguration, match=told):
        rules.map(exception, DATA)


@pytest.mark.parametrize(
    ("failure_type", "told"),
    [
        (
            "data_eror",
            r"failure_type of map\(\)='data_eror': expected a FailureType or one of .*did you mean 'data_error'",
        ),
        ("DATA_ERROR", "='DATA_ERROR': expected a FailureType or one of"),
        (None, "=None: expected a FailureType"),
    ],
)
def test_an_unknown_type_is_refused_with_what_it_may_be(rules: FailureRules, failure_type: Any, told: str) -> None:
    """An unknown type is an error at once, with the nearest and all that there are."""
    with pytest.raises(InvalidConfiguration, match=told):
        rules.map(KeyError, failure_type)


# -- messages --------------------------------------------------------------------------------------------------------


def test_a_message_is_searched_for_whatever_its_case(rules: FailureRules) -> None:
    """A message is a regular expression, searched anywhere in the text, upper and lower case alike."""
    rules.map(VenueError, EXECUTION, message=r"insufficient (funds|margin)")

    assert rules.classify(VenueError("-2010: Insufficient MARGIN.")) is EXECUTION
    assert rules.classify(VenueError("insufficient permission")) is UNKNOWN


@pytest.mark.parametrize("message", [r"\x41bc", r"\u0041bc", r"(a)bc\1?", "ABC", "abc"])
def test_a_message_may_be_written_with_escapes(rules: FailureRules, message: str) -> None:
    """A character that is written by its number matches, upper and lower case alike."""
    rules.map(VenueError, DATA, message=message)

    assert [rules.classify(VenueError(text)) for text in ("ABC", "abc", "x")] == [DATA, DATA, UNKNOWN]


def test_a_text_that_cannot_be_had_matches_no_message(rules: FailureRules) -> None:
    """An exception whose `__str__` raises matches no message, not even one that everything matches."""
    rules.map(Silent, EXECUTION, message="")

    assert rules.classify(Silent()) is UNKNOWN


def test_only_the_beginning_of_a_long_text_is_searched(rules: FailureRules) -> None:
    """A message counts within the first 10,000 characters, so that a page of HTML costs little."""
    rules.map(VenueError, EXECUTION, message="margin")

    assert rules.classify(VenueError("x" * 9_990 + "margin")) is EXECUTION
    assert rules.classify(VenueError("x" * 10_000 + "margin")) is UNKNOWN


@pytest.mark.parametrize("message", ["(", "x{99999999999}", 3, b"x"])
def test_a_broken_message_is_refused_at_once(rules: FailureRules, message: Any) -> None:
    """A message that is no regular expression for texts is an error at once."""
    with pytest.raises(InvalidConfiguration, match=rf"map\(\): message={re.escape(repr(message))} is no regular expr"):
        rules.map(KeyError, DATA, message=message)


# -- attributes ------------------------------------------------------------------------------------------------------


class Response:
    """As requests has it: false where the status is an error."""

    def __init__(self, status: object) -> None:
        self.status_code = status

    def __bool__(self) -> bool:
        return False


class Awkward(VenueError):
    @property
    def code(self) -> int:
        raise json.JSONDecodeError("no body", "", 0)

    @property
    def frame(self) -> object:
        return np.array([1, 2])


@pytest.mark.parametrize(
    ("when", "attributes"),
    [
        pytest.param({"code": 429}, {"code": 429}, id="number"),
        pytest.param({"code": 429}, {"code": 429.0}, id="float"),
        pytest.param({"code": 429}, {"code": "429"}, id="text of a number"),
        pytest.param({"code": "429"}, {"code": 429}, id="number of a text"),
        pytest.param({"code": 429}, {"code": np.int64(429)}, id="numpy"),
        pytest.param({"code": -2010}, {"code": "-2010"}, id="negative"),
        pytest.param({"code": [401, 403]}, {"code": 403}, id="list"),
        pytest.param({"code": {401, 403}}, {"code": 403}, id="set"),
        pytest.param({"code": range(500, 600)}, {"code": "503"}, id="range"),
        pytest.param({"code": {"min": 500, "max": 599}}, {"code": 599}, id="limits"),
        pytest.param({"code": {"max": 0}}, {"code": -1}, id="one limit"),
        pytest.param({"code": HTTPStatus.FORBIDDEN}, {"code": 403}, id="an IntEnum expected"),
        pytest.param({"code": 403}, {"code": HTTPStatus.FORBIDDEN}, id="an IntEnum found"),
        pytest.param({"code": "UNAVAILABLE"}, {"code": Grpc.UNAVAILABLE}, id="an enum by name"),
        pytest.param({"code": Grpc.UNAVAILABLE}, {"code": Grpc.UNAVAILABLE}, id="an enum itself"),
        pytest.param({"code": "e3q8"}, {"code": "e3q8"}, id="text"),
        pytest.param({"code": "14"}, {"code": types.SimpleNamespace(value="14")}, id="by value, a text"),
        pytest.param({"code": 14}, {"code": types.SimpleNamespace(value=14)}, id="by value, a number"),
        pytest.param({"code": True}, {"code": True}, id="truth"),
        pytest.param({"code": None}, {"code": None}, id="None"),
        pytest.param({"code": [("a", 1)]}, {"code": ("a", 1)}, id="something else"),
        pytest.param({"code": lambda code: code > 400}, {"code": 429}, id="predicate"),
        pytest.param({"response.status_code": 404}, {"response": Response(404)}, id="path through what is false"),
        pytest.param({"response.Error.Code": "x"}, {"response": {"Error": {"Code": "x"}}}, id="path through mappings"),
        pytest.param({"response.1": "x"}, {"response": {1: "x"}}, id="a number as a key"),
        pytest.param({"response.1": "x"}, {"response": {"1": "x"}}, id="a digit as a key"),
        pytest.param({"response.keys": 3}, {"response": types.SimpleNamespace(keys=3)}, id="attribute"),
        pytest.param({"args.0": "first"}, {}, id="path through a sequence"),
        pytest.param({"code()": "UNAVAILABLE"}, {"code": lambda: Grpc.UNAVAILABLE}, id="method"),
        pytest.param({"code().value.0": 14}, {"code": lambda: Grpc.UNAVAILABLE}, id="path through a method"),
        pytest.param({"code": 1, "args.0": "first"}, {"code": 1}, id="several"),
        pytest.param({"state": {"starts": ["08", "57P"]}}, {"state": "57P03"}, id="a beginning"),
        pytest.param({"state": {"starts": "08"}}, {"state": "08006"}, id="one beginning"),
        pytest.param({"code | response.code": 1}, {"response": {"code": 1}}, id="one of several places"),
        pytest.param({"code|response.code": 1}, {"code": 2, "response": {"code": 1}}, id="another place"),
    ],
)
def test_an_attribute_is_as_expected(rules: FailureRules, when: dict[str, Any], attributes: dict[str, Any]) -> None:
    """What is at the end of a path may be a value, in a list, a set, a range or limits, or satisfy a predicate."""
    assert rules.map(VenueError, DATA, when=when).classify(VenueError("first", **attributes)) is DATA


@pytest.mark.parametrize(
    ("when", "attributes"),
    [
        pytest.param({"code": 1}, {"code": True}, id="truth is no number"),
        pytest.param({"state": {"starts": "08"}}, {"state": "57P03"}, id="another beginning"),
        pytest.param({"state": {"starts": "08"}}, {"state": 8006}, id="a number has no beginning"),
        pytest.param({"code | response.code": 1}, {"code": 2, "response": {"code": 3}}, id="none of several places"),
        pytest.param({"response.code.x": 1}, {"response": {"code": None}}, id="a path that ends early"),
        pytest.param({"code": True}, {"code": 1}, id="a number is no truth"),
        pytest.param({"code": {"min": 0}}, {"code": True}, id="truth within no limits"),
        pytest.param({"code": range(2)}, {"code": True}, id="truth in no range"),
        pytest.param({"code": [None]}, {"code": 0}, id="None is nothing else"),
        pytest.param({"code": "0"}, {"code": None}, id="None is no text"),
        pytest.param({"code": "1"}, {"code": "01"}, id="texts are not compared as numbers"),
        pytest.param({"code": "x"}, {"code": 3}, id="a number is no text"),
        pytest.param({"code": 429}, {"code": "too many"}, id="a text is no number"),
        pytest.param({"code": 429}, {"code": Response(429)}, id="something else"),
        pytest.param({"code": 429}, {}, id="no such attribute"),
        pytest.param({"code.status": 429}, {"code": None}, id="no such path"),
        pytest.param({"args.7": 429}, {}, id="no such item"),
        pytest.param({"response.7": 1}, {"response": {}}, id="no such key"),
        pytest.param({"code()": 429}, {"code": 429}, id="no method"),
        pytest.param({"code": 429, "args.0": "second"}, {"code": 429}, id="one of several"),
        pytest.param({"code": [(1, 2)]}, {"code": np.array([[1, 2], [3, 4]])}, id="ambiguous comparison"),
    ],
)
def test_an_attribute_is_not_as_expected(rules: FailureRules, when: dict[str, Any], attributes: dict[str, Any]) -> None:
    """True is not 1; what is missing, or cannot be read or compared, does not match."""
    assert rules.map(VenueError, DATA, when=when).classify(VenueError("first", **attributes)) is UNKNOWN


@pytest.mark.parametrize("path", ["code", "frame.no.such", "frame"])
def test_an_attribute_that_raises_does_not_match(rules: FailureRules, path: str) -> None:
    """A property that raises, and a value that cannot be compared, make the rule not match and nothing else."""
    assert rules.map(Awkward, DATA, when={path: [(1, 2)]}).classify(Awkward()) is UNKNOWN


def test_a_predicate_is_asked_each_time(rules: FailureRules) -> None:
    """A function that accepts or refuses a value may change its mind: its answer is not remembered."""
    banned = {1}
    rules.map(VenueError, EXECUTION, when={"code": lambda code: code in banned})

    assert [rules.classify(VenueError(code=code)) for code in (1, 2)] == [EXECUTION, UNKNOWN]
    banned.add(2)
    assert rules.classify(VenueError(code=2)) is EXECUTION


def test_a_predicate_is_asked_only_where_the_rest_holds(rules: FailureRules) -> None:
    """A function is asked about a value only if the text and the other attributes are as the rule has them."""
    asked: list[object] = []

    def long(wait: object) -> bool:
        asked.append(wait)
        return True

    rules.map(VenueError, EXECUTION, message="rate limit", when={"code": 1, "wait": long})

    assert rules.classify(VenueError("odd", code=1, wait=1)) is UNKNOWN
    assert rules.classify(VenueError("rate limit", code=2, wait=2)) is UNKNOWN
    assert asked == []
    assert rules.classify(VenueError("rate limit", code=1, wait=3)) is EXECUTION
    assert asked == [3]


def test_a_predicate_that_raises_is_reported(rules: FailureRules, faults: Callable[[], int]) -> None:
    """A predicate that raises makes the rule not match, and is reported as a fault."""
    rules.map(VenueError, DATA, when={"args": lambda args: args[5]})

    assert rules.classify(VenueError()) is UNKNOWN
    assert faults() == 1


@pytest.mark.parametrize("value", [None, "x", 1.5, "1.5", float("nan"), float("inf"), "503 odd", 10**12])
def test_a_wide_range_is_looked_up(rules: FailureRules, value: object) -> None:
    """However wide a range, whether it holds a value is known at once; what is no whole number is in none."""
    rules.map(VenueError, DATA, when={"code": range(10**11)})

    assert rules.classify(VenueError(code=value)) is UNKNOWN
    assert [rules.classify(VenueError(code=held)) for held in (503, 503.0, "503")] == [DATA] * 3


def test_an_attribute_of_every_object_is_looked_at(rules: FailureRules) -> None:
    """A path may begin with what every object has, and what it leads to may change."""
    rules.map(VenueError, DATA, when={"__class__.flag": 1})
    VenueError.flag = 1  # type: ignore[attr-defined]
    assert rules.classify(VenueError()) is DATA
    VenueError.flag = 2  # type: ignore[attr-defined]
    assert rules.classify(VenueError()) is UNKNOWN
    del VenueError.flag  # type: ignore[attr-defined]


def test_an_errno_may_be_named(rules: FailureRules) -> None:
    """An errno is given by its number, or by its name, for the numbers differ between systems."""
    import errno  # noqa: PLC0415  # only this test is about it

    rules.map(OSError, CONFIGURATION, when={"errno": ["EADDRINUSE", 999]})

    assert rules.classify(OSError(errno.EADDRINUSE, "in use")) is CONFIGURATION
    assert rules.classify(OSError(999, "")) is CONFIGURATION
    assert rules.classify(OSError(errno.ENOSPC, "full")) is UNKNOWN


async def later(_: object) -> bool:
    return True


class Later:
    async def __call__(self, _: object) -> FailureType:
        return DATA


@pytest.mark.parametrize(
    ("when", "told"),
    [
        (3, r"map\(\): when=3: expected a mapping of attribute paths to values, such as"),
        ({}, "when={}: expected a mapping"),
        ({"": 1}, "when: '' is no attribute path; expected one such as 'response.status_code'"),
        ({"a..b": 1}, "'a..b' is no attribute path"),
        ({"()": 1}, r"'\(\)' is no attribute path"),
        ({7: 1}, "7 is no attribute path"),
        ({"code": {}}, r"when: code={}: expected a value, a list of values, \{min = 500, max = 599\} or"),
        ({"code": {"min": "a"}}, "when: code={'min': 'a'}: expected a value"),
        ({"code": {"starts": []}}, r"when: code={'starts': \[\]}: expected one or several texts"),
        ({"code": {"starts": "a", "min": 1}}, "expected one or several texts"),
        ({"code": {"starts": ["a", 1]}}, "expected one or several texts"),
        ({"code |": 1}, r"'code \|' is no attribute path"),
        ({"code code2": 1}, "'code code2' is no attribute path"),
        ({"get(x)": 1}, r"'get\(x\)' is no attribute path"),
        ({"code": []}, r"when: code: no value is given in \[\], so it would never match"),
        ({"code": {"min": 5, "max": 2}}, "when: code={'min': 5, 'max': 2}: expected a value"),
        ({"errno": "EADDRINUS"}, "when: errno='EADDRINUS': the module errno of this system has no such name"),
        ({"reason.errno": ["errorcode"]}, "when: reason.errno='errorcode': the module errno"),
        ({"code": later}, "when: code: <function later at .*> is async; rules are asked where nothing can be awaited"),
    ],
)
def test_a_condition_that_cannot_work_is_refused_at_once(rules: FailureRules, when: Any, told: str) -> None:
    """A path or an expectation that cannot work is an error at once that says what may be given."""
    with pytest.raises(InvalidConfiguration, match=told):
        rules.map(KeyError, DATA, when=when)


# -- where it was raised ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("modules", "expected"),
    [
        pytest.param(["strategy", "pandas.core.frame"], True, id="within the package"),
        pytest.param(["strategy", "pandas"], True, id="the package itself"),
        pytest.param(["strategy", "pandasql"], False, id="a package with a longer name"),
        pytest.param(["strategy", "pandas.io", "json.decoder", "codecs"], True, id="through the standard library"),
        pytest.param(["pandas.core.apply", "strategy"], False, id="a callback of the strategy"),
        pytest.param(["pandas.core.apply", "strategy", "json.decoder"], False, id="the strategy's use of a library"),
        pytest.param(["pandas.core.apply", None], True, id="a frame without a name"),
        pytest.param(["pandas.core.apply", "?"], True, id="a frame with a stand-in for a name"),
        pytest.param(["strategy", "numpy", "pandas"], True, id="called by another package"),
        pytest.param(["strategy", "pandas", "numpy"], False, id="handed on to another package"),
    ],
)
def test_where_an_exception_was_raised(rules: FailureRules, modules: list[str | None], expected: bool) -> None:
    """An exception was raised where its innermost frame is, and, through the standard library, where its caller is."""
    rules.map(ValueError, DATA, raised_in="pandas")

    assert (rules.classify(raised_through(*modules)) is DATA) == expected


@pytest.mark.parametrize(
    ("modules", "expected"),
    [
        pytest.param(["strategy"], True, id="the strategy"),
        pytest.param(["my-strategy"], True, id="a file that is loaded under its name"),
        pytest.param(["strategy", "json.decoder"], False, id="the standard library, called by it"),
        pytest.param(["json.decoder"], False, id="the standard library alone"),
        pytest.param(["strategy", "requests.sessions"], False, id="a library that has a pack"),
        pytest.param(["strategy", "?"], True, id="compiled code without a name"),
    ],
)
def test_where_the_authors_own_code_is(rules: FailureRules, modules: list[str], expected: bool) -> None:
    """Own code is what is neither the standard library's nor that of a library with a pack."""
    rules.map(ValueError, STRATEGY, raised_in="own code")

    assert (rules.classify(raised_through(*modules)) is STRATEGY) == expected


def test_an_installed_package_is_not_own_code(rules: FailureRules) -> None:
    """What is installed is not the author's own, whether or not a pack knows it."""
    rules.map(Exception, STRATEGY, raised_in="own code")

    assert rules.classify(raised(lambda: wrapt.resolve_path("json", "nothing"))) is UNKNOWN
    assert rules.classify(raised(lambda: 1 / 0)) is STRATEGY


def test_packages_that_work_through_each_other_are_all_places(rules: FailureRules) -> None:
    """What pydantic raises for pydantic_settings was raised in both, but not in what called these."""
    rules.map(ValueError, DATA, raised_in="pydantic_settings")
    rules.map(ValueError, EXECUTION, raised_in="pydantic_settings.main", message="x")
    rules.map(ValueError, STRATEGY, raised_in="strategy", message="x")

    assert rules.classify(raised_through("strategy", "pydantic_settings.main", "pydantic.main")) is EXECUTION
    assert rules.classify(raised_through("pydantic_settings.main", "strategy", "pydantic.main")) is UNKNOWN


def test_an_exception_that_was_never_raised_comes_from_nowhere(rules: FailureRules) -> None:
    """An exception without a traceback was raised in no module."""
    assert rules.map(ValueError, DATA, raised_in="pandas").classify(ValueError()) is UNKNOWN


def test_several_modules_may_be_named(rules: FailureRules) -> None:
    """One of several modules is enough."""
    rules.map(ValueError, DATA, raised_in=["numpy", "pandas"])

    assert rules.classify(raised_through("strategy", "numpy.linalg")) is DATA
    assert rules.classify(raised_through("strategy", "scipy")) is UNKNOWN


def test_a_deep_traceback_is_looked_at_from_its_inner_end(rules: FailureRules) -> None:
    """However deep a traceback is, it is its innermost frames that count."""
    rules.map(ValueError, DATA, raised_in="pandas")

    assert rules.classify(raised_through(*["strategy"] * 200, "pandas")) is DATA


@pytest.mark.parametrize("raised_in", ["", "pandas..core", [], 3, ["pandas", 3], "Own code", "settings  code"])
def test_a_module_that_cannot_be_one_is_refused_at_once(rules: FailureRules, raised_in: Any) -> None:
    """What is no module's name is an error at once."""
    with pytest.raises(InvalidConfiguration, match=r"map\(\): raised_in=.*: expected the name of a module or package"):
        rules.map(KeyError, DATA, raised_in=raised_in)


# -- which rule decides ----------------------------------------------------------------------------------------------


def test_the_users_rules_come_before_the_packs() -> None:
    """A rule of the user's decides against a pack's, though the pack's is for a nearer class."""
    assert FailureRules().map(OSError, DATA).classify(ConnectionResetError()) is DATA


def test_the_nearer_class_decides(rules: FailureRules) -> None:
    """A rule for a nearer class decides against one for a farther, with or without conditions."""
    rules.map(ConnectionError, CONNECTION).map(OSError, CONFIGURATION, when={"errno": 98})

    assert rules.classify(ConnectionResetError(98, "")) is CONNECTION
    assert rules.classify(OSError(98, "")) is CONFIGURATION


def test_the_rule_with_more_conditions_decides(rules: FailureRules) -> None:
    """Of rules for one class the one with more conditions is asked first, whenever it was declared."""
    rules.map(VenueError, EXECUTION, message="rejected", when={"code": 1})
    rules.map(VenueError, CONNECTION, message="rejected")
    rules.map(VenueError, DATA)

    assert rules.classify(VenueError("rejected", code=1)) is EXECUTION
    assert rules.classify(VenueError("rejected", code=2)) is CONNECTION
    assert rules.classify(VenueError("", code=1)) is DATA


def test_the_later_declared_rule_decides(rules: FailureRules) -> None:
    """Of two rules that are alike the later-declared decides, `load` being a declaration like any other."""
    rules.map(VenueError, DATA).map(VenueError, EXECUTION)
    assert rules.classify(VenueError()) is EXECUTION

    rules.load({"pack": "mybot", "rule": [{"exception": f"{__name__}.VenueError", "type": "connection_error"}]})
    assert rules.classify(VenueError()) is CONNECTION

    assert rules.map(VenueError, DATA).classify(VenueError()) is DATA


def test_a_rule_for_several_classes_is_as_near_as_the_nearest(rules: FailureRules) -> None:
    """A rule that names a class and its base counts as one for the class."""
    rules.map((Exception, RateLimit), CONNECTION).map(VenueError, DATA)

    assert rules.classify(RateLimit()) is CONNECTION


class A(Exception):
    pass


class B(A):
    pass


class C(Exception):
    pass


class D(B, C):
    pass


RULES = st.tuples(
    st.sampled_from([Exception, A, B, C, D]),
    st.sampled_from(list(FailureType)),
    st.sampled_from([None, "x", "y"]),
    st.sampled_from([None, {"code": 1}, {"code": 2}, {"code": 1, "args.0": "x"}]),
)


def decided(declared: list[tuple[Any, ...]], error: Any) -> FailureType:
    """The order of precedence, spelt out: sort what matches, and take the last."""
    matching = []
    for number, (kind, failure_type, message, when) in enumerate(declared):
        holds = [message is None or message in str(error)]
        holds += [{"code": error.code, "args.0": error.args[0]}[path] == value for path, value in (when or {}).items()]
        if isinstance(error, kind) and all(holds):
            conditions = (message is not None) + len(when or ())
            matching.append((-type(error).__mro__.index(kind), conditions, number, failure_type))
    return max(matching)[-1] if matching else UNKNOWN


@given(st.lists(RULES, max_size=6), st.sampled_from([A, B, C, D]), st.sampled_from("xyz"), st.sampled_from([1, 2, 3]))
def test_precedence_is_as_it_is_documented(
    declared: list[tuple[Any, ...]], kind: type[Exception], text: str, code: int
) -> None:
    """Nearer class, then more conditions, then later declaration: whatever the rules and the exception."""
    rules = FailureRules(())
    for exception, failure_type, message, when in declared:
        rules.map(exception, failure_type, message=message, when=when)
    error = kind(text)
    error.code = code  # type: ignore[attr-defined]  # an exception takes any attribute

    assert rules.classify(error) is decided(declared, error)


# -- ignoring and propagating ----------------------------------------------------------------------------------------


def test_an_exception_may_be_ignored_or_go_through(rules: FailureRules) -> None:
    """`ignore` and `propagate` steer guards, under the same conditions as `map`; other exceptions count."""
    rules.ignore(VenueError, message="paused", when={"code": 1}).propagate(KeyError)
    rules.propagate(ValueError, raised_in="pandas").ignore(OSError)

    assert rules.explain(VenueError("paused", code=1)).action is Action.IGNORE
    assert rules.explain(VenueError("paused", code=2)).action is Action.COUNT
    assert rules.explain(KeyError()).action is Action.PROPAGATE
    assert rules.explain(raised_through("pandas")).action is Action.PROPAGATE
    assert rules.explain(ValueError()).action is Action.COUNT
    assert rules.explain(TimeoutError()).action is Action.IGNORE


def test_what_is_ignored_has_a_type_all_the_same() -> None:
    """An ignored exception carries the type it would count under, since a failure recorded by hand always counts."""
    rules = FailureRules().ignore(TimeoutError).propagate(VenueError, message="stop").map(VenueError, EXECUTION)

    assert rules.explain(TimeoutError()).failure_type is CONNECTION
    assert rules.explain(VenueError("stop")).action is Action.PROPAGATE
    assert rules.classify(VenueError("stop")) is EXECUTION


def test_the_nearest_rule_decides_about_the_action_too(rules: FailureRules) -> None:
    """A `map` for a nearer class makes an exception count that an `ignore` for a farther one would not."""
    rules.ignore(OSError).map(ConnectionError, CONNECTION)

    assert rules.explain(ConnectionResetError()).action is Action.COUNT
    assert rules.explain(FileNotFoundError()).action is Action.IGNORE


def test_only_the_raised_exception_is_ignored(rules: FailureRules) -> None:
    """An exception that wraps an ignored one counts, under the type that the ignored one would have."""
    rules.ignore(TimeoutError).map(OSError, CONNECTION)
    explanation = rules.explain(caused(RuntimeError(), TimeoutError()))

    assert explanation.action is Action.COUNT
    assert explanation.failure_type is CONNECTION


@pytest.mark.parametrize("method", ["ignore", "propagate"])
def test_ignore_and_propagate_check_what_they_are_given(rules: FailureRules, method: str) -> None:
    """What cannot work is refused by `ignore` and `propagate` as it is by `map`."""
    with pytest.raises(InvalidConfiguration, match=rf"{method}\(\): message="):
        getattr(rules, method)(KeyError, message="(")
    with pytest.raises(InvalidConfiguration, match=rf"{method}\(\): 3 is no exception class"):
        getattr(rules, method)(3)


@pytest.mark.parametrize(
    "error",
    [
        KeyboardInterrupt(),
        SystemExit(3),
        GeneratorExit(),
        asyncio.CancelledError(),
        BaseExceptionGroup("stopped", [TimeoutError(), BaseExceptionGroup("inner", [asyncio.CancelledError()])]),
    ],
)
def test_what_is_no_exception_always_goes_through(error: BaseException) -> None:
    """What does not derive from Exception goes through, whatever the rules say."""
    rules = FailureRules().ignore(BaseException).map(BaseException, DATA)

    assert rules.explain(error).action is Action.PROPAGATE
    assert "goes through the guard" in str(FailureRules().explain(error))


# -- causes, contexts and groups -------------------------------------------------------------------------------------


def test_an_exception_that_says_nothing_is_worth_its_cause() -> None:
    """RuntimeError, a bare Exception and an unknown class are worth what they were raised from."""
    for wrapper in (RuntimeError("refresh failed"), Exception(), VenueError()):
        assert FailureRules().classify(caused(wrapper, TimeoutError())) is CONNECTION


def test_causes_are_followed_through_several_wrappers() -> None:
    """The first exception on the way that says something decides, though its own cause would say something else."""
    inner = caused(KeyError("close"), TimeoutError())

    assert FailureRules().classify(caused(RuntimeError(), caused(VenueError(), inner))) is DATA


def test_an_exception_that_says_something_is_not_worth_its_cause() -> None:
    """The raised exception decides where its own class says something."""
    assert FailureRules().classify(caused(TypeError(), TimeoutError())) is STRATEGY


def test_a_value_error_is_worth_its_cause_but_not_its_context() -> None:
    """A class that says a little is worth an explicit cause; a bug in an `except` block is the bug."""

    def deliberately() -> None:
        try:
            time_out()
        except TimeoutError as error:
            raise ValueError("no price") from error

    def by_a_bug() -> None:
        try:
            time_out()
        except TimeoutError:
            float("n/a")

    assert FailureRules().classify(raised(deliberately)) is CONNECTION
    assert FailureRules().classify(raised(by_a_bug)) is DATA


def test_an_exception_that_says_nothing_is_worth_its_context() -> None:
    """Without an explicit cause the context counts, unless it was hidden by `from None`."""

    def openly() -> None:
        try:
            time_out()
        except TimeoutError:
            raise VenueError("refresh failed")  # noqa: B904  # on purpose

    def hidden() -> None:
        try:
            time_out()
        except TimeoutError:
            raise VenueError("refresh failed") from None

    assert FailureRules().classify(raised(openly)) is CONNECTION
    assert FailureRules().classify(raised(hidden)) is UNKNOWN


def test_a_cause_that_says_nothing_leaves_the_wrapper_its_own_type() -> None:
    """Where the chain leads to nothing, the innermost class on it that says a little decides."""
    assert FailureRules().classify(caused(ValueError(), VenueError())) is DATA
    assert FailureRules().classify(caused(ValueError(), caused(OSError("link"), VenueError()))) is CONNECTION


def test_a_cancellation_in_the_chain_does_not_make_a_time_out_go_through() -> None:
    """A time-out that `wait_for` raised from a CancelledError is a connection_error that counts."""
    explanation = FailureRules().explain(caused(TimeoutError(), asyncio.CancelledError()))

    assert (explanation.action, explanation.failure_type) == (Action.COUNT, CONNECTION)


def test_a_group_of_like_members_is_one_of_them() -> None:
    """A group counts under the type of its members, however deep they are nested."""
    group = ExceptionGroup("downloads", [TimeoutError(), ExceptionGroup("more", [ConnectionResetError()])])

    assert FailureRules().classify(group) is CONNECTION
    assert FailureRules().classify(caused(RuntimeError("start-up failed"), group)) is CONNECTION


@pytest.mark.parametrize(
    ("members", "expected"),
    [
        ([TimeoutError(), PermissionError()], CONFIGURATION),
        ([TypeError(), KeyError(), TimeoutError()], STRATEGY),
        ([TimeoutError(), KeyError(), VenueError()], DATA),
        ([VenueError(), TimeoutError()], CONNECTION),
        ([VenueError(), Exception()], UNKNOWN),
        ([VenueError("rejected"), TypeError()], STRATEGY),
        ([VenueError("rejected"), KeyError()], EXECUTION),
    ],
)
def test_a_mixed_group_is_its_gravest_member(members: list[Exception], expected: FailureType) -> None:
    """Of mixed members the one decides that mends itself least; what says nothing does not count against the others."""
    rules = FailureRules().map(VenueError, EXECUTION, message="rejected")

    assert rules.classify(ExceptionGroup("legs", members)) is expected


def test_a_group_is_ignored_if_all_its_leaves_are(rules: FailureRules) -> None:
    """A group of ignored exceptions is ignored; with one that counts in it, it counts under that one's type."""
    rules.ignore(KeyError).map(TimeoutError, CONNECTION).map(LookupError, CONFIGURATION)
    ignored = ExceptionGroup("legs", [KeyError(), ExceptionGroup("more", [KeyError()])])
    mixed = ExceptionGroup("legs", [KeyError(), TimeoutError()])

    assert rules.explain(ignored).action is Action.IGNORE
    assert rules.explain(ignored).wraps == "KeyError"
    assert rules.explain(mixed).action is Action.COUNT
    assert rules.classify(mixed) is CONNECTION


def test_a_group_goes_through_if_one_of_its_leaves_does(rules: FailureRules) -> None:
    """A group goes through with one leaf that does, though the others are ignored or count."""
    rules.ignore(KeyError).propagate(StopAsyncIteration)
    group = ExceptionGroup("legs", [KeyError(), ExceptionGroup("more", [TimeoutError(), StopAsyncIteration()])])

    assert rules.explain(group).action is Action.PROPAGATE


def test_a_leaf_that_is_in_a_group_twice_is_one_leaf(rules: FailureRules) -> None:
    """The same exception twice in a group is ignored like one."""
    leaf = KeyError()

    assert rules.ignore(KeyError).explain(ExceptionGroup("legs", [leaf, leaf])).action is Action.IGNORE


def test_a_rule_for_a_class_of_groups_decides_about_the_group(rules: FailureRules) -> None:
    """A rule that names a class of groups comes before the members."""
    group = ExceptionGroup("legs", [KeyError()])

    assert rules.map(KeyError, DATA).classify(group) is DATA
    assert rules.map(ExceptionGroup, EXECUTION).classify(group) is EXECUTION
    assert rules.ignore(ExceptionGroup).explain(group).action is Action.IGNORE


def test_a_rule_for_all_exceptions_comes_after_the_members_of_a_group(rules: FailureRules) -> None:
    """A catch-all for Exception decides about a group only where its members say nothing."""
    rules.map(Exception, STRATEGY).ignore(Exception, message="never").map(TimeoutError, CONNECTION)

    assert rules.classify(ExceptionGroup("legs", [TimeoutError()])) is CONNECTION
    assert rules.classify(ExceptionGroup("legs", [VenueError()])) is STRATEGY
    assert rules.copy().ignore(Exception).explain(ExceptionGroup("legs", [TimeoutError()])).action is Action.COUNT


# -- classifiers -----------------------------------------------------------------------------------------------------


def test_a_classifier_is_asked_before_the_rules(rules: FailureRules) -> None:
    """A classifier's answer decides against any rule; None leaves it to the rules; the later is asked first."""
    rules.map(VenueError, DATA)

    @rules.classifier
    def by_code(error: BaseException) -> FailureType | None:
        return EXECUTION if getattr(error, "code", 0) else None

    assert rules.classify(VenueError(code=1)) is EXECUTION
    assert rules.classify(VenueError()) is DATA
    assert by_code(VenueError(code=1)) is EXECUTION

    rules.classifier(lambda error: "connection_error" if getattr(error, "code", 0) == 2 else None)

    assert rules.classify(VenueError(code=2)) is CONNECTION
    assert rules.classify(VenueError(code=1)) is EXECUTION


def test_a_classifier_is_asked_about_what_an_exception_wraps(rules: FailureRules) -> None:
    """A classifier that knows the cause decides about a wrapper that nothing is known of."""
    rules.classifier(lambda error: EXECUTION if isinstance(error, VenueError) else None)

    assert rules.classify(caused(RuntimeError(), VenueError())) is EXECUTION


def test_a_classifier_names_the_type_and_not_the_action(rules: FailureRules) -> None:
    """What `ignore` says stands, whatever type a classifier names."""
    rules.ignore(VenueError).classifier(lambda _: EXECUTION)
    explanation = rules.explain(VenueError())

    assert (explanation.action, explanation.failure_type) == (Action.IGNORE, EXECUTION)


@pytest.mark.parametrize("answer", [lambda _: 1 / 0, lambda _: "nonsense", lambda _: 3])
def test_a_classifier_that_fails_is_reported_and_passed_over(
    rules: FailureRules, faults: Callable[[], int], answer: Any
) -> None:
    """A classifier that raises, or returns what is no type, is a fault that is reported; the others decide."""
    rules.classifier(lambda _: DATA)
    rules.classifier(answer)

    assert rules.classify(VenueError()) is DATA
    assert faults() == 1


@pytest.mark.parametrize("function", [later, Later(), 3])
def test_a_classifier_that_cannot_answer_is_refused_at_once(rules: FailureRules, function: Any) -> None:
    """What cannot be called, or would have to be awaited, is an error at once."""
    with pytest.raises(InvalidConfiguration, match=r"classifier\(\): .* (is async|cannot be called)"):
        rules.classifier(function)


# -- remembering -----------------------------------------------------------------------------------------------------


def test_a_rule_that_is_added_takes_effect(rules: FailureRules) -> None:
    """A verdict that was remembered is dropped when a rule, a condition or a classifier is added."""
    rules.map(VenueError, DATA)
    assert rules.judge(VenueError()) is rules.judge(VenueError())

    rules.map(VenueError, EXECUTION, when={"code": 1})
    assert rules.classify(VenueError(code=1)) is EXECUTION
    assert rules.classify(VenueError()) is DATA

    rules.classifier(lambda _: CONNECTION)
    assert rules.classify(VenueError()) is CONNECTION


def test_a_verdict_is_remembered_only_where_the_class_decides(rules: FailureRules) -> None:
    """Where a condition is asked, each exception is looked at for itself; ignoring is remembered with its type."""
    rules.map(VenueError, EXECUTION, when={"code": 1}).map(VenueError, DATA).ignore(KeyError).map(LookupError, DATA)

    assert [rules.classify(VenueError(code=code)) for code in (1, 2, 1)] == [EXECUTION, DATA, EXECUTION]
    assert rules.explain(KeyError()) is rules.explain(KeyError())
    assert rules.explain(KeyError()).failure_type is DATA


def test_classes_made_at_run_time_are_not_kept(rules: FailureRules) -> None:
    """However many classes of exceptions come and go, rules remember a bounded number of them."""
    rules.map(VenueError, DATA)
    first = type("Made", (VenueError,), {})
    kept = weakref.ref(first)
    rules.classify(first())
    del first
    for _ in range(1_100):
        rules.classify(type("Made", (VenueError,), {})())
    gc.collect()

    assert kept() is None


def sizes(rules: FailureRules) -> int:
    """How many plans rules remember."""
    pending = list(rules._table._plans._by_class.values())  # type: ignore[union-attr]  # it was asked before
    found = 0
    while pending:
        found += 1
        pending.extend(pending.pop().next.values())
    return found


@pytest.mark.parametrize(
    "varying",
    [
        lambda number: VenueError(f"text {number}"),
        lambda number: VenueError("x", code=number),
        lambda number: VenueError("x", code=f"{number}"),
    ],
)
def test_what_varies_is_not_kept_without_bound(rules: FailureRules, varying: Callable[[int], VenueError]) -> None:
    """However many texts and values there are, rules remember a bounded number of them."""
    rules.map(VenueError, DATA, message="text 7$", when={"code": 7}).map(VenueError, DATA, message="text 8$")
    for number in range(2_500):
        rules.classify(varying(number))

    assert 0 < sizes(rules) <= 1_001


def test_what_is_long_or_cannot_be_compared_is_not_kept(rules: FailureRules) -> None:
    """Texts and values that are long, and values of other kinds, are looked at each time, and nothing is remembered."""
    rules.map(VenueError, DATA, message="end$", when={"code": 7}).map(VenueError, STRATEGY, message="^beginning")
    rules.classify(VenueError())
    before = sizes(rules)
    for number in range(50):
        assert rules.classify(VenueError(f"beginning {'x' * 2_000} {number}", code=number + 0.5)) is STRATEGY
        assert rules.classify(VenueError("end", code="7" * 2_000 + str(number))) is UNKNOWN
        assert rules.classify(VenueError("end", code=7.0)) is DATA

    assert sizes(rules) <= before + 3


def test_what_is_not_kept_leaves_alone_what_is(rules: FailureRules) -> None:
    """Values that cannot be compared do not use up the room for what is remembered of others."""
    rules.map(VenueError, DATA, message="end$", when={"code": 7})
    rules.classify(VenueError("end", code=7))
    kept = rules._table._plans.for_class(VenueError)  # type: ignore[union-attr]  # it was just made
    for number in range(1_500):
        rules.classify(VenueError(f"end {number}", code=7.0))

    assert rules._table._plans.for_class(VenueError) is kept  # type: ignore[union-attr]  # as above


def test_copies_go_their_own_way() -> None:
    """A copy starts with the same rules, packs and classifiers; neither sees what is added to the other."""
    original = FailureRules().map(VenueError, DATA)
    original.classifier(lambda error: EXECUTION if error.args == ("order",) else None)
    twin = original.copy()
    original.map(VenueError, CONNECTION)
    twin.map(RateLimit, CONFIGURATION)
    twin.classifier(lambda error: STRATEGY if error.args == ("order",) else None)

    assert original.classify(VenueError()) is CONNECTION
    assert original.classify(RateLimit()) is CONNECTION
    assert original.classify(VenueError("order")) is EXECUTION
    assert twin.classify(VenueError()) is DATA
    assert twin.classify(RateLimit()) is CONFIGURATION
    assert twin.classify(VenueError("order")) is STRATEGY
    assert twin.classify(ConnectionError()) is CONNECTION


@pytest.mark.parametrize("duplicate", [lambda rules: pickle.loads(pickle.dumps(rules)), copy.copy, copy.deepcopy])  # noqa: S301  # ours
def test_rules_can_be_pickled(duplicate: Callable[[FailureRules], FailureRules]) -> None:
    """Rules travel to another process with their conditions, and without what they remembered."""
    rules = FailureRules().map(VenueError, EXECUTION, message="order", when={"code": [1, 2]}, raised_in="venue")
    rules.map(VenueError, DATA).classify(VenueError())
    arrived = duplicate(rules)

    assert arrived.classify(VenueError()) is DATA
    assert arrived.classify(ConnectionError()) is CONNECTION


def test_rules_may_be_added_while_others_classify(rules: FailureRules, faults: Callable[[], int]) -> None:
    """Threads that add rules and threads that classify disturb each other in nothing, and no rule is lost."""
    classes = [type(f"Error{number}", (VenueError,), {}) for number in range(40)]
    start = threading.Barrier(8)
    seen: list[FailureType] = []

    def add(mine: list[type[VenueError]]) -> None:
        start.wait()
        for kind in mine:
            rules.map(kind, EXECUTION)

    def classify() -> None:
        start.wait()
        seen.extend(rules.classify(kind()) for _ in range(20) for kind in classes)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=add, args=[classes[part::4]]) for part in range(4)]
        threads += [threading.Thread(target=classify) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(interval)

    assert [rules.classify(kind()) for kind in classes] == [EXECUTION] * 40
    assert len(seen) == 4 * 20 * 40
    assert set(seen) <= {EXECUTION, UNKNOWN}
    assert faults() == 0


# -- hostile exceptions ----------------------------------------------------------------------------------------------


class Closed(Exception):
    """One whose every attribute raises."""

    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(name)


class Liar(KeyError):
    """One that says it is something else."""

    @property  # type: ignore[misc]  # the lie
    def __class__(self) -> type:
        return ConnectionError


class Forbidding(type):
    """A metaclass under which a class cannot be looked up."""

    def __hash__(cls) -> int:
        raise RuntimeError("no hash")


class Unhashable(Exception, metaclass=Forbidding):
    pass


def test_an_exception_whose_attributes_raise_is_classified(rules: FailureRules) -> None:
    """Causes and tracebacks are read past an exception's own `__getattribute__`."""
    rules.map(TimeoutError, CONNECTION).map(Closed, DATA, when={"code": 1}).map(Closed, DATA, raised_in="venue")
    closed = Closed("x")
    try:
        raise closed from TimeoutError()
    except Closed:
        assert rules.classify(closed) is CONNECTION


class Text(str):
    """A text with ways of its own."""

    __slots__ = ("holder",)

    def lower(self) -> str:
        raise RuntimeError("no lower case")

    def __hash__(self) -> int:
        raise RuntimeError("no hash")


class Spelling(VenueError):
    """Its text is of a class of its own, and leads back to it."""

    def __str__(self) -> str:
        text = Text("rejected")
        text.holder = self  # type: ignore[attr-defined]  # a slot
        return text


class WithoutHash(type):
    __hash__ = None  # type: ignore[assignment]  # on purpose


class Secretive(type):
    def __getattribute__(cls, name: str) -> object:
        if name == "code":
            raise RuntimeError("not for you")
        return super().__getattribute__(name)


class Falsy(dict[str, Any]):
    def __bool__(self) -> bool:
        raise RuntimeError("neither true nor false")


def test_a_text_of_a_class_of_its_own_is_a_text(rules: FailureRules, faults: Callable[[], int]) -> None:
    """Whatever class a text is of, it is searched as a text, and nothing of it is kept."""
    rules.map(VenueError, EXECUTION, message="rejected").map(VenueError, DATA, message="x")
    error = Spelling()
    kept = weakref.ref(error)

    assert rules.classify(error) is EXECUTION
    del error
    gc.collect()
    assert kept() is None
    assert faults() == 0


@pytest.mark.parametrize("module", [None, 5, ["x"]])
def test_a_class_without_a_proper_module_is_classified(module: object, faults: Callable[[], int]) -> None:
    """What a class says of its module need not be a text, and what its bases say counts all the same."""
    kind = type("Odd", (ConnectionError,), {"__module__": module})

    assert FailureRules().classify(kind("x")) is CONNECTION
    assert FailureRules(()).map("venue.Odd", DATA).classify(kind("x")) is UNKNOWN
    assert faults() == 0


def test_an_exception_out_of_a_module_without_a_proper_name_is_classified(faults: Callable[[], int]) -> None:
    """What a frame says of its module need not be a text."""
    scope: dict[str, Any] = {"__name__": ["x"]}
    exec("def step(): raise KeyError('close')", scope)  # noqa: S102  # so that its module has that name

    assert FailureRules().classify(raised(scope["step"])) is DATA
    assert faults() == 0


def test_an_exception_with_a_dictionary_of_its_own_is_classified(
    rules: FailureRules, faults: Callable[[], int]
) -> None:
    """What an exception carries is looked at, whatever class its dictionary is of."""
    rules.map(VenueError, DATA, when={"code": 1})
    error = VenueError()
    error.__dict__ = Falsy(code=1)

    assert rules.classify(error) is DATA
    assert faults() == 0


def test_a_class_that_hides_what_it_has_is_classified(rules: FailureRules, faults: Callable[[], int]) -> None:
    """A metaclass may refuse to tell what a class has: then no rule for that matches, and others do."""
    rules.map(VenueError, DATA, when={"code()": 1}).map(VenueError, EXECUTION)
    kind = Secretive("Odd", (VenueError,), {})

    assert rules.classify(kind()) is EXECUTION
    assert faults() == 0


def test_a_class_that_has_no_hash_is_unknown(faults: Callable[[], int]) -> None:
    """A metaclass may make classes that have no hash: to classify one raises nothing."""
    rules = FailureRules()
    rules.classify(KeyError())

    assert rules.classify(WithoutHash("Odd", (Exception,), {})()) is UNKNOWN
    assert faults() == 1


def test_it_is_the_type_that_counts_and_not_what_an_exception_claims_to_be() -> None:
    """An exception that lies about its class is taken for what it is."""
    assert FailureRules().classify(Liar("close")) is DATA


def test_an_exception_whose_class_breaks_the_rules_counts_as_unknown(faults: Callable[[], int]) -> None:
    """Where a metaclass makes even the look-up raise, the failure counts as unknown_error and the fault is reported."""
    explanation = FailureRules().explain(Unhashable())

    assert (explanation.action, explanation.failure_type) == (Action.COUNT, UNKNOWN)
    assert str(explanation) == "Unhashable counts as unknown_error: the rules failed."
    assert faults() == 1


def test_endless_chains_end() -> None:
    """Causes and contexts that lead back to where they began are followed once around."""
    first, second, third = RuntimeError(), ValueError(), VenueError()
    first.__cause__, second.__cause__, third.__cause__ = second, third, first
    alone = RuntimeError()
    alone.__cause__ = alone

    assert FailureRules().classify(first) is DATA
    assert FailureRules().classify(third) is DATA
    assert FailureRules().classify(alone) is UNKNOWN


def test_long_chains_are_followed_to_their_end() -> None:
    """A chain of 3,000 causes is followed without recursion, one of 6,000 as far as the bound."""
    link: BaseException = TimeoutError()
    for _ in range(3_000):
        link = caused(RuntimeError(), link)
    assert FailureRules().classify(link) is CONNECTION

    for _ in range(3_000):
        link = caused(RuntimeError(), link)
    assert FailureRules().classify(link) is UNKNOWN
    assert FailureRules().classify(caused(ValueError(), link)) is DATA


def test_a_group_that_is_too_deep_is_unknown(faults: Callable[[], int]) -> None:
    """A group whose leaves are too deep down to be reached has no type, and raises nothing."""
    error: Exception = TimeoutError()
    for _ in range(6_000):
        error = ExceptionGroup("g", [error])

    assert FailureRules().classify(error) is UNKNOWN
    assert faults() == 0


def test_of_long_chains_less_text_is_read(rules: FailureRules) -> None:
    """Of the first ten exceptions of a chain 10,000 characters are searched, then 200 of each, and of the last none."""
    rules.map(VenueError, DATA, message="end$")

    def last_of(links: int, length: int) -> FailureType:
        error: BaseException = VenueError(f"{'x' * (length - 3)}end")
        for _ in range(links - 1):
            error = caused(RuntimeError(), error)
        return rules.classify(error)

    assert [last_of(10, 10_000), last_of(11, 10_000), last_of(11, 200)] == [DATA, UNKNOWN, DATA]
    assert [last_of(500, 200), last_of(501, 200)] == [DATA, UNKNOWN]


def test_deep_groups_are_followed_to_their_leaves() -> None:
    """A group 2,000 deep is followed without recursion, for its type and for what ignores it."""
    group: Exception = TimeoutError()
    for _ in range(2_000):
        group = ExceptionGroup("deep", [group])

    assert FailureRules().classify(group) is CONNECTION
    assert FailureRules().ignore(TimeoutError).explain(group).action is Action.IGNORE


def test_wide_groups_are_looked_at_up_to_a_bound(rules: FailureRules) -> None:
    """Of a group with very many members the first 5,000 or so are looked at; groups within groups do not multiply."""
    asked: list[BaseException] = []
    rules.classifier(asked.append)
    inner = ExceptionGroup("inner", [VenueError() for _ in range(4_000)])
    rules.classify(ExceptionGroup("outer", [ExceptionGroup("middle", [inner, VenueError()]) for _ in range(4_000)]))

    assert len(asked) <= 5_000


# -- explanations ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (
            VenueError(),
            "VenueError counts as execution_error, by the rule 'test_rules.VenueError': declared by map().",
        ),
        (
            VenueError("rejected"),
            (
                "VenueError counts as data_error, by the rule \"test_rules.VenueError whose text matches 'rejected'\""
                ": declared by map()."
            ),
        ),
        (
            caused(RuntimeError(), TimeoutError()),
            (
                "RuntimeError counts as connection_error for the TimeoutError that it wraps, by the rule 'TimeoutError'"
                " of the pack 'builtin': the other side is away, or does not answer in time."
            ),
        ),
        (RateLimit(), "RateLimit is ignored, by the rule 'test_rules.RateLimit': declared by ignore()."),
        (A(), "A goes through the guard, by the rule 'test_rules.A': declared by propagate()."),
        (Exception(), "Exception counts as unknown_error: no rule matches it, nor anything that it wraps."),
        (
            KeyboardInterrupt(),
            "KeyboardInterrupt goes through the guard: guards catch what derives from Exception, and nothing else.",
        ),
        (C("odd"), "C counts as strategy_error: the classifier odd says so."),
        (ArithmeticError(), "ArithmeticError counts as data_error, by the rule 'ArithmeticError' of the pack 'mybot'."),
    ],
)
def test_an_explanation_reads_as_a_sentence(error: BaseException, sentence: str) -> None:
    """An explanation says what becomes of the exception, by which rule of which pack, and why."""
    rules = FailureRules().map(VenueError, EXECUTION).ignore(RateLimit).propagate(A)
    rules.map(VenueError, DATA, message="rejected")
    rules.load({"pack": "mybot", "rule": [{"exception": "ArithmeticError", "type": "data_error"}]})

    def odd(error: BaseException) -> FailureType | None:
        return STRATEGY if error.args == ("odd",) else None

    odd.__qualname__ = "odd"
    rules.classifier(odd)

    assert str(rules.explain(error)) == sentence.replace("test_rules", __name__)


@pytest.mark.parametrize(
    ("conditions", "shown"),
    [
        ({"when": {"code": 3}}, "whose code is 3"),
        ({"when": {"code": [3, "x"]}}, "whose code is one of 3, 'x'"),
        ({"when": {"response.code": range(500, 600)}}, "whose response.code is in range(500, 600)"),
        ({"when": {"code": {"min": 1, "max": 2.5}}}, "whose code is from 1 to 2.5"),
        ({"when": {"code": {"min": 500}}}, "whose code is 500 or more"),
        ({"when": {"code": {"max": -1}}}, "whose code is -1 or less"),
        ({"message": r"\bx\b"}, r"whose text matches '\bx\b'"),
        ({"when": {"code": len}}, "whose code satisfies len"),
        ({"when": {"code": functools.partial(int)}}, "whose code satisfies partial"),
        (
            {"when": {"state | orig.state": {"starts": ["08", "57"]}}},
            "whose state | orig.state starts with '08' or '57'",
        ),
        ({"message": "x" * 90}, f"whose text matches '{'x' * 77}...'"),
        ({"raised_in": ["json", "csv"]}, "raised in json or csv"),
        ({"message": "x", "raised_in": "json"}, "whose text matches 'x' and raised in json"),
    ],
)
def test_an_explanation_shows_the_conditions(conditions: dict[str, Any], shown: str) -> None:
    """The rule in an explanation is shown with its conditions."""
    given_conditions = {"message": None, "when": None, "raised_in": None, **conditions}

    assert str(checked_conditions(**given_conditions, where="map()")) == f" {shown}"


def test_an_explanation_is_a_record() -> None:
    """An explanation has the action, the type, the rule, its pack and the reason as fields, and cannot be changed."""
    explanation = FailureRules().explain(KeyError("close"))

    assert explanation == Explanation(
        action=Action.COUNT,
        failure_type=DATA,
        error_type="KeyError",
        rule="KeyError",
        pack="builtin",
        reason="a row, column or field that was expected is missing",
    )
    with pytest.raises(AttributeError):
        explanation.pack = "mine"  # type: ignore[misc]  # on purpose


@pytest.mark.parametrize("method", ["explain", "classify"])
def test_only_exceptions_can_be_explained(method: str) -> None:
    """What is no exception is an error that says so."""
    with pytest.raises(InvalidConfiguration, match=r"explain\(\): expected an exception, not 'timed out'"):
        getattr(FailureRules(), method)("timed out")


def test_declarations_can_be_chained(rules: FailureRules) -> None:
    """`map`, `ignore`, `propagate` and `load` return the rules themselves."""
    assert rules.map(A, DATA) is rules
    assert rules.ignore(B) is rules
    assert rules.propagate(C) is rules
    assert rules.load({"pack": "mybot", "rule": []}) is rules
