"""The command line: `guarded`, also as `python -m guarded`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command.

    Args:
        arguments: Those after `guarded`; by default the program's own.

    Returns:
        The exit status, as `guarded --help` lists them.
    """
    try:
        from guarded._cli import run  # noqa: PLC0415  # what it needs comes with an extra
    except ModuleNotFoundError as missing:
        if (missing.name or "").partition(".")[0] not in ("typer", "rich"):
            raise
        print("guarded: the command line needs typer and rich: install guarded[cli]", file=sys.stderr)
        return 1
    return run(arguments)


if __name__ == "__main__":
    sys.exit(main())
