"""Outcome: what became of one guarded call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from guarded._failure import SignalGenerationFailure

R_co = TypeVar("R_co", covariant=True)


@dataclass(frozen=True, slots=True)
class Outcome(Generic[R_co]):
    """What became of one guarded call: tells "no signal" from "failed" from "refused".

    Attributes:
        value: What the caller gets: the result, or `no_signal`'s value (None by default).
        failure: The record, if the call failed; None for a failure that the rules ignore.
        refused: Whether the call did not run, or was cut short, because trading is halted.
    """

    value: R_co
    failure: SignalGenerationFailure | None = None
    refused: bool = False
