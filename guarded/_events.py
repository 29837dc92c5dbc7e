"""Events: one frozen record for each thing that happened, as listeners get it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from guarded._failure import SignalGenerationFailure
    from guarded._halt import HaltRecord
    from guarded._scope import Scope


@dataclass(frozen=True, slots=True)
class SignalFailed:
    """A guarded call failed, or a failure was recorded by hand.

    Attributes:
        failure: The record.
        streak: The streak that is nearest to halting trading, with this failure.
        threshold: The length at which it does; None where no policy looks at consecutive failures of this type.
        error: The live exception while listeners run, None afterwards and for errors that came as text.
    """

    failure: SignalGenerationFailure
    streak: int
    threshold: int | None
    error: BaseException | None = None


@dataclass(frozen=True, slots=True)
class SignalRecovered:
    """A success ended a streak of the call's own key (or, if keys are not counted, strategy or symbol).

    Attributes:
        key: Who recovered.
        failures: How often it had failed since its last success.
    """

    key: Scope
    failures: int


@dataclass(frozen=True, slots=True)
class SignalRefused:
    """A guarded call did not run, or a block was not entered, because trading is halted.

    Attributes:
        key: Who was refused.
        halt: The halt that refuses it.
    """

    key: Scope
    halt: HaltRecord


@dataclass(frozen=True, slots=True)
class HaltTriggered:
    """Trading was halted, or a halt was raised to a stricter level.

    Attributes:
        halt: The halt.
        failure: What tripped it; for a halt by hand, a stand-in that names the operator and the reason.
        escalated: Whether an episode that was under way got stricter.
    """

    halt: HaltRecord
    failure: SignalGenerationFailure
    escalated: bool = False


@dataclass(frozen=True, slots=True)
class TradingResumed:
    """Somebody cleared a halt.

    Attributes:
        halt: The halt that ended.
        by: Who says that they did.
        reason: Why.
    """

    halt: HaltRecord
    by: str
    reason: str


@dataclass(frozen=True, slots=True)
class HaltCallbackFailed:
    """The halt callback raised; trading stays halted and the callback is tried again.

    Attributes:
        halt: The halt that it was called for.
        error: What it raised.
    """

    halt: HaltRecord
    error: BaseException


Event = SignalFailed | SignalRecovered | SignalRefused | HaltTriggered | TradingResumed | HaltCallbackFailed
