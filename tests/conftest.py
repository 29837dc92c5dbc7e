"""Fixtures that all tests share."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
import structlog

from guarded import FailureTracker
from guarded.testing import FakeClock, fresh_tracker


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock(datetime(2025, 11, 11, 14, 0, tzinfo=UTC))


@pytest.fixture
def tracker() -> Iterator[FailureTracker]:
    """A fresh tracker, shared for the length of the test."""
    with fresh_tracker() as fresh:
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
