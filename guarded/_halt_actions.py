"""HaltActions: what a halt does, in this process, to the strategies of a host."""

from __future__ import annotations

import gc
from typing import TYPE_CHECKING, Any

from guarded import _faults, _shared
from guarded._events import HaltTriggered
from guarded._names import bounded

if TYPE_CHECKING:
    from collections.abc import Callable

    from guarded._events import Event
    from guarded._halt import HaltRecord
    from guarded._hosts import Host
    from guarded._scope import Scope
    from guarded._tracker import FailureTracker


class HaltActions:
    """A listener that does to strategies what their host needs when trading halts.

    Args:
        host: Whose strategies they are.
        classes: Tells which classes are covered.
        tracker: Whose halts; None: the shared tracker's, whichever that is.
    """

    def __init__(self, host: Host, classes: Callable[[], list[type]], tracker: FailureTracker | None) -> None:
        self._host = host
        self._classes = classes
        self.end = _shared.subscribe(self._hear) if tracker is None else tracker.subscribe(self._hear)

    def _hear(self, event: Event) -> None:
        if not isinstance(event, HaltTriggered) or self._host.on_halt is None:
            return
        for strategy in self._strategies():
            try:
                if self._concerns(event.halt, strategy):
                    self._host.on_halt(strategy, event.halt)
            except Exception as fault:  # noqa: BLE001  # one strategy's fault must not keep the others trading
                _faults.report(f"a halt could not reach a strategy of {self._host.name}; its calls are refused", fault)

    def _strategies(self) -> list[Any]:
        """The strategies that there are: looked for when they are needed, so that making one costs nothing."""
        covered = set(self._classes())
        return [one for one in gc.get_objects() if type(one) in covered]

    def _concerns(self, halt: HaltRecord, strategy: Any) -> bool:
        """Whether a halt may be about a strategy, as far as that can tell by itself: it may have several symbols."""
        scope: Scope = halt.scope
        names = self._host.names_of(strategy)
        return all(
            wanted is None or known is None or bounded(known) == wanted
            for wanted, known in zip((scope.strategy, scope.symbol), names, strict=True)
        )
