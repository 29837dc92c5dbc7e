"""Operands: what people name on the command line, the store, the scope, a type, a time, checked."""

from __future__ import annotations

import re
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, get_args
from urllib.parse import unquote, urlsplit

from guarded._audit import Action
from guarded._checks import near_miss
from guarded._errors import InvalidConfiguration, StoreUnavailable
from guarded.stores import _urls

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from guarded._report import Picture
    from guarded._scope import Scope
    from guarded.stores.shared import SharedStore

_UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}
_SPAN: Final = re.compile(r"([0-9]{1,9})([smhd])")


def checked_url(url: str | None) -> str:
    """The URL of a store that outlives its process.

    Raises:
        InvalidConfiguration: None is given, or that of a store in memory, or something that is no URL.
    """
    if not url:
        raise InvalidConfiguration(
            "no store is named: give --store URL or set GUARDED_STORE, to what the bots use, such as"
            " sqlite:////var/lib/bot/guarded.db or redis://host:6379/0"
        )
    if url.startswith("memory:"):
        raise InvalidConfiguration(f"--store={url!r}: a memory store belongs to its process; no other one can see it")
    if "://" not in url:
        raise InvalidConfiguration(f"--store={url!r}: expected a URL; that of a file is 'sqlite:///{url}'")
    return url


@contextmanager
def opened(url: str) -> Iterator[SharedStore]:
    """A store that is there already, until the block ends.

    Raises:
        InvalidConfiguration: There is no store for such a URL.
        StoreUnavailable: It cannot be opened, or there is no such file: none is made, for no bot would look into it.
    """
    try:
        _check_file(url)
        store = _urls.opened(url)
    except InvalidConfiguration:
        raise
    except ValueError as fault:  # urllib cannot take it apart
        raise InvalidConfiguration(f"--store={_urls.shown(url)!r}: {fault}") from fault
    except ImportError as missing:
        raise StoreUnavailable(str(missing)) from missing
    try:
        yield store
    finally:
        store.close()


def _check_file(url: str) -> None:
    parts = urlsplit(url)
    path = Path(unquote(parts.path.removeprefix("/")))
    if parts.scheme == "sqlite" and not parts.netloc and not path.exists():
        raise StoreUnavailable(
            f"there is no file {path.absolute()}: give the one that the bots use, as sqlite:///guarded.db for a path"
            " from here, or as sqlite:////var/lib/bot/guarded.db"
        )


def check_carried_out(store: SharedStore, what: str) -> None:
    """See that a change has reached the store, rather than only this process.

    Raises:
        StoreUnavailable: The store went away meanwhile.
    """
    if store.lost is not None:
        raise StoreUnavailable(
            f"whether trading is {what} is not known, for the store went away: {store.lost}. Ask `guarded status`"
        )


def check_known(picture: Picture, scope: Scope) -> None:
    """See that a store knows the names of a scope.

    Raises:
        InvalidConfiguration: It does not know one.
    """
    for field, name, similar in _unknown(picture, scope):
        raise InvalidConfiguration(f"no {field} {name!r} is known here{similar}")


def note_unknown(picture: Picture, scope: Scope, hint: str = "") -> list[str]:
    """What a store does not know of a scope, for whoever may go on all the same: a symbol is known once it fails.

    Args:
        picture: What the store holds.
        scope: The names.
        hint: What else to do, for the error's text.

    Returns:
        A note for each name that is like none that is known.

    Raises:
        InvalidConfiguration: A name is not known, and is like one that is.
    """
    unknown = list(_unknown(picture, scope))
    for field, name, similar in unknown:
        if similar:
            raise InvalidConfiguration(f"no {field} {name!r} is known here{similar}{hint}")
    return [f"nothing has been recorded of {field} {name!r} yet" for field, name, _ in unknown]


def _unknown(picture: Picture, scope: Scope) -> Iterator[tuple[str, str, str]]:
    """Of each name that a store does not know: whether it is a strategy or a symbol, the name, what may be meant."""
    given: dict[Literal["strategy", "symbol"], str | None] = {"strategy": scope.strategy, "symbol": scope.symbol}
    for field, name in given.items():
        known = picture.names(field)
        if name is not None and name not in known:
            yield field, name, _similar(name, known)


def _similar(name: str, known: Collection[str]) -> str:
    """`"; did you mean 'VWAP'?"` where a name is known that looks like this one, in whatever case."""
    folded = {other.casefold(): other for other in sorted(known)}
    close = get_close_matches(name.casefold(), folded, n=1, cutoff=0.7)
    return f"; did you mean {folded[close[0]]!r}?" if close else ""


def checked_action(action: str | None) -> str | None:
    """An action of the audit, or None for all.

    Raises:
        InvalidConfiguration: There is no such action.
    """
    allowed = get_args(Action)
    if action is not None and action not in allowed:
        names = ", ".join(map(repr, allowed))
        raise InvalidConfiguration(f"--action={action!r}: expected one of {names}{near_miss(action, allowed)}")
    return action


def moment_of(text: str | None, now: datetime) -> datetime | None:
    """A time in ISO 8601, in UTC where it says nothing else; or a span such as `15m` before now; None for none.

    Raises:
        InvalidConfiguration: It is neither.
    """
    if text is None:
        return None
    try:
        span = _SPAN.fullmatch(text)
        if span is not None:
            return now - timedelta(**{_UNITS[span[2]]: int(span[1])})
        moment = datetime.fromisoformat(text)
    except (ValueError, OverflowError):
        raise InvalidConfiguration(
            f"--since={text!r}: expected a time such as 2025-11-11T14:25:30+00:00, or a span such as 30s, 15m, 2h or 7d"
        ) from None
    return moment if moment.utcoffset() is not None else moment.replace(tzinfo=UTC)
