"""Explanation: what becomes of an exception, and why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from guarded._matching import Action

if TYPE_CHECKING:
    from guarded._failure import FailureType


@dataclass(frozen=True, slots=True)
class Explanation:
    """The verdict of the rules on an exception; `str()` of it reads as a sentence.

    Attributes:
        action: What a guard does with it: count it, ignore it, or let it go through.
        failure_type: The type it counts under. Also set where it is ignored or goes through, because a failure that
            is recorded by hand always counts.
        error_type: The name of its class.
        rule: The rule that decided, such as `"ValueError raised in configparser"`; None where none matched.
        pack: The pack that the rule is from; None for rules declared in Python.
        reason: Why, as a clause.
        wraps: The name of the class that decided, where that was not the exception itself but one that it wraps.
    """

    action: Action
    failure_type: FailureType
    error_type: str
    rule: str | None = None
    pack: str | None = None
    reason: str = ""
    wraps: str | None = None

    def __str__(self) -> str:
        wraps = f" for the {self.wraps} that it wraps" if self.wraps else ""
        rule = f", by the rule {_quoted(self.rule)}" if self.rule else ""
        pack = f" of the pack {self.pack!r}" if self.pack else ""
        reason = f": {self.reason}" if self.reason else ""
        return f"{self.error_type} {self._deed()}{wraps}{rule}{pack}{reason}."

    def _deed(self) -> str:
        if self.action is Action.COUNT:
            return f"counts as {self.failure_type}"
        return "is ignored" if self.action is Action.IGNORE else "goes through the guard"


def _quoted(rule: str) -> str:
    """In quotes that it does not hold itself; regular expressions in it stay as they are written."""
    return f'"{rule}"' if "'" in rule else f"'{rule}'"
