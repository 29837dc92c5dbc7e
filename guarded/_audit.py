"""AuditEntry: one thing that somebody did to trading, or to how it is guarded, as the audit keeps it."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from guarded._scope import Scope

Action = Literal["halt", "resume", "reset", "clear_history", "mode", "start", "exempt", "store_lost", "store_back"]
NOTHING: Mapping[str, Any] = MappingProxyType({})


class Origin(NamedTuple):
    """Where something was done.

    Attributes:
        host: The machine's name.
        pid: The process.
        os_user: Who the process runs as, as the operating system knows them.
    """

    host: str
    pid: int
    os_user: str


def here() -> Origin:
    """This process."""
    import socket  # noqa: PLC0415  # it would cost every import of guarded

    return Origin(socket.gethostname(), os.getpid(), _os_user())


def _os_user() -> str:
    """Whom the process runs as: from its user id where there is one, for what the environment says anybody may set."""
    try:
        import pwd  # noqa: PLC0415  # not on Windows
    except ImportError:  # pragma: no cover  # Windows
        return os.environ.get("USERNAME", "unknown")
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:  # a container's user that no file names
        return f"uid {os.geteuid()}"


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One thing that was done; nothing is ever taken out of the audit, or changed in it.

    Attributes:
        at: When.
        action: What: `"halt"`, `"resume"`, `"reset"` (of streaks), `"clear_history"`, `"mode"`, `"start"` (of a
            tracker, with its settings), `"exempt"` (a guard that runs while halted, or ignores or lets through what its
            tracker would count, and was made after the start), `"store_lost"` and `"store_back"`.
        by: Who says that they did it: a claim, which nobody checks. None: nobody gave a name.
        reason: Why.
        scope: Whom it is about; None where that means nothing.
        details: What else there is to know, JSON-ready.
        origin: In which process it was done; None: in this one, which no store has been told yet.
    """

    at: datetime
    action: Action
    by: str | None = None
    reason: str | None = None
    scope: Scope | None = None
    details: Mapping[str, Any] = field(default_factory=lambda: NOTHING)
    origin: Origin | None = None

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form; who did it is called `claimed_by`, for nobody has checked."""
        return {
            "at": self.at.isoformat(),
            "action": self.action,
            "claimed_by": self.by,
            "reason": self.reason,
            "scope": None if self.scope is None else self.scope.to_dict(),
            "details": dict(self.details),
            **(self.origin or here())._asdict(),
        }
