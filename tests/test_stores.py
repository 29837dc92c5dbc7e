"""Stores: which can be given, what trackers on one store share, and what the memory store promises."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest

from guarded import EmergencyHaltManager, FailureTracker, InvalidConfiguration, MemoryStore, Scope
from guarded.stores import Change, Rows, Store, Touched, open_store
from guarded.testing import FakeClock


def fail(tracker: FailureTracker, times: int = 1, strategy: str = "VWAP") -> None:
    for _ in range(times):
        tracker.record_failure(strategy, "AAPL", ValueError("bad bar"))


class TestOpening:
    @pytest.mark.parametrize("make", [FailureTracker, EmergencyHaltManager])
    @pytest.mark.parametrize(
        ("store", "says"),
        [
            (
                "postgres://localhost",
                "store='postgres://localhost': expected 'memory://', 'sqlite:///guarded.db', 'redis://host:6379/0' or",
            ),
            ("", "store='': expected 'memory://'"),
            ("postgres://bot:hush@host", r"store='postgres://\*\*\*@host': expected"),
            ("redis://[::1/0", r"store='redis://\[::1/0': it cannot be read \(ValueError\); expected"),
            ("sqlite://bot:hush@guarded.db", r"store='sqlite://bot:hush@guarded.db': expected 'sqlite:///"),
            ("http://host/0?password=hush", r"store='http://host/0': expected"),
            ("sqlite://guarded.db", "expected 'sqlite:///guarded.db' for a path from here"),
            ("sqlite:/var/guarded.db", "expected 'sqlite:///guarded.db' for a path from here"),
            ("guarded.db", "or 'rediss://host:6379/0'; did you mean 'sqlite:///guarded.db'"),
            ("sqlite:///", "expected 'sqlite:///guarded.db' for a path from here"),
            ("sqlite:///x.db?durabilty=process", "it knows no setting 'durabilty'; did you mean 'durability'"),
            ("sqlite:///x.db?timeout=soon", "timeout='soon': expected a number"),
            ("sqlite:///x.db?durability=no", "durability of SQLiteStore='no': expected one of 'power', 'process'"),
            ({}, r"store=\{\}: expected a store such as MemoryStore\(\), or 'memory://'"),
            (MemoryStore, "expected a store such as MemoryStore"),
            (7, "store=7: expected a store"),
        ],
    )
    def test_what_is_no_store(self, make: Any, store: object, says: str) -> None:
        """An unknown URL, a store's class, and anything that is no store, is an error at once."""
        with pytest.raises(InvalidConfiguration, match=says):
            make(store=store)

    @pytest.mark.parametrize("store", [None, "memory://"])
    def test_a_new_one_each_time(self, store: str | None) -> None:
        """Without a store, and by its URL, everybody gets a memory of their own."""
        one, two = FailureTracker(store=store), FailureTracker(store=store)
        fail(one, 3)
        assert one.halt_triggered
        assert not two.halt_triggered
        assert two.total_failures == 0

    def test_a_store_as_it_is(self) -> None:
        """A store that is given is used."""
        store = MemoryStore()
        assert open_store(store) is store
        assert EmergencyHaltManager(store).store is store


class TestSharing:
    def test_counts_history_and_latch(self, clock: FakeClock) -> None:
        """Trackers on one store count together, and the halt of one refuses the calls of the other."""
        store = MemoryStore()
        one, two = FailureTracker(store=store, clock=clock), FailureTracker(store=store, clock=clock)
        fail(one, 2)
        fail(two, 1)
        assert one.consecutive_failures == two.consecutive_failures == 3
        assert one.total_failures == two.total_failures == 3
        assert one.strategy_failures == two.strategy_failures == {"VWAP": 3}
        assert one.failure_history == two.failure_history
        assert one.halts == two.halts != ()
        two.resume(by="ana", reason="feed is back")
        assert not one.halt_triggered
        assert one.consecutive_failures == 0

    def test_a_success_of_one_ends_the_streak_of_both(self) -> None:
        """A streak on a shared store is one streak."""
        store = MemoryStore()
        one, two = FailureTracker(store=store), FailureTracker(store=store)
        fail(one, 2)
        two.record_success("VWAP", "AAPL")
        fail(one, 2)
        assert not one.halt_triggered

    def test_a_halt_manager_shares_the_latch_alone(self) -> None:
        """Trackers that are given one manager have counts of their own."""
        manager = EmergencyHaltManager()
        one, two = FailureTracker(halt_manager=manager), FailureTracker(halt_manager=manager)
        fail(one, 2)
        fail(two, 1)
        assert (one.total_failures, two.total_failures) == (2, 1)
        assert not manager.is_halted()

    def test_store_and_manager_may_agree(self) -> None:
        """A tracker that is given a manager and that manager's store counts in it."""
        store = MemoryStore()
        manager = EmergencyHaltManager(store)
        one, two = (FailureTracker(store=store, halt_manager=manager) for _ in range(2))
        fail(one, 1)
        assert two.total_failures == 1

    @pytest.mark.parametrize("store", [MemoryStore(), "memory://"])
    def test_store_and_manager_must_not_disagree(self, store: Any) -> None:
        """A store beside a manager whose latch is elsewhere is an error that says what to do."""
        with pytest.raises(
            InvalidConfiguration, match=r"store and halt_manager disagree.*Give the tracker one of the two"
        ):
            FailureTracker(store=store, halt_manager=EmergencyHaltManager())


HALTED = Scope("VWAP")


class TestMemoryStore:
    def test_it_is_a_store(self) -> None:
        """It has all that the protocol asks for."""
        assert isinstance(MemoryStore(), Store)

    def test_a_change_that_raises_changes_nothing(self) -> None:
        """A transaction that raises writes nothing, and leaves the store usable."""
        tracker = FailureTracker(store=(store := MemoryStore()))

        def broken(rows: Rows) -> Change:
            raise RuntimeError("a bug")

        with pytest.raises(RuntimeError, match="a bug"):
            store.update(Touched(), broken)
        assert store.read() == Rows({}, {}, {}, {})
        fail(tracker, 1)
        assert tracker.total_failures == 1

    def test_reading_is_a_copy(self) -> None:
        """What was read does not change with the store."""
        tracker = FailureTracker(store=(store := MemoryStore()))
        fail(tracker, 2)
        before = store.read()
        streaks, totals = dict(before.streaks), dict(before.totals)
        fail(tracker, 1)
        assert (before.streaks, before.totals, before.halts) == (streaks, totals, {})
        assert len(store.live) == len(streaks)
        assert store.live != streaks

    def test_watchers_are_told_of_every_change(self) -> None:
        """A watcher is called after each change, also of a joined store, and is not kept alive."""

        class Watcher:
            heard: list[bool] = []  # noqa: RUF012  # one watcher

            def hear(self, appeared: bool) -> None:
                self.heard.append(appeared)

        store, watcher = MemoryStore(), Watcher()
        other = store.joined()
        store.watch(watcher.hear)
        store.update(Touched(), lambda rows: Change(own={HALTED: ()}))
        other.update(Touched(), lambda rows: Change())
        assert watcher.heard == [True, False]
        alive = weakref.ref(watcher)
        del watcher
        gc.collect()
        assert alive() is None
        store.update(Touched(), lambda rows: Change())
        assert store._latch.watchers._references == []

    def test_a_watcher_may_be_forgotten_twice(self) -> None:
        """Two threads that meet the same dead watcher at once are no error."""

        class Watcher:
            def hear(self, appeared: bool) -> None:
                raise AssertionError("it is gone")

        store = MemoryStore()
        store.watch(Watcher().hear)
        watchers = store._latch.watchers
        (reference,) = watchers._references
        watchers._forget(reference)
        watchers._forget(reference)
        store.update(Touched(), lambda rows: Change())

    def test_joined_stores(self) -> None:
        """Joined stores share halts and their history, and neither streaks nor totals nor failures."""
        one = FailureTracker()
        two = FailureTracker(halt_manager=one.halt_manager)
        store, joined = one._store, two._store
        fail(one, 3)
        assert store.halts == joined.halts != {}
        assert (dict(joined.live), joined.failures(), dict(joined.read().totals)) == ({}, [], {})
        two.resume(by="ana", reason="feed is back")
        assert store.ended() == joined.ended() != []

    def test_a_thousand_halts_are_kept(self) -> None:
        """The history of halts is bounded: the last thousand that ended."""
        manager = EmergencyHaltManager()
        for number in range(1_002):
            manager.trigger_halt(f"drill {number}")
            manager.resume_trading(by="ana", reason="drill over")
        kept = manager.history
        assert (len(kept), kept[0].reason, kept[-1].reason) == (1_000, "drill 2", "drill 1001")

    def test_it_does_not_survive_a_restart(self) -> None:
        """The memory store says that a restart forgets its halts; no other process is on it."""
        assert MemoryStore().members() == []
        assert MemoryStore().survives_restart is False
