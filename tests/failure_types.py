"""The failure types by short names, for tests that are full of them."""

from __future__ import annotations

from guarded import FailureType

STRATEGY = FailureType.STRATEGY_ERROR
DATA = FailureType.DATA_ERROR
EXECUTION = FailureType.EXECUTION_ERROR
CONNECTION = FailureType.CONNECTION_ERROR
CONFIGURATION = FailureType.CONFIGURATION_ERROR
UNKNOWN = FailureType.UNKNOWN_ERROR
