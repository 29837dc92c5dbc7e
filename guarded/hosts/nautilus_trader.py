"""nautilus_trader: where the symbol is in what a strategy is told, and what a halt does to a strategy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from guarded._names import bounded

if TYPE_CHECKING:
    from guarded._halt import HaltRecord


def symbol_of(_strategy: Any, *told: Any, **named: Any) -> str | None:
    """The instrument of a bar, a tick, an event, an order or an instrument; None of what is about none.

    Args:
        told: What the callback was called with.
        named: The same, by keyword.
    """
    return next(filter(None, map(_instrument_of, (*told, *named.values()))), None)


def cancel_opening_orders(strategy: Any, halt: HaltRecord) -> None:
    """Cancel a strategy's working orders but those that only reduce a position: a halt must not trap one.

    Args:
        strategy: A `Strategy`.
        halt: The halt; one of a symbol is about the orders for that.
    """
    cache, symbol = strategy.cache, halt.scope.symbol
    if cache is None:  # no engine has it, or has it any more
        return
    found = (cache.orders_open, cache.orders_inflight, cache.orders_emulated)
    for order in [one for orders in found for one in orders(strategy_id=strategy.id)]:
        is_concerned = symbol is None or bounded(str(order.instrument_id)) == symbol
        if is_concerned and not order.is_pending_cancel and not _closes(order, strategy):
            strategy.cancel_order(order)


def order_reduces(strategy: Any, order: Any, position_id: Any = None, *_: Any, **__: Any) -> bool:
    """Whether a new order by itself can only reduce a position: it says so, or is against it, and no larger.

    Other orders are not looked at: a stop and a target of the whole position are sent, one after the other.

    Args:
        strategy: A `Strategy`.
        order: What it submits.
        position_id: Of which position; None: of all that the strategy has in the instrument.
    """
    if order.is_reduce_only:
        return True
    position = _position(strategy, order, position_id)
    return _is_against(order, position) and not order.is_quote_quantity and bool(order.quantity <= abs(position))


def list_reduces(strategy: Any, order_list: Any, position_id: Any = None, *_: Any, **__: Any) -> bool:
    """The same of each order of a list.

    Args:
        strategy: A `Strategy`.
        order_list: What it submits.
        position_id: The same.
    """
    return all(order_reduces(strategy, order, position_id) for order in order_list.orders)


def _instrument_of(told: Any) -> str | None:
    found = getattr(getattr(told, "bar_type", told), "instrument_id", None)
    if found is None and hasattr(told, "price_precision"):  # an instrument
        found = told.id
    return None if found is None else str(found)


def _closes(order: Any, strategy: Any) -> bool:
    """Whether a working order closes a position: it says so, or its side is against the position that there is."""
    return bool(order.is_reduce_only or _is_against(order, _position(strategy, order)))


def _position(strategy: Any, order: Any, position_id: Any = None) -> Any:
    """What the strategy itself has of an order's instrument: others may have more, or the opposite."""
    found = strategy.cache.positions_open(instrument_id=order.instrument_id, strategy_id=strategy.id)
    return sum(one.signed_decimal_qty() for one in found if position_id is None or one.id == position_id)


def _is_against(order: Any, position: Any) -> bool:
    return bool((position > 0 and order.is_sell) or (position < 0 and order.is_buy))
