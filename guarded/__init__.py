"""Guards for trading strategies: no invented signals, classified failures, and an emergency halt."""

import importlib as _importlib
import typing as _typing

from guarded import validators
from guarded._audit import AuditEntry
from guarded._block import Signal, track_signal
from guarded._clock import Clock
from guarded._decorator import guarded_signal, is_guarded, outcome
from guarded._errors import GuardedError, InvalidConfiguration, SignalRejected, StoreUnavailable, TradingHalted
from guarded._events import (
    Event,
    HaltCallbackFailed,
    HaltTriggered,
    SignalFailed,
    SignalRecovered,
    SignalRefused,
    TradingResumed,
)
from guarded._explanation import Explanation
from guarded._failure import FailureType, SignalGenerationFailure
from guarded._halt import HaltLevel, HaltRecord, HaltTrigger
from guarded._halt_manager import EmergencyHaltManager
from guarded._mode import set_mode
from guarded._outcome import Outcome
from guarded._policies import ConsecutiveFailures, FailureRate
from guarded._rules import FailureRules
from guarded._scope import Scope
from guarded._secrets import set_secret_patterns
from guarded._shared import get_failure_tracker, set_failure_tracker
from guarded._tracker import FailureTracker
from guarded.stores.memory import MemoryStore

if _typing.TYPE_CHECKING:
    from guarded._configure import Configuration, configure
    from guarded._instrument import guarded_strategy, instrument, uninstrument
    from guarded._instrumentation import Instrumentation

__all__ = [
    "AuditEntry",
    "Clock",
    "Configuration",
    "ConsecutiveFailures",
    "EmergencyHaltManager",
    "Event",
    "Explanation",
    "FailureRate",
    "FailureRules",
    "FailureTracker",
    "FailureType",
    "GuardedError",
    "HaltCallbackFailed",
    "HaltLevel",
    "HaltRecord",
    "HaltTrigger",
    "HaltTriggered",
    "Instrumentation",
    "InvalidConfiguration",
    "MemoryStore",
    "Outcome",
    "Scope",
    "Signal",
    "SignalFailed",
    "SignalGenerationFailure",
    "SignalRecovered",
    "SignalRefused",
    "SignalRejected",
    "StoreUnavailable",
    "TradingHalted",
    "TradingResumed",
    "configure",
    "get_failure_tracker",
    "guarded_signal",
    "guarded_strategy",
    "instrument",
    "is_guarded",
    "outcome",
    "set_failure_tracker",
    "set_mode",
    "set_secret_patterns",
    "track_signal",
    "uninstrument",
    "validators",
]

if not _typing.TYPE_CHECKING:  # for whom a module with __getattr__ has every name
    # Imported when it is first asked for, for it is a sixth of what an import takes, and most programs need none of it.
    _LATER = {
        "Configuration": "guarded._configure",
        "Instrumentation": "guarded._instrumentation",
        "configure": "guarded._configure",
        "guarded_strategy": "guarded._instrument",
        "instrument": "guarded._instrument",
        "uninstrument": "guarded._instrument",
    }

    def __getattr__(name: str) -> object:
        if name not in _LATER:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = found = getattr(_importlib.import_module(_LATER[name]), name)
        return found

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
