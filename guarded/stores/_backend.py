"""Backend: what a shared store asks of the file or the server in which it keeps things."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from contextlib import AbstractContextManager
    from datetime import datetime

    from guarded._audit import AuditEntry
    from guarded._failure import SignalGenerationFailure
    from guarded._halt import HaltRecord
    from guarded._ledger import Row
    from guarded._scope import Scope
    from guarded.stores import Change, Member, Rows, Touched

LEASE = 15.0
"""Seconds for which a process that runs a halt callback need not be heard of, before another one runs it."""

FORGOTTEN_AFTER = 24 * 3600.0
"""Seconds after which a process that is not heard of any more is no member."""

CHANGES_KEPT = 10_000
"""How many changes are kept for processes that have not heard of them; who is further behind reads everything."""

ENDED_KEPT = 1_000


class Decide(Protocol):
    """What a transaction makes of the rows that it read."""

    def __call__(self, streaks: Mapping[Scope, Row], halts: Mapping[Scope, HaltRecord], /) -> Change:
        """The change."""


class Ticket(NamedTuple):
    """Tells a transaction from all others, so that it is not carried out twice when its answer was lost.

    Attributes:
        process: The identity of the process.
        number: Its transactions are numbered in their order.
    """

    process: str
    number: int


class Committed(NamedTuple):
    """A transaction that was carried out.

    Attributes:
        change: What it wrote.
        streaks: The streak rows that it read.
        halts: The halts that it read.
        cleared: The scopes whose streaks `change.clear` removed.
        position: The number of what it made known to other processes; None where there was nothing to make known.
    """

    change: Change
    streaks: Mapping[Scope, Row]
    halts: Mapping[Scope, HaltRecord]
    cleared: Collection[Scope]
    position: int | None


class Snapshot(NamedTuple):
    """Everything that a process has to know.

    Attributes:
        position: The number of the last change that is in it.
        live: The scopes that have a streak.
        halts: The halts in force.
        unsettled: The episodes whose halt callback has not run to its end, and the identity of who runs it; "" where
            nobody does.
    """

    position: int
    live: Collection[Scope]
    halts: Mapping[Scope, HaltRecord]
    unsettled: Mapping[str, str]


class News(NamedTuple):
    """What other processes, and this one, have changed.

    Attributes:
        position: The number of the last change in it.
        streaks: The number of a change, the scope, and whether it has a streak since; in their order.
        halts: The scopes whose halts have changed.
        callbacks: Whether it has changed which callbacks have run to their end, and who runs which.
        gap: Whether changes are missing, so that everything has to be read.
    """

    position: int
    streaks: Sequence[tuple[int, Scope, bool]] = ()
    halts: Collection[Scope] = ()
    callbacks: bool = False
    gap: bool = False


class Backend(Protocol):
    """A file or a server; every method may raise `StoreUnavailable`.

    `wait` is called by one thread of its own, `open` while nothing else is, everything else under the store's lock.
    """

    where: str
    """What it is and where, for messages: without secrets."""

    def open(self) -> None:
        """Open it, or open it anew after it was lost, and see that it can be written; makes what is not there yet."""

    def close(self) -> None:
        """Let go of it."""

    def hush(self) -> None:
        """Let go of what `wait` uses; called by the thread that has called it, for the last time."""

    def still(self) -> AbstractContextManager[object]:
        """What is held while nothing of it is in use, so that the process may fork."""

    def forked(self) -> None:
        """Leave to the parent what is the parent's; nothing was in use when the process forked."""

    def commit(self, ticket: Ticket, touched: Touched, guess: Rows, decide: Decide) -> Committed | None:
        """Carry out a transaction.

        Args:
            ticket: Which one.
            touched: The rows that it reads.
            guess: What they are as far as this process knows.
            decide: Makes the change; called again where another process was quicker.

        Returns:
            What was done; None if that ticket's transaction had been carried out before.
        """

    def snapshot(self) -> Snapshot:
        """Everything that a process has to know."""

    def wait(self, position: int) -> News:
        """Wait until there may be something new since that position, for a second or so at most."""

    def halts(self, scopes: Collection[Scope]) -> Mapping[Scope, HaltRecord]:
        """Those of the scopes' halts that are in force."""

    def callbacks(self) -> Mapping[str, str]:
        """See `Snapshot.unsettled`."""

    def position(self) -> int:
        """The number of the last change; what does not fit says that the backend is not the one it was."""

    def read(self) -> Rows:
        """All rows; none is this process's own."""

    def failures(self) -> list[SignalGenerationFailure]:
        """The history of failures, the oldest first."""

    def ended(self) -> list[HaltRecord]:
        """The history of halts that ended, the oldest first."""

    def ended_by(self, episodes: Collection[str]) -> dict[str, HaltRecord]:
        """Those of the episodes that ended, as far as the history goes back."""

    def audit(self) -> list[AuditEntry]:
        """The audit, the oldest first."""

    def members(self) -> list[Member]:
        """The processes on the store."""

    def successes(self) -> dict[str, datetime]:
        """When each strategy last succeeded."""

    def beat(self, member: Member, successes: Mapping[str, datetime], running: Iterable[str]) -> None:
        """Be heard of: as a member, with its strategies' last successes, as who runs the callbacks of episodes."""

    def leave(self, identity: str) -> None:
        """Take a process off the store, and let others run its callbacks."""

    def claim(self, identity: str, episodes: Mapping[str, str]) -> list[str]:
        """Run the callbacks of episodes, instead of who was to run them and is gone or not heard of any more.

        Args:
            identity: Who wants to.
            episodes: Which, and the identity of who was to run each as far as is known.

        Returns:
            Those that are this process's to run now.
        """


def new_identity() -> str:
    """What tells this process from every other that ever was on a store."""
    return f"{socket.gethostname()}{_pid_namespace()}:{os.getpid()}:{os.urandom(4).hex()}"


def is_dead(identity: str) -> bool:
    """Whether a process is known to be gone: one of this machine whose number is no process's any more."""
    place, _, rest = identity.rpartition(":")[0].rpartition(":")
    here = f"{socket.gethostname()}{_pid_namespace()}"
    if place != here or not rest.isdigit() or os.name != "posix":  # elsewhere signal 0 is one that interrupts
        return False
    try:
        os.kill(int(rest), 0)
    except ProcessLookupError:
        return True
    except OSError:  # there is one, of another user
        return False
    return False


def _pid_namespace() -> str:
    """Containers on one machine may have its name, and numbers of their own for processes."""
    try:
        return f"/{Path('/proc/self/ns/pid').readlink()}"
    except OSError:
        return ""
