"""track_signal: the guard around a block of code."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, Self

from guarded import _exempt, _faults, _mode, _shared
from guarded._callback import finish, wait
from guarded._checks import checked_choice, checked_instance
from guarded._context import block_context
from guarded._enclosing import Enclosing, enclosing, nearest_open
from guarded._errors import InvalidConfiguration, TradingHalted
from guarded._names import UNKNOWN, name, symbol_of
from guarded._recording import Settled, record_refusal, refusal, settle
from guarded._rules import FailureRules
from guarded._tracker import FailureTracker

if TYPE_CHECKING:
    from contextvars import Token
    from types import TracebackType

    from guarded._failure import SignalGenerationFailure
    from guarded._halt import HaltRecord

Context = Mapping[str, object] | Callable[[], Mapping[str, object]] | None


class Settings(NamedTuple):
    """What most blocks leave as it is."""

    rules: FailureRules | None = None
    context: Context = None
    reraise: bool = False
    runs_halted: bool = False
    reduce_only: bool = False


_DEFAULTS = Settings()
_new = object.__new__
_STEPPED_ASIDE = -1  # what a block entered in mode off has for the number of the last failure


class Signal:
    """What `track_signal` gives to its block, and what became of it.

    Attributes:
        value: The signal that the block made, set by it; None whenever the block failed or was refused.
        strategy: The block's strategy; None if neither it nor a block around it has said.
        symbol: The block's symbol, likewise.
        outer: What it runs in: the block or the guarded coroutine call around it.
        ended: Whether the block is over.
    """

    __slots__ = (
        "_course_failed",
        "_settings",
        "_settled",
        "_since",
        "_token",
        "_tracker",
        "ended",
        "outer",
        "strategy",
        "symbol",
        "value",
    )

    value: Any
    strategy: str | None
    symbol: str | None
    outer: Enclosing | None
    ended: bool
    _course_failed: bool  # whether a failure was recorded in the block's course
    _tracker: FailureTracker
    _settings: Settings
    _token: Token[Enclosing | None]
    _since: int | None  # the number of the tracker's last failure on entry; None until then
    _settled: Settled | None

    # -- what became of it

    @property
    def failed(self) -> bool:
        """Whether the block raised an exception that was kept from, or counted before, the code around it."""
        return self._settled is not None and not self._settled.refused

    @property
    def refused(self) -> bool:
        """Whether trading was halted: on entry, or for a block within."""
        return self._settled is not None and self._settled.refused

    @property
    def failure(self) -> SignalGenerationFailure | None:
        """The record, if the block failed; None for a failure that the rules ignore."""
        return None if self._settled is None else self._settled.failure

    # -- the block

    def __enter__(self) -> Self:
        """Enter the block.

        Raises:
            TradingHalted: Trading is halted for this strategy and symbol.
            InvalidConfiguration: The block has been entered before.
        """
        __tracebackhide__ = True
        if self._since is not None:
            raise _entered_before()
        outer = enclosing.get()
        if outer is not None:
            self._inherit(outer)
        self._since = self._tracker._pulse
        if self._since is None and (halt := self._refusal()) is not None:
            finish(record_refusal(self._tracker, self, halt))
            raise _trading_halted(halt)
        self._token = enclosing.set(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        """Record what the block raised, and keep it from the code around."""
        self.ended = True
        try:
            enclosing.reset(self._token)
        except ValueError:  # entered in one context and left in another, as an abandoned async generator is
            pass
        del self._token  # it holds the block around, also where that is over
        if error is not None:
            settled = self._failed(error)
            finish(settled.unfinished)
            return not settled.raises
        tracker = self._tracker
        if tracker._pulse is self._since and not tracker._live and not self._course_failed:
            read_time = tracker._read_time
            tracker._succeeded_at = read_time()
        else:
            self._succeeded()
        return False

    async def __aenter__(self) -> Self:
        """Enter the block.

        Raises:
            TradingHalted: Trading is halted for this strategy and symbol.
            InvalidConfiguration: The block has been entered before.
        """
        __tracebackhide__ = True
        if self._since is not None:
            raise _entered_before()
        outer = enclosing.get()
        if outer is not None:
            self._inherit(outer)
        self._since = self._tracker._pulse
        if self._since is None and (halt := self._refusal()) is not None:
            await wait(record_refusal(self._tracker, self, halt))
            raise _trading_halted(halt)
        self._token = enclosing.set(self)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        """Record what the block raised, and keep it from the code around."""
        if error is None:
            return self.__exit__(kind, error, traceback)
        self.ended = True
        try:
            enclosing.reset(self._token)
        except ValueError:
            pass
        del self._token
        settled = self._failed(error)
        await wait(settled.unfinished)
        return not settled.raises

    def _inherit(self, outer: Enclosing) -> None:
        """Take from the block around what this one was not given."""
        self.outer = nearest_open(outer)
        if self.strategy is None:
            self.strategy = outer.strategy
        if self.symbol is None:
            self.symbol = outer.symbol

    def _refusal(self) -> HaltRecord | None:
        """The halt that refuses the block, which the signal tells of; None: it is entered the long way."""
        if _mode.current == "off":
            self._since = _STEPPED_ASIDE
            return None
        self._since = self._tracker._sequence
        if self._settings.runs_halted:
            if self._tracker._store.halts:
                _exempt.note(f"a block of {self.strategy or UNKNOWN} runs while trading is halted")
            return None
        halt = refusal(self._tracker, self, reduce_only=self._settings.reduce_only)
        if halt is not None:
            self._settled = Settled(raises=True, refused=True)
        return halt

    def _succeeded(self) -> None:
        if self._since == _STEPPED_ASIDE or self._course_failed:
            return
        try:
            strategy, symbol = self.names(None)
            self._tracker._succeed(strategy, symbol)
        except Exception as fault:  # noqa: BLE001  # a fault of ours is never the caller's
            _faults.report("a success of a track_signal block could not be recorded", fault)

    def _failed(self, error: BaseException) -> Settled:
        since = self._since
        if since is None or since == _STEPPED_ASIDE or not isinstance(error, Exception):
            return Settled(raises=True)
        self.value = None
        self._settled = settle(self._tracker, since, error, self)
        return self._settled

    # -- what the recording asks of a call

    @property
    def rules(self) -> FailureRules | None:
        """The block's own rules."""
        return self._settings.rules

    @property
    def reraise(self) -> bool:
        """Whether exceptions go on to the code around."""
        return self._settings.reraise

    def names(self, error: BaseException | None) -> tuple[str, str]:
        """Strategy and symbol, from the block, the blocks around it, and the exception."""
        symbol = symbol_of(error) if self.symbol is None else name(self.symbol)
        return UNKNOWN if self.strategy is None else name(self.strategy), symbol

    def course_failed(self, _tracker: FailureTracker, _since: int) -> bool:
        """Whether a failure was recorded in the block's own course."""
        return self._course_failed

    def context(self) -> dict[str, object]:
        """What `context=` adds to the record of a failure."""
        return block_context(self._settings.context)

    # -- what calls and blocks within ask of an enclosing block

    def resolve_context(self) -> dict[str, object]:
        """What `context=` adds to the record of a failure."""
        return self.context()

    def note_failure(self, tracker: FailureTracker) -> None:
        """Hear that a failure was recorded in the block's course: its success will count neither way."""
        if tracker is self._tracker:
            self._course_failed = True


def track_signal(
    strategy: str | None = None,
    symbol: str | None = None,
    *,
    tracker: FailureTracker | None = None,
    rules: FailureRules | None = None,
    context: Context = None,
    reraise: bool = False,
    when_halted: Literal["raise", "run"] = "raise",
    reduce_only: bool = False,
) -> Signal:
    """Guard a block of code, with `with` or `async with`.

    When the block raises, the exception is recorded and kept from the code around, and `signal.value` is None. The
    guarded calls and blocks within take their names from here if they have none, in this thread and in tasks.

    A block that is refused raises before `as signal` is bound: in a loop that catches `TradingHalted`, the name would
    still be that of the round before.

    Args:
        strategy: Whose signal it is; by default that of the block around.
        symbol: Of which symbol; by default that of the block around, or a `symbol` attribute of the exception.
        tracker: Who counts; by default the shared tracker.
        rules: How exceptions are classified, instead of by the tracker's rules.
        context: What to add to the records of failures in the block: a mapping, or a function without parameters that
            returns one. Callables among the values are called, when something fails.
        reraise: Record the failure, then let the same exception go on.
        when_halted: A block cannot be skipped, so `"raise"` raises `TradingHalted` on entry while trading is halted;
            `"run"` enters it all the same.
        reduce_only: The block only closes positions: it still runs while the halt's level is `REDUCING`.

    Returns:
        The `Signal` whose `value` the block sets.

    Raises:
        InvalidConfiguration: A setting that cannot work.

    Example:
        with track_signal("VWAP", "AAPL") as signal:
            signal.value = vwap(bars)
        if signal.value is not None:
            place_order(signal.value)
    """
    settings = _DEFAULTS
    if tracker is None:
        tracker = _shared.tracker
    elif not isinstance(tracker, FailureTracker):
        raise InvalidConfiguration(f"tracker={tracker!r} of track_signal: expected a FailureTracker, or None")
    if rules is not None or context is not None or reraise or reduce_only or when_halted != "raise":
        settings = Settings(
            checked_instance(rules, FailureRules, "rules of track_signal"),
            context,
            reraise,
            checked_choice(when_halted, ("raise", "run"), "when_halted of track_signal") == "run",
            reduce_only,
        )
    # Made without __init__, whose call would cost as much as all of this.
    signal = _new(Signal)
    signal.value = signal.outer = signal._since = signal._settled = None
    signal.ended = signal._course_failed = False
    signal.strategy = strategy
    signal.symbol = symbol
    signal._tracker = tracker
    signal._settings = settings
    return signal


def _entered_before() -> InvalidConfiguration:
    return InvalidConfiguration("a block is entered once: call track_signal() anew for each `with`")


def _trading_halted(halt: HaltRecord) -> TradingHalted:
    by = f" by {halt.by}" if halt.by else ""
    return TradingHalted(
        f"trading is halted for {halt.scope} since {halt.since.isoformat()}{by}: {halt.reason}."
        " It stays halted until somebody calls resume(by=..., reason=...)",
        halt,
    )
