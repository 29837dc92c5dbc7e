"""Recording: what guards and blocks do with an exception: rules, names, context, tracker."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from guarded import _counted, _course, _faults, _mode
from guarded._callback import finish
from guarded._enclosing import around
from guarded._errors import SignalRejected
from guarded._failure import FailureType
from guarded._halt import HaltRecord, covering
from guarded._matching import Action
from guarded._names import UNKNOWN
from guarded._scope import EVERYTHING, Scope

if TYPE_CHECKING:
    from collections.abc import Sequence

    from guarded._callback import Unfinished
    from guarded._failure import SignalGenerationFailure
    from guarded._rules import FailureRules
    from guarded._tracker import FailureTracker


class Call(Protocol):
    """One guarded call, or one block: what has to be known of it once it fails or is refused."""

    @property
    def rules(self) -> FailureRules | None:
        """Its own rules, if it has any."""

    @property
    def reraise(self) -> bool:
        """Whether exceptions go on to the caller."""

    def names(self, error: BaseException | None) -> tuple[str, str]:
        """Strategy and symbol; never raises."""

    def course_failed(self, tracker: FailureTracker, since: int) -> bool:
        """Whether its own course has recorded a failure with a number above `since`."""

    def context(self) -> dict[str, object]:
        """What `context=` adds to the record; never raises."""


class Settled(NamedTuple):
    """What is to be done about an exception.

    Attributes:
        raises: Whether it goes on to the caller.
        failure: The record, if it is a failure.
        refused: Whether it says that trading is halted.
        unfinished: The asynchronous halt callbacks that are left to await.
    """

    raises: bool
    failure: SignalGenerationFailure | None = None
    refused: bool = False
    unfinished: Sequence[Unfinished] = ()


def settle(tracker: FailureTracker, since: int, error: Exception, call: Call) -> Settled:
    """Decide what an exception is, and record it if it is a failure; never raises an `Exception`.

    Args:
        tracker: Who counts.
        since: The number of the tracker's last failure when the call began.
        error: What the call raised.
        call: The call.
    """
    raises = call.reraise or _mode.current == "strict"
    before = tracker._sequence
    try:
        if _counted.is_refusal(error):
            return Settled(call.reraise, refused=True)
        return _judged(tracker, since, error, call, raises=raises)
    except RecursionError:
        return Settled(raises=True)  # no room to record it here; a guard further out, or the host, has more
    except Exception as fault:  # noqa: BLE001  # a fault of ours is never the caller's
        _faults.report(f"recording {_faults.kind_of(error)} failed; the caller gets what it would have got", fault)
        return Settled(raises, _recorded_plainly(tracker, before, error, call, raises=raises))


def _recorded_plainly(
    tracker: FailureTracker, before: int, error: Exception, call: Call, *, raises: bool
) -> SignalGenerationFailure | None:
    """Record a failure that could not be recorded as it should be, unless it was counted before that went wrong."""
    if _course.thread_failed(tracker, before):
        return None
    try:
        strategy, symbol = call.names(None)
        failure, unfinished = tracker._record(
            error, strategy, symbol, FailureType.UNKNOWN_ERROR, None, None, goes_on=raises
        )
        finish(unfinished)
    except Exception as fault:  # noqa: BLE001  # a fault of ours is never the caller's
        _faults.report("the failure is lost", fault)
        return None
    return failure


def _judged(tracker: FailureTracker, since: int, error: Exception, call: Call, *, raises: bool) -> Settled:
    judged = (call.rules or tracker.rules).judge(error)
    if judged.action is Action.PROPAGATE:
        return Settled(raises=True)
    if judged.action is Action.IGNORE:
        return Settled(raises=False)
    if tracker._sequence != since:  # else nothing was counted since the call began
        known = _counted.counted_as(error, tracker, since, own_course=call.course_failed(tracker, since))
        if known is not None:
            if not raises:
                _counted.forget(error, tracker)
            return Settled(raises, known)
    rejected = judged.failure_type is FailureType.UNKNOWN_ERROR and issubclass(type(error), SignalRejected)
    strategy, symbol = call.names(None)
    shown = call.names(error)[1] if symbol == UNKNOWN else symbol
    failure, unfinished = tracker._record(
        error,
        strategy,
        shown,
        FailureType.DATA_ERROR if rejected else judged.failure_type,
        judged.rule,
        _context(call),
        counted_for=symbol,  # what the exception says of its symbol, no success can say
        goes_on=raises,
    )
    return Settled(raises, failure, unfinished=unfinished)


def _context(call: Call) -> dict[str, object] | None:
    """The context of the blocks around, from the outermost inwards, and the call's own; None if there is none."""
    context: dict[str, object] = {}
    for one in reversed(list(around())):
        context.update(one.resolve_context())
    context.update(call.context())
    return context or None


def refusal(tracker: FailureTracker, call: Call, *, reduce_only: bool) -> HaltRecord | None:
    """The halt that refuses a call; None if it may run. Names are resolved only while a scoped halt needs them."""
    halts = tracker._store.halts
    if not halts:
        return None
    everything = halts.get(EVERYTHING)
    if everything is not None and everything.refuses(reduce_only=reduce_only):
        return everything
    if len(halts) == (everything is not None):
        return None
    scope = Scope(*call.names(None))
    return next((halt for halt in covering(halts, scope) if halt.refuses(reduce_only=reduce_only)), None)


def record_refusal(tracker: FailureTracker, call: Call, halt: HaltRecord) -> Sequence[Unfinished]:
    """Count a refusal and tell of it; never raises an `Exception`."""
    try:
        strategy, symbol = call.names(None)
        return tracker._refuse(strategy, symbol, halt)
    except Exception as fault:  # noqa: BLE001  # a fault of ours is never the caller's
        _faults.report("a refusal could not be recorded; the call is refused", fault)
        return ()
