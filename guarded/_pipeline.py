"""Where log records go: the host's structlog pipeline if it has one, the stdlib logger `guarded` if not."""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING, Any

import structlog

if TYPE_CHECKING:
    from collections.abc import Callable

LOGGER = "guarded"

_logger = logging.getLogger(LOGGER)

# Named methods, because not every logger under structlog has `log`.
_METHODS = {logging.INFO: "info", logging.WARNING: "warning", logging.ERROR: "error", logging.CRITICAL: "critical"}


def emit(
    level: int, event: str, text: str, fields: dict[str, Any], trace: Callable[[], str | None] | None = None
) -> None:
    """Log one event; a pipeline that raises is no reason for a guard to.

    Args:
        level: One of INFO, WARNING, ERROR and CRITICAL of the standard library's `logging`.
        event: The event's name, such as `guarded.signal_failed`; what structlog users filter by.
        text: The same as a sentence, for people who read the stdlib logger.
        fields: What structlog users get as key-value pairs.
        trace: Makes the traceback's text; called only if the record is going to be written.
    """
    try:
        if structlog.is_configured():
            _to_structlog(level, event, fields, trace)
        else:
            _to_stdlib(level, text, trace)
    except Exception as error:  # noqa: BLE001  # the host's pipeline may raise anything
        _last_resort(level, event, text, error)


def is_wanted(level: int) -> bool:
    """Whether a record of this level may be written: False only where it is certain that nobody would see it."""
    return structlog.is_configured() or _logger.isEnabledFor(level)


def _to_structlog(level: int, event: str, fields: dict[str, Any], trace: Callable[[], str | None] | None) -> None:
    logger = structlog.get_logger(LOGGER).bind()
    if hasattr(type(logger), "sync_bl"):  # structlog's AsyncBoundLogger, which nobody awaits here
        logger = logger.sync_bl
    if not _enabled(logger, level):
        return
    if trace is not None:
        fields = {**fields, "exception": trace()}
    getattr(logger, _METHODS[level])(event, **fields)


def _enabled(logger: Any, level: int) -> bool:
    """Whether a structlog logger would write at this level; True where it cannot tell."""
    # Its class is asked, because structlog's generic BoundLogger takes every attribute for the name of a log level.
    kind = type(logger)
    asks = getattr(kind, "is_enabled_for", None) or getattr(kind, "isEnabledFor", None)
    return asks is None or bool(asks(logger, level))


def _to_stdlib(level: int, text: str, trace: Callable[[], str | None] | None) -> None:
    if not _logger.isEnabledFor(level):
        return
    shown = trace() if trace is not None else None
    _logger.log(level, "%s", f"{text}\n{shown.rstrip()}" if shown else text)


def _last_resort(level: int, event: str, text: str, error: Exception) -> None:
    """Tell the stdlib logger what the host's pipeline could not take; past that there is nobody left to tell."""
    with contextlib.suppress(Exception):
        _logger.log(level, "%s (the log pipeline raised %s at %s)", text, type(error).__name__, event)
