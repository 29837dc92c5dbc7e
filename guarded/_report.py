"""Report: how a store stands, and what was done to it, as plain data that is ready for JSON."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple

from guarded._ledger import Streak
from guarded._scope import EVERYTHING, Scope
from guarded.stores import ALL

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence

    from guarded._audit import AuditEntry
    from guarded._failure import FailureType, SignalGenerationFailure
    from guarded._halt import HaltRecord
    from guarded._ledger import Row
    from guarded.stores import Member, Rows
    from guarded.stores.shared import SharedStore

Report = dict[str, Any]
Outcome = Literal["halted", "raised", "halted_already"]

SILENT_AFTER: Final = 15.0
"""Seconds after which a process that was not heard of counts as one that hangs, or is without the store."""

LAST_FAILURES: Final = 10
"""How many failures a status shows."""


class Picture(NamedTuple):
    """All that a report is made from, as a store had it at one moment.

    Attributes:
        where: The store's URL, without secrets.
        at: When it was looked at.
        rows: Streaks, halts and totals.
        failures: The history of failures, the oldest first.
        successes: When each strategy last succeeded.
        members: The processes on the store, but for the one that looks.
        unsettled: The episodes whose halt callback has not run to its end.
    """

    where: str
    at: datetime
    rows: Rows
    failures: Sequence[SignalGenerationFailure]
    successes: Mapping[str, datetime]
    members: Sequence[Member]
    unsettled: Collection[str]

    def names(self, field: Literal["strategy", "symbol"]) -> set[str]:
        """The strategies or the symbols of which the store knows anything."""
        scopes = [*self.rows.streaks, *self.rows.halts, *(_key(failure) for failure in self.failures)]
        found = {getattr(scope, field) for scope in scopes}
        found |= {name for of, name in self.rows.totals if of == field}
        if field == "strategy":
            found |= self.successes.keys()
        return found - {None}


def taken(store: SharedStore, where: str) -> Picture:
    """Look at a store.

    Args:
        store: The store.
        where: Its URL, without secrets.

    Raises:
        StoreUnavailable: It is away: what it is known to have held before says nothing of how it stands.
    """
    return Picture(
        where,
        datetime.now(UTC),
        store.read(),
        store.failures(),
        store.successes(),
        [member for member in store.members() if member.identity != store._identity],
        frozenset(store.unsettled()),
    )


def status(picture: Picture, scope: Scope = EVERYTHING) -> Report:
    """How a store stands.

    Args:
        picture: What it holds.
        scope: Whom to report on.

    Returns:
        JSON-ready, under keys that stay. Times are in ISO 8601 and UTC; `seconds` says how long before `at` something
        was. A scope is `{"strategy": ..., "symbol": ...}`, with null for all.

        - `store`: its URL, without secrets. `at`: when it was looked at. `scope`: whom this is about.
        - `halted`: whether anything in that scope is halted, at whatever level.
        - `halts`: the halts in force that concern it, the widest first: the fields of `HaltRecord`, where `by` is what
          somebody claims; and `kind` of the scope, `seconds`, `callback_pending`.
        - `callback_pending`: whether the halt callback of one of them has not run to its end.
        - `processes_with_callback`: how many processes that are not silent would run one.
        - `streaks`: of each scope and series of counting `scope`, `kind`, `series`, `failures` that count, `unbroken`
          since the last success, `last_failure`, `seconds`.
        - `failures`: ever recorded: `total`, and `by_strategy`, `by_symbol`, `by_type`, the most frequent first. With a
          scope, only what is counted for its names; `total` is null for a strategy's failures of one symbol, and
          `by_type` is empty.
        - `last_failures`: up to ten of them, the newest last: the fields of `SignalGenerationFailure`, without traces.
        - `last_success`: for each strategy `at` and `seconds`; to within half a minute.
        - `processes`: those on the store: `identity`, `host`, `pid`, `started`, `seen`, `seconds`, `silent`,
          `refusals`, `has_callback`.
        - `stores_degraded`: the identities of those that are silent: they hang, or are without the store.
    """
    now = picture.at
    halts = _halts(picture, scope)
    processes = [_process(member, now) for member in picture.members]
    last = [failure for failure in picture.failures if scope.covers(_key(failure))][-LAST_FAILURES:]
    return {
        "store": picture.where,
        "at": utc(now),
        "scope": scope.to_dict(),
        "halted": bool(halts),
        "halts": halts,
        "callback_pending": any(halt["callback_pending"] for halt in halts),
        "processes_with_callback": _with_callback(processes),
        "streaks": _streaks(picture.rows.streaks, scope, now),
        "failures": {
            "total": _total(picture.rows, scope),
            "by_strategy": _totals(picture.rows, "strategy", scope, scope.strategy),
            "by_symbol": _totals(picture.rows, "symbol", scope, scope.symbol),
            "by_type": _totals(picture.rows, "type", scope, None),
        },
        "last_failures": [_failure(failure, trace=False) for failure in last],
        "last_success": {
            strategy: {"at": utc(at), "seconds": _age(at, now)}
            for strategy, at in sorted(picture.successes.items())
            if scope.strategy in (None, strategy)
        },
        "processes": processes,
        "stores_degraded": [process["identity"] for process in processes if process["silent"]],
    }


def away(where: str, why: str, at: datetime) -> Report:
    """A look at a store that is away.

    Returns:
        JSON-ready: `store`, `at`, and `error`, which says why.
    """
    return {"store": where, "at": utc(at), "error": why}


def halted(before: Picture, after: Picture, scope: Scope, *, changed: bool) -> Report:
    """What became of somebody's order to halt trading.

    Args:
        before: The store as it was.
        after: The store as it is.
        scope: Whom they halted.
        changed: Whether that halted trading, or made a halt stricter.

    Returns:
        JSON-ready: `store`, `at`, `scope`; `outcome`: `"halted"`, `"raised"` (to a stricter level) or
        `"halted_already"`; `halts`: the halt of that scope as in a status; `processes`: how many are on the store, and
        `processes_with_callback`.
    """
    done: Outcome = "halted" if changed else "halted_already"
    processes = [_process(member, after.at) for member in after.members]
    return {
        "store": after.where,
        "at": utc(after.at),
        "scope": scope.to_dict(),
        "outcome": "raised" if changed and scope in before.rows.halts else done,
        "halts": [_halt(halt, after) for halt in after.rows.halts.values() if halt.scope == scope],
        "processes": sum(not process["silent"] for process in processes),
        "processes_with_callback": _with_callback(processes),
    }


def resumed(after: Picture, scope: Scope, ended: HaltRecord | None) -> Report:
    """What became of somebody's order to resume trading.

    Args:
        after: The store as it is.
        scope: Whom they resumed.
        ended: The halt that they ended; None if there was none.

    Returns:
        JSON-ready: `store`, `at`, `scope`; `resumed`: whether there was something to resume; `ended`: the fields of
        that halt, or null; `halts`: all that stay in force, as in a status.
    """
    return {
        "store": after.where,
        "at": utc(after.at),
        "scope": scope.to_dict(),
        "resumed": ended is not None,
        "ended": None if ended is None else _record(ended),
        "halts": _halts(after, EVERYTHING),
    }


def history(
    failures: Iterable[SignalGenerationFailure],
    scope: Scope,
    failure_type: FailureType | None,
    since: datetime | None,
    *,
    trace: bool,
) -> list[Report]:
    """The failures of a scope, a type and a time, the newest last.

    Args:
        failures: The history.
        scope: Whose failures.
        failure_type: Of which type; None = of any.
        since: Not older than this; None = of any age.
        trace: Whether the fields of `SignalGenerationFailure` have `stack_trace` among them.
    """
    return [
        _failure(failure, trace=trace)
        for failure in failures
        if scope.covers(_key(failure))
        and failure_type in (None, failure.failure_type)
        and (since is None or failure.timestamp >= since)
    ]


def audit(entries: Iterable[AuditEntry], action: str | None) -> list[Report]:
    """The entries of the audit for one action, or for all if it is None: as `AuditEntry` has them, the newest last.

    What was done while a store was away was written down later.
    """
    wanted = sorted((entry for entry in entries if action in (None, entry.action)), key=lambda entry: entry.at)
    return [{**entry.to_dict(), "at": utc(entry.at)} for entry in wanted]


def utc(moment: datetime) -> str:
    """A moment in ISO 8601, in UTC."""
    return moment.astimezone(UTC).isoformat()


def _key(failure: SignalGenerationFailure) -> Scope:
    return Scope(failure.strategy_name, failure.symbol)


def _overlap(one: Scope, other: Scope) -> bool:
    """Whether there may be calls that are in both."""
    return all(mine is None or theirs is None or mine == theirs for mine, theirs in zip(one, other, strict=True))


def _age(moment: datetime, now: datetime) -> float:
    return max(0.0, round((now - moment).total_seconds(), 3))


def _record(halt: HaltRecord) -> Report:
    resumed_at = None if halt.resumed_at is None else utc(halt.resumed_at)
    return {**halt.to_dict(), "kind": halt.scope.kind, "since": utc(halt.since), "resumed_at": resumed_at}


def _halts(picture: Picture, scope: Scope) -> list[Report]:
    """The halts that concern a scope, the widest first, and of those that are alike the oldest."""
    found = [halt for halt in picture.rows.halts.values() if _overlap(halt.scope, scope)]
    found.sort(key=lambda halt: (sum(name is not None for name in halt.scope), halt.since))
    return [_halt(halt, picture) for halt in found]


def _halt(halt: HaltRecord, picture: Picture) -> Report:
    return {
        **_record(halt),
        "seconds": _age(halt.since, picture.at),
        "callback_pending": halt.episode in picture.unsettled,
    }


def _streaks(rows: Mapping[Scope, Row], scope: Scope, now: datetime) -> list[Report]:
    found = [(of, item) for of, row in rows.items() if _overlap(of, scope) for item in row if isinstance(item, Streak)]
    return [_streak(of, item, now) for of, item in sorted(found, key=lambda pair: (-pair[1].failures, str(pair[0])))]


def _streak(scope: Scope, streak: Streak, now: datetime) -> Report:
    last = datetime.fromtimestamp(streak.last, UTC)
    return {
        "scope": scope.to_dict(),
        "kind": scope.kind,
        "series": streak.series,
        "failures": streak.failures,
        "unbroken": streak.unbroken,
        "last_failure": utc(last),
        "seconds": _age(last, now),
    }


def _total(rows: Rows, scope: Scope) -> int | None:
    match scope.kind:
        case "global":
            return rows.totals.get(ALL, 0)
        case "strategy":
            return rows.totals.get(("strategy", str(scope.strategy)), 0)
        case "symbol":
            return rows.totals.get(("symbol", str(scope.symbol)), 0)
        case _:
            return None


def _totals(rows: Rows, kind: str, scope: Scope, only: str | None) -> dict[str, int]:
    """The totals of a kind, the most frequent first: all of them, or that of the name that the scope has."""
    found = [(name, n) for (of, name), n in rows.totals.items() if of == kind and (scope == EVERYTHING or name == only)]
    return dict(sorted(found, key=lambda item: (-item[1], item[0])))


def _failure(failure: SignalGenerationFailure, *, trace: bool) -> Report:
    return {name: value for name, value in failure.to_dict().items() if trace or name != "stack_trace"}


def _process(member: Member, now: datetime) -> Report:
    age = _age(member.seen, now)
    return {
        "identity": member.identity,
        "host": member.host,
        "pid": member.pid,
        "started": utc(member.started),
        "seen": utc(member.seen),
        "seconds": age,
        "silent": age > SILENT_AFTER,
        "refusals": member.refusals,
        "has_callback": member.has_callback,
    }


def _with_callback(processes: Iterable[Report]) -> int:
    return sum(process["has_callback"] and not process["silent"] for process in processes)
