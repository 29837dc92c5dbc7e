"""SignalGenerationFailure: what is kept of an exception, safe to log, store and send."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from types import MappingProxyType, NoneType
from typing import TYPE_CHECKING, Any, cast

from guarded._checks import near_miss
from guarded._errors import InvalidConfiguration
from guarded._json import json_safe
from guarded._secrets import clean, encodable, mask, text_of, type_name
from guarded._stack import MESSAGE, CapturedStack, capture

if TYPE_CHECKING:
    from guarded._json import JSON


class FailureType(StrEnum):
    """What kind of thing failed; the value is its name in rules, records and logs."""

    STRATEGY_ERROR = "strategy_error"
    """The strategy's own code or maths failed."""

    DATA_ERROR = "data_error"
    """Market data is missing, malformed, stale or too short."""

    EXECUTION_ERROR = "execution_error"
    """An order was rejected or could not be placed."""

    CONNECTION_ERROR = "connection_error"
    """The link to a broker, an exchange, a network or a database failed."""

    CONFIGURATION_ERROR = "configuration_error"
    """Settings, credentials, permissions or modules are wrong or missing."""

    UNKNOWN_ERROR = "unknown_error"
    """Nothing matched."""


_NO_CONTEXT: Mapping[str, object] = MappingProxyType({})
_TYPES: dict[str, tuple[type, ...]] = {
    "strategy_name": (str,),
    "symbol": (str,),
    "error_message": (str,),
    "failure_type": (str,),
    "timestamp": (datetime,),
    "stack_trace": (CapturedStack, str, NoneType),
    "additional_context": (Mapping,),
    "error_type": (str,),
    "rule": (str, NoneType),
    "failure_id": (str,),
}
_encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
_set = object.__setattr__


@dataclass(frozen=True, slots=True, init=False)
class SignalGenerationFailure:
    """One failure of one strategy for one symbol: immutable, picklable, and nothing but plain data.

    Secrets in the message, in the context and in a stack given as text are masked when the record is made. Two
    records are equal if all but their stacks are.

    Args:
        strategy_name: Whose signal failed.
        symbol: For which instrument.
        error_message: What the exception said; 2,000 characters of it are kept.
        failure_type: What kind of failure it is, a `FailureType` or its value.
        timestamp: When it happened, aware; by default now. Kept in UTC.
        stack_trace: The stack, as text or as the library captured it.
        additional_context: Anything that helps to understand the failure; it is made JSON-ready at once.
        error_type: The name of the exception's class, without its module; "" if there was no exception.
        rule: Which rule told the type of the failure, if one did.
        failure_id: Identifies the record; by default a fresh one.

    Raises:
        InvalidConfiguration: A value is of the wrong type, there is no such failure type, or the timestamp is naive.
    """

    strategy_name: str
    symbol: str
    error_message: str
    failure_type: FailureType
    timestamp: datetime
    error_type: str
    rule: str | None
    failure_id: str
    _context: str = field(repr=False)  # as JSON: small, hashable, and nobody can change what is inside
    _stack: CapturedStack | str | None = field(repr=False, compare=False)

    def __init__(  # the first seven are the order that people know it by
        self,
        strategy_name: str,
        symbol: str,
        error_message: str,
        failure_type: FailureType | str,
        timestamp: datetime | None = None,
        stack_trace: CapturedStack | str | None = None,
        additional_context: Mapping[str, object] = _NO_CONTEXT,
        *,
        error_type: str = "",
        rule: str | None = None,
        failure_id: str | None = None,
    ) -> None:
        given: dict[str, Any] = {
            "strategy_name": strategy_name,
            "symbol": symbol,
            "error_message": error_message,
            "failure_type": failure_type,
            "timestamp": datetime.now(UTC) if timestamp is None else timestamp,
            "stack_trace": stack_trace,
            "additional_context": additional_context,
            "error_type": error_type,
            "rule": rule,
            "failure_id": _fresh_id() if failure_id is None else failure_id,
        }
        checked = _checked(given, "SignalGenerationFailure")
        checked["error_message"] = clean(error_message, MESSAGE)
        if isinstance(stack_trace, str):
            checked["stack_trace"] = encodable(mask(stack_trace))
        _fill(self, checked, _context_text(additional_context))

    @classmethod
    def from_error(
        cls,
        error: BaseException | str,
        *,
        strategy_name: str,
        symbol: str,
        failure_type: FailureType,
        timestamp: datetime,
        additional_context: Mapping[str, object] | None = None,
        rule: str | None = None,
    ) -> SignalGenerationFailure:
        """Make the record of an exception: quickly, and without raising, whatever the exception does.

        Args:
            error: The exception, or a text where there is none. An exception without a text is told by its class.
            strategy_name: Whose signal failed.
            symbol: For which instrument.
            failure_type: What kind of failure it is.
            timestamp: When it happened, aware.
            additional_context: Anything that helps to understand the failure.
            rule: Which rule told the type of the failure.

        Returns:
            The record; it keeps neither the exception nor a frame alive.
        """
        kind = type(error)
        if issubclass(kind, BaseException):
            error_type, stack = type_name(kind), capture(cast("BaseException", error))
            message = stack.chain[0].message or error_type
        else:
            error_type, stack, message = "", None, text_of(error, MESSAGE)
        values = {
            "strategy_name": strategy_name,
            "symbol": symbol,
            "error_message": message,
            "failure_type": failure_type,
            "timestamp": _in_utc(timestamp),
            "stack_trace": stack,
            "error_type": error_type,
            "rule": rule,
            "failure_id": _fresh_id(),
        }
        failure = cls.__new__(cls)
        _fill(failure, values, "{}" if additional_context is None else _context_text(additional_context))
        return failure

    @classmethod
    def from_dict(cls, data: Mapping[str, object]) -> SignalGenerationFailure:
        """Restore the record that `to_dict` was called on; its stack is text from then on.

        Args:
            data: What `to_dict` returned, also after a way through JSON.

        Raises:
            InvalidConfiguration: A key is missing or unknown, or a value is none that `to_dict` returns.
        """
        where = "SignalGenerationFailure.from_dict"
        given = _with_all_keys(data, where)
        given["timestamp"] = _moment(given["timestamp"], where)
        values = _checked(given, where)
        failure = cls.__new__(cls)
        _fill(failure, values, _json_text(values["additional_context"], where))
        return failure

    @property
    def stack_trace(self) -> str | None:
        """The stack as a traceback shows it; formatted anew at each call, with the source lines of that time."""
        return self._stack.format() if isinstance(self._stack, CapturedStack) else self._stack

    @property
    def additional_context(self) -> Mapping[str, JSON]:
        """What the guard was told to add; each call returns a mapping of its own."""
        return MappingProxyType(json.loads(self._context))

    @property
    def error(self) -> str:
        """The class and the message in one: `ValueError: invalid momentum calculation`."""
        if self.error_type in ("", self.error_message):
            return self.error_message
        return f"{self.error_type}: {self.error_message}"

    def to_dict(self) -> dict[str, JSON]:
        """JSON-ready form, keys = field names; the stack is formatted here."""
        return {
            "strategy_name": self.strategy_name,
            "symbol": self.symbol,
            "error_message": self.error_message,
            "failure_type": self.failure_type.value,
            "timestamp": self.timestamp.isoformat(),
            "stack_trace": self.stack_trace,
            "additional_context": json.loads(self._context),
            "error_type": self.error_type,
            "rule": self.rule,
            "failure_id": self.failure_id,
        }

    def __str__(self) -> str:
        return (
            f"[FAILURE] {self.strategy_name} failed for {self.symbol}\n"
            f"   Type: {self.failure_type}\n"
            f"   Time: {self.timestamp.isoformat()}\n"
            f"   Error: {self.error_message}"
        )


def _fill(failure: SignalGenerationFailure, values: Mapping[str, object], context: str) -> None:
    for name in _KEPT_AS_GIVEN:
        _set(failure, name, values[name])
    _set(failure, "_context", context)
    _set(failure, "_stack", values["stack_trace"])


_KEPT_AS_GIVEN = tuple(name for name in _TYPES if name not in ("stack_trace", "additional_context"))


def checked_type(value: object, where: str) -> FailureType:
    """A `FailureType`, also by its value.

    Raises:
        InvalidConfiguration: There is no such type.
    """
    allowed = [kind.value for kind in FailureType]
    if isinstance(value, str) and value in allowed:
        return FailureType(value)
    hint = near_miss(value, allowed) if isinstance(value, str) else ""
    raise InvalidConfiguration(
        f"{where}={value!r}: expected a FailureType or one of {', '.join(map(repr, allowed))}{hint}"
    )


def _checked(given: Mapping[str, Any], where: str) -> dict[str, Any]:
    """The values with the right types, or an `InvalidConfiguration` about the first that is wrong."""
    for name, kinds in _TYPES.items():
        if not isinstance(given[name], kinds):
            expected = " or ".join("None" if kind is NoneType else kind.__name__ for kind in kinds)
            raise InvalidConfiguration(f"{where}: {name}={given[name]!r}: expected {expected}")
    timestamp = given["timestamp"]
    if timestamp.utcoffset() is None:
        raise InvalidConfiguration(
            f"{where}: timestamp={timestamp!r} is naive: pass an aware time, such as datetime.now(UTC)"
        )
    failure_type = checked_type(given["failure_type"], f"{where}: failure_type")
    return {**given, "failure_type": failure_type, "timestamp": _in_utc(timestamp)}


def _in_utc(moment: datetime) -> datetime:
    """The same moment as a plain datetime: hosts pass pandas' timestamps and time zones of their own."""
    if type(moment) is datetime and moment.tzinfo is UTC:
        return moment
    utc = moment.astimezone(UTC)
    return datetime.combine(utc.date(), utc.time(), UTC)


def _fresh_id() -> str:
    return os.urandom(8).hex()


def _context_text(context: object) -> str:
    safe = json_safe(context)
    return _encode(safe if isinstance(safe, dict) else {"additional_context": safe})


def _with_all_keys(data: object, where: str) -> dict[str, Any]:
    if not isinstance(data, Mapping):
        raise InvalidConfiguration(f"{where}({data!r}): expected a mapping as to_dict() returns it")
    missing, unknown = _TYPES.keys() - data.keys(), data.keys() - _TYPES.keys()
    if missing or unknown:
        raise InvalidConfiguration(
            f"{where}: missing keys {sorted(missing)}, unknown keys {sorted(unknown, key=repr)}: "
            "pass what to_dict() returned, all of it and nothing else"
        )
    return dict(data)


def _moment(value: object, where: str) -> object:
    try:
        return datetime.fromisoformat(value) if isinstance(value, str) else value
    except ValueError:
        raise InvalidConfiguration(
            f"{where}: timestamp={value!r}: expected an ISO time, such as '2025-11-11T14:25:30+00:00'"
        ) from None


def _json_text(context: Mapping[str, object], where: str) -> str:
    try:
        return _encode(dict(context))
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidConfiguration(f"{where}: additional_context={context!r} is not JSON-ready: {error}") from error
