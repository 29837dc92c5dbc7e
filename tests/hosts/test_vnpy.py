"""vnpy: CTA strategies guarded by the preset, in backtests and in the live engine with a gateway of the test's own."""

from __future__ import annotations

import importlib
import inspect
import os
import subprocess
import sys
import textwrap
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cloudpickle
import pytest

from guarded import ConsecutiveFailures, FailureTracker, instrument, is_guarded, uninstrument
from guarded.testing import fresh_tracker

pytestmark = pytest.mark.hosts_heavy

pytest.importorskip("vnpy")

NAME = "Script"
SYMBOL = "rb2405.SHFE"
START = datetime(2024, 1, 2, 9)  # noqa: DTZ001  # as vnpy's own data
PATIENCE = 20
CALLBACKS = ("on_init", "on_start", "on_stop", "on_tick", "on_bar", "on_trade", "on_order", "on_stop_order")

Does = Callable[[Any, int], object]
"""What a callback does, with the strategy and the number of its call, the first being 1."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where vnpy keeps its files: it looks for that folder when it is imported, and else makes one at home."""
    made = tmp_path_factory.mktemp("vnpy")
    (made / ".vntrader").mkdir()
    return made


@pytest.fixture
def vnpy(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """What the tests use of vnpy; each has files of its own."""
    monkeypatch.chdir(folder)  # the main engine changes it, too
    monkeypatch.setenv("QT_QPA_PLATFORM", "offscreen")
    cta = pytest.importorskip("vnpy_ctastrategy")
    names = ("event", "trader.engine", "trader.gateway", "trader.constant", "trader.object", "trader.setting")
    modules = [importlib.import_module(f"vnpy.{name}") for name in names]
    monkeypatch.setattr(importlib.import_module("vnpy.trader.utility"), "TEMP_DIR", tmp_path)
    backtesting = importlib.import_module("vnpy_ctastrategy.backtesting")
    found = SimpleNamespace(EVENT_CTA_LOG=importlib.import_module("vnpy_ctastrategy.base").EVENT_CTA_LOG)
    for module in (*modules, backtesting, cta):
        vars(found).update({name: value for name, value in vars(module).items() if not name.startswith("_")})
    monkeypatch.setitem(found.SETTINGS, "log.active", False)
    return found


@pytest.fixture
def tracker() -> Iterator[FailureTracker]:
    """A tracker that halts a strategy and symbol by themselves."""
    with fresh_tracker(policies=[ConsecutiveFailures(3, halt_scope="same")]) as fresh:
        yield fresh


@pytest.fixture(autouse=True)
def _nothing_left(tracker: FailureTracker, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    yield
    uninstrument()
    assert not [one for one in caplog.get_records("call") if "could not reach" in one.getMessage()]


def strategy_class(base: Any, **does: Does) -> Any:  # noqa: C901  # a host has many callbacks
    """A strategy that counts its calls, and has callbacks that do what the test wants."""

    class Script(base):  # type: ignore[misc]
        def __init__(self, *args: Any) -> None:
            super().__init__(*args)
            self.calls: Counter[str] = Counter()
            self.minute: Any = None

        def on_init(self) -> None:
            """Get ready."""
            self.do("on_init")

        def on_start(self) -> None:
            self.do("on_start")

        def on_stop(self) -> None:
            self.do("on_stop")

        def on_tick(self, tick: Any) -> None:
            self.do("on_tick")
            if self.minute is not None:  # what a BarGenerator does: the bar of a tick is told of before on_tick is over
                self.on_bar(tick)
            self.minute = tick.datetime

        def on_bar(self, bar: Any) -> None:
            self.do("on_bar")

        def on_trade(self, trade: Any) -> None:
            self.do("on_trade")

        def on_order(self, order: Any) -> None:
            self.do("on_order")

        def on_stop_order(self, stop_order: Any) -> None:
            self.do("on_stop_order")

        def do(self, name: str) -> None:
            self.calls[name] += 1
            if name in does:
                does[name](self, self.calls[name])

    return Script


def failing_at(*numbers: int) -> Does:
    def fail(_strategy: Any, number: int) -> None:
        if number in numbers:
            raise ValueError(f"call {number}")

    return fail


def always(_strategy: Any, number: int) -> None:
    raise ValueError(f"call {number}")


def ordering(then: Does, *, at: int = 3) -> Does:
    """Have a position, and working orders of each kind; from the tenth bar on open a position at every bar."""

    def do(strategy: Any, number: int) -> None:
        if number == 1:
            strategy.buy(102, 1)
        if number == at:
            strategy.buy(1, 1)
            strategy.buy(10_000, 1, stop=True)
            strategy.short(20_000, 1)
            strategy.sell(200, 1)
            strategy.sell(2, 1, stop=True)
        if number >= 10:
            strategy.buy(102, 1)
        then(strategy, number)

    return do


EVERY_KIND = [("CLOSE", 2), ("CLOSE", 200), ("OPEN", 1), ("OPEN", 10_000), ("OPEN", 20_000)]
CLOSING = [("CLOSE", 2), ("CLOSE", 200)]


class Backtest:
    """The backtesting engine, with bars or ticks of one minute each."""

    def __init__(self, vnpy: Any) -> None:
        self.vnpy = vnpy
        self.engine = vnpy.BacktestingEngine()
        self.told: list[str] = []
        self.engine.output = self.told.append

    def add(self, cls: Any, *, ticks: bool = False) -> Any:
        mode = self.vnpy.BacktestingMode.TICK if ticks else self.vnpy.BacktestingMode.BAR
        start, end = START - timedelta(days=1), START + timedelta(days=1)
        self.engine.set_parameters(SYMBOL, self.vnpy.Interval.MINUTE, start, 0, 0, 1, 1, 1_000_000, end, mode)
        self.engine.add_strategy(cls, {})
        return self.engine.strategy

    def play(self, *prices: float) -> None:
        make = self.tick if self.engine.mode is self.vnpy.BacktestingMode.TICK else self.bar
        self.engine.history_data = [make(START + timedelta(minutes=at), price) for at, price in enumerate(prices)]
        self.engine.run_backtesting()

    def bar(self, at: datetime, price: float) -> Any:
        prices = (price, price + 1, price - 1, price)
        return self.vnpy.BarData("", "rb2405", self.vnpy.Exchange.SHFE, at, self.vnpy.Interval.MINUTE, 9, 0, 0, *prices)

    def tick(self, at: datetime, price: float) -> Any:
        return self.vnpy.TickData("", "rb2405", self.vnpy.Exchange.SHFE, at, last_price=price, volume=1)

    @property
    def errors(self) -> list[str]:
        return [text for text in self.told if "Traceback" in text]

    @property
    def sent(self) -> int:
        return int(self.engine.limit_order_count + self.engine.stop_order_count)

    @property
    def working(self) -> list[tuple[str, float]]:
        orders = [*self.engine.active_limit_orders.values(), *self.engine.active_stop_orders.values()]
        return sorted((order.offset.name, order.price) for order in orders)

    def close(self) -> None: ...


class Live:
    """The main engine and the CTA engine, with their threads; orders are filled when a tick's price reaches them."""

    def __init__(self, vnpy: Any) -> None:
        self.vnpy = vnpy
        self.events = vnpy.EventEngine(interval=0.05)
        self.told: list[str] = []
        self.events.register(vnpy.EVENT_CTA_LOG, lambda event: self.told.append(event.data.msg))
        self.events.register("settled?", self._settled)
        self._is_settled = threading.Event()
        self.main = vnpy.MainEngine(self.events)
        self.gateway = self.main.add_gateway(_gateway_class(vnpy))
        self.engine = self.main.add_app(vnpy.CtaStrategyApp)
        self.engine.register_event()  # as init_engine does, which looks for data and strategies in files as well
        self.gateway.connect({})
        self.settle()
        self.at = START

    def settle(self) -> None:
        """Wait until all events are processed, with those that come of them."""
        self._is_settled.clear()
        self.events.put(self.vnpy.Event("settled?"))
        deadline = time.monotonic() + PATIENCE
        while not self._is_settled.wait(0.05):
            assert self.events._thread.is_alive(), "the event engine's thread has ended"
            assert time.monotonic() < deadline, "the event engine's thread does not answer"

    def _settled(self, event: Any) -> None:
        self._is_settled.set() if self.events._queue.empty() else self.events.put(event)

    def add(self, cls: Any, *, ticks: bool = False, name: str = NAME, start: bool = True) -> Any:
        self.engine.classes[cls.__name__] = cls
        self.engine.add_strategy(cls.__name__, name, SYMBOL, {})
        self.engine.init_strategy(name).result(PATIENCE)
        if start:
            self.engine.start_strategy(name)
        self.settle()
        return self.engine.strategies[name]

    def play(self, *prices: float) -> None:
        for price in prices if self.at > START else (prices[0], *prices):  # the first tick completes no bar
            self.gateway.trade(price)
            tick = {"last_price": price, "volume": 1, "ask_price_5": price + 1, "bid_price_5": price - 1}
            self.gateway.on_tick(
                self.vnpy.TickData("FAKE", "rb2405", self.vnpy.Exchange.SHFE, self.at, **tick),
            )
            self.settle()
            self.at += timedelta(minutes=1)

    @property
    def errors(self) -> list[str]:
        return [text for text in self.told if "Traceback" in text]

    @property
    def sent(self) -> int:
        return len(self.gateway.orders) + int(self.engine.stop_order_count)

    @property
    def working(self) -> list[tuple[str, float]]:
        limits = [order for order in self.gateway.orders.values() if order.is_active()]
        return sorted((order.offset.name, order.price) for order in [*limits, *self.engine.stop_orders.values()])

    def close(self) -> None:
        self.main.close()
        self.engine.init_executor.shutdown()


def _gateway_class(vnpy: Any) -> Any:  # noqa: C901  # the same of a gateway's methods
    class Gateway(vnpy.BaseGateway):  # type: ignore[misc]
        default_name = "FAKE"
        exchanges = (vnpy.Exchange.SHFE,)

        def connect(self, setting: dict[str, Any]) -> None:
            self.orders: dict[str, Any] = {}
            market = ("rb2405", vnpy.Exchange.SHFE, "rb", vnpy.Product.FUTURES, 1, 1)
            self.on_contract(vnpy.ContractData("FAKE", *market, net_position=True))

        def send_order(self, req: Any) -> str:
            order = req.create_order_data(str(len(self.orders) + 1), "FAKE")
            order.status = vnpy.Status.NOTTRADED
            self.orders[order.orderid] = order
            self.on_order(order)
            return str(order.vt_orderid)

        def cancel_order(self, req: Any) -> None:
            order = self.orders[req.orderid]
            order.status = vnpy.Status.CANCELLED
            self.on_order(order)

        def trade(self, price: float) -> None:
            for order in list(self.orders.values()):
                is_long = order.direction is vnpy.Direction.LONG
                if order.is_active() and (order.price >= price if is_long else order.price <= price):
                    order.status, order.traded = vnpy.Status.ALLTRADED, order.volume
                    self.on_order(order)
                    what = (order.symbol, order.exchange, order.orderid, order.orderid, order.direction, order.offset)
                    self.on_trade(vnpy.TradeData("FAKE", *what, price, order.volume, START))

        def close(self) -> None: ...
        def subscribe(self, req: Any) -> None: ...
        def query_account(self) -> None: ...
        def query_position(self) -> None: ...

    return Gateway


@pytest.fixture(params=[Backtest, Live])
def venue(request: pytest.FixtureRequest, vnpy: Any) -> Iterator[Any]:
    """Either engine."""
    made = request.param(vnpy)
    yield made
    made.close()


@pytest.fixture
def live(vnpy: Any) -> Iterator[Live]:
    made = Live(vnpy)
    yield made
    made.close()


class TestFailures:
    def test_unguarded_the_first_error_stops_the_host(self, venue: Any, vnpy: Any) -> None:
        """Unguarded, an error in on_bar ends the backtest, and stops the strategy in the live engine."""
        strategy = venue.add(strategy_class(vnpy.CtaTemplate, on_bar=failing_at(5)))
        venue.play(*[100] * 20)
        assert len(venue.errors) == 1
        assert strategy.calls["on_bar"] == 5
        if isinstance(venue, Live):
            assert not strategy.trading
            assert not strategy.inited

    @pytest.mark.parametrize("whole_host", [False, True])
    def test_guarded_the_host_goes_on(
        self, venue: Any, vnpy: Any, tracker: FailureTracker, *, whole_host: bool
    ) -> None:
        """Guarded, the host goes on, and failures are recorded under strategy_name and vt_symbol."""
        if whole_host:
            instrument(host="vnpy")
        cls = strategy_class(vnpy.CtaTemplate, on_bar=failing_at(5, 9, 10, 15))
        if not whole_host:
            instrument(cls)
        strategy = venue.add(cls)
        venue.play(*[100] * 20)
        assert venue.errors == []
        assert strategy.calls["on_bar"] == 20
        assert strategy.trading
        assert strategy.inited
        assert tracker.total_failures == 4
        assert tracker.strategy_failures == {NAME: 4}
        assert tracker.symbol_failures == {SYMBOL: 4}
        assert tracker.halts == ()

    def test_parameters_may_have_other_names(self, venue: Any, vnpy: Any, tracker: FailureTracker) -> None:
        """A strategy that calls self and the bar otherwise has its names all the same."""

        class Script(vnpy.CtaTemplate):  # type: ignore[misc]
            def on_init(self) -> None: ...
            def on_tick(this, _t: Any) -> None:  # noqa: N805
                this.on_bar(_t)

            def on_bar(this, b: Any) -> None:  # noqa: N805
                raise ValueError(b.vt_symbol)

        instrument(Script)
        venue.add(Script)
        venue.play(100, 100)
        assert tracker.strategy_failures.keys() == {NAME}
        assert tracker.symbol_failures.keys() == {SYMBOL}

    def test_methods_of_a_strategy_answer_together(self, venue: Any, vnpy: Any, tracker: FailureTracker) -> None:
        """An on_bar that always fails halts at its third failure, though on_tick always works in between."""
        cls = strategy_class(vnpy.CtaTemplate, on_bar=always)
        instrument(cls)
        strategy = venue.add(cls, ticks=True)
        venue.play(*[100] * 20)
        assert tracker.is_halted(NAME, SYMBOL)
        assert strategy.calls["on_bar"] == 3
        assert strategy.calls["on_tick"] == 4
        assert not strategy.trading
        assert venue.errors == []

    def test_what_a_target_position_template_does_is_part_of_the_call(
        self, venue: Any, vnpy: Any, tracker: FailureTracker
    ) -> None:
        """Of a strategy of TargetPosTemplate what it overrides is guarded; vnpy's own classes are left alone."""
        instrument(host="vnpy")

        class Script(vnpy.TargetPosTemplate):  # type: ignore[misc]
            def on_init(self) -> None: ...
            def on_tick(self, tick: Any) -> None:
                super().on_tick(tick)
                self.on_bar(tick)

            def on_bar(self, bar: Any) -> None:
                bar.close_price = 100
                super().on_bar(bar)
                raise ValueError

        venue.add(Script)
        venue.play(100)
        assert tracker.strategy_failures.keys() == {NAME}
        for own in (vnpy.CtaTemplate, vnpy.TargetPosTemplate):
            assert not any(is_guarded(getattr(own, name)) for name in CALLBACKS)

    @pytest.mark.parametrize("name", ["on_init", "on_start"])
    def test_the_engine_sees_that_a_start_failed(
        self, venue: Any, vnpy: Any, tracker: FailureTracker, name: str
    ) -> None:
        """What on_init and on_start raise is recorded, and reaches the engine."""
        cls = strategy_class(vnpy.CtaTemplate, **{name: always})
        instrument(cls)
        strategy = venue.add(cls)
        if isinstance(venue, Backtest):
            with pytest.raises(ValueError, match="call 1"):
                venue.play(100)
        else:
            assert len(venue.errors) == 1
            assert "ValueError: call 1" in venue.errors[0]
            assert strategy.inited is (name == "on_init")  # the engine says that it is, whatever on_init does
        assert tracker.strategy_failures == {NAME: 1}


def halt_from_a_thread(tracker: FailureTracker, at: int, **settings: Any) -> Does:
    """Halt trading in another thread, in the midst of a bar."""

    def do(_strategy: Any, number: int) -> None:
        if number == at:
            halting = threading.Thread(target=tracker.halt_manager.trigger_halt, args=("drawdown",), kwargs=settings)
            halting.start()
            halting.join(PATIENCE)
            assert not halting.is_alive()

    return do


class TestHalts:
    def test_three_failures_end_trading(self, venue: Any, vnpy: Any, tracker: FailureTracker) -> None:
        """After the third failure trading is False, and opening orders are cancelled; closing ones are left."""
        cls = strategy_class(vnpy.CtaTemplate, on_bar=ordering(failing_at(6, 7, 8)))
        instrument(cls)
        strategy = venue.add(cls)
        venue.play(*[100] * 20)
        assert tracker.is_halted(NAME, SYMBOL)
        assert not strategy.trading
        assert strategy.inited
        assert venue.working == CLOSING
        assert venue.sent == 6
        assert strategy.calls["on_bar"] == 8
        assert tracker.refusals >= 12
        assert strategy.pos == 1

    def test_after_a_halt_no_order_is_sent_and_bookkeeping_goes_on(
        self, venue: Any, vnpy: Any, tracker: FailureTracker
    ) -> None:
        """A closing order that fills after the halt reaches on_order and on_trade; what these order is not sent."""
        cls = strategy_class(
            vnpy.CtaTemplate,
            on_bar=ordering(failing_at(6, 7, 8)),
            on_trade=lambda strategy, number: strategy.buy(102, 1) if number > 1 else None,
        )
        instrument(cls)
        strategy = venue.add(cls)
        venue.play(*[100] * 15, *[300] * 5)
        assert tracker.is_halted(NAME, SYMBOL)
        assert strategy.calls["on_trade"] == 2
        assert strategy.pos == 0
        assert venue.working == [("CLOSE", 2)]
        assert venue.sent == 6
        assert strategy.buy(102, 1) == []

    def test_an_order_sent_by_the_call_that_halts_is_cancelled(self, live: Live, vnpy: Any) -> None:
        """An opening order that the failing call itself has sent before it raised is cancelled, too."""

        def fail(strategy: Any, number: int) -> None:
            if number == 8:
                strategy.buy(3, 1)
            failing_at(6, 7, 8)(strategy, number)

        cls = strategy_class(vnpy.CtaTemplate, on_bar=ordering(fail))
        instrument(cls)
        strategy = live.add(cls)
        live.play(*[100] * 15)
        assert not strategy.trading
        assert live.working == CLOSING

    @pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
    def test_a_halt_while_stop_orders_fire(self, live: Live, vnpy: Any, tracker: FailureTracker) -> None:
        """A halt that comes of the third of six stop orders that one tick fires leaves the engine running."""

        def order(strategy: Any, number: int) -> None:
            for _ in range(6 if number == 3 else 0):
                strategy.buy(200, 1, stop=True)

        cls = strategy_class(vnpy.CtaTemplate, on_bar=order, on_stop_order=failing_at(*range(7, 13)))
        instrument(cls)
        live.add(cls)
        live.play(*[100] * 5, 300)
        assert tracker.is_halted(NAME, SYMBOL)
        assert live.working == []

    def test_cancelled_orders_are_told_of(self, live: Live, vnpy: Any) -> None:
        """The live engine tells the strategy of what the halt cancelled."""
        cls = strategy_class(vnpy.CtaTemplate, on_bar=ordering(failing_at(6, 7, 8)))
        instrument(cls)
        strategy = live.add(cls)
        live.play(*[100] * 7)
        assert live.working == EVERY_KIND
        before = Counter(strategy.calls)
        live.play(100)
        told = {name: strategy.calls[name] - before[name] for name in ("on_order", "on_stop_order")}
        assert told == {"on_order": 2, "on_stop_order": 1}

    def test_a_cancelled_stop_order_does_not_fire(self, live: Live, vnpy: Any) -> None:
        """Unguarded, a local stop order of a stopped strategy still fires; after a halt there is none left to."""
        for guarded, sent in ((False, 7), (True, 6)):
            cls = strategy_class(vnpy.CtaTemplate, on_bar=ordering(failing_at(6, 7, 8)))
            if guarded:
                instrument(cls)
            strategy = live.add(cls, name=f"guarded {guarded}")
            before = live.sent
            live.play(*[100] * 10, 15_000)
            assert not strategy.trading
            assert live.sent - before == sent
            live.engine.remove_strategy(strategy.strategy_name)
            live.engine.stop_orders.clear()

    @pytest.mark.parametrize(
        "scope",
        [{}, {"strategy": NAME}, {"symbol": SYMBOL}, {"strategy": NAME, "symbol": SYMBOL}],
        ids=["everything", "strategy", "symbol", "both"],
    )
    def test_a_halt_from_elsewhere_does_the_same(
        self, venue: Any, vnpy: Any, tracker: FailureTracker, scope: dict[str, str]
    ) -> None:
        """A halt that another thread triggers stops trading and cancels opening orders, whichever scope it has."""
        cls = strategy_class(vnpy.CtaTemplate, on_bar=ordering(halt_from_a_thread(tracker, at=6, **scope)))
        instrument(cls)
        strategy = venue.add(cls)
        venue.play(*[100] * 20)
        assert not strategy.trading
        assert venue.working == CLOSING
        assert venue.sent == 6
        assert strategy.calls["on_bar"] == 6

    @pytest.mark.parametrize("scope", [{"strategy": "Another"}, {"symbol": "ag2406.SHFE"}], ids=["strategy", "symbol"])
    def test_a_halt_of_another_does_not_touch_this_one(
        self, venue: Any, vnpy: Any, tracker: FailureTracker, scope: dict[str, str]
    ) -> None:
        """A halt of another strategy or symbol leaves this strategy trading, with all its orders."""
        cls = strategy_class(vnpy.CtaTemplate, on_bar=ordering(halt_from_a_thread(tracker, at=6, **scope)))
        instrument(cls)
        strategy = venue.add(cls)
        venue.play(*[100] * 20)
        assert len(tracker.halts) == 1
        assert strategy.trading
        assert [one for one in venue.working if one != ("OPEN", 102)] == EVERY_KIND
        assert strategy.calls["on_bar"] == 20
        assert venue.sent == 6 + 11

    def test_of_two_strategies_only_the_failing_one_halts(self, live: Live, vnpy: Any, tracker: FailureTracker) -> None:
        """Of two strategies of one class, for one symbol, the one that fails is halted and the other trades on."""
        instrument(host="vnpy")

        def fail(strategy: Any, number: int) -> None:
            if strategy.strategy_name == "bad" and number > 5:
                raise ValueError(number)

        cls = strategy_class(vnpy.CtaTemplate, on_bar=ordering(fail))
        good, bad = live.add(cls, name="good"), live.add(cls, name="bad")
        live.play(*[100] * 9)
        assert tracker.is_halted("bad", SYMBOL)
        assert not tracker.is_halted("good", SYMBOL)
        assert (good.trading, bad.trading) == (True, False)
        assert live.working == sorted(EVERY_KIND + CLOSING)
        assert (good.calls["on_bar"], bad.calls["on_bar"]) == (9, 8)

    def test_at_level_reducing_positions_can_be_closed(self, venue: Any, vnpy: Any, tracker: FailureTracker) -> None:
        """At level reducing opening orders are cancelled, and trading stays True for those who close."""
        cls = strategy_class(
            vnpy.CtaTemplate, on_bar=ordering(halt_from_a_thread(tracker, at=6, strategy=NAME, level="reducing"))
        )
        instrument(cls)
        strategy = venue.add(cls)
        venue.play(*[100] * 9)
        assert strategy.trading
        assert venue.working == CLOSING
        assert strategy.calls["on_bar"] == 6
        assert len(strategy.sell(90, 1)) == 1

    def test_a_stricter_halt_ends_trading(self, live: Live, vnpy: Any, tracker: FailureTracker) -> None:
        """A halt that is raised from reducing to halted takes trading away, too."""
        cls = strategy_class(vnpy.CtaTemplate)
        instrument(cls)
        strategy = live.add(cls)
        tracker.halt_manager.trigger_halt("drawdown", level="reducing")
        assert strategy.trading
        tracker.halt_manager.trigger_halt("worse")
        assert not strategy.trading

    def test_in_trade_again_after_resume_and_start(self, live: Live, vnpy: Any, tracker: FailureTracker) -> None:
        """After a resume bars are seen again; orders are sent again once the strategy is started in vnpy."""
        cls = strategy_class(vnpy.CtaTemplate, on_bar=ordering(failing_at(6, 7, 8)))
        instrument(cls)
        strategy = live.add(cls)
        live.play(*[100] * 15)
        assert live.sent == 6
        tracker.resume(strategy=NAME, symbol=SYMBOL, by="ana", reason="fixed")
        live.play(100, 100)
        assert strategy.calls["on_bar"] == 10
        assert live.sent == 6
        live.engine.start_strategy(NAME)
        assert strategy.trading
        live.play(*[100] * 5)
        assert strategy.calls["on_bar"] == 15
        assert strategy.calls["on_start"] == 2
        assert live.sent == 11
        assert strategy.pos == 5

    def test_on_stop_runs_while_halted(self, live: Live, vnpy: Any, tracker: FailureTracker) -> None:
        """A strategy that is halted can be stopped and started in vnpy, and its on_stop and on_start run."""
        cls = strategy_class(vnpy.CtaTemplate)
        instrument(cls)
        strategy = live.add(cls)
        tracker.halt_manager.trigger_halt("drawdown", level="reducing")
        live.engine.stop_strategy(NAME)
        live.engine.start_strategy(NAME)
        assert (strategy.calls["on_stop"], strategy.calls["on_start"]) == (1, 2)

    def test_without_guards_again_nothing_is_done(self, live: Live, vnpy: Any, tracker: FailureTracker) -> None:
        """After uninstrument a halt touches the strategy no more."""
        cls = strategy_class(vnpy.CtaTemplate, on_bar=ordering(failing_at()))
        instrument(cls)
        strategy = live.add(cls)
        live.play(*[100] * 5)
        uninstrument(cls)
        tracker.halt_manager.trigger_halt("drawdown")
        live.settle()
        assert strategy.trading
        assert live.working == EVERY_KIND


class TestWhatIsSeenOfIt:
    @pytest.mark.parametrize("name", CALLBACKS)
    def test_callbacks_look_as_before(self, vnpy: Any, name: str) -> None:
        """A guarded callback has its signature, argument names, name and docstring, and is put back as it was."""
        cls = strategy_class(vnpy.CtaTemplate)
        plain = vars(cls)[name]
        looks: list[Callable[[Any], object]] = [
            inspect.signature,
            inspect.getfullargspec,
            inspect.isfunction,
            inspect.getsource,
            lambda one: (one.__name__, one.__qualname__, one.__module__, one.__doc__, one.__annotations__),
        ]
        before = [look(plain) for look in looks]
        instrument(cls)
        guarded = vars(cls)[name]
        assert is_guarded(guarded)
        assert guarded is not plain
        assert [look(guarded) for look in looks] == before
        assert is_guarded(getattr(cls, name))
        uninstrument(cls)
        assert vars(cls)[name] is plain

    def test_what_is_no_callback_is_left_alone(self, vnpy: Any) -> None:
        """Only what vnpy calls is guarded, and what opens; the class is the same object, as abstract as before."""
        cls = strategy_class(vnpy.CtaTemplate)
        before = dict(vars(cls))
        report = instrument(cls)
        assert report.skipped == {}
        guarded = {*CALLBACKS, "buy", "short"}
        assert {path.rpartition(".")[2] for path in report.guarded} == guarded
        changed = {name for name, value in vars(cls).items() if before.get(name) is not value}
        assert changed - {"__init_subclass__"} == guarded
        uninstrument(cls)
        assert dict(vars(cls)) == before

    def test_cloudpickle_takes_the_class_by_value(self, vnpy: Any, folder: Path) -> None:
        """A guarded class that is pickled by value is guarded in another process, under its own names."""
        cls = strategy_class(vnpy.CtaTemplate, on_bar=lambda _strategy, number: 1 / (number - 1))
        instrument(cls)
        (folder / "strategy.pickle").write_bytes(cloudpickle.dumps(cls))
        script = """
            import pathlib, pickle
            from guarded import get_failure_tracker
            cls = pickle.loads(pathlib.Path("strategy.pickle").read_bytes())
            strategy = cls(None, "Elsewhere", "rb2405.SHFE", {})
            print(strategy.on_bar(None), strategy.on_tick.__qualname__)
            print(get_failure_tracker().strategy_failures, get_failure_tracker().symbol_failures)
        """
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(script)],
            cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines() == [
            "None strategy_class.<locals>.Script.on_tick",
            "{'Elsewhere': 1} {'rb2405.SHFE': 1}",
        ]
