"""The counting rules, pure: rows in, rows and what happened out; no I/O, no clock, no lock.

A failure of (strategy, symbol) counts in every series that some policy looks at, and in the global one:

* it extends the streak of its scope, or starts it again if the last failure is older than the window;
* with `types=`, a failure of another type leaves the streak as it is;
* a policy whose streak reaches its threshold, or whose window its ratio, trips.

A success of (strategy, symbol) removes the streaks of all its scopes, and enters a success in their windows.
Whether a success counts at all (its own course may have recorded a failure) is decided before it comes here.

Streaks are shared by all processes on one store. The global streak is this process's own unless a policy asks for the
fleet's, and so are windows of calls: they stand in rows of their own, which no store hands to another process.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from guarded._policies import ConsecutiveFailures, FailureRate, Policy
from guarded._scope import EVERYTHING, Scope, ScopeKind, scopes_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping
    from datetime import timedelta

    from guarded._failure import FailureType
    from guarded._halt import HaltLevel

FLEET = "fleet"


class Streak(NamedTuple):
    """Consecutive failures of one scope.

    Attributes:
        series: The name of the series that it belongs to.
        failures: The failures that count.
        unbroken: The failures since the last success, also those too far apart to count.
        last: When the last one happened, in seconds: of the day, if the store outlives the process, so that every
            process reads them alike; else of the tracker's monotonic clock.
    """

    series: str
    failures: int
    unbroken: int
    last: float


class Window(NamedTuple):
    """The last calls of one scope.

    Attributes:
        series: The name of the series that it belongs to.
        calls: How many calls are in the window.
        bits: Their outcomes, the newest in the lowest bit; 1 = failed.
    """

    series: str
    calls: int
    bits: int


Row = tuple[Streak | Window, ...]
"""What the series of one scope hold; a scope of which nothing is known has no row."""


class Trip(NamedTuple):
    """A policy whose limit a failure reached.

    Attributes:
        scope: Whom the policy halts.
        level: How much it stops.
        reason: What was reached; the first part of the halt's reason.
        consecutive: The length of the streak, if it was a streak that tripped.
        threshold: The length at which it had to.
    """

    scope: Scope
    level: HaltLevel
    reason: str
    consecutive: int | None = None
    threshold: int | None = None


class Counted(NamedTuple):
    """What one failure did.

    Attributes:
        rows: The scopes' new rows.
        own: The new rows of what is this process's own.
        trips: One for each policy whose limit is reached.
        streak: The streak that is nearest to a threshold.
        threshold: That threshold; None where no policy looks at consecutive failures of this type.
        too_far_apart: A window in seconds, if a streak would have reached its threshold but for it: each failure
            was older than that when the next one came.
    """

    rows: dict[Scope, Row]
    own: dict[Scope, Row]
    trips: tuple[Trip, ...]
    streak: int
    threshold: int | None
    too_far_apart: float | None


class Recovered(NamedTuple):
    """What one success did.

    Attributes:
        rows: The scopes' new rows; None = removed.
        own: The same of what is this process's own.
        failures: The failures that the key, or the finest scope that is counted, has had since its last success.
    """

    rows: dict[Scope, Row | None]
    own: dict[Scope, Row | None]
    failures: int


class StreakSeries(NamedTuple):
    """One streak for each scope of a kind, and the policies that look at it."""

    name: str
    kind: ScopeKind
    types: frozenset[FailureType] | None
    within: float | None
    policies: tuple[ConsecutiveFailures, ...]
    shared: bool = True

    def failed(self, row: Row, now: float) -> Streak:
        """The streak after one more failure."""
        streak = self.streak(row)
        if streak is None:
            return Streak(self.name, 1, 1, now)
        return Streak(self.name, 1 if self.aged(streak, now) else streak.failures + 1, streak.unbroken + 1, now)

    def succeeded(self, _row: Row) -> None:
        """A success leaves no streak."""

    def streak(self, row: Row) -> Streak | None:
        """This series' streak in a row."""
        for item in row:
            if isinstance(item, Streak) and item.series == self.name:
                return item
        return None

    def aged(self, streak: Streak, now: float) -> bool:
        """Whether the last failure is older than the window, so that the next one starts the streak again."""
        return self.within is not None and now - streak.last > self.within

    def too_short_a_window(self, streak: Streak) -> float | None:
        """The window, if but for it this streak of one strategy or symbol would reach a threshold now."""
        if self.kind != "global":
            for policy in self.policies:
                if streak.unbroken == policy.threshold > streak.failures:
                    return self.within
        return None

    def trips(self, streak: Streak, scope: Scope) -> list[Trip]:
        """The policies whose threshold the streak of this scope has reached."""
        return [_tripped(policy, streak, scope) for policy in self.policies if streak.failures >= policy.threshold]


class WindowSeries(NamedTuple):
    """One window of calls for each scope of a kind, and the policies that look at it."""

    name: str
    kind: ScopeKind
    types: frozenset[FailureType] | None
    calls: int
    policies: tuple[FailureRate, ...]
    shared: bool = False

    def failed(self, row: Row) -> Window:
        """The window after one more call, which failed."""
        return self._entered(row, 1)

    def succeeded(self, row: Row) -> Window:
        """The window after one more call, which did not fail."""
        return self._entered(row, 0)

    def _entered(self, row: Row, bit: int) -> Window:
        window = self.window(row)
        return Window(self.name, min(window.calls + 1, self.calls), (window.bits << 1 | bit) & ((1 << self.calls) - 1))

    def window(self, row: Row) -> Window:
        """This series' window in a row."""
        for item in row:
            if isinstance(item, Window) and item.series == self.name:
                return item
        return Window(self.name, 0, 0)

    def trips(self, window: Window, scope: Scope) -> Iterator[Trip]:
        """The policies whose ratio the window of this scope has reached."""
        for policy in self.policies:
            rate = window.bits.bit_count() / self.calls
            if window.calls == self.calls and rate >= policy.ratio:
                what = f"failure rate {rate:.0%}{_of(policy, scope)} over {self.calls} calls (limit {policy.ratio:.0%})"
                yield Trip(_halted(policy, scope), policy.level, what)


Series = StreakSeries | WindowSeries


def _tripped(policy: ConsecutiveFailures, streak: Streak, scope: Scope) -> Trip:
    noun = "failure" if streak.failures == 1 else "failures"
    what = f"{streak.failures} consecutive {noun}{_of(policy, scope)} (threshold {policy.threshold})"
    return Trip(_halted(policy, scope), policy.level, what, streak.failures, policy.threshold)


def _halted(policy: Policy, scope: Scope) -> Scope:
    return EVERYTHING if policy.halt_scope == "global" else scope


def _of(policy: Policy, scope: Scope) -> str:
    """Which failures a reason speaks of, where they are not simply the last ones."""
    whose = f" of {scope}" if scope.kind in ("strategy", "symbol") else ""
    return whose + (f" of type {', '.join(sorted(policy.types))}" if policy.types else "")


class Ledger:
    """The counting rules for one set of policies.

    Args:
        policies: What to count; this process's global streak is counted whether or not one of them looks at it.
        window: For policies that have no window of their own; None = a streak never ages.
    """

    __slots__ = ("_global", "_kinds", "_names", "_shared_kinds", "counts_successes", "series")

    def __init__(self, policies: Iterable[Policy], window: timedelta | None) -> None:
        self.series = _series_of(policies, _seconds(window))
        self._kinds: frozenset[ScopeKind] = frozenset(series.kind for series in self.series)
        self._shared_kinds: frozenset[ScopeKind] = frozenset(series.kind for series in self.series if series.shared)
        self.counts_successes = any(isinstance(series, WindowSeries) for series in self.series)
        self._names = frozenset(series.name for series in self.series)
        everything = _name("global", _seconds(window))
        self._global = next(s for s in self.series if isinstance(s, StreakSeries) and s.name == everything)

    @property
    def longest_window(self) -> float | None:
        """Seconds after which no streak remembers a failure any more; None = never."""
        windows = [series.within for series in self.series if isinstance(series, StreakSeries)]
        return None if None in windows else max(filter(None, windows), default=None)

    def scopes(self, strategy: str, symbol: str) -> dict[ScopeKind, Scope]:
        """The scopes whose rows a failure of this key reads and writes."""
        every = scopes_of(strategy, symbol)
        return {kind: every[kind] for kind in self._kinds}

    def shared(self, scopes: Mapping[ScopeKind, Scope]) -> list[Scope]:
        """Those of the scopes whose rows are shared by all processes."""
        return [scopes[kind] for kind in self._shared_kinds]

    def fail(
        self,
        rows: Mapping[Scope, Row],
        own: Mapping[Scope, Row],
        scopes: Mapping[ScopeKind, Scope],
        failure_type: FailureType,
        now: float,
    ) -> Counted:
        """Count one failure.

        Args:
            rows: The rows as they stand; only those of these scopes are read.
            own: The rows of what is this process's own.
            scopes: The scopes of the key that failed, from `scopes`.
            failure_type: What kind, for policies with `types=`.
            now: The time, as in `Streak.last`.
        """
        changed: dict[Scope, Row] = {}
        changed_own: dict[Scope, Row] = {}
        trips: list[Trip] = []
        streaks: list[tuple[Streak, ConsecutiveFailures]] = []
        too_far_apart: float | None = None
        for series in self.series:
            if series.types is None or failure_type in series.types:
                scope = scopes[series.kind]
                table, new = (rows, changed) if series.shared else (own, changed_own)
                row = new.get(scope) or table.get(scope, ())
                if isinstance(series, WindowSeries):
                    window = series.failed(row)
                    new[scope] = _replaced(row, window)
                    trips += series.trips(window, scope)
                else:
                    streak = series.failed(row, now)
                    new[scope] = _replaced(row, streak)
                    trips += series.trips(streak, scope)
                    streaks += [(streak, policy) for policy in series.policies]
                    too_far_apart = too_far_apart or series.too_short_a_window(streak)
        length, threshold = self._nearest(streaks, changed_own[EVERYTHING])
        return Counted(changed, changed_own, tuple(trips), length, threshold, too_far_apart)

    def _nearest(self, streaks: list[tuple[Streak, ConsecutiveFailures]], everything: Row) -> tuple[int, int | None]:
        """The length and threshold of the streak that is nearest to its threshold."""
        nearest: tuple[int, int] | None = None
        for streak, policy in streaks:
            if nearest is None or streak.failures * nearest[1] > nearest[0] * policy.threshold:
                nearest = streak.failures, policy.threshold
        if nearest is not None:
            return nearest
        only = self._global.streak(everything)
        return (only.failures if only else 0), None

    def succeed(self, rows: Mapping[Scope, Row], own: Mapping[Scope, Row], strategy: str, symbol: str) -> Recovered:
        """Count one success.

        Args:
            rows: The rows as they stand; those of all four scopes of the key are read, for trackers with other
                policies may keep theirs in the same store.
            own: The rows of what is this process's own.
            strategy: Whose success.
            symbol: Whose success.
        """
        changed: dict[Scope, Row | None] = {}
        changed_own: dict[Scope, Row | None] = {}
        failures = 0
        for scope in scopes_of(strategy, symbol).values():
            if scope in rows:
                changed[scope] = None  # there is nothing in it but streaks
                failures = failures or _unbroken(scope, rows[scope])
            row = own.get(scope, ())
            new = self._after_success(scope.kind, row)
            if new != row:
                changed_own[scope] = new or None
        return Recovered(changed, changed_own, failures)

    def _after_success(self, kind: ScopeKind, row: Row) -> Row:
        own = [series.succeeded(row) for series in self.series if series.kind == kind and not series.shared]
        others = [item for item in row if isinstance(item, Window) and item.series not in self._names]
        return (*others, *[item for item in own if item is not None])

    def consecutive(self, own: Mapping[Scope, Row], now: float) -> int:
        """The length of this process's global streak; 0 once it has aged."""
        streak = self._global.streak(own.get(EVERYTHING, ()))
        return streak.failures if streak is not None and not self._global.aged(streak, now) else 0


def is_live(rows: Collection[Scope], strategy: str, symbol: str) -> bool:
    """Whether there is a row in any scope of this key."""
    # Plain tuples equal scopes and are made quicker; this runs once per call while a streak is live.
    return (strategy, symbol) in rows or EVERYTHING in rows or (strategy, None) in rows or (None, symbol) in rows


def _unbroken(scope: Scope, row: Row) -> int:
    """The failures since the last success, of a scope finer than everything."""
    if scope == EVERYTHING:
        return 0
    return max((item.unbroken for item in row if isinstance(item, Streak)), default=0)


def _replaced(row: Row, item: Streak | Window) -> Row:
    return (*[other for other in row if other.series != item.series], item)


def _seconds(window: timedelta | None) -> float | None:
    return None if window is None else window.total_seconds()


def _series_of(policies: Iterable[Policy], window: float | None) -> tuple[Series, ...]:
    """The global series, and one series for all policies that count in the same way."""
    groups: dict[str, list[Policy]] = {_name("global", window): []}
    for policy in policies:
        groups.setdefault(_series_name(policy, window), []).append(policy)
    everything = StreakSeries(_name("global", window), "global", None, window, (), shared=False)
    return tuple(_series(name, group, window) if group else everything for name, group in groups.items())


def _series_name(policy: Policy, window: float | None) -> str:
    name: str = FLEET if isinstance(policy, ConsecutiveFailures) and policy.shared else policy.scope
    if policy.types is not None:
        name += ":" + ",".join(sorted(policy.types))
    if isinstance(policy, FailureRate):
        return f"{name}/{policy.calls}"
    return _name(name, _within(policy, window))


def _name(of: str, within: float | None) -> str:
    """What a series of streaks is called: trackers on one store whose windows differ must not share one."""
    return of if within is None else f"{of} within {within:.15g} s"


def _series(name: str, group: list[Policy], window: float | None) -> Series:
    first = group[0]
    if isinstance(first, FailureRate):
        rates = tuple(policy for policy in group if isinstance(policy, FailureRate))
        return WindowSeries(name, first.scope, first.types, first.calls, rates)
    streaks = tuple(policy for policy in group if isinstance(policy, ConsecutiveFailures))
    shared = first.shared or first.scope != "global"
    return StreakSeries(name, first.scope, first.types, _within(first, window), streaks, shared=shared)


def _within(policy: ConsecutiveFailures, window: float | None) -> float | None:
    return window if policy.within is ... else _seconds(policy.within)
