"""Stores that outlive a process and are shared: restarts, other processes, and going on without the store."""

from __future__ import annotations

import asyncio
import copy
import gc
import logging
import os
import pickle
import signal
import sqlite3
import sys
import threading
import warnings
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule, run_state_machine_as_test
from pytest_mock import MockerFixture
from servers import Server
from stores import SHARED, Place, fork, heard
from test_counting import STRATEGIES, SYMBOLS, WINDOW, Happened, Reference

from guarded import (
    ConsecutiveFailures,
    EmergencyHaltManager,
    FailureRate,
    FailureRules,
    FailureTracker,
    FailureType,
    HaltTriggered,
    Scope,
    StoreUnavailable,
    TradingResumed,
    guarded_signal,
    set_mode,
    track_signal,
)
from guarded.stores import ALL, Change, Rows, Store, Touched
from guarded.stores._backend import Committed, Decide, News, Snapshot, Ticket
from guarded.stores._keeper import aside
from guarded.stores.redis import RedisStore
from guarded.stores.shared import SharedStore, _Task
from guarded.stores.sqlite import SQLiteStore
from guarded.testing import FakeClock, recorded_events

KEY = Scope("VWAP", "AAPL")


@pytest.fixture(params=SHARED)
def place(request: pytest.FixtureRequest, places: Callable[[str], Place]) -> Place:
    return places(request.param)


def fail(tracker: FailureTracker, times: int = 1, strategy: str = "VWAP", symbol: str = "AAPL") -> None:
    for _ in range(times):
        tracker.record_failure(strategy, symbol, ValueError("bad bar"))


def long() -> str:
    return "long"


def named(name: str) -> str:
    return name


def shared(store: Store) -> SharedStore:
    assert isinstance(store, SharedStore)
    return store


class TestRestart:
    def test_a_halt_survives(self, place: Place, caplog: pytest.LogCaptureFixture) -> None:
        """A new process on the ledger is halted, says so, knows why, refuses, and can be resumed."""
        before = place.open()
        tracker = FailureTracker(store=before)
        fail(tracker, 3)
        shared(before).close()
        caplog.clear()
        after = FailureTracker(store=place.open())
        assert "Trading is still halted for everything since" in caplog.text
        assert after.halt_triggered
        assert after.halts == tracker.halts
        assert guarded_signal(tracker=after)(lambda: "long")() is None
        after.resume(by="ana", reason="feed is back")
        assert guarded_signal(tracker=after)(lambda: "long")() == "long"

    def test_streaks_age_by_the_clock_of_the_day(self, place: Place, clock: FakeClock) -> None:
        """A streak goes on after a restart, unless the time between was longer than the window."""
        fail(FailureTracker(store=place.open(), clock=clock), 2)
        clock.advance(timedelta(minutes=4))
        restarted = FakeClock(clock.now())  # its monotonic clock begins anew
        second = FailureTracker(store=place.open(), clock=restarted)
        assert second.consecutive_failures == 0, "the global streak is the process's own"
        fail(second)
        assert second.halt_triggered
        second.resume(by="ana", reason="over")
        fail(second, 2)
        late = FailureTracker(store=place.open(), clock=FakeClock(clock.now() + timedelta(minutes=6)))
        fail(late)
        assert not late.halts

    def test_a_clock_that_jumps_back(self, place: Place, clock: FakeClock) -> None:
        """Failures whose clock was set back in between are consecutive all the same."""
        fail(FailureTracker(store=place.open(), clock=clock), 2)
        back = FailureTracker(store=place.open(), clock=FakeClock(clock.now() - timedelta(hours=1)))
        fail(back)
        assert back.halt_triggered

    def test_history_totals_and_audit(self, place: Place) -> None:
        """Failures with their traces, totals, ended halts and the audit are there after a restart."""
        before = place.open()
        tracker = FailureTracker(store=before)
        try:
            raise ValueError("bad bar")
        except ValueError as error:
            tracker.record_failure("VWAP", "AAPL", error)
        tracker.halt_manager.trigger_halt("drill", by="ana")
        tracker.resume(by="ana", reason="over")
        seen = (before.read().totals, before.failures(), before.ended(), before.audit())
        shared(before).close()
        after = place.open()
        assert (after.read().totals, after.failures(), after.ended(), after.audit()) == seen
        trace = after.failures()[0].stack_trace
        assert trace is not None
        assert "in test_history_totals_and_audit" in trace

    def test_the_announcement_does_not_warn_of_restarts(self, place: Place, caplog: pytest.LogCaptureFixture) -> None:
        """A halt in such a store is not said to be forgotten by a restart."""
        FailureTracker(store=place.open()).halt_manager.trigger_halt("drill")
        assert "a restart forgets it" not in caplog.text


class TestOtherProcesses:
    """Two stores opened on one ledger are what two processes have."""

    def test_key_streaks_are_one(self, place: Place) -> None:
        """A key that fails once in each of three processes halts all of them; who counted third announces it."""
        trackers = [FailureTracker(store=place.open()) for _ in range(3)]
        for tracker in trackers:
            fail(tracker)
        assert trackers[2].halt_triggered
        for tracker in trackers:
            heard(lambda tracker=tracker: tracker.halt_triggered)  # type: ignore[misc]
            assert tracker.halts == trackers[2].halts
            assert tracker.consecutive_failures == 1, "the global streak is each process's own"

    def test_a_success_elsewhere_ends_the_streak(self, place: Place) -> None:
        """A success of one process ends the streak that another one began, once it has heard of that."""
        one, two = FailureTracker(store=place.open()), FailureTracker(store=place.open())
        generate = guarded_signal(strategy="VWAP", symbol="AAPL", tracker=two)(lambda: "long")
        assert generate() == "long"
        fail(one, 2)
        heard(lambda: KEY in two._store.live)
        assert generate() == "long"
        assert dict(two._store.live) == {}
        heard(lambda: KEY not in one._store.live)
        one.reset()
        fail(one, 2)
        assert not one.halts

    def test_one_bad_process_does_not_halt_the_others(self, place: Place) -> None:
        """By default the global streak is counted by each process for itself."""
        one, two = FailureTracker(store=place.open()), FailureTracker(store=place.open())
        fail(one, 2, "A")
        fail(two, 2, "B")
        assert (one.consecutive_failures, two.consecutive_failures) == (2, 2)
        assert not one.halts

    def test_the_streak_of_the_fleet(self, place: Place) -> None:
        """`shared=True` counts the failures of all processes in one streak."""
        policies = [ConsecutiveFailures(3, scope="global", shared=True)]
        one, two = (FailureTracker(policies=policies, store=place.open()) for _ in range(2))
        fail(one, 1, "A")
        fail(two, 1, "B")
        fail(one, 1, "C")
        assert one.halt_triggered
        heard(lambda: two.halt_triggered)

    def test_windows_of_calls_are_their_own(self, place: Place) -> None:
        """A failure rate is taken over the calls of one process."""
        one, two = (FailureTracker(policies=[FailureRate(0.5, calls=4)], store=place.open()) for _ in range(2))
        fail(one, 2)
        for _ in range(3):
            two.record_success("VWAP", "AAPL")
        fail(two, 1)
        assert not one.halts
        assert not two.halts
        fail(one, 2)
        assert one.halt_triggered

    def test_bots_of_one_name_are_one_key(self, place: Place) -> None:
        """A bot that always fails beside one of its name that works never halts, but for a rate of its own calls."""
        plain: list[ConsecutiveFailures | FailureRate] = [ConsecutiveFailures(3)]
        for policies, halts in (plain, False), ([*plain, FailureRate(0.5, calls=4)], True):
            bad, good = (FailureTracker(policies=policies, store=place.open()) for _ in range(2))
            for _ in range(5):
                fail(bad, 1)
                shared(good._store)._catch_up()
                good.record_success("VWAP", "AAPL")
                shared(bad._store)._catch_up()
            assert bad.halt_triggered is halts

    def test_news_from_before_its_own_write(self, place: Place) -> None:
        """What another process did to a streak before this process wrote it undoes nothing; what it does later does."""
        store = shared(place.open())
        with store._lock:  # its keeper cannot look meanwhile
            fail(FailureTracker(store=store), 1)
            number = store._written[KEY]
            store._hear(News(number, [(number, KEY, False)]))
            assert KEY in store.live
            store._hear(News(number + 1, [(number + 1, KEY, False)]))
            assert KEY not in store.live

    def test_who_finds_a_halt_of_which_nobody_has_told_yet(self, place: Place) -> None:
        """A process whose own halt comes second to one that it has not heard of is halted at once all the same."""
        store = shared(place.open())
        manager = EmergencyHaltManager(store)
        with store._lock:  # its keeper cannot look meanwhile
            EmergencyHaltManager(place.open()).trigger_halt("theirs")
            assert not store.halts
            assert not manager.trigger_halt("mine")
            assert manager.is_halted()

    def test_every_process_is_told(self, place: Place) -> None:
        """Halts, stricter levels and resumes by one process are events in every other one, each once."""
        one, two = FailureTracker(store=place.open()), FailureTracker(store=place.open())
        with recorded_events(one) as mine, recorded_events(two) as others:
            one.halt_manager.trigger_halt("drawdown", level="reducing", by="ana")
            heard(lambda: len(others.events) == 1)
            one.halt_manager.trigger_halt("worse", by="ana")
            heard(lambda: len(others.events) == 2)
            assert guarded_signal(tracker=two, reduce_only=True)(lambda: "close")() is None
            one.resume(by="ben", reason="flat")
            heard(lambda: len(others.of(TradingResumed)) == 1)
        assert [type(event) for event in mine.events] == [HaltTriggered, HaltTriggered, TradingResumed]
        first, second = others.of(HaltTriggered)
        assert (first.escalated, second.escalated, second.halt.level) == (False, True, "halted")
        (resumed,) = others.of(TradingResumed)
        assert (resumed.by, resumed.reason) == ("ben", "flat")

    def test_a_resume_elsewhere_clears_the_own_streak(self, place: Place) -> None:
        """A resume by one process clears the global streak of every other, so that one failure does not halt again."""
        one, two = FailureTracker(store=place.open()), FailureTracker(store=place.open())
        fail(one, 3)
        heard(lambda: two.halt_triggered)
        fail(two, 2, "RSI", "MSFT")
        one.resume(by="ana", reason="over")
        heard(lambda: not two.halt_triggered)
        assert two.consecutive_failures == 0
        fail(two, 1, "A", "A")
        assert not two.halts

    def test_a_halt_that_was_resumed_and_set_again_between_two_looks(self, place: Place) -> None:
        """A process that hears of an end and of a new halt at once is told of both, in that order."""
        store = shared(place.open())
        one, two = FailureTracker(store=place.open()), FailureTracker(store=store)
        with recorded_events(two) as others:
            one.halt_manager.trigger_halt("first")
            heard(lambda: two.halt_triggered)
            with store._lock:  # it cannot look meanwhile
                one.resume(by="ana", reason="over")
                one.halt_manager.trigger_halt("second")
            heard(lambda: two.halt_reason == "second")
            heard(lambda: len(others.events) == 3)
        assert [type(event) for event in others.events] == [HaltTriggered, TradingResumed, HaltTriggered]

    def test_without_a_manager_there_is_nobody_to_tell(self, place: Place) -> None:
        """A store whose managers are gone keeps up to date all the same."""
        store = place.open()
        one = FailureTracker(store=place.open())
        one.halt_manager.trigger_halt("drill")
        heard(lambda: Scope() in store.halts)
        one.resume(by="ana", reason="over")
        heard(lambda: not store.halts)

    def test_a_store_that_nobody_holds_ends(self, place: Place) -> None:
        """The threads of a store do not keep it alive, and end with it."""
        before = set(threading.enumerate())
        store = place._open()
        alive = weakref.ref(store)
        own = set(threading.enumerate()) - before
        assert {thread.name for thread in own} == {"guarded store", "guarded events"}
        del store
        heard(lambda: gc.collect() >= 0 and alive() is None)
        heard(lambda: not any(thread.is_alive() for thread in own))

    def test_who_is_there(self, place: Place) -> None:
        """The processes on a store are known, with what they have refused and whether they have a halt callback."""
        one = FailureTracker(store=place.open(), halt_callback=lambda _reason, _failure: None)
        FailureTracker(store=(other := place.open()))
        heard(lambda: len(one._store.members()) == 2)
        assert sorted(member.has_callback for member in other.members()) == [False, True]
        shared(other).close()
        assert len(one._store.members()) == 1

    def test_last_successes(self, place: Place) -> None:
        """When each strategy last succeeded is known to every process within some seconds."""
        one = FailureTracker(store=place.open())
        other = place.open()
        momentum = guarded_signal(strategy="{name}", symbol="AAPL", tracker=one)(named)
        static = guarded_signal(strategy="RSI", symbol="AAPL", tracker=one)(long)
        store = shared(one._store)
        store._beat()
        earliest = datetime.now(UTC)
        for _ in range(3):
            static()
            momentum("Momentum")
            with track_signal("VWAP", "AAPL", tracker=one):
                pass
        store._beat()
        assert other.successes().keys() == {"RSI", "Momentum", "VWAP"}
        assert all(earliest <= moment <= datetime.now(UTC) for moment in other.successes().values())

    def test_after_many_successes_nobody_looks(self, place: Place) -> None:
        """Which strategies succeed is looked at for some thousand calls, then calls cost what they cost without."""
        tracker = FailureTracker(store=place.open())
        generate = guarded_signal(strategy="{name}", symbol="AAPL", tracker=tracker)(named)
        tracker._take_successes()
        for _ in range(500):
            generate("VWAP")
        assert tracker._live
        generate("VWAP")
        assert not tracker._live
        assert tracker._take_successes().keys() == {"VWAP"}
        assert tracker._live

    def test_nothing_is_asked_while_keys_of_others_fail(self, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
        """A success whose own key has no streak and no halt asks the store nothing, while others fail and halt."""
        policies = [ConsecutiveFailures(3, scope="key", halt_scope="same")]
        one, two = (FailureTracker(policies=policies, store=place.open()) for _ in range(2))
        fail(one, 3, "Dead")
        fail(one, 1, "Ill")
        heard(lambda: len(two.halt_manager.store.halts) == 1 and len(two._store.live) == 2)
        backend = shared(two._store)._backend
        for name in ("commit", "read", "snapshot", "claim"):
            monkeypatch.setattr(backend, name, None)
        static = guarded_signal(strategy="VWAP", symbol="AAPL", tracker=two)(long)
        template = guarded_signal(strategy="{name}", symbol="AAPL", tracker=two)(named)
        for _ in range(3):
            assert static() == "long"
            assert template("VWAP") == "VWAP"
            assert template("Dead") is None


class CountingTogether(RuleBasedStateMachine):
    """Failures, successes and time in two processes, each of which has heard of what the other did."""

    place: Callable[[], Place]

    @initialize()
    def start(self) -> None:
        self.clock = FakeClock()
        self.opened = type(self).place()
        policies = [
            ConsecutiveFailures(3, scope="key", halt_scope="same"),
            ConsecutiveFailures(4, scope="strategy", within=None, halt_scope="same"),
            ConsecutiveFailures(6, scope="global", shared=True),
        ]
        self.trackers = [
            FailureTracker(policies=policies, clock=self.clock, store=self.opened.open()) for _ in range(2)
        ]
        self.policies = policies
        self.references = [Reference([]), Reference([]), Reference([])]  # of keys, of strategies, of everything
        self.halted: set[Scope] = set()

    def in_turn(self, which: int) -> FailureTracker:
        tracker = self.trackers[which]
        shared(tracker._store)._catch_up()
        return tracker

    @rule(which=st.integers(0, 1), strategy=st.sampled_from(STRATEGIES), symbol=st.sampled_from(SYMBOLS))
    def fail(self, which: int, strategy: str, symbol: str) -> None:
        self.in_turn(which).record_failure(strategy, symbol, "an error event", "data_error")
        self.happened(strategy, symbol, FailureType.DATA_ERROR)
        scopes, windows = (Scope(strategy, symbol), Scope(strategy), Scope()), (WINDOW, None, WINDOW)
        for policy, reference, scope, within in zip(self.policies, self.references, scopes, windows, strict=True):
            if reference.streak(scope, None, within) >= policy.threshold:
                self.halted.add(scope if policy.halt_scope == "same" else Scope())

    def happened(self, strategy: str, symbol: str, kind: FailureType | None) -> None:
        for reference in self.references:
            reference.log.append(Happened(Scope(strategy, symbol), kind, self.clock.monotonic()))

    @rule(which=st.integers(0, 1), strategy=st.sampled_from(STRATEGIES), symbol=st.sampled_from(SYMBOLS))
    def succeed(self, which: int, strategy: str, symbol: str) -> None:
        self.in_turn(which).record_success(strategy, symbol)
        self.happened(strategy, symbol, None)

    @rule(seconds=st.sampled_from([30, 300, 301]))
    def wait(self, seconds: int) -> None:
        self.clock.advance(timedelta(seconds=seconds))

    @rule(which=st.integers(0, 1))
    def resume(self, which: int) -> None:
        tracker = self.in_turn(which)
        for scope in list(self.halted):
            tracker.resume(by="ana", reason="checked", strategy=scope.strategy, symbol=scope.symbol)
            self.halted.discard(scope)
            covers = (
                scope.covers,
                lambda s, by=scope: by.covers(Scope(s.strategy)),
                lambda _s, by=scope: by == Scope(),
            )
            for reference, covered in zip(self.references, covers, strict=True):
                reference.log = [event for event in reference.log if not covered(event.scope)]

    @invariant()
    def both_agree(self) -> None:
        if hasattr(self, "trackers"):
            for which in (0, 1):
                tracker = self.in_turn(which)
                assert tracker._store.halts.keys() == self.halted
                assert tracker._store.live.keys() == tracker._store.read().streaks.keys()

    def teardown(self) -> None:
        if hasattr(self, "opened"):
            self.opened.close()


@pytest.mark.parametrize("kind", SHARED)
@pytest.mark.filterwarnings("default")
def test_counting_together(kind: str, places: Callable[[str], Place], caplog: pytest.LogCaptureFixture) -> None:
    """Two processes that fail, succeed and resume in turns count as one: streaks of keys, strategies, the fleet."""
    caplog.set_level(logging.CRITICAL + 1, "guarded")
    machine = type("Machine", (CountingTogether,), {"place": lambda: places(kind)})
    chosen = settings(max_examples=40, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck))
    run_state_machine_as_test(machine, settings=chosen)


class Outage:
    """Takes a ledger away from those who have opened it, and gives it back."""

    def __init__(self, kind: str, folder: Path) -> None:
        self._path = folder / "guarded.db"
        self._lock: sqlite3.Connection | None = None
        self._server = Server("--appendonly", "yes", "--appendfsync", "always") if kind == "redis" else None
        self.place = Place(self._open)

    def _open(self) -> Store:
        if self._server is not None:
            return RedisStore(self._server.url)
        return SQLiteStore(self._path, timeout=0.05)

    def begin(self) -> None:
        if self._server is not None:
            self._server.stop()
        else:
            self._lock = sqlite3.connect(self._path, isolation_level=None, check_same_thread=False)
            self._lock.execute("BEGIN IMMEDIATE")

    def end(self) -> None:
        if self._server is not None:
            self._server.start()
        elif self._lock is not None:
            self._lock.close()

    def close(self) -> None:
        self.place.close()
        if self._lock is not None:
            self._lock.close()
        if self._server is not None:
            self._server.remove()


@pytest.fixture(params=SHARED)
def outage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Outage]:
    made = Outage(request.param, tmp_path)
    yield made
    made.close()


def lose(outage: Outage, tracker: FailureTracker) -> None:
    """Take the ledger away, and have the tracker notice."""
    outage.begin()
    tracker.reset()
    assert tracker.degraded is not None


class TestWithoutTheStore:
    def test_it_halts_by_itself(self, outage: Outage, caplog: pytest.LogCaptureFixture) -> None:
        """Without its store a process goes on counting, says so at CRITICAL, and halts at the threshold."""
        tracker = FailureTracker(store=outage.place.open())
        fail(tracker, 1)
        outage.begin()
        generate = guarded_signal(strategy="VWAP", symbol="AAPL", tracker=tracker)(lambda: 1 / 0)
        assert generate() is None
        assert tracker.degraded is not None
        heard(lambda: tracker.get_status()["degraded"] == tracker.degraded)  # each attempt to open it says why anew
        heard(lambda: f"Store: AWAY ({tracker.degraded})" in tracker.get_failure_summary())
        # Whichever thread met it first tells of it.
        heard(lambda: [r.levelname for r in caplog.records if "The store is away" in r.getMessage()] == ["CRITICAL"])
        assert generate() is None
        assert tracker.halt_triggered
        assert tracker.total_failures == 3
        assert tracker.strategy_failures == {"VWAP": 3}
        assert [failure.error_type for failure in tracker.failure_history] == ["ZeroDivisionError"] * 2
        assert generate() is None
        assert tracker.refusals == 1

    def test_what_was_counted_is_merged(self, outage: Outage) -> None:
        """When the store is back, failures, totals, streaks and the audit of the outage are in it, once each."""
        one, two = (FailureTracker(policies=[ConsecutiveFailures(5)], store=outage.place.open()) for _ in range(2))
        fail(one, 1)
        lose(outage, one)
        fail(one, 2)
        two.record_failure("RSI", "MSFT", "late")
        two.record_success("RSI", "MSFT")
        outage.end()
        heard(lambda: one.degraded is None and two.degraded is None)
        heard(lambda: one.total_failures == 4)
        assert two.total_failures == 4
        assert one.strategy_failures == {"VWAP": 3, "RSI": 1}
        assert len(one.failure_history) == 4
        streaks = one._store.read().streaks
        assert streaks.keys() == {KEY}
        assert streaks[KEY][0][1] == 2, "the reset was made before the last two failures"

        def actions() -> list[str]:
            return [entry.action for entry in one._store.audit()]

        heard(lambda: actions().count("store_lost") == actions().count("store_back") >= 2)

    def test_a_halt_of_the_outage_reaches_the_others(self, outage: Outage) -> None:
        """A halt that a process latched without its store is everybody's when the store is back, as one episode."""
        called: list[str] = []
        one = FailureTracker(store=outage.place.open(), halt_callback=lambda reason, _failure: called.append(reason))
        two = FailureTracker(store=outage.place.open(), halt_callback=lambda reason, _failure: called.append(reason))
        lose(outage, one)
        fail(one, 3)
        (halt,) = one._store.halts.values()
        assert len(called) == 1
        assert not one.callback_pending
        with recorded_events(two) as others, recorded_events(one) as mine:
            outage.end()
            heard(lambda: two.halt_triggered and one.degraded is None)
            heard(lambda: len(others.of(HaltTriggered)) == 1)
        assert two.halts[0].episode == halt.episode
        assert mine.of(HaltTriggered) == []
        assert len(called) == 1
        heard(lambda: not list(two._store.unsettled()))

    def test_both_sides_have_halted(self, outage: Outage) -> None:
        """Two processes that latched each a halt during the outage have one episode afterwards, with both reasons."""
        one, two = FailureTracker(store=outage.place.open()), FailureTracker(store=outage.place.open())
        lose(outage, one)
        lose_again(two)
        one.halt_manager.trigger_halt("seen by one", by="ana")
        two.halt_manager.trigger_halt("seen by two", by="ben", level="reducing")
        outage.end()
        heard(lambda: one.degraded is None and two.degraded is None)
        heard(lambda: [h.episode for h in one._store.halts.values()] == [h.episode for h in two._store.halts.values()])
        heard(lambda: "seen by one" in (one.halt_reason or "") and "seen by two" in (one.halt_reason or ""))
        assert one.halts[0].level == "halted"
        heard(lambda: two.halt_reason == one.halt_reason)
        assert {entry.by for entry in one._store.audit() if entry.action == "halt"} == {"ana", "ben"}

    def test_a_resume_supersedes(self, outage: Outage) -> None:
        """A halt that somebody resumed while this process was without its store is over for it as well."""
        one, two = FailureTracker(store=outage.place.open()), FailureTracker(store=outage.place.open())
        one.halt_manager.trigger_halt("drill")
        heard(lambda: two.halt_triggered)
        store = shared(two._store)
        store._lose(StoreUnavailable("cut off"))  # a stand-in: in one process both would lose the server
        one.resume(by="ana", reason="over")
        with recorded_events(two) as others:
            heard(lambda: not two.halt_triggered)
            heard(lambda: len(others.of(TradingResumed)) == 1)
        heard(lambda: two.degraded is None)
        assert not one.halts

    def test_a_resume_of_the_outage_ends_what_it_saw(self, outage: Outage) -> None:
        """A resume made without the store ends the halt that was in force here, and not another one set meanwhile."""
        one, two = FailureTracker(store=outage.place.open()), FailureTracker(store=outage.place.open())
        one.halt_manager.trigger_halt("first")
        heard(lambda: two.halt_triggered)
        shared(two._store)._lose(StoreUnavailable("cut off"))  # the same stand-in
        with shared(two._store)._lock:
            assert two.resume(by="ben", reason="looks fine") == ()
            one.resume(by="ana", reason="over")
            one.halt_manager.trigger_halt("second")
        heard(lambda: two.degraded is None and two.halt_reason == "second")
        assert [halt.resumed_by for halt in one._store.ended()] == ["ana"]

    def test_on_store_loss_halt(self, outage: Outage) -> None:
        """`on_store_loss="halt"` halts trading as soon as the store is lost, and a resume is needed afterwards."""
        tracker = FailureTracker(store=outage.place.open(), on_store_loss="halt")
        outage.begin()
        fail(tracker)
        heard(lambda: tracker.halt_triggered)  # whichever thread met it first
        assert tracker.halt_reason is not None
        assert tracker.halt_reason.startswith("the store is away: ")
        outage.end()
        heard(lambda: tracker.degraded is None)
        assert tracker.halt_triggered
        heard(lambda: len(outage.place.open().halts) == 1)
        tracker.resume(by="ana", reason="the server is back")
        assert not tracker.halt_triggered

    def test_a_process_that_is_idle_notices(self, outage: Outage) -> None:
        """A process that calls nothing notices that its store is away as well, and that it is back."""
        tracker = FailureTracker(store=outage.place.open())
        store = shared(tracker._store)
        heard(lambda: len(store.members()) == 1)
        outage.begin()
        store._keeper._beat_at = 0.0
        heard(lambda: tracker.degraded is not None)
        outage.end()
        heard(lambda: tracker.degraded is None)

    def test_what_cannot_be_asked(self, outage: Outage) -> None:
        """Without the store its audit and members cannot be read, which is an error; status and summary can."""
        tracker = FailureTracker(store=outage.place.open())
        tracker.halt_manager.trigger_halt("drill")
        lose(outage, tracker)
        tracker.resume(by="ana", reason="over")
        assert tracker.halt_manager.history[-1].resumed_by == "ana"
        tracker.clear_history()
        assert tracker.total_failures == 0
        assert tracker.get_status()["halts"] == []
        if isinstance(tracker._store, RedisStore):  # a file that is locked can still be read
            for question in (tracker._store.audit, tracker._store.members, tracker._store.successes):
                with pytest.raises(StoreUnavailable, match="Redis at redis://127"):
                    question()

    def test_a_process_that_ends_without_its_store_says_what_is_lost(
        self, outage: Outage, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A process that ends before its store is back says at CRITICAL how much is lost with it."""
        tracker = FailureTracker(store=outage.place.open())
        lose(outage, tracker)
        fail(tracker)
        shared(tracker._store).close()
        assert "changes are lost with this process, for its store is away" in caplog.text
        assert tracker.degraded is not None
        shared(tracker._store).close()

    def test_a_process_that_ends_when_its_store_is_back_loses_nothing(self, outage: Outage) -> None:
        """A process that ends merges what it knows if the store is there again, without waiting for its thread."""
        tracker = FailureTracker(store=outage.place.open())
        lose(outage, tracker)
        fail(tracker)
        outage.end()
        shared(tracker._store).close()
        assert outage.place.open().read().totals[("all", "")] == 1

    def test_at_the_start_it_fails_closed(self, outage: Outage) -> None:
        """Without its store nothing starts: the error says what, where and what to do."""
        outage.place.open()
        outage.begin()
        if outage._server is None:
            outage.end()
            outage._path.write_bytes(b"")
        with pytest.raises(StoreUnavailable, match=r"(Redis at redis://127.*running|guarded\.db is empty.*remove it)"):
            FailureTracker(store=outage._open())

    def test_a_change_is_not_made_by_its_caller_twice(self, place: Place) -> None:
        """What a caller reads off its change, once it was applied here, stays as it is when the store has it too."""
        store = shared(place.open())
        change = _Asked()
        store._lose(StoreUnavailable("gone"))
        store.update(Touched(halts=(Scope(),)), change)
        heard(lambda: store.lost is None)
        assert store.read().totals == {ALL: 1}
        assert change.asked == 1

    def test_nothing_is_read_from_a_store_that_is_lost(self, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
        """While a store is away only who opens it again asks it anything, also if a call has to catch up."""
        store = shared(place.open())
        asked: list[str] = []
        with store._lock:
            monkeypatch.setattr(store._backend, "snapshot", lambda: asked.append("snapshot"))
            store._lose(StoreUnavailable("gone"))
            store._catch_up_here()
            monkeypatch.undo()
        assert asked == []
        heard(lambda: store.lost is None)


def lose_again(tracker: FailureTracker) -> None:
    tracker.reset()
    assert tracker.degraded is not None


class _Asked:
    """A change that knows how often it was asked for."""

    asked = 0

    def __call__(self, _rows: Rows) -> Change:
        self.asked += 1
        return Change(counted=[ALL])


class TestHaltCallbacks:
    def test_another_process_runs_what_was_left_undone(self, place: Place, caplog: pytest.LogCaptureFixture) -> None:
        """A halt by a process without callback (a command line) has the callback of one that has one run, once."""
        called: list[str] = []
        trackers = [
            FailureTracker(store=place.open(), halt_callback=lambda reason, _failure: called.append(reason))
            for _ in range(2)
        ]
        EmergencyHaltManager(place.open()).trigger_halt("kill switch", by="ana")
        heard(lambda: called == ["kill switch"])
        heard(lambda: not any(list(tracker._store.unsettled()) for tracker in trackers))
        assert "was left undone by another process; this one runs it: kill switch" in caplog.text
        assert called == ["kill switch"]

    def test_the_next_start_runs_it(self, place: Place) -> None:
        """Where nobody has a callback it stays undone, until a process that has one starts."""
        store = place.open()
        tracker = FailureTracker(store=store)
        tracker.halt_manager.trigger_halt("kill switch", by="ana")
        assert list(store.unsettled())
        assert not tracker.callback_pending, "this process has none"
        called: list[str] = []
        later = FailureTracker(store=place.open(), halt_callback=lambda reason, _failure: called.append(reason))
        assert later.callback_pending
        heard(lambda: called == ["kill switch"])
        heard(lambda: not later.callback_pending)
        heard(lambda: not list(store.unsettled()))

    def test_a_process_that_ends_hands_it_over(self, place: Place) -> None:
        """A callback that has not succeeded when its process ends is run by another one."""

        def failing(_reason: str, _failure: object) -> None:
            raise ConnectionError("the broker is away")

        first = place.open()
        tracker = FailureTracker(store=first, halt_callback=failing)
        tracker.halt_manager.trigger_halt("drill")
        shared(first).close()
        called: list[str] = []
        other = FailureTracker(store=place.open(), halt_callback=lambda reason, _failure: called.append(reason))
        heard(lambda: called == ["drill"])
        heard(lambda: not other.callback_pending)

    def test_a_callback_that_raised_is_retried_by_its_own_process(self, place: Place) -> None:
        """While its process lives, a callback that raised is tried again there, also if nothing is called any more."""
        called: list[str] = []

        def failing_once(reason: str, _failure: object) -> None:
            called.append(reason)
            if len(called) == 1:
                raise ConnectionError("the broker is away")

        others: list[str] = []
        other = FailureTracker(store=place.open(), halt_callback=lambda reason, _failure: others.append(reason))
        tracker = FailureTracker(store=place.open(), halt_callback=failing_once)
        tracker.halt_manager.trigger_halt("drill")
        heard(lambda: len(called) == 2)
        heard(lambda: not tracker.callback_pending)
        heard(lambda: not other.callback_pending)
        assert others == []

    def test_a_lease_that_has_run_out(self, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
        """A process that is not heard of for longer than its lease is no reason to wait; one that is heard of is."""
        monkeypatch.setattr("guarded.stores.sqlite.LEASE", 0.2)
        monkeypatch.setattr("guarded.stores.redis.LEASE", 0.2)
        running = threading.Event()
        silent = FailureTracker(store=place.open(), halt_callback=lambda _reason, _failure: running.wait(20))
        called: list[str] = []
        other = FailureTracker(store=place.open(), halt_callback=lambda reason, _failure: called.append(reason))
        store = shared(silent._store)
        store._keeper._beat_at = float("inf")
        worker = threading.Thread(target=silent.halt_manager.trigger_halt, args=("drill",))
        worker.start()
        try:
            heard(lambda: called == ["drill"])
            heard(lambda: not other.callback_pending)
        finally:
            running.set()
            worker.join()

    def test_a_halt_of_the_merge(self, outage: Outage) -> None:
        """A halt that is tripped when the counts of an outage are merged has its callback run, by one process."""
        called: list[str] = []
        one = FailureTracker(store=outage.place.open(), halt_callback=lambda _reason, _failure: called.append("one"))
        two = FailureTracker(store=outage.place.open(), halt_callback=lambda _reason, _failure: called.append("two"))
        outage.begin()
        fail(one, 1)
        fail(two, 2)
        assert (one.halts, two.halts) == ((), ())
        outage.end()
        heard(lambda: one.degraded is None and two.degraded is None)
        heard(lambda: one.halt_triggered and two.halt_triggered)
        heard(lambda: len(called) == 1)
        heard(lambda: not list(one._store.unsettled()) and not list(two._store.unsettled()))
        assert len(called) == 1

    def test_many_halts_at_once(self, place: Place, caplog: pytest.LogCaptureFixture) -> None:
        """Of many halts by a process that has no callback, each has its callback run once by one that has."""
        caplog.set_level(100, "guarded")
        called: list[str] = []
        tracker = FailureTracker(store=place.open(), halt_callback=lambda reason, _failure: called.append(reason))
        manager = EmergencyHaltManager(place.open())
        for number in range(100):
            manager.trigger_halt(f"halt {number}", symbol=f"S{number}")
        heard(lambda: len(called) == 100, seconds=20)
        heard(lambda: not tracker.callback_pending)
        assert sorted(called) == sorted({f"halt {number}" for number in range(100)})

    @pytest.mark.parametrize("is_away", [False, True])
    def test_a_fork_leaves_its_parents_callback_alone(
        self, place: Place, clock: FakeClock, mocker: MockerFixture, *, is_away: bool
    ) -> None:
        """A callback that raised before a fork is its parent's to try again, also if the child finds no store."""
        called: list[str] = []

        def failing(reason: str, _failure: object) -> None:
            called.append(reason)
            raise ConnectionError("the broker is away")

        tracker = FailureTracker(store=place.open(), clock=clock, halt_callback=failing)
        tracker.halt_manager.trigger_halt("drill")
        fork(shared(tracker._store))
        if is_away:
            mocker.patch.object(shared(tracker._store)._backend, "open", side_effect=StoreUnavailable("away"))
        clock.advance(timedelta(minutes=2))
        before = len(called)  # the parent may have tried again already
        assert guarded_signal(tracker=tracker)(long)() is None
        assert len(called) == before

    def test_a_child_takes_over_from_a_parent_that_ends(self, place: Place, clock: FakeClock) -> None:
        """A callback that raised before a fork is run by the child if its parent ends without success."""
        called: list[str] = []
        is_away = True

        def callback(reason: str, _failure: object) -> None:
            called.append(reason)
            if is_away:
                raise ConnectionError("the broker is away")

        tracker = FailureTracker(store=place.open(), clock=clock, halt_callback=callback)
        tracker.halt_manager.trigger_halt("drill")
        store = shared(tracker._store)
        parent = store._identity
        fork(store)
        is_away = False
        called.clear()
        assert tracker.total_failures == 0
        assert store._identity != parent
        assert called == []
        store._backend.leave(parent)
        heard(lambda: called == ["drill"])
        heard(lambda: not tracker.callback_pending)

    def test_a_fork_in_the_midst_of_a_callback(self, place: Place) -> None:
        """A callback that was under way when its process forked is run by the child if the parent ends within it."""
        called: list[str] = []
        began, goes_on = threading.Event(), threading.Event()

        def callback(reason: str, _failure: object) -> None:
            called.append(reason)
            if len(called) == 1:
                began.set()
                goes_on.wait(30)

        tracker = FailureTracker(store=place.open(), halt_callback=callback)
        halting = threading.Thread(target=tracker.halt_manager.trigger_halt, args=("drill",))
        halting.start()
        assert began.wait(30)
        store = shared(tracker._store)
        parent = store._identity
        fork(store)
        assert tracker.total_failures == 0
        store._backend.leave(parent)
        heard(lambda: called == ["drill", "drill"])
        heard(lambda: not tracker.callback_pending)
        goes_on.set()
        halting.join(30)

    def test_who_has_lost_the_lease_does_not_try_again(self, place: Place, clock: FakeClock) -> None:
        """A callback that another process has taken over is not tried again by the one that began."""
        called: list[str] = []

        def failing(_reason: str, _failure: object) -> None:
            called.append("one")
            raise ConnectionError("the broker is away")

        one = FailureTracker(store=place.open(), clock=clock, halt_callback=failing)
        generate = guarded_signal(tracker=one)(long)
        store = shared(one._store)
        with store._lock:  # its keeper cannot look meanwhile
            one.halt_manager.trigger_halt("drill")
            clock.advance(timedelta(minutes=2))
            assert generate() is None
            assert len(called) == 2, "it is tried again as long as it is this process's"
            clock.advance(timedelta(minutes=2))
            store._unsettled[next(iter(store._unsettled))] = "another process"
            assert generate() is None
            assert len(called) == 2

    def test_it_is_owed_if_the_store_forgets_everything(self, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
        """A store that has lost what it knew does not say that no callback is owed any more."""
        store = shared(place.open())
        manager = EmergencyHaltManager(store)
        manager.trigger_halt("drill")
        with store._lock:  # its keeper cannot look meanwhile
            owed = dict(store._unsettled)
            store._callbacks_changed = True
            monkeypatch.setattr(store._backend, "callbacks", dict)
            monkeypatch.setattr(store._backend, "position", lambda: 0)
            store._see_to_callbacks()
            monkeypatch.undo()
            assert store._unsettled == owed != {}
            assert store._behind

    def test_it_is_owed_while_its_halt_is_set_again(self, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
        """A callback that has yet to run is pending all the while that a halt which the store lost is set again."""

        def failing(_reason: str, _failure: object) -> None:
            raise ConnectionError("the broker is away")

        store = shared(place.open())
        tracker = FailureTracker(store=store, halt_callback=failing)
        tracker.halt_manager.trigger_halt("drill")
        pending: list[bool] = []
        with store._lock:  # its keeper cannot look meanwhile
            monkeypatch.setattr(store._backend, "snapshot", lambda: Snapshot(store._position, set(), {}, {}))
            monkeypatch.setattr(store, "_take_over", lambda *_: pending.append(tracker.callback_pending))
            store._catch_up()
            monkeypatch.undo()
        assert pending == [True]

    def test_a_loop_of_its_own(self, place: Place) -> None:
        """An async callback that raised is tried again on the loop on which it ran at first, which its client needs."""
        loops: list[object] = []

        async def callback(_reason: str, _failure: object) -> None:
            loops.append(asyncio.get_running_loop())
            if len(loops) == 1:
                raise ConnectionError("the broker is away")
            done.set()

        done = asyncio.Event()
        tracker = FailureTracker(store=place.open(), halt_callback=callback)

        async def main() -> None:
            tracker.halt_manager.trigger_halt("drill")
            await done.wait()

        asyncio.run(asyncio.wait_for(main(), 20))
        assert len(loops) == 2
        assert loops[0] is loops[1]


@contextmanager
def interrupted_by(function: Callable[[], object]) -> Iterator[None]:
    """Run a function in a signal handler, each millisecond that the process works, and a few times within itself."""
    depth = 0

    def handle(_number: int, _frame: object) -> None:
        nonlocal depth
        if depth < 5:
            depth += 1
            function()
            depth -= 1

    # Coverage would wait for itself: where its tracer is interrupted while it holds its own lock, the handler waits for
    # the store's, which the keeper has, whose tracer waits for coverage's.
    tracer = sys.gettrace()
    sys.settrace(None)
    before = signal.signal(signal.SIGPROF, handle)
    signal.setitimer(signal.ITIMER_PROF, 0.001, 0.001)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)
        sys.settrace(tracer)


class TestSignalHandlers:
    """A handler runs between any two steps of the main thread, also in the midst of a transaction or a question."""

    def test_recording_in_both(self, place: Place, caplog: pytest.LogCaptureFixture) -> None:
        """Failures that are recorded by a handler and by what it interrupts are all counted, once each."""
        caplog.set_level(100, "guarded")
        tracker = FailureTracker(policies=[ConsecutiveFailures(10**9)], store=place.open())
        by_handler: list[int] = []

        def record() -> None:
            by_handler.append(1)
            tracker.record_failure("handler", "AAPL", "late")

        with interrupted_by(record):
            for number in range(600):
                tracker.record_failure("main", "AAPL", "late")
                assert tracker.is_halted() is False
                if number % 50 == 0:
                    tracker.get_status()
        assert by_handler
        assert tracker.strategy_failures == {"main": 600, "handler": len(by_handler)}
        assert shared(tracker._store)._journal == []
        other = place.open()
        assert other.read().totals[("strategy", "handler")] == len(by_handler)

    def test_a_kill_switch_in_the_midst_of_a_question(self, place: Place) -> None:
        """A halt by a handler that interrupts a look at the status reaches the other processes."""
        tracker, other = FailureTracker(store=place.open()), FailureTracker(store=place.open())
        backend = shared(tracker._store)._backend
        read = backend.read

        def halting() -> Rows:
            if not tracker.halt_triggered:
                tracker.halt_manager.trigger_halt("SIGTERM", "kill_switch")
                with pytest.raises(StoreUnavailable, match="is in use by what this signal handler has interrupted"):
                    tracker._store.audit()
            return read()

        backend.read = halting  # type: ignore[method-assign]  # as a handler would run there
        tracker.get_status()
        assert tracker.halt_triggered
        assert shared(tracker._store)._journal == []
        heard(lambda: other.halt_triggered)


class TestLife:
    def test_it_pickles_as_where_it_is(self, place: Place) -> None:
        """A store pickles as its place and settings, and is itself when copied."""
        store = place.open()
        assert copy.copy(store) is store
        assert copy.deepcopy([store])[0] is store
        again = pickle.loads(pickle.dumps(store))  # noqa: S301  # our own
        try:
            assert pickle.loads(pickle.dumps(store)) is again  # noqa: S301  # the same
            FailureTracker(store=store).halt_manager.trigger_halt("drill")
            heard(lambda: Scope() in again.halts)
            assert repr(again) == repr(store)
        finally:
            again.close()

    def test_a_tracker_pickles_with_its_store(self, place: Place) -> None:
        """A tracker that is made anew elsewhere counts in the same place, with the same settings."""
        tracker = FailureTracker(2, store=place.open(), on_store_loss="halt")
        make, (_identity, given) = tracker.__reduce__()
        again = make("another process", pickle.loads(pickle.dumps(given)))  # noqa: S301  # our own
        try:
            fail(tracker, 1)
            fail(again, 1)
            assert again.halt_triggered
            assert again.on_store_loss == "halt"
        finally:
            shared(again._store).close()

    def test_modes_are_on_the_record(self, place: Place) -> None:
        """A change of mode is in the audit; the guard obeys it with any store."""
        tracker = FailureTracker(store=place.open())
        with set_mode("strict"):
            pass
        modes = [entry.details for entry in tracker._store.audit() if entry.action == "mode"]
        assert modes == [{"mode": "strict", "previous": "on"}, {"mode": "on", "previous": "strict"}]

    def test_settings_are_on_the_record(self, place: Place) -> None:
        """What a tracker ignores, lets through, and runs although halted, is in the audit from its start."""

        @guarded_signal(when_halted="run")
        def exempt() -> None:
            """Run although trading is halted."""

        tracker = FailureTracker(store=place.open())
        tracker.rules.ignore("mybot.FeedPaused", message="lunch")
        FailureTracker(store=tracker._store, rules=tracker.rules.copy().propagate(NotImplementedError))
        starts = [entry.details for entry in tracker._store.audit() if entry.action == "start"]
        first, second = starts
        assert first["rules"] == []
        assert second["rules"] == [
            "ignore mybot.FeedPaused whose text matches 'lunch'",
            "propagate NotImplementedError",
        ]
        assert any(text.endswith("exempt runs while trading is halted") for text in first["exempt"])

    def test_exemptions_that_come_later_are_on_the_record(self, place: Place) -> None:
        """A guard or block that is exempt from halts or counts less, and comes after the start, is in the audit."""
        tracker = FailureTracker(store=place.open())
        name = f"late_{os.urandom(4).hex()}"  # what is known once is not noted again

        def late() -> None:
            """Run although trading is halted."""

        late.__qualname__ = name
        guarded_signal(when_halted="run", rules=FailureRules().ignore("mybot.Paused"))(late)
        guarded_signal(when_halted="run")(late)
        for _ in range(2):
            with track_signal(name, "AAPL", tracker=tracker, when_halted="run"):
                pass
        tracker.halt_manager.trigger_halt("drill")
        for _ in range(2):
            with track_signal(name, "AAPL", tracker=tracker, when_halted="run"):
                pass
        noted = [entry.details["exempt"] for entry in tracker._store.audit() if entry.action == "exempt"]
        assert [text for text in noted if name in text] == [
            f"{name} runs while trading is halted",
            f"{name}: ignore mybot.Paused",
            f"a block of {name} runs while trading is halted",
        ]

    def test_what_a_fork_leaves(self, place: Place) -> None:
        """What a forked child has opens its own connection at the first question, under a name of its own.

        The child is played by this process; tests/test_processes.py forks.
        """
        tracker = FailureTracker(store=place.open())
        store = shared(tracker._store)
        generate = guarded_signal(strategy="VWAP", symbol="AAPL", tracker=tracker)(long)
        assert generate() == "long"
        before = store._identity
        for question in (lambda: store.live, lambda: store.halts, tracker.reset, generate):
            fork(store)
            assert not store.awake
            assert tracker._trouble
            question()
            assert store.awake
            assert store._identity != before
        EmergencyHaltManager(place.open()).trigger_halt("drill")
        heard(lambda: tracker.halt_triggered)

    def test_a_fork_without_its_store(self, outage: Outage) -> None:
        """A forked child whose store is away at its first question goes on by itself, like any process."""
        tracker = FailureTracker(store=outage.place.open())
        store = shared(tracker._store)
        outage.begin()
        if isinstance(store, SQLiteStore):
            outage.end()
            store.path.unlink()
            store.path.touch()
        fork(store)
        fail(tracker, 3)
        assert tracker.degraded is not None
        assert tracker.halt_triggered
        if isinstance(store, SQLiteStore):
            store.path.unlink()
        else:
            outage.end()
        heard(lambda: tracker.degraded is None)
        assert tracker.total_failures == 3

    def test_a_fault_of_the_keeper(
        self, place: Place, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A fault of ours in the thread that hears of others is reported, and the thread goes on."""
        tracker, other = FailureTracker(store=place.open()), FailureTracker(store=place.open())
        store = shared(tracker._store)
        hear = store._hear
        faults = [RuntimeError("a bug")]

        def failing_once(news: News) -> None:
            if faults:
                raise faults.pop()
            hear(news)

        monkeypatch.setattr(store, "_hear", failing_once)
        other.record_failure("VWAP", "AAPL", "late")
        heard(lambda: "the keeper of a store met a fault; it goes on: RuntimeError: a bug" in caplog.text)
        other.halt_manager.trigger_halt("drill")
        heard(lambda: tracker.halt_triggered)

    def test_what_no_backend_should_raise(
        self, place: Place, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Whatever a backend raises, the failure is counted, here at first, and merged; the fault is reported."""
        tracker = FailureTracker(store=place.open())
        store = shared(tracker._store)

        def broken(*_: object) -> None:
            raise RuntimeError("a bug")

        with monkeypatch.context() as patched:
            patched.setattr(store._backend, "commit", broken)
            fail(tracker, 3)
            assert tracker.halt_triggered
            assert tracker.degraded is not None
            assert tracker.degraded.endswith(": RuntimeError: a bug")
        assert "raised what it should not; it counts as away: RuntimeError: a bug" in caplog.text
        heard(lambda: tracker.degraded is None)
        assert tracker.total_failures == 3

    def test_a_listener_that_raises_elsewhere(self, place: Place, caplog: pytest.LogCaptureFixture) -> None:
        """What a listener raises at a halt by another process is reported, and the next event is told."""
        tracker, other = FailureTracker(store=place.open()), FailureTracker(store=place.open())
        told: list[object] = []

        def listener(event: object) -> None:
            told.append(event)
            raise SystemExit("a listener's")

        tracker.subscribe(listener)
        other.halt_manager.trigger_halt("drill")
        heard(lambda: len(told) == 1)
        other.resume(by="ana", reason="over")
        heard(lambda: len(told) == 2)
        heard(lambda: "could not be told to everybody: SystemExit" in caplog.text)

    def test_a_change_that_no_backend_takes(
        self, place: Place, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A change that a backend refuses again and again is set aside, with an alarm, for those after it."""
        monkeypatch.setattr("guarded.stores._keeper.RETRIES", (0.01,))
        tracker = FailureTracker(store=place.open())
        backend = shared(tracker._store)._backend
        commit = backend.commit

        def refusing(ticket: Ticket, touched: Touched, guess: Rows, decide: Decide) -> Committed | None:
            def looked_at(streaks: Any, halts: Any) -> Change:
                change = decide(streaks, halts)
                if change.failure is not None and change.failure.strategy_name == "poison":
                    raise StoreUnavailable("it does not like this one")
                return change

            return commit(ticket, touched, guess, looked_at)

        monkeypatch.setattr(backend, "commit", refusing)
        fail(tracker, 1, "poison")
        fail(tracker, 1, "VWAP")
        heard(lambda: tracker.degraded is None)
        assert "A change is lost, for the store does not take it: it does not like this one" in caplog.text
        assert tracker._store.read().totals[("strategy", "VWAP")] == 1

    def test_a_closed_store_stays_closed(self, place: Place) -> None:
        """A forked child of a process that has closed its store does not open it."""
        store = shared(place.open())
        store.close()
        fork(store)
        assert store.live == {}
        assert not store.awake

    def test_no_thread_can_be_started(self, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
        """A forked child that can start no thread says that its store is lost, and tries again at the next call."""
        tracker = FailureTracker(store=place.open())
        store = shared(tracker._store)
        generate = guarded_signal(strategy="VWAP", symbol="AAPL", tracker=tracker)(long)

        def refuse(_thread: object) -> None:
            raise RuntimeError("can't start new thread")

        fork(store)
        with monkeypatch.context() as patched:
            patched.setattr(threading.Thread, "start", refuse)
            assert generate() == "long"
            assert not store.awake
            assert tracker.degraded is not None
        assert generate() == "long"
        assert store.awake
        heard(lambda: tracker.degraded is None)

    def test_on_store_loss_with_a_callback_that_ends_the_process(
        self, outage: Outage, caplog: pytest.LogCaptureFixture
    ) -> None:
        """What a halt callback raises when the keeper finds the store lost does not end the keeper."""

        def leave(_reason: str, _failure: object) -> None:
            raise SystemExit(1)

        tracker = FailureTracker(store=outage.place.open(), halt_callback=leave, on_store_loss="halt")
        store = shared(tracker._store)
        outage.begin()
        store._keeper._beat_at = 0.0
        heard(lambda: tracker.halt_triggered)
        heard(lambda: "SystemExit" in caplog.text)
        outage.end()
        heard(lambda: tracker.degraded is None)

    def test_the_parent_of_a_fork(self, place: Place) -> None:
        """A fork waits for what is under way, and its parent goes on as before."""
        tracker = FailureTracker(store=place.open())
        fail(tracker)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of forks where there are threads
            child = os.fork()
        if child == 0:
            os._exit(0)
        os.waitpid(child, 0)
        fail(tracker, 2)
        assert tracker.halt_triggered
        assert tracker.degraded is None

    def test_a_handler_at_the_last_moment(self, place: Place) -> None:
        """What a signal handler changes at the very end of a transaction is carried out at once as well."""
        store = shared(place.open())

        class Late(list[Any]):
            asked = 0

            def __bool__(self) -> bool:
                self.asked += 1
                if self.asked == 3:  # after it was seen that there is nothing left to carry out
                    self.append(_Task(Touched(), lambda _rows: Change(counted=[ALL])))
                return len(self) > 0

        store._journal = Late()
        store.update(Touched(), lambda _rows: Change(counted=[ALL]))
        assert store._journal == []
        assert store.read().totals == {ALL: 2}

    def test_a_backend_that_is_lost_while_catching_up(self, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
        """A call that finds its copy behind, and the backend gone, leaves the rest to the keeper."""
        tracker = FailureTracker(store=place.open())
        store = shared(tracker._store)

        def gone() -> None:
            raise StoreUnavailable("gone")

        with monkeypatch.context() as patched:
            patched.setattr(store._backend, "snapshot", gone)
            store._behind = True
            fail(tracker)
            assert tracker.degraded == "gone"
        heard(lambda: tracker.degraded is None)

    def test_a_closed_store_is_not_opened_again(self, place: Place) -> None:
        """A keeper that comes too late leaves a closed store closed."""
        store = shared(place.open())
        store.close()
        store._recover()
        assert store.lost is not None

    def test_no_thread_for_a_callback(self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
        """Where no thread can be started that is reported."""

        def refuse(_thread: object) -> None:
            raise RuntimeError("can't start new thread")

        monkeypatch.setattr(threading.Thread, "start", refuse)
        aside(gc.collect)
        assert "no thread can be started; it is tried again" in caplog.text

    def test_closed_twice(self, place: Place) -> None:
        """Closing a store twice is harmless."""
        store = shared(place.open())
        store.close()
        store.close()
        assert store.lost is not None
