"""Precedence: which rules are asked about a class of exceptions, and in which order."""

from __future__ import annotations

from enum import IntEnum
from typing import TYPE_CHECKING, NamedTuple

from guarded._classnames import defining_path, find, label, module_of, mro
from guarded._origin import is_standard

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from guarded._classnames import Target
    from guarded._matching import Rule

Rank = tuple[int, ...]


class Tier(IntEnum):
    """What kind of rule it is; of those for one class, the kinds are asked in this order."""

    OWN = 0  # the user's
    LIBRARY = 1  # of the pack for a library, about its classes or about Python's that were raised in it
    GENERAL = 2  # of the pack for all libraries
    OTHERWISE = 3  # what stands where the general rules say nothing; of whichever pack
    NAME = 4  # of the general rules, those that look at what the class is called
    BASE = 5  # of the pack for a library, about one of Python's classes from which the exception's own derives
    STANDARD = 6  # of the pack for Python's own exceptions


class Applicable(NamedTuple):
    """A rule that is for a class."""

    rule: Rule
    name: str  # under which the rule names the class, or one of its bases
    base: type  # the class or the one of its bases
    rank: Rank


class _Entry(NamedTuple):
    """A rule under one of the names that it has for classes."""

    order: int  # in which it was declared
    rule: Rule
    target: Target


class Shelf:
    """Some rules, to be found by the class that they are for.

    Args:
        rules: The rules, as declared.
        tier: Whose they are.
    """

    __slots__ = ("_by_class", "_by_leaf", "_tier")

    def __init__(self, rules: Sequence[Rule], tier: Tier) -> None:
        self._tier = tier
        self._by_class: dict[type, list[_Entry]] = {}
        self._by_leaf: dict[str, list[_Entry]] = {}
        for order, rule in enumerate(rules):
            for target in rule.targets:
                entry = _Entry(order, rule, target)
                kind = target if isinstance(target, type) else None
                if isinstance(target, str):
                    self._by_leaf.setdefault(target.rpartition(".")[2], []).append(entry)
                    # A user may give a class another name than its own; packs give its own.
                    kind = find(target) if tier is Tier.OWN else None
                if kind is not None:
                    self._by_class.setdefault(kind, []).append(entry)

    def rules_for(self, kind: type, foreign: int) -> Iterator[Applicable]:
        """The rules that are for a class, each for the nearest of the classes that it names.

        Args:
            kind: The class.
            foreign: How many classes come before the first of the standard library in its method resolution order.
        """
        seen: set[int] = set()
        for place, base in enumerate(mro(kind)):
            for order, rule, target in self._entries_for(base):
                if order not in seen:
                    seen.add(order)
                    rank = self._rank(rule, kind, place, order, foreign)
                    if rank is not None:
                        yield Applicable(rule, label(target), base, rank)

    def _entries_for(self, kind: type) -> Iterator[_Entry]:
        yield from self._by_class.get(kind, ())
        for entry in self._by_leaf.get(kind.__name__, ()):
            if entry.target == defining_path(kind) or find(str(entry.target)) is kind:
                yield entry

    def _rank(self, rule: Rule, kind: type, place: int, order: int, foreign: int) -> Rank | None:
        name = rule.conditions.place_of_name(kind)
        if name is None:
            return None
        tier, asked_at = self._tier_of(rule, place, foreign), place
        if tier in (Tier.GENERAL, Tier.OTHERWISE, Tier.NAME):
            asked_at = foreign or place
        nearest = name if tier is Tier.NAME else place
        of_a_pack = self._tier is not Tier.OWN
        return (tier is not Tier.OWN, asked_at, tier, of_a_pack, nearest, -rule.conditions.number, -order)

    def _tier_of(self, rule: Rule, place: int, foreign: int) -> Tier:
        if rule.otherwise:
            return Tier.OTHERWISE
        if self._tier is Tier.GENERAL and rule.conditions.named is not None and rule.conditions.number == 1:
            return Tier.NAME
        if self._tier is Tier.LIBRARY and 0 < foreign <= place:
            return Tier.BASE
        return self._tier


def in_order(kind: type, shelves: Iterable[Shelf]) -> list[Applicable]:
    """The rules that are for a class, in the order in which they are asked; the first whose conditions hold decides.

    1. The user's own rules, then those of packs.
    2. The nearer class, as the method resolution order has it: a rule for `ConnectionError` before one for `OSError`.
       About a class of a library, general rules are asked between the rules for classes of libraries and those for
       Python's own, whichever class they name; then what `otherwise` says, the user's before a pack's; then what the
       class is called.
    3. For one class, the rules of the library, general ones, those of Python's own pack.
    4. The rule with more conditions (`message`, `raised_in` and each path of `when` are one each).
    5. The rule that was declared later.

    Args:
        kind: The class of an exception.
        shelves: Where the rules stand.
    """
    foreign = next((place for place, base in enumerate(mro(kind)) if is_standard(module_of(base))), 0)
    applicable = [found for shelf in shelves for found in shelf.rules_for(kind, foreign)]
    return sorted(applicable, key=lambda found: found.rank)
