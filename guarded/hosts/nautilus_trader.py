"""nautilus_trader: where the symbol is in what a strategy is told, and what a halt does to a strategy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from guarded._halt import HaltRecord


def symbol_of(_strategy: Any, told: Any = None, *_: Any) -> str | None:
    """The instrument of a bar, a tick, an event or an instrument; None of what is about none.

    Args:
        told: What the callback was called with.
    """
    found = getattr(getattr(told, "bar_type", told), "instrument_id", None)
    if found is None and hasattr(told, "price_precision"):  # an instrument
        found = told.id
    return None if found is None else str(found)


def cancel_opening_orders(strategy: Any, _halt: HaltRecord) -> None:
    """Cancel a strategy's open orders but those that only reduce a position: a halt must not trap one.

    Args:
        strategy: A `Strategy` that is running.
    """
    for order in strategy.cache.orders_open(strategy_id=strategy.id):
        if not order.is_reduce_only:
            strategy.cancel_order(order)
