"""Recorded exceptions: Python's own, hostile ones, wrappers and groups get the type that an expert expects."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from corpus.replay import load

from guarded._matching import Action
from guarded._rules import FailureRules

if TYPE_CHECKING:
    from corpus.replay import Case

    from guarded._explanation import Explanation

CASES = [
    case
    for case in load(Path(__file__).parent / "corpus" / "open.jsonl")
    if case.package in {"stdlib", "hostile", "groups", "user"}
]
MISSES = {
    "hostile.author_raises_exchange_error": "a class of ccxt, for which the built-in pack has no rules",
}


@pytest.fixture(scope="module")
def rules() -> FailureRules:
    return FailureRules()


def verdict(explanation: Explanation) -> str:
    return "PROPAGATE" if explanation.action is Action.PROPAGATE else explanation.failure_type.name


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_a_recorded_exception_gets_a_type_that_an_expert_accepts(rules: FailureRules, case: Case) -> None:
    """A recorded exception gets a type that an expert accepts, unless it is listed as a miss with its reason."""
    with case.installed():
        explanation = rules.explain(case.exception())

    assert (verdict(explanation) in case.accepted) == (case.id not in MISSES), f"{explanation} | {case.note}"


def test_the_standard_library_is_covered(rules: FailureRules) -> None:
    """Of the 63 recorded exceptions of the standard library at least 60 get the very type that is best."""
    best = 0
    standard = [case for case in CASES if case.package == "stdlib"]
    for case in standard:
        with case.installed():
            best += verdict(rules.explain(case.exception())) == case.expected

    assert len(standard) == 63
    assert best >= 60
