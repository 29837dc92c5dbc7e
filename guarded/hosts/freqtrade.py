"""freqtrade: dataframes that hold no signal."""

from __future__ import annotations

from typing import Any

_ENTRIES = ("enter_long", "enter_short")
_EXITS = ("exit_long", "exit_short")
_OLD = {"buy": _ENTRIES, "sell": _EXITS}


def without_entries(_strategy: object, dataframe: Any, *_: object, **__: object) -> Any:
    """A copy of the frame in which nothing is to be entered."""
    return _without(dataframe, _ENTRIES)


def without_signals(_strategy: object, dataframe: Any, *_: object, **__: object) -> Any:
    """A copy of the frame in which nothing is to be entered, and nothing to be left."""
    return _without(dataframe, (*_ENTRIES, *_EXITS))


def _without(dataframe: Any, columns: tuple[str, ...]) -> Any:
    """The columns with no signal in them, and those of strategies of the first interface, if the frame has them."""
    old = [name for name, new in _OLD.items() if new[0] in columns and name in dataframe.columns]
    return dataframe.assign(**dict.fromkeys((*columns, *old), 0))
