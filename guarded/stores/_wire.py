"""Wire: rows, halts, failures and audit entries as texts, for stores that keep them outside of this process."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any, cast

from guarded._audit import Action, AuditEntry, Origin
from guarded._failure import SignalGenerationFailure
from guarded._halt import HaltLevel, HaltRecord
from guarded._ledger import Row, Streak
from guarded._scope import Scope
from guarded.stores import Member, Total

# ASCII, and always the same text for the same value: texts are compared, and names may hold lone surrogates.
dumps = json.JSONEncoder(ensure_ascii=True, allow_nan=False, separators=(",", ":")).encode


def scope_text(scope: Scope) -> str:
    """A scope: `["VWAP","AAPL"]`, null for all."""
    return dumps(list(scope))


def scope_of(text: str) -> Scope:
    """The scope of a text."""
    return Scope(*json.loads(text))


def name_of(text: str) -> str:
    """The name that `dumps` made a text of."""
    name: str = json.loads(text)
    return name


def row_text(row: Row) -> str:
    """A row of streaks; windows of calls stay in their process."""
    return dumps([list(item) for item in row])


def row_of(text: str) -> Row:
    """The row of a text."""
    return tuple(Streak(*item) for item in json.loads(text))


def total_text(total: Total) -> str:
    """What a total counts."""
    return dumps(list(total))


def total_of(text: str) -> Total:
    """What a total of that text counts."""
    kind, name = json.loads(text)
    return kind, name


def failure_text(failure: SignalGenerationFailure) -> str:
    """A failure, its stack formatted."""
    return dumps(failure.to_dict())


def failure_of(text: str) -> SignalGenerationFailure:
    """The failure of a text."""
    return SignalGenerationFailure.from_dict(json.loads(text))


def halt_text(halt: HaltRecord) -> str:
    """A halt with the failure that tripped it."""
    return dumps({**halt.to_dict(), "failure": halt.failure.to_dict()})


def halt_of(text: str) -> HaltRecord:
    """The halt of a text."""
    data: dict[str, Any] = json.loads(text)
    del data["failure_id"]
    resumed_at = data.pop("resumed_at")
    return HaltRecord(
        **{
            **data,
            "scope": Scope(**data["scope"]),
            "level": HaltLevel(data["level"]),
            "since": datetime.fromisoformat(data["since"]),
            "failure": SignalGenerationFailure.from_dict(data["failure"]),
            "resumed_at": None if resumed_at is None else datetime.fromisoformat(resumed_at),
        }
    )


def entry_text(entry: AuditEntry) -> str:
    """An entry of the audit."""
    return dumps(entry.to_dict())


def entry_of(text: str) -> AuditEntry:
    """The entry of a text."""
    data: dict[str, Any] = json.loads(text)
    return AuditEntry(
        at=datetime.fromisoformat(data["at"]),
        action=cast("Action", data["action"]),
        by=data["claimed_by"],
        reason=data["reason"],
        scope=None if data["scope"] is None else Scope(**data["scope"]),
        details=data["details"],
        origin=Origin(data["host"], data["pid"], data["os_user"]),
    )


def member_text(member: Member) -> str:
    """A process on the store."""
    times = {"started": member.started.isoformat(), "seen": member.seen.isoformat()}
    return dumps({**member._asdict(), **times})


def member_of(text: str) -> Member:
    """The process of a text."""
    data: dict[str, Any] = json.loads(text)
    times = {name: datetime.fromisoformat(data[name]) for name in ("started", "seen")}
    return Member(**{**data, **times})
