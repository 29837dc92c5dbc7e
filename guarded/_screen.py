"""Screen: standard output as it is, a terminal or not, and standard error."""

from __future__ import annotations

import io
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from rich.console import Console
from rich.live import Live

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rich.console import RenderableType

WIDE: Final = 100_000
"""Columns of what is not a terminal: nothing is folded there, so that every entry is one line."""


def show(renderable: RenderableType) -> None:
    """Show something to people: in colours, and folded, on a terminal only."""
    if sys.stdout.isatty():
        _terminal().print(renderable)
    else:
        put(_uncoloured(renderable))


@contextmanager
def replacing() -> Iterator[Callable[[RenderableType], None]]:
    """Show one thing after the other: on a terminal in the place of the one before, elsewhere below it."""
    if not sys.stdout.isatty():
        yield lambda renderable: put(f"{_uncoloured(renderable)}\n")
        return
    with Live(console=_terminal(), auto_refresh=False) as live:
        yield lambda renderable: live.update(renderable, refresh=True)


def put(text: str) -> None:
    """Write a text at once; what the encoding does not have is escaped."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    sys.stdout.write(text)
    sys.stdout.flush()


def put_for_programs(text: str) -> None:
    """Write a text in UTF-8 and with line feeds, whatever people here are used to."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(encoding="utf-8", newline="\n")
    put(text)


def say(text: str) -> None:
    """Write one line to standard error."""
    sys.stderr.write(f"guarded: {printable(text)}\n")


def printable(text: str) -> str:
    """A text that moves no cursor and hides nothing: what is not printable is escaped as in Python."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def _terminal() -> Console:
    return Console(highlight=False, markup=False, emoji=False)


def _uncoloured(renderable: RenderableType) -> str:
    buffer = io.StringIO()
    Console(file=buffer, width=WIDE, force_terminal=False, color_system=None, legacy_windows=False).print(renderable)
    return "".join(f"{line.rstrip()}\n" for line in buffer.getvalue().split("\n")[:-1])
