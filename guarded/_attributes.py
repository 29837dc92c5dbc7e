"""What the attributes of an exception have to be, for a rule to match."""

from __future__ import annotations

import errno
import inspect
import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

from guarded._errors import InvalidConfiguration
from guarded._faults import report

if TYPE_CHECKING:
    from collections.abc import Iterable

    from guarded._evidence import Evidence


class OneOf(NamedTuple):
    """Equal to one of some numbers, or to one of some other values."""

    numbers: frozenset[float]
    others: tuple[object, ...]

    @classmethod
    def of(cls, values: Iterable[object]) -> OneOf:
        """The expectation of one of these values."""
        numbers: set[float] = set()
        others: list[object] = []
        for value in values:
            if isinstance(value, int | float) and not isinstance(value, bool):
                numbers.add(value)
            else:
                others.append(value)
        return cls(frozenset(numbers), tuple(others))

    def accepts(self, value: Any) -> bool:
        """Whether the value is one of them: see `_equal`."""
        if self.numbers and not self.numbers.isdisjoint(_numbers(value)):
            return True
        return any(_equal(value, expected) for expected in self.others)

    def __str__(self) -> str:
        shown = [repr(value) for value in (*sorted(self.numbers), *self.others)]
        return f"is {shown[0]}" if len(shown) == 1 else f"is one of {', '.join(shown)}"


class Between(NamedTuple):
    """A number from `low` to `high`, both included."""

    low: float
    high: float

    def accepts(self, value: Any) -> bool:
        """Whether the value is a number, or the text of one, between the two."""
        number = _number(value)
        return number is not None and self.low <= number <= self.high

    def __str__(self) -> str:
        if self.high == float("inf"):
            return f"is {self.low} or more"
        return f"is {self.high} or less" if self.low == float("-inf") else f"is from {self.low} to {self.high}"


class InRange(NamedTuple):
    """A number that a `range` holds."""

    numbers: range

    def accepts(self, value: Any) -> bool:
        """Whether the value is a number, or the text of one, in the range."""
        number = _number(value)
        # A range looks an int up at once, and for all else at each of its members.
        return number is not None and math.isfinite(number) and number == int(number) and int(number) in self.numbers

    def __str__(self) -> str:
        return f"is in {self.numbers}"


class StartsWith(NamedTuple):
    """A text that begins in one of some ways."""

    beginnings: tuple[str, ...]

    def accepts(self, value: Any) -> bool:
        """Whether the value is such a text."""
        return isinstance(value, str) and value.startswith(self.beginnings)

    def __str__(self) -> str:
        return f"starts with {' or '.join(map(repr, self.beginnings))}"


class Satisfies(NamedTuple):
    """Whatever a function of the user's accepts."""

    predicate: Callable[[Any], object]

    def accepts(self, value: Any) -> bool:
        """Whether the function's answer is true; if it raises, that is reported and the answer is no."""
        try:
            return bool(self.predicate(value))
        except Exception as error:  # noqa: BLE001  # the function is the user's
            report(f"the predicate {self} of a rule raised; the rule does not match", error)
            return False

    def __str__(self) -> str:
        return f"satisfies {getattr(self.predicate, '__qualname__', type(self.predicate).__qualname__)}"


Expectation = OneOf | Between | InRange | StartsWith | Satisfies


def _equal(value: Any, expected: object) -> bool:
    """Whether a value is the expected one, which is no number.

    True, False and None equal only themselves. A text equals itself, the number that it is the text of, and the
    member of an enum that has it as its name or value.
    """
    if expected is None or isinstance(expected, bool):
        return value is expected
    if isinstance(expected, str) and not isinstance(value, str):
        return _is_named(value, expected)
    return bool(value == expected)


def _is_named(value: Any, text: str) -> bool:
    number = _number(value)
    if number is not None:
        return number == _number(text)
    faces = (getattr(value, "name", None), getattr(value, "value", None))
    return any(isinstance(face, str) and face == text for face in faces)


def _numbers(value: Any) -> tuple[float | None]:
    """The number that a value is, or the member of an enum has as its value."""
    number = _number(value)
    return (number if number is not None else _number(getattr(value, "value", None)),)


def _number(value: Any) -> float | None:
    """The number that a value is, or that its text is; None for all else, truth values among it."""
    if type(value) is int:
        return value
    if value is None or isinstance(value, bool):
        return None
    try:
        return operator.index(value)
    except TypeError:
        pass
    try:
        return float(value)
    except (TypeError, ValueError):
        return None


class Step(NamedTuple):
    """One step of an attribute path."""

    name: str
    is_call: bool


Path = tuple[Step, ...]

_STEP = re.compile(r"[^\s()]+(\(\))?")
_CONTAINERS = (Mapping, Sequence)
_MISSING = object()


class Paths:
    """Where in an exception something may be found; the same for the same text, so that one can be told by identity.

    Args:
        text: Attribute paths such as `"response.status_code"`, with `|` between them.
    """

    __slots__ = ("branches", "names", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        branches: dict[Step, list[Path]] = {}
        for path in text.split("|"):
            first, *rest = (Step(part.removesuffix("()"), part.endswith("()")) for part in path.strip().split("."))
            branches.setdefault(first, []).append(tuple(rest))
        self.branches = tuple((first, tuple(rests)) for first, rests in branches.items())
        self.names = frozenset(first.name for first in branches)  # of the exception's attributes

    def reached_from(self, error: BaseException) -> tuple[Any, ...]:
        """What they lead to; those that lead nowhere, or raise on the way, are left out."""
        found: list[Any] = []
        for first, rests in self.branches:
            try:
                if first.is_call and not _is_plain_method(getattr(type(error), first.name, None)):
                    continue
                holder: Any = getattr(error, first.name, _MISSING)
                if holder is not _MISSING and first.is_call:
                    holder = holder()
            except Exception:  # noqa: BLE001, S112  # attributes and calls may raise anything
                continue
            if holder is not _MISSING:
                found.extend([holder if not rest else _reached(holder, rest) for rest in rests])
        return tuple([value for value in found if value is not _MISSING])

    def __reduce__(self) -> tuple[Callable[[str], Paths], tuple[str]]:
        return paths, (self.text,)


def _is_plain_method(found: object) -> bool:
    """Whether an attribute may be called: to read a property might warn, and a coroutine would not be awaited."""
    return not isinstance(found, property) and not inspect.iscoroutinefunction(found)


def _reached(value: Any, path: Path) -> Any:
    try:
        for step in path:
            if value is None or value is _MISSING:
                return _MISSING
            value = _step(value, step)
    except Exception:  # noqa: BLE001  # attributes and calls may raise anything
        return _MISSING
    return value


def _step(holder: Any, step: Step) -> Any:
    """A mapping's item, a sequence's item by number, or an attribute; called where that is asked for."""
    value: Any = _item(holder, step.name) if isinstance(holder, _CONTAINERS) else _MISSING
    if value is _MISSING:
        value = getattr(holder, step.name, _MISSING)
    return value() if step.is_call and value is not _MISSING else value


def _item(holder: Mapping[Any, Any] | Sequence[Any], name: str) -> Any:
    if isinstance(holder, Mapping):
        keys = (name, int(name)) if name.isdecimal() else (name,)
        return next((holder[key] for key in keys if key in holder), _MISSING)
    return holder[int(name)] if name.isdecimal() else _MISSING


@cache
def paths(text: str) -> Paths:
    """The paths that a text stands for."""
    return Paths(text)


class AttributeTest(NamedTuple):
    """That something which an exception carries is as expected."""

    paths: Paths  # one of them that leads to what is expected is enough
    expectation: Expectation

    @property
    def asks_a_function(self) -> bool:
        """Whether a function of the user's is asked, which may have effects, and answer otherwise the next time."""
        return isinstance(self.expectation, Satisfies)

    def holds(self, evidence: Evidence) -> bool:
        """Whether a path leads to what is expected; whatever raises on the way means no."""
        return any(map(self._accepts, evidence.values(self.paths)))

    def _accepts(self, value: Any) -> bool:
        try:
            return self.expectation.accepts(value)
        except Exception:  # noqa: BLE001  # comparisons may raise anything
            return False

    def __str__(self) -> str:
        return f"{self.paths.text} {self.expectation}"


def checked_tests(when: object, where: str) -> tuple[AttributeTest, ...]:
    """The tests that a `when` of a rule stands for.

    Args:
        when: A mapping of dotted paths to expected values, or None.
        where: Where it came from, for the error's text.

    Raises:
        InvalidConfiguration: It is something else, or a path or an expected value in it cannot work.
    """
    if when is None:
        return ()
    if not isinstance(when, Mapping) or not when:
        raise InvalidConfiguration(
            f"{where}: when={when!r}: expected a mapping of attribute paths to values,"
            " such as {'response.status_code': [401, 403]}"
        )
    return tuple(
        AttributeTest(_checked_paths(given, where), _expectation(given, value, where)) for given, value in when.items()
    )


def _checked_paths(given: object, where: str) -> Paths:
    if isinstance(given, str):
        found = paths(given)
        if all(_STEP.fullmatch(part) for path in given.split("|") for part in path.strip().split(".")):
            return found
    raise InvalidConfiguration(
        f"{where}: when: {given!r} is no attribute path;"
        " expected one such as 'response.status_code', 'args.0' or 'code()', or several with | between them"
    )


def _expectation(path: str, value: Any, where: str) -> Expectation:
    if isinstance(value, range):
        return InRange(value)
    if isinstance(value, Mapping):
        return _starts_with(path, value, where) if "starts" in value else _between(path, value, where)
    if isinstance(value, list | tuple | set | frozenset):
        if not value:
            raise InvalidConfiguration(
                f"{where}: when: {path}: no value is given in {value!r}, so it would never match"
            )
        return OneOf.of(_named_errno(path, item, where) for item in value)
    if callable(value) and not isinstance(value, type):
        return Satisfies(checked_function(value, f"{where}: when: {path}"))
    return OneOf.of([_named_errno(path, value, where)])


def _between(path: str, limits: Mapping[str, Any], where: str) -> Between:
    are_some = limits and not set(limits) - {"min", "max"} and all(isinstance(n, int | float) for n in limits.values())
    if not are_some or limits.get("min", float("-inf")) > limits.get("max", float("inf")):
        raise InvalidConfiguration(
            f"{where}: when: {path}={dict(limits)!r}: expected a value, a list of values, {{min = 500, max = 599}}"
            " or {starts = ['08']}"
        )
    return Between(limits.get("min", float("-inf")), limits.get("max", float("inf")))


def _starts_with(path: str, given: Mapping[str, Any], where: str) -> StartsWith:
    beginnings = given["starts"] if isinstance(given["starts"], list | tuple) else [given["starts"]]
    if len(given) > 1 or not beginnings or not all(isinstance(text, str) and text for text in beginnings):
        raise InvalidConfiguration(
            f"{where}: when: {path}={dict(given)!r}: expected one or several texts, as in {{starts = ['08', '57P']}}"
        )
    return StartsWith(tuple(beginnings))


def _named_errno(path: str, value: object, where: str) -> object:
    """The number of an error that is named as in the module `errno`, since numbers differ between systems."""
    if not isinstance(value, str) or path.rpartition(".")[2] != "errno":
        return value
    number = getattr(errno, value, None)
    if not isinstance(number, int):
        raise InvalidConfiguration(
            f"{where}: when: {path}={value!r}: the module errno of this system has no such name;"
            " give one that it has, or a number"
        )
    return number


def checked_function(function: Any, where: str) -> Callable[[Any], Any]:
    """A function that can be called on the failure path.

    Raises:
        InvalidConfiguration: It cannot be called, or its answer would have to be awaited.
    """
    if not callable(function):
        raise InvalidConfiguration(f"{where}: {function!r} cannot be called; give a function of one argument")
    if inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(type(function).__call__):
        raise InvalidConfiguration(f"{where}: {function!r} is async; rules are asked where nothing can be awaited")
    return function  # type: ignore[no-any-return]  # it is callable
