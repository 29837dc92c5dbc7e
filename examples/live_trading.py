"""Three strategies trade two files of real bars, and the dirt in the data halts them: python examples/live_trading.py.

Nothing here raises for show. A share has few bars on its first days, one file has no volume column, and some of its
rows are blank but for a date. What the log shows is what `guarded` makes of that.

Time is simulated: the clock follows the bars, so a run of four years takes no time and is the same whenever it runs.
"""

from __future__ import annotations

import csv
import logging
import re
import sys
import textwrap
from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from itertools import pairwise
from operator import itemgetter
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Protocol

from guarded import FailureTracker, guarded_signal, set_failure_tracker

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

DATA = Path(__file__).parent / "data"
GOES_LIVE, ENDS = "2004-08-19", "2008-10-14"
MONTHLY_SYMBOLS = ("IBM",)
LOOKS_BACK = 40
WIDTH = 96

Bar = dict[str, str]
"""One row of a file, as `csv` reads it: texts, among them empty ones."""


# ---------------------------------------------------------------------------------------------------------------------
# The strategies: as somebody writes them who has clean data in mind. The guard is the one line above each method.
# ---------------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Signal:
    """What a strategy would like to hold."""

    symbol: str
    side: str


class Strategy(Protocol):
    """What the desk asks of a strategy; None = no signal, and so no order."""

    name: str

    def generate_signals(self, symbol: str, bars: Sequence[Bar]) -> Signal | None:
        """Judge a symbol by its bars, the newest last."""


class Momentum:
    """Follows a price that has risen for two bars."""

    name = "Momentum"

    @guarded_signal
    def generate_signals(self, symbol: str, bars: Sequence[Bar]) -> Signal:
        """Compare the newest close with the one two bars before."""
        change = float(bars[-1]["close"]) - float(bars[-3]["close"])
        return Signal(symbol, "long" if change > 0 else "flat")


class Rsi:
    """Buys what fell too far, by the relative strength index of 14 changes."""

    name = "RSI"
    oversold, overbought = 30, 70

    @guarded_signal
    def generate_signals(self, symbol: str, bars: Sequence[Bar]) -> Signal:
        """Set the average gain against the average loss."""
        changes = [new - old for old, new in pairwise(float(bar["close"]) for bar in bars[-15:])]
        gain = fmean(max(change, 0) for change in changes)
        loss = fmean(max(-change, 0) for change in changes)
        rsi = 100 - 100 / (1 + gain / loss)
        return Signal(symbol, "long" if rsi < self.oversold else "short" if rsi > self.overbought else "flat")


class Vwap:
    """Buys below the volume-weighted average price of the last 20 bars."""

    name = "VWAP"

    @guarded_signal
    def generate_signals(self, symbol: str, bars: Sequence[Bar]) -> Signal:
        """Compare the newest close with the average."""
        traded = [(float(bar["close"]), float(bar["volume"])) for bar in bars[-20:]]
        vwap = sum(price * volume for price, volume in traded) / sum(volume for _, volume in traded)
        return Signal(symbol, "long" if traded[-1][0] < vwap else "flat")


# ---------------------------------------------------------------------------------------------------------------------
# The data, and the clock that follows it
# ---------------------------------------------------------------------------------------------------------------------


def rows_of(file: str) -> list[Bar]:
    """The rows of a CSV file, without its comment lines."""
    with (DATA / file).open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(line for line in lines if not line.startswith("#")))


def feed() -> list[tuple[str, str, Bar]]:
    """All bars of both files as (date, symbol, bar), in the order of their dates: what a data vendor would send.

    A monthly bar is dated with the first day of its month and holds the close of the last. That makes no difference to
    what fails; as a backtest it would look into the future.
    """
    daily = [(row["date"], "GOOG", row) for row in rows_of("goog_daily.csv")]
    monthly = [
        (row["Date"], symbol, {"date": row["Date"], "close": row[symbol]})
        for row in rows_of("stocks_monthly.csv")
        for symbol in MONTHLY_SYMBOLS
    ]
    return sorted(daily + monthly, key=itemgetter(0))


class BarClock:
    """A clock for `FailureTracker(clock=...)` that stands where the newest bar does."""

    def __init__(self, day: str) -> None:
        self.move_to(day)

    def move_to(self, day: str) -> None:
        """Set it to 20:00 UTC of a day, about when New York closes."""
        self._now = datetime.combine(datetime.fromisoformat(day), time(20), UTC)

    def now(self) -> datetime:
        """The simulated time; failures and halts are stamped with it."""
        return self._now

    def monotonic(self) -> float:
        """The same in seconds; the reset window is measured with it."""
        return self._now.timestamp()


# ---------------------------------------------------------------------------------------------------------------------
# The desk: which strategy trades what, and what people did when trading was halted
# ---------------------------------------------------------------------------------------------------------------------


class Desk:
    """Runs the strategies over every bar that comes in."""

    def __init__(self) -> None:
        every = (Momentum(), Rsi(), Vwap())
        self.book: dict[str, tuple[Strategy, ...]] = {"GOOG": every, "IBM": every}
        self.drops_blank_rows = False
        self.history: dict[str, list[Bar]] = defaultdict(list)
        self.signals: Counter[str] = Counter()

    def warm_up(self, symbol: str, bar: Bar) -> None:
        """Take a bar from before the desk went live; somebody has cleaned those."""
        if bar["close"]:
            self.history[symbol].append(bar)

    def on_bar(self, symbol: str, bar: Bar) -> list[str]:
        """Let each strategy look at a new bar."""
        self.history[symbol].append(bar)
        bars = [bar for bar in self.history[symbol][-LOOKS_BACK:] if bar["close"] or not self.drops_blank_rows]
        made = [(strategy.name, strategy.generate_signals(symbol, bars)) for strategy in self.book[symbol]]
        # None: the strategy failed, or trading is halted. No signal, no order.
        signals = [f"{name} {signal.side}" for name, signal in made if signal is not None]
        self.signals.update(signals)
        return signals

    def clean_up(self) -> None:
        """Drop blank rows, and take VWAP off the symbol whose file has no volume."""
        self.drops_blank_rows = True
        self.book["IBM"] = (Momentum(), Rsi())


@dataclass(frozen=True)
class Visit:
    """What somebody did about a halt. That it takes a person is the point of it."""

    by: str
    reason: str
    remedy: Callable[[Desk], None] | None = None


VISITS = {
    "2004-09-10": Visit("Ana", "GOOG has 15 bars by now, as many as RSI looks at"),
    "2004-11-10": Visit("Ben", "blank rows are dropped now, and IBM is off VWAP: no volume", Desk.clean_up),
}


# ---------------------------------------------------------------------------------------------------------------------
# The run
# ---------------------------------------------------------------------------------------------------------------------


class Terminal(logging.Formatter):
    """Dates the log by the bars; shows halts and the first failure in full, and of all else the first line."""

    def __init__(self, clock: BarClock) -> None:
        super().__init__()
        self._clock = clock
        self._traced = False

    def format(self, record: logging.LogRecord) -> str:
        """One log record, its further lines indented."""
        lines = record.getMessage().splitlines()
        if record.levelno == logging.WARNING:  # a refusal or a resume; the announcement has said since when, and why
            lines = [re.split(r"(?: \(halted)? since ", lines[0])[0]]
        elif record.levelno == logging.ERROR:
            lines = lines[:1] if self._traced else lines
            self._traced = True
        parts = [part for line in lines for part in folded(line)]
        return f"{self._clock.now():%Y-%m-%d}  " + "\n            ".join(parts)


def folded(line: str) -> list[str]:
    """A line in parts that are no wider than the page."""
    indent = " " * (len(line) - len(line.lstrip()) + 2)
    return textwrap.wrap(line, WIDTH, subsequent_indent=indent)


def log_to_terminal(clock: BarClock) -> None:
    """Show what `guarded` logs between the lines that are printed here; a bot would leave it on stderr or in a file."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(Terminal(clock))
    logging.basicConfig(level=logging.INFO, handlers=[handler])


def heading(text: str) -> None:
    """Begin a new part of the output."""
    print(f"\n--- {text} ".ljust(WIDTH + 13, "-"))


def visit(desk: Desk, tracker: FailureTracker, caller: Visit) -> None:
    """Look at what happened, do something about it, and resume trading."""
    heading(f"{caller.by} looks at the desk; calls refused so far: {tracker.refusals}")
    print(textwrap.indent(tracker.get_failure_summary(), "    "))
    heading(f"{caller.by} resumes trading")
    if caller.remedy is not None:
        caller.remedy(desk)
    tracker.resume(by=caller.by, reason=caller.reason)


def trade(desk: Desk, tracker: FailureTracker, clock: BarClock) -> None:
    """Go through the bars, one after the other."""
    for day, symbol, bar in feed():
        if day < GOES_LIVE:
            desk.warm_up(symbol, bar)
        elif day <= ENDS:
            clock.move_to(day)
            caller = VISITS.get(day) if tracker.halt_triggered else None
            if caller is not None:
                visit(desk, tracker, caller)
            signals = desk.on_bar(symbol, bar)
            if caller is not None:
                print(f"{day}  Signals for {symbol} again: {', '.join(signals)}")


def report(desk: Desk, tracker: FailureTracker) -> None:
    """Print the totals."""
    heading(f"{ENDS}: the end of the data")
    print(f"{desk.signals.total()} signals, {tracker.total_failures} failures, {tracker.refusals} refused calls")
    for title, counts in (("Signals", desk.signals), ("Failures by type", tracker.type_failures)):
        print(f"{title}: {', '.join(f'{name} {count}' for name, count in sorted(counts.items()))}")
    for halt in tracker.halt_manager.history:
        print(f"Halted {halt.since:%Y-%m-%d} to {halt.resumed_at:%Y-%m-%d}; {halt.resumed_by}: {halt.resume_reason}")
    print("\n" + tracker.get_failure_summary())


def main() -> None:
    """Run the desk from GOOG's first day of trading to the end of its file."""
    clock = BarClock(GOES_LIVE)
    log_to_terminal(clock)
    # A halt cancels no order; this desk has none. halt_callbacks.py shows what a halt_callback= is for.
    #
    # The window has to be longer than the time between two bars: with the default of five minutes, failures that come
    # once a month would never be consecutive.
    tracker = FailureTracker(failure_threshold=3, reset_window=timedelta(days=45), clock=clock)
    set_failure_tracker(tracker)
    desk = Desk()
    heading(f"{GOES_LIVE}: the desk goes live with GOOG (daily bars, newly listed) and IBM (monthly bars)")
    trade(desk, tracker, clock)
    report(desk, tracker)


if __name__ == "__main__":
    main()
