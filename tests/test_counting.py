"""The counting rules, by property: the tracker against a reference of ten lines."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import NamedTuple

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from guarded import ConsecutiveFailures, FailureRate, FailureTracker, FailureType, MemoryStore, Scope
from guarded.stores import Store
from guarded.testing import FakeClock

STRATEGIES = ("VWAP", "RSI")
SYMBOLS = ("AAPL", "MSFT")
WINDOW = 300.0
POLICIES = (
    ConsecutiveFailures(3, scope="global"),
    ConsecutiveFailures(4, scope="global", shared=True, within=timedelta(seconds=90)),
    ConsecutiveFailures(3, scope="key"),
    ConsecutiveFailures(4, scope="strategy", halt_scope="same"),
    ConsecutiveFailures(4, scope="symbol", within=None, halt_scope="same"),
    ConsecutiveFailures(
        2, scope="key", types={FailureType.CONNECTION_ERROR}, within=timedelta(seconds=90), halt_scope="same"
    ),
    FailureRate(0.5, calls=4, scope="strategy", halt_scope="same", level="reducing"),
    FailureRate(0.75, calls=4, scope="key", types={FailureType.DATA_ERROR}, halt_scope="same"),
)


class Happened(NamedTuple):
    """One thing that happened; `type` None is a success."""

    scope: Scope
    type: FailureType | None
    at: float


@dataclass
class Reference:
    """What ought to be counted, from the list of all that happened since the scope was last resumed."""

    log: list[Happened]

    def streak(self, scope: Scope, types: frozenset[FailureType] | None, within: float | None) -> int:
        length, later = 0, None
        for event in reversed([event for event in self.log if scope.covers(event.scope)]):
            if event.type is None or (within is not None and later is not None and later - event.at > within):
                break
            if types is None or event.type in types:
                length, later = length + 1, event.at
        return length

    def rate(self, scope: Scope, types: frozenset[FailureType] | None, calls: int) -> float:
        seen = [e for e in self.log if scope.covers(e.scope) and (e.type is None or types is None or e.type in types)]
        return sum(e.type is not None for e in seen[-calls:]) / calls if len(seen) >= calls else 0.0


def scope_of(policy: ConsecutiveFailures | FailureRate, strategy: str, symbol: str) -> Scope:
    kinds = {"global": Scope(), "strategy": Scope(strategy), "symbol": Scope(None, symbol)}
    return kinds.get(policy.scope, Scope(strategy, symbol))


class Counting(RuleBasedStateMachine):
    """Failures, successes, time and resumes in any order."""

    def open_store(self) -> Store:
        return MemoryStore()

    @initialize(chosen=st.lists(st.sampled_from(POLICIES), min_size=1, max_size=4, unique=True))
    def start(self, chosen: list[ConsecutiveFailures | FailureRate]) -> None:
        self.clock = FakeClock()
        self.policies = chosen
        self.tracker = FailureTracker(policies=chosen, clock=self.clock, store=self.open_store())
        self.reference = Reference([])
        self.halted: set[Scope] = set()
        self.totals: dict[str, int] = {}

    @rule(strategy=st.sampled_from(STRATEGIES), symbol=st.sampled_from(SYMBOLS), kind=st.sampled_from(FailureType))
    def fail(self, strategy: str, symbol: str, kind: FailureType) -> None:
        self.tracker.record_failure(strategy, symbol, "an error event", kind)
        self.reference.log.append(Happened(Scope(strategy, symbol), kind, self.clock.monotonic()))
        self.totals[strategy] = self.totals.get(strategy, 0) + 1
        for policy in self.policies:
            scope = scope_of(policy, strategy, symbol)
            if (policy.types is None or kind in policy.types) and self.reached(policy, scope):
                self.halted.add(scope if policy.halt_scope == "same" else Scope())

    def reached(self, policy: ConsecutiveFailures | FailureRate, scope: Scope) -> bool:
        if isinstance(policy, FailureRate):
            return self.reference.rate(scope, policy.types, policy.calls) >= policy.ratio
        own = policy.within
        within = WINDOW if own is ... else None if own is None else own.total_seconds()
        return self.reference.streak(scope, policy.types, within) >= policy.threshold

    @rule(strategy=st.sampled_from(STRATEGIES), symbol=st.sampled_from(SYMBOLS))
    def succeed(self, strategy: str, symbol: str) -> None:
        self.tracker.record_success(strategy, symbol)
        self.reference.log.append(Happened(Scope(strategy, symbol), None, self.clock.monotonic()))

    @rule(seconds=st.sampled_from([30, 91, 300, 301]))
    def wait(self, seconds: int) -> None:
        self.clock.advance(timedelta(seconds=seconds))

    @rule()
    def resume_everything(self) -> None:
        self.tracker.resume(by="ana", reason="checked")
        if Scope() in self.halted:
            self.halted.discard(Scope())
            self.reference.log.clear()

    @rule()
    def reset(self) -> None:
        self.tracker.reset()
        self.reference.log.clear()

    @invariant()
    def agrees_with_the_reference(self) -> None:
        if not hasattr(self, "tracker"):
            return
        log = self.reference.log
        aged = bool(log) and self.clock.monotonic() - max((e.at for e in log if e.type), default=0.0) > WINDOW
        assert self.tracker.consecutive_failures == (0 if aged else self.reference.streak(Scope(), None, WINDOW))
        assert {halt.scope for halt in self.tracker.halts} == self.halted
        assert self.tracker.strategy_failures == self.totals
        assert self.tracker.total_failures == sum(self.totals.values())


TestCounting = pytest.mark.filterwarnings("default")(Counting.TestCase)
TestCounting.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
