"""SharedStore: what the stores that outlive a process have in common: what is known here, and what to do without them.

A transaction is carried out by the backend, atomically. What guards read at every call, the halts and which scopes have
a streak, is a copy in this process, which the transactions of this process bring up to date at once and a thread, the
`Keeper`, as soon as it hears of those of others. A call that succeeds and whose scopes have no streak reads that copy
and nothing else.

A transaction whose backend is away is applied to the copy, kept, and carried out again once the backend is back, in the
order in which they were made. Then the halts that are known here and not there are set again, unless the history says
that somebody resumed them.
"""

from __future__ import annotations

import atexit
import itertools
import os
import sys
import weakref
from contextlib import ExitStack, contextmanager
from copy import copy
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from guarded import _faults, _log
from guarded._audit import AuditEntry
from guarded._errors import StoreUnavailable
from guarded._halt import HaltRecord, also, latched
from guarded._locks import ForkSafeLock
from guarded.stores import Change, Herald, Member, Rows, Store, Total, Touched
from guarded.stores._backend import Ticket, is_dead, new_identity
from guarded.stores._keeper import Keeper, aside
from guarded.stores._urls import reopened
from guarded.stores._watchers import Watchers
from guarded.stores.memory import clear, write

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping
    from typing import Self

    from guarded._failure import SignalGenerationFailure
    from guarded._ledger import Row
    from guarded._scope import Scope
    from guarded.stores._backend import Backend, Committed, News, Snapshot

T = TypeVar("T")

SLICE = 50
"""How many changes are merged before whoever waits for the lock gets it."""

TRIES = 5
"""How often a backend that can be opened may fail to carry out one change, before that is set aside."""


@dataclass(slots=True, eq=False)
class _Task:
    """A transaction, from the moment that somebody asks for it until the backend has it.

    Attributes:
        touched: The rows that it reads.
        decide: Makes the change.
        number: That of its ticket; 0 until the backend is asked to carry it out.
        own: This process's own rows as they were when it was applied to the copy.
        made: What it changed there.
        tries: How often the backend was asked to carry it out after that.
    """

    touched: Touched
    decide: Callable[[Rows], Change]
    number: int = 0
    own: Mapping[Scope, Row] = field(default_factory=dict)
    made: Change = field(default_factory=Change)
    tries: int = 0


class SharedStore(Store):
    """The base of the stores that outlive this process and are shared by all that open them.

    Args:
        backend: The file or the server.
        place: Where that is, as its class takes it; with its password, if it has one.
        settings: The other arguments of its class.
    """

    def __init__(self, backend: Backend, place: str, settings: Mapping[str, Any]) -> None:
        self._backend = backend
        self._place = place
        self._settings = settings
        self._lock = ForkSafeLock()
        self._opening = ForkSafeLock()  # only while the backend is away, when nobody else asks it anything
        self._watchers = Watchers()
        self._heralds: list[weakref.ref[Herald]] = []
        self._live: dict[Scope, Row] = {}
        self._own: dict[Scope, Row] = {}
        self._halts: dict[Scope, HaltRecord] = {}
        self._unsettled: dict[str, str] = {}
        self._callbacks_changed = False
        self._position = 0
        self._highest = 0  # the number of the last change that this process has heard of or made
        self._written: dict[Scope, int] = {}  # scope -> number of this process's own last change of it
        self._totals: dict[Total, int] = {}  # as they were read last, and what this process has counted since
        self._journal: list[_Task] = []
        self._lost: StoreUnavailable | None = None
        self._busy = False  # this thread is in the midst of something with the backend: see `_alone`
        self._closed = False
        self._behind = False
        self._unattended: set[str] = set()
        self._started = datetime.now(UTC)
        self._awake = False
        self._halts.update(self._open().halts)
        self._keep()
        _opened.add(self)

    def _open(self) -> Snapshot:
        """Open the backend, and read what has to be known."""
        self._identity = new_identity()
        self._numbers = itertools.count(1)
        self._backend.open()
        try:
            snapshot = self._backend.snapshot()
            self._totals = dict(self._backend.read().totals)
        except BaseException:
            self._backend.close()
            raise
        self._know(snapshot)
        self._unsettled = dict(snapshot.unsettled)
        return snapshot

    def _keep(self) -> None:
        """Start to be told of changes."""
        self._keeper = Keeper(self)
        self._keeper.start()
        self._awake = True

    def _know(self, snapshot: Snapshot) -> None:
        self._position = self._highest = snapshot.position
        self._written.clear()
        for scope in [scope for scope in self._live if scope not in snapshot.live]:
            del self._live[scope]
        for scope in snapshot.live:
            self._live.setdefault(scope, ())

    # -- what guards read

    @property
    def live(self) -> Mapping[Scope, Row]:
        """The scopes that have a streak; a row that only other processes have read is empty."""
        if not self._awake:
            self._wake()
        return self._live

    @property
    def own(self) -> Mapping[Scope, Row]:
        """This process's global streak, and windows of calls."""
        return self._own

    @property
    def halts(self) -> Mapping[Scope, HaltRecord]:
        """The halts in force."""
        if not self._awake:
            self._wake()
        return self._halts

    @property
    def latch(self) -> object:
        """The store itself."""
        return self

    @property
    def survives_restart(self) -> bool:
        """A halt outlives this process."""
        return True

    @property
    def awake(self) -> bool:
        """Whether the keeper runs; not in a forked child until a guard first asks for something."""
        return self._awake

    @property
    def lost(self) -> StoreUnavailable | None:
        """Why the backend is away."""
        return self._lost

    # -- transactions

    def update(self, touched: Touched, change: Callable[[Rows], Change]) -> None:
        """Carry out a transaction; then tell the watchers."""
        if not self._awake:
            self._wake()
        before = self._lost
        with self._alone() as outermost:
            appeared = self._update(touched, change, here=not outermost)
        self._watchers.tell(appeared)
        lost = self._lost
        if before is None and lost is not None:
            self._tell_lost(lost)
        if self._behind and self._lost is None:
            self._catch_up_here()

    @contextmanager
    def _alone(self) -> Iterator[bool]:
        """Hold the lock, and know whether this thread is in the midst of something with the backend already.

        It is where a signal handler runs: it must not ask the backend anything. What it changes is applied to the copy
        and carried out when that is over.

        Yields:
            Whether it is not.
        """
        with self._lock:
            outermost = not self._busy
            self._busy = True
            try:
                yield outermost
            finally:
                if outermost:
                    self._not_busy_any_more()

    def _not_busy_any_more(self) -> None:
        while True:
            if self._journal and self._lost is None:
                self._drain()
            self._busy = False
            if not self._journal or self._lost is not None:
                return
            self._busy = True  # a signal handler has changed something just now

    def _update(self, touched: Touched, change: Callable[[Rows], Change], *, here: bool) -> bool:
        if not (touched.streaks or touched.halts):
            made = change(Rows({}, self._own, {}))
            if made.only_own():
                return self._write_own(made)
        task = _Task(touched, change)
        if here or self._journal or self._lost is not None:
            return self._apply_here(task)
        try:
            return self._commit(task)
        except Exception as error:  # noqa: BLE001  # whatever a client raises, the change is not to be lost
            appeared = self._apply_here(task, first=True)  # or it raises, if it was `change` that did
            self._lost = self._told(error)
            return appeared

    def _commit(self, task: _Task) -> bool:
        """Have the backend carry out a new transaction, and bring the copy up to date; whether something appeared."""
        done = self._carry_out(task, self._own)
        return done is None or self._learn(task, done) | self._write_own(done.change)

    def _carry_out(self, task: _Task, own: Mapping[Scope, Row]) -> Committed | None:
        if not task.number:  # numbers grow in the order in which the backend is asked
            task.number = next(self._numbers)
        return self._backend.commit(
            Ticket(self._identity, task.number),
            task.touched,
            Rows(self._live, own, self._halts),
            lambda streaks, halts: self._decided(task, Rows(streaks, own, halts)),
        )

    def _decided(self, task: _Task, rows: Rows) -> Change:
        known = (self._halts.get(scope) for scope in task.touched.halts)
        self._behind = self._behind or any(halt is not None and halt.scope not in rows.halts for halt in known)
        return task.decide(rows)

    def _learn(self, task: _Task, done: Committed) -> bool:
        """Bring the copy up to date; whether something appeared."""
        change = done.change
        appeared = bool(change.halts) or not change.streaks.keys() <= self._live.keys()
        write(self._live, {scope: done.streaks.get(scope) for scope in task.touched.streaks})
        for scope in done.cleared:
            self._live.pop(scope, None)
        write(self._live, change.streaks)
        if done.position is not None:
            self._highest = max(self._highest, done.position)
            for scope in (*done.cleared, *change.streaks):
                self._written[scope] = done.position
        unheard = {scope for scope, halt in done.halts.items() if not _is_same(halt, self._halts.get(scope))}
        self._behind = self._behind or bool(unheard)  # another process's, of which nobody here has been told yet
        self._learn_halts({scope: halt for scope, halt in change.halts.items() if scope not in unheard}, change)
        self._count(change)
        return appeared

    def _count(self, change: Change) -> None:
        if change.forget:
            self._totals.clear()
        for total in change.counted:
            self._totals[total] = self._totals.get(total, 0) + 1

    def _learn_halts(self, halts: Mapping[Scope, HaltRecord | None], change: Change) -> None:
        for scope, halt in halts.items():
            before = self._halts.get(scope)
            if halt is None or (before is not None and before.episode != halt.episode):
                self._unsettled.pop(before.episode if before is not None else "", None)
            if halt is not None and (before is None or before.episode != halt.episode):
                self._unsettled[halt.episode] = self._identity if change.claim else ""
        write(self._halts, halts)
        for episode in change.settled:
            self._unsettled.pop(episode, None)

    def _write_own(self, change: Change) -> bool:
        appeared = not change.own.keys() <= self._own.keys()
        if change.clear is not None:
            clear(self._own, change.clear)
        write(self._own, change.own)
        return appeared

    def _apply_here(self, task: _Task, *, first: bool = False) -> bool:
        """Apply a transaction to the copy, and keep it for when the backend is back; first, if that was asked."""
        task.own = {scope: self._own[scope] for scope in task.touched.own if scope in self._own}
        task.made = made = task.decide(Rows(self._live, self._own, self._halts))
        task.decide = copy(task.decide)  # the caller reads what it has found, while the keeper carries it out
        self._journal.insert(0 if first else len(self._journal), task)
        appeared = bool(made.halts) or not made.streaks.keys() <= self._live.keys()
        if made.clear is not None:
            clear(self._live, made.clear)
        write(self._live, made.streaks)
        self._learn_halts(made.halts, made)
        self._count(made)
        return self._write_own(made) or appeared

    def _drain(self, most: int = sys.maxsize) -> None:
        """Have the backend carry out what was applied here, in its order."""
        try:
            while self._journal and most:
                most -= 1
                task = self._journal[0]
                task.tries += 1
                done = self._carry_out(task, task.own)
                if done is not None:
                    self._learn(
                        task,
                        done._replace(
                            change=done.change._replace(halts={}, settled=(), counted=(), forget=False), halts={}
                        ),
                    )
                del self._journal[0]
        except Exception as error:  # noqa: BLE001  # the same
            self._lost = self._told(error)
            if task.tries >= TRIES:
                _log.change_set_aside(str(task.made), self._lost)
                del self._journal[0]
            for left in self._journal:
                write(self._live, left.made.streaks)

    def _told(self, error: Exception) -> StoreUnavailable:
        """Why the backend is away; what nobody has foreseen is reported as a fault of ours as well."""
        if isinstance(error, StoreUnavailable):
            return error
        _faults.report(f"{self._backend.where} raised what it should not; it counts as away", error)
        return StoreUnavailable(f"{self._backend.where}: {_faults.kind_of(error)}: {_faults.describe(error)}")

    # -- reading

    def read(self) -> Rows:
        """A consistent copy of all rows; while the backend is away, what is known here."""
        there = self._asked(self._backend.read)
        with self._lock:
            if there is not None:
                self._totals = dict(there.totals)
                return there._replace(own=dict(self._own), halts={**self._halts, **there.halts})
            return Rows(dict(self._live), dict(self._own), dict(self._halts), dict(self._totals))

    def failures(self) -> list[SignalGenerationFailure]:
        """The history of failures, the oldest first; while the backend is away, what was recorded here since."""
        there = self._asked(self._backend.failures)
        if there is not None:
            return there
        with self._lock:
            here = [task.made.failure for task in self._journal]
        return [failure for failure in here if failure is not None]

    def ended(self) -> list[HaltRecord]:
        """The last 1,000 halts that ended, the oldest first; while the backend is away, those that ended here since."""
        there = self._asked(self._backend.ended)
        if there is not None:
            return there
        with self._lock:
            return [halt for task in self._journal for halt in task.made.ended]

    def audit(self) -> list[AuditEntry]:
        """The whole audit, the oldest first.

        Raises:
            StoreUnavailable: The backend is away.
        """
        return self._ask(self._backend.audit)

    def members(self) -> list[Member]:
        """The processes on the store; one of this machine that is gone is left out.

        Raises:
            StoreUnavailable: The backend is away.
        """
        return [member for member in self._ask(self._backend.members) if not is_dead(member.identity)]

    def successes(self) -> Mapping[str, datetime]:
        """When each strategy last succeeded, in any process, to within half a minute or so.

        Raises:
            StoreUnavailable: The backend is away.
        """
        return self._ask(self._backend.successes)

    def _asked(self, question: Callable[[], T]) -> T | None:
        """What the backend answers; None while it is away."""
        if not self._awake:
            self._wake()
        try:
            with self._alone() as outermost:
                return question() if outermost and self._lost is None else None
        except StoreUnavailable as error:
            self._lose(error)
            return None

    def _ask(self, question: Callable[[], T]) -> T:
        if not self._awake:
            self._wake()
        with self._alone() as outermost:
            if self._lost is not None:
                raise self._lost
            if not outermost:
                raise StoreUnavailable(f"{self._backend.where} is in use by what this signal handler has interrupted")
            return question()

    # -- halt callbacks

    def unsettled(self) -> Collection[str]:
        """The episodes whose halt callback is known not to have run to its end."""
        return self._unsettled.keys()

    def owes(self, episode: str) -> bool:
        """Whether the halt callback of an episode is this process's to run."""
        return self._unsettled.get(episode) == self._identity

    def settle(self, episode: str) -> None:
        """Note that the halt callbacks of an episode have run to their end."""
        self.update(Touched(), lambda _rows: Change(settled=(episode,)))

    # -- those who are told

    def watch(self, watcher: Callable[[bool], None]) -> None:
        """Call a bound method after every change; it is held weakly."""
        self._watchers.add(watcher)

    def serve(self, herald: Herald) -> None:
        """Tell a herald of what other processes do."""
        with self._lock:
            self._heralds.append(weakref.ref(herald))

    def _herald(self) -> Herald | None:
        with self._lock:
            self._heralds = [reference for reference in self._heralds if reference() is not None]
            return self._heralds[0]() if self._heralds else None

    def __reduce__(self) -> tuple[Callable[..., SharedStore], tuple[Any, ...]]:
        """Pickle as place and settings: the same place, opened by whatever process reads that."""
        return _again, (type(self), self._place, self._settings)

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, _memo: dict[int, object]) -> Self:
        return self

    def joined(self) -> Self:
        """The store itself: its counts are not this process's."""
        return self

    # -- without the backend

    def _lose(self, error: StoreUnavailable) -> None:
        """Go on without the backend, from now on."""
        if self._lose_quietly(error):
            self._tell_lost(error)

    def _lose_quietly(self, error: StoreUnavailable) -> bool:
        """Know why it is away by now; whether it was not lost already."""
        with self._lock:
            before, self._lost = self._lost, error
            return before is None

    def _tell_lost(self, error: StoreUnavailable) -> None:
        entry = AuditEntry(datetime.now(UTC), "store_lost", reason=str(error))
        self.update(Touched(), lambda _rows: Change(audit=[entry]))
        herald = self._herald()
        if herald is not None:
            herald.store_lost(error)

    def _recover(self) -> None:
        """Open the backend again, and have it carry out what it has missed.

        Raises:
            StoreUnavailable: It is still away.
        """
        with self._opening:
            if self._closed:
                return
            self._backend.open()
        merged = self._merge()
        self._catch_up()
        entry = AuditEntry(datetime.now(UTC), "store_back", details={"merged": merged})
        self.update(Touched(), lambda _rows: Change(audit=[entry]))
        herald = self._herald()
        if herald is not None:
            self._keeper.tell([partial(herald.store_back, merged)])

    def _merge(self) -> int:
        """Have the backend carry out what it has missed, some at a time, so that no call waits for all of it."""
        why, merged = self._lost, 0
        while True:
            with self._alone():
                before = len(self._journal)
                self._drain(SLICE)
                merged += before - len(self._journal)
                if self._lost is not None and self._lost is not why:
                    raise self._lost
                if not self._journal:
                    self._lost = None
                    return merged

    # -- what the keeper does

    def _catch_up(self) -> None:
        """Read everything that has to be known; while the backend is away, whoever opens it again does."""
        with self._alone():
            if self._lost is not None:
                return
            owed = self._unsettled
            snapshot = self._backend.snapshot()
            self._know(snapshot)
            steps, missing = self._compare({*self._halts, *snapshot.halts}, snapshot.halts)
            # What is about to be set again is owed all the while: a callback that were not would be dropped.
            kept = {halt.episode: owed[halt.episode] for halt in missing if halt.episode in owed}
            self._unsettled = {**kept, **snapshot.unsettled}
            self._behind = False
        self._take_over(steps, missing, owed)

    def _catch_up_here(self) -> None:
        """The same in the thread of a call, which found what the keeper has not heard of yet."""
        try:
            self._catch_up()
        except StoreUnavailable as error:
            self._lose(error)

    def _look_at_halts(self, scopes: Collection[Scope]) -> None:
        """Read the halts of some scopes."""
        with self._alone():
            steps, missing = self._compare(scopes, self._backend.halts(scopes))
        self._take_over(steps, missing, self._unsettled)

    def _take_over(self, steps: list[Callable[[], object]], missing: list[HaltRecord], owed: Collection[str]) -> None:
        self._watchers.tell(True)
        for halt in missing:
            self.update(Touched(halts=(halt.scope,)), _Asserting(halt, settled=halt.episode not in owed))
        self._keeper.tell(steps)

    def _compare(
        self, scopes: Collection[Scope], there: Mapping[Scope, HaltRecord]
    ) -> tuple[list[Callable[[], object]], list[HaltRecord]]:
        """Take over the halts of scopes as they are there.

        Returns:
            What is to be told of it, and the halts that are known here, and there neither in force nor ended.
        """
        herald = self._herald()
        steps: list[Callable[[], object]] = []
        missing: list[HaltRecord] = []
        over = [mine for scope in scopes if (mine := self._halts.get(scope)) and not _is_same(mine, there.get(scope))]
        ended = self._backend.ended_by([mine.episode for mine in over]) if over else {}
        for mine in over:
            scope, now = mine.scope, there.get(mine.scope)
            if mine.episode in ended:
                clear(self._own, scope)
                steps += [] if herald is None else [partial(herald.resumed_elsewhere, ended[mine.episode])]
            else:
                missing.append(mine)
            if mine.episode in ended or now is not None:
                del self._halts[scope]
        for scope, now in there.items():
            before = self._halts.get(scope)
            self._halts[scope] = now
            if herald is not None and (before is None or before.level is not now.level):
                steps.append(partial(herald.halted_elsewhere, now, escalated=before is not None))
        return steps, missing

    def _hear(self, news: News) -> None:
        """Take over what other processes have changed."""
        if news.gap:
            self._catch_up()
            return
        self._callbacks_changed = self._callbacks_changed or news.callbacks
        if news.streaks or news.position > self._position:
            self._watchers.tell(self._hear_of_streaks(news))
        if news.halts:
            self._look_at_halts(news.halts)

    def _hear_of_streaks(self, news: News) -> bool:
        """Take over which scopes have a streak; whether one has that had none."""
        appeared = False
        with self._lock:
            for number, scope, is_live in news.streaks:
                if number <= self._written.get(scope, 0):
                    continue
                if not is_live:
                    self._live.pop(scope, None)
                elif scope not in self._live:
                    self._live[scope] = ()
                    appeared = True
            self._position = max(self._position, news.position)
            self._highest = max(self._highest, news.position)
            self._written = {s: number for s, number in self._written.items() if number > news.position}
        return appeared

    def _beat(self, *, looks: bool = True) -> None:
        """Be heard of, tell when strategies last succeeded, and see whether the backend is the one it was."""
        herald = self._herald()
        successes = {} if herald is None else herald.take_successes(anew=looks)
        member = Member(
            self._identity,
            *_place(self._identity),
            self._started,
            datetime.now(UTC),
            0 if herald is None else herald.refusals(),
            herald is not None and herald.has_callback(),
        )
        with self._alone():
            running = [episode for episode, runner in self._unsettled.items() if runner == self._identity]
            self._backend.beat(member, successes, running)
            fits = self._backend.position() >= self._highest
        if not fits:
            self._catch_up()

    def _see_to_callbacks(self) -> None:
        """Retry this process's halt callbacks, and run those that other processes left undone."""
        herald = self._herald()
        has_callback = herald is not None and herald.has_callback()
        if self._callbacks_changed and (has_callback or self._unsettled):
            with self._alone():
                there = self._backend.callbacks()
                if self._backend.position() < self._highest:
                    self._behind = True  # it is not the one it was: who catches up keeps what is owed
                    return
                self._callbacks_changed = False
                self._unsettled = dict(there)
        if herald is None or not has_callback or not self._unsettled:
            return
        with self._alone():
            owed = [halt for halt in self._halts.values() if halt.episode in self._unsettled]
            others = {h.episode: self._unsettled[h.episode] for h in owed if not self.owes(h.episode)}
            claimed = self._backend.claim(self._identity, others) if others else []
            self._unsettled.update(dict.fromkeys(claimed, self._identity))
        mine = [halt for halt in owed if self.owes(halt.episode)]
        idle = {halt.episode for halt in mine if not herald.sees_to(halt)}
        # What this process has latched a moment ago is about to be seen to by the call that did.
        left = [halt for halt in mine if halt.episode in idle & (self._unattended | set(claimed))]
        self._unattended = idle
        steps = [partial(herald.run_callbacks, halt) for halt in left]
        if len(left) < len(mine):
            steps.append(partial(herald.retry))
        for step in steps:
            aside(step)

    # -- its life

    def _wake(self) -> None:
        """Open the backend in a forked child, the first time that something asks for it."""
        with self._lock:
            if self._awake or self._closed:
                return
            before = self._lost
            try:
                if before is None:
                    self._open()
                self._keep()
            except Exception as error:  # noqa: BLE001  # neither a file nor a thread may be to be had
                self._lost = self._told(error)
                self._keep_all_the_same()
            lost = self._lost
        self._watchers.tell(True)
        if lost is None:
            self._catch_up_here()  # the parent may have known of a halt that the backend had not been told of
        elif lost is not before and self._awake:
            self._tell_lost(lost)

    def _keep_all_the_same(self) -> None:
        try:
            self._keep()
        except RuntimeError as error:  # no thread can be started; the next call tries again
            _faults.report("no thread can be started to hear of halts", error)

    def _forked(self) -> None:
        """Leave the parent's connection and thread to the parent; what the parent has yet to merge, it merges."""
        self._backend.forked()
        self._journal.clear()
        self._awake = self._busy = self._behind = False
        self._lost = None
        herald = self._herald()
        if herald is not None:
            herald.forked()
        self._watchers.tell(True)

    def close(self) -> None:
        """Say good-bye to the other processes and let go of the backend; what comes later is kept here and lost."""
        with self._opening, self._alone():
            if self._closed or not self._awake:
                return
            self._closed = True
            try:
                self._say_good_bye()
            except Exception as error:  # noqa: BLE001  # a process ends, whatever a client raises
                self._lost = self._told(error)
            self._backend.close()
            if self._journal:
                _log.store_left(len(self._journal), self._lost)
            self._lost = self._lost or StoreUnavailable(f"{self._backend.where} has been closed")

    def _say_good_bye(self) -> None:
        if self._lost is not None:
            self._backend.open()
            self._lost = None
            self._drain()
        if self._lost is not None:
            return
        herald = self._herald()
        if herald is not None:
            self._beat()
        self._backend.leave(self._identity)


def _is_same(mine: HaltRecord, there: HaltRecord | None) -> bool:
    return there is not None and there.episode == mine.episode


class _Asserting:
    """The transaction that sets a halt again which a backend does not know, and which nobody has resumed."""

    def __init__(self, halt: HaltRecord, *, settled: bool) -> None:
        self._halt = halt
        self._settled = (halt.episode,) if settled else ()

    def __call__(self, rows: Rows) -> Change:
        halt = self._halt
        current = rows.halts.get(halt.scope)
        details = {"level": halt.level.value, "trigger_type": halt.trigger_type, "episode": halt.episode}
        if current is not None and current.episode == halt.episode:
            return Change()
        if current is not None:  # both sides of an outage have halted: one episode, with the reasons of both
            details["merged_into"] = current.episode
            stricter = latched(current, halt) or also(current, halt)
            entry = AuditEntry(halt.since, "halt", halt.by, halt.reason, halt.scope, details)
            return Change(halts={halt.scope: stricter}, audit=[entry])
        entry = AuditEntry(halt.since, "halt", halt.by, halt.reason, halt.scope, {**details, "set_again": True})
        return Change(halts={halt.scope: halt}, settled=self._settled, audit=[entry])


def _place(identity: str) -> tuple[str, int]:
    """The machine and the number of a process."""
    place, pid, _ = identity.rsplit(":", 2)
    return place.partition("/")[0], int(pid)


def _again(kind: Callable[..., SharedStore], place: str, settings: Mapping[str, Any]) -> SharedStore:
    return reopened(f"{kind}({place!r}, {settings})", lambda: kind(place, **settings))


_opened: weakref.WeakSet[SharedStore] = weakref.WeakSet()


def _leave_all() -> None:  # pragma: no cover  # it runs when nothing is measured any more
    for store in list(_opened):
        store.close()


_forking = ExitStack()


def _hold_still() -> None:
    """Let nothing be in the midst of a transaction while the process forks."""
    for store in list(_opened):
        for lock in (store._opening, store._lock, store._backend.still()):
            _forking.enter_context(lock)


def _go_on() -> None:
    _forking.close()


def _leave_to_the_parent() -> None:  # pragma: no cover  # in forked children, which tests/test_processes.py looks at
    _forking.pop_all()  # a child's locks are new
    for store in list(_opened):
        store._forked()


atexit.register(_leave_all)
if hasattr(os, "register_at_fork"):  # pragma: no branch  # Windows has no fork
    os.register_at_fork(before=_hold_still, after_in_parent=_go_on, after_in_child=_leave_to_the_parent)
