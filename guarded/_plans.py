"""Plans: which rules are asked about an exception, and what is left to ask once something is known of it."""

from __future__ import annotations

import sys
from dataclasses import replace
from itertools import chain
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from guarded._classnames import module_of, mro, unsettled
from guarded._explanation import Explanation
from guarded._failure import FailureType
from guarded._libraries import pack_of
from guarded._matching import Action, Conditions, Rule
from guarded._packs import GENERAL, STANDARD, built_in
from guarded._precedence import Applicable, Shelf, Tier, in_order
from guarded._secrets import type_name

if TYPE_CHECKING:
    from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence, Sized

    from guarded._attributes import Paths
    from guarded._evidence import Evidence
    from guarded._origin import Origin

    Values = tuple[tuple[object, ...], ...]

_K = TypeVar("_K", bound="Hashable")

_KEYS = frozenset({int, str, type(None)})  # of which equal ones are the same to a rule
_MOST_KEPT = 1_000
_LONGEST_KEPT = 1_000


class Candidate(NamedTuple):
    """A rule for a class, and what it says of that class where its conditions hold."""

    rule: Rule
    says: Explanation
    passes_on: bool  # whether what the exception wraps is asked first
    conditions: Conditions  # those that are still to be asked
    is_certain: bool  # whether there are none


class Plan(NamedTuple):
    """The rules that are still to be asked about exceptions of a class, in their order.

    Of a class much can be known in advance, and exceptions of a class are raised in the same places, with the same
    texts and with the same attributes over and over. So plans are kept, and what they leave to be asked is mostly
    nothing.
    """

    kind: type
    is_group: bool
    candidates: tuple[Candidate, ...]
    steering: tuple[Candidate, ...]  # those that decide on the action; empty where none ignores or propagates
    counting: tuple[Candidate, ...]  # those that count
    settled: Explanation | None  # the verdict, where nothing is left to ask
    asks_text: bool
    paths: tuple[tuple[Paths, bool], ...]  # where attributes are looked for, and whether the class itself may have them
    may_carry: bool  # whether one of them may be there even of an exception that carries nothing itself
    next: dict[object, Plan]  # those that were made of it: by origin, attributes or text, whichever comes next

    def after(self, asking: Callable[[Conditions], Conditions | None]) -> Plan:
        """What is left, once more is known."""
        return plan_of(self.kind, _left(self.candidates, asking))


def _left(candidates: Iterable[Candidate], asking: Callable[[Conditions], Conditions | None]) -> Iterator[Candidate]:
    for candidate in candidates:
        rest = asking(candidate.conditions)
        if rest is not None:
            yield candidate._replace(conditions=rest, is_certain=rest.are_met)


def first(candidates: Sequence[Candidate], evidence: Evidence) -> Candidate | None:
    """The first rule whose conditions hold."""
    for candidate in candidates:
        if candidate.is_certain or candidate.conditions.hold(evidence):
            return candidate
    return None


class Plans:
    """The rules as they stand at one moment, and the plans that were made of them.

    A pack for a library is read when an exception is of that library or was raised in it.

    Which class a dotted name stands for may change with an import, and with a name that a loaded module gains. So
    the namespaces that matter are watched; once one of them has grown or shrunk, these plans are out of date.

    Args:
        own: The user's rules.
        packs: The names of the built-in packs that may be asked.
    """

    __slots__ = ("_by_class", "_kept", "_own", "_packs", "_shelves", "_watched", "_watched_size")

    def __init__(self, own: Sequence[Rule], packs: Iterable[str]) -> None:
        self._by_class: dict[type, Plan] = {}
        self._kept = 0
        self._own = Shelf(own, Tier.OWN)
        self._packs = frozenset(packs)
        self._shelves: dict[str, Shelf] = {}
        self._watched = _namespaces_to_watch(own)
        self._watched_size = sum(map(len, self._watched))

    @property
    def watch_more(self) -> bool:
        """Whether more has to be watched than how many modules are loaded."""
        return len(self._watched) > 1

    def are_current(self) -> bool:
        """Whether every dotted name still means what it meant."""
        return sum(map(len, self._watched)) == self._watched_size

    def for_class(self, kind: type) -> Plan:
        """What is to be asked of exceptions of a class."""
        return self._by_class.get(kind) or self._keep(self._by_class, kind, self._planned(kind, ()))

    def for_exception(self, evidence: Evidence) -> Plan:
        """What is to be asked of an exception, given its class, where it was raised, its attributes and its text."""
        plan = self.for_class(type(evidence.error))
        if plan.settled is not None:
            return plan
        origin = evidence.origin()
        plan = plan.next.get(origin) or self._keep(plan.next, origin, self._at(plan.kind, origin))
        if plan.settled is not None:
            return plan
        values = _values(plan, evidence) if plan.paths else ()
        if plan.paths:
            known = None if values is None else plan.next.get(values)
            plan = known or self._with_attributes(plan, evidence, values)
        if plan.settled is not None or not plan.asks_text:
            return plan
        text = evidence.text()
        return plan.next.get(text) or self._with_text(plan, text, keep=values is not None)

    def _at(self, kind: type, origin: Origin) -> Plan:
        return self._planned(kind, origin).after(lambda conditions: conditions.after_origin(origin))

    def _with_attributes(self, plan: Plan, evidence: Evidence, values: Values | None) -> Plan:
        narrowed = plan.after(lambda conditions: conditions.after_attributes(evidence))
        return narrowed if values is None else self._keep(plan.next, values, narrowed)

    def _with_text(self, plan: Plan, text: str | None, *, keep: bool) -> Plan:
        narrowed = plan.after(lambda conditions: conditions.after_text(text))
        is_long = text is not None and len(text) > _LONGEST_KEPT
        return self._keep(plan.next, text, narrowed) if keep and not is_long else narrowed

    def _keep(self, plans: dict[_K, Plan], key: _K, plan: Plan) -> Plan:
        """Keep a plan, but not without bound: some libraries make classes at run time, and texts differ."""
        self._kept += 1
        if self._kept > _MOST_KEPT:
            self._by_class.clear()
            self._kept = 0
        plans[key] = plan
        return plan

    def _planned(self, kind: type, origin: Origin) -> Plan:
        is_group = BaseExceptionGroup in mro(kind)
        rules = in_order(kind, self._shelves_for(kind, origin))
        return plan_of(kind, (_candidate(applicable, kind, is_group) for applicable in rules))

    def _shelves_for(self, kind: type, origin: Origin) -> list[Shelf]:
        """The user's rules, and those of the packs for the libraries that a class, or its raising, is of."""
        modules = [module_of(base) for base in mro(kind)]
        about = {pack for module in (*modules, *origin) if (pack := pack_of(module)) is not None}
        return [self._own, *(self._shelf(pack) for pack in (GENERAL, STANDARD, *sorted(about)) if pack in self._packs)]

    def _shelf(self, pack: str) -> Shelf:
        shelf = self._shelves.get(pack)
        if shelf is None:
            tier = {GENERAL: Tier.GENERAL, STANDARD: Tier.STANDARD}.get(pack, Tier.LIBRARY)
            shelf = self._shelves[pack] = Shelf(built_in(pack), tier)
        return shelf


def _values(plan: Plan, evidence: Evidence) -> Values | None:
    """What an exception carries where its plan looks; None where one cannot tell whether that is the same again."""
    own = evidence.names()
    if not own and not plan.may_carry:
        return ()
    values = tuple(
        [
            evidence.values(paths) if has_class or not paths.names.isdisjoint(own) else ()
            for paths, has_class in plan.paths
        ]
    )
    found = list(chain.from_iterable(values))
    kinds = set(map(type, found))
    is_long = str in kinds and any(isinstance(value, str) and len(value) > _LONGEST_KEPT for value in found)
    return None if is_long or not kinds <= _KEYS else values


def _namespaces_to_watch(rules: Sequence[Rule]) -> tuple[Sized, ...]:
    """The loaded modules themselves, and those that lack a name which a rule of the user's expects in them."""
    names = {target for rule in rules for target in rule.targets if isinstance(target, str)}
    lacking = {id(namespace): namespace for name in names for namespace in unsettled(name)}
    return (sys.modules, *lacking.values())


def _candidate(applicable: Applicable, kind: type, is_group: bool) -> Candidate:
    rule, name, base, _ = applicable
    failure_type = rule.failure_type or FailureType.UNKNOWN_ERROR
    label = rule.name or f"{name}{rule.conditions}"
    says = Explanation(rule.action, failure_type, type_name(kind), label, rule.pack, rule.why)
    passes_on = rule.wrapper or (is_group and BaseExceptionGroup not in mro(base))
    rest = rule.conditions._replace(named=None)
    return Candidate(rule, says, passes_on, rest, rest.are_met)


def plan_of(kind: type, asked: Iterable[Candidate]) -> Plan:
    """A plan: the rules up to the first that is certain to hold and counts; none behind it is looked at.

    A rule for all exceptions is no rule for groups, for their members are asked first.
    """
    is_group = BaseExceptionGroup in mro(kind)
    candidates: list[Candidate] = []
    for candidate in asked:
        candidates.append(candidate)
        if candidate.is_certain and candidate.rule.action is Action.COUNT and not is_group:
            break
    counting = tuple(candidate for candidate in candidates if candidate.rule.action is Action.COUNT)
    steering = tuple(candidate for candidate in candidates if not (is_group and candidate.passes_on))
    if all(candidate.rule.action is Action.COUNT for candidate in steering):
        steering = ()
    tests = [test for candidate in candidates for test in candidate.conditions.tests]
    paths = _paths(kind, (test.paths for test in tests if not test.asks_a_function))
    return Plan(
        kind=kind,
        is_group=is_group,
        candidates=tuple(candidates),
        steering=steering,
        counting=counting,
        settled=None if is_group else _settled(steering, counting),
        asks_text=any(candidate.conditions.message is not None for candidate in candidates),
        paths=paths,
        may_carry=any(has_class for _, has_class in paths),
        next={},
    )


def _settled(steering: Sequence[Candidate], counting: Sequence[Candidate]) -> Explanation | None:
    """The verdict on every exception that a plan is for, where the first rules of it have nothing left to ask."""
    if not counting or any(c.passes_on or not c.is_certain for c in (*steering[:1], counting[0])):
        return None
    acts = steering and steering[0].rule.action is not Action.COUNT
    return steered(steering[0].says, counting[0].says) if acts else counting[0].says


def steered(steering: Explanation, verdict: Explanation) -> Explanation:
    """A rule's action, with the type that the exception would count under."""
    return replace(steering, failure_type=verdict.failure_type)


def _paths(kind: type, asked: Iterable[Paths]) -> tuple[tuple[Paths, bool], ...]:
    """Some paths, each once, and whether a class has what they begin with, or makes attributes up when asked for."""
    namespaces = [base.__dict__ for base in mro(kind)]
    made = [names for base, names in zip(mro(kind), namespaces, strict=True) if base not in (BaseException, object)]
    makes_up = any("__getattr__" in names or "__getattribute__" in names for names in made)
    return tuple(
        (paths, makes_up or any(not paths.names.isdisjoint(names) for names in namespaces))
        for paths in dict.fromkeys(asked)
    )
