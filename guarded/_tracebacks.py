"""Tracebacks: the text of one, read back as the exceptions that it tells of, so that rules can be asked about them."""

from __future__ import annotations

import builtins
import contextlib
import importlib
import importlib.util
import re
import sys
import sysconfig
import types
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from guarded._errors import InvalidConfiguration
from guarded._origin import is_installed, is_standard

if TYPE_CHECKING:
    from collections.abc import Sequence

_CAUSE = "The above exception was the direct cause of the following exception:"
_CONTEXT = "During handling of the above exception, another exception occurred:"
_FRAME = re.compile(r'\s+File "(?P<file>.*)", line \d+(?:, in (?P<function>.*))?')
_RAISED = re.compile(r"(?P<name>[^\W\d]\w*(?:\.(?:[^\W\d]\w*|<locals>))*)(?:: (?P<text>.*))?")
_OWN = re.compile(r"^ {2}[|+] ?(?!-)")  # the margin of a group's own lines
_END = re.compile(r" {2}(?:\+-| {2})?\+-+")  # of a group
_NEXT_MEMBER = re.compile(r" {2}(?:\+-| {2})\+-+ (?:\d+|\.\.\.) -+")
_ERRNO = re.compile(r"\[Errno (-?\d+)\]")


def parsed(text: str) -> BaseException:
    """The exception that a traceback ends in, with what caused it, and the members of a group.

    Its class is imported if it is Python's or an installed package's; for any other, one of the same name that derives
    from `Exception` stands in. What an exception carries beside its text is not in a traceback.

    Args:
        text: What Python printed; lines before it do no harm.

    Raises:
        InvalidConfiguration: There is no traceback in it.
    """
    return _chain(text.splitlines())


def of_class(path: str) -> BaseException:
    """An exception of a class, without a text and without anything else that it might carry.

    Args:
        path: The class, as `"module:ClassName"`.

    Raises:
        InvalidConfiguration: The module cannot be imported, or has no such exception.
    """
    module, _, name = path.partition(":")
    try:
        found: Any = importlib.import_module(module)
        for part in name.split("."):
            found = getattr(found, part)
    except (ImportError, AttributeError, ValueError) as error:
        raise InvalidConfiguration(f"{path!r}: expected module:ClassName of an exception: {error}") from error
    if not (isinstance(found, type) and issubclass(found, BaseException)):
        raise InvalidConfiguration(f"{path!r}: expected module:ClassName of an exception, not {found!r}")
    return _instance(found, "", [])


def _chain(lines: Sequence[str]) -> BaseException:
    """The exceptions of a chain: the last of them, with those before it as its cause or context."""
    error: BaseException | None = None
    for separator, link in _links(lines):
        earlier, error = error, _exception(link)
        if separator == _CAUSE:
            error.__cause__ = earlier
        else:
            error.__context__ = earlier
    if error is None:
        raise InvalidConfiguration("no traceback: expected what Python prints for an exception that is not caught")
    return error


def _links(lines: Sequence[str]) -> list[tuple[str, list[str]]]:
    """The lines of each exception of a chain, the first raised first, each behind the line that leads over to it."""
    links: list[tuple[str, list[str]]] = [("", [])]
    for line in lines:
        own = _OWN.sub("", line, count=1)
        if own.strip() in (_CAUSE, _CONTEXT):
            links.append((own.strip(), []))
        else:
            links[-1][1].append(line)
    return [(separator, link) for separator, link in links if any(map(str.strip, link))]


def _exception(lines: Sequence[str]) -> BaseException:
    """One exception: its frames, its last lines, and the members of a group."""
    own, members = _without_members(lines)
    frames: list[tuple[str, str]] = []
    name, text = "", [""]
    for line in own:
        frame, raised = _FRAME.fullmatch(line), _RAISED.fullmatch(line)
        if "Traceback (most recent call last)" in line:
            frames, name = [], ""
        elif frame and not name:
            frames.append((frame["file"], frame["function"] or "<module>"))
        elif raised and not name and (frames or not line.startswith(" ")):
            name, text = raised["name"], [raised["text"] or ""]
        elif name:
            text.append(line)
    if not name or not (frames or "." in name or hasattr(builtins, name)):
        raise InvalidConfiguration(
            "no traceback: expected a last line such as 'ccxt.base.errors.InvalidOrder: too small'"
        )
    error = _instance(_class(name), "\n".join(text).rstrip(), [_chain(member) for member in members])
    return error.with_traceback(_traceback(frames))


def _without_members(lines: Sequence[str]) -> tuple[list[str], list[list[str]]]:
    """The lines of an exception itself, without margin, and those of each member of a group, a margin less."""
    own: list[str] = []
    members: list[list[str]] = []
    for line in lines:
        if _NEXT_MEMBER.fullmatch(line):
            members.append([])
        elif _END.fullmatch(line):
            continue
        elif members and line.startswith("    "):
            members[-1].append(line[2:])
        else:
            own.append(_OWN.sub("", line, count=1))
    return own, members


def _class(name: str) -> type[BaseException]:
    """The class of a dotted name, or one that stands in for it."""
    module, _, leaf = name.rpartition(".")
    module = module.partition(".<locals>")[0] or "builtins"
    with contextlib.suppress(Exception):  # whatever an import raises, the class is not to be had
        found = getattr(importlib.import_module(module), leaf) if _may_be_imported(module) else None
        if isinstance(found, type) and issubclass(found, BaseException):
            return found
    return type(leaf, (Exception,), {"__module__": module, "__qualname__": leaf})


def _may_be_imported(module: str) -> bool:
    """Whether a module is Python's or of an installed package; to import one of the user's might start a bot."""
    spec = importlib.util.find_spec(module.partition(".")[0])
    return is_standard(module) or (spec is not None and is_installed(spec.origin or ""))


def _instance(kind: type[BaseException], text: str, members: Sequence[BaseException]) -> BaseException:
    """An exception of a class with a text, whatever its constructor asks for."""
    namespace = {"__module__": kind.__module__, "__qualname__": kind.__qualname__, "__str__": lambda _: text}
    told: Any = type(kind.__name__, (kind,), namespace)
    made = (text or "group", members or [Exception()]) if issubclass(kind, BaseExceptionGroup) else ()
    error: BaseException = told.__new__(told, *made)
    error.args = (text,) if text else ()
    number = _ERRNO.match(text)
    if isinstance(error, OSError) and number is not None:
        error.errno = int(number[1])
    return error


def _traceback(frames: Sequence[tuple[str, str]]) -> types.TracebackType | None:
    """A traceback through frames of the same modules and functions."""
    traceback: types.TracebackType | None = None
    for file, function in reversed(frames):
        code = compile("import sys; frame = sys._getframe()", _here(file), "exec").replace(co_name=function)
        scope: dict[str, Any] = {"__name__": _module_of(file)}
        exec(code, scope)  # noqa: S102  # our own line above
        traceback = types.TracebackType(traceback, scope["frame"], 0, 1)
    return traceback


def _here(file: str) -> str:
    """The file where this machine would have it, if it is an installed one."""
    _, folder, rest = _split(file)
    return f"{sysconfig.get_path('purelib')}/{rest}" if folder in _INSTALLED else file


def _module_of(file: str) -> str:
    """The module that a file probably is: by its path within the packages, else by its name."""
    _, folder, rest = _split(file)
    path = PurePath(rest if folder else PurePath(file).name).with_suffix("")
    parts = path.parts[:-1] if path.name == "__init__" and len(path.parts) > 1 else path.parts
    name = ".".join(parts)
    return name if folder in _INSTALLED or name.partition(".")[0] in sys.stdlib_module_names else parts[-1]


_INSTALLED = ("site-packages", "dist-packages")
_SPLIT = re.compile(r"(.*[\\/])(site-packages|dist-packages|python3\.\d+|Lib)[\\/](.*)")


def _split(file: str) -> tuple[str, str, str]:
    """A file's path before the folder of the packages, that folder, and the path within it."""
    found = _SPLIT.fullmatch(file.replace("<frozen ", "").removesuffix(">"))
    return (found[1], found[2], found[3].replace("\\", "/")) if found else ("", "", file)
