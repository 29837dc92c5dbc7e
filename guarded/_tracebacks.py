"""Tracebacks: the text of one, read back as the exceptions that it tells of, so that rules can be asked about them."""

from __future__ import annotations

import builtins
import contextlib
import importlib
import importlib.util
import re
import sysconfig
import types
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from guarded._checks import near_miss
from guarded._errors import InvalidConfiguration
from guarded._libraries import pack_of
from guarded._origin import is_installed, is_standard

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

_CAUSE = "The above exception was the direct cause of the following exception:"
_CONTEXT = "During handling of the above exception, another exception occurred:"
_HEAD = re.compile(r"(?:  \+ Exception Group )?Traceback \(most recent call last\)")
_FRAME = re.compile(r'\s+File "(?P<file>.*)", line \d+(?:, in (?P<function>.*))?')
_RAISED = re.compile(r"(?P<name>[^\W\d]\w*(?:\.(?:[^\W\d]\w*|<locals>))*)(?:: (?P<text>.*))?")
_CAMEL_CASE = re.compile(r"[A-Z]\w*[a-z]\w*")
_OWN = re.compile(r"^ {2}[|+] ?(?!-)")  # the margin of a group's own lines
_NEXT_MEMBER = re.compile(r" {2}(?:\+-| {2})\+-+ (?:\d+|\.\.\.) -+")
_END = re.compile(r" {2}(?:\+-| {2})?\+-+")  # of a group
_WITH_EFFECTS = frozenset({"antigravity", "idlelib", "this"})  # when they are imported
_INSTALLED = re.compile(r".*/(?:site-packages|dist-packages)/(?P<rest>.*)")
_STANDARD = re.compile(r".*/(?:python3\.\d+|Lib)/(?P<rest>.*)|<frozen (?P<frozen>.*)>")

# What libraries write into the text of what they carry as an attribute: requests, httpx, aiohttp, urllib, websockets,
# python-binance and alpaca-py, whose codes begin with the status, in this order.
_CARRIED = (
    ("errno", re.compile(r"\[Errno (-?\d+)\]")),
    ("status_code", re.compile(r"(\d{3}) (?:Client|Server) Error\b")),
    ("status_code", re.compile(r"(?:Client|Server) error '(\d{3}) ")),
    ("status_code", re.compile(r"(\d{3}), message=")),
    ("status_code", re.compile(r"HTTP Error (\d{3})\b")),
    ("status_code", re.compile(r".*\bHTTP (\d{3})$")),
    ("code", re.compile(r"APIError\(code=(-?\d+)\)")),
    ("code", re.compile(r'\{"code": ?(-?\d+)\b')),
    ("status_code", re.compile(r'\{"code": ?(\d{3})\d{5}\b')),
)


def parsed(text: str) -> BaseException:
    """The exception that a traceback ends in, with what caused it, and the members of a group.

    Its class is imported if it is Python's, or of an installed library that packs know; for any other, one of the same
    name that derives from `Exception` stands in. What an exception carries beside its text is not in a traceback; some
    libraries write its status or code into the text.

    Args:
        text: What Python printed; lines before it, an indent, and the same beginning of all lines do no harm.

    Raises:
        InvalidConfiguration: There is no traceback in it.
    """
    text = text.replace("\0", "")
    if "\n" not in text.strip():  # as a JSON log has it
        text = text.replace("\\n", "\n").replace('\\"', '"')
    try:
        return _chain(_without_prefix(text.splitlines()))
    except RecursionError:
        raise InvalidConfiguration("no traceback that could be read: its groups are nested too deep") from None


def of_class(path: str) -> BaseException:
    """An exception of a class, without a text and without anything else that it might carry.

    Args:
        path: The class, as `"module:ClassName"`.

    Raises:
        InvalidConfiguration: The module cannot be imported, or has no such exception.
    """
    module, _, name = path.partition(":") if ":" in path else path.rpartition(".")
    told = f"{path!r}: expected module:ClassName of an exception"
    try:
        found: Any = importlib.import_module(module or "builtins")
    except Exception as error:
        raise InvalidConfiguration(
            f"{told}: importing {module!r} raised {type(error).__name__}: {error};"
            " what is not installed here can be explained from its traceback"
        ) from error
    for part in name.split("."):
        if not hasattr(found, part):
            raise InvalidConfiguration(f"{told}: {found!r} has no {part!r}{near_miss(part, vars(found))}")
        found = getattr(found, part)
    if not (isinstance(found, type) and issubclass(found, BaseException)):
        raise InvalidConfiguration(f"{told}, not {found!r}")
    return _instance(found, "", [])


def is_stand_in(error: BaseException) -> bool:
    """Whether an exception that was read back is of a class that was not imported, so that its bases are unknown."""
    return "_stands_in" in type(error).__mro__[1].__dict__


def _without_prefix(lines: Sequence[str]) -> Sequence[str]:
    """The lines without what stands before all of them: an indent, or what a log writes."""
    for line in lines:
        head = _HEAD.search(line)
        if head and head.start():
            prefix = line[: head.start()]
            return [other.removeprefix(prefix) for other in lines]
        if head:
            break
    return lines


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
            frames.append((frame["file"].replace("\\", "/"), frame["function"] or "<module>"))
        elif raised and not name and (frames or _could_be_one(raised)):
            name, text = raised["name"], [raised["text"] or ""]
        elif name:
            text.append(line)
    if not name:
        last = next((line.strip() for line in reversed(own) if line.strip()), "")
        raise InvalidConfiguration(
            "no traceback: expected a last line such as 'ccxt.base.errors.InvalidOrder: too small';"
            f" the last one is {last[:80]!r}"
        )
    error = _instance(_class(name), "\n".join(text).rstrip(), [_chain(member) for member in members])
    return error.with_traceback(_traceback(frames))


def _could_be_one(raised: re.Match[str]) -> bool:
    """Whether a line without a traceback before it could be an exception's."""
    name, has_text = raised["name"], raised["text"] is not None
    return "." in name or hasattr(builtins, name) or (has_text and _CAMEL_CASE.fullmatch(name) is not None)


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
    module = module.partition(".<locals>")[0] or ("builtins" if hasattr(builtins, leaf) else "__main__")
    with contextlib.suppress(Exception, SystemExit):  # whatever an import raises, the class is not to be had
        found = getattr(importlib.import_module(module), leaf) if _may_be_imported(module) else None
        if isinstance(found, type) and issubclass(found, BaseException):
            return found
    return type(leaf, (Exception,), {"__module__": module, "__qualname__": leaf, "_stands_in": True})


def _may_be_imported(module: str) -> bool:
    """Whether a module is of an installed library that packs know, or Python's and not the user's of the same name.

    To import one of the user's might start a bot.
    """
    package = module.partition(".")[0]
    spec = importlib.util.find_spec(package)
    origin = "" if spec is None else spec.origin or ""
    if is_standard(module):
        is_pythons = origin in ("built-in", "frozen") or origin.startswith(sysconfig.get_path("stdlib"))
        return is_pythons and package not in _WITH_EFFECTS and not is_installed(origin)
    return pack_of(module) is not None and is_installed(origin) and "__main__" not in module


def _instance(kind: type[BaseException], text: str, members: Sequence[BaseException]) -> BaseException:
    """An exception of a class with a text, whatever its constructor asks for.

    Where the class makes none without its arguments, it is one of the same name and of the nearest base that does.
    """
    namespace = {"__module__": kind.__module__, "__qualname__": kind.__qualname__, "__str__": lambda _: text}
    made = (text or "group", members or [Exception()]) if issubclass(kind, BaseExceptionGroup) else ()
    instances = (_made(type(kind.__name__, (base,), dict(namespace)), made) for base in kind.__mro__)
    error = next(instance for instance in instances if instance is not None)  # at the latest BaseException makes one
    error.args = (text,) if text else ()
    return _with_what_the_text_tells(error, text)


def _made(kind: Any, arguments: tuple[object, ...]) -> BaseException | None:
    try:
        return kind.__new__(kind, *arguments)  # type: ignore[no-any-return]  # it is of a class of exceptions
    except Exception:  # noqa: BLE001  # a class may ask for anything
        return None


def _with_what_the_text_tells(error: BaseException, text: str) -> BaseException:
    for name, pattern in _CARRIED:
        told = pattern.match(text)
        if told is not None:
            with contextlib.suppress(Exception):  # a class may forbid to set it
                setattr(error, name, int(told[1]))
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
    installed = _INSTALLED.fullmatch(file)
    compiled = file.endswith(".pyx") and not file.startswith("/")
    rest = installed["rest"] if installed else file
    return f"{sysconfig.get_path('purelib')}/{rest}" if installed or compiled else file


def _module_of(file: str) -> str:
    """The module that a file probably is: by its path within the packages, else by the end of its path."""
    installed, standard = _INSTALLED.fullmatch(file), _STANDARD.fullmatch(file)
    if installed:
        return _dotted(_parts(installed["rest"]))
    if standard:
        return standard["frozen"] or _dotted(_parts(standard["rest"] or ""))
    parts = _parts(file)
    if file.endswith(".pyx"):  # compiled code tells its path within its package
        return _dotted(parts)
    module = _dotted(parts[-3:] if parts[-1] == "__init__" else parts[-2:])
    return parts[-1] if is_standard(module) or pack_of(module) else module


def _parts(file: str) -> tuple[str, ...]:
    path = PurePosixPath(file)
    return (*path.parent.parts, path.stem)


def _dotted(parts: Iterable[str]) -> str:
    return ".".join(part for part in parts if part not in {"__init__", "/", ""}) or "__init__"
