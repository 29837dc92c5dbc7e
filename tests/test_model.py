"""Random programs of guarded calls, against an interpreter that follows the rules on paper."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from guarded import FailureTracker, SignalFailed, TradingHalted, guarded_signal, track_signal
from guarded.testing import FakeClock, recorded_events

THRESHOLD = 3
WINDOW = 300
PLAIN = ("def", "method", "generator", "block")
ASYNCHRONOUS = ("async def", "async generator", "async block")
Key = tuple[str, str]
KEYS = [("VWAP", "AAPL"), ("VWAP", "MSFT"), ("RSI", "AAPL")]


@dataclass(frozen=True)
class Step:
    """One thing that a body does.

    `does` is raise, again (raise one object again and again), call or await (a child), catch, wrap (raise another from
    what the child raised), gather, fail or succeed (by hand), wait or resume.
    """

    does: str
    children: tuple[Node, ...] = ()
    key: Key = KEYS[0]
    seconds: int = 0


@dataclass(frozen=True)
class Node:
    """One guarded call or block: its kind, its key, its settings, and what its body does."""

    kind: str
    key: Key
    reraise: bool
    runs_halted: bool
    steps: tuple[Step, ...]


@pytest.fixture(autouse=True, scope="module")
def _quiet() -> Iterator[None]:
    logger = logging.getLogger("guarded")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    yield
    logger.setLevel(level)


class Again(Exception):
    """One object that is raised again and again."""


class Wrapper(Exception):
    """What is raised from another."""


@st.composite
def nodes(draw: st.DrawFn, depth: int, nested: tuple[str, ...]) -> Node:
    """A node whose body, and what is in it, calls children in these ways."""
    kind = draw(st.sampled_from((*PLAIN, *ASYNCHRONOUS) if "await" in nested else PLAIN))
    ways = nested if kind in ASYNCHRONOUS else ("call", "catch", "wrap")
    inner = draw(st.lists(steps(depth, ways), max_size=3))
    return Node(kind, draw(st.sampled_from(KEYS)), draw(st.booleans()), draw(st.booleans()), tuple(inner))


@st.composite
def steps(draw: st.DrawFn, depth: int, nested: tuple[str, ...]) -> Step:
    own = ("raise", "again", "fail", "succeed", "wait", "resume")
    does = draw(st.sampled_from((*own, *nested, *nested) if depth else own))
    if does in own:
        return Step(does, key=draw(st.sampled_from(KEYS)), seconds=draw(st.sampled_from([1, WINDOW, WINDOW + 1])))
    # What is gathered waits for nothing, so that its order is known: nothing in it is gathered again.
    ways = tuple(way for way in nested if way != "gather") if does == "gather" else nested
    children = draw(st.lists(nodes(depth - 1, ways), min_size=1, max_size=3 if does == "gather" else 1))
    return Step(does, tuple(children))


class Library:
    """Runs a program with the library."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.callbacks = 0
        self.tracker = FailureTracker(clock=self.clock, halt_callback=self.called)
        self.again = Again("again")

    def called(self, _reason: str, _failure: object) -> None:
        self.callbacks += 1

    def settings(self, node: Node) -> dict[str, Any]:
        strategy, symbol = node.key
        own = {"strategy": strategy, "symbol": symbol, "tracker": self.tracker, "reraise": node.reraise}
        refuse = "raise" if "block" in node.kind else "refuse"
        return {**own, "when_halted": "run" if node.runs_halted else refuse}

    def run(self, node: Node) -> Any:
        settings, body = self.settings(node), self.body
        match node.kind:
            case "def":
                return guarded_signal(**settings)(lambda: body(node))()
            case "method":

                class Strategy:
                    @guarded_signal(**settings)
                    def method(self) -> str:
                        return body(node)

                return Strategy().method()
            case "block":
                with track_signal(**settings) as signal:
                    signal.value = body(node)
                return signal.value

        def generate() -> Iterator[str]:
            yield body(node)

        return next(guarded_signal(**settings)(generate)(), None)

    async def run_async(self, node: Node) -> Any:
        settings = self.settings(node)
        match node.kind:
            case "async def":

                async def coroutine() -> str:
                    return await self.body_async(node)

                return await guarded_signal(**settings)(coroutine)()
            case "async generator":

                async def generate() -> AsyncIterator[str]:
                    yield await self.body_async(node)

                items: Any = guarded_signal(**settings)(generate)()
                try:
                    return await anext(items, None)
                finally:
                    await items.aclose()
            case "async block":
                async with track_signal(**settings) as signal:
                    signal.value = await self.body_async(node)
                return signal.value
        return self.run(node)

    def body(self, node: Node) -> str:
        for step in node.steps:
            try:
                if step.children:
                    self.run(step.children[0])
                else:
                    self.act(step)
            except Exception as error:  # noqa: BLE001  # it is passed on
                self.pass_on(step, error)
        return "signal"

    async def body_async(self, node: Node) -> str:
        for step in node.steps:
            try:
                if step.does == "gather":
                    await asyncio.gather(*map(self.run_async, step.children))
                elif step.children:
                    await self.run_async(step.children[0])
                else:
                    self.act(step)
            except Exception as error:  # noqa: BLE001  # it is passed on
                self.pass_on(step, error)
        return "signal"

    def pass_on(self, step: Step, error: Exception) -> None:
        if step.does == "wrap":
            raise Wrapper("wrapped") from error
        if step.does != "catch":
            raise error

    def act(self, step: Step) -> None:
        match step.does:
            case "raise":
                raise ValueError("anew")
            case "again":
                raise self.again
            case "fail":
                self.tracker.record_failure(*step.key, "by hand")
            case "succeed":
                self.tracker.record_success(*step.key)
            case "wait":
                self.clock.advance(timedelta(seconds=step.seconds))
            case _:
                self.tracker.resume(by="ana", reason="a program")


@dataclass
class Raised(Exception):
    """An exception on paper: its name, what it was raised from, and which failure it was counted as."""

    name: str
    cause: Raised | None = None
    counted: int = 0

    def names(self) -> list[str]:
        return [self.name, *(self.cause.names() if self.cause else [])]

    def last_counted(self) -> int:
        return max(self.counted, self.cause.last_counted() if self.cause else 0)

    def forget(self) -> None:
        self.counted = 0
        if self.cause is not None:
            self.cause.forget()


@dataclass
class Paper:
    """Follows the rules on paper."""

    now: int = 0
    halted: bool = False
    callbacks: int = 0
    refusals: int = 0
    streaks: dict[Key | None, tuple[int, int]] = field(default_factory=dict)
    failures: list[tuple[str, str, str]] = field(default_factory=list)
    lengths: list[int] = field(default_factory=list)
    again: Raised = field(default_factory=lambda: Raised("Again"))

    def run(self, node: Node) -> str | None:
        if self.halted and not node.runs_halted:
            self.refusals += 1
            if "block" in node.kind:
                raise Raised("TradingHalted")
            return None
        since = len(self.failures)
        try:
            for step in node.steps:
                self.take(step)
        except Raised as error:
            if "TradingHalted" not in error.names() and error.last_counted() <= since:
                self.fail(node.key, error.name)
                error.counted = len(self.failures)
            if node.reraise:
                raise
            error.forget()
            return None
        if len(self.failures) == since:
            self.succeed(node.key)
        return "signal"

    def take(self, step: Step) -> None:  # noqa: C901  # one case for each thing that a body does
        match step.does:
            case "raise":
                raise Raised("ValueError")
            case "again":
                raise self.again
            case "fail":
                self.fail(step.key, "")
            case "succeed":
                self.succeed(step.key)
            case "wait":
                self.now += step.seconds
            case "resume":
                self.streaks = {} if self.halted else self.streaks
                self.halted = False
            case "gather":
                self.gather(step.children)
            case does:
                try:
                    self.run(step.children[0])
                except Raised as error:
                    if does == "wrap":
                        raise Raised("Wrapper", error) from None
                    if does in ("call", "await"):
                        raise

    def gather(self, children: tuple[Node, ...]) -> None:
        """All run, one after the other, for none of them waits for anything; the first exception is raised."""
        first: Raised | None = None
        for child in children:
            try:
                self.run(child)
            except Raised as error:
                first = first or error
        if first is not None:
            raise first

    def fail(self, key: Key, name: str) -> None:
        self.failures.append((*key, name))
        for scope in (key, None):
            length, last = self.streaks.get(scope, (0, self.now))
            self.streaks[scope] = (1 if self.now - last > WINDOW else length + 1, self.now)
        longest = max(self.streaks[scope][0] for scope in (key, None))
        self.lengths.append(longest)
        if longest >= THRESHOLD and not self.halted:
            self.halted = True
            self.callbacks += 1

    def succeed(self, key: Key) -> None:
        self.streaks.pop(key, None)
        self.streaks.pop(None, None)

    def consecutive(self) -> int:
        length, last = self.streaks.get(None, (0, self.now))
        return length if self.now - last <= WINDOW else 0


def names_of(error: BaseException | None) -> list[str]:
    return [] if error is None else [type(error).__name__, *names_of(error.__cause__)]


@settings(max_examples=400, deadline=None)
@given(st.lists(nodes(3, ("call", "await", "catch", "wrap", "gather")), min_size=1, max_size=6))
def test_programs_of_guarded_calls(program: list[Node]) -> None:
    """Whatever is nested in whatever, and fails: results, exceptions, failures, streaks, halts are those on paper."""
    library, paper = Library(), Paper()
    with recorded_events(library.tracker) as recorder:
        for node in program:
            try:
                expected: Any = paper.run(node)
            except Raised as error:
                expected = error.names()
            try:
                result: Any = asyncio.run(library.run_async(node))
            except Exception as error:  # noqa: BLE001  # it is compared
                result = names_of(error)
            assert result == expected
    tracker = library.tracker
    assert [(f.strategy_name, f.symbol, f.error_type) for f in tracker.failure_history] == paper.failures
    assert [event.streak for event in recorder.of(SignalFailed)] == paper.lengths
    assert tracker.consecutive_failures == paper.consecutive()
    assert (tracker.halt_triggered, library.callbacks) == (paper.halted, paper.callbacks)
    assert tracker.refusals == paper.refusals


def test_a_refusal_on_paper_is_one_of_the_library() -> None:
    """The name by which the paper knows a refusal is that of the library's exception."""
    assert TradingHalted.__name__ == "TradingHalted"


@dataclass(eq=False)
class Live:
    """A generator that is under way: the library's, and what is known of it on paper."""

    steps: Any
    handles: bool
    closed: list[str]
    begun: bool = False
    over: bool = False


class Generators(RuleBasedStateMachine):
    """Generators that are under way at the same time; halts and resumes between their steps."""

    alive = Bundle("alive")

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.tracker = FailureTracker()
        self.paper = Paper()
        self.every: list[Live] = []

    @rule(target=alive, handles=st.booleans(), key=st.sampled_from(KEYS), asynchronous=st.booleans())
    def begin(self, handles: bool, key: Key, asynchronous: bool) -> Live:
        closed: list[str] = []

        def generate() -> Iterator[Any]:
            asked: Any = None
            try:
                while True:
                    if asked == "fail":
                        raise ValueError("asked to")
                    try:
                        asked = yield asked
                    except KeyError:
                        if not handles:
                            raise
                        asked = "handled"
            finally:
                closed.append("closed")

        async def generate_async() -> AsyncIterator[Any]:
            inner: Any = generate()
            asked: Any = None
            try:
                item = next(inner)
                while True:
                    try:
                        asked = yield item
                    except KeyError as error:
                        item = inner.throw(error)
                    else:
                        item = inner.send(asked)
            finally:
                inner.close()

        guard = guarded_signal(strategy=key[0], symbol=key[1], tracker=self.tracker)
        generator: Any = guard(generate_async)() if asynchronous else guard(generate)()
        live = Live(generator, handles, closed)
        self.keys = {**getattr(self, "keys", {}), id(live): key}
        self.every.append(live)
        return live

    def drive(self, live: Live, how: str, given: Any = None) -> Any:
        """Take a step of either kind; "over" where the iteration has ended."""
        steps = live.steps
        try:
            if hasattr(steps, "send"):
                return getattr(steps, how)(*([] if how == "close" else [given]))
            return self.loop.run_until_complete(self.driven(steps, how, given))
        except (StopIteration, StopAsyncIteration):
            return "over"
        except KeyError:
            return "thrown"

    @staticmethod
    async def driven(steps: Any, how: str, given: Any) -> Any:
        method = {"send": "asend", "throw": "athrow", "close": "aclose"}[how]
        return await getattr(steps, method)(*([] if how == "close" else [given]))

    @rule(live=alive, asked=st.sampled_from(["next", "fail"]))
    def step(self, live: Live, asked: str) -> None:
        result = self.drive(live, "send", asked if live.begun else None)
        if live.over:
            assert result == "over"
        elif self.paper.halted:
            assert result == "over"
            self.paper.refusals += 1
            live.over = True
        elif live.begun and asked == "fail":
            assert result == "over"
            self.paper.fail(self.keys[id(live)], "ValueError")
            live.over = True
        else:
            assert result == (asked if live.begun else None)
            self.paper.succeed(self.keys[id(live)])
            live.begun = True

    @rule(live=alive)
    def throw(self, live: Live) -> None:
        if live.over:  # then plain and asynchronous generators differ
            return
        result = self.drive(live, "throw", KeyError("the consumer's"))
        if not live.begun or not live.handles:
            assert result == "thrown"
            live.over = True
        elif self.paper.halted:
            assert result == "over"
            self.paper.refusals += 1
            live.over = True
        else:
            assert result == "handled"
            self.paper.succeed(self.keys[id(live)])

    @rule(live=consumes(alive))
    def close(self, live: Live) -> None:
        assert self.drive(live, "close") is None
        live.over = True

    @rule()
    def halt(self) -> None:
        self.tracker.halt_manager.trigger_halt("drill")
        self.paper.halted = True

    @rule()
    def resume(self) -> None:
        self.tracker.resume(by="ana", reason="checked")
        self.paper.take(Step("resume"))

    @invariant()
    def agrees_with_the_paper(self) -> None:
        assert self.tracker.total_failures == len(self.paper.failures)
        assert self.tracker.refusals == self.paper.refusals
        assert self.tracker.halt_triggered == self.paper.halted
        assert self.tracker.consecutive_failures == self.paper.consecutive()
        for live in self.every:
            assert live.closed == (["closed"] if live.over and live.begun else [])

    def teardown(self) -> None:
        for live in self.every:
            self.drive(live, "close")
        self.loop.close()


TestGenerators = pytest.mark.filterwarnings("default")(Generators.TestCase)
TestGenerators.settings = settings(max_examples=100, stateful_step_count=40, deadline=None)
