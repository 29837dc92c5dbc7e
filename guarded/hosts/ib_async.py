"""ib_async: where the symbol is in what its events pass to their handlers."""

from __future__ import annotations

from typing import Any


def symbol_of(*args: Any, **_: Any) -> str | None:
    """The symbol of the first contract that an event tells of: of bars, a trade, a fill, a ticker or several.

    Args:
        *args: What the handler was called with.

    Returns:
        None if there is none, or if there are several, as in a set of tickers of several contracts.
    """
    for argument in args:
        found = {_symbol(one) for one in (argument if isinstance(argument, set | frozenset) else (argument,))}
        if found - {None}:
            return found.pop() if len(found) == 1 else None
    return None


def _symbol(of: Any) -> str | None:
    contract = of if hasattr(of, "secType") else getattr(of, "contract", None)
    symbol = getattr(contract, "symbol", None)
    if getattr(contract, "secType", None) == "CASH":
        symbol = f"{symbol}.{getattr(contract, 'currency', '')}"  # EUR.USD, as TWS calls it: its symbol is only EUR
    return symbol if isinstance(symbol, str) and symbol else None
