"""The guards that run while trading is halted: the audit names them."""

from __future__ import annotations

_names: list[str] = []


def note(name: str) -> None:
    """Know of one more guard that was given `when_halted="run"`."""
    if name not in _names:
        _names.append(name)


def exempt_guards() -> list[str]:
    """The names of their functions."""
    return list(_names)
