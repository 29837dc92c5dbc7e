"""Verdicts: what the rules say of an exception, of what it wraps, and of the members of a group."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from guarded._classnames import mro, unsettled
from guarded._evidence import Evidence
from guarded._explanation import Explanation
from guarded._failure import FailureType, checked_type
from guarded._faults import report
from guarded._matching import Action, Rule
from guarded._precedence import Applicable, in_order
from guarded._secrets import type_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence, Sized

_T = TypeVar("_T")

# Read through the slots, because an exception may override `__getattribute__`.
_cause = BaseException.__dict__["__cause__"].__get__
_context = BaseException.__dict__["__context__"].__get__
_hides_context = BaseException.__dict__["__suppress_context__"].__get__
_members = BaseExceptionGroup.__dict__["exceptions"].__get__

# Among several, what mends itself least comes first: settings and bugs stay as they are, a link comes back.
_GRAVITY = (
    FailureType.CONFIGURATION_ERROR,
    FailureType.STRATEGY_ERROR,
    FailureType.EXECUTION_ERROR,
    FailureType.DATA_ERROR,
    FailureType.CONNECTION_ERROR,
    FailureType.UNKNOWN_ERROR,
)
_MOST_LINKS = 5_000
_MOST_CLASSES = 512
_NOT_CAUGHT = "guards catch what derives from Exception, and nothing else"
_NO_RULE = "no rule matches it, nor anything that it wraps"


class _Candidate(NamedTuple):
    """A rule for a class, and what it says of that class where its conditions hold."""

    rule: Rule
    says: Explanation
    passes_on: bool  # whether what the exception wraps is asked first


class _Finding(NamedTuple):
    """An exception of which something can be said, and what."""

    error: BaseException
    says: Explanation


class _Plan(NamedTuple):
    """What can be known from a class alone."""

    steering: tuple[_Candidate, ...]  # in the order in which they are asked; empty where none ignores or propagates
    counting: tuple[_Candidate, ...]  # those that count
    settled: Explanation | None  # the verdict, where nothing but the class matters
    is_group: bool
    is_caught: bool


class Table:
    """The rules as they stand at one moment, and all that was worked out from them.

    Which class a dotted name stands for may change with an import, and with a name that a loaded module gains. So a
    table watches the namespaces that matter, and is out of date once one of them has grown or shrunk.
    """

    __slots__ = ("_classifiers", "_own", "_packs", "_plans", "_watched", "_watched_size", "verdicts")

    def __init__(
        self, own: Sequence[Rule], packs: Sequence[Rule], classifiers: Sequence[Callable[[Any], object]]
    ) -> None:
        self.verdicts: dict[type, Explanation] = {}
        self._plans: dict[type, _Plan] = {}
        self._own = own
        self._packs = packs
        self._classifiers = classifiers
        self._watched = _namespaces_to_watch((*own, *packs))
        self._watched_size = sum(map(len, self._watched))

    def is_current(self) -> bool:
        """Whether every dotted name still means what it meant."""
        return sum(map(len, self._watched)) == self._watched_size

    def explain(self, error: BaseException) -> Explanation:
        """The verdict on an exception."""
        plan = self._plan(type(error))
        if plan.settled is not None and not self._classifiers:
            return _remembered(self.verdicts, type(error), plan.settled)
        evidence = Evidence(error)
        if not plan.is_caught:
            return replace(self._type_of(evidence, set()), action=Action.PROPAGATE, reason=_NOT_CAUGHT)
        steering, ignored = self._steering(evidence, plan)
        verdict = self._type_of(evidence, ignored)
        return verdict if steering is None else _steered(steering, verdict)

    def _plan(self, kind: type) -> _Plan:
        return self._plans.get(kind) or _remembered(self._plans, kind, self._planned(kind))

    def _planned(self, kind: type) -> _Plan:
        """What can be known from a class.

        A rule for all exceptions is no rule for groups: their members are asked first.
        """
        is_group = BaseExceptionGroup in mro(kind)
        rules = in_order(kind, self._own, self._packs)
        candidates = [_candidate(applicable, kind, is_group) for applicable in rules]
        counting = tuple(candidate for candidate in candidates if candidate.rule.action is Action.COUNT)
        steering = tuple(candidate for candidate in candidates if not (is_group and candidate.passes_on))
        if all(candidate.rule.action is Action.COUNT for candidate in steering):
            steering = ()
        is_caught = Exception in mro(kind)
        settled = _settled(steering, counting) if is_caught and not is_group else None
        return _Plan(steering, counting, settled, is_group, is_caught)

    # The action: which rule ignores or propagates it, if one does.

    def _steering(self, evidence: Evidence, plan: _Plan) -> tuple[Explanation | None, set[int]]:
        """What ignores or propagates the exception, and the ids of the members of a group that are ignored."""
        first = _first(plan.steering, evidence)
        if first is not None and first.rule.action is not Action.COUNT:
            return first.says, set()
        return self._steering_of_members(evidence.error) if plan.is_group else (None, set())

    def _steering_of_members(self, group: BaseException) -> tuple[Explanation | None, set[int]]:
        """A group goes through if one of its leaves does; it is ignored if all of them are."""
        ignored: dict[int, Explanation] = {}
        leaves = list(_leaves(group))
        for leaf in leaves:
            first = _first(self._plan(type(leaf)).steering, Evidence(leaf))
            if first is not None and first.rule.action is Action.PROPAGATE:
                return _of_wrapper(group, first.says), set()
            if first is not None and first.rule.action is Action.IGNORE:
                ignored[id(leaf)] = first.says
        if len(ignored) < len(leaves):
            return None, set(ignored)
        return _of_wrapper(group, ignored[id(leaves[0])]), set()

    # The type: what the counting rules say of the exception itself, or of what it wraps.

    def _type_of(self, evidence: Evidence, ignored: set[int]) -> Explanation:
        error = evidence.error
        findings = self._findings(evidence, ignored)
        if not findings:
            return Explanation(Action.COUNT, FailureType.UNKNOWN_ERROR, type_name(type(error)), reason=_NO_RULE)
        gravest = min(findings, key=lambda finding: _GRAVITY.index(finding.says.failure_type))
        return gravest.says if gravest.error is error else _of_wrapper(error, gravest.says)

    def _findings(self, evidence: Evidence, seen: set[int]) -> list[_Finding]:
        """What can be said of an exception and of all that it wraps, from the outside inwards.

        An exception for which a rule speaks is the end of its path. A wrapper, and one that no rule matches, passes
        the question on; where that leads to nothing, the type of the last wrapper that has one stands.
        """
        findings: list[_Finding] = []
        pending: list[tuple[Evidence, _Finding | None]] = [(evidence, None)]
        while pending and len(seen) < _MOST_LINKS:
            link, last_wrapper = pending.pop()
            inner: list[BaseException] = []
            if id(link.error) not in seen:
                seen.add(id(link.error))
                finding, is_wrapper = self._said_of(link)
                last_wrapper = finding or last_wrapper
                inner = _wrapped_by(link.error, finding) if is_wrapper else []
            if inner:
                pending.extend((Evidence(error), last_wrapper) for error in inner[: _MOST_LINKS - len(pending)])
            elif last_wrapper is not None:
                findings.append(last_wrapper)
        return findings + [finding for _, finding in pending if finding is not None]

    def _said_of(self, evidence: Evidence) -> tuple[_Finding | None, bool]:
        """What is said of one exception, and whether what it wraps is to be asked first."""
        said = self._said_by_classifier(evidence.error)
        if said is not None:
            return _Finding(evidence.error, said), False
        first = _first(self._plan(type(evidence.error)).counting, evidence)
        if first is None:
            return None, True
        says = None if first.rule.failure_type is None else _Finding(evidence.error, first.says)
        return says, first.passes_on

    def _said_by_classifier(self, error: BaseException) -> Explanation | None:
        for function in reversed(self._classifiers):
            name = getattr(function, "__qualname__", type(function).__qualname__)
            try:
                answer = function(error)
                if answer is not None:
                    kind = checked_type(answer, f"what {name} returned")
                    return Explanation(
                        Action.COUNT, kind, type_name(type(error)), reason=f"the classifier {name} says so"
                    )
            except Exception as fault:  # noqa: BLE001  # the function is the user's
                report(f"the classifier {name} failed; the rules decide without it", fault)
        return None


def _namespaces_to_watch(rules: Sequence[Rule]) -> tuple[Sized, ...]:
    """The loaded modules themselves, and those that lack a name which a rule expects in them."""
    names = {target for rule in rules for target in rule.targets if isinstance(target, str)}
    lacking = {id(namespace): namespace for name in names for namespace in unsettled(name)}
    return (sys.modules, *lacking.values())


def _remembered(cache: dict[type, _T], kind: type, value: _T) -> _T:
    """Keep a value, but not without bound: some libraries make classes at run time."""
    if len(cache) >= _MOST_CLASSES:
        cache.clear()
    cache[kind] = value
    return value


def _candidate(applicable: Applicable, kind: type, is_group: bool) -> _Candidate:
    rule, name, base = applicable
    failure_type = rule.failure_type or FailureType.UNKNOWN_ERROR
    says = Explanation(rule.action, failure_type, type_name(kind), f"{name}{rule.conditions}", rule.pack, rule.why)
    return _Candidate(rule, says, rule.wrapper or (is_group and BaseExceptionGroup not in mro(base)))


def _settled(steering: Sequence[_Candidate], counting: Sequence[_Candidate]) -> Explanation | None:
    """The verdict on every exception of a class, where the first rules for it ask for nothing but the class."""
    if not counting or any(rule.conditions.number or passes_on for rule, _, passes_on in (*steering[:1], counting[0])):
        return None
    acts = steering and steering[0].rule.action is not Action.COUNT
    return _steered(steering[0].says, counting[0].says) if acts else counting[0].says


def _steered(steering: Explanation, verdict: Explanation) -> Explanation:
    """A rule's action, with the type that the exception would count under."""
    return replace(steering, failure_type=verdict.failure_type)


def _of_wrapper(wrapper: BaseException, says: Explanation) -> Explanation:
    return replace(says, error_type=type_name(type(wrapper)), wraps=says.error_type)


def _first(candidates: Sequence[_Candidate], evidence: Evidence) -> _Candidate | None:
    """The first rule whose conditions hold."""
    for candidate in candidates:
        if candidate.rule.conditions.hold(evidence):
            return candidate
    return None


def _wrapped_by(error: BaseException, said: _Finding | None) -> list[BaseException]:
    """The members of a group; or the cause; or the context, where of the exception itself nothing is said.

    What is raised within an `except` block need not have to do with what was caught there. So the context counts
    for a class that says nothing, never against one that says something.
    """
    if BaseExceptionGroup in mro(type(error)):
        return list(_members(error))
    cause = _cause(error)
    if cause is not None:
        return [cause]
    context = None if said is not None or _hides_context(error) else _context(error)
    return [] if context is None else [context]


def _leaves(group: BaseException) -> Iterator[BaseException]:
    """The exceptions in a group and in the groups in it, each once, up to a bound."""
    seen: set[int] = set()
    pending = [group]
    while pending and len(seen) < _MOST_LINKS:
        error = pending.pop()
        if id(error) in seen:
            continue
        seen.add(id(error))
        if BaseExceptionGroup in mro(type(error)):
            pending.extend(_members(error)[: _MOST_LINKS - len(pending)])
        else:
            yield error
