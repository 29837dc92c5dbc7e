"""guarded_signal: what the caller gets, what is recorded, and what passes through, for every kind of callable."""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import pytest
import wrapt
from kinds import (
    Make,
    as_coroutine_function,
    as_function,
    as_partialmethod,
    as_staticmethod_inside,
    call,
    every_kind,
    every_kind_but_async_generators,
    every_kind_but_generators,
    result_of,
)
from pytest_mock import MockerFixture

from guarded import (
    EmergencyHaltManager,
    FailureRules,
    FailureTracker,
    FailureType,
    InvalidConfiguration,
    SignalRejected,
    TradingHalted,
    guarded_signal,
    is_guarded,
    outcome,
    set_mode,
    track_signal,
    validators,
)


def one_over(value: float) -> float:
    return 1 / value


def missing(*_: Any) -> Any:
    nothing: dict[str, Any] = {}
    return nothing["price"]


def raising(error: BaseException) -> Callable[[Any], Any]:
    def body(_value: Any) -> Any:
        raise error

    return body


class TestOutcomeOfACall:
    """What the caller gets, and what is recorded."""

    @every_kind
    def test_a_result_is_returned_as_it_is(self, make: Make, tracker: FailureTracker) -> None:
        """What the strategy returns, falsy or not, reaches the caller, and no failure is recorded."""
        for result in (0, "", [], object()):
            assert call(make(lambda value: value), result) is result
        assert tracker.total_failures == 0
        assert tracker.last_success_time is not None

    @every_kind
    def test_an_exception_becomes_none_and_a_failure(self, make: Make, tracker: FailureTracker) -> None:
        """When the strategy raises, the caller gets None, and the failure is recorded, classified, with its trace."""
        assert call(make(one_over, strategy="VWAP", symbol="AAPL"), 0) is None
        failure = tracker.last_failure
        assert failure is not None
        assert (failure.strategy_name, failure.symbol) == ("VWAP", "AAPL")
        assert failure.failure_type is FailureType.STRATEGY_ERROR
        assert failure.error_type == "ZeroDivisionError"
        assert "in one_over\n    return 1 / value" in (failure.stack_trace or "")

    @every_kind
    def test_reraise_records_and_raises_the_same_exception(self, make: Make, tracker: FailureTracker) -> None:
        """With reraise=True the very same exception reaches the caller, recorded once."""
        error = KeyError("close")
        with pytest.raises(KeyError) as caught:
            call(make(raising(error), reraise=True), 0)
        assert caught.value is error
        assert tracker.total_failures == 1

    @every_kind
    def test_strict_mode_records_and_raises(self, make: Make, tracker: FailureTracker) -> None:
        """In strict mode every guard records, then raises again."""
        with set_mode("strict"), pytest.raises(ZeroDivisionError):
            call(make(one_over), 0)
        assert call(make(one_over), 0) is None
        assert tracker.total_failures == 2

    @every_kind
    def test_off_means_not_decorated(self, make: Make, tracker: FailureTracker) -> None:
        """In mode off a guard does nothing: no record, no refusal, no validation."""
        tracker.halt_manager.trigger_halt("drill")
        with set_mode("off"):
            assert call(make(one_over, validate=lambda _: False), 2) == 0.5
            with pytest.raises(ZeroDivisionError):
                call(make(one_over), 0)
        assert (tracker.total_failures, tracker.refusals, tracker.last_success_time) == (0, 0, None)

    @every_kind_but_async_generators
    def test_no_signal_makes_the_value_that_the_host_needs(self, make: Make, tracker: FailureTracker) -> None:
        """With no_signal= the caller gets its value for the call's arguments, on failure and on refusal."""
        guarded = make(one_over, no_signal=lambda *args: ["no signal", args[-1]])
        assert call(guarded, 0) == ["no signal", 0]
        tracker.halt_manager.trigger_halt("drill")
        assert call(guarded, 5) == ["no signal", 5]

    @every_kind
    def test_wrong_arguments_are_a_failure(self, make: Make, tracker: FailureTracker) -> None:
        """A call with wrong arguments is the strategy's failure like any other."""
        assert call(make(one_over)) is None
        assert tracker.last_failure is not None
        assert tracker.last_failure.error_type == "TypeError"

    @every_kind_but_generators
    def test_what_outcome_tells(self, make: Make, tracker: FailureTracker) -> None:
        """outcome() tells a result from a failure from a refusal, and "no signal" from all of them."""
        guarded = make(lambda value: None if value is None else 1 / value)

        def became(value: Any) -> tuple[Any, Any, bool]:
            result = outcome(guarded, value)
            done = asyncio.run(result_of(result)) if inspect.isawaitable(result) else result
            return done.value, done.failure, done.refused

        assert became(2) == (0.5, None, False)
        assert became(None) == (None, None, False)
        assert became(0) == (None, tracker.last_failure, False)
        tracker.halt_manager.trigger_halt("drill")
        assert became(2) == (None, None, True)

    def test_outcome_of_a_partial(self, tracker: FailureTracker) -> None:
        """outcome() of a partial of something guarded tells what became of the call, with the partial's arguments."""

        @guarded_signal
        def generate(first: float, *, scale: float, offset: float) -> float:
            return first / scale + offset

        partial = functools.partial(generate, 3.0, scale=2.0, offset=1.0)
        assert outcome(partial, offset=0.0).value == 1.5
        assert outcome(partial, scale=0.0).failure is tracker.last_failure

    def test_outcome_of_what_is_not_guarded(self) -> None:
        """outcome() of a function without a guard says so."""
        with pytest.raises(TypeError, match="is not guarded: decorate it with guarded_signal"):
            outcome(one_over, 1)


PASSING: list[type[BaseException]] = [KeyboardInterrupt, SystemExit, GeneratorExit, asyncio.CancelledError]


class TestWhatPasses:
    """What a guard leaves alone."""

    @every_kind
    @pytest.mark.parametrize("kind", PASSING)
    def test_interrupts_pass_through_uncounted(
        self, make: Make, kind: type[BaseException], tracker: FailureTracker
    ) -> None:
        """KeyboardInterrupt, SystemExit, GeneratorExit and cancellation pass through, and count neither way."""
        tracker.record_failure("s", "x", "an error event")
        with pytest.raises(kind):
            call(make(raising(kind())), 0)
        assert (tracker.total_failures, tracker.consecutive_failures) == (1, 1)

    @every_kind
    def test_a_group_with_an_interrupt_passes_through(self, make: Make, tracker: FailureTracker) -> None:
        """A BaseExceptionGroup that holds a cancellation passes through, uncounted."""
        group = BaseExceptionGroup("both", [ValueError("x"), asyncio.CancelledError()])
        with pytest.raises(BaseExceptionGroup):
            call(make(raising(group)), 0)
        assert tracker.total_failures == 0

    @every_kind
    def test_ignored_exceptions_count_neither_way(self, make: Make, tracker: FailureTracker) -> None:
        """An ignored exception gives the caller None, is not counted, and leaves the streak as it is."""
        rules = FailureRules().ignore(LookupError)
        tracker.record_failure("s", "x", "an error event")
        assert call(make(raising(KeyError("x")), rules=rules, reraise=True), 0) is None
        assert (tracker.total_failures, tracker.consecutive_failures) == (1, 1)

    @every_kind
    def test_propagated_exceptions_go_through(self, make: Make, tracker: FailureTracker) -> None:
        """A propagated exception reaches the caller uncounted."""
        rules = FailureRules().propagate(LookupError)
        with pytest.raises(KeyError):
            call(make(raising(KeyError("x")), rules=rules), 0)
        assert tracker.total_failures == 0


class TestValidation:
    """What `validate=` does."""

    @every_kind
    def test_a_rejected_result_is_a_data_error(self, make: Make, tracker: FailureTracker) -> None:
        """What the validator does not accept is a failure, SignalRejected, of type data_error, and becomes None."""
        assert call(make(lambda value: value, validate=validators.finite), float("nan")) is None
        failure = tracker.last_failure
        assert failure is not None
        assert (failure.error_type, failure.failure_type) == ("SignalRejected", FailureType.DATA_ERROR)
        assert "finite did not accept nan" in failure.error_message

    @every_kind
    def test_an_accepted_result_is_returned(self, make: Make, tracker: FailureTracker) -> None:
        """What the validator accepts reaches the caller, and is a success."""
        tracker.record_failure("VWAP", "AAPL", "an error event")
        guarded = make(lambda value: value, strategy="VWAP", symbol="AAPL", validate=validators.finite)
        assert call(guarded, 101.5) == 101.5
        assert (tracker.total_failures, tracker.consecutive_failures) == (1, 0)

    @every_kind
    def test_none_is_not_validated(self, make: Make, tracker: FailureTracker) -> None:
        """None is no signal, and no validator sees it."""
        assert call(make(lambda _: None, validate=lambda _: False), 1) is None
        assert tracker.total_failures == 0

    @pytest.mark.parametrize(
        "verdict",
        [False, 0, None, __import__("numpy").False_, __import__("numpy").array([True, False])],
        ids=["False", "0", "None", "numpy.False_", "array that has no truth"],
    )
    def test_every_verdict_that_is_not_true_rejects(self, verdict: object, tracker: FailureTracker) -> None:
        """A verdict that is false, or that cannot be tested, rejects."""
        assert as_function(one_over, validate=lambda _: verdict)(1) is None
        assert tracker.total_failures == 1

    def test_a_validator_that_raises_rejects(self, tracker: FailureTracker) -> None:
        """A validator that raises makes the call a failure that says so, with the validator's error as its cause."""
        assert as_function(one_over, validate=missing)(1) is None
        assert tracker.last_failure is not None
        assert tracker.last_failure.error_message == "missing raised KeyError: 'price'"

    def test_a_validator_that_returns_an_awaitable_rejects(self, tracker: FailureTracker) -> None:
        """A plain validator that returns a coroutine or a future cannot be tested, so it rejects."""

        async def verdict() -> bool:
            return True

        assert as_function(one_over, validate=lambda _: verdict())(1) is None
        loop = asyncio.new_event_loop()
        assert as_function(one_over, validate=lambda _: loop.create_future())(1) is None
        loop.close()
        assert tracker.total_failures == 2

    @pytest.mark.parametrize("given", [validators.fresh, validators.one_of, lambda _: validators.finite])
    def test_a_validator_that_was_not_called_first_rejects(self, given: Any, tracker: FailureTracker) -> None:
        """A verdict that is a function tells of a factory that was to be called, and rejects."""
        assert as_function(lambda _: 60, validate=given)(1) is None
        assert tracker.last_failure is not None
        assert "a validator such as fresh(60) has to be called" in tracker.last_failure.error_message

    def test_a_validator_without_a_name(self, tracker: FailureTracker) -> None:
        """The validator's repr is looked at only when it rejects, and may raise."""

        class Odd:
            def __call__(self, result: float) -> bool:
                return result > 0

            def __repr__(self) -> str:
                raise RuntimeError("no repr")

        guarded = as_function(lambda value: value, validate=Odd())
        assert guarded(1.0) == 1.0
        assert guarded(-1.0) is None
        assert tracker.last_failure is not None
        assert tracker.last_failure.error_message.endswith("did not accept -1.0")
        as_function(lambda value: value, validate=validators.one_of("long"))("LONG")
        assert tracker.last_failure.error_message == "one_of('long') did not accept 'LONG'"

    def test_a_rejection_is_a_data_error_without_any_rule(self, tracker: FailureTracker) -> None:
        """With rules that say nothing of it, a rejected result is a data error."""
        as_function(one_over, validate=lambda _: False, rules=FailureRules(packs=()))(1)
        assert tracker.type_failures == {FailureType.DATA_ERROR: 1}

    def test_a_rejection_is_raised_under_reraise(self, tracker: FailureTracker) -> None:
        """With reraise=True, and in strict mode, a rejected result raises SignalRejected."""
        with pytest.raises(SignalRejected):
            as_function(one_over, validate=lambda _: False, reraise=True)(1)
        with set_mode("strict"), pytest.raises(SignalRejected):
            as_function(one_over, validate=lambda _: False)(1)
        assert tracker.total_failures == 2

    def test_rules_may_say_otherwise(self, tracker: FailureTracker) -> None:
        """A rule for SignalRejected overrides the type."""
        rules = FailureRules().map(SignalRejected, FailureType.EXECUTION_ERROR)
        as_function(one_over, validate=lambda _: False, rules=rules)(1)
        assert tracker.type_failures == {FailureType.EXECUTION_ERROR: 1}


class TestHalts:
    """What a guard does while trading is halted."""

    @every_kind
    def test_a_halted_call_does_not_run(self, make: Make, tracker: FailureTracker, mocker: MockerFixture) -> None:
        """While halted a call is refused: the body does not run, the caller gets None, and it counts neither way."""
        body = mocker.Mock(return_value="long")
        guarded = make(body)
        tracker.halt_manager.trigger_halt("drill")
        assert call(guarded, 1) is None
        assert body.call_count == 0
        assert (tracker.refusals, tracker.total_failures, tracker.last_success_time) == (1, 0, None)
        tracker.resume(by="ana", reason="drill over")
        assert call(guarded, 1) == "long"

    def test_arguments_of_any_names(self, tracker: FailureTracker) -> None:
        """A call is refused whatever its arguments are called, among them what our own functions call theirs."""

        def quote(**named: float) -> float:
            return named["ask"]

        async def quote_later(**named: float) -> float:
            return named["ask"]

        def quotes(**named: float) -> Iterator[float]:
            yield named["ask"]

        names = ("ask", "otherwise", "self", "args", "kwargs", "tracker", "halt", "guard", "error", "function")
        named = dict.fromkeys(names, 2.0)
        calls = [partial(guarded_signal(function), **named) for function in (quote, quote_later, quotes)]
        assert [call(one) for one in calls] == [2.0, 2.0, 2.0]
        tracker.halt_manager.trigger_halt("drill")
        assert [call(one) for one in calls] == [None, None, None]
        assert (tracker.refusals, tracker.total_failures) == (3, 0)

    @every_kind
    def test_when_halted_run_opts_out(self, make: Make, tracker: FailureTracker) -> None:
        """when_halted="run" runs while halted, and its failures count."""
        tracker.halt_manager.trigger_halt("drill")
        assert call(make(one_over, when_halted="run"), 2) == 0.5
        assert call(make(one_over, when_halted="run"), 0) is None
        assert (tracker.refusals, tracker.total_failures) == (0, 1)

    @every_kind
    @pytest.mark.parametrize(("level", "result"), [("reducing", 0.5), ("halted", None)])
    def test_reduce_only_runs_while_reducing(
        self, make: Make, level: str, result: float | None, tracker: FailureTracker
    ) -> None:
        """A call marked reduce_only still runs at level reducing, not at halted; others are refused at both."""
        tracker.halt_manager.trigger_halt("drawdown", level=level)
        assert call(make(one_over, reduce_only=True), 2) == result
        assert call(make(one_over), 2) is None

    @every_kind
    def test_a_scoped_halt_refuses_its_scope(self, make: Make, tracker: FailureTracker) -> None:
        """A halt of one strategy or symbol refuses that one's calls, and no other's."""
        tracker.halt_manager.trigger_halt("bad feed", symbol="AAPL")
        tracker.halt_manager.trigger_halt("bad model", strategy="RSI", level="reducing")
        assert call(make(one_over, strategy="VWAP", symbol="AAPL"), 2) is None
        assert call(make(one_over, strategy="RSI", symbol="MSFT"), 2) is None
        assert call(make(one_over, strategy="RSI", symbol="MSFT", reduce_only=True), 2) == 0.5
        assert call(make(one_over, strategy="VWAP", symbol="MSFT"), 2) == 0.5
        assert tracker.refusals == 2

    @every_kind
    @pytest.mark.parametrize(("symbol", "filed_under"), [("", "unknown"), ("x" * 201, "x" * 200)])
    def test_a_halt_of_a_symbol_refuses_arguments_that_are_filed_under_it(
        self, make: Make, symbol: str, filed_under: str, tracker: FailureTracker
    ) -> None:
        """A halt of a symbol refuses the calls that are filed under it, also those with an empty or a very long one."""
        guarded = make(lambda value: value, symbol="{value}")
        tracker.halt_manager.trigger_halt("bad feed", symbol=filed_under)
        assert call(guarded, symbol) is None
        assert call(guarded, "AAPL") == "AAPL"
        assert tracker.refusals == 1

    def test_an_empty_symbol_is_refused_by_a_halt_of_the_blocks(self, tracker: FailureTracker) -> None:
        """A call whose symbol is empty is the enclosing block's, and is refused while that symbol is halted."""

        @guarded_signal
        def generate(symbol: str) -> str:
            return "long"

        tracker.halt_manager.trigger_halt("bad feed", symbol="AAPL")
        assert generate("") == "long"
        with track_signal("VWAP", "AAPL", when_halted="run") as signal:
            signal.value = generate("")
        assert signal.value is None
        assert (tracker.refusals, tracker.total_failures) == (1, 0)

    @every_kind
    def test_a_halt_during_a_call_refuses_the_next(self, make: Make, tracker: FailureTracker) -> None:
        """A strategy that halts itself ends the call that it does so in, and is refused from the next one on."""

        def flatten(_value: Any) -> str:
            tracker.halt_manager.trigger_halt("drawdown", strategy="VWAP")
            return "flat"

        guarded = make(flatten, strategy="VWAP", symbol="AAPL")
        assert call(guarded, 0) == "flat"
        assert call(guarded, 0) is None
        assert tracker.refusals == 1

    @every_kind
    def test_a_block_that_is_refused_inside_a_guard_is_a_refusal(self, make: Make, tracker: FailureTracker) -> None:
        """TradingHalted from a block within counts as a refusal: None for the caller, or raised under reraise=True."""

        def body(_value: Any) -> Any:
            with track_signal("VWAP", "AAPL") as signal:
                signal.value = 1
            return signal.value

        tracker.halt_manager.trigger_halt("bad feed", symbol="AAPL")
        assert call(make(body, strategy="Outer", symbol="all"), 0) is None
        with pytest.raises(TradingHalted, match="trading is halted for symbol AAPL"):
            call(make(body, strategy="Outer", symbol="all", reraise=True), 0)
        assert (tracker.refusals, tracker.total_failures) == (2, 0)


class TestNames:
    """Whose failure it is."""

    def test_names_from_templates_callables_and_evidence(self, tracker: FailureTracker) -> None:
        """Names come from templates and callables over the arguments, or from the nearest evidence."""

        class Strategy:
            name = "mean-reversion"

            @guarded_signal(symbol="{bar[symbol]}")
            def templated(self, bar: dict[str, str]) -> float:
                return 1 / 0

            @guarded_signal(strategy=lambda self, bar: self.name.upper(), symbol=lambda self, bar: bar["symbol"] + ".N")
            def called(self, bar: dict[str, str]) -> float:
                return 1 / 0

            @guarded_signal
            def evident(self, ticker: str) -> float:
                return 1 / 0

        strategy = Strategy()
        strategy.templated({"symbol": "AAPL"})
        strategy.called({"symbol": "MSFT"})
        strategy.evident("IBM")
        assert [(f.strategy_name, f.symbol) for f in tracker.failure_history] == [
            ("mean-reversion", "AAPL"),
            ("MEAN-REVERSION", "MSFT.N"),
            ("mean-reversion", "IBM"),
        ]

    def test_names_from_the_enclosing_block(self, tracker: FailureTracker) -> None:
        """A guarded call takes from the enclosing block what it does not know itself."""
        with track_signal("VWAP", "AAPL"):
            as_staticmethod_inside(one_over)(0)
        assert tracker.last_failure is not None
        assert (tracker.last_failure.strategy_name, tracker.last_failure.symbol) == ("VWAP", "AAPL")

    def test_a_symbol_that_only_the_exception_knows(self, tracker: FailureTracker) -> None:
        """A symbol that only the exception names is recorded; the streak is that of the name which a success has."""

        class NoQuote(Exception):
            symbol = "AAPL"

        def sometimes(value: float) -> float:
            if value == 0:
                raise NoQuote
            return value

        guarded = as_function(sometimes, strategy="VWAP")
        for value in (0, 1, 0, 1, 0, 0):
            guarded(value)
        assert tracker.symbol_failures == {"AAPL": 4}
        assert tracker.consecutive_failures == 2
        assert not tracker.halt_triggered
        guarded(0)
        assert tracker.halt_triggered

    @pytest.mark.parametrize("symbol", ["", "x" * 201])
    def test_a_success_has_the_name_that_a_failure_has(self, symbol: str, tracker: FailureTracker) -> None:
        """A success ends the streak that failures of the same argument made, also of an empty or a very long one."""

        @guarded_signal(strategy="VWAP")
        def generate(symbol: str, price: float) -> float:
            return 1 / price

        for _ in range(3):
            generate(symbol, 0)
            generate("AAPL", 1)  # which ends the streak of everything, and leaves that of the symbol
            generate(symbol, 1)
        assert tracker.total_failures == 3
        assert not tracker.halt_triggered

    def test_context_is_resolved_on_failure_only(self, tracker: FailureTracker) -> None:
        """context= is looked at only when a call fails, and an inner block adds to the outer's."""
        asked: list[float] = []

        def look(value: float) -> float:
            asked.append(value)
            return value

        guarded = as_function(one_over, context={"value": look, "text": "{value}!", "venue": "inner"})
        with track_signal(context={"desk": "FX", "venue": "outer"}):
            guarded(4)
            assert asked == []
            guarded(0)
        assert tracker.last_failure is not None
        assert tracker.last_failure.additional_context == {"desk": "FX", "venue": "inner", "value": 0, "text": "0!"}


def raising_rules() -> FailureRules:
    rules = FailureRules()
    rules.classifier(missing)
    return rules


class TestOwnFaults:
    """What is handed to a guard may raise; the outcome of the call stays what it was."""

    @every_kind_but_async_generators
    @pytest.mark.parametrize(
        "settings",
        [
            {"strategy": missing},
            {"symbol": missing},
            {"context": missing},
            {"no_signal": missing},
            {"rules": raising_rules()},
        ],
        ids=["strategy", "symbol", "context", "no_signal", "rules"],
    )
    def test_a_failure_is_recorded_all_the_same(
        self, make: Make, settings: dict[str, Any], tracker: FailureTracker
    ) -> None:
        """A resolver, context, no_signal or rule that raises costs neither the record nor the outcome."""
        assert call(make(one_over, **settings), 0) is None
        assert tracker.total_failures == 1

    @every_kind
    def test_a_fault_while_recording_is_reported(
        self, make: Make, tracker: FailureTracker, mocker: MockerFixture
    ) -> None:
        """If recording itself fails, the caller gets what it would have got, and the fault is counted."""
        before = tracker.get_status()["internal_errors"]
        mocker.patch.object(tracker, "_record", side_effect=OSError("disk full"))
        assert call(make(one_over), 0) is None
        with pytest.raises(ZeroDivisionError):
            call(make(one_over, reraise=True), 0)
        assert tracker.get_status()["internal_errors"] == before + 4

    @every_kind
    def test_a_failure_that_cannot_be_classified_is_recorded_plainly(
        self, make: Make, tracker: FailureTracker, mocker: MockerFixture
    ) -> None:
        """If something goes wrong before a failure is counted, it is counted plainly, once, as an unknown error."""
        mocker.patch.object(FailureRules, "judge", side_effect=OSError("a time limit by signal hits here"))
        assert call(make(one_over, strategy="VWAP", symbol="AAPL"), 0) is None
        assert tracker.type_failures == {FailureType.UNKNOWN_ERROR: 1}
        assert tracker.strategy_failures == {"VWAP": 1}

    @every_kind
    def test_a_failure_that_was_counted_before_a_fault_is_counted_once(
        self, make: Make, tracker: FailureTracker, mocker: MockerFixture
    ) -> None:
        """If something goes wrong after a failure was counted, it is not counted again."""
        mocker.patch.object(tracker, "_after", side_effect=OSError("a time limit by signal hits here"))
        assert call(make(one_over), 0) is None
        assert tracker.total_failures == 1

    @every_kind
    def test_a_fault_while_recording_a_success_is_reported(
        self, make: Make, tracker: FailureTracker, mocker: MockerFixture
    ) -> None:
        """If recording a success fails, the caller still gets the result, and the fault is counted."""
        tracker.record_failure("s", "x", "an error event")
        before = tracker.get_status()["internal_errors"]
        mocker.patch.object(tracker, "_succeed", side_effect=OSError("disk full"))
        assert call(make(one_over), 2) == 0.5
        assert tracker.get_status()["internal_errors"] == before + 1

    @every_kind
    def test_a_fault_while_recording_a_refusal_is_reported(
        self, make: Make, tracker: FailureTracker, mocker: MockerFixture
    ) -> None:
        """If recording a refusal fails, the call is refused all the same, and the fault is counted."""
        tracker.halt_manager.trigger_halt("drill")
        before = tracker.get_status()["internal_errors"]
        mocker.patch.object(tracker, "_refuse", side_effect=OSError("disk full"))
        assert call(make(one_over), 2) is None
        assert tracker.get_status()["internal_errors"] == before + 1


class TestTheGuardedFunction:
    """The guarded function as an object."""

    def test_it_is_a_plain_function_with_the_same_signature(self) -> None:
        """A guarded function is a function, with name, docstring, signature and full argument specification."""

        def generate(self: object, bars: list[int], *, fast: int = 5, **rest: int) -> str:
            """Make a signal."""
            return "hold"

        guarded = guarded_signal(generate)
        assert inspect.isfunction(guarded)
        assert (guarded.__name__, guarded.__qualname__, guarded.__doc__) == (
            generate.__name__,
            generate.__qualname__,
            "Make a signal.",
        )
        assert inspect.signature(guarded) == inspect.signature(generate)
        assert inspect.getfullargspec(guarded) == inspect.getfullargspec(generate)

    def test_a_coroutine_function_stays_one(self) -> None:
        """Hosts recognise the guarded async def as one."""
        assert inspect.iscoroutinefunction(as_coroutine_function(one_over))

    @every_kind
    def test_guarding_twice_bare_is_harmless(self, make: Make, tracker: FailureTracker) -> None:
        """guarded_signal on what is guarded gives it back; with settings it is refused."""
        guarded = make(one_over)
        if make is not as_partialmethod:  # whose methods are partials, made anew for each look at them
            assert guarded_signal(guarded) is guarded
            with pytest.raises(InvalidConfiguration, match=r" is guarded already: give all settings to one"):
                guarded_signal(strategy="VWAP")(guarded)

    @pytest.mark.parametrize("wrap", [staticmethod, classmethod, property, functools.partialmethod])
    def test_a_descriptor_that_is_guarded_is_given_back(self, wrap: Any) -> None:
        """guarded_signal on a descriptor around a guarded function gives it back; with settings it is refused."""
        for guarded in (wrap(guarded_signal(one_over)), guarded_signal(wrap(one_over))):
            assert guarded_signal(guarded) is guarded
            with pytest.raises(InvalidConfiguration, match="one_over is guarded already"):
                guarded_signal(strategy="VWAP")(guarded)

    @every_kind
    def test_is_guarded_tells(self, make: Make) -> None:
        """is_guarded() says of every kind whether its calls go through a guard."""
        assert is_guarded(make(one_over))

    @pytest.mark.parametrize("wrap", [staticmethod, classmethod, property, functools.partialmethod, functools.partial])
    def test_is_guarded_looks_into_descriptors_and_partials(self, wrap: Any) -> None:
        """is_guarded() of a descriptor or a partial tells of the function in it."""
        assert is_guarded(wrap(guarded_signal(one_over)))
        assert not is_guarded(wrap(one_over))

    @pytest.mark.parametrize("target", [one_over, len, 3, None, property(), FailureTracker])
    def test_what_is_not_guarded(self, target: Any) -> None:
        """is_guarded() of anything else says no."""
        assert not is_guarded(target)

    def test_a_decorator_around_a_guard_can_be_guarded(self, tracker: FailureTracker) -> None:
        """A function that wraps a guarded one is not taken for guarded."""
        inner = as_function(one_over)

        @functools.wraps(inner)
        def logged(value: float) -> Any:
            return inner(value) + 1

        assert not is_guarded(logged)
        assert guarded_signal(logged) is not logged
        with pytest.raises(TypeError, match="is not guarded"):
            outcome(logged, 1)

    def test_an_explicit_tracker_counts_instead_of_the_shared(self, tracker: FailureTracker) -> None:
        """With tracker= the failure is counted there and nowhere else."""
        own = FailureTracker()
        as_function(one_over, tracker=own)(0)
        assert (own.total_failures, tracker.total_failures) == (1, 0)


class TestBadSettings:
    """A setting that cannot work is an error at decoration that says what to do."""

    @pytest.mark.parametrize(
        ("settings", "says"),
        [
            ({"symbol": "{pari}"}, "pair"),
            ({"strategy": "{self.name"}, "strategy="),
            ({"context": {"x": "{nothing}"}}, "nothing"),
            ({"when_halted": "raise"}, r"when_halted on .*='raise': expected one of 'refuse', 'run'"),
            ({"tracker": EmergencyHaltManager()}, "expected an instance of FailureTracker"),
            ({"rules": {}}, "expected an instance of FailureRules"),
            ({"validate": 3}, "validate on .* expected a plain .not async. callable, got 3"),
            ({"validate": as_coroutine_function(one_over)}, "validate on"),
            ({"no_signal": "hold"}, "no_signal on"),
        ],
    )
    def test_it_is_refused(self, settings: dict[str, Any], says: str) -> None:
        """The error names the setting, the function, and what was expected."""

        def generate(pair: str) -> None: ...

        with pytest.raises(InvalidConfiguration, match=says):
            guarded_signal(**settings)(generate)

    def test_an_unknown_setting(self) -> None:
        """A setting that does not exist is a TypeError, as for any function."""
        with pytest.raises(TypeError, match="stratgy"):
            guarded_signal(stratgy="VWAP")(one_over)  # type: ignore[call-overload]

    @pytest.mark.parametrize(
        "target",
        [
            3,
            property(),
            functools.cached_property(one_over),
            functools.singledispatchmethod(one_over),
            wrapt.ObjectProxy(staticmethod(one_over)),
        ],
        ids=lambda target: type(target).__name__,
    )
    def test_what_cannot_be_guarded(self, target: Any) -> None:
        """What cannot be called, and a descriptor that cannot be rebuilt, says what can be guarded."""
        with pytest.raises(TypeError, match=r"expected a function, method, .* the function that it is made of"):
            guarded_signal(target)

    def test_a_name_without_its_setting(self) -> None:
        """A name that is given without strategy= gets "did you mean"."""
        with pytest.raises(TypeError, match="did you mean strategy='VWAP'"):
            guarded_signal("VWAP")  # type: ignore[call-overload]

    def test_a_class(self) -> None:
        """A class is refused, with what to decorate instead."""

        class Strategy: ...

        with pytest.raises(
            TypeError, match=r"the class .*Strategy: decorate its methods instead, or a function that makes"
        ):
            guarded_signal(Strategy)
