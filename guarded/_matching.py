"""Rules: which exceptions each is for, under which conditions, and what it makes of them."""

from __future__ import annotations

import re
from enum import StrEnum
from typing import TYPE_CHECKING, Any, NamedTuple

from guarded._attributes import checked_tests
from guarded._classnames import checked_targets
from guarded._errors import InvalidConfiguration

if TYPE_CHECKING:
    from guarded._attributes import AttributeTest
    from guarded._classnames import Target
    from guarded._evidence import Evidence
    from guarded._failure import FailureType


class Action(StrEnum):
    """What a guard does with an exception."""

    COUNT = "count"
    IGNORE = "ignore"
    PROPAGATE = "propagate"


class Conditions(NamedTuple):
    """What a rule looks at beside the class; all of it has to hold.

    Args:
        message: What the text has to contain.
        tests: What attributes have to be.
        raised_in: The modules and packages, each with a dot after it, of which it has to come from one.
    """

    message: re.Pattern[str] | None = None
    tests: tuple[AttributeTest, ...] = ()
    raised_in: tuple[str, ...] = ()

    @property
    def number(self) -> int:
        """How many they are: of two rules for one class, the one with more conditions is asked first."""
        return (self.message is not None) + len(self.tests) + bool(self.raised_in)

    def hold(self, evidence: Evidence) -> bool:
        """Whether all of them hold."""
        return (
            (self.message is None or self._in_text(self.message, evidence.text()))
            and (not self.tests or all(test.holds(evidence.error) for test in self.tests))
            and (not self.raised_in or evidence.is_from(self.raised_in))
        )

    @staticmethod
    def _in_text(message: re.Pattern[str], text: str | None) -> bool:
        return text is not None and message.search(text) is not None

    def __str__(self) -> str:
        parts = [f" whose text matches {self.message.pattern!r}"] if self.message else []
        parts += [f" whose {test}" for test in self.tests]
        modules = [prefix.removesuffix(".") for prefix in self.raised_in]
        parts += [f" raised in {' or '.join(modules)}"] if modules else []
        return " and".join(parts)


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
    """

    targets: tuple[Target, ...]
    conditions: Conditions
    action: Action
    failure_type: FailureType | None
    wrapper: bool
    why: str
    pack: str | None


def checked_conditions(message: object, when: object, raised_in: object, where: str) -> Conditions:
    """The conditions of a rule.

    Raises:
        InvalidConfiguration: One of them cannot work.
    """
    return Conditions(_pattern(message, where), checked_tests(when, where), _modules(raised_in, where))


def checked_rule(
    exception: object, action: Action, conditions: Conditions, where: str, failure_type: FailureType | None = None
) -> Rule:
    """A rule declared in Python.

    Raises:
        InvalidConfiguration: `exception` holds something that is no exception class and no dotted name.
    """
    targets = checked_targets(exception, where)
    return Rule(targets, conditions, action, failure_type, wrapper=False, why=f"declared by {where}", pack=None)


def _pattern(message: Any, where: str) -> re.Pattern[str] | None:
    if message is None:
        return None
    if not isinstance(message, str):
        raise InvalidConfiguration(f"{where}: message={message!r} is no regular expression; expected a text")
    try:
        return re.compile(message, re.IGNORECASE)
    except (re.error, OverflowError) as error:
        raise InvalidConfiguration(f"{where}: message={message!r} is no regular expression: {error}") from error


def _modules(raised_in: object, where: str) -> tuple[str, ...]:
    if raised_in is None:
        return ()
    modules = tuple(raised_in) if isinstance(raised_in, tuple | list) else (raised_in,)
    if modules and all(isinstance(name, str) and all(name.split(".")) for name in modules):
        return tuple(f"{name}." for name in modules)
    raise InvalidConfiguration(
        f"{where}: raised_in={raised_in!r}: expected the name of a module or package, such as 'pandas',"
        " or several of them"
    )
