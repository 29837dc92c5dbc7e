"""Rebuild recorded exceptions without the libraries that raised them.

    for case in load("open.jsonl"):
        with case.installed():                      # its classes are importable under their real dotted names
            error = case.exception()                # an instance with the real MRO, text, attributes, chain, frames
            assert rules.classify(error) in case.accepted

A record holds, for each exception: the MRO (defining path and public alias of each class), str(), args, plain
attributes (also of `.response` and `.orig`), the explicit cause or implicit context, the members of a group, and the
(module, function) of each traceback frame. Frames of the module `strategy` stand for the strategy author's own code,
those of `harness` for the test bench.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import sys
import types
import urllib.error
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@dataclass(frozen=True)
class Case:
    id: str
    package: str
    expected: str  # a FailureType name, or "PROPAGATE"
    accepted: frozenset[str]
    needs: str  # what a rule must look at: class, attr, message, cause, group, origin, semantic
    note: str
    record: dict[str, Any]

    @contextlib.contextmanager
    def installed(self) -> Iterator[None]:
        """Put the record's classes into `sys.modules` under their dotted names; restore it afterwards."""
        before = dict(sys.modules)
        try:
            for name in [m for m in sys.modules if m.partition(".")[0] in _packages(self.record)]:
                del sys.modules[name]
            yield
        finally:
            for name in set(sys.modules) - set(before):
                del sys.modules[name]
            sys.modules.update(before)

    def exception(self) -> BaseException:
        """Build and really raise the exception, so that it has a traceback; call it inside `installed()`."""
        return _build(self.record)


def load(path: str | Path) -> list[Case]:
    lines = Path(path).read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    return [
        Case(
            id=row["id"],
            package=row["package"],
            expected=row["expected"],
            accepted=frozenset([row["expected"], *row["accept"]]),
            needs=row["needs"],
            note=row["note"],
            record=row["exception"],
        )
        for row in rows
    ]


_STDLIB = set(sys.stdlib_module_names)


def _packages(record: dict[str, Any]) -> set[str]:
    """Top-level packages of the classes in a record, the standard library's left out."""
    found = {path.partition(".")[0] for entry in record.get("mro", []) for path in entry}
    for key in ("cause", "context"):
        if key in record:
            found |= _packages(record[key])
    for member in record.get("exceptions", []):
        found |= _packages(member)
    return found - _STDLIB


def _module(name: str) -> types.ModuleType:
    if name not in sys.modules:
        sys.modules[name] = types.ModuleType(name)
        parent, _, leaf = name.rpartition(".")
        if parent:
            setattr(_module(parent), leaf, sys.modules[name])
    return sys.modules[name]


def _class(entries: list[list[str]]) -> Any:
    """The class described by an MRO of [defining path, public alias] pairs; bases first."""
    path, alias = entries[0]
    module, _, name = path.rpartition(".")
    if module.partition(".")[0] in _STDLIB:
        found = _standard(path)
        if found is not None:
            return found
    holder = _module(module.replace(".<locals>", ""))
    existing = vars(holder).get(name)
    if isinstance(existing, type):
        return existing
    bases: list[type] = []
    for i in range(1, len(entries)):
        base = _class(entries[i:])
        if not any(issubclass(b, base) for b in bases):
            bases.append(base)
    namespace = {"__module__": module, "__qualname__": name, "__init__": _init, "__str__": _text}
    try:
        cls = type(name, tuple(bases) or (Exception,), namespace)
    except TypeError:  # the layout or order of several bases cannot be had: keep the first that is an exception
        first = next((b for b in bases if issubclass(b, BaseException)), Exception)
        cls = type(name, (first,), namespace)
    setattr(holder, name, cls)
    public, _, leaf = alias.rpartition(".")
    if alias != path and public.partition(".")[0] not in _STDLIB:
        setattr(_module(public), leaf, cls)
    return cls


def _standard(path: str) -> type | None:
    """A class of the standard library, which may be defined within another."""
    parts = path.split(".")
    for cut in range(len(parts) - 1, 0, -1):
        with contextlib.suppress(ImportError, AttributeError):
            found: Any = importlib.import_module(".".join(parts[:cut]))
            for part in parts[cut:]:
                found = getattr(found, part)
            return found if isinstance(found, type) else None
    return None


def _init(self: BaseException, *args: object) -> None:
    self.args = args


def _text(self: BaseException) -> str:
    text = self.__dict__.get("_recorded_text", "")
    if text is None:
        raise RuntimeError("this exception cannot be printed")
    return str(text)


class _Plain:
    """Stands in for an attribute that was an object: a response, a driver's original error."""


def _value(recorded: object) -> object:
    if isinstance(recorded, dict) and set(recorded) == {"object"}:
        holder = _Plain()
        for name, item in recorded["object"].items():
            setattr(holder, name, item)
        return holder
    if isinstance(recorded, dict) and set(recorded) == {"enum"}:
        holder = _Plain()
        holder.name = recorded["enum"]  # type: ignore[attr-defined]
        return holder
    if isinstance(recorded, dict) and set(recorded) == {"repr"}:
        return _Plain()
    return recorded


def _returning(value: object) -> Callable[..., object]:
    return lambda *_: value


def _instance(record: dict[str, Any]) -> BaseException:
    if record.get("cycle"):
        return Exception("(cycle)")
    cls = _class(record["mro"])
    args = [_value(a) for a in record["args"]]
    if issubclass(cls, BaseExceptionGroup):
        members = [_instance(m) for m in record["exceptions"]]
        error: BaseException = cls(str(args[0]) if args else "group", members)
    else:
        error = _construct(cls, args, record)
    with contextlib.suppress(Exception):
        error.__dict__["_recorded_text"] = record["str"]
    for name, recorded in record["attrs"].items():
        value = _value(recorded)
        if name.endswith("()"):
            value = _returning(value)
        with contextlib.suppress(Exception):
            if getattr(error, name.removesuffix("()"), _Plain) != value:
                setattr(error, name.removesuffix("()"), value)
    if "cause" in record:
        error.__cause__ = _build(record["cause"])
    elif "context" in record:
        error.__context__ = _build(record["context"])
    return error


def _construct(cls: type[BaseException], args: list[object], record: dict[str, Any]) -> BaseException:
    """An instance whose str() is the recorded one where the class allows it."""
    text = record["str"]
    if cls is urllib.error.HTTPError:
        status = record["attrs"]["code"]
        return cls("http://127.0.0.1/", status, text.partition(": ")[2], Message(), None)
    for attempt in (args, [text], []):
        try:
            error = cls(*attempt)
        except Exception:  # noqa: BLE001, S112  # a constructor wants other arguments: the next attempt may suit it
            continue
        try:
            same = str(error) == text
        except Exception:  # noqa: BLE001  # recorded with a __str__ that raises
            same = text is None
        if same or cls.__str__ is _text or attempt == []:
            return error
    error = cls.__new__(cls)
    error.args = tuple(args)
    return error


def _build(record: dict[str, Any]) -> BaseException:
    error = _instance(record)
    cause, context, hidden = error.__cause__, error.__context__, error.__suppress_context__
    frames = [f for f in record.get("frames", []) if f[0] != "harness"] or [["strategy", "generate_signals"]]
    raised = _raise_through(frames, error)
    raised.__cause__, raised.__context__, raised.__suppress_context__ = cause, context, hidden
    return raised


def _raise_through(frames: list[list[str]], error: BaseException) -> BaseException:
    """Raise `error` in a nest of functions whose modules and names are those of the recorded frames."""

    def thrower() -> None:
        raise error

    call: Any = thrower
    for module, function in reversed(frames):
        name = function if function.isidentifier() else "frame"
        scope: dict[str, Any] = {"__name__": module, "_next": call}
        source = f"def {name}():\n    " + ("raise _next.error" if call is thrower else "_next()")
        thrower.error = error  # type: ignore[attr-defined]
        exec(compile(source, f"/site-packages/{module.replace('.', '/')}.py", "exec"), scope)  # noqa: S102
        call = scope[name]
    try:
        call()
    except BaseException as caught:  # noqa: BLE001
        caught.__traceback__ = caught.__traceback__ and caught.__traceback__.tb_next
        return caught
    raise AssertionError("unreachable")
