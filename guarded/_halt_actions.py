"""HaltActions: what a halt does, in this process, to the strategies of a host."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, Any

from guarded import _faults, _shared
from guarded._events import HaltTriggered
from guarded._names import bounded

if TYPE_CHECKING:
    from collections.abc import Callable

    from guarded._decorator import Settings
    from guarded._events import Event
    from guarded._halt import HaltRecord
    from guarded._hosts import Host
    from guarded._scope import Scope
    from guarded._tracker import FailureTracker


class HaltActions:
    """A listener that does to strategies what their host needs when trading halts.

    Args:
        host: Whose strategies they are.
        given: What they were instrumented with: their names, and whose halts they are to hear of; by default the shared
            tracker's, whichever that is.
        classes: Tells which classes are covered.
    """

    def __init__(self, host: Host, given: Settings, classes: Callable[[], list[type]]) -> None:
        self._host = host
        self._given = given
        self._classes = classes
        self.end = _shared.follow(self._begin) if given.tracker is None else self._begin(given.tracker)

    def _begin(self, tracker: FailureTracker) -> Callable[[], None]:
        """Hear of a tracker's halts, those in force first."""
        end = tracker.subscribe(self._hear)
        for halt in tracker.halts:
            self._act(halt)
        return end

    def _hear(self, event: Event) -> None:
        if isinstance(event, HaltTriggered):
            self._act(event.halt)

    def _act(self, halt: HaltRecord) -> None:
        for strategy in self._strategies():
            try:
                if self._host.on_halt is not None and self._concerns(halt, strategy):
                    self._host.on_halt(strategy, halt)
            except Exception as fault:  # noqa: BLE001  # one strategy's fault must not keep the others trading
                _faults.report(f"a halt could not reach a strategy of {self._host.name}; its calls are refused", fault)

    def _strategies(self) -> list[Any]:
        """The strategies that there are: looked for when they are needed, so that making one costs nothing."""
        covered = {id(cls) for cls in self._classes()}  # an object's class may be one that cannot be hashed
        return [one for one in gc.get_objects() if id(type(one)) in covered]

    def _concerns(self, halt: HaltRecord, strategy: Any) -> bool:
        """Whether a halt may be about a strategy, as far as that can tell by itself: it may have several symbols."""
        scope: Scope = halt.scope
        names = self._host.names_of(strategy, self._given)
        return all(
            wanted is None or known is None or bounded(known) == wanted
            for wanted, known in zip((scope.strategy, scope.symbol), names, strict=True)
        )
