"""URLs of stores, and the stores that this process has opened by them."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit

from guarded._checks import near_miss
from guarded._errors import InvalidConfiguration
from guarded._locks import ForkSafeLock

if TYPE_CHECKING:
    from collections.abc import Callable
    from urllib.parse import SplitResult

    from guarded.stores.shared import SharedStore

EXPECTED = "'memory://', 'sqlite:///guarded.db', 'redis://host:6379/0' or 'rediss://host:6379/0'"

_opened: weakref.WeakValueDictionary[str, SharedStore] = weakref.WeakValueDictionary()
_lock = ForkSafeLock()


def opened(url: str) -> SharedStore:
    """The store of a URL; the same one as long as somebody holds it.

    Raises:
        InvalidConfiguration: There is no store for such a URL, or it has a setting that the store does not know.
        StoreUnavailable: The store cannot be opened.
    """
    return reopened(url, lambda: _open(url))


def reopened(name: str, make: Callable[[], SharedStore]) -> SharedStore:
    """The store that was opened under a name, or a new one."""
    with _lock:
        store = _opened.get(name)
        if store is None or store._closed:
            store = _opened[name] = make()
        return store


def shown(url: str) -> str:
    """A URL without user, password and settings, whatever is in them."""
    scheme, slashes, rest = url.partition("://")
    _, at, place = rest.rpartition("@") if scheme != "sqlite" else ("", "", rest)
    return f"{scheme}{slashes}{'***@' if at else ''}{place.partition('?')[0]}"


def _open(url: str) -> SharedStore:
    scheme = url.partition(":")[0]
    try:
        urlsplit(url)
    except ValueError as error:
        _refuse(url, f"it cannot be read ({type(error).__name__}); expected {EXPECTED}")
    if scheme == "sqlite":
        return _sqlite(url)
    if scheme in ("redis", "rediss"):
        return _redis(url)
    hint = f"; did you mean 'sqlite:///{url}'?" if url.endswith((".db", ".sqlite")) and "://" not in url else ""
    raise InvalidConfiguration(f"store={shown(url)!r}: expected {EXPECTED}{hint}")


def _sqlite(url: str) -> SharedStore:
    from guarded.stores.sqlite import SQLiteStore  # noqa: PLC0415  # each store is imported when it is asked for

    parts = urlsplit(url)
    path = unquote(parts.path.removeprefix("/"))
    if not url.startswith("sqlite:///") or not path:
        raise InvalidConfiguration(
            f"store={shown(url)!r}: expected 'sqlite:///guarded.db' for a path from here, or 'sqlite:////var/lib/guarded.db'"
        )
    return SQLiteStore(path, **_settings(url, parts, {"durability": str, "timeout": float}))


def _redis(url: str) -> SharedStore:
    from guarded.stores.redis import RedisStore  # noqa: PLC0415  # the same

    parts = urlsplit(url)
    settings = _settings(url, parts, {"namespace": str, "timeout": float}, passing_on=True)
    if not settings:
        return RedisStore(url)
    rest = [pair for pair in parse_qsl(parts.query, keep_blank_values=True) if pair[0] not in settings]
    return RedisStore(parts._replace(query=urlencode(rest)).geturl(), **settings)


def _settings(
    url: str, parts: SplitResult, known: dict[str, Callable[[str], object]], *, passing_on: bool = False
) -> dict[str, Any]:
    settings: dict[str, Any] = {}
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        if name in known:
            settings[name] = _converted(url, name, value, known[name])
        elif not passing_on:
            _refuse(url, f"it knows no setting {name!r}{near_miss(name, known)}; settings are {', '.join(known)}")
    return settings


def _converted(url: str, name: str, value: str, convert: Callable[[str], object]) -> object:
    try:
        return convert(value)
    except ValueError:
        _refuse(url, f"{name}={value!r}: expected a number")


def _refuse(url: str, why: str) -> NoReturn:
    raise InvalidConfiguration(f"store={shown(url)!r}: {why}")
