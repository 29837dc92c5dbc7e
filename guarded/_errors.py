"""The exceptions that `guarded` itself raises.

GuardedError
 ├─ TradingHalted          a block was entered, or a signal asked for, while trading is halted
 ├─ SignalRejected         a strategy's result did not pass `validate=`
 ├─ InvalidConfiguration   a setting that cannot work; also a ValueError
 └─ StoreUnavailable       the place where the ledger lives cannot be used
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from guarded._halt import HaltRecord


class GuardedError(Exception):
    """The base of every exception that `guarded` raises on its own account."""


class TradingHalted(GuardedError):
    """Raised on entry to a `track_signal` block while trading is halted.

    Attributes:
        halt: The halt that refuses the block; None if the exception was raised by somebody else.
    """

    def __init__(self, message: str = "", halt: HaltRecord | None = None) -> None:
        super().__init__(message)
        self.halt = halt


class SignalRejected(GuardedError):
    """A result that `validate=` did not accept; recorded as a failure, raised only under `reraise=True`."""


class InvalidConfiguration(GuardedError, ValueError):
    """A setting that cannot work: the text names the value, what was expected and where it came from."""


class StoreUnavailable(GuardedError):
    """The store that holds streaks, totals and halts cannot be read or written."""
