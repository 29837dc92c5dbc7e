"""vnpy: what a halt does to a CTA strategy."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from guarded._halt import HaltLevel

if TYPE_CHECKING:
    from guarded._halt import HaltRecord

_HALTED = "eGuardedHalt"

_awaited: WeakKeyDictionary[Any, dict[str, Any]] = WeakKeyDictionary()
"""By engine, the orders that were sent before a halt and are not known to it yet, and their strategies."""


def stop(strategy: Any, halt: HaltRecord) -> None:
    """Cancel the orders that would open a position; at level HALTED let the strategy send none any more.

    Those that would close one are left working: a halt must not trap a position. What is sent with `lock` is sent as an
    opening order, whatever it closes, and is taken for one. In the live engine its own thread
    cancels: it goes through copies of what it has working, and ends if something is gone from under it.

    Args:
        strategy: A `CtaTemplate`.
        halt: The halt.
    """
    if halt.level is HaltLevel.HALTED:
        strategy.trading = False  # what the engine asks before it sends an order
    engine = strategy.cta_engine
    if not hasattr(engine, "event_engine"):
        _cancel(strategy, [*engine.active_limit_orders.items(), *engine.active_stop_orders.items()])
        return
    event = importlib.import_module("vnpy.event").Event(_HALTED, strategy)
    engine.event_engine.register(_HALTED, _hear_of_halt)  # once: a handler that is known is not added again
    engine.event_engine.register(importlib.import_module("vnpy.trader.event").EVENT_ORDER, _hear_of_order)
    engine.event_engine.put(event)


def _hear_of_halt(event: Any) -> None:
    strategy = event.data
    engine = strategy.cta_engine
    orders = {one: _live(engine, one) for one in list(engine.strategy_orderid_map[strategy.strategy_name])}
    awaited = {one: strategy for one, order in orders.items() if order is None}
    _awaited.setdefault(engine, {}).update(awaited)
    _cancel(strategy, [(one, order) for one, order in orders.items() if order is not None])
    engine.put_strategy_event(strategy)


def _hear_of_order(event: Any) -> None:
    order = event.data
    for awaited in list(_awaited.values()):
        strategy = awaited.pop(order.vt_orderid, None)
        if strategy is not None and order.is_active():
            _cancel(strategy, [(order.vt_orderid, order)])


def _cancel(strategy: Any, orders: list[tuple[str, Any]]) -> None:
    for orderid, order in orders:
        if order.offset.name == "OPEN":
            strategy.cta_engine.cancel_order(strategy, orderid)


def _live(engine: Any, orderid: str) -> Any:
    return engine.stop_orders.get(orderid) or engine.main_engine.get_order(orderid)
