"""Policies: what they refuse to be, and what they make of failures and successes."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from dataclasses import FrozenInstanceError, replace
from datetime import timedelta
from typing import Any

import pytest

from guarded import (
    ConsecutiveFailures,
    EmergencyHaltManager,
    FailureRate,
    FailureTracker,
    FailureType,
    HaltLevel,
    InvalidConfiguration,
    MemoryStore,
    Scope,
    guarded_signal,
    track_signal,
)
from guarded._policies import described
from guarded.testing import FakeClock

Make = Callable[..., Any]


def consecutive(**settings: Any) -> ConsecutiveFailures:
    return ConsecutiveFailures(**{"threshold": 3, **settings})


def rate(**settings: Any) -> FailureRate:
    return FailureRate(**{"ratio": 0.5, "calls": 10, **settings})


def fail(tracker: FailureTracker, strategy: str = "VWAP", symbol: str = "AAPL", kind: str = "data_error") -> None:
    tracker.record_failure(strategy, symbol, "bad bar", kind)


class TestSettings:
    @pytest.mark.parametrize("threshold", [0, -1, True, "3", 2.0, None])
    def test_threshold(self, threshold: object) -> None:
        """A threshold is a whole number of at least 1."""
        with pytest.raises(InvalidConfiguration) as caught:
            consecutive(threshold=threshold)
        assert str(caught.value) == (
            f"ConsecutiveFailures(threshold)={threshold!r}: expected a whole number of at least 1"
        )

    @pytest.mark.parametrize("within", [timedelta(0), timedelta(seconds=-1), 300, "5 minutes"])
    def test_within(self, within: object) -> None:
        """A window is a positive timedelta, or None for never."""
        with pytest.raises(InvalidConfiguration) as caught:
            consecutive(within=within)
        assert str(caught.value) == (
            f"ConsecutiveFailures(within)={within!r}:"
            " expected a positive timedelta, such as timedelta(minutes=5), or None for never"
        )

    @pytest.mark.parametrize("ratio", [2, 1.01, 0, -0.5, float("nan"), float("inf"), True, "0.5", None])
    def test_ratio(self, ratio: object) -> None:
        """A ratio is above 0 and at most 1."""
        with pytest.raises(InvalidConfiguration) as caught:
            rate(ratio=ratio)
        assert str(caught.value) == (
            f"FailureRate(ratio)={ratio!r}: expected a share above 0 and at most 1, such as 0.5"
        )

    @pytest.mark.parametrize("calls", [0, -3, True, "10", 1.5])
    def test_calls(self, calls: object) -> None:
        """A rate is taken over at least one call."""
        with pytest.raises(InvalidConfiguration) as caught:
            rate(calls=calls)
        assert str(caught.value) == f"FailureRate(calls)={calls!r}: expected a whole number of at least 1"

    @pytest.mark.parametrize(("make", "name"), [(consecutive, "ConsecutiveFailures"), (rate, "FailureRate")])
    @pytest.mark.parametrize(
        ("setting", "value", "says"),
        [
            ("scope", "account", "='account': expected one of 'key', 'strategy', 'symbol', 'global'"),
            ("scope", None, "=None: expected one of 'key', 'strategy', 'symbol', 'global'"),
            ("halt_scope", "key", "='key': expected one of 'global', 'same'"),
            ("level", "paused", "='paused': expected one of 'reducing', 'halted'"),
            ("types", "data_error", "='data_error': expected a set of failure types, such as {'data_error'}"),
            ("types", 7, "=7: expected a set of failure types"),
            ("types", [], " is empty: a policy over no type never halts; leave it out for all types"),
            (
                "types",
                ["data_eror"],
                (
                    "='data_eror': expected a FailureType or one of 'strategy_error', 'data_error', 'execution_error',"
                    " 'connection_error', 'configuration_error', 'unknown_error'; did you mean 'data_error'?"
                ),
            ),
            (
                "types",
                [7],
                (
                    "=7: expected a FailureType or one of 'strategy_error', 'data_error', 'execution_error',"
                    " 'connection_error', 'configuration_error', 'unknown_error'"
                ),
            ),
        ],
    )
    def test_what_both_share(self, make: Make, name: str, setting: str, value: object, says: str) -> None:
        """Every other setting that cannot work is named with what was expected."""
        with pytest.raises(InvalidConfiguration) as caught:
            make(**{setting: value})
        assert str(caught.value) == f"{name}({setting}){says}"

    def test_a_single_type_is_no_set(self) -> None:
        """A FailureType by itself is a text, not a set of types."""
        with pytest.raises(InvalidConfiguration, match="expected a set of failure types"):
            consecutive(types=FailureType.DATA_ERROR)

    @pytest.mark.parametrize("make", [consecutive, rate])
    def test_names_become_members(self, make: Make) -> None:
        """Types and levels may be given by their values; the policy has the members."""
        policy = make(types=["data_error", FailureType.UNKNOWN_ERROR], level="reducing")
        assert policy.types == frozenset({FailureType.DATA_ERROR, FailureType.UNKNOWN_ERROR})
        assert policy.level is HaltLevel.REDUCING
        assert all(isinstance(kind, FailureType) for kind in policy.types)

    @pytest.mark.parametrize(
        ("settings", "says"),
        [
            ({"scope": "global", "shared": "yes"}, r"ConsecutiveFailures(shared)='yes': expected True or False"),
            (
                {"shared": True},
                'ConsecutiveFailures(shared=True) is for scope="global": the streak of each key is shared',
            ),
        ],
    )
    def test_shared(self, settings: dict[str, Any], says: str) -> None:
        """Only the streak of everything can be asked to be the fleet's, by True or False."""
        with pytest.raises(InvalidConfiguration) as caught:
            consecutive(**settings)
        assert says in str(caught.value)

    def test_as_the_audit_has_them(self) -> None:
        """A policy is described by what it was given, in words and figures."""
        policy = ConsecutiveFailures(2, types={"data_error", "connection_error"}, within=None, level="reducing")
        assert described(policy) == (
            "ConsecutiveFailures(threshold=2, within=None, types=connection_error|data_error, level=reducing)"
        )
        assert described(FailureRate(0.5, calls=20)) == "FailureRate(ratio=0.5, calls=20)"

    def test_a_block_that_is_exempt_where_nothing_is_halted(self) -> None:
        """A block that would run while halted is entered the long way as any, where successes are counted."""
        tracker = FailureTracker(policies=[rate(calls=1)])
        with track_signal("VWAP", "AAPL", tracker=tracker, when_halted="run") as signal:
            signal.value = "long"
        assert signal.value == "long"

    def test_defaults(self) -> None:
        """By default a policy counts each key, looks at every type, and halts everything."""
        assert repr(ConsecutiveFailures(3)) == (
            "ConsecutiveFailures(threshold=3, scope='key', within=Ellipsis, types=None, halt_scope='global',"
            " level=<HaltLevel.HALTED: 'halted'>, shared=False)"
        )
        assert repr(FailureRate(1, calls=4)) == (
            "FailureRate(ratio=1.0, calls=4, scope='key', types=None, halt_scope='global',"
            " level=<HaltLevel.HALTED: 'halted'>)"
        )

    @pytest.mark.parametrize("policy", [consecutive(types=["data_error"]), rate(level="reducing")])
    def test_records(self, policy: ConsecutiveFailures | FailureRate) -> None:
        """A policy is immutable, hashable, and equal to its copies."""
        with pytest.raises(FrozenInstanceError):
            policy.scope = "global"  # type: ignore[misc]
        assert {policy, copy.copy(policy), pickle.loads(pickle.dumps(policy))} == {policy}  # noqa: S301  # our own
        assert replace(policy, scope="symbol").scope == "symbol"
        with pytest.raises(InvalidConfiguration):
            replace(policy, scope="account")  # type: ignore[arg-type]


class TestTrackersSettings:
    @pytest.mark.parametrize("beside", [{"failure_threshold": 3}, {"reset_window": timedelta(minutes=5)}])
    def test_policies_stand_alone(self, beside: dict[str, Any]) -> None:
        """Policies beside failure_threshold or reset_window, even with their defaults, is an error."""
        with pytest.raises(InvalidConfiguration, match="cannot be given beside policies: write ConsecutiveFailures"):
            FailureTracker(policies=[consecutive()], **beside)

    @pytest.mark.parametrize(
        ("policies", "says"),
        [
            ([], "policies is empty: nothing would ever halt; leave it out for the default"),
            ([3], "policies: 3 is neither a ConsecutiveFailures nor a FailureRate"),
            ([ConsecutiveFailures], "is neither a ConsecutiveFailures nor a FailureRate"),
            (consecutive(), r"policies=ConsecutiveFailures\(.*expected several of them, such as \[Consec"),
            (3, "policies=3: expected several of them"),
        ],
    )
    def test_what_are_no_policies(self, policies: Any, says: str) -> None:
        """No policies, a foreign object among them, or one that is in no list, is an error."""
        with pytest.raises(InvalidConfiguration, match=says):
            FailureTracker(policies=policies)


class TestConsecutiveFailures:
    def test_types(self) -> None:
        """With types=, other types neither extend nor break the streak; a success breaks it."""
        tracker = FailureTracker(policies=[consecutive(types=["connection_error"])])
        for kind in ("connection_error", "data_error", "connection_error", "data_error"):
            fail(tracker, kind=kind)
        assert not tracker.halt_triggered
        tracker.record_success("VWAP", "AAPL")
        for kind in ("connection_error", "data_error", "connection_error"):
            fail(tracker, kind=kind)
        assert not tracker.halt_triggered
        fail(tracker, kind="connection_error")
        assert tracker.halt_reason == (
            "3 consecutive failures of type connection_error (threshold 3); last: VWAP for AAPL: bad bar"
        )

    @pytest.mark.parametrize(
        ("within", "halts"), [(..., False), (None, True), (timedelta(minutes=10), True), (timedelta(minutes=1), False)]
    )
    def test_within(self, clock: FakeClock, within: Any, halts: bool) -> None:
        """within= is the policy's own window, None is never, and without it the tracker's counts."""
        tracker = FailureTracker(policies=[consecutive(within=within)], clock=clock)
        for _ in range(3):
            fail(tracker)
            clock.advance(timedelta(minutes=6))
        assert tracker.halt_triggered is halts

    @pytest.mark.parametrize("swapped", [False, True])
    def test_two_windows(self, clock: FakeClock, swapped: bool) -> None:
        """Of two policies that differ in their windows each counts by its own, in whatever order they are given."""
        policies = [consecutive(threshold=2, within=timedelta(minutes=1)), consecutive(threshold=3, within=None)]
        tracker = FailureTracker(policies=policies[::-1] if swapped else policies, clock=clock)
        for halted in (False, False, True):
            clock.advance(timedelta(minutes=6))
            fail(tracker)
            assert tracker.halt_triggered is halted
        assert tracker.halts[0].threshold == 3

    def test_two_windows_on_one_store(self, clock: FakeClock) -> None:
        """A tracker with a short window does not start the streaks again of one with a longer window on its store."""
        store = MemoryStore()
        short, long = (
            FailureTracker(reset_window=timedelta(minutes=minutes), store=store, clock=clock) for minutes in (1, 10)
        )
        for halted in (False, False, True):
            clock.advance(timedelta(minutes=6))
            fail(short)
            fail(long)
            assert long.halt_triggered is halted

    @pytest.mark.parametrize(
        ("scope", "same"),
        [
            ("key", Scope("VWAP", "AAPL")),
            ("strategy", Scope("VWAP")),
            ("symbol", Scope(None, "AAPL")),
            ("global", Scope()),
        ],
    )
    @pytest.mark.parametrize("halt_scope", ["global", "same"])
    def test_halt_scope(self, scope: Any, same: Scope, halt_scope: Any) -> None:
        """With "same" the scope whose streak it was is halted, with "global" everything."""
        tracker = FailureTracker(policies=[consecutive(scope=scope, halt_scope=halt_scope)])
        for _ in range(3):
            fail(tracker)
        assert [halt.scope for halt in tracker.halts] == [same if halt_scope == "same" else Scope()]

    def test_level(self) -> None:
        """A policy with level="reducing" lets calls that only close positions run."""
        tracker = FailureTracker(policies=[consecutive(level="reducing")])
        for _ in range(3):
            fail(tracker)
        close = guarded_signal(tracker=tracker, reduce_only=True)(lambda: "sell")
        assert close() == "sell"
        buy = guarded_signal(tracker=tracker)(lambda: "buy")
        assert buy() is None

    def test_the_stricter_of_two(self) -> None:
        """Of two policies that trip at once for one scope, the stricter level is latched, in one episode."""
        tracker = FailureTracker(policies=[consecutive(threshold=1, level="reducing"), consecutive(threshold=1)])
        fail(tracker)
        assert [halt.level for halt in tracker.halts] == [HaltLevel.HALTED]
        assert len(tracker.halt_manager.history) == 1


class TestFailureRate:
    def test_judged_once_there_are_enough_calls(self) -> None:
        """Fewer calls than the rate is taken over never halt, however many fail."""
        tracker = FailureTracker(policies=[rate(ratio=0.5, calls=4)])
        for _ in range(3):
            fail(tracker)
        assert not tracker.halt_triggered
        fail(tracker)
        assert tracker.halt_reason == (
            "failure rate 100% over 4 calls (limit 50%); last: VWAP for AAPL: bad bar"
        )  # fmt: skip

    def test_old_calls_fall_out(self) -> None:
        """Failures before the last calls do not count."""
        tracker = FailureTracker(policies=[rate(ratio=0.5, calls=4)])
        fail(tracker)
        for _ in range(4):
            tracker.record_success("VWAP", "AAPL")
        fail(tracker)
        assert not tracker.halt_triggered
        fail(tracker)
        assert tracker.halt_triggered

    def test_successes_between_do_not_matter(self) -> None:
        """A strategy that fails every other call never has a streak, and halts by its rate."""
        tracker = FailureTracker(policies=[rate(ratio=0.5, calls=4)])
        for _ in range(3):
            tracker.record_success("VWAP", "AAPL")
            fail(tracker)
        assert tracker.halt_triggered
        assert tracker.total_failures == 3

    def test_through_guards(self) -> None:
        """Guarded calls and blocks that succeed are counted, refused ones are not."""
        tracker = FailureTracker(policies=[rate(ratio=1, calls=2)])
        results = iter([1.0, 0.0, 0.0])

        @guarded_signal(strategy="VWAP", symbol="AAPL", tracker=tracker)
        def signal() -> float:
            return 1 / next(results)

        signal()
        with track_signal("VWAP", "AAPL", tracker=tracker) as block:
            block.value = 1.0
        signal()
        assert not tracker.halt_triggered
        signal()
        assert tracker.halt_triggered
        assert signal() is None
        assert (tracker.total_failures, tracker.refusals) == (2, 1)

    @pytest.mark.parametrize(
        ("scope", "others"), [("key", False), ("strategy", True), ("symbol", False), ("global", True)]
    )
    def test_scopes(self, scope: Any, others: bool) -> None:
        """The calls of a scope are counted together."""
        tracker = FailureTracker(policies=[rate(ratio=1, calls=2, scope=scope)])
        fail(tracker, symbol="AAPL")
        fail(tracker, symbol="MSFT")
        assert tracker.halt_triggered is others

    def test_types(self) -> None:
        """With types=, calls that failed with another type are not among the calls."""
        tracker = FailureTracker(policies=[rate(ratio=1, calls=2, types=["connection_error"])])
        fail(tracker, kind="connection_error")
        fail(tracker, kind="data_error")
        assert not tracker.halt_triggered
        fail(tracker, kind="connection_error")
        assert tracker.halt_reason == (
            "failure rate 100% of type connection_error over 2 calls (limit 100%); last: VWAP for AAPL: bad bar"
        )

    def test_a_resume_starts_the_window_again(self) -> None:
        """After a resume the rate is taken over the calls since then."""
        tracker = FailureTracker(policies=[rate(ratio=0.5, calls=2)])
        fail(tracker)
        fail(tracker)
        tracker.resume(by="ana", reason="feed is back")
        fail(tracker)
        assert not tracker.halt_triggered

    def test_the_manager_does_not_matter(self) -> None:
        """A tracker on a shared manager counts its own calls."""
        manager = EmergencyHaltManager()
        one, two = (FailureTracker(policies=[rate(ratio=1, calls=2)], halt_manager=manager) for _ in range(2))
        fail(one)
        fail(two)
        assert not manager.is_halted()
        fail(one)
        assert manager.is_halted()
