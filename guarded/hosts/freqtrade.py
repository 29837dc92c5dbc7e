"""freqtrade: dataframes that hold no signal, adjustments that open nothing, and the price of an order as it is."""

from __future__ import annotations

from typing import Any

_ENTRIES = ("enter_long", "enter_short")
_EXITS = ("exit_long", "exit_short")
_NO_INDICATORS = "guarded: no indicators"
_OLD = {"buy": _ENTRIES, "sell": _EXITS}


def without_entries(_strategy: object, dataframe: Any, *_: object, **__: object) -> Any:
    """A copy of the frame in which nothing is to be entered."""
    return _without(dataframe, _ENTRIES)


def without_signals(_strategy: object, dataframe: Any, *_: object, **__: object) -> Any:
    """A copy of the frame in which nothing is to be entered, and nothing to be left."""
    return _without(dataframe, (*_ENTRIES, *_EXITS))


def without_indicators(strategy: object, dataframe: Any, *_: object, **__: object) -> Any:
    """The same, of a frame that has no indicators, or not all: it says so in its `attrs`."""
    frame = without_signals(strategy, dataframe)
    frame.attrs[_NO_INDICATORS] = True
    return frame


def has_no_indicators(_strategy: object, dataframe: Any, *_: object, **__: object) -> bool:
    """Whether it is such a frame."""
    return _NO_INDICATORS in dataframe.attrs


def tops_nothing_up(adjustment: Any) -> bool:
    """Whether an adjustment of a position, a stake or a stake and its tag, leaves the position or makes it smaller."""
    stake = adjustment[0] if isinstance(adjustment, tuple) else adjustment
    return not stake or stake < 0


def order_price(
    _strategy: object, *_: object, current_order_rate: float | None = None, is_entry: bool = True, **__: object
) -> float | None:
    """The price of an order as it is; None, which cancels it, for an entry.

    Args:
        current_order_rate: The price, as the host tells it.
        is_entry: Whether the order is an entry, as the host tells it.
    """
    return None if is_entry else current_order_rate


def _without(dataframe: Any, columns: tuple[str, ...]) -> Any:
    """The columns with no signal in them, and those of strategies of the first interface, if the frame has them."""
    old = [name for name, new in _OLD.items() if new[0] in columns and name in dataframe.columns]
    return dataframe.assign(**dict.fromkeys((*columns, *old), 0))
