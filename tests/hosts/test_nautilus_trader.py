"""nautilus_trader: strategies guarded by the preset, in backtests; their base is made in C."""

from __future__ import annotations

import importlib
import inspect
import os
import subprocess
import sys
import textwrap
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cloudpickle
import pytest

from guarded import FailureTracker, HaltTriggered, InvalidConfiguration, instrument, is_guarded, uninstrument

pytestmark = [
    pytest.mark.hosts_heavy,
    pytest.mark.filterwarnings("ignore:Timestamp.utcnow is deprecated"),  # the host calls it
]

pytest.importorskip("nautilus_trader")

NAME = "Script-001"
SYMBOL = "EUR/USD.SIM"
BARS = "EUR/USD.SIM-1-MINUTE-LAST-EXTERNAL"
PATIENCE = 20
SUBMITTING = ("submit_order", "submit_order_list")
CALLBACKS = ("on_start", "on_stop", "on_bar", "on_order_filled", "on_order_canceled", "on_position_closed", "on_event")

Does = Callable[[Any, int], object]
"""What a callback does, with the strategy and the number of its call, the first being 1."""


@pytest.fixture(scope="module")
def nautilus() -> SimpleNamespace:
    """What the tests use of nautilus_trader."""
    names = (
        "backtest.engine",
        "common.component",
        "config",
        "model.book",
        "model.currencies",
        "model.data",
        "model.enums",
        "model.identifiers",
        "model.objects",
        "test_kit.providers",
        "test_kit.stubs.data",
        "test_kit.stubs.events",
        "test_kit.stubs.execution",
        "trading.strategy",
    )
    found = SimpleNamespace()
    for name in names:
        module = importlib.import_module(f"nautilus_trader.{name}")
        vars(found).update({key: value for key, value in vars(module).items() if not key.startswith("_")})
    found.venue = found.Venue("SIM")
    found.market = found.TestInstrumentProvider.default_fx_ccy("EUR/USD", found.venue)
    return found


@pytest.fixture(autouse=True)
def _nothing_left(tracker: FailureTracker, caplog: pytest.LogCaptureFixture) -> Iterator[None]:
    yield
    uninstrument()
    assert not [one for one in caplog.get_records("call") if "could not reach" in one.getMessage()]


def strategy_class(nautilus: Any, **does: Does) -> Any:  # noqa: C901  # a host has many callbacks
    """A strategy that counts its calls, and has callbacks that do what the test wants."""

    class Script(nautilus.Strategy):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__(nautilus.StrategyConfig(order_id_tag="001"))
            self.calls: Counter[str] = Counter()

        def on_start(self) -> None:
            """Get ready."""
            self.subscribe_bars(nautilus.BarType.from_str(BARS))
            self.do("on_start")

        def on_stop(self) -> None:
            self.do("on_stop")

        def on_bar(self, bar: Any) -> None:
            self.do("on_bar")

        def on_order_filled(self, event: Any) -> None:
            self.do("on_order_filled")

        def on_order_canceled(self, event: Any) -> None:
            self.do("on_order_canceled")

        def on_position_closed(self, event: Any) -> None:
            self.do("on_position_closed")

        def on_event(self, event: Any) -> None:
            self.do("on_event")

        def do(self, name: str) -> None:
            self.calls[name] += 1
            if name in does:
                does[name](self, self.calls[name])

        def open_position(self, price: float | None = None, **settings: Any) -> None:
            quantity = nautilus.Quantity.from_int(1000)
            if price is None:
                order = self.order_factory.market(nautilus.market.id, nautilus.OrderSide.BUY, quantity)
            else:
                at = nautilus.Price(price, 5)
                order = self.order_factory.limit(nautilus.market.id, nautilus.OrderSide.BUY, quantity, at, **settings)
            self.submit_order(order)

        def leave_at(self, price: float) -> None:
            make = self.order_factory.limit if price > 1.1 else self.order_factory.stop_market
            quantity, at = nautilus.Quantity.from_int(1000), nautilus.Price(price, 5)
            self.submit_order(
                make(nautilus.market.id, nautilus.OrderSide.SELL, quantity, at, reduce_only=True),
            )

    return Script


def failing_at(*numbers: int) -> Does:
    def fail(_strategy: Any, number: int) -> None:
        if number in numbers:
            raise ValueError(f"call {number}")

    return fail


def ordering(then: Does) -> Does:
    """Have a position, and working orders of each kind; from the tenth bar on open a position at every bar."""

    def do(strategy: Any, number: int) -> None:
        if number == 1:
            strategy.open_position()
        if number == 3:
            strategy.open_position(1.0)
            strategy.open_position(1.01)
            strategy.leave_at(1.3)
            strategy.leave_at(0.9)
        if number >= 10:
            strategy.open_position()
        then(strategy, number)

    return do


def halt_from_a_thread(tracker: FailureTracker, at: int, **settings: Any) -> Does:
    """Halt trading in another thread, in the midst of a bar."""

    def do(_strategy: Any, number: int) -> None:
        if number == at:
            halting = threading.Thread(target=tracker.halt_manager.trigger_halt, args=("drawdown",), kwargs=settings)
            halting.start()
            halting.join(PATIENCE)
            assert not halting.is_alive()

    return do


class Backtest:
    """A backtest engine, with a bar for each of the prices."""

    def __init__(self, nautilus: Any, *prices: float) -> None:
        quiet = nautilus.LoggingConfig(bypass_logging=True)
        self.engine = nautilus.BacktestEngine(nautilus.BacktestEngineConfig(logging=quiet))
        money = [nautilus.Money(1_000_000, nautilus.USD)]
        self.engine.add_venue(nautilus.venue, nautilus.OmsType.NETTING, nautilus.AccountType.MARGIN, money)
        self.engine.add_instrument(nautilus.market)
        self.engine.add_data([bar_at(nautilus, number, price) for number, price in enumerate(prices, start=1)])

    def run(self, strategy: Any) -> Any:
        self.engine.add_strategy(strategy)
        self.engine.run()
        return strategy

    @property
    def sent(self) -> int:
        return len(self.engine.cache.orders())

    @property
    def working(self) -> list[float]:
        """The prices of the orders that are open: those below 1 and above 1.1 close a position."""
        orders = self.engine.cache.orders_open()
        return sorted(float(order.price if order.has_price else order.trigger_price) for order in orders)


EVERY_KIND = [0.9, 1.0, 1.01, 1.3]
CLOSING = [0.9, 1.3]


def bar_at(nautilus: Any, number: int, price: float) -> Any:
    kind, volume, at = nautilus.BarType.from_str(BARS), nautilus.Quantity.from_int(1_000_000), number * 60_000_000_000
    spread = (price, price + 0.0002, price - 0.0002, price)
    return nautilus.Bar(kind, *(nautilus.Price(one, 5) for one in spread), volume, at, at)


@pytest.fixture
def backtest(nautilus: Any) -> Iterator[Callable[..., Backtest]]:
    """Makes engines, by default one of twenty bars of the same price."""
    made: list[Backtest] = []

    def make(*prices: float) -> Backtest:
        made.append(Backtest(nautilus, *(prices or [1.1] * 20)))
        return made[-1]

    yield make
    for one in made:
        one.engine.dispose()


class TestFailures:
    def test_unguarded_the_first_error_ends_the_run(self, nautilus: Any, backtest: Any) -> None:
        """Unguarded, an error in on_bar leaves run()."""
        strategy = strategy_class(nautilus, on_bar=failing_at(5))()
        with pytest.raises(ValueError, match="call 5"):
            backtest().run(strategy)
        assert strategy.calls["on_bar"] == 5

    def test_guarded_the_run_goes_on(self, nautilus: Any, backtest: Any, tracker: FailureTracker) -> None:
        """Guarded, the run goes on, and failures are recorded under the strategy's id and the instrument's."""
        cls = strategy_class(nautilus, on_bar=failing_at(5, 9, 10, 15))
        report = instrument(cls)
        strategy = backtest().run(cls())
        assert strategy.calls["on_bar"] == 20
        assert str(strategy.id) == NAME
        assert tracker.total_failures == 4
        assert tracker.strategy_failures == {NAME: 4}
        assert tracker.symbol_failures == {SYMBOL: 4}
        assert not tracker.halt_triggered
        assert {path.rpartition(".")[2] for path in report.guarded} == {*CALLBACKS, *SUBMITTING}

    def test_guarded_once_the_engine_has_it(self, nautilus: Any, backtest: Any, tracker: FailureTracker) -> None:
        """A strategy whose class is guarded when the engine has it already is guarded all the same."""
        cls = strategy_class(nautilus, on_bar=failing_at(5))
        venue = backtest()
        strategy = cls()
        venue.engine.add_strategy(strategy)
        instrument(cls)
        venue.engine.run()
        assert strategy.calls["on_bar"] == 20
        assert tracker.total_failures == 1

    @pytest.mark.parametrize("imported_first", [True, False])
    def test_the_strategies_of_a_module(
        self, backtest: Any, tracker: FailureTracker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
        *, imported_first: bool,
    ) -> None:  # fmt: skip
        """The strategies of a module are guarded, be it imported before or after; parameters have any name."""
        name = f"bot_imported_{'before' if imported_first else 'after'}"
        (tmp_path / f"{name}.py").write_text(
            textwrap.dedent(f"""
                from nautilus_trader.config import StrategyConfig
                from nautilus_trader.model.data import BarType
                from nautilus_trader.trading.strategy import Strategy

                class Renamed(Strategy):
                    def on_start(this):
                        this.subscribe_bars(BarType.from_str("{BARS}"))

                    def on_bar(this, b):
                        raise ValueError(b)
            """),
            encoding="utf-8",
        )
        monkeypatch.syspath_prepend(tmp_path)
        if imported_first:
            importlib.import_module(name)
        report = instrument(name, host="nautilus_trader")
        module = importlib.import_module(name)
        assert report.guarded == tuple(f"{name}:Renamed.{each}" for each in ("on_bar", "on_start", *SUBMITTING))
        backtest().run(module.Renamed())
        assert tracker.strategy_failures == {"Renamed-000": 3}
        assert tracker.symbol_failures == {SYMBOL: 3}
        assert not is_guarded(module.Strategy.on_bar)

    def test_the_whole_host_is_refused(self) -> None:
        """That all strategies of the host be guarded is refused: a base that is made in C tells of no subclasses."""
        with pytest.raises(
            InvalidConfiguration, match=r"'nautilus_trader'.*name them.*instrument\(\"my_bot.strategies"
        ):
            instrument(host="nautilus_trader")

    def test_what_a_strategy_is_told_has_its_symbol(self, nautilus: Any, tracker: FailureTracker) -> None:
        """A failure over a bar, a tick, a book, an instrument or an event is recorded for the instrument of that."""
        data, events = nautilus.TestDataStubs, nautilus.TestEventStubs
        order = nautilus.TestExecStubs.limit_order(instrument=nautilus.market)
        told = {
            "on_bar": bar_at(nautilus, 1, 1.1),
            "on_quote_tick": data.quote_tick(nautilus.market),
            "on_trade_tick": data.trade_tick(nautilus.market),
            "on_order_book": nautilus.OrderBook(nautilus.market.id, nautilus.BookType.L2_MBP),
            "on_order_book_deltas": data.order_book_deltas(nautilus.market.id),
            "on_order_book_depth": data.order_book_depth10(nautilus.market),
            "on_mark_price": nautilus.MarkPriceUpdate(nautilus.market.id, nautilus.Price(1.1, 5), 1, 1),
            "on_instrument": nautilus.market,
            "on_instrument_status": data.instrument_status(nautilus.market.id),
            "on_order_submitted": events.order_submitted(order),
            "on_order_filled": events.order_filled(order, nautilus.market),
        }

        def fail(_self: Any, _told: Any) -> None:
            raise ValueError

        cls = type("Script", (strategy_class(nautilus),), dict.fromkeys(told, fail))
        instrument(cls)
        strategy = cls()
        for name, one in told.items():
            tracker.reset()
            getattr(strategy, name)(one)
            assert tracker.last_failure is not None, name
            assert (tracker.last_failure.strategy_name, tracker.last_failure.symbol) == (NAME, SYMBOL), name

    def test_an_on_start_that_fails_ends_the_run(self, nautilus: Any, backtest: Any, tracker: FailureTracker) -> None:
        """What on_start raises is recorded, and reaches the engine: the strategy would hear of nothing."""
        cls = strategy_class(nautilus, on_start=failing_at(1))
        instrument(cls)
        with pytest.raises(ValueError, match="call 1"):
            backtest().run(cls())
        assert tracker.strategy_failures == {NAME: 1}


class TestHalts:
    def test_three_failures_end_trading(self, nautilus: Any, backtest: Any, tracker: FailureTracker) -> None:
        """After the third failure no order is sent, and open orders are cancelled but those that only reduce."""
        cls = strategy_class(nautilus, on_bar=ordering(failing_at(6, 7, 8)))
        instrument(cls)
        venue = backtest()
        strategy = venue.run(cls())
        assert tracker.halt_triggered
        assert strategy.calls["on_bar"] == 8
        assert tracker.refusals >= 12
        assert venue.working == CLOSING
        assert venue.sent == 5
        assert strategy.calls["on_order_canceled"] == 2
        assert len(venue.engine.cache.positions_open()) == 1

    def test_without_failures_all_orders_work(self, nautilus: Any, backtest: Any, tracker: FailureTracker) -> None:
        """Without a failure guards change nothing: all orders are sent, and work."""
        for guarded in (False, True):
            cls = strategy_class(nautilus, on_bar=ordering(failing_at()))
            if guarded:
                instrument(cls)
            venue = backtest()
            strategy = venue.run(cls())
            assert venue.working == EVERY_KIND
            assert venue.sent == 5 + 11
            assert strategy.calls["on_order_filled"] == 12
        assert tracker.total_failures == 0

    def test_bookkeeping_goes_on_after_a_halt(self, nautilus: Any, backtest: Any, tracker: FailureTracker) -> None:
        """A closing order that fills after the halt is told of to the strategy, and the position is closed."""
        cls = strategy_class(nautilus, on_bar=ordering(failing_at(6, 7, 8)))
        instrument(cls)
        venue = backtest(*[1.1] * 15, *[1.4] * 5)
        strategy = venue.run(cls())
        assert tracker.halt_triggered
        assert strategy.calls["on_order_filled"] == 2
        assert strategy.calls["on_position_closed"] == 1
        assert strategy.calls["on_stop"] == 1
        assert venue.engine.cache.positions_open() == []
        assert venue.sent == 5

    @pytest.mark.parametrize("guarded", [False, True])
    def test_what_a_fill_sets_off_opens_nothing(
        self, nautilus: Any, backtest: Any, tracker: FailureTracker, *, guarded: bool
    ) -> None:
        """A strategy that quotes anew at each fill sends nothing that opens after a halt; unguarded it does."""

        def quote(strategy: Any, number: int) -> None:
            if number > 1:
                strategy.open_position(1.0)

        cls = strategy_class(nautilus, on_bar=ordering(halt_from_a_thread(tracker, at=6)), on_order_filled=quote)
        instrument(cls, *([] if guarded else ["on_bar"]))
        venue = backtest(*[1.1] * 9, *[1.4] * 5)
        strategy = venue.run(cls())
        assert strategy.calls["on_order_filled"] == 2
        assert venue.sent == (5 if guarded else 6)
        assert venue.engine.cache.positions_open() == []

    def test_what_reduces_a_position_is_sent_while_halted(
        self, nautilus: Any, backtest: Any, tracker: FailureTracker
    ) -> None:
        """At a halt an order goes out that by itself can only reduce; none that turns a position or opens one does."""
        size, buy, sell = nautilus.market.make_qty, nautilus.OrderSide.BUY, nautilus.OrderSide.SELL

        def submit(strategy: Any, number: int) -> None:
            if number > 1:
                return
            make, own = strategy.order_factory, nautilus.market.id
            far, near = nautilus.Price(1.35, 5), nautilus.Price(1.0, 5)
            sent = [
                make.limit(own, sell, size(2000), far, reduce_only=True),
                make.limit(own, sell, size(1000), far),
                make.limit(own, sell, size(2000), far),
                make.limit(own, buy, size(1000), near),
            ]
            for order in sent:
                strategy.submit_order(client_id=None, order=order)
            bracket = make.bracket(own, buy, size(1000), tp_price=far, sl_trigger_price=near)
            strategy.submit_order_list(bracket)
            leaving = make.create_list([make.limit(own, sell, size(1000), far) for _ in range(2)])
            strategy.submit_order_list(leaving)
            strategy.close_all_positions(own)
            made.extend((*sent, *bracket.orders, *leaving.orders))

        made: list[Any] = []
        cls = strategy_class(nautilus, on_bar=ordering(halt_from_a_thread(tracker, at=6)), on_order_canceled=submit)
        instrument(cls)
        venue = backtest()
        venue.run(cls())
        went_out = [order.status.name != "INITIALIZED" for order in made]
        assert went_out == [True, True, False, False, False, False, False, True, True]
        assert venue.engine.cache.positions_open() == []
        assert tracker.total_failures == 0

    @pytest.mark.parametrize("scope", [{}, {"strategy": NAME}], ids=["everything", "strategy"])
    @pytest.mark.parametrize("level", ["reducing", "halted"])
    def test_a_halt_from_elsewhere_does_the_same(
        self, nautilus: Any, backtest: Any, tracker: FailureTracker, scope: dict[str, str], level: str
    ) -> None:
        """A halt that another thread triggers cancels the same orders, at either level."""
        cls = strategy_class(nautilus, on_bar=ordering(halt_from_a_thread(tracker, at=6, level=level, **scope)))
        instrument(cls)
        venue = backtest()
        strategy = venue.run(cls())
        assert strategy.calls["on_bar"] == 6
        assert venue.working == CLOSING
        assert venue.sent == 5

    @pytest.mark.parametrize(
        "scope", [{"symbol": SYMBOL}, {"strategy": NAME, "symbol": SYMBOL}], ids=["symbol", "both"]
    )
    def test_a_halt_of_a_symbol_cancels_its_orders(
        self, nautilus: Any, backtest: Any, tracker: FailureTracker, scope: dict[str, str]
    ) -> None:
        """A halt of one instrument cancels the opening orders for that one."""
        cls = strategy_class(nautilus, on_bar=ordering(halt_from_a_thread(tracker, at=6, **scope)))
        instrument(cls)
        venue = backtest()
        strategy = venue.run(cls())
        assert strategy.calls["on_bar"] == 6
        assert venue.working == CLOSING

    @pytest.mark.parametrize("emulated", [False, True])
    def test_orders_that_are_not_at_the_venue_yet_are_cancelled(
        self, nautilus: Any, backtest: Any, tracker: FailureTracker, *, emulated: bool
    ) -> None:
        """An opening order that the failing call itself has sent, or that waits for its trigger, is cancelled, too."""

        def fail(strategy: Any, number: int) -> None:
            if number == 8 and not emulated:
                strategy.open_position(1.05)
            if number == 3 and emulated:
                strategy.open_position(1.05, emulation_trigger=nautilus.TriggerType.LAST_PRICE)
            failing_at(6, 7, 8)(strategy, number)

        cls = strategy_class(nautilus, on_bar=ordering(fail))
        instrument(cls)
        venue = backtest()
        venue.run(cls())
        assert tracker.halt_triggered
        assert venue.working == CLOSING
        assert venue.engine.cache.orders_emulated() == []

    def test_what_a_timer_sets_off_is_refused(self, nautilus: Any, backtest: Any, tracker: FailureTracker) -> None:
        """A strategy that trades by a timer whose events reach on_event sends no order after a halt."""

        class Timed(strategy_class(nautilus, on_bar=failing_at(6, 7, 8))):  # type: ignore[misc]
            def on_start(self) -> None:
                super().on_start()
                self.clock.set_timer("minute", timedelta(minutes=1))

            def on_event(self, event: Any) -> None:
                if isinstance(event, nautilus.TimeEvent):
                    self.open_position()

        instrument(Timed)
        venue = backtest()
        at_halt: list[int] = []
        tracker.subscribe(lambda event: at_halt.append(venue.sent) if isinstance(event, HaltTriggered) else None)
        venue.run(Timed())
        assert at_halt == [venue.sent]

    def test_a_strategy_without_an_engine_is_no_fault(
        self, nautilus: Any, tracker: FailureTracker, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A halt passes by a strategy that no engine has: it can have no orders."""
        cls = strategy_class(nautilus)
        instrument(cls)
        strategy = cls()
        tracker.halt_manager.trigger_halt("drawdown")
        found = [one.getMessage() for one in caplog.records if "could not reach" in one.getMessage()]
        caplog.clear()
        assert found == []
        assert str(strategy.id) == NAME

    @pytest.mark.parametrize("scope", [{"strategy": "Another-001"}, {"symbol": "USD/JPY.SIM"}], ids=str)
    def test_a_halt_of_another_does_not_touch_this_one(
        self, nautilus: Any, backtest: Any, tracker: FailureTracker, scope: dict[str, str]
    ) -> None:
        """A halt of another strategy or instrument leaves this strategy trading, with all its orders."""
        cls = strategy_class(nautilus, on_bar=ordering(halt_from_a_thread(tracker, at=6, **scope)))
        instrument(cls)
        venue = backtest()
        strategy = venue.run(cls())
        assert strategy.calls["on_bar"] == 20
        assert venue.working == EVERY_KIND
        assert venue.sent == 5 + 11

    def test_in_trade_again_after_resume(self, nautilus: Any, backtest: Any, tracker: FailureTracker) -> None:
        """After a resume the strategy is told of bars, and trades, again."""

        def resume(strategy: Any, number: int) -> None:
            if number > 1:  # the fill after the halt
                tracker.resume(by="ana", reason="fixed")

        cls = strategy_class(nautilus, on_bar=ordering(failing_at(6, 7, 8)), on_order_filled=resume)
        instrument(cls)
        venue = backtest(*[1.1] * 12, *[1.4] * 8)
        strategy = venue.run(cls())
        assert not tracker.halt_triggered
        assert strategy.calls["on_bar"] == 8 + 8
        assert venue.sent == 5 + 7


class TestWhatIsSeenOfIt:
    @pytest.mark.parametrize("name", CALLBACKS)
    def test_callbacks_look_as_before(self, nautilus: Any, name: str) -> None:
        """A guarded callback has its signature, argument names, name and docstring, and is put back as it was."""
        cls = strategy_class(nautilus)
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
        uninstrument(cls)
        assert vars(cls)[name] is plain

    def test_what_is_no_callback_is_left_alone(self, nautilus: Any) -> None:
        """Only what the host calls is guarded, in the class alone; after uninstrument all is as before."""
        cls = strategy_class(nautilus)
        before = dict(vars(cls))
        report = instrument(cls)
        assert report.skipped == {}
        changed = {name for name, value in vars(cls).items() if before.get(name) is not value}
        assert changed - {"__init_subclass__"} == {*CALLBACKS, *SUBMITTING}
        assert not any(is_guarded(getattr(nautilus.Strategy, name)) for name in (*CALLBACKS, *SUBMITTING))
        uninstrument(cls)
        assert dict(vars(cls)) == before

    def test_cloudpickle_takes_the_class_by_value(self, nautilus: Any, tmp_path: Path) -> None:
        """A guarded class that is pickled by value is guarded in another process, under its own names."""

        class Small(nautilus.Strategy):  # type: ignore[misc]
            def on_bar(self, bar: Any) -> Any:
                return 1 / bar.high

        instrument(Small)
        (tmp_path / "strategy.pickle").write_bytes(cloudpickle.dumps(Small))
        script = """
            import pathlib, pickle, types
            from guarded import get_failure_tracker
            strategy = pickle.loads(pathlib.Path("strategy.pickle").read_bytes())()
            print(strategy.on_bar(types.SimpleNamespace(high=0, instrument_id="EUR/USD.SIM")))
            print(get_failure_tracker().strategy_failures, get_failure_tracker().symbol_failures)
        """
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(script)],
            cwd=tmp_path, env=environment, capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines() == ["None", "{'Small-None': 1} {'EUR/USD.SIM': 1}"]
