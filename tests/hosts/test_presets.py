"""Host presets: what they are made of, and what they do with classes that stand in for hosts that are not installed.

tests/hosts has a file for each host that runs the real one.
"""

from __future__ import annotations

import os
import sys
import tomllib
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pandas as pd  # type: ignore[import-untyped]
import pytest

import guarded
from guarded import (
    FailureTracker,
    InvalidConfiguration,
    Scope,
    instrument,
    is_guarded,
    set_failure_tracker,
    uninstrument,
)
from guarded._hosts import HOSTS, host_named, resolved
from guarded.hosts import freqtrade, ib_async, nautilus_trader
from guarded.stores.sqlite import SQLiteStore

FOLDER = Path(guarded.__file__).parent / "hosts"


@pytest.fixture(autouse=True)
def _nothing_left(tracker: FailureTracker) -> Iterator[None]:
    yield
    uninstrument()


def stand_in(monkeypatch: pytest.MonkeyPatch, dotted: str, **methods: Any) -> Any:
    """A class that has the name of a host's base."""
    module_name, _, name = dotted.rpartition(".")
    base = type(name, (), {"__module__": module_name, **methods})
    module = ModuleType(module_name)
    setattr(module, name, base)
    monkeypatch.setitem(sys.modules, module_name, module)
    return base


class TestData:
    @pytest.mark.parametrize("name", HOSTS)
    def test_every_file_is_sound(self, name: str) -> None:
        """Each host's file has known keys only, names each callback once, and what it names is there."""
        data = tomllib.loads((FOLDER / f"{name}.toml").read_text())
        assert set(data) <= {"host", "bases", "strategy", "symbol", "on_halt", "may_be_hooked", "callback"}
        known = {
            "names",
            "parameters",
            "strategy",
            "symbol",
            "when_halted",
            "reraise",
            "returns",
            "skip",
            "reduces",
            "inherited",
        }
        names = [each for entry in data["callback"] for each in entry["names"]]
        assert all(set(entry) <= known for entry in data["callback"])
        assert all(set(entry.get("reduces", {})) <= {"call", "result"} for entry in data["callback"])
        for entry in (data, *data["callback"]):
            found = [entry.get("skip", ""), entry.get("symbol", ""), entry.get("returns", {}).get("function", "")]
            found += entry.get("reduces", {}).values()
            assert all(callable(resolved(one)) for one in found if ":" in one)
        assert len(names) == len(set(names))
        assert host_named(name).name == name
        assert (FOLDER / f"{name}.toml").read_text().startswith("# ")

    def test_every_host_has_a_file(self) -> None:
        """The list of hosts is that of the files."""
        assert sorted(path.stem for path in FOLDER.glob("*.toml")) == list(HOSTS)

    @pytest.mark.parametrize("name", ["freqtrad", "", None])
    def test_an_unknown_host(self, name: Any) -> None:
        """A host that is not known is an error that lists those that are."""
        with pytest.raises(InvalidConfiguration, match=r"expected one of 'backtesting', 'backtrader', 'freqtrade'"):
            host_named(name)


class TestFreqtrade:
    """A stand-in has the base's name; the real host runs in test_freqtrade.py."""

    @pytest.fixture
    def strategy(self, monkeypatch: pytest.MonkeyPatch) -> Any:
        def inherited(self: object, pair: str, **_: Any) -> bool:
            return True

        base: Any = stand_in(
            monkeypatch,
            "freqtrade.strategy.interface.IStrategy",
            confirm_trade_entry=inherited,
            confirm_trade_exit=inherited,
            populate_entry_trend=lambda _self, dataframe, _metadata: dataframe,
        )

        class Often(base):  # type: ignore[misc]  # it is made on the way
            def populate_entry_trend(self, df: pd.DataFrame, meta: dict[str, str]) -> pd.DataFrame:
                df["enter_long"] = 1
                df["buy"] = 1
                raise ValueError("bad frame")

            def populate_exit_trend(self, dataframe: pd.DataFrame, metadata: dict[str, str]) -> pd.DataFrame:
                raise ValueError("bad frame")

            def confirm_trade_exit(self, pair: str, **_: Any) -> bool:
                raise ValueError("bad exit")

            def leverage(self, pair: str, proposed_leverage: float, **_: Any) -> float:
                raise ValueError("bad leverage")

            def custom_exit_price(self, pair: str, proposed_rate: float, **_: Any) -> float:
                raise ValueError("bad rate")

            def informative_pairs(self) -> list[tuple[str, str]]:
                raise ValueError("bad pairs")

            def adjust_trade_position(self, trade: Any, **_: Any) -> float:
                raise ValueError("bad trade")

            def bot_start(self) -> None:
                raise ValueError("cannot start")

        return Often

    def test_what_the_host_takes_for_no_signal(self, strategy: Any) -> None:
        """Each callback that fails gives what the host takes for no entry, and never for no exit."""
        instrument(strategy, tracker=FailureTracker(100))
        often = strategy()
        assert often.confirm_trade_exit(pair="BTC/USDT", trade=None) is True
        assert often.leverage(pair="BTC/USDT", proposed_leverage=3.0) == 1.0
        assert often.custom_exit_price(pair="BTC/USDT", proposed_rate=7.5) == 7.5
        first, second = often.informative_pairs(), often.informative_pairs()
        assert first == []
        assert first is not second
        assert often.adjust_trade_position(trade=SimpleNamespace(pair="ETH/USDT")) is None
        with pytest.raises(ValueError, match="cannot start"):
            often.bot_start()

    @pytest.mark.parametrize(
        ("adjustment", "passes"),
        [
            (-10.0, True),
            ((-10.0, "profit"), True),
            (None, True),
            (0.0, True),
            ((None, ""), True),
            (10.0, False),
            ((10.0, "dip"), False),
            (float("nan"), False),
            ("all of it", False),
        ],
        ids=str,
    )
    def test_while_halted_a_position_is_only_made_smaller(
        self, monkeypatch: pytest.MonkeyPatch, adjustment: object, passes: bool
    ) -> None:
        """adjust_trade_position runs while trading is halted; what would top up, or cannot be read, is refused."""
        base: Any = stand_in(monkeypatch, "freqtrade.strategy.interface.IStrategy")

        class Adjusting(base):  # type: ignore[misc]  # it has no types
            def adjust_trade_position(self, trade: Any, **_: Any) -> Any:
                return adjustment

        tracker = FailureTracker()
        instrument(Adjusting, tracker=tracker)
        trade = SimpleNamespace(pair="ETH/USDT")
        assert Adjusting().adjust_trade_position(trade=trade) is adjustment
        tracker.halt_manager.trigger_halt("drill")
        assert Adjusting().adjust_trade_position(trade=trade) is (adjustment if passes else None)
        assert tracker.refusals == (0 if passes else 1)
        assert tracker.total_failures == 0

    def test_that_it_runs_is_on_the_record(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        """What may run while trading is halted if it opens nothing is in the audit, as every exemption."""
        base: Any = stand_in(monkeypatch, "freqtrade.strategy.interface.IStrategy")
        name = f"Strategy{os.urandom(4).hex()}"  # what is known once is not noted again

        def adjust_trade_position(_self: object, trade: Any) -> float:
            return float(-trade.stake)

        adjust_trade_position.__qualname__ = f"{name}.adjust_trade_position"
        instrument(type(name, (base,), {"adjust_trade_position": adjust_trade_position}))
        store = SQLiteStore(tmp_path / "guarded.db")
        FailureTracker(store=store)
        (start,) = (entry.details["exempt"] for entry in store.audit() if entry.action == "start")
        store.close()
        assert f"{name}.adjust_trade_position runs while trading is halted, if it opens nothing" in start

    def test_an_adjustment_that_raises_while_halted(self, strategy: Any) -> None:
        """It is a failure as at any time."""
        tracker = FailureTracker(100)
        instrument(strategy, tracker=tracker)
        tracker.halt_manager.trigger_halt("drill")
        assert strategy().adjust_trade_position(trade=SimpleNamespace(pair="ETH/USDT")) is None
        assert (tracker.total_failures, tracker.refusals) == (1, 0)

    def test_names(self, strategy: Any) -> None:
        """The strategy is the class's name, the symbol the pair, wherever the host has it and whatever it is called."""
        tracker = FailureTracker(100)
        report = instrument(strategy, tracker=tracker)
        often = strategy()
        often.populate_entry_trend(pd.DataFrame({"close": [1.0]}), {"pair": "BTC/USDT"})
        often.adjust_trade_position(trade=SimpleNamespace(pair="ETH/USDT"))
        often.confirm_trade_exit(pair="SOL/USDT")
        often.informative_pairs()
        assert [one.symbol for one in tracker.failure_history] == ["BTC/USDT", "ETH/USDT", "SOL/USDT", "*"]
        assert tracker.strategy_failures == {"Often": 4}
        assert report.skipped == {}

    def test_frames(self, strategy: Any) -> None:
        """A frame with signals in it, written before the method raised, comes back as a copy without them."""
        instrument(strategy, tracker=FailureTracker(100))
        frame = pd.DataFrame({"close": [1.0, 2.0]})
        entries = strategy().populate_entry_trend(frame, {"pair": "BTC/USDT"})
        assert list(entries.enter_long) == list(entries.enter_short) == list(entries.buy) == [0, 0]
        assert "exit_long" not in entries
        assert list(frame.enter_long) == [1, 1]
        exits = strategy().populate_exit_trend(frame.assign(sell=1), {"pair": "BTC/USDT"})
        assert list(exits.exit_long) == list(exits.enter_long) == list(exits.sell) == [0, 0]
        assert list(freqtrade.without_entries(None, frame).close) == [1.0, 2.0]

    def test_no_indicators(self, monkeypatch: pytest.MonkeyPatch, tracker: FailureTracker) -> None:
        """A frame whose indicators failed is one failure: what would need them is not called, and has no signals."""
        base: Any = stand_in(monkeypatch, "freqtrade.strategy.interface.IStrategy")

        class Strategy(base):  # type: ignore[misc]  # it is made on the way
            def populate_indicators(self, dataframe: pd.DataFrame, metadata: dict[str, str]) -> pd.DataFrame:
                if metadata["pair"] == "BAD":
                    raise ValueError("no candles")
                return dataframe.assign(rsi=50)

            def populate_entry_trend(self, dataframe: pd.DataFrame, metadata: dict[str, str]) -> pd.DataFrame:
                return dataframe.assign(enter_long=dataframe.rsi > 0)

            def populate_sell_trend(self, dataframe: pd.DataFrame, metadata: dict[str, str]) -> pd.DataFrame:
                return dataframe.assign(sell=dataframe.rsi > 0)

        instrument(Strategy)

        def analysed(pair: str) -> pd.DataFrame:
            strategy, frame = Strategy(), pd.DataFrame({"close": [1.0]})
            for step in (strategy.populate_indicators, strategy.populate_entry_trend, strategy.populate_sell_trend):
                frame = step(frame.copy(), {"pair": pair})
            return frame

        assert analysed("GOOD").enter_long.all()
        assert tracker.last_success_time is not None
        bad = analysed("BAD")
        assert not bad.enter_long.any()
        assert not bad.exit_long.any()
        assert tracker.total_failures == 1
        assert tracker.consecutive_failures == 1

    def test_what_is_no_frame(self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
        """Where it cannot be told whether there are indicators the method is called; a fault of ours counts nothing."""
        base: Any = stand_in(monkeypatch, "freqtrade.strategy.interface.IStrategy")

        class Strategy(base):  # type: ignore[misc]  # it is made on the way
            def populate_entry_trend(self, dataframe: Any, metadata: dict[str, str]) -> str:
                return f"entries of {dataframe}"

        tracker = FailureTracker()
        instrument(Strategy, tracker=tracker)
        assert Strategy().populate_entry_trend("no frame", {"pair": "A"}) == "entries of no frame"
        assert tracker.total_failures == 0
        assert "has_no_indicators could not tell; " in caplog.text

    def test_orders_that_cannot_be_adjusted(self) -> None:
        """The price of an exit stays as it is, and an entry is cancelled."""
        assert freqtrade.order_price(None, current_order_rate=7.5, is_entry=False) == 7.5
        assert freqtrade.order_price(None, current_order_rate=7.5, is_entry=True) is None
        assert freqtrade.order_price(None) is None

    def test_the_gate_is_there_if_the_strategy_has_none(self, strategy: Any, tracker: FailureTracker) -> None:
        """An inherited confirm_trade_entry is guarded in the strategy, so that a halt refuses entries; exits go on."""
        report = instrument(strategy)
        assert strategy().confirm_trade_entry(pair="BTC/USDT") is True
        tracker.halt_manager.trigger_halt("drill")
        assert strategy().confirm_trade_entry(pair="BTC/USDT") is False
        assert strategy().confirm_trade_exit(pair="BTC/USDT") is True
        assert strategy().custom_exit_price(pair="BTC/USDT", proposed_rate=2.0) == 2.0
        assert tracker.type_failures, "what exits depend on runs while trading is halted"
        assert not is_guarded(strategy.__mro__[1].confirm_trade_entry)
        assert any(name.endswith("confirm_trade_entry") for name in report.guarded)

    def test_what_is_given_goes_before(self, strategy: Any) -> None:
        """Settings of the user's go before the host's, for named methods too."""
        instrument(strategy, "confirm_trade_exit", strategy="Mine", no_signal=lambda *_, **__: "mine")
        assert strategy().confirm_trade_exit(pair="A") == "mine"
        assert not is_guarded(strategy.leverage)


class TestVnpy:
    """Stand-ins have the names and the attributes that are asked for; the real host runs in test_vnpy.py."""

    @staticmethod
    def order(offset: str, direction: str = "LONG", **more: Any) -> Any:
        return SimpleNamespace(
            offset=SimpleNamespace(name=offset),
            direction=SimpleNamespace(name=direction),
            is_active=lambda: True,
            **more,
        )

    @pytest.fixture
    def engine(self, monkeypatch: pytest.MonkeyPatch) -> Any:
        """As much of the live engine as is asked for; its events are handled at once."""

        class Event(SimpleNamespace):
            def __init__(self, type: str, data: Any = None) -> None:  # noqa: A002  # its name there
                super().__init__(type=type, data=data)

        monkeypatch.setitem(sys.modules, "vnpy.event", SimpleNamespace(Event=Event))
        monkeypatch.setitem(sys.modules, "vnpy.trader.event", SimpleNamespace(EVENT_ORDER="eOrder."))
        handlers: dict[str, list[Any]] = {}

        def register(kind: str, handler: Any) -> None:
            known = handlers.setdefault(kind, [])
            if handler not in known:
                known.append(handler)

        def put(event: Any) -> None:
            for handler in handlers.get(event.type, []):
                handler(event)

        engine = type("CtaEngine", (), {})()
        engine.event_engine = SimpleNamespace(register=register, put=put, event=Event)
        engine.strategy_orderid_map = {"flip-1": {"1", "2", "3", "stop.1", "stop.2"}}
        engine.stop_orders = {"stop.1": self.order("OPEN"), "stop.2": self.order("CLOSE")}
        engine.main_engine = SimpleNamespace(
            get_order={"1": self.order("OPEN"), "2": self.order("CLOSETODAY")}.get,
        )
        engine.cancelled, engine.shown = [], []
        engine.cancel_order = lambda _strategy, orderid: engine.cancelled.append(orderid)
        engine.put_strategy_event = engine.shown.append
        return engine

    @pytest.fixture
    def flip(self, monkeypatch: pytest.MonkeyPatch) -> Any:
        base: Any = stand_in(
            monkeypatch,
            "vnpy_ctastrategy.template.CtaTemplate",
            buy=lambda self, price, volume: self.send("buy"),
            sell=lambda self, price, volume: self.send("sell"),
        )

        class Flip(base):  # type: ignore[misc]  # it is made on the way
            def __init__(self, engine: Any, name: str = "flip-1", vt_symbol: str = "rb2405.SHFE") -> None:
                self.cta_engine, self.strategy_name, self.vt_symbol = engine, name, vt_symbol
                self.trading = True
                self.heard = 0

            def send(self, side: str) -> list[str]:
                return [side]

            def on_bar(self, b: object) -> None:
                raise ValueError("bad bar")

            def on_tick(self, tick: object) -> None: ...

            def on_trade(self, trade: object) -> None:
                self.heard += 1

        return Flip

    def test_a_halt_stops_it(self, flip: Any, engine: Any, tracker: FailureTracker) -> None:
        """At a halt the strategy may send no order, those that would open are cancelled, and it hears of its trades."""
        instrument(flip)
        strategy = flip(engine)
        for _ in range(3):
            strategy.on_bar(None)
            strategy.on_tick(None)
        assert tracker.halt_triggered
        assert tracker.symbol_failures == {"rb2405.SHFE": 3}
        assert tracker.strategy_failures == {"flip-1": 3}
        assert strategy.trading is False
        assert sorted(engine.cancelled) == ["1", "stop.1"]
        assert engine.shown == [strategy]
        strategy.on_trade(None)
        assert strategy.heard == 1

    def test_in_a_backtest(self, flip: Any, tracker: FailureTracker) -> None:
        """A backtest's orders are cancelled likewise."""
        orders = {"1": self.order("OPEN")}
        stops = {"2": self.order("CLOSE")}
        engine = SimpleNamespace(active_limit_orders=orders, active_stop_orders=stops, cancelled=[])
        engine.cancel_order = lambda _strategy, orderid: engine.cancelled.append(orderid)
        instrument(flip)
        strategy = flip(engine)
        tracker.halt_manager.trigger_halt("drill")
        assert strategy.trading is False
        assert engine.cancelled == ["1"]

    def test_an_order_that_is_not_known_yet(self, flip: Any, engine: Any, tracker: FailureTracker) -> None:
        """An order of the strategy that the engine has not heard of yet is cancelled when it does, if it would open."""
        instrument(flip)
        strategy = flip(engine)
        tracker.halt_manager.trigger_halt("drill")
        event, known = engine.event_engine.event, list(engine.cancelled)
        engine.event_engine.put(event("eOrder.", self.order("OPEN", vt_orderid="9")))
        engine.event_engine.put(event("eOrder.", self.order("OPEN", vt_orderid="3")))
        engine.event_engine.put(event("eOrder.", self.order("OPEN", vt_orderid="3")))
        assert engine.cancelled == [*known, "3"]
        assert strategy.trading is False

    def test_no_order_opens_while_halted(self, flip: Any, engine: Any, tracker: FailureTracker) -> None:
        """Whoever calls it, and whatever `trading` is, no order is sent that would open; those that close are."""
        instrument(flip)
        strategy = flip(engine)
        assert strategy.buy(1.0, 1) == ["buy"]
        tracker.halt_manager.trigger_halt("drawdown", level="reducing")
        assert strategy.buy(1.0, 1) == []
        assert strategy.sell(1.0, 1) == ["sell"]

    def test_an_order_that_raises(self, flip: Any, engine: Any, tracker: FailureTracker) -> None:
        """What sending an order raises is recorded, and the strategy's own code sees it."""
        instrument(flip)
        strategy = flip(engine)
        strategy.send = None
        with pytest.raises(TypeError):
            strategy.buy(1.0, 1)
        assert tracker.total_failures == 1

    def test_a_halt_from_before(self, flip: Any, engine: Any, tracker: FailureTracker) -> None:
        """A halt that is in force when strategies are instrumented, or a tracker becomes shared, reaches them."""
        strategy, halted = flip(engine), FailureTracker()
        tracker.halt_manager.trigger_halt("drill")
        instrument(flip)
        assert strategy.trading is False
        strategy.trading = True
        halted.halt_manager.trigger_halt("drill")
        with set_failure_tracker(halted):
            assert strategy.trading is False

    def test_names_that_were_given(self, flip: Any, engine: Any, tracker: FailureTracker) -> None:
        """A halt is about a strategy by the name that it was given; where that cannot be told, it is."""
        instrument(flip, strategy="alpha", symbol=lambda *_: "rb2405.SHFE")
        strategy = flip(engine)
        tracker.halt_manager.trigger_halt("drill", strategy="flip-1")
        assert strategy.trading is True
        tracker.halt_manager.trigger_halt("drill", strategy="alpha", symbol="rb2405.SHFE")
        assert strategy.trading is False

    def test_a_name_that_takes_more_than_the_strategy(self, flip: Any, engine: Any, tracker: FailureTracker) -> None:
        """A name that is in the call's arguments cannot be told of a strategy by itself: it is stopped, to be safe."""
        instrument(flip, "on_trade", symbol="{trade.symbol}")
        strategy = flip(engine)
        tracker.halt_manager.trigger_halt("drill", symbol="rb2405.SHFE")
        assert strategy.trading is False

    def test_one_that_is_not_made_to_its_end(self, flip: Any, engine: Any, tracker: FailureTracker) -> None:
        """A strategy that has no name yet is stopped by a halt of any strategy, to be safe."""
        instrument(flip)
        strategy = flip(engine)
        del strategy.strategy_name
        tracker.halt_manager.trigger_halt("drill", strategy="flip-2")
        assert strategy.trading is False

    def test_classes_that_cannot_be_hashed(self, flip: Any, engine: Any, tracker: FailureTracker) -> None:
        """An object somewhere whose class has no hash keeps no strategy from being stopped."""

        class Meta(type):
            def __eq__(cls, other: object) -> bool:
                return cls is other

            __hash__ = None  # type: ignore[assignment]

        class Odd(metaclass=Meta): ...

        odd = Odd()
        odd.itself = odd  # type: ignore[attr-defined]
        instrument(flip)
        strategy = flip(engine)
        tracker.halt_manager.trigger_halt("drill")
        assert strategy.trading is False

    def test_while_it_is_only_reducing(self, flip: Any, engine: Any, tracker: FailureTracker) -> None:
        """At level REDUCING it may still send orders."""
        instrument(flip)
        strategy = flip(engine)
        tracker.halt_manager.trigger_halt("drawdown", level="reducing")
        assert strategy.trading is True
        assert sorted(engine.cancelled) == ["1", "stop.1"]

    @pytest.mark.parametrize(
        ("scope", "reached"),
        [
            ({"strategy": "flip-1"}, True),
            ({"strategy": "flip-2"}, False),
            ({"symbol": "rb2405.SHFE"}, True),
            ({"symbol": "rb2410.SHFE"}, False),
            ({"strategy": "flip-1", "symbol": "rb2405.SHFE"}, True),
        ],
    )
    def test_whom_a_halt_is_about(
        self, scope: dict[str, str], reached: bool, flip: Any, engine: Any, tracker: FailureTracker
    ) -> None:
        """A halt of a strategy or of a symbol reaches only those that it is about."""
        instrument(flip)
        strategy = flip(engine)
        tracker.halt_manager.trigger_halt("drill", **scope)
        assert tracker.halts[0].scope == Scope(**scope)
        assert strategy.trading is not reached

    def test_whichever_tracker_is_shared(self, flip: Any, engine: Any) -> None:
        """A tracker that becomes the shared one later reaches strategies too, and none after uninstrument."""
        instrument(flip)
        strategy = flip(engine)
        later, last = FailureTracker(), FailureTracker()
        with set_failure_tracker(later):
            later.halt_manager.trigger_halt("drill")
            assert strategy.trading is False
        strategy.trading = True
        uninstrument(flip)
        with set_failure_tracker(last):
            last.halt_manager.trigger_halt("drill")
        assert strategy.trading is True

    def test_a_tracker_of_its_own(self, flip: Any, engine: Any, tracker: FailureTracker) -> None:
        """With tracker= it is that one's halts that reach it."""
        own = FailureTracker()
        instrument(flip, tracker=own)
        strategy = flip(engine)
        tracker.halt_manager.trigger_halt("drill")
        assert strategy.trading is True
        own.halt_manager.trigger_halt("drill")
        assert strategy.trading is False

    def test_one_that_cannot_be_reached(
        self, flip: Any, engine: Any, tracker: FailureTracker, caplog: pytest.LogCaptureFixture
    ) -> None:
        """A strategy that cannot be stopped is reported, and keeps no other from being stopped."""
        instrument(flip)
        broken, strategy = flip(SimpleNamespace()), flip(engine)
        tracker.halt_manager.trigger_halt("drill")
        assert strategy.trading is False
        assert "a halt could not reach a strategy of vnpy; its calls are refused" in caplog.text
        assert broken.trading is False


EURUSD = "EUR/USD.SIM"


def held(quantity: int, position_id: str = "P-1") -> Any:
    """A position of nautilus_trader's, as far as it is asked."""
    return SimpleNamespace(id=position_id, signed_decimal_qty=lambda: Decimal(quantity))


def new_order(side: str, quantity: int, **more: object) -> Any:
    """An order of nautilus_trader's, as far as it is asked."""
    flags = {"is_buy": side == "buy", "is_sell": side != "buy", "is_reduce_only": side == "reduce only"}
    return SimpleNamespace(instrument_id=EURUSD, quantity=quantity, **{"is_quote_quantity": False, **flags, **more})


def trader(monkeypatch: pytest.MonkeyPatch, submit: Callable[[Any], object], cache: Any = None) -> Any:
    """The base of nautilus_trader's strategies, which submits orders, and lists of them, to a function."""
    return stand_in(
        monkeypatch,
        "nautilus_trader.trading.strategy.Strategy",
        id="Flip-001",
        cache=cache,
        submit_order=lambda _self, order, position_id=None, client_id=None: submit(order),
        submit_order_list=lambda _self, order_list, position_id=None, client_id=None: submit(order_list),
    )


class TestNautilusTrader:
    """Stand-ins have the attributes that are asked for; the real host runs in test_nautilus_trader.py."""

    @pytest.mark.parametrize(
        ("told", "symbol"),
        [
            (SimpleNamespace(bar_type=SimpleNamespace(instrument_id="EUR/USD.SIM")), "EUR/USD.SIM"),
            (SimpleNamespace(instrument_id="EUR/USD.SIM"), "EUR/USD.SIM"),
            (SimpleNamespace(id="EUR/USD.SIM", price_precision=5), "EUR/USD.SIM"),
            (SimpleNamespace(id="a time event"), None),
            (None, None),
        ],
    )
    def test_where_the_symbol_is(self, told: Any, symbol: str | None) -> None:
        """The symbol is the instrument of a bar, of a tick or an event, or an instrument itself, in whatever place."""
        assert nautilus_trader.symbol_of(None, told) == symbol
        assert nautilus_trader.symbol_of(None, client_id="SIM", order=told) == symbol
        assert nautilus_trader.symbol_of(None) is None

    def test_a_halt_cancels_what_would_open(self, monkeypatch: pytest.MonkeyPatch, tracker: FailureTracker) -> None:
        """At a halt working orders are cancelled, wherever they are, but those that reduce a position."""
        base: Any = stand_in(monkeypatch, "nautilus_trader.trading.strategy.Strategy")
        cancelled: list[object] = []

        def order(name: str, instrument_id: str = "EUR/USD.SIM", **more: bool) -> Any:
            flags = {"is_reduce_only": False, "is_pending_cancel": False, "is_buy": True, "is_sell": False}
            return SimpleNamespace(name=name, instrument_id=instrument_id, **{**flags, **more})

        orders = {
            "open": [
                order("1"),
                order("2", is_reduce_only=True),
                order("3", is_buy=False, is_sell=True),
                order("4", "GBP/USD.SIM"),
                order("5", is_pending_cancel=True),
                order("6", "AUD/USD.SIM"),
            ],
            "inflight": [order("7")],
            "emulated": [order("8")],
        }
        positions = {"EUR/USD.SIM": 1, "GBP/USD.SIM": 0, "AUD/USD.SIM": -1}

        class Flip(base):  # type: ignore[misc]  # it is made on the way
            id = "Flip-001"
            cache: Any = SimpleNamespace(
                orders_open=lambda strategy_id: orders["open"] if strategy_id == "Flip-001" else [],
                orders_inflight=lambda strategy_id: orders["inflight"],
                orders_emulated=lambda strategy_id: orders["emulated"],
                positions_open=lambda instrument_id, strategy_id: [held(positions[instrument_id])],
            )

            def cancel_order(self, order: Any) -> None:
                cancelled.append(order.name)

            def on_bar(self, bar: object) -> None: ...

        instrument(Flip)
        strategy, idle = Flip(), Flip()
        idle.cache = None
        tracker.halt_manager.trigger_halt("drill", symbol="GBP/USD.SIM")
        assert cancelled == ["4"]
        tracker.halt_manager.trigger_halt("drill", strategy="Flip-001")
        assert cancelled == ["4", "1", "4", "7", "8"]
        assert strategy.id == "Flip-001"

    @pytest.mark.parametrize(
        ("position", "side", "quantity", "goes_out"),
        [
            (10, "sell", 10, True),
            (10, "sell", 11, False),
            (10, "buy", 1, False),
            (-10, "buy", 10, True),
            (-10, "buy", 11, False),
            (-10, "sell", 1, False),
            (0, "buy", 1, False),
            (0, "reduce only", 1, True),
        ],
    )
    @pytest.mark.parametrize("by_name", [False, True])
    def test_at_a_halt_only_what_reduces_is_sent(
        self, monkeypatch: pytest.MonkeyPatch, position: int, side: str, quantity: int, *, goes_out: bool, by_name: bool
    ) -> None:
        """While trading is halted an order is sent if it can only make the position smaller; so is a list of such."""
        sent: list[object] = []
        cache = SimpleNamespace(
            positions_open=lambda instrument_id, strategy_id: [held(position - 2), held(2)],
            orders_open=lambda strategy_id: [],
            orders_inflight=lambda strategy_id: [],
            orders_emulated=lambda strategy_id: [],
        )
        base: Any = trader(monkeypatch, sent.append, cache)

        class Quotes(base):  # type: ignore[misc]  # it is made on the way
            def on_order_filled(self, event: Any) -> None:
                if by_name:
                    self.submit_order(client_id="SIM", order=event.order)
                    self.submit_order_list(client_id="SIM", order_list=event.orders)
                else:
                    self.submit_order(event.order)
                    self.submit_order_list(event.orders)

        order = new_order(side, quantity)
        orders = SimpleNamespace(instrument_id=EURUSD, orders=[new_order("reduce only", 5), order])
        filled = SimpleNamespace(instrument_id=EURUSD, order=order, orders=orders)
        tracker = FailureTracker()
        instrument(Quotes, tracker=tracker)
        strategy = Quotes()
        strategy.on_order_filled(filled)
        assert sent == [order, orders]
        sent.clear()
        tracker.halt_manager.trigger_halt("drill", symbol=EURUSD)
        strategy.on_order_filled(filled)
        assert sent == ([order, orders] if goes_out else [])
        assert tracker.refusals == (0 if goes_out else 2)
        assert tracker.total_failures == 0

    @pytest.mark.parametrize(
        ("quantity", "more", "is_quote", "reduces"),
        [
            (10, {}, False, True),
            (11, {}, False, False),
            (4, {}, True, False),
            (4, {"position_id": "P-1"}, False, True),
            (5, {"position_id": "P-1"}, False, False),
            (6, {"position_id": "P-2"}, False, True),
            (1, {"position_id": "P-3"}, False, False),
        ],
    )
    def test_which_position_is_meant(
        self,
        quantity: int,
        more: dict[str, str],
        is_quote: bool,
        reduces: bool,
    ) -> None:
        """It is the strategy's own, or the one of its that is named; a quantity in the quote currency is none of it."""
        asked: list[tuple[str, str]] = []

        def positions_open(instrument_id: str, strategy_id: str) -> list[Any]:
            asked.append((instrument_id, strategy_id))
            return [held(4, "P-1"), held(6, "P-2")]

        strategy = SimpleNamespace(id="Flip-001", cache=SimpleNamespace(positions_open=positions_open))
        order = new_order("sell", quantity, is_quote_quantity=is_quote)
        assert nautilus_trader.order_reduces(strategy, order, **more) is reduces
        assert asked == [(EURUSD, "Flip-001")]

    def test_a_position_that_cannot_be_asked_for(
        self, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Where that cannot be told an order is refused, unless it says that it only reduces."""
        sent: list[object] = []

        class Trades(trader(monkeypatch, sent.append)):  # type: ignore[misc]  # it is made on the way
            pass

        tracker = FailureTracker()
        instrument(Trades, "submit_order", tracker=tracker)
        tracker.halt_manager.trigger_halt("drill")
        closing = new_order("reduce only", 1)
        Trades().submit_order(new_order("sell", 1))
        Trades().submit_order(closing)
        assert sent == [closing]
        assert "order_reduces could not tell; " in caplog.text

    def test_orders_that_are_sent_end_no_streak_of_bars(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """An on_bar that raises each time after it has sent an order halts trading: its orders are no recovery."""
        sent: list[object] = []

        class Trades(trader(monkeypatch, sent.append)):  # type: ignore[misc]  # it is made on the way
            def on_bar(self, bar: Any) -> None:
                self.submit_order(new_order("buy", 1))
                raise ValueError("bad bar")

        tracker = FailureTracker()
        instrument(Trades, tracker=tracker)
        strategy = Trades()
        for _ in range(4):
            strategy.on_bar(SimpleNamespace(instrument_id=EURUSD))
        assert tracker.halt_triggered
        assert (len(sent), tracker.total_failures, tracker.refusals) == (3, 3, 1)

    def test_an_order_that_fails(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """What the host raises at an order is on record once, and goes on to what sent it."""

        class Trades(trader(monkeypatch, lambda _order: 1 / 0)):  # type: ignore[misc]  # it is made on the way
            def on_bar(self, bar: Any) -> None:
                with pytest.raises(ZeroDivisionError):
                    self.submit_order(SimpleNamespace(instrument_id="EUR/USD.SIM"))
                raise ValueError("no order")

        tracker = FailureTracker()
        instrument(Trades, tracker=tracker)
        Trades().on_bar(SimpleNamespace(instrument_id="EUR/USD.SIM"))
        assert tracker.total_failures == 2


def test_where_ib_async_has_the_symbol() -> None:
    """What has no contract, or one without a symbol, tells none; a pair of currencies is both."""
    pair = SimpleNamespace(contract=SimpleNamespace(symbol="EUR", secType="CASH", currency="USD"))
    assert ib_async.symbol_of(pair) == "EUR.USD"
    assert ib_async.symbol_of(object(), 3) is None
    assert ib_async.symbol_of(7, 200, "no definition", SimpleNamespace(symbol="GOOGL", secType="STK")) == "GOOGL"
    assert ib_async.symbol_of(SimpleNamespace(contract=SimpleNamespace(symbol=""))) is None
    assert ib_async.symbol_of(SimpleNamespace(contract=None)) is None


def test_a_module_with_strategies_of_a_host(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a host, a module's target is those of its classes that are strategies of that host; none is an error."""
    base: Any = stand_in(monkeypatch, "vnpy_ctastrategy.template.CtaTemplate")
    module = ModuleType("my_vnpy_strategies")
    monkeypatch.setitem(sys.modules, "my_vnpy_strategies", module)
    with pytest.raises(InvalidConfiguration, match="my_vnpy_strategies has no strategy of vnpy"):
        instrument(module, host="vnpy")
    body = {"on_bar": lambda _self, _bar: 1 / 0, "__module__": "my_vnpy_strategies"}
    module.Flip = type("Flip", (base,), dict(body))  # type: ignore[attr-defined]
    module.Other = type("Other", (), dict(body))  # type: ignore[attr-defined]
    report = instrument(module, host="vnpy")
    assert report.guarded == ("my_vnpy_strategies:Flip.on_bar",)
    assert instrument("my_vnpy_strategies", host="vnpy").skipped == {
        "my_vnpy_strategies:Flip.on_bar": "guarded already, by another instrument"
    }


def test_a_method_with_other_parameters(monkeypatch: pytest.MonkeyPatch) -> None:
    """A callback that takes `*args` is guarded without the names that the preset would take from its parameters."""
    base: Any = stand_in(monkeypatch, "freqtrade.strategy.interface.IStrategy")

    class Loose(base):  # type: ignore[misc]  # it is made on the way
        def confirm_trade_exit(self, *args: Any) -> bool:
            raise ValueError("bad exit")

        def custom_exit_price(this, trade: Any, *, pair: str) -> float:  # noqa: N805
            raise ValueError("bad price")

    tracker = FailureTracker()
    report = instrument(Loose.__mro__[1], host="freqtrade", tracker=tracker)
    assert report.pending == ()
    (why,) = report.skipped.values()
    assert why.startswith("guarded, but without names of its own")
    assert Loose().confirm_trade_exit("BTC/USDT") is True
    loose: Any = Loose()
    assert loose.custom_exit_price(trade=None, pair="BTC/USDT", proposed_rate=7.5) == 7.5
    assert tracker.symbol_failures == {"unknown": 1, "BTC/USDT": 1}
    assert tracker.strategy_failures == {"Loose": 2}
