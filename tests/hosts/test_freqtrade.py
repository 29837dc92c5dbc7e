"""freqtrade: its own backtesting and its own dry run, offline, of strategies that only the preset guards."""

from __future__ import annotations

import importlib
import inspect
import itertools
import logging
import socket
import subprocess
import sys
import textwrap
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar, NamedTuple, Self

import pytest

from guarded import (
    FailureTracker,
    Instrumentation,
    guarded_strategy,
    instrument,
    is_guarded,
    set_mode,
    uninstrument,
)
from guarded.testing import fresh_tracker

pytestmark = pytest.mark.hosts_heavy

IStrategy: Any = pytest.importorskip("freqtrade.strategy").IStrategy
time_machine: Any = pytest.importorskip("time_machine")
cloudpickle: Any = pytest.importorskip("cloudpickle")
numpy: Any = pytest.importorskip("numpy")
pandas: Any = pytest.importorskip("pandas")


def of_freqtrade(module: str, name: str) -> Any:
    return getattr(importlib.import_module(f"freqtrade.{module}"), name)


Backtesting = of_freqtrade("optimize.backtesting", "Backtesting")
Exchange = of_freqtrade("exchange.exchange", "Exchange")
FreqtradeBot = of_freqtrade("freqtradebot", "FreqtradeBot")
OperationalException = of_freqtrade("exceptions", "OperationalException")
RunMode = of_freqtrade("enums", "RunMode")
StrategyError = of_freqtrade("exceptions", "StrategyError")
StrategyResolver = of_freqtrade("resolvers.strategy_resolver", "StrategyResolver")
Trade = of_freqtrade("persistence", "Trade")

CANDLE = timedelta(minutes=5)
STARTS = datetime(2025, 1, 10, tzinfo=UTC)  # the dry run; what is before that is history
PAIRS = ("ETH/USDT", "BTC/USDT", "LTC/USDT")
POPULATE = ("populate_indicators", "populate_entry_trend", "populate_exit_trend")


# -- the strategies: their source is what freqtrade loads from a file


class Signals(IStrategy):  # type: ignore[misc]  # it has no types
    """Enters at every fourth candle. ETH is left at a signal two candles later."""

    INTERFACE_VERSION = 3
    timeframe = "5m"
    stoploss = -0.2
    minimal_roi: ClassVar = {"0": 10}
    startup_candle_count = 0
    fails: frozenset[str] = frozenset()
    calls: ClassVar[list[str]] = []

    def called(self, name: str) -> None:
        self.calls.append(name)
        if name in self.fails:
            raise ZeroDivisionError(name)

    def populate_indicators(self, dataframe: Any, metadata: dict[str, str]) -> Any:
        self.called("populate_indicators")
        dataframe["n"] = range(len(dataframe))
        return dataframe

    def populate_entry_trend(self, dataframe: Any, metadata: dict[str, str]) -> Any:
        dataframe.loc[dataframe["n"] % 4 == 0, "enter_long"] = 1
        self.called("populate_entry_trend")  # the worst that can be: the signals are written
        return dataframe

    def populate_exit_trend(self, dataframe: Any, metadata: dict[str, str]) -> Any:
        dataframe.loc[(dataframe["n"] % 4 == 2) & (metadata["pair"] == "ETH/USDT"), "exit_long"] = 1
        self.called("populate_exit_trend")
        return dataframe


class Often(Signals):
    """Has all the callbacks. BTC is left by custom_exit after two candles, LTC at a stop that is close."""

    use_custom_stoploss = True
    use_custom_roi = True
    position_adjustment_enable = True

    def bot_start(self, **kwargs: Any) -> None:
        self.called("bot_start")

    def bot_loop_start(self, current_time: datetime, **kwargs: Any) -> None:
        self.called("bot_loop_start")

    def informative_pairs(self) -> list[tuple[str, str]]:
        self.called("informative_pairs")
        return []

    def confirm_trade_entry(
        self,
        pair: str,
        order_type: str,
        amount: float,
        rate: float,
        time_in_force: str,
        current_time: datetime,
        entry_tag: str | None,
        side: str,
        **kwargs: Any,
    ) -> bool:
        self.called("confirm_trade_entry")
        return True

    def confirm_trade_exit(self, pair: str, trade: Any, **kwargs: Any) -> bool:
        self.called("confirm_trade_exit")
        return True

    def custom_stake_amount(self, pair: str, proposed_stake: float, **kwargs: Any) -> float:
        self.called("custom_stake_amount")
        return proposed_stake / 2

    def custom_entry_price(self, pair: str, trade: Any, proposed_rate: float, **kwargs: Any) -> float:
        self.called("custom_entry_price")
        return proposed_rate

    def custom_exit_price(self, pair: str, trade: Any, proposed_rate: float, **kwargs: Any) -> float:
        self.called("custom_exit_price")
        return proposed_rate

    def custom_exit(self, pair: str, trade: Any, current_time: datetime, **kwargs: Any) -> str | None:
        self.called("custom_exit")
        is_due = (current_time - trade.open_date_utc).total_seconds() >= 540
        return "late" if is_due and pair == "BTC/USDT" else None

    def custom_stoploss(
        self,
        pair: str,
        trade: Any,
        current_time: datetime,
        current_rate: float,
        current_profit: float,
        after_fill: bool,
        **kwargs: Any,
    ) -> float | None:
        self.called("custom_stoploss")
        return -0.0001 if pair == "LTC/USDT" else -0.1

    def custom_roi(self, pair: str, trade: Any, **kwargs: Any) -> float | None:
        self.called("custom_roi")
        return None

    def leverage(self, pair: str, proposed_leverage: float, **kwargs: Any) -> float:
        self.called("leverage")
        return 3.0

    def adjust_trade_position(self, trade: Any, current_time: datetime, **kwargs: Any) -> float | None:
        self.called("adjust_trade_position")
        return None

    def adjust_entry_price(
        self, trade: Any, order: Any, pair: str, current_time: datetime, current_order_rate: float, **kwargs: Any
    ) -> float | None:
        self.called("adjust_entry_price")
        return None

    def adjust_exit_price(
        self, trade: Any, order: Any, pair: str, current_time: datetime, current_order_rate: float, **kwargs: Any
    ) -> float | None:
        self.called("adjust_exit_price")
        return None

    def check_entry_timeout(self, pair: str, trade: Any, order: Any, **kwargs: Any) -> bool:
        self.called("check_entry_timeout")
        return True

    def check_exit_timeout(self, pair: str, trade: Any, order: Any, **kwargs: Any) -> bool:
        self.called("check_exit_timeout")
        return True

    def order_filled(self, pair: str, trade: Any, order: Any, **kwargs: Any) -> None:
        self.called("order_filled")


class Adjusting(Signals):
    """Names its parameters in its own way, and adjusts prices of entries and exits in one place."""

    def populate_entry_trend(self, df: Any, meta: dict[str, str]) -> Any:
        return super().populate_entry_trend(df, meta)

    def adjust_order_price(self, trade: Any, order: Any, pair: str, **kwargs: Any) -> float | None:
        self.called("adjust_order_price")
        return None


class Resizing(Signals):
    """Takes a part of each position out, or puts a part in, at every candle."""

    position_adjustment_enable = True
    change = 0.0

    def adjust_trade_position(self, trade: Any, current_time: datetime, **kwargs: Any) -> float | None:
        return float(trade.stake_amount * self.change)


CLASSES = (Signals, Often, Adjusting, Resizing)
SOURCE = "\n\n".join(
    (
        "from __future__ import annotations",
        "from datetime import datetime",
        "from typing import Any, ClassVar",
        "from freqtrade.strategy import IStrategy",
        *map(inspect.getsource, CLASSES),
    )
)
CALLBACKS = {cls.__name__: [name for name in vars(cls) if hasattr(IStrategy, name)] for cls in CLASSES}
METHODS = [
    (owner, name)
    for owner, names in CALLBACKS.items()
    for name in names
    if inspect.isfunction(getattr(IStrategy, name))
]


# -- freqtrade, offline


def market(pair: str) -> dict[str, Any]:
    base, quote = pair.split("/")
    return {
        "id": base + quote,
        "symbol": pair,
        "base": base,
        "quote": quote,
        "active": True,
        "spot": True,
        "type": "spot",
        "contract": False,
        "swap": False,
        "future": False,
        "option": False,
        "margin": False,
        "linear": None,
        "inverse": None,
        "taker": 0.001,
        "maker": 0.001,
        "precision": {"amount": 1e-5, "price": 1e-2},
        "limits": {
            "amount": {"min": 1e-5, "max": 1e8},
            "price": {"min": 1e-2, "max": 1e9},
            "cost": {"min": 1, "max": None},
            "leverage": {"min": None, "max": None},
        },
        "info": {},
    }


def candles(seed: int) -> Any:
    history, run = 240, 40
    chance = numpy.random.default_rng(seed)
    close = 1_000 * numpy.exp(numpy.cumsum(chance.normal(0, 0.002, history + run)))
    opened = numpy.append(1_000, close[:-1])
    return pandas.DataFrame(
        {
            "date": pandas.date_range(STARTS - history * CANDLE, periods=history + run, freq=CANDLE).as_unit("ms"),
            "open": opened,
            "high": numpy.maximum(opened, close) * 1.001,
            "low": numpy.minimum(opened, close) * 0.999,
            "close": close,
            "volume": chance.uniform(10, 100, history + run),
        }
    )


DATA = {pair: candles(seed) for seed, pair in enumerate(PAIRS)}


def shown(pair: str) -> Any:
    """The candles that are complete by now."""
    frame = DATA[pair]
    return frame[frame["date"] <= datetime.now(UTC) - CANDLE].reset_index(drop=True)


def ticker(_exchange: object, pair: str) -> dict[str, Any]:
    price = float(shown(pair)["close"].iloc[-1])
    return {"symbol": pair, "bid": price, "ask": price, "last": price}


def order_book(_exchange: object, pair: str, limit: int = 100) -> dict[str, Any]:
    price = float(shown(pair)["close"].iloc[-1])
    return {"symbol": pair, "bids": [[price, 1e4]] * 5, "asks": [[price, 1e4]] * 5}


def refresh(exchange: Any, pairs: list[Any], **_: Any) -> dict[Any, Any]:
    exchange._klines.update({(pair, *rest): shown(pair) for pair, *rest in pairs})
    return {}


def no_network(host: str, *_: object) -> None:
    raise OSError(f"this test is offline, and asks for {host}")


@pytest.fixture(scope="module", autouse=True)
def _offline() -> Iterator[None]:
    """No network, and no word of the host's."""
    markets = list(map(market, PAIRS))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Exchange, "_load_async_markets", lambda self, reload=False: self._api_async.set_markets(markets))
        patch.setattr(Exchange, "check_time_offset", lambda self: None)
        patch.setattr(Exchange, "fetch_ticker", ticker)
        patch.setattr(Exchange, "get_tickers", lambda self, **_: {pair: ticker(self, pair) for pair in PAIRS})
        patch.setattr(Exchange, "fetch_l2_order_book", order_book)
        patch.setattr(Exchange, "refresh_latest_ohlcv", refresh)
        patch.setattr(socket, "getaddrinfo", no_network)
        patch.setattr(logging.root.manager, "disable", logging.CRITICAL)
        yield


@pytest.fixture(autouse=True)
def _nothing_left(tracker: FailureTracker) -> Iterator[None]:
    yield
    uninstrument()


@pytest.fixture
def counting() -> Iterator[FailureTracker]:
    """A tracker that counts and never halts."""
    with fresh_tracker(failure_threshold=1_000_000, reset_window=None) as tracker:
        yield tracker


@pytest.fixture
def halting() -> Iterator[FailureTracker]:
    """A tracker that halts at the third failure, however long after the second."""
    with fresh_tracker(failure_threshold=3, reset_window=None) as tracker:
        yield tracker


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The user's folder of strategies."""
    made = tmp_path_factory.mktemp("strategies")
    (made / "often.py").write_text(SOURCE, encoding="utf-8")
    return made


Load = Callable[..., Any]


@pytest.fixture
def load(folder: Path) -> Load:
    """Makes the strategies anew, as an import does, and gives one of them."""
    numbers = itertools.count()

    def loaded(name: str = "Often", *fails: str) -> Any:
        spec = importlib.util.spec_from_file_location(f"my_bot_{next(numbers)}", folder / "often.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        cls = getattr(module, name)
        cls.fails, cls.calls = frozenset(fails), []
        return cls

    return loaded


def config(
    folder: Path, name: str, runmode: Any, pairs: tuple[str, ...] = PAIRS, *, trading_mode: str = "spot"
) -> dict[str, Any]:
    kind = "market" if runmode == RunMode.DRY_RUN else "limit"  # only limit orders have prices of the strategy's own
    orders = {"entry": kind, "exit": kind, "stoploss": "market", "stoploss_on_exchange": False}
    pricing = {"price_side": "other", "use_order_book": False}
    return {
        "strategy": name,
        "strategy_path": str(folder),
        "user_data_dir": folder,
        "datadir": folder,
        "runmode": runmode,
        "dry_run": True,
        "dry_run_wallet": 10_000,
        "timeframe": "5m",
        "stake_currency": "USDT",
        "stake_amount": 100,
        "max_open_trades": len(pairs),
        "tradable_balance_ratio": 0.99,
        "dataformat_ohlcv": "feather",
        "fee": 0.001,
        "export": "none",
        "trading_mode": trading_mode,
        "margin_mode": "",
        "exchange": {
            "name": "binance",
            "key": "",
            "secret": "",
            "pair_whitelist": list(pairs),
            "pair_blacklist": [],
            "enable_ws": False,
        },
        "pairlists": [{"method": "StaticPairList"}],
        "order_types": orders,
        "entry_pricing": pricing,
        "exit_pricing": pricing,
        "unfilledtimeout": {"entry": 10, "exit": 10, "unit": "minutes"},
        "db_url": "sqlite://",
        "initial_state": "running",
        "cancel_open_orders_on_exit": False,
        "internals": {},
    }


class Ran(NamedTuple):
    """What came of a backtest."""

    trades: int
    exits: dict[str, int]
    stake: float | None
    strategy: Any


class Host(NamedTuple):
    """freqtrade, for strategies that are classes or the names of classes in files."""

    folder: Path
    patch: pytest.MonkeyPatch

    def config(self, strategy: Any, runmode: Any, *pairs: str) -> dict[str, Any]:
        """A configuration of a strategy; a class is what the resolver finds."""
        self.patch.undo()
        if not isinstance(strategy, str):
            self.patch.setattr(StrategyResolver, "_load_object", lambda *_, kwargs, **__: strategy(**kwargs))
        return config(
            self.folder, strategy if isinstance(strategy, str) else strategy.__name__, runmode, pairs or PAIRS
        )

    def backtest(self, strategy: Any, *fails: str) -> Ran:
        """Run freqtrade's backtesting."""
        backtesting = Backtesting(self.config(strategy, RunMode.BACKTEST))
        try:
            loaded = backtesting.strategylist[0]
            cls = type(loaded)
            cls.fails = frozenset(fails) or cls.fails
            backtesting._set_strategy(loaded)
            processed = loaded.advise_all_indicators({pair: frame.copy() for pair, frame in DATA.items()})
            first, last = DATA[PAIRS[0]]["date"].iloc[[0, -1]]
            trades = backtesting.backtest(processed=processed, start_date=first, end_date=last)["results"]
        finally:
            Backtesting.cleanup()
            backtesting.exchange.close()
        exits = dict(Counter(trades["exit_reason"])) if len(trades) else {}
        return Ran(len(trades), exits, float(trades["stake_amount"].mean()) if len(trades) else None, cls)

    def dry_run(self, strategy: Any) -> DryRun:
        """Make a bot that trades on paper, at a clock that stands at the first candle."""
        return DryRun(self.config(strategy, RunMode.DRY_RUN))


class DryRun:
    """A bot; each step is a new candle."""

    def __init__(self, settings: dict[str, Any]) -> None:
        self._travel = time_machine.travel(STARTS + timedelta(seconds=30), tick=False)
        self._clock = self._travel.start()
        self.bot = FreqtradeBot(settings)
        try:
            self.bot.startup()
        except StrategyError:
            self.__exit__()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.bot.cleanup()
        self._travel.stop()

    @property
    def cls(self) -> Any:
        return type(self.bot.strategy)

    def step(self, count: int = 1) -> tuple[int, int]:
        """How many trades were entered, and how many left."""
        entered = left = 0
        for _ in range(count):
            before = {trade.id for trade in Trade.get_open_trades()}
            self.bot.process()
            after = {trade.id for trade in Trade.get_open_trades()}
            entered, left = entered + len(after - before), left + len(before - after)
            self._clock.shift(CANDLE)
        return entered, left


@pytest.fixture
def host(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    return Host(folder, monkeypatch)


def by_instrument(load: Load, name: str = "Often") -> Any:
    cls = load(name)
    instrument(cls)
    return cls


def by_decorator(load: Load, name: str = "Often") -> Any:
    return guarded_strategy(load(name))


def by_hook(load: Load, name: str = "Often") -> Any:
    instrument(host="freqtrade")
    return load(name)


def by_file(load: Load, name: str = "Often") -> Any:
    instrument(host="freqtrade")
    return name


BY_WAY = pytest.mark.parametrize("way", [by_instrument, by_decorator, by_hook, by_file])
Way = Callable[..., Any]


# -- entries


class TestTheGate:
    @BY_WAY
    def test_a_confirmation_that_raises_is_an_entry_unguarded_and_none_guarded(
        self, host: Host, load: Load, way: Way, counting: FailureTracker
    ) -> None:
        """Where confirm_trade_entry always raises, freqtrade enters every trade; guarded it enters none."""
        unguarded = host.backtest(load(), "confirm_trade_entry")
        guarded = host.backtest(way(load), "confirm_trade_entry")
        assert unguarded.trades > 100
        assert guarded.trades == 0
        assert is_guarded(guarded.strategy.confirm_trade_entry)
        assert set(counting.strategy_failures) == {"Often"}
        assert set(counting.symbol_failures) == set(PAIRS)
        assert counting.total_failures > 100
        assert {failure.error for failure in counting.failure_history} == {"ZeroDivisionError: confirm_trade_entry"}

    def test_what_is_healthy_trades_as_before(self, host: Host, load: Load, counting: FailureTracker) -> None:
        """A guarded strategy whose callbacks work makes the trades that it made unguarded."""
        unguarded = host.backtest(load())
        guarded = host.backtest(by_instrument(load))
        assert guarded[:3] == unguarded[:3]
        assert set(guarded.exits) >= {"exit_signal", "late", "trailing_stop_loss"}
        assert counting.total_failures == 0

    @BY_WAY
    def test_the_third_failure_halts_although_analyses_succeed_between(
        self, host: Host, load: Load, way: Way, halting: FailureTracker
    ) -> None:
        """In a dry run the third confirmation that raises halts trading, with analyses that work between them."""
        with DryRun(host.config(way(load), RunMode.DRY_RUN, "ETH/USDT")) as run:
            run.cls.fails, run.cls.calls = frozenset({"confirm_trade_entry"}), []
            assert run.step(12) == (0, 0)
            assert Trade.get_trades().all() == []
            calls = [name for name in run.cls.calls if name in {"confirm_trade_entry", *POPULATE}]
        failed_at = [at for at, name in enumerate(calls) if name == "confirm_trade_entry"]
        assert len(failed_at) == 3
        for one, other in itertools.pairwise(failed_at):
            assert set(calls[one:other]) >= set(POPULATE)
        assert halting.strategy_failures == {"Often": 3}
        assert halting.symbol_failures == {"ETH/USDT": 3}
        assert halting.halt_reason is not None
        assert "3 consecutive failures" in halting.halt_reason

    def test_confirmations_of_several_pairs_that_raise_halt(
        self, host: Host, load: Load, halting: FailureTracker
    ) -> None:
        """Where confirm_trade_entry raises for every pair, nothing is entered, and trading halts."""
        with host.dry_run(load("Often", "confirm_trade_entry")) as run:
            assert run.step(12)[0] >= len(PAIRS)
        with host.dry_run(by_instrument(load)) as run:
            run.cls.fails = frozenset({"confirm_trade_entry"})
            assert run.step(12) == (0, 0)
        assert halting.halt_triggered
        assert halting.refusals > 0
        assert max(halting.symbol_failures.values()) <= 3

    @BY_WAY
    def test_a_strategy_without_a_confirmation_has_a_gate_too(
        self, host: Host, load: Load, way: Way, counting: FailureTracker
    ) -> None:
        """A strategy that inherits confirm_trade_entry enters nothing while trading is halted, and trades after it."""
        strategy = way(load, "Signals")
        assert host.backtest(strategy).trades > 50
        counting.halt_manager.trigger_halt("drawdown", "drawdown", by="ana")
        halted = host.backtest(strategy)
        assert halted.trades == 0
        assert "IStrategy" in halted.strategy.confirm_trade_entry.__qualname__
        counting.resume(by="ana", reason="flat")
        assert host.backtest(strategy).trades > 50

    def test_the_inherited_gate_holds_by_itself(self, host: Host, load: Load, counting: FailureTracker) -> None:
        """Signals that were there before the halt are refused by the gate that a strategy inherits."""
        with host.dry_run(by_instrument(load, "Signals")) as run:
            run.bot.strategy.process_only_new_candles = True
            run.bot.strategy.populate_entry_trend = load("Signals").populate_entry_trend.__get__(run.bot.strategy)
            counting.halt_manager.trigger_halt("drawdown", "drawdown", by="ana")
            assert run.step(5) == (0, 0)
            assert counting.refusals >= len(PAIRS)
            counting.resume(by="ana", reason="flat")
            assert run.step(5)[0] >= len(PAIRS)

    def test_the_host_itself_stays_as_it_is(self, load: Load) -> None:
        """The IStrategy of freqtrade is not guarded, and a strategy is as it was once the guards are off."""
        before = dict(vars(IStrategy))
        cls = load()
        own = dict(vars(cls))
        instrument(cls)
        assert not is_guarded(IStrategy.confirm_trade_entry)
        uninstrument(cls)
        assert {name: vars(cls)[name] for name in own if name in vars(cls)} == own
        assert set(vars(cls)) - set(own) <= {"__init_subclass__"}
        instrument(host="freqtrade")
        assert not is_guarded(IStrategy.confirm_trade_entry)
        uninstrument("freqtrade")
        assert dict(vars(IStrategy)) == before

    def test_a_stake_that_raises_is_no_entry(self, host: Host, load: Load, counting: FailureTracker) -> None:
        """Where custom_stake_amount raises, freqtrade enters with its own stake; guarded it does not enter."""
        healthy = host.backtest(load())
        unguarded = host.backtest(load(), "custom_stake_amount")
        guarded = host.backtest(by_instrument(load), "custom_stake_amount")
        assert unguarded.stake == pytest.approx(100, rel=0.01)
        assert healthy.stake == pytest.approx(50, rel=0.01)
        assert unguarded.trades > 100
        assert guarded.trades == 0
        assert set(counting.symbol_failures) == set(PAIRS)

    def test_an_entry_price_that_raises_is_the_proposed_one(
        self, host: Host, load: Load, counting: FailureTracker
    ) -> None:
        """Where custom_entry_price raises, entries are made at the price that freqtrade proposes, on the record."""
        healthy = host.backtest(load())
        guarded = host.backtest(by_instrument(load), "custom_entry_price")
        assert guarded[:3] == healthy[:3]
        assert counting.total_failures >= guarded.trades


# -- signals


class TestAnalyses:
    @BY_WAY
    @pytest.mark.parametrize("name", POPULATE)
    def test_an_analysis_that_raises_ends_a_backtest_unguarded_and_enters_nothing_guarded(
        self, host: Host, load: Load, way: Way, name: str, counting: FailureTracker
    ) -> None:
        """A populate_* that raises, after it wrote signals, ends a backtest; guarded that goes on without a trade."""
        with pytest.raises(ZeroDivisionError, match=name):
            host.backtest(load(), name)
        assert host.backtest(way(load), name).trades == 0
        assert counting.strategy_failures == {"Often": len(PAIRS)}
        assert counting.symbol_failures == dict.fromkeys(PAIRS, 1)
        assert f"ZeroDivisionError: {name}" in {failure.error for failure in counting.failure_history}

    @pytest.mark.parametrize("name", POPULATE)
    def test_a_dry_run_goes_on_without_entries_and_exits_by_what_still_works(
        self, host: Host, load: Load, name: str, counting: FailureTracker
    ) -> None:
        """Once a populate_* raises, nothing is entered, and custom_exit and stops go on to close what is open."""
        with host.dry_run(by_instrument(load)) as run:
            run.step(2)
            assert Trade.get_open_trade_count() == len(PAIRS)
            run.cls.fails = frozenset({name})
            entered, left = run.step(12)
            assert entered == 0
            assert left >= 2
            by_signal = {trade.pair for trade in Trade.get_open_trades()}
            assert by_signal == (set() if name == "populate_entry_trend" else {"ETH/USDT"})
            run.cls.fails = frozenset()
            assert run.step(5)[0] > 0
        assert f"ZeroDivisionError: {name}" in {failure.error for failure in counting.failure_history}

    def test_old_signals_are_not_acted_upon(self, host: Host, load: Load, counting: FailureTracker) -> None:
        """Where an analysis raises a candle after a signal that nobody acted upon, that signal is not acted upon."""
        entered = []
        for strategy in (load(), by_instrument(load)):
            with host.dry_run(strategy) as run:
                run.step()
                run.bot.config["max_open_trades"] = 0
                run.step()
                run.bot.config["max_open_trades"] = len(PAIRS)
                run.cls.fails = frozenset({"populate_entry_trend"})
                entered.append(run.step(3)[0])
        assert entered == [len(PAIRS), 0]

    def test_parameters_of_other_names(self, host: Host, load: Load, counting: FailureTracker) -> None:
        """A strategy with its own names for the frame and the metadata is guarded alike, and a failure counts once."""
        assert host.backtest(by_instrument(load, "Adjusting"), "populate_entry_trend").trades == 0
        assert counting.strategy_failures == {"Adjusting": len(PAIRS)}
        assert counting.symbol_failures == dict.fromkeys(PAIRS, 1)

    def test_informative_pairs_that_raise_do_not_leave_process(
        self, host: Host, load: Load, counting: FailureTracker
    ) -> None:
        """informative_pairs that raises ends the bot's loop with its exception; guarded the bot trades on."""
        with host.dry_run(load()) as run:
            run.step(2)
            run.cls.fails = frozenset({"informative_pairs"})
            with pytest.raises(ZeroDivisionError, match="informative_pairs"):
                run.step()
        with host.dry_run(by_instrument(load)) as run:
            run.step(2)
            run.cls.fails = frozenset({"informative_pairs"})
            entered, left = run.step(6)
        assert entered > 0
        assert left > 0
        assert set(counting.symbol_failures) == {"*"}
        assert counting.total_failures >= 6


# -- exits


class TestExits:
    @pytest.mark.parametrize(
        "name",
        ["confirm_trade_exit", "custom_exit", "custom_stoploss", "custom_roi", "custom_exit_price", "order_filled"],
    )
    def test_an_exit_callback_that_raises_leaves_exits_as_unguarded(
        self, host: Host, load: Load, name: str, counting: FailureTracker
    ) -> None:
        """What freqtrade makes of an exit's callback that raises, it makes of the guarded one, and it is on record."""
        unguarded = host.backtest(load(), name)
        guarded = host.backtest(by_instrument(load), name)
        assert unguarded.trades > 50
        assert guarded[:3] == unguarded[:3]
        assert set(counting.strategy_failures) == {"Often"}
        assert set(counting.symbol_failures) >= {"ETH/USDT", "BTC/USDT"}

    @BY_WAY
    def test_while_halted_nothing_is_entered_and_everything_is_left(
        self, host: Host, load: Load, way: Way, counting: FailureTracker
    ) -> None:
        """A halt with trades open: no entry, an exit by signal, custom_exit and stop each, and entries once resumed."""
        with host.dry_run(way(load)) as run:
            assert run.step(2) == (len(PAIRS), 0)
            counting.halt_manager.trigger_halt("drawdown", "drawdown", by="ana")
            halted = run.step(12)
            assert halted == (0, len(PAIRS))
            exits = {trade.pair: trade.exit_reason for trade in Trade.get_trades()}
            assert exits == {"ETH/USDT": "exit_signal", "BTC/USDT": "late", "LTC/USDT": "trailing_stop_loss"}
            counting.resume(by="ana", reason="flat")
            resumed = run.step(5)
        assert resumed[0] >= len(PAIRS)
        assert counting.total_failures == 0
        assert counting.refusals > 0

    def test_while_halted_a_part_of_a_position_is_taken_out_and_none_put_in(
        self, host: Host, load: Load, counting: FailureTracker
    ) -> None:
        """adjust_trade_position at a halt: the host sells the part that it asks for, and buys nothing more."""
        with host.dry_run(by_instrument(load, "Resizing")) as run:
            run.step(2)
            (before,) = {
                trade.pair: trade.amount for trade in Trade.get_open_trades() if trade.pair == "BTC/USDT"
            }.values()
            counting.halt_manager.trigger_halt("drawdown", "drawdown", by="ana")
            amounts = []
            for change in (0.5, -0.5, 0.5):
                run.cls.change = change
                run.step()
                amounts += [trade.amount for trade in Trade.get_open_trades() if trade.pair == "BTC/USDT"]
            counting.resume(by="ana", reason="flat")
            run.step()
            (topped_up,) = (trade.amount for trade in Trade.get_open_trades() if trade.pair == "BTC/USDT")
        half = pytest.approx(before / 2, rel=0.01)
        assert amounts == [before, half, half]
        assert topped_up > amounts[-1]
        assert counting.total_failures == 0

    def test_while_halted_exits_whose_confirmation_raises_go_through(
        self, host: Host, load: Load, halting: FailureTracker
    ) -> None:
        """confirm_trade_exit that always raises halts trading, and still no exit is held back."""
        with host.dry_run(by_instrument(load)) as run:
            run.step(2)
            run.cls.fails = frozenset({"confirm_trade_exit"})
            _, left = run.step(12)
            assert Trade.get_open_trade_count() == 0
        assert halting.halt_triggered
        assert left >= len(PAIRS)


# -- what single calls give


PAIR = "ETH/USDT"
NOW = STARTS
TRADE = SimpleNamespace(pair=PAIR, open_date_utc=NOW)
COMMON = {"pair": PAIR, "current_time": NOW}
OF_TRADE = {**COMMON, "trade": TRADE}
RATES = {"proposed_rate": 101.5, "current_order_rate": 99.5, "entry_tag": None, "side": "long"}
SUBSTITUTES: list[tuple[str, str, dict[str, Any], Any]] = [
    ("Often", "leverage", {**COMMON, "proposed_leverage": 1.0, "max_leverage": 5.0, "side": "long"}, 1.0),
    ("Often", "custom_stake_amount", {**COMMON, "proposed_stake": 100.0, "min_stake": 10.0}, 0),
    ("Often", "custom_entry_price", {**OF_TRADE, **RATES}, 101.5),
    ("Often", "custom_exit_price", {**OF_TRADE, **RATES}, 101.5),
    ("Often", "adjust_entry_price", {**OF_TRADE, **RATES, "order": None}, None),
    ("Often", "adjust_exit_price", {**OF_TRADE, **RATES, "order": None}, 99.5),
    ("Adjusting", "adjust_order_price", {**OF_TRADE, **RATES, "order": None, "is_entry": True}, None),
    ("Adjusting", "adjust_order_price", {**OF_TRADE, **RATES, "order": None, "is_entry": False}, 99.5),
    ("Often", "adjust_trade_position", {"trade": TRADE, "current_time": NOW}, None),
    ("Often", "check_entry_timeout", {**OF_TRADE, "order": None}, False),
    ("Often", "check_exit_timeout", {**OF_TRADE, "order": None}, False),
    ("Often", "custom_roi", OF_TRADE, None),
    ("Often", "order_filled", {**OF_TRADE, "order": None}, None),
    ("Often", "bot_loop_start", {"current_time": NOW}, None),
]
REFUSED = {
    "custom_stake_amount", "custom_entry_price", "adjust_trade_position", "adjust_entry_price", "adjust_order_price",
}  # fmt: skip


class TestSingleCalls:
    @pytest.mark.parametrize(("owner", "name", "kwargs", "expected"), SUBSTITUTES, ids=[one[1] for one in SUBSTITUTES])
    def test_what_a_callback_that_raises_gives(
        self, load: Load, owner: str, name: str, kwargs: dict[str, Any], expected: object, counting: FailureTracker
    ) -> None:
        """A callback that raises gives what freqtrade takes for "nothing", and the failure is of its class and pair."""
        cls = by_instrument(load, owner)
        strategy = cls({})
        healthy = getattr(strategy, name)(**kwargs)
        cls.fails = frozenset({name})
        given = getattr(strategy, name)(**kwargs)
        assert given == expected
        assert type(given) is type(expected)
        assert counting.strategy_failures == {owner: 1}
        assert counting.symbol_failures == {"*" if name == "bot_loop_start" else PAIR: 1}
        cls.fails = frozenset()
        counting.halt_manager.trigger_halt("drawdown", "drawdown", by="ana")
        assert getattr(strategy, name)(**kwargs) == (expected if name in REFUSED else healthy)

    def test_what_the_host_makes_of_adjustments_that_raise(self, load: Load, counting: FailureTracker) -> None:
        """What freqtrade has for adjust_order_price cancels an entry, keeps an exit, and adjusts no position."""
        cls = by_instrument(load)
        cls.fails = frozenset({"adjust_entry_price", "adjust_exit_price", "adjust_trade_position"})
        strategy = cls({})
        for is_entry, price in (True, None), (False, 99.5):
            assert strategy.adjust_order_price(**OF_TRADE, **RATES, order=None, is_entry=is_entry) == price
        names = list(inspect.signature(IStrategy._adjust_trade_position_internal).parameters)[1:-1]
        assert strategy._adjust_trade_position_internal(**dict.fromkeys(names, 0.0) | {"trade": TRADE}) == (None, "")
        assert counting.symbol_failures == {PAIR: 3}

    def test_a_bot_does_not_start_with_a_strategy_that_could_not(
        self, host: Host, load: Load, counting: FailureTracker
    ) -> None:
        """bot_start that raises is on record, and goes on to freqtrade, which does not start."""
        cls = by_instrument(load)
        cls.fails = frozenset({"bot_start"})
        with pytest.raises(StrategyError, match="bot_start"):
            host.dry_run(cls)
        assert counting.symbol_failures == {"*": 1}


# -- identity


QUESTIONS: list[Callable[[Any], object]] = [
    inspect.signature,
    inspect.getfullargspec,
    inspect.isfunction,
    inspect.getsource,
    lambda function: (function.__qualname__, function.__name__, function.__doc__),
]


class TestIdentity:
    @pytest.mark.parametrize(("owner", "name"), METHODS)
    def test_what_the_host_may_ask_of_a_callback_is_as_before(
        self, load: Load, folder: Path, owner: str, name: str
    ) -> None:
        """Signature, argument names, source and qualified name of every callback are those of the unguarded one."""
        cls = load(owner)
        before = [ask(getattr(cls, name)) for ask in QUESTIONS]
        assert not is_guarded(getattr(cls, name))
        report = instrument(cls)
        assert isinstance(report, Instrumentation)
        assert is_guarded(getattr(cls, name)), report
        assert [ask(getattr(cls, name)) for ask in QUESTIONS] == before
        assert [ask(getattr(cls({}), name).__func__) for ask in QUESTIONS] == before

    @pytest.mark.parametrize("owner", list(CALLBACKS))
    @pytest.mark.parametrize("trading_mode", ["spot", "futures"])
    def test_the_host_accepts_the_guarded_strategy(
        self, load: Load, folder: Path, owner: str, trading_mode: str
    ) -> None:
        """validate_strategy finds in a guarded strategy what it finds in the unguarded one."""
        settings = config(folder, owner, RunMode.BACKTEST, trading_mode=trading_mode)
        found = []
        for cls in (load(owner), by_instrument(load, owner)):
            strategy = StrategyResolver.validate_strategy(cls(settings))
            found.append(strategy._ft_stop_uses_after_fill)
        assert found == [owner == "Often"] * 2

    def test_the_host_still_rejects_what_it_rejects(self, load: Load, folder: Path) -> None:
        """A guard hides no mistake from validate_strategy: here both ways of adjusting an order at once."""

        def both(self: object, **_: Any) -> None: ...

        cls = load()
        cls.adjust_order_price = both
        instrument(cls)
        with pytest.raises(OperationalException, match="adjust_order_price"):
            StrategyResolver.validate_strategy(cls(config(folder, "Often", RunMode.BACKTEST)))

    def test_the_resolver_finds_a_guarded_strategy(self, folder: Path) -> None:
        """load_strategy gives the strategy of a file, all of its callbacks guarded, twice over."""
        instrument(host="freqtrade")
        for _ in range(2):
            strategy = StrategyResolver.load_strategy(config(folder, "Often", RunMode.BACKTEST))
            names = {*CALLBACKS["Signals"], *CALLBACKS["Often"]} & {name for _, name in METHODS}
            assert all(is_guarded(getattr(strategy, name)) for name in names)
            assert Path(strategy.__file__) == folder / "often.py"
            assert "class Often(" in strategy.__source__

    @BY_WAY
    def test_a_strategy_by_value_is_guarded_in_another_process(
        self, host: Host, load: Load, way: Way, tmp_path: Path
    ) -> None:
        """A strategy that cloudpickle takes to another process by value, as hyperopt does, is guarded there."""
        strategy = way(load)
        cls = type(StrategyResolver.load_strategy(host.config(strategy, RunMode.BACKTEST)))
        cls.fails = frozenset({"confirm_trade_entry"})
        assert cls.__module__ not in sys.modules
        (tmp_path / "class.pickle").write_bytes(cloudpickle.dumps(cls))
        code = """
            import pathlib, pickle, sys
            from guarded import get_failure_tracker, is_guarded
            cls = pickle.loads(pathlib.Path(sys.argv[1]).read_bytes())
            assert is_guarded(cls.confirm_trade_entry) and is_guarded(cls.populate_entry_trend)
            given = cls({}).confirm_trade_entry("ETH/USDT", "limit", 1.0, 1.0, "GTC", None, None, "long")
            print(given, get_failure_tracker().get_status()["symbol_failures"])
        """
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(code), str(tmp_path / "class.pickle")],
            check=False, timeout=60, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert done.stdout.split("\n")[-2] == "False {'ETH/USDT': 1}"


def test_strict_mode_hands_the_exception_to_the_host(host: Host, load: Load, counting: FailureTracker) -> None:
    """In strict mode exceptions go on to freqtrade, which takes them for consent: it is for tests, not for trading."""
    strategy = by_instrument(load)
    with set_mode("strict"):
        assert host.backtest(strategy, "confirm_trade_entry").trades > 100
    assert counting.total_failures > 100
