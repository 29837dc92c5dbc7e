"""The command line: `python -m guarded explain` says what an exception counts as, and why."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING

from guarded._errors import InvalidConfiguration
from guarded._rules import FailureRules
from guarded._tracebacks import is_stand_in, of_class, parsed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from guarded._explanation import Explanation


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: Those after `python -m guarded`; by default the program's own.

    Returns:
        The exit status: 0; or 2 where what was given is no exception and no traceback.
    """
    given = _parser().parse_args(arguments)
    rules = FailureRules()
    try:
        for pack in given.rules:
            rules.load(pack)
        error = (
            parsed(sys.stdin.buffer.read().decode(errors="replace"))
            if given.exception is None
            else of_class(given.exception)
        )
    except InvalidConfiguration as fault:
        print(f"guarded explain: {fault}", file=sys.stderr)
        return 2
    notes = [
        *(["its class was not imported, so rules for its base classes were not asked"] if is_stand_in(error) else []),
        *(f"rules for its class look at {path}, which is not in a text" for path in rules.asked_of(type(error))),
    ]
    print("\n".join([_text(rules.explain(error)), *(f"note    {note}" for note in notes)]))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m guarded", description="Guards for trading strategies.")
    commands = parser.add_subparsers(required=True, metavar="explain")
    explain = commands.add_parser(
        "explain",
        help="say what an exception counts as, by which rule, and why",
        description="Say what an exception counts as, by which rule of which pack, and why. What an exception carries"
        " beside its text, such as a status code, is not in a traceback: rules that look at it are passed over.",
    )
    explain.add_argument(
        "exception",
        nargs="?",
        metavar="module:ClassName",
        help="the class of the exception; without it, a traceback is read from standard input",
    )
    explain.add_argument(
        "--rules", action="append", default=[], metavar="FILE", help="a pack of your own, asked first; may be repeated"
    )
    return parser


def _text(explanation: Explanation) -> str:
    rows = {
        "type": explanation.failure_type,
        "action": explanation.action,
        "rule": explanation.rule or "none",
        "pack": explanation.pack or "none",
        "why": explanation.reason or "none",
    }
    return "\n".join([str(explanation), "", *(f"{name:8}{value}" for name, value in rows.items())])


if __name__ == "__main__":
    sys.exit(main())
