"""Interrupts: KeyboardInterrupt and its kin pass on, but not before all that has to be done is done."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable


def take_all(steps: Iterable[Callable[[], object]]) -> None:
    """Take every step, also those after one that raised; what the first one raised passes on at the end."""
    first: BaseException | None = None
    for step in steps:
        try:
            step()
        except BaseException as raised:  # noqa: BLE001  # it is raised again below
            if first is None:
                first = raised
    if first is not None:
        raise first
