"""Halt: what triggers one, how much it stops, and the record of one."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from guarded._scope import EVERYTHING, Scope

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from datetime import datetime

    from guarded._failure import SignalGenerationFailure


LONGEST_REASON = 5_000


class HaltTrigger(StrEnum):
    """What makes people or programs halt trading; any other text is taken too."""

    MANUAL = "manual"
    DRAWDOWN = "drawdown"
    DAILY_LOSS = "daily_loss"
    PORTFOLIO_HEAT = "portfolio_heat"
    TECHNICAL_FAILURE = "technical_failure"
    MARKET_CRASH = "market_crash"
    KILL_SWITCH = "kill_switch"


class HaltLevel(StrEnum):
    """How much a halt stops."""

    REDUCING = "reducing"
    """Calls marked `reduce_only=True` still run, so that positions can be closed; all others are refused."""

    HALTED = "halted"
    """Nothing runs."""


@dataclass(frozen=True, slots=True)
class HaltRecord:
    """One episode: from the moment that trading was halted to the moment that somebody resumed it.

    Attributes:
        scope: Who is halted.
        level: How much is stopped.
        reason: Why, as a sentence.
        trigger_type: A `HaltTrigger` or any other text.
        since: When it was latched.
        by: Who says that they halted it; None for a threshold, and for a program that gave no name.
        failure: The failure that tripped it; for a halt by hand, a stand-in that names the operator and the reason.
        consecutive: The length of the streak that tripped it, if one did.
        threshold: The length at which that streak had to.
        by_hand: Whether a person or a program halted it, rather than a policy.
        episode: Identifies the episode.
        resumed_at: When trading was resumed; None while halted.
        resumed_by: Who says that they resumed it.
        resume_reason: Why they did.
    """

    scope: Scope
    level: HaltLevel
    reason: str
    trigger_type: str
    since: datetime
    by: str | None
    failure: SignalGenerationFailure
    consecutive: int | None = None
    threshold: int | None = None
    by_hand: bool = False
    episode: str = field(default_factory=lambda: os.urandom(8).hex())
    resumed_at: datetime | None = None
    resumed_by: str | None = None
    resume_reason: str | None = None

    def refuses(self, *, reduce_only: bool) -> bool:
        """Whether this halt refuses a call that is marked so."""
        return self.level is HaltLevel.HALTED or not reduce_only

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready form, keys = field names; the failure by its id."""
        return {
            "scope": self.scope.to_dict(),
            "level": self.level.value,
            "reason": self.reason,
            "trigger_type": self.trigger_type,
            "since": self.since.isoformat(),
            "by": self.by,
            "failure_id": self.failure.failure_id,
            "consecutive": self.consecutive,
            "threshold": self.threshold,
            "by_hand": self.by_hand,
            "episode": self.episode,
            "resumed_at": None if self.resumed_at is None else self.resumed_at.isoformat(),
            "resumed_by": self.resumed_by,
            "resume_reason": self.resume_reason,
        }


def latched(current: HaltRecord | None, new: HaltRecord) -> HaltRecord | None:
    """What the latch of one scope holds after `new`; None if `current` is as strict already.

    A stricter level escalates the current episode; it does not start another.
    """
    if current is None:
        return new
    if current.level is HaltLevel.HALTED or new.level is HaltLevel.REDUCING:
        return None
    by = f" by {new.by}" if new.by else ""
    return replace(current, level=new.level, reason=f"{current.reason}; raised to {new.level}{by}: {new.reason}")


def also(current: HaltRecord, new: HaltRecord) -> HaltRecord:
    """A halt with one more reason, for whoever has to decide on resuming."""
    reason = f"{current.reason}; also {f'by {new.by}' if new.by else new.trigger_type}: {new.reason}"
    known = new.reason in current.reason or len(reason) > LONGEST_REASON
    return current if known else replace(current, reason=reason)


def covering(halts: Mapping[Scope, HaltRecord], scope: Scope) -> Iterable[HaltRecord]:
    """The halts in force for everything in this scope, the widest first."""
    wider = dict.fromkeys((EVERYTHING, Scope(scope.strategy), Scope(None, scope.symbol), scope))
    found = map(halts.get, wider)  # one look at each, for another thread may be resuming it
    return [halt for halt in found if halt is not None]
