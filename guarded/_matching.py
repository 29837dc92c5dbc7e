"""Rules: which exceptions each is for, under which conditions, and what it makes of them."""

from __future__ import annotations

import re
from enum import StrEnum
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

from guarded._attributes import checked_tests
from guarded._classnames import checked_targets, module_of, mro
from guarded._errors import InvalidConfiguration
from guarded._origin import OWN_CODE, SETTINGS_CODE, is_from, is_standard
from guarded._secrets import type_name

if TYPE_CHECKING:
    from collections.abc import Iterator

    from guarded._attributes import AttributeTest
    from guarded._classnames import Target
    from guarded._evidence import Evidence
    from guarded._failure import FailureType
    from guarded._origin import Origin


_LONGEST_SHOWN = 80
_ESCAPED_CHARACTER = re.compile(r"\\[xun0-9]")  # which may be a capital letter

# Between the words of a name such as `HTTPStatusError` or `error_perm`.
_WORD = re.compile(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])|_")


class Action(StrEnum):
    """What a guard does with an exception."""

    COUNT = "count"
    IGNORE = "ignore"
    PROPAGATE = "propagate"


class Conditions(NamedTuple):
    """What a rule looks at beside the class; all of it has to hold.

    Args:
        message: What the text has to contain, as a regular expression.
        tests: What attributes have to be.
        raised_in: The modules and packages of which it has to come from one.
        called: What the name of a function on the traceback has to contain, as a regular expression.
        named: What the words of the class's name have to contain, or those of one of its bases outside of the standard
            library, as a regular expression.
    """

    message: str | None = None
    tests: tuple[AttributeTest, ...] = ()
    raised_in: tuple[str, ...] = ()
    called: str | None = None
    named: str | None = None

    @property
    def number(self) -> int:
        """How many they are: of two rules for one class, the one with more conditions is asked first."""
        texts = (self.message, self.called, self.named)
        return sum(text is not None for text in texts) + len(self.tests) + bool(self.raised_in)

    @property
    def are_met(self) -> bool:
        """Whether nothing is left to ask."""
        return self == _NOTHING

    def place_of_name(self, kind: type) -> int | None:
        """How far away the nearest class is, along the method resolution order, whose name is as asked."""
        if self.named is None:
            return 0
        named = enumerate(_names(kind))
        return next((place for place, words in named if words and compiled(self.named).search(words)), None)

    def after_origin(self, origin: Origin) -> Conditions | None:
        """What is left to ask of an exception that was raised there; None where that is not where it has to be."""
        if not self.raised_in:
            return self
        return self._replace(raised_in=()) if is_from(origin, self.raised_in) else None

    def after_text(self, text: str | None) -> Conditions | None:
        """What is left to ask of an exception with this text; None where that is not as it has to be."""
        if self.message is None:
            return self
        found = text is not None and compiled(self.message).search(text) is not None
        return self._replace(message=None) if found else None

    def after_attributes(self, evidence: Evidence) -> Conditions | None:
        """What is left to ask of an exception with its attributes; None where they are not as they have to be."""
        if not self.tests:
            return self
        left = tuple(test for test in self.tests if test.asks_a_function)
        holds = all(test.holds(evidence) for test in self.tests if not test.asks_a_function)
        return self._replace(tests=left) if holds else None

    def hold(self, evidence: Evidence) -> bool:
        """Whether what is left then holds: what functions of the user's say, and what was called on the way."""
        return all(test.holds(evidence) for test in self.tests) and (
            self.called is None or any(map(compiled(self.called).search, evidence.calls()))
        )

    def __str__(self) -> str:
        parts = [f" whose name matches {_shown(self.named)}"] if self.named else []
        parts += [f" whose text matches {_shown(self.message)}"] if self.message else []
        parts += [f" whose {test}" for test in self.tests]
        parts += [f" raised in {' or '.join(self.raised_in)}"] if self.raised_in else []
        parts += [f" raised below a call that matches {_shown(self.called)}"] if self.called else []
        return " and".join(parts)


_NOTHING = Conditions()


def _shown(pattern: str) -> str:
    return f"'{pattern if len(pattern) <= _LONGEST_SHOWN else f'{pattern[: _LONGEST_SHOWN - 3]}...'}'"


def _names(kind: type) -> Iterator[str]:
    """The words of the name of a class and of its bases, in lower case; none of classes of the standard library."""
    for base in mro(kind):
        own = not is_standard(module_of(base))
        yield _WORD.sub(" ", base.__name__).lower() if own else ""


@cache
def compiled(pattern: str) -> re.Pattern[str]:
    """A pattern for texts that are in lower case, ready when it is first needed: compiling takes its time.

    Without IGNORECASE the search is several times faster, and where the pattern is in lower case it finds the same.
    """
    in_lower_case = pattern == pattern.lower() and not _ESCAPED_CHARACTER.search(pattern)
    return re.compile(pattern, re.NOFLAG if in_lower_case else re.IGNORECASE)


class Rule(NamedTuple):
    """One rule.

    Args:
        targets: The classes and dotted names that it is for; classes derived from them are meant too.
        conditions: What else has to hold.
        action: What a guard does with such an exception.
        failure_type: The type it is counted under; None where the rule names none.
        wrapper: Whether what the exception wraps decides first, and `failure_type` only where that says nothing.
        why: The reason, as a clause.
        pack: The pack that it came from; None for rules declared in Python.
        otherwise: Whether it is asked last, and `failure_type` is for what nothing more specific is known of.
        name: What it is called; None for one that is called by what it looks at.
    """

    targets: tuple[Target, ...]
    conditions: Conditions
    action: Action
    failure_type: FailureType | None
    wrapper: bool
    why: str
    pack: str | None
    otherwise: bool = False
    name: str | None = None


def described(rule: Rule) -> str:
    """A rule as the audit has it: `ignore mybot.FeedPaused`."""
    targets = ", ".join(target if isinstance(target, str) else type_name(target) for target in rule.targets)
    return rule.name or f"{rule.action} {targets}{rule.conditions}"


def checked_conditions(message: object, when: object, raised_in: object, where: str) -> Conditions:
    """The conditions of a rule that is declared in Python.

    Raises:
        InvalidConfiguration: One of them cannot work.
    """
    conditions = Conditions(
        checked_text("message", message, where), checked_tests(when, where), checked_modules(raised_in, where)
    )
    check_patterns(conditions, where)
    return conditions


def checked_rule(
    exception: object, action: Action, conditions: Conditions, where: str, failure_type: FailureType | None = None
) -> Rule:
    """A rule declared in Python.

    Raises:
        InvalidConfiguration: `exception` holds something that is no exception class and no dotted name.
    """
    targets = checked_targets(exception, where)
    return Rule(targets, conditions, action, failure_type, wrapper=False, why=f"declared by {where}", pack=None)


def checked_text(key: str, pattern: object, where: str) -> str | None:
    """What may be a regular expression, or None; to compile it takes time, so `check_patterns` is for itself.

    Raises:
        InvalidConfiguration: It is no text.
    """
    if pattern is None or isinstance(pattern, str):
        return pattern
    raise InvalidConfiguration(f"{where}: {key}={pattern!r} is no regular expression; expected a text")


def check_patterns(conditions: Conditions, where: str) -> None:
    """Make sure that regular expressions are some.

    Raises:
        InvalidConfiguration: One of them is none.
    """
    for key in ("message", "called", "named"):
        pattern = getattr(conditions, key)
        try:
            compiled(pattern or "")
        except (re.error, OverflowError) as error:
            raise InvalidConfiguration(f"{where}: {key}={pattern!r} is no regular expression: {error}") from error


def checked_modules(raised_in: object, where: str) -> tuple[str, ...]:
    """The modules of a rule, or none.

    Raises:
        InvalidConfiguration: They are something else.
    """
    if raised_in is None:
        return ()
    modules = tuple(raised_in) if isinstance(raised_in, tuple | list) else (raised_in,)
    if modules and all(isinstance(name, str) and _is_place(name) for name in modules):
        return modules
    raise InvalidConfiguration(
        f"{where}: raised_in={raised_in!r}: expected the name of a module or package, such as 'pandas',"
        f" {OWN_CODE!r} or {SETTINGS_CODE!r}, or several of them"
    )


def _is_place(name: str) -> bool:
    return name in (OWN_CODE, SETTINGS_CODE) or all(part and not re.search(r"\s", part) for part in name.split("."))
