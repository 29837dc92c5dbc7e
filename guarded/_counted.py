"""The mark of an exception that was counted, so that the calls which it crosses do not count it again."""

from __future__ import annotations

import threading
import weakref
from typing import TYPE_CHECKING, NamedTuple

from guarded._errors import TradingHalted

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from guarded._failure import SignalGenerationFailure
    from guarded._tracker import FailureTracker

_MARK = "__guarded_counted__"

# Through the slots of BaseException, because an exception may override attribute access.
_cause: Callable[[BaseException], BaseException | None] = BaseException.__dict__["__cause__"].__get__
_members: Callable[[BaseException], tuple[BaseException, ...]] = BaseExceptionGroup.__dict__["exceptions"].__get__
_put = BaseException.__setattr__


class _Count(NamedTuple):
    """What an exception was counted as, its number, and in which thread."""

    failure: SignalGenerationFailure
    sequence: int
    thread: int


class _Mark:
    """The failures that an exception was counted as, with their numbers; it pickles as None."""

    __slots__ = ("counts",)

    def __init__(self) -> None:
        self.counts: dict[weakref.ref[FailureTracker], _Count] = {}

    def __reduce__(self) -> tuple[type[None], tuple[()]]:
        return type(None), ()


def mark_counted(
    error: BaseException, tracker: FailureTracker, sequence: int, failure: SignalGenerationFailure
) -> None:
    """Mark an exception as counted.

    Args:
        error: The exception.
        tracker: Who counted it; held weakly.
        sequence: The failure's number in that tracker.
        failure: The record of it.
    """
    mark = _mark_of(error)
    if mark is None:
        mark = _Mark()
        _put(error, _MARK, mark)
    mark.counts[weakref.ref(tracker)] = _Count(failure, sequence, threading.get_ident())


def forget(error: BaseException, tracker: FailureTracker) -> None:
    """Take the mark of an exception, and of what it holds, off again: it is kept back, and crosses no other call.

    Who meets that object again, as strategies do that raise one object again and again, has been failed by it anew.
    """
    for leaf in _leaves(error):
        for link in _causes(leaf):
            unmark(link, tracker)


def unmark(error: BaseException, tracker: FailureTracker) -> None:
    """Take the mark of an exception itself off again."""
    mark = _mark_of(error)
    if mark is not None:
        mark.counts.pop(weakref.ref(tracker), None)


def counted_as(
    error: BaseException, tracker: FailureTracker, since: int, *, own_course: bool
) -> SignalGenerationFailure | None:
    """What this very raising of the exception was counted as; None if it was not.

    It was if the exception, one that it was raised `from`, or each leaf of it (for a group) was counted after the call
    that it crosses began, in the call's own course or in another thread. An exception that is raised again in a later
    call was counted before that call began, and one that overlapping calls have in common outside of their courses.

    Args:
        error: The exception.
        tracker: By whom.
        since: The number of the tracker's last failure when the call began.
        own_course: Whether the call's own course has recorded a failure.
    """
    search = _Search(weakref.ref(tracker), since, None if own_course else threading.get_ident())
    return search.among_causes(error) or (search.among_leaves(error) if _is_group(error) else None)


class _Search(NamedTuple):
    """Looks for what an exception was counted as since a call began."""

    tracker: weakref.ref[FailureTracker]
    since: int
    not_in: int | None
    """A thread whose counts do not matter, because they are none of the call's own course."""

    def among_causes(self, error: BaseException) -> SignalGenerationFailure | None:
        """The first that it, or one that it was raised from, was counted as."""
        for link in _causes(error):
            mark = _mark_of(link)
            count = None if mark is None else mark.counts.get(self.tracker)
            if count is not None and count.sequence > self.since and count.thread != self.not_in:
                return count.failure
        return None

    def among_leaves(self, group: BaseException) -> SignalGenerationFailure | None:
        """What the first leaf was counted as, if all of them were, or were refused."""
        first: SignalGenerationFailure | None = None
        for leaf in _leaves(group):
            found = self.among_causes(leaf)
            if found is not None:
                first = first or found
            elif not _is_halted(leaf):
                return None
        return first


def is_refusal(error: BaseException) -> bool:
    """Whether it says that trading is halted: `TradingHalted`, one raised `from` it, or a group of nothing else."""
    if _cause(error) is None and not _is_group(error):  # as nearly all are
        return issubclass(type(error), TradingHalted)
    return all(_is_halted(leaf) for leaf in _leaves(error))


def _is_halted(error: BaseException) -> bool:
    return any(issubclass(type(link), TradingHalted) for link in _causes(error))


def _causes(error: BaseException) -> Iterator[BaseException]:
    """The exception and those that it was raised from."""
    seen: set[int] = set()  # for there are cycles
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        link = _cause(link)


def _leaves(error: BaseException) -> Iterator[BaseException]:
    """The exception, or the leaves of the group that it is."""
    seen: set[int] = set()  # for a group may hold another many times over
    left = [error]
    while left:
        member = left.pop()
        if id(member) not in seen:
            seen.add(id(member))
            if _is_group(member):
                left.extend(reversed(_members(member)))
            else:
                yield member


def _is_group(error: BaseException) -> bool:
    return issubclass(type(error), BaseExceptionGroup)  # not isinstance: an exception may lie about its class


def _mark_of(error: BaseException) -> _Mark | None:
    try:
        mark = object.__getattribute__(error, _MARK)
    except AttributeError:
        return None
    return mark if isinstance(mark, _Mark) else None
