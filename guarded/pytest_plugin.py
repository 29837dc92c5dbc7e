"""The pytest plugin: a tracker of a test's own, the mode that guards are in, and what failed below a failing test."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Any, get_args

import pytest

from guarded._mode import Mode, set_mode
from guarded._tracker import living_trackers
from guarded.testing import fresh_tracker

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator
    from contextlib import AbstractContextManager

    from guarded._failure import SignalGenerationFailure
    from guarded._tracker import FailureTracker

MODE = "guarded_mode"
"""The name of the marker and of the ini option."""

TITLE = "guarded: failures recorded during the test"
MOST_FAILURES = 10
MOST_HALTS = 3
TRACE_LINES = 8

_known = pytest.StashKey[set[str]]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Declare the ini option."""
    parser.addini(MODE, f"the mode of guards in tests: {_MODES}; by default that of the process", default=None)


def pytest_configure(config: pytest.Config) -> None:
    """Declare the marker, and check the ini option."""
    config.addinivalue_line("markers", f"{MODE}(mode): run the test with guards in this mode: {_MODES}")
    _checked(config.getini(MODE), f"{MODE} in {config.inipath}")


@pytest.fixture
def failure_tracker() -> Iterator[FailureTracker]:
    """A fresh `FailureTracker` that is the shared one for the length of the test."""
    with fresh_tracker() as tracker:
        yield tracker


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    """Run a test, from its setup to its teardown, in its mode."""
    item.stash[_known] = _failures_on_record()
    with _mode_of(item):
        return (yield)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Fail a test whose marker is wrong."""
    marker = item.get_closest_marker(MODE)
    if marker is not None:
        _checked(_asked(marker), f"the marker {MODE} of {item.nodeid}")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show below a failing test what trackers recorded during it."""
    report = yield
    if report.failed:
        try:
            text = _recorded(item.stash[_known])
        except Exception as fault:  # noqa: BLE001  # such as a store that is closed by now: no reason to lose the report
            text = f"they cannot be shown: {type(fault).__name__}: {fault}"
        if text:
            report.sections.append((TITLE, text))
    return report


def _failures_on_record() -> set[str]:
    try:
        return {failure.failure_id for tracker in living_trackers() for failure in tracker.failure_history}
    except Exception:  # noqa: BLE001  # a store that cannot be read says so below the first test that fails
        return set()


_MODES = ", ".join(map(repr, get_args(Mode)))


def _asked(marker: pytest.Mark) -> object:
    return marker.args[0] if len(marker.args) == 1 and not marker.kwargs else (*marker.args, *marker.kwargs.items())


def _checked(mode: object, where: str) -> None:
    if mode is not None and mode not in get_args(Mode):
        raise pytest.UsageError(f"{where}: {mode!r} is no mode of guards; expected one of {_MODES}")


def _mode_of(item: pytest.Item) -> AbstractContextManager[object]:
    """What puts guards in the mode of a test; a marker that is wrong fails the test's setup instead."""
    marker = item.get_closest_marker(MODE)
    mode: Any = item.config.getini(MODE) if marker is None else _asked(marker)
    return set_mode(mode) if mode in get_args(Mode) else nullcontext()


def _recorded(known: set[str]) -> str:
    """What the trackers that are alive recorded, and which halts are in force; "" if they recorded nothing."""
    told = [(tracker, _new_failures(tracker, known)) for tracker in living_trackers()]
    failures = [failure for _, new in told for failure in new]
    if not failures:
        return ""
    lines = [
        f"{failure.strategy_name} for {failure.symbol}: {failure.error} [{failure.failure_type}]"
        for failure in failures[:MOST_FAILURES]
    ]
    if len(failures) > MOST_FAILURES:
        lines.append(f"... and {len(failures) - MOST_FAILURES} more")
    halts = [halt for tracker, new in told if new for halt in tracker.halts]
    lines += [f"trading is halted for {halt.scope}: {halt.reason}" for halt in halts[:MOST_HALTS]]
    trace = next((failure.stack_trace for failure in reversed(failures) if failure.stack_trace), "")
    if trace:
        lines += ["the last one with a trace:", *trace.rstrip().splitlines()[-TRACE_LINES:]]
    return "\n".join(lines)


def _new_failures(tracker: FailureTracker, known: set[str]) -> list[SignalGenerationFailure]:
    return [failure for failure in tracker.failure_history if failure.failure_id not in known]
