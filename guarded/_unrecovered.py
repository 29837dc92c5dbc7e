"""Unrecovered: which of a strategy's guarded methods have failed and not succeeded since.

A host calls several methods of one strategy for one symbol: were the success of each to end the streak of all, one that
always fails beside one that always works would never halt. So the success of a method counts once every other one that
failed for that strategy and symbol has succeeded, too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from guarded._locks import ForkSafeLock

if TYPE_CHECKING:
    from collections.abc import Callable

    from guarded._tracker import FailureTracker


class Unrecovered:
    """The methods that one instrumentation guards, as far as they fail."""

    __slots__ = ("_failed_at", "_lock")

    def __init__(self) -> None:
        self._failed_at: dict[tuple[str, str], dict[str, float]] = {}
        self._lock = ForkSafeLock()

    def failed(self, tracker: FailureTracker, key: tuple[str, str], method: str) -> None:
        """Note a failure of a method for a strategy and a symbol."""
        with self._lock:
            self._failed_at.setdefault(key, {})[method] = tracker.clock.monotonic()

    def forget(self) -> None:
        """Know of no failures any more."""
        with self._lock:
            self._failed_at.clear()

    def succeeded(self, tracker: FailureTracker, key: tuple[str, str], method: str) -> bool:
        """Note a success; whether no other method's failure stands that a streak may still remember."""
        if key not in self._failed_at:
            return True
        window = tracker._ledger.longest_window
        oldest = float("-inf") if window is None else tracker.clock.monotonic() - window
        with self._lock:
            failed_at = self._failed_at.pop(key, {})
            standing = {other: at for other, at in failed_at.items() if other != method and at >= oldest}
            if standing:
                self._failed_at[key] = standing
        return not standing

    def __reduce__(self) -> tuple[Callable[[], Unrecovered], tuple[()]]:
        """Pickle as one that knows of no failures: they are this process's."""
        return Unrecovered, ()
