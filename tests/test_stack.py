"""The captured stack: reads like a traceback, is bounded in every direction, and keeps nothing alive."""

from __future__ import annotations

import copy
import gc
import pickle
import re
import sys
import traceback
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pytest_mock import MockerFixture

from guarded import _faults, set_secret_patterns
from guarded._stack import CapturedException, CapturedStack, capture

MARKERS = re.compile(r"^ *[~^]+ *\n", re.MULTILINE)


def caught(function: Callable[[], object]) -> BaseException:
    try:
        function()
    except BaseException as error:  # noqa: BLE001  # whatever it is
        return error
    raise AssertionError("nothing was raised")


def reference(error: BaseException) -> str:
    """What the standard library writes, without the lines that point at parts of the source."""
    return MARKERS.sub("", "".join(traceback.format_exception(error)))


class CustomError(Exception):
    pass


def plain() -> None:
    raise ValueError("invalid momentum calculation")


def without_text() -> None:
    raise ValueError


def several_lines() -> None:
    raise ValueError("first\nsecond\n")


def custom() -> None:
    raise CustomError("odd bar")


def key() -> object:
    bar: dict[str, object] = {}
    return bar["close"]


def noted() -> None:
    error = ValueError("bad bar")
    error.add_note("bar 17\nof AAPL")
    error.add_note("")
    raise error


def caused() -> None:
    try:
        plain()
    except ValueError as error:
        raise CustomError("no signal") from error


def in_context() -> None:
    try:
        caused()
    except CustomError:
        key()


def suppressed() -> None:
    try:
        plain()
    except ValueError:
        raise CustomError("no signal") from None


def cause_and_context() -> None:
    try:
        plain()
    except ValueError:
        raise CustomError("no signal") from KeyError("close")


def causes_itself() -> None:
    error = ValueError("loop")
    error.__cause__ = error
    raise error


def loop_of_two() -> None:
    first, second = ValueError("first"), KeyError("second")
    first.__cause__, second.__context__ = second, first
    raise first


def recursive(levels: int = 50) -> None:
    if levels:
        recursive(levels - 1)
    else:
        plain()


def repeated_four_times() -> None:
    recursive(3)


def syntax() -> None:
    compile("x = 1\nif x:\npass\n", "strategy.py", "exec")


def syntax_without_place() -> None:
    raise SyntaxError


def syntax_without_line() -> None:
    error = SyntaxError("odd")
    error.filename = "strategy.py"
    raise error


def syntax_without_file() -> None:
    error = SyntaxError("odd")
    error.lineno = 5
    raise error


def builtin() -> None:
    int("x")


def exits() -> None:
    sys.exit(3)


ORDINARY: list[Callable[[], object]] = [
    plain, without_text, several_lines, custom, key, noted, caused, in_context, suppressed, cause_and_context,
    causes_itself, loop_of_two, recursive, repeated_four_times, syntax, syntax_without_place, syntax_without_line,
    syntax_without_file, builtin, exits,
]  # fmt: skip


@pytest.mark.parametrize("function", ORDINARY)
def test_it_reads_like_the_traceback_module(function: Callable[[], object]) -> None:
    """An exception and its chain are written as `traceback.format_exception` does, but for the markers."""
    error = caught(function)
    assert capture(error).format() == reference(error)


def test_an_exception_that_was_never_raised() -> None:
    """Without a traceback only the last line is left."""
    error = ValueError("by hand")
    assert capture(error).format() == reference(error) == "ValueError: by hand\n"


def test_a_module_that_is_no_text() -> None:
    """A class whose module is no text is shown as the traceback module shows it."""
    odd = type("OddError", (Exception,), {"__module__": 5})
    assert capture(odd("x")).format() == "<unknown>.OddError: x\n"


def test_groups_are_indented() -> None:
    """The members of a group stand below it, numbered and indented, groups within groups further."""

    def inner() -> None:
        raise ExceptionGroup("inner", [KeyError("close")])

    outer = BaseExceptionGroup("outer", [ValueError("two\n\nlines"), caught(inner)])
    line = inner.__code__.co_firstlineno
    assert capture(outer).format() == (
        "ExceptionGroup: outer (2 sub-exceptions)\n"
        "  Member 1 of 2:\n"
        "    ValueError: two\n"
        "\n"
        "    lines\n"
        "  Member 2 of 2:\n"
        "    Traceback (most recent call last):\n"
        f'      File "{__file__}", line {caught.__code__.co_firstlineno + 2}, in caught\n'
        "        function()\n"
        f'      File "{__file__}", line {line + 1}, in inner\n'
        '        raise ExceptionGroup("inner", [KeyError("close")])\n'
        "    ExceptionGroup: inner (1 sub-exception)\n"
        "      Member 1 of 1:\n"
        "        KeyError: 'close'\n"
    )


def test_the_chain_of_a_member_is_shown_with_it() -> None:
    """A member's cause stands with the member."""
    error = BaseExceptionGroup("group", [caught(caused)])
    text = capture(error).format()
    assert text.index("Member 1 of 1") < text.index("    ValueError: invalid") < text.index("CustomError: no signal")


def test_a_member_that_is_shown_elsewhere_is_not_shown_again() -> None:
    """An exception appears once, also where it is a cause and a member, or a member twice."""
    error = ValueError("bad bar")
    group = ExceptionGroup("group", [error, error])
    assert capture(group).format().count("bad bar") == 1
    assert "[1 more members]" in capture(group).format()
    group.__cause__ = error
    assert capture(group).format().count("bad bar") == 1


# Bounds


def test_frames_are_bounded() -> None:
    """The first and the last hundred frames are kept, and what is left out is counted."""
    error = caught(lambda: recursive(400))
    every = list(traceback.walk_tb(error.__traceback__))
    stack = capture(error)
    exception = stack.chain[0]
    assert exception.frames[:100] == tuple((f.f_code.co_filename, line, f.f_code.co_name) for f, line in every[:100])
    assert exception.frames[100:] == tuple((f.f_code.co_filename, line, f.f_code.co_name) for f, line in every[-100:])
    assert exception.frames_left_out == len(every) - 200
    assert f"  [{len(every) - 200} more frames]\n" in stack.format()


def test_two_hundred_frames_are_kept_in_full() -> None:
    """Up to the bound nothing is left out."""
    error = caught(lambda: recursive(195))
    assert len(list(traceback.walk_tb(error.__traceback__))) == 199
    assert capture(error).format() == reference(error)


def chain_of(length: int) -> BaseException:
    error: BaseException = ValueError("link 0")
    for number in range(1, length):
        outer = ValueError(f"link {number}")
        outer.__cause__ = error
        error = outer
    return error


def test_chains_are_bounded() -> None:
    """The first and the last ten exceptions of a chain are kept, and what is left out is counted."""
    stack = capture(chain_of(3_000))
    assert [each.message for each in stack.chain] == [
        f"link {n}" for n in [*range(2_999, 2_989, -1), *range(9, -1, -1)]
    ]
    assert stack.left_out == 2_980
    text = stack.format()
    direct = "\nThe above exception was the direct cause of the following exception:\n\n"
    assert f"ValueError: link 9\n\n[2980 more exceptions of this chain]\n{direct}ValueError: link 2990\n" in text
    assert text.count(direct) == 19


def test_twenty_exceptions_of_a_chain_are_kept_in_full() -> None:
    """Up to the bound nothing is left out."""
    error = chain_of(20)
    assert capture(error).format() == reference(error)


@pytest.mark.timeout(20)
def test_a_very_long_chain_is_walked_in_linear_time() -> None:
    """A chain of 300,000 is no hang and no recursion."""
    assert capture(chain_of(300_000)).left_out == 299_980


def test_members_are_bounded() -> None:
    """Fifteen of 10,000 members are kept, and the rest is counted."""
    stack = capture(ExceptionGroup("many", [ValueError(f"member {n}") for n in range(10_000)]))
    group = stack.chain[0]
    assert [member.chain[0].message for member in group.members] == [f"member {n}" for n in range(15)]
    assert group.members_left_out == 9_985
    assert "  Member 15 of 10000:\n" in stack.format()
    assert stack.format().endswith("  [9985 more members]\n")


def nested(levels: int) -> ExceptionGroup[Any]:
    group: ExceptionGroup[Any] = ExceptionGroup("level", [ValueError("innermost")])
    for _ in range(levels - 1):
        group = ExceptionGroup("level", [group])
    return group


def test_levels_of_groups_are_bounded() -> None:
    """Of 2,000 groups within groups the outer ones are kept."""
    text = capture(nested(2_000)).format()
    assert text.count("ExceptionGroup: level") == 11
    assert text.rstrip().endswith("[1 more members]")
    assert "innermost" in capture(nested(10)).format()


@pytest.mark.timeout(20)
def test_exceptions_in_all_are_bounded() -> None:
    """Of groups that hold groups that hold groups about a hundred exceptions are kept."""

    def tree(levels: int) -> Exception:
        return ExceptionGroup("level", [tree(levels - 1) for _ in range(15)]) if levels else ValueError("leaf")

    text = capture(tree(3)).format()
    assert 90 <= text.count("leaf") + text.count("ExceptionGroup") <= 120
    assert "more members]" in text


def test_texts_are_bounded() -> None:
    """2,000 characters of a message and of a note are kept, and twenty notes."""
    error = ValueError("m" * 10_000)
    for _ in range(25):
        error.add_note("n" * 10_000)
    text = capture(error).format()
    assert text.count("m" * 2_000) == 1
    assert text.count("n" * 2_000) == 20
    assert len(text) < 43_500
    assert text.endswith("[5 more notes]\n")


def test_names_are_bounded() -> None:
    """200 characters of a class's name are kept."""
    assert capture(type("E" * 5_000, (Exception,), {"__module__": "m"})()).format() == f"m.{'E' * 200}\n"


# Secrets


def test_secrets_in_texts_are_masked() -> None:
    """Messages, notes, causes, members and syntax errors lose their secrets when the stack is captured."""
    cause = ValueError("apiKey=abc123")
    error = ExceptionGroup("token=abc123", [SyntaxError("password: abc123", ("f.py", 1, 1, "secret = 'abc123'"))])
    error.__cause__ = cause
    error.add_note("signature=abc123")
    stack = capture(error)
    assert "abc123" not in repr(stack)
    assert stack.format().count("***") == 5


def test_literals_of_secrets_in_the_source_are_masked(tmp_path: Path) -> None:
    """A line of source that holds a password does not show it, also if only a custom pattern knows it."""
    file = tmp_path / "strategy.py"
    file.write_text("connect(password='hunter2', account='DU12345')\n")
    error = caught(lambda: exec(compile(file.read_text(), str(file), "exec")))  # noqa: S102  # our own text
    with set_secret_patterns("DU[0-9]+"):
        assert "    connect(password='***', account='***')\n" in capture(error).format()


def test_text_that_cannot_be_encoded_is_replaced() -> None:
    """Lone surrogates in messages, notes and file names do not break an encoding later."""
    source = compile("1 / 0", "file.py", "exec").replace(co_filename="\udcff.py")
    error = caught(lambda: exec(source))  # noqa: S102  # our own text
    error.add_note("\ud800")
    text = capture(error).format()
    text.encode()
    assert 'File "?.py", line 1' in text


# Sources


def test_sources_are_read_when_the_text_is_made(tmp_path: Path) -> None:
    """The lines shown are those that the file has by then; without the file there are none."""
    file = tmp_path / "strategy.py"
    file.write_text("\n1 / 0  # old\n")
    error = caught(lambda: exec(compile(file.read_text(), str(file), "exec")))  # noqa: S102  # our own text
    stack = capture(error)
    place = f'  File "{file}", line 2, in <module>\n'
    assert f"{place}    1 / 0  # old\n" in stack.format()
    file.write_text("\n1 / 0  # changed meanwhile\n")
    assert f"{place}    1 / 0  # changed meanwhile\n" in stack.format()
    file.unlink()
    assert f"{place}ZeroDivisionError" in stack.format()


@pytest.mark.parametrize("name", ["<string>", "", "a\0b", "\ud800", "/", "nowhere.py"])
def test_a_file_name_that_is_no_file(name: str) -> None:
    """Whatever a code object says that its file is, the place is shown without a line of source."""
    stack = CapturedStack((CapturedException("E", "x", None, ((name, 1, "generated"),)),))
    assert stack.format().endswith(", line 1, in generated\nE: x\n")


def test_a_source_that_cannot_be_read(mocker: MockerFixture) -> None:
    """What the look at a source raises, as up to Python 3.12 over a null byte, leaves the line out."""
    mocker.patch("linecache.getline", side_effect=ValueError("embedded null byte"))
    stack = CapturedStack((CapturedException("E", "x", None, ((__file__, 1, "generated"),)),))
    assert stack.format().endswith(", line 1, in generated\nE: x\n")


def test_a_frame_without_a_line() -> None:
    """A frame of generated code that belongs to no line is shown as the traceback module shows it."""
    stack = CapturedStack((CapturedException("E", "x", None, ((__file__, None, "generated"),)),))
    assert f'File "{__file__}", line None, in generated\nE: x\n' in stack.format()


def test_very_long_lines_of_source_are_cut(tmp_path: Path) -> None:
    """500 characters of a line of source are shown."""
    file = tmp_path / "minified.py"
    file.write_text("1 / 0" + " or 1" * 1_000)
    error = caught(lambda: exec(compile(file.read_text(), str(file), "exec")))  # noqa: S102  # our own text
    assert max(map(len, capture(error).format().splitlines())) == 504


# Hostile exceptions


class RaisingText(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


class WrongText(Exception):
    def __str__(self) -> str:
        return 5  # type: ignore[return-value]  # noqa: PLE0307  # that is what is odd


class OwnText(Exception):
    class Text(str):
        __slots__ = ("kept",)

    def __str__(self) -> str:
        return self.Text("own text")


class RaisingAttributes(Exception):
    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(f"{name} was read")


class LyingAttributes(Exception):
    __cause__ = 5  # type: ignore[assignment]
    __context__ = "context"  # type: ignore[assignment]
    __traceback__ = "traceback"  # type: ignore[assignment]
    __suppress_context__ = "no"  # type: ignore[assignment]
    __dict__ = 7  # type: ignore[assignment]


class LyingClass(Exception):
    @property  # type: ignore[misc]
    def __class__(self) -> type:
        return SyntaxError


class RaisingClass(Exception):
    @property  # type: ignore[misc]
    def __class__(self) -> type:
        raise RuntimeError("class was read")


class RaisingNotes(Exception):
    @property
    def __notes__(self) -> list[str]:  # type: ignore[override]
        raise RuntimeError("notes were read")


class Meta(type):
    def __getattribute__(cls, name: str) -> Any:
        raise RuntimeError(f"{name} was read")


class RaisingMeta(Exception, metaclass=Meta):
    pass


class Slotted(Exception):
    __slots__ = ("bar",)


class RaisingGroup(ExceptionGroup[Exception]):
    def __getattribute__(self, name: str) -> Any:
        raise RuntimeError(f"{name} was read")


HOSTILE: dict[str, tuple[type[BaseException], str]] = {  # by name, because pytest looks at its parameters
    "text that raises": (RaisingText, "RaisingText: <no text: its __str__ raised>"),
    "text that is none": (WrongText, "WrongText: <no text: its __str__ raised>"),
    "text of its own class": (OwnText, "OwnText: own text"),
    "attributes that raise": (RaisingAttributes, "RaisingAttributes: x"),
    "attributes that lie": (LyingAttributes, "LyingAttributes: x"),
    "class that lies": (LyingClass, "LyingClass: x"),
    "class that raises": (RaisingClass, "RaisingClass: x"),
    "notes that raise": (RaisingNotes, "RaisingNotes: x"),
    "metaclass that raises": (RaisingMeta, "RaisingMeta: x"),
    "slots": (Slotted, "Slotted: x"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_exceptions_are_captured(name: str) -> None:
    """Whatever an exception overrides, its place, its cause and what can be had of its text are kept."""
    kind, last = HOSTILE[name]

    def fail() -> None:
        raise kind("x") from KeyError("close")

    text = capture(caught(fail)).format()
    assert text.startswith("KeyError: 'close'\n\nThe above exception was the direct cause")
    assert text.endswith(f'in fail\n    raise kind("x") from KeyError("close")\n{__name__}.{last}\n')
    text.encode()


@pytest.mark.parametrize("kind", [RaisingText, WrongText])
def test_a_text_that_raises_is_reported(kind: type[Exception]) -> None:
    """The exception's fault is told once for each capture."""
    before = _faults.count()
    capture(kind("x"))
    assert _faults.count() == before + 1


def test_a_hostile_group() -> None:
    """The members of a group whose attributes raise are captured."""
    assert "ValueError: bad bar" in capture(RaisingGroup("group", [ValueError("bad bar")])).format()


class RaisingRepr:
    def __repr__(self) -> str:
        raise RuntimeError("no text")

    __str__ = __repr__


@pytest.mark.parametrize(
    ("notes", "shown"),
    [
        (7, "7"),
        ("text", "'text'"),
        (("a", "b"), "('a', 'b')"),
        ([], ""),
        ([7, None], "7\nNone"),
        (RaisingRepr(), "<no text: its __repr__ raised>"),
        ([RaisingRepr(), "b"], "<no text: its __str__ raised>\nb"),
    ],
    ids=range(7),
)
def test_odd_notes(notes: object, shown: str) -> None:
    """Notes that are no list, or no texts, are shown as well as can be."""
    error = ValueError("bad bar")
    error.__notes__ = notes  # type: ignore[assignment]
    assert capture(error).format() == f"ValueError: bad bar\n{shown}\n".replace("\n\n", "\n")


def test_notes_that_cannot_be_read() -> None:
    """A key of the exception's own dict that raises when it is compared costs the notes and nothing else."""

    class Key:
        def __hash__(self) -> int:
            return hash("__notes__")

        def __eq__(self, other: object) -> bool:
            raise RuntimeError("equality was tested")

    error = ValueError("bad bar")
    vars(error)[Key()] = 1  # type: ignore[index]
    before = _faults.count()
    assert capture(error).format() == "ValueError: bad bar\n"
    assert _faults.count() == before + 1


@pytest.mark.parametrize(
    ("attributes", "shown"),
    [
        ({"filename": 5, "lineno": "x", "text": 7, "msg": None}, '  File "5", line x\n    7\nSyntaxError: <no detail'),
        ({"filename": "f.py", "lineno": 3, "text": None, "msg": ""}, '  File "f.py", line 3\nSyntaxError: <no detail'),
        ({"lineno": 3, "filename": "", "msg": "odd"}, '  File "<string>", line 3\nSyntaxError: odd\n'),
        ({"filename": RaisingRepr(), "msg": "odd"}, "SyntaxError: odd (<no text: its __str__ raised>)\n"),
    ],
    ids=range(4),
)
def test_odd_syntax_errors(attributes: dict[str, object], shown: str) -> None:
    """Attributes of a syntax error that are not what they should be are shown as texts."""
    error = SyntaxError()
    for name, value in attributes.items():
        setattr(error, name, value)
    assert capture(error).format().startswith(shown)


# The record


def test_records_are_compared_by_what_they_say() -> None:
    """Two captures of one exception are equal and hash alike, those of different ones are not."""
    error = caught(in_context)
    assert capture(error) == capture(error)
    assert hash(capture(error)) == hash(capture(error))
    assert capture(error) != capture(caught(plain))


@pytest.mark.parametrize("duplicate", [copy.copy, copy.deepcopy, lambda stack: pickle.loads(pickle.dumps(stack))])  # noqa: S301  # our own
def test_records_can_be_copied_and_pickled(duplicate: Callable[[CapturedStack], CapturedStack]) -> None:
    """A copy says the same."""
    stack = capture(BaseExceptionGroup("group", [caught(in_context), caught(syntax)]))
    assert duplicate(stack) == stack
    assert duplicate(stack).format() == stack.format()


def test_records_cannot_be_changed() -> None:
    """A record is frozen, and has no dict to put anything into."""
    stack = capture(caught(plain))
    with pytest.raises(AttributeError):
        stack.left_out = 5  # type: ignore[misc]
    assert not hasattr(stack, "__dict__")


def contents(value: object) -> Iterator[object]:
    yield value
    parts = [value.chain] if isinstance(value, CapturedStack) else value if isinstance(value, tuple) else ()
    for part in parts:
        yield from contents(part)


def test_a_record_holds_texts_and_numbers_only() -> None:
    """Not one object of the program is in it."""
    error = BaseExceptionGroup("group", [caught(in_context), caught(syntax), caught(noted), OwnText("x")])
    kinds = {type(part) for part in contents(capture(error))}
    assert kinds <= {CapturedStack, CapturedException, tuple, str, int, type(None)}


def test_nothing_is_kept_alive() -> None:
    """Once the exception is gone, so are its frames and what was in them."""

    class Kept:
        pass

    watched: list[weakref.ref[Kept]] = []

    def fail() -> None:
        local = Kept()
        watched.append(weakref.ref(local))
        raise CustomError(local) from caught(in_context)

    stack = capture(caught(fail))
    gc.collect()
    assert watched[0]() is None
    assert "CustomError" in stack.format()
