"""vnpy: what a halt does to a CTA strategy."""

from __future__ import annotations

from typing import Any

from guarded._halt import HaltLevel, HaltRecord


def stop(strategy: Any, halt: HaltRecord) -> None:
    """Cancel the orders that would open a position; at level HALTED let the strategy send none any more.

    Those that would close one are left working: a halt must not trap a position.

    Args:
        strategy: A `CtaTemplate`.
        halt: The halt.
    """
    if halt.level is HaltLevel.HALTED:
        strategy.trading = False  # what the engine asks before it sends an order
    engine = strategy.cta_engine
    for orderid, order in _working(engine, strategy):
        if order.offset.name == "OPEN":
            engine.cancel_order(strategy, orderid)
    if hasattr(engine, "put_strategy_event"):  # a backtest has nobody who looks on
        engine.put_strategy_event(strategy)


def _working(engine: Any, strategy: Any) -> list[tuple[str, Any]]:
    """The orders that a strategy has working, and the engine's own stop orders, which fire whatever `trading` is."""
    if hasattr(engine, "strategy_orderid_map"):  # live
        ids = list(engine.strategy_orderid_map[strategy.strategy_name])
        return [(one, order) for one in ids if (order := _live(engine, one)) is not None]
    return [*engine.active_limit_orders.items(), *engine.active_stop_orders.items()]


def _live(engine: Any, orderid: str) -> Any:
    return engine.stop_orders.get(orderid) or engine.main_engine.get_order(orderid)
