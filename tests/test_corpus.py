"""Recorded exceptions of real libraries get the type that an expert expects."""

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

FOLDER = Path(__file__).parent / "corpus"
OPEN = load(FOLDER / "open.jsonl")
# Recorded while the packs were written, and to mend them; the oldest version of a library that has the case.
OWN = load(FOLDER / "own.jsonl")
# Recorded afterwards by authors who had not seen a rule: 522 of these 525 were accepted when they were first asked.
BLIND = load(FOLDER / "blind.jsonl")
ALL = OPEN + OWN + BLIND
# Likewise, of 62 libraries that no pack is about: four of five were accepted when they were first asked.
UNLISTED = load(FOLDER / "unlisted.jsonl")

# Why a rule would be wrong for them.
MISSES = {
    "aiohttp.html_403@3.8.6": "that version keeps no status on it, so all that is known is that the body is no JSON",
    "pybit.http_401@1.3.6": "that version does not look at the status, so all that is known is that it got no JSON",
    "stdlib.email_date@3.8.18": "a TypeError of Python 3.8, as any bug raises it; since 3.10 it is a ValueError",
    "stdlib.format_key@3.11.7": "str.format raises a KeyError in the caller's frame, like a missing field of a message",
    "stdlib.socket_port@3.8.18": "the number wraps to a port that refuses: Python does not tell that from any other",
    "vectorbt.bad_settings_1.2.0@1.2.0": "a KeyError of a dict of vectorbt's, raised in the author's own frame",
}


@pytest.fixture(scope="module")
def rules() -> FailureRules:
    return FailureRules()


def verdict(explanation: Explanation) -> str:
    return "PROPAGATE" if explanation.action is Action.PROPAGATE else explanation.failure_type.name


def judged(rules: FailureRules, case: Case) -> str:
    with case.installed():
        return verdict(rules.explain(case.exception()))


@pytest.mark.parametrize("case", ALL, ids=lambda case: case.id)
def test_a_recorded_exception_gets_a_type_that_an_expert_accepts(rules: FailureRules, case: Case) -> None:
    """A recorded exception gets a type that an expert accepts, unless it is listed as a miss with its reason."""
    with case.installed():
        explanation = rules.explain(case.exception())

    assert (verdict(explanation) in case.accepted) == (case.id not in MISSES), f"{explanation} | {case.note}"


def test_the_corpus_is_there() -> None:
    """All 367 cases of the open corpus are looked at, and each case has a name of its own."""
    assert len(OPEN) == 367
    assert len({case.id for case in ALL}) == len(ALL)
    assert set(MISSES) <= {case.id for case in ALL}


def test_of_the_defensible_types_it_is_mostly_the_best(rules: FailureRules) -> None:
    """Of the open corpus 95 of 100 get the very type that is best."""
    best = sum(judged(rules, case) == case.expected for case in OPEN)

    assert best >= 0.95 * len(OPEN)


@pytest.mark.parametrize("cases", [OPEN, UNLISTED], ids=["open", "unlisted"])
def test_libraries_that_nobody_listed_come_out_right_mostly(cases: list[Case]) -> None:
    """With the general rules and Python's own alone, 90 of 100 exceptions get a type that an expert accepts."""
    rules = FailureRules(("builtin", "general"))
    accepted = sum(judged(rules, case) in case.accepted for case in cases)

    assert accepted >= 0.9 * len(cases)
