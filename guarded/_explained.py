"""Explained: what `guarded explain` says of an exception or a traceback."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, NamedTuple

from guarded._rules import FailureRules
from guarded._tracebacks import is_stand_in, of_class, parsed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from guarded._explanation import Explanation


class Explained(NamedTuple):
    """What the rules make of an exception.

    Attributes:
        explanation: What becomes of it, and why.
        notes: What could not be known.
    """

    explanation: Explanation
    notes: Sequence[str]

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form: the explanation's fields, and `notes`."""
        return {**asdict(self.explanation), "notes": list(self.notes)}

    def __str__(self) -> str:
        explanation = self.explanation
        rows = {
            "type": explanation.failure_type,
            "action": explanation.action,
            "rule": explanation.rule or "none",
            "pack": explanation.pack or "none",
            "why": explanation.reason or "none",
        }
        fields = [f"{name:8}{value}" for name, value in rows.items()]
        return "\n".join([str(explanation), "", *fields, *(f"note    {note}" for note in self.notes)])


def explained(exception: str | None, packs: Sequence[str]) -> Explained:
    """What the rules make of an exception.

    Args:
        exception: Its class, as `module:ClassName`; None: a traceback is read from standard input.
        packs: Files of rules that are asked first.

    Raises:
        InvalidConfiguration: There is no such class or pack, or what was read is no traceback.
    """
    rules = FailureRules()
    for pack in packs:
        rules.load(pack)
    error = parsed(sys.stdin.buffer.read().decode(errors="replace")) if exception is None else of_class(exception)
    notes = [
        *(["its class was not imported, so rules for its base classes were not asked"] if is_stand_in(error) else []),
        *(f"rules for its class look at {path}, which is not in a text" for path in rules.asked_of(type(error))),
    ]
    return Explained(rules.explain(error), notes)
