"""A halt outlives the bot: kill it, start it again, resume from the command line: python examples/restart.py.

This file plays all parts. Started as above it is the supervisor, who starts the bot and sends it one bar after the
other, and Ana, who resumes trading. Started as `python examples/restart.py bot STORE` it is the bot.
"""

from __future__ import annotations

import csv
import logging
import os
import re
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Self

from guarded import FailureTracker, SignalGenerationFailure, guarded_signal, set_failure_tracker

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

DATA = Path(__file__).parent / "data" / "stocks_monthly.csv"
SYMBOL = "IBM"
WIDTH = 96

Bar = dict[str, str]
"""One row of the file: a month's closes, or the blank row of a month in which a dividend was paid."""


# ---------------------------------------------------------------------------------------------------------------------
# The bot
# ---------------------------------------------------------------------------------------------------------------------


class Trend:
    """Buys what is above the mean of its last three closes."""

    name = "Trend"

    @guarded_signal
    def generate_signals(self, symbol: str, bars: Sequence[Bar]) -> str:
        """Fail as long as a blank row is among the three."""
        closes = [float(bar[symbol]) for bar in bars[-3:]]
        return "long" if closes[-1] > fmean(closes) else "flat"


def cancel_orders(reason: str, _failure: SignalGenerationFailure) -> None:
    """Be called once per halt: not again when the bot starts again."""
    print("halt callback: all orders are cancelled;", reason.partition(";")[0])


class Log(logging.Formatter):
    """The first line of what `guarded` logs, without since when; of a halt the second, too."""

    def format(self, record: logging.LogRecord) -> str:
        """One log record."""
        lines = record.getMessage().splitlines()
        return (
            "\n".join(lines[:2])
            if record.levelno == logging.CRITICAL
            else re.split(r" (?:\(halted )?since ", lines[0])[0]
        )


def trade(store: str, *, drops_blank_rows: bool) -> None:
    """Start, and judge each bar whose date comes in."""
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(Log())
    logging.basicConfig(level=logging.INFO, handlers=[handler])
    # If the store cannot be opened this raises, and the bot does not start: it could not know whether it is halted.
    tracker = FailureTracker(store=store, halt_callback=cancel_orders)
    set_failure_tracker(tracker)
    print(f"started; halted: {tracker.halt_triggered}")
    with DATA.open(encoding="utf-8", newline="") as lines:
        rows = list(csv.DictReader(line for line in lines if not line.startswith("#")))
    strategy = Trend()
    for day in map(str.strip, sys.stdin):
        bars = [row for row in rows if row["Date"] <= day and (row[SYMBOL] or not drops_blank_rows)]
        signal = strategy.generate_signals(SYMBOL, bars)
        print(f"bar of {day}: {signal or 'no signal'}")


# ---------------------------------------------------------------------------------------------------------------------
# The supervisor, and Ana
# ---------------------------------------------------------------------------------------------------------------------


class Bot:
    """The bot as its supervisor sees it: a process that is sent bars, and prints."""

    def __init__(self, *arguments: str) -> None:
        self._process = subprocess.Popen(  # noqa: S603  # this very file
            [sys.executable, "-u", __file__, "bot", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            encoding="utf-8",
        )
        self.show_until("started")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()  # its input ends, and so does it

    def send(self, *days: str) -> None:
        """Send bars, one after the other."""
        for day in days:
            print(day, file=self._process.stdin, flush=True)
            self.show_until(f"bar of {day}")

    def show_until(self, beginning: str) -> None:
        """Show what it prints, up to a line with that beginning."""
        for line in self._lines():
            show(f"bot {self._process.pid}: {line}")
            if line.startswith(beginning):
                return

    def _lines(self) -> Iterator[str]:
        return map(str.rstrip, self._process.stdout or ())

    def kill(self) -> None:
        """Do what the system does when memory is short, or what a power cut does: the bot cannot say good-bye."""
        heading(f"kill -9 {self._process.pid}")
        self._process.kill()
        self._process.wait()


def ana(*command: str) -> int:
    """Run a command in Ana's shell; GUARDED_STORE in its environment would do instead of --store."""
    shown = [f'"{part}"' if " " in part else part for part in command]
    show(f"$ python -m guarded {' '.join(shown)}")
    done = subprocess.run(  # noqa: S603  # this very Python
        [sys.executable, "-m", "guarded", *command],
        env={**os.environ, "COLUMNS": str(WIDTH)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        check=False,
    )
    for line in (*done.stdout.splitlines(), f"(exit status {done.returncode})"):
        show(f"  {line}")
    return done.returncode


def heading(text: str) -> None:
    """Begin a new part of the output."""
    print(f"\n--- {text} ".ljust(WIDTH + 1, "-"))


def show(line: str) -> None:
    """Print a line, folded."""
    print("\n".join(textwrap.wrap(line, WIDTH, subsequent_indent="      ")))


def main() -> None:
    """Tell the story."""
    with tempfile.TemporaryDirectory() as folder:
        store = f"sqlite:///{Path(folder, 'guarded.db').as_posix()}"

        heading("The supervisor starts the bot; the row of 2004-11-08 is blank")
        with Bot(store) as bot:
            bot.send("2004-11-01", "2004-11-08", "2004-12-01", "2005-01-01")
            bot.kill()

        heading("The bot drops blank rows by now; the supervisor starts it again")
        with Bot(store, "--drop-blank-rows") as bot:
            bot.send("2005-02-01")

            heading("Ana looks, and resumes trading")
            ana("status", "--store", store)
            if ana("resume", "--store", store, "--by", "Ana", "--reason", "blank rows are dropped now") != 0:
                sys.exit("Ana could not resume trading")

            heading("The bot, which nobody has touched, hears of it and trades")
            bot.show_until("Trading resumed")
            bot.send("2005-02-08", "2005-03-01")

        heading("What is on record")
        ana("audit", "--store", store)


if __name__ == "__main__":
    if sys.argv[1:2] == ["bot"]:
        trade(sys.argv[2], drops_blank_rows="--drop-blank-rows" in sys.argv)
    else:
        main()
