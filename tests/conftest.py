"""Fixtures that all tests share."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import structlog

from guarded import FailureTracker
from guarded.testing import FakeClock, fresh_tracker

if TYPE_CHECKING:
    from processes import Worker
    from servers import Server
    from stores import Place


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """A server of Redis, or of Valkey where there is no other."""
    from servers import Server  # noqa: PLC0415  # most tests need none

    started = Server("--appendonly", "yes")
    yield started
    started.remove()


@pytest.fixture
def places(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Callable[[str], Place]]:
    """Makes ledgers by their kind, and closes their stores at the end."""
    from stores import place  # noqa: PLC0415  # the same

    made: list[Place] = []

    def make(kind: str) -> Place:
        made.append(place(kind, tmp_path, lambda: request.getfixturevalue("server")))
        return made[-1]

    yield make
    for one in made:
        one.close()


@pytest.fixture
def quiet(caplog: pytest.LogCaptureFixture) -> None:
    """For tests with very many failures."""
    caplog.set_level(logging.CRITICAL + 1, "guarded")


@pytest.fixture
def hire() -> Iterator[Callable[..., Worker]]:
    """Starts processes, and ends those that are left."""
    from processes import crew  # noqa: PLC0415  # the same

    with crew() as hired:
        yield hired


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
