"""Precedence: which rules are asked about a class of exceptions, and in which order."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from guarded._classnames import defining_path, find, label, mro

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from guarded._classnames import Target
    from guarded._matching import Rule

Rank = tuple[int, int, int, int]


class Applicable(NamedTuple):
    """A rule that is for a class."""

    rule: Rule
    name: str  # under which the rule names the class, or one of its bases
    base: type  # the class or the one of its bases


def in_order(kind: type, own: Sequence[Rule], packs: Sequence[Rule]) -> list[Applicable]:
    """The rules that are for a class, in the order in which they are asked; the first whose conditions hold decides.

    1. The user's own rules, then those of packs.
    2. The nearer class, as the method resolution order has it: a rule for `ConnectionError` before one for `OSError`.
    3. The rule with more conditions (`message`, `raised_in` and each path of `when` are one each).
    4. The rule that was declared later.

    Args:
        kind: The class of an exception.
        own: The user's rules, as declared.
        packs: The rules of packs, as loaded.
    """
    return [applicable for _, applicable in sorted(_ranked(kind, own, packs), key=lambda entry: entry[0])]


def _ranked(kind: type, own: Sequence[Rule], packs: Sequence[Rule]) -> Iterator[tuple[Rank, Applicable]]:
    bases, places = mro(kind), _places(kind)
    for tier, rules in enumerate((own, packs)):
        for order, rule in enumerate(rules):
            found = [(place, target) for target in rule.targets if (place := _place(target, places)) is not None]
            if found:
                place, target = min(found, key=lambda entry: entry[0])
                yield (tier, place, -rule.conditions.number, -order), Applicable(rule, label(target), bases[place])


def _places(kind: type) -> dict[Target | type, int]:
    """How far each class is, counted along the method resolution order; by the class and by where it is defined."""
    places: dict[Target | type, int] = {}
    for place, base in enumerate(mro(kind)):
        places[base] = place
        places.setdefault(defining_path(base), place)
    return places


def _place(target: Target, places: dict[Target | type, int]) -> int | None:
    if not isinstance(target, str):
        return places.get(target)
    named = find(target)
    known = [places[name] for name in (target, named) if name in places]
    return min(known, default=None)
