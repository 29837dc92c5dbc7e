"""CapturedStack: what a traceback says, as cheap plain records that keep nothing of the program alive."""

from __future__ import annotations

import contextlib
import linecache
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from guarded._faults import report
from guarded._secrets import encodable, mask_source, text_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

FRAMES = 100  # the first and the last so many of each traceback
CHAIN = 10  # the first and the last so many of each chain
MEMBERS = 15  # of each group
LEVELS = 10  # of groups within groups
EXCEPTIONS = 100  # of everything that hangs together; a chain that was begun is finished
NOTES = 20
MESSAGE = 2_000
_SOURCE = 500
_NAME = 200
_REPEATS = 3  # of the same line, as many as the traceback module shows

_CAUSE = "The above exception was the direct cause of the following exception:"
_CONTEXT = "During handling of the above exception, another exception occurred:"

# The slots themselves, because a class of exceptions can override the attributes with anything.
_cause_of = BaseException.__dict__["__cause__"].__get__
_context_of = BaseException.__dict__["__context__"].__get__
_is_context_suppressed = BaseException.__dict__["__suppress_context__"].__get__
_traceback_of = BaseException.__dict__["__traceback__"].__get__
_dict_of = BaseException.__dict__["__dict__"].__get__
_members_of = BaseExceptionGroup.__dict__["exceptions"].__get__
_SYNTAX_SLOTS = tuple(SyntaxError.__dict__[name].__get__ for name in ("filename", "lineno", "text", "msg"))
_module_of = type.__dict__["__module__"].__get__
_qualified_name_of = type.__dict__["__qualname__"].__get__

Frame = tuple[str, int | None, str]
"""File, line and name of the function."""


class CapturedException(NamedTuple):
    """One exception of a chain.

    Attributes:
        kind: Its type as a traceback names it: with the module, unless that is builtins or __main__.
        message: Its text, masked and bounded.
        link: The sentence that a traceback puts between the next one inwards and this one; None for the innermost.
        frames: The first and the last frames of its traceback, outermost first.
        frames_left_out: How many were left out between them.
        notes: Its notes, masked and bounded.
        syntax: For a syntax error: the lines that show the place, and the message without the place.
        members: For a group: its members.
        members_left_out: How many members were left out, also because they are shown elsewhere.
    """

    kind: str
    message: str
    link: str | None
    frames: tuple[Frame, ...]
    frames_left_out: int = 0
    notes: tuple[str, ...] = ()
    syntax: tuple[str, ...] = ()
    members: tuple[CapturedStack, ...] = ()
    members_left_out: int = 0


class CapturedStack(NamedTuple):
    """An exception with its causes, contexts, notes and group members.

    Attributes:
        chain: The exception first, the innermost cause or context last.
        left_out: How many exceptions were left out in the middle of the chain.
    """

    chain: tuple[CapturedException, ...]
    left_out: int = 0

    def format(self) -> str:
        """The text as `traceback.format_exception` writes it, without the markers under the source lines.

        The source lines are those that the files hold now; where a file is gone they are missing. The members of a
        group are indented below it.
        """
        return encodable("".join(_chain_lines(self)))


def capture(error: BaseException) -> CapturedStack:
    """Take down what a traceback would say; only `str` of the exception and of its notes runs the user's code.

    Args:
        error: Any exception, also one that overrides everything; nothing of it is kept but texts and line numbers.

    Returns:
        The record, bounded in every direction; what is left out is counted.
    """
    return _Capture().chain(error, 0)


class _Capture:
    """One call of `capture`: whom it has met, and how many exceptions it may still take down."""

    __slots__ = ("_left", "_met")

    def __init__(self) -> None:
        self._met: set[int] = set()
        self._left = EXCEPTIONS

    def chain(self, error: BaseException, level: int) -> CapturedStack:
        linked = self._linked(error)
        kept = linked if len(linked) <= 2 * CHAIN else linked[:CHAIN] + linked[-CHAIN:]
        self._left -= len(kept)
        return CapturedStack(tuple([self._one(*each, level) for each in kept]), len(linked) - len(kept))

    def _linked(self, error: BaseException) -> list[tuple[BaseException, str | None]]:
        linked: list[tuple[BaseException, str | None]] = []
        current: BaseException | None = error
        while current is not None:
            self._met.add(id(current))
            link, inner = self._inner(current)
            linked.append((current, link))
            current = inner
        return linked

    def _inner(self, error: BaseException) -> tuple[str | None, BaseException | None]:
        cause = _cause_of(error)
        if cause is not None and id(cause) not in self._met:
            return _CAUSE, cause
        context = None if _is_context_suppressed(error) else _context_of(error)
        if context is not None and id(context) not in self._met:
            return _CONTEXT, context
        return None, None

    def _one(self, error: BaseException, link: str | None, level: int) -> CapturedException:
        kind = type(error)
        name, message = kind_name(kind), text_of(error, MESSAGE)
        frames, left_out = _frames(_traceback_of(error))
        notes = _notes(error)
        if not issubclass(kind, (SyntaxError, BaseExceptionGroup)):
            return CapturedException(name, message, link, frames, left_out, notes)
        syntax = _syntax(error) if issubclass(kind, SyntaxError) else ()
        every = _members_of(error) if issubclass(kind, BaseExceptionGroup) else ()
        members = self._members(every, level)
        return CapturedException(
            name, message, link, frames, left_out, notes, syntax, members, len(every) - len(members)
        )

    def _members(self, every: tuple[BaseException, ...], level: int) -> tuple[CapturedStack, ...]:
        near = every[:MEMBERS] if level < LEVELS else ()
        return tuple([self.chain(e, level + 1) for e in near if self._left > 0 and id(e) not in self._met])


def kind_name(kind: type) -> str:
    """A class as a traceback names it."""
    module, name = _module_of(kind), _qualified_name_of(kind)[:_NAME]
    if type(module) is not str:
        module = "<unknown>"
    return name if module in {"builtins", "__main__"} else f"{module}.{name}"


def _frames(traceback: TracebackType | None) -> tuple[tuple[Frame, ...], int]:
    every: list[Frame] = []
    while traceback is not None:
        code = traceback.tb_frame.f_code
        every.append((code.co_filename, traceback.tb_lineno, code.co_name))
        traceback = traceback.tb_next
    kept = every if len(every) <= 2 * FRAMES else every[:FRAMES] + every[-FRAMES:]
    return tuple(kept), len(every) - len(kept)


def _notes(error: BaseException) -> tuple[str, ...]:
    try:
        notes = dict.get(_dict_of(error), "__notes__")
    except Exception as fault:  # noqa: BLE001  # the __eq__ of a key may raise anything
        report("the notes of an exception could not be read; they are left out", fault)
        return ()
    if notes is None:
        return ()
    if type(notes) is not list:
        return (text_of(notes, MESSAGE, repr),)
    kept = tuple([text_of(note, MESSAGE) for note in notes[:NOTES]])
    return kept if len(notes) <= NOTES else (*kept, f"[{len(notes) - NOTES} more notes]")


def _syntax(error: BaseException) -> tuple[str, ...]:
    name, number, source, detail = (_optional_text(get(error)) for get in _SYNTAX_SLOTS)
    message = detail or "<no detail available>"
    lines = []
    if number is not None:
        lines.append(f'  File "{name or "<string>"}", line {number}')
    elif name is not None:
        message += f" ({name})"
    if source is not None:
        lines.append("    " + source.rstrip("\n").lstrip(" \n\f"))
    return (*lines, message)


def _optional_text(value: object) -> str | None:
    return None if value is None else text_of(value, _SOURCE)


def _chain_lines(stack: CapturedStack) -> Iterator[str]:
    for position in reversed(range(len(stack.chain))):
        exception = stack.chain[position]
        if stack.left_out and position == CHAIN - 1:
            yield f"\n[{stack.left_out} more exceptions of this chain]\n"
        if exception.link and position < len(stack.chain) - 1:
            yield f"\n{exception.link}\n\n"
        yield from _exception_lines(exception)


def _exception_lines(exception: CapturedException) -> Iterator[str]:
    if exception.frames:
        yield "Traceback (most recent call last):\n"
        yield from _traceback_lines(exception)
    *place, message = exception.syntax or (exception.message,)
    for line in place:
        yield f"{line}\n"
    yield f"{exception.kind}: {message}\n" if message else f"{exception.kind}\n"
    for note in exception.notes:
        yield f"{note}\n"
    yield from _member_lines(exception)


def _traceback_lines(exception: CapturedException) -> Iterator[str]:
    frames, left_out = exception.frames, exception.frames_left_out
    for file in {frame[0] for frame in frames}:
        with contextlib.suppress(Exception):  # a name that is no file's
            linecache.checkcache(file)
    if not left_out:
        yield from _frame_lines(frames)
        return
    yield from _frame_lines(frames[:FRAMES])
    yield f"  [{left_out} more frames]\n"
    yield from _frame_lines(frames[FRAMES:])


def _frame_lines(frames: tuple[Frame, ...]) -> Iterator[str]:
    for frame, repeated in groupby(frames):
        text, more = _frame_text(*frame), len(list(repeated)) - _REPEATS
        yield text * min(_REPEATS, more + _REPEATS)
        if more > 0:
            yield f"  [Previous line repeated {more} more time{'s' if more > 1 else ''}]\n"


def _frame_text(file: str, line: int | None, name: str) -> str:
    place = f'  File "{file}", line {line}, in {name}\n'
    source = "" if line is None else _source_line(file, line)
    return f"{place}    {source}\n" if source else place


def _source_line(file: str, line: int) -> str:
    with contextlib.suppress(Exception):  # a name that is no file's
        return mask_source(linecache.getline(file, line).strip()[:_SOURCE])
    return ""


def _member_lines(group: CapturedException) -> Iterator[str]:
    for number, member in enumerate(group.members, 1):
        yield f"  Member {number} of {len(group.members) + group.members_left_out}:\n"
        for line in "".join(_chain_lines(member)).split("\n")[:-1]:
            yield f"    {line}\n" if line else "\n"
    if group.members_left_out:
        yield f"  [{group.members_left_out} more members]\n"
