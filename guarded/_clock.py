"""Clock: where `guarded` gets its two kinds of time from."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol, runtime_checkable

from guarded import _faults
from guarded._errors import InvalidConfiguration


@runtime_checkable
class Clock(Protocol):
    """A source of time; pass your own as `clock=` to run on simulated time."""

    def monotonic(self) -> float:
        """Seconds that never run backwards; windows and streaks are measured with them."""

    def now(self) -> datetime:
        """The time of day, aware (UTC by preference); failures and halts are stamped with it."""


class SystemClock:
    """The machine's own clocks."""

    __slots__ = ()

    def monotonic(self) -> float:
        """Seconds of `time.monotonic`."""
        return time.monotonic()

    def now(self) -> datetime:
        """The time of day in UTC."""
        return datetime.now(UTC)


class ReliableClock:
    """A user's clock that cannot break a guard: when it raises, that is reported and the machine's time is taken."""

    __slots__ = ("_given",)

    def __init__(self, given: Clock) -> None:
        self._given = given

    def monotonic(self) -> float:
        """Seconds of the user's clock."""
        try:
            return self._given.monotonic()
        except Exception as fault:  # noqa: BLE001  # a user's clock may raise anything
            _faults.report("clock.monotonic() raised; the machine's seconds are taken instead", fault)
            return time.monotonic()

    def now(self) -> datetime:
        """The time of day of the user's clock."""
        try:
            return self._given.now()
        except Exception as fault:  # noqa: BLE001  # a user's clock may raise anything
            _faults.report("clock.now() raised; the machine's time is taken instead", fault)
            return datetime.now(UTC)


def checked_clock(clock: Clock | None) -> SystemClock | ReliableClock:
    """The clock that somebody gave, read once to see that it works; None gives the machine's.

    Raises:
        InvalidConfiguration: It is no clock, it does not run, or its time of day is naive.
    """
    if clock is None:
        return SystemClock()
    if isinstance(clock, SystemClock | ReliableClock):
        return clock
    try:
        seconds, now = clock.monotonic() + 0.0, clock.now()
        works = isinstance(seconds, float) and now.utcoffset() is not None
    except Exception as error:
        raise InvalidConfiguration(f"clock={clock!r}: it cannot be read ({type(error).__name__}: {error})") from error
    if not works:
        raise InvalidConfiguration(
            f"clock={clock!r}: expected monotonic() in seconds and an aware now(), got {seconds!r} and {now!r}"
        )
    return ReliableClock(clock)
