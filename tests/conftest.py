"""Fixtures that all tests share."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
import structlog

from guarded import FailureTracker, set_failure_tracker


class SteppedClock:
    """A clock that stands still until it is advanced."""

    def __init__(self) -> None:
        self._seconds = 1_000.0
        self._now = datetime(2025, 11, 11, 14, 0, tzinfo=UTC)

    def monotonic(self) -> float:
        return self._seconds

    def now(self) -> datetime:
        return self._now

    def advance(self, by: timedelta) -> None:
        self._seconds += by.total_seconds()
        self._now += by


@pytest.fixture
def clock() -> SteppedClock:
    return SteppedClock()


@pytest.fixture
def tracker() -> Iterator[FailureTracker]:
    """A fresh tracker, shared for the length of the test."""
    fresh = FailureTracker()
    with set_failure_tracker(fresh):
        yield fresh


@pytest.fixture(autouse=True)
def _restored_logging() -> Iterator[None]:
    logger = logging.getLogger("guarded")
    level, handlers, filters = logger.level, list(logger.handlers), list(logger.filters)
    propagate, disabled = logger.propagate, logger.disabled
    yield
    structlog.reset_defaults()
    logger.setLevel(level)
    logger.handlers[:], logger.filters[:] = handlers, filters
    logger.propagate, logger.disabled = propagate, disabled
