"""Scope: whom a count or a halt is about."""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

from guarded._errors import InvalidConfiguration

ScopeKind = Literal["key", "strategy", "symbol", "global"]
SCOPE_KINDS: tuple[ScopeKind, ...] = get_args(ScopeKind)


class Scope(NamedTuple):
    """Everything, one strategy, one symbol, or one (strategy, symbol).

    Attributes:
        strategy: The strategy's name, or None for every strategy.
        symbol: The symbol, or None for every symbol.
    """

    strategy: str | None = None
    symbol: str | None = None

    @property
    def kind(self) -> ScopeKind:
        """Which of the four kinds of scope this is."""
        if self.strategy is None:
            return "global" if self.symbol is None else "symbol"
        return "strategy" if self.symbol is None else "key"

    def covers(self, other: Scope) -> bool:
        """Whether everything in `other` is in this scope as well."""
        return self.strategy in (None, other.strategy) and self.symbol in (None, other.symbol)

    def to_dict(self) -> dict[str, str | None]:
        """JSON-ready form, keys = field names."""
        return self._asdict()

    def __str__(self) -> str:
        match self.kind:
            case "global":
                return "everything"
            case "strategy":
                return f"strategy {self.strategy}"
            case "symbol":
                return f"symbol {self.symbol}"
            case _:
                return f"{self.strategy} for {self.symbol}"


EVERYTHING = Scope()


def scopes_of(strategy: str, symbol: str) -> dict[ScopeKind, Scope]:
    """The scopes that a call of this key counts in, finest first."""
    return {
        "key": Scope(strategy, symbol),
        "strategy": Scope(strategy, None),
        "symbol": Scope(None, symbol),
        "global": EVERYTHING,
    }


def checked_scope(strategy: str | None, symbol: str | None) -> Scope:
    """A scope named by a user.

    Raises:
        InvalidConfiguration: A name is given that is no text, or an empty one.
    """
    for field, name in (("strategy", strategy), ("symbol", symbol)):
        if name is not None and (not isinstance(name, str) or not name):
            raise InvalidConfiguration(f"{field}={name!r}: expected a name, or None for every {field}")
    return Scope(strategy, symbol)
