"""Tracebacks read back, and the command line that explains them."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import re
import subprocess
import sys
import traceback
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from raising import raised

from guarded import FailureRules, InvalidConfiguration, _tracebacks
from guarded.__main__ import main
from guarded._tracebacks import of_class, parsed

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path
    from typing import Self


def text_of(error: BaseException) -> str:
    return "".join(traceback.format_exception(error))


def piped(text: str) -> io.TextIOWrapper:
    """A standard input."""
    return io.TextIOWrapper(io.BytesIO(text.encode()))


def missing_row() -> None:
    _ = json.loads("{}")["close"]


def broken_json() -> None:
    json.loads("<html>")


def singular() -> None:
    np.linalg.inv(np.zeros((2, 2)))


def wrapped() -> None:
    try:
        raise ConnectionResetError(104, "Connection reset by peer")
    except OSError as error:
        raise RuntimeError("fetch failed") from error


def in_an_except_block() -> None:
    try:
        missing_row()
    except KeyError:
        raise RuntimeError("cannot go on")  # noqa: B904  # that is what a context is


def group() -> None:
    raise ExceptionGroup(
        "two legs", [TimeoutError("slow"), ExceptionGroup("inner", [raised(wrapped), raised(broken_json)])]
    )


def task_group() -> None:
    async def leg(row: int) -> None:
        _ = [][row]

    async def legs() -> None:
        async with asyncio.TaskGroup() as tasks:
            for row in range(2):
                tasks.create_task(leg(row))

    asyncio.run(legs())


def several_lines() -> None:
    raise ValueError("a text\n\nof several lines:\n  the last")


def no_text() -> None:
    raise ValueError


RAISING = [missing_row, broken_json, singular, wrapped, in_an_except_block, group, task_group, several_lines, no_text]


@pytest.mark.parametrize("raising", RAISING)
def test_a_traceback_is_worth_what_the_exception_was(raising: Callable[[], None]) -> None:
    """The exception that is read back from a traceback gets the verdict of the one that was raised."""
    rules = FailureRules()
    error = raised(raising)

    assert rules.explain(parsed(text_of(error))) == rules.explain(error)


@pytest.mark.parametrize("raising", RAISING)
def test_a_traceback_is_read_back_whole(raising: Callable[[], None]) -> None:
    """Class, text, functions, cause, context and members are those of the exception that was raised."""

    def told(error: BaseException | None) -> object:
        if error is None:
            return None
        names = [frame.f_code.co_name for frame, _ in traceback.walk_tb(error.__traceback__)]
        members = [told(member) for member in getattr(error, "exceptions", ())]
        name = f"{type(error).__module__}.{type(error).__qualname__}"
        return name, str(error), names, told(error.__cause__), told(error.__context__), members

    def shown(error: BaseException) -> BaseException:  # a traceback does not show a context that a cause hides
        if error.__suppress_context__:
            error.__context__ = None
        for other in (error.__cause__, error.__context__, *getattr(error, "exceptions", ())):
            if other is not None:
                shown(other)
        return error

    error = raised(raising)
    found = parsed(text_of(error))

    assert told(shown(found)) == told(shown(error))


def test_what_is_around_a_traceback_does_no_harm() -> None:
    """Lines of a log before the traceback are passed over."""
    text = f"2025-11-11 14:25:30 ERROR strategy failed\n{text_of(raised(missing_row))}"

    assert FailureRules().explain(parsed(text)).error_type == "KeyError"


def test_a_class_that_is_not_installed_is_taken_at_its_name() -> None:
    """Of a class that cannot be imported the rules that name it decide all the same."""
    explanation = FailureRules().explain(parsed("ccxt.base.errors.InsufficientFunds: binance -2010"))

    assert explanation.failure_type == "execution_error"
    assert explanation.error_type == "InsufficientFunds"


def test_nothing_of_the_users_is_imported(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """To explain a traceback imports no module of the user's: that might start a bot."""
    (tmp_path / "my_bot.py").write_text("raise SystemExit('trading')", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)

    explanation = FailureRules().explain(parsed("my_bot.OrderRejected: too small"))

    assert (explanation.error_type, explanation.failure_type) == ("OrderRejected", "execution_error")
    assert "my_bot" not in sys.modules


@pytest.mark.parametrize("name", ["trace", "this", "antigravity", "hypothesis", "certifi.__main__", "polars.__main__"])
def test_nothing_that_could_have_effects_is_imported(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A file of the user's that is called as a module of Python's, jokes, programs and unlisted packages stay alone."""
    (tmp_path / "trace.py").write_text("raise SystemExit('trading')", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, name, raising=False)

    parsed(f"{name}.OrderError: x")

    assert name not in sys.modules
    assert capsys.readouterr().out == ""


def test_a_name_that_is_no_exceptions_is_taken_at_its_word() -> None:
    """What an installed module has under the name of the class, and is none, is not taken for one."""
    assert FailureRules().explain(parsed("json.loads: odd")).error_type == "loads"
    assert FailureRules().explain(parsed("json.NoSuchError: odd")).error_type == "NoSuchError"


def test_the_modules_are_told_by_the_paths() -> None:
    """Where packages are installed tells the modules, on whichever machine, so rules see where it was raised."""
    text = """Traceback (most recent call last):
  File "/srv/bot/strategy.py", line 3, in generate_signals
    redis.Redis.from_url("localhost")
  File "/opt/venv/lib/python3.12/site-packages/redis/connection.py", line 9, in parse_url
    raise ValueError(
ValueError: Redis URL must specify one of the following schemes (redis://, rediss://, unix://)
"""
    explanation = FailureRules().explain(parsed(text))

    assert (explanation.failure_type, explanation.pack) == ("configuration_error", "redis")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("urllib.error.HTTPError: HTTP Error 401: Unauthorized", "configuration_error"),
        ("requests.exceptions.HTTPError: 404 Client Error: Not Found for url: http://x/v1/a", "data_error"),
        (
            "requests.exceptions.HTTPError: 422 Client Error: Unprocessable for url: http://x/v2/orders",
            "execution_error",
        ),
        (
            "httpx.HTTPStatusError: Client error '451 Unavailable For Legal Reasons' for url 'http://x'",
            "configuration_error",
        ),
        ("aiohttp.client_exceptions.ClientResponseError: 404, message='Not Found', url='http://x'", "data_error"),
        ("websockets.exceptions.InvalidStatus: server rejected WebSocket connection: HTTP 401", "configuration_error"),
        ("binance.exceptions.BinanceAPIException: APIError(code=-1021): Timestamp for this", "connection_error"),
        ('alpaca.common.exceptions.APIError: {"code": 42210000, "message": "must be DAY orders"}', "execution_error"),
        ("OSError: [Errno 111] Connect call failed", "connection_error"),
    ],
)
def test_what_a_text_tells_of_the_status_counts(text: str, expected: str) -> None:
    """A status or code that a library writes into its text is taken for what the exception carried."""
    assert FailureRules().explain(parsed(text)).failure_type == expected


@pytest.mark.parametrize(
    ("frame", "raised", "expected"),
    [
        ('File "<frozen os>", line 679, in __getitem__', "KeyError: 'API_KEY'", "configuration_error"),
        ('File "pandas/_libs/lib.pyx", line 2816, in maybe', "ValueError: Unable to parse string", "data_error"),
        ('File "/home/bot/mybot/settings/__init__.py", line 1, in load', "KeyError: 'x'", "configuration_error"),
        ('File "/home/bot/mybot/settings/loader.py", line 1, in load', "KeyError: 'x'", "configuration_error"),
        ('File "C:\\bot\\config.py", line 1, in load', "KeyError: 'x'", "configuration_error"),
        ('File "C:\\py\\Lib\\configparser.py", line 1, in get', "KeyError: 'x'", "configuration_error"),
        (
            'File "/usr/lib/python3/dist-packages/redis/connection.py", line 1, in f',
            "ValueError: x",
            "configuration_error",
        ),
        ('File "/home/me/ta/strategy.py", line 1, in f', "ValueError: fast is above slow", "strategy_error"),
        ('File "strategy.py", line 1, in f', "ValueError: fast is above slow", "strategy_error"),
        ('File "<string>", line 1, in f', "ValueError: fast is above slow", "strategy_error"),
        ('File "a\0b", line 1, in f', "ValueError: fast is above slow", "strategy_error"),
        ('File "<frozen >", line 1, in f', "ValueError: fast is above slow", "strategy_error"),
        ('File "/__init__.py", line 1, in f', "ValueError: fast is above slow", "strategy_error"),
    ],
)
def test_the_module_of_a_frame_is_told_by_its_path(frame: str, raised: str, expected: str) -> None:
    """Python's modules, compiled ones, installed ones and the author's own are told apart by the paths of frames."""
    text = f"Traceback (most recent call last):\n  {frame}\n    code\n{raised}"

    assert FailureRules().explain(parsed(text)).failure_type == expected


@pytest.mark.parametrize("raising", [missing_row, wrapped, group])
@pytest.mark.parametrize("prefix", ["    ", "bot_1  | ", "May 01 10:00:00 host bot[123]: ", "> "])
def test_what_stands_before_all_lines_does_no_harm(raising: Callable[[], None], prefix: str) -> None:
    """An indent, or what a log writes before each line, is cut off."""
    error = raised(raising)
    text = "".join(f"{prefix}{line}" for line in text_of(error).splitlines(keepends=True))

    assert FailureRules().explain(parsed(text)) == FailureRules().explain(error)


def test_a_line_of_a_json_log_is_read() -> None:
    """A traceback within one line, with its line ends escaped, is read."""
    line = json.dumps({"message": text_of(raised(wrapped))})

    assert FailureRules().explain(parsed(line)).wraps == "ConnectionResetError"


def test_a_class_without_its_module_is_taken_at_its_name() -> None:
    """A last line alone, with a class that is no builtin and no module, is taken for an exception if it has a text."""
    assert FailureRules().explain(parsed("InsufficientFunds: no money")).failure_type == "execution_error"


@pytest.mark.parametrize(
    "text", ["", "hello", "hello\nworld", "2025 ERROR: failed", "Traceback (most recent call last):\n"]
)
def test_what_is_no_traceback_is_refused(text: str) -> None:
    """A text without an exception is an error that says what was expected."""
    last = (text.splitlines() or [""])[-1]
    told = f"no traceback: expected.*{re.escape(last)}"
    with pytest.raises(InvalidConfiguration, match=told):
        parsed(text)


FILES = st.one_of(
    st.text(),
    st.sampled_from(
        ["", "/", "a\0b", "/x/site-packages/", "/x/python3.12/", "<frozen >", "__init__.py", ".pyx", "C:\\x"]
    ),
)
LINES = st.one_of(
    st.text(),
    st.builds('  File "{}", line 1, in {}'.format, FILES, st.text()),
    st.sampled_from(
        ["ValueError: x", "a.B", "  + Exception Group Traceback (most recent call last):", "  +-+--- 1 ----"]
    ),
    st.sampled_from(
        ["  | ExceptionGroup: x (1 sub-exception)", "    | KeyError: 1", "    +---", "", _tracebacks._CAUSE]
    ),
)


@given(st.lists(LINES, max_size=12))
def test_any_text_is_read_or_refused(lines: list[str]) -> None:
    """Whatever the text, it is an exception or an InvalidConfiguration, and never another fault."""
    with contextlib.suppress(InvalidConfiguration):
        assert isinstance(parsed("\n".join(["Traceback (most recent call last):", *lines])), BaseException)


def test_groups_may_be_nested_too_deep() -> None:
    """A group that is nested deeper than can be read is refused with that reason."""
    margins = ["  " * depth for depth in range(1_000)]
    lines = [f"{margin}  | ExceptionGroup: g (1 sub-exception)\n{margin}  +-+---- 1 ----" for margin in margins]

    with pytest.raises(InvalidConfiguration, match="nested too deep"):
        parsed("\n".join(lines))


# -- a class ---------------------------------------------------------------------------------------------------------


def test_a_class_is_imported_by_its_name() -> None:
    """module:ClassName is imported, and an instance of it needs none of its constructor's arguments."""
    assert FailureRules().explain(of_class("json:JSONDecodeError")).failure_type == "data_error"
    assert FailureRules().explain(of_class("smtplib:SMTPAuthenticationError")).failure_type == "configuration_error"
    assert FailureRules().explain(of_class("imaplib:IMAP4.abort")).failure_type == "connection_error"
    assert FailureRules().explain(of_class("builtins:ExceptionGroup")).failure_type == "unknown_error"
    assert FailureRules().explain(of_class("json.JSONDecodeError")).failure_type == "data_error"
    assert FailureRules().explain(of_class("ValueError")).failure_type == "data_error"


def test_a_module_that_raises_when_it_is_imported_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the import of the module raises is part of the error."""
    (tmp_path / "broken_bot.py").write_text("1 / 0", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)

    with pytest.raises(InvalidConfiguration, match="importing 'broken_bot' raised ZeroDivisionError: division by zero"):
        of_class("broken_bot:Error")


class Demanding(ValueError):
    """A class that cannot be made without its arguments, as pydantic's are."""

    def __new__(cls, title: str, lines: int) -> Self:
        return super().__new__(cls, title, lines)


def test_a_class_that_asks_for_arguments_is_explained_all_the_same() -> None:
    """Of a class that makes no instance without arguments the name and the bases count."""
    rules = FailureRules().map(Demanding, "execution_error")

    assert rules.explain(of_class(f"{__name__}:Demanding")).failure_type == "data_error"
    rules.map(f"{__name__}.Demanding", "execution_error")
    assert rules.explain(of_class(f"{__name__}:Demanding")).failure_type == "execution_error"


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("no_such_module:Error", "No module named 'no_such_module'"),
        ("no_such_module:Error", "what is not installed here can be explained from its traceback"),
        ("json:JSONDecodeEror", "has no 'JSONDecodeEror'; did you mean 'JSONDecodeError'"),
        ("json", "has no 'json'"),
        (":Error", "has no 'Error'"),
        ("json:loads", "not <function loads"),
        ("builtins:int", "not <class 'int'>"),
    ],
)
def test_what_is_no_class_of_exceptions_is_refused(path: str, told: str) -> None:
    """What cannot be imported or is no exception is an error that names it and what was expected."""
    with pytest.raises(InvalidConfiguration, match=told):
        of_class(path)


# -- the command line ------------------------------------------------------------------------------------------------


def test_the_command_explains_a_traceback(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """`explain` reads a traceback from standard input and prints the sentence, type, action, rule, pack and reason."""
    monkeypatch.setattr(sys, "stdin", piped(text_of(raised(missing_row))))

    assert main(["explain"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        (
            "KeyError counts as data_error, by the rule 'KeyError' of the pack 'builtin':"
            " a row, column or field that was expected is missing."
        ),
        "",
        "type    data_error",
        "action  count",
        "rule    KeyError",
        "pack    builtin",
        "why     a row, column or field that was expected is missing",
    ]


def test_the_command_explains_a_class(capsys: pytest.CaptureFixture[str]) -> None:
    """`explain module:ClassName` explains a class; what no rule is about has neither rule nor pack."""
    assert main(["explain", "builtins:Exception"]) == 0
    assert capsys.readouterr().out.splitlines()[2:6] == [
        "type    unknown_error",
        "action  count",
        "rule    none",
        "pack    none",
    ]


def test_the_command_says_what_it_could_not_know(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    """Where rules look at attributes, or at bases of a class that was not imported, a note says so."""
    pack = tmp_path / "mine.toml"
    pack.write_text(
        'pack = "mine"\n[[rule]]\nexception = "mybroker.OrderError"\nwhen = { "code | response.code" = 3 }\n'
        'type = "execution_error"\n',
        encoding="utf-8",
    )
    monkeypatch.setattr(sys, "stdin", piped("mybroker.OrderError: no"))

    assert main(["explain", "--rules", str(pack)]) == 0
    assert capsys.readouterr().out.splitlines()[-2:] == [
        "note    its class was not imported, so rules for its base classes were not asked",
        "note    rules for its class look at code | response.code, which is not in a text",
    ]


def test_the_command_asks_packs_of_the_users_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`--rules` loads a pack of the user's, whose rules come first."""
    pack = tmp_path / "mine.toml"
    pack.write_text('pack = "mine"\n[[rule]]\nexception = "KeyError"\ntype = "strategy_error"\n', encoding="utf-8")

    assert main(["explain", "builtins:KeyError", "--rules", str(pack)]) == 0
    assert "pack    mine" in capsys.readouterr().out


@pytest.mark.parametrize("arguments", [["json:Nope"], ["json:JSONDecodeError", "--rules", "no.toml"]])
def test_what_cannot_be_explained_ends_with_two(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """What was given wrongly is told on standard error, and the exit status is 2."""
    assert main(["explain", *arguments]) == 2
    told = capsys.readouterr()
    assert told.err.startswith("guarded explain: ")
    assert told.out == ""


def test_the_module_is_a_program() -> None:
    """`python -m guarded explain` works as a program does, and without a command says which there are."""
    program = [sys.executable, "-m", "guarded"]
    text = "ValueError: x"
    explained = subprocess.run([*program, "explain"], input=text, capture_output=True, text=True, check=False)
    usage = subprocess.run(program, capture_output=True, text=True, check=False)

    assert (explained.returncode, usage.returncode) == (0, 2)
    assert explained.stdout.startswith("ValueError counts as data_error")
    assert "explain" in usage.stderr
