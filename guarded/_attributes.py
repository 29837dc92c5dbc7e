"""What the attributes of an exception have to be, for a rule to match."""

from __future__ import annotations

import errno
import inspect
import operator
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from guarded._errors import InvalidConfiguration
from guarded._faults import report

if TYPE_CHECKING:
    from collections.abc import Iterable


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
        return f"is from {self.low} to {self.high}"


class InRange(NamedTuple):
    """A number that a `range` holds."""

    numbers: range

    def accepts(self, value: Any) -> bool:
        """Whether the value is a number, or the text of one, in the range."""
        return _number(value) in self.numbers

    def __str__(self) -> str:
        return f"is in {self.numbers}"


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


Expectation = OneOf | Between | InRange | Satisfies


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


class AttributeTest(NamedTuple):
    """That something which an exception carries is as expected."""

    path: tuple[str, ...]
    expectation: Expectation

    def holds(self, error: BaseException) -> bool:
        """Whether the path leads somewhere and what is there is as expected; whatever raises on the way means no."""
        try:
            return self.expectation.accepts(_reach(error, self.path))
        except Exception:  # noqa: BLE001  # attributes and comparisons may raise anything
            return False

    def __str__(self) -> str:
        return f"{'.'.join(self.path)} {self.expectation}"


def _reach(value: Any, path: tuple[str, ...]) -> Any:
    for part in path:
        value = _member(value, part[:-2])() if part.endswith("()") else _member(value, part)
    return value


def _member(holder: Any, name: str) -> Any:
    """A mapping's item, a sequence's item by number, or an attribute."""
    if isinstance(holder, Mapping):
        for key in (name, int(name)) if name.isdecimal() else (name,):
            if key in holder:
                return holder[key]
    elif name.isdecimal() and isinstance(holder, Sequence):
        return holder[int(name)]
    return getattr(holder, name)


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
        AttributeTest(_checked_path(path, where), _expectation(path, value, where)) for path, value in when.items()
    )


def _checked_path(path: object, where: str) -> tuple[str, ...]:
    if isinstance(path, str) and all(part.removesuffix("()").strip() for part in path.split(".")):
        return tuple(path.split("."))
    raise InvalidConfiguration(
        f"{where}: when: {path!r} is no attribute path;"
        " expected one such as 'response.status_code', 'args.0' or 'code()'"
    )


def _expectation(path: str, value: Any, where: str) -> Expectation:
    if isinstance(value, range):
        return InRange(value)
    if isinstance(value, Mapping):
        return _between(path, value, where)
    if isinstance(value, list | tuple | set | frozenset):
        return OneOf.of(_named_errno(path, item, where) for item in value)
    if callable(value) and not isinstance(value, type):
        return Satisfies(checked_function(value, f"{where}: when: {path}"))
    return OneOf.of([_named_errno(path, value, where)])


def _between(path: str, limits: Mapping[str, Any], where: str) -> Between:
    unusable = not limits or set(limits) - {"min", "max"}
    if unusable or not all(isinstance(limit, int | float) for limit in limits.values()):
        raise InvalidConfiguration(
            f"{where}: when: {path}={dict(limits)!r}: expected a value, a list of values, or {{min = 500, max = 599}}"
        )
    return Between(limits.get("min", float("-inf")), limits.get("max", float("inf")))


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
