"""RedisStore: a ledger on a Redis or Valkey server, for processes on many machines."""

from __future__ import annotations

import hashlib
import json
import re
import time
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import UTC, datetime
from functools import cache
from typing import TYPE_CHECKING, Any, Final, TypeVar
from urllib.parse import urlsplit

from guarded import _log
from guarded._checks import near_miss
from guarded._errors import InvalidConfiguration, StoreUnavailable
from guarded.stores import Change, Member, Rows, Touched, _wire
from guarded.stores._backend import (
    CHANGES_KEPT,
    ENDED_KEPT,
    FORGOTTEN_AFTER,
    LEASE,
    Committed,
    News,
    Snapshot,
    Ticket,
    is_dead,
)
from guarded.stores._redis_scripts import BEAT, CLAIM, COMMIT, LEAVE, READ, SNAPSHOT
from guarded.stores._urls import shown
from guarded.stores.shared import SharedStore

try:
    import redis
    import redis.backoff
    import redis.cluster
    import redis.exceptions
    import redis.retry
except ImportError as missing:  # pragma: no cover  # tests/test_redis.py looks at it in a process of its own
    raise ImportError("RedisStore needs the package redis: install guarded[redis]") from missing

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from guarded._audit import AuditEntry
    from guarded._failure import SignalGenerationFailure
    from guarded._halt import HaltRecord
    from guarded._scope import Scope
    from guarded.stores._backend import Decide

T = TypeVar("T")

SCHEMA: Final = "1"
OLDEST: Final = (6, 2)
LISTEN: Final = 1.0
"""Seconds for which the server is asked to hold a question for changes open."""

PAUSE: Final = 0.01
"""Seconds between two answers with changes, so that many changes at once do not come one by one."""

MOST: Final = 1_000
"""So many changes at once are not read one by one."""

TRIES: Final = 1_000
"""How often a transaction is made anew because another process was quicker; each time, one of them gets through."""

KEYS: Final = (
    "meta",
    "streaks",
    "totals",
    "halts",
    "callbacks",
    "ended",
    "failures",
    "audit",
    "changes",
    "applied",
    "members",
    "successes",
)
_UNREADABLE: Final = "it cannot be read; write / : @ and the like in user and password as %2F and so on"
_DATABASE = re.compile(r"/?[0-9]*")
_NAMESPACE = re.compile(r"[A-Za-z0-9_.:-]{1,100}")


class RedisStore(SharedStore):
    """A ledger on a Redis (6.2 or newer) or Valkey server: shared by processes on many machines.

    One script on the server for each failure, carried out whole or not at all. Other processes see a halt within some
    50 milliseconds. All keys begin with `{guarded:namespace}`, so that they are in one slot of a cluster.

    How durable it is, is for the server to say: with `appendonly yes` and `appendfsync always` a failure that was
    recorded survives a power cut; with `everysec` the last second may be lost. A halt that any running process knows
    is set again when a server has forgotten it.

    Args:
        url: `redis://user:password@host:6379/0`, or `rediss://` for TLS; what follows a `?` goes to redis-py, such as
            `ssl_ca_certs`.
        namespace: Tells apart what shares a server: letters, digits and `_.:-`.
        timeout: Seconds to wait for the server, before it counts as away.

    Raises:
        InvalidConfiguration: A setting that cannot work.
        StoreUnavailable: The server cannot be used: it does not answer, refuses the password, is too old, a replica,
            or may drop keys when its memory is full.
        ImportError: The package redis is missing.

    Example:
        set_failure_tracker(FailureTracker(store=RedisStore("redis://10.0.0.5:6379/0", namespace="prod")))
    """

    def __init__(self, url: str, *, namespace: str = "default", timeout: float = 1.0) -> None:
        if not isinstance(url, str) or not url.startswith(("redis://", "rediss://")):
            given = shown(url) if isinstance(url, str) else url
            raise InvalidConfiguration(f"url={given!r} of RedisStore: expected redis://host:6379/0 or rediss://...")
        if not _DATABASE.fullmatch(_path_of(url)):
            raise InvalidConfiguration(
                f"url={shown(url)!r} of RedisStore: expected the number of a database after host/"
            )
        if not isinstance(namespace, str) or not _NAMESPACE.fullmatch(namespace):
            raise InvalidConfiguration(
                f"namespace={namespace!r} of RedisStore: expected up to 100 letters, digits and _.:-"
            )
        if isinstance(timeout, bool) or not isinstance(timeout, int | float) or timeout <= 0:
            raise InvalidConfiguration(f"timeout={timeout!r} of RedisStore: expected a number of seconds above 0")
        self._shown = f"RedisStore({shown(url)!r}, namespace={namespace!r})"
        server = _Server(url, namespace=namespace, timeout=timeout)
        super().__init__(server, url, {"namespace": namespace, "timeout": timeout})

    def __repr__(self) -> str:
        return self._shown


class _Server:
    """The server, and this process's two connections to it: one for the transactions, one for the keeper."""

    def __init__(self, url: str, *, namespace: str, timeout: float) -> None:
        self.where = f"Redis at {shown(url)}"
        self._url = url
        self._keys = [f"{{guarded:{namespace}}}:{name}" for name in KEYS]
        self._key = dict(zip(KEYS, self._keys, strict=True))
        self._timeout = timeout
        self._client: Any = None
        self._listening: Any = None
        self._asking: Any = None
        self._last_id = "0-0"
        self._heard = False
        self._warned = False
        _client(url, timeout)  # a URL that cannot be understood is one at once

    # -- opening

    def open(self) -> None:
        """Connect, and see that the server will do."""
        self.close()
        with self._faults("cannot be reached"):
            client = _client(self._url, self._timeout)
            info = client.info()
            if info.get("cluster_enabled"):
                client.close()
                client = _client(self._url, self._timeout, cluster=True)
                info = client.info(target_nodes=client.get_node_from_key(self._keys[0]))
                self._listening = _client(self._url, self._timeout + LISTEN, cluster=True)
            else:
                self._listening = _client(self._url, self._timeout + LISTEN)
            self._check(info)
            found = client.hsetnx(self._key["meta"], "schema", SCHEMA) or client.hget(self._key["meta"], "schema")
            if found not in (1, True, SCHEMA):
                raise StoreUnavailable(
                    f"{self.where} has a ledger of version {found}, and this guarded knows {SCHEMA}: a newer guarded"
                    " wrote it. Install that one, or use another namespace"
                )
            self._forget_the_silent(client)
        self._client = client

    def _forget_the_silent(self, client: Any) -> None:
        """Take off the processes that ended without saying so, long ago."""
        now = datetime.now(UTC)
        members = map(_wire.member_of, client.hvals(self._key["members"]))
        silent = [m.identity for m in members if (now - m.seen).total_seconds() > FORGOTTEN_AFTER]
        if silent:
            client.hdel(self._key["members"], *silent)
            client.hdel(self._key["applied"], *silent)

    def _check(self, info: Mapping[str, Any]) -> None:
        version = tuple(int(part) for part in str(info.get("redis_version", "0")).split(".")[:2])
        if version < OLDEST:
            raise StoreUnavailable(f"{self.where} is version {info.get('redis_version')}: expected 6.2 or newer")
        policy = info.get("maxmemory_policy")
        if policy is None:
            raise StoreUnavailable(
                f"{self.where} does not say its maxmemory-policy, and may drop a halt: let its user run INFO"
            )
        if str(policy).startswith("allkeys"):
            raise StoreUnavailable(
                f"{self.where} has maxmemory-policy {policy}, and may drop a halt when its memory is full:"
                " set maxmemory-policy noeviction"
            )
        if info.get("role") == "slave":
            raise StoreUnavailable(f"{self.where} is a replica, which cannot be written: give the URL of its primary")
        if not info.get("aof_enabled") and not self._warned:
            self._warned = True
            _log.store_forgets(self.where)

    def close(self) -> None:
        """Close both connections; a question that is held open ends with an error."""
        for client in (self._client, self._listening):
            if client is not None:
                client.close()
        self._client = self._listening = None

    def hush(self) -> None:
        """Close what the question was asked with: it may have connected again when it was interrupted."""
        if self._asking is not None:
            self._asking.close()
            self._asking = None

    def still(self) -> AbstractContextManager[object]:
        """Nothing: what is under way goes on in the parent, over connections that the child does not touch."""
        return nullcontext()

    def forked(self) -> None:
        """Leave the parent's connections alone: what is sent over them here would mix with what it sends."""
        _left_to_the_parent.extend([self._client, self._listening])
        self._client = self._listening = None

    # -- transactions

    def commit(self, ticket: Ticket, touched: Touched, guess: Rows, decide: Decide) -> Committed | None:
        """Carry out a transaction: the server compares what was read, and writes the change if that still holds."""
        streaks = _texts(touched.streaks, guess.streaks, _wire.row_text)
        halts = _texts(touched.halts, guess.halts, _wire.halt_text)
        with self._faults("cannot be written"):
            for _ in range(TRIES):
                read = _parsed(streaks, _wire.row_of)
                read_halts = _parsed(halts, _wire.halt_of)
                change = decide(read, read_halts)
                cleared = [] if change.clear is None else self._covered_by(change.clear)
                answer = self._run(COMMIT, _order(ticket, streaks, halts, change, read_halts, cleared))
                if answer[0] == "done":
                    return Committed(change, read, read_halts, cleared, int(answer[1]) or None)
                if answer[0] == "again":  # the answer to the first time was lost
                    return Committed(change, read, read_halts, (), None)
                there = iter(answer[1:])
                streaks = {scope: next(there) or None for scope in streaks}
                halts = {scope: next(there) or None for scope in halts}
        raise StoreUnavailable(f"{self.where}: other processes were quicker {TRIES} times")

    def _covered_by(self, scope: Scope) -> list[Scope]:
        """The scopes that have a streak and are in this one."""
        every = map(_wire.scope_of, self._opened().hkeys(self._key["streaks"]))
        return [other for other in every if scope.covers(other)]

    def _run(self, script: str, order: Mapping[str, Any]) -> list[Any]:
        client, arguments = self._opened(), (len(self._keys), *self._keys, json.dumps(order))
        answer: list[Any]
        try:
            answer = client.evalsha(_digest(script), *arguments)
        except redis.exceptions.NoScriptError:
            answer = client.eval(script, *arguments)
        return answer

    def _opened(self) -> Any:
        if self._client is None:
            raise StoreUnavailable(f"{self.where} is closed")
        return self._client

    @contextmanager
    def _faults(self, what: str) -> Iterator[None]:
        try:
            yield
        except redis.exceptions.AuthenticationError as error:
            raise StoreUnavailable(
                f"{self.where} refuses the user: {_told(error)}. See to user and password in the URL"
            ) from error
        except _FAULTS as error:
            raise StoreUnavailable(f"{self.where} {what}: {_told(error)}") from error
        except (ValueError, TypeError, KeyError) as error:
            raise StoreUnavailable(
                f"{self.where} holds what guarded did not write ({error}): use another namespace, or restore it"
            ) from error

    # -- hearing of others

    def snapshot(self) -> Snapshot:
        """Everything that a process has to know."""
        with self._faults("cannot be read"):
            number, live, halts, callbacks, self._last_id = self._run(SNAPSHOT, {})
            return Snapshot(
                int(number or 0),
                {_wire.scope_of(text) for text in live},
                _halts(_table(halts)),
                _runners(_table(callbacks)),
            )

    def wait(self, position: int) -> News:
        """Wait until another process has changed something."""
        with self._faults("cannot be read"):
            listening, last_id = self._listening, self._last_id
            if listening is None:
                raise StoreUnavailable(f"{self.where} is closed")
            self._asking = listening
            if self._heard:
                time.sleep(PAUSE)
            block = int(LISTEN * 1_000)
            answer = listening.xread({self._key["changes"]: last_id}, count=MOST, block=block)
            if self._listening is not listening or self._last_id != last_id:  # it was opened, or all read, meanwhile
                return News(position)
            self._heard = bool(answer)
            if not answer:
                return News(position)
            entries: Sequence[tuple[str, dict[str, str]]] = answer[0][1]
            self._last_id = entries[-1][0]
            return _news(entries, position)

    def halts(self, scopes: Collection[Scope]) -> Mapping[Scope, HaltRecord]:
        """Those of the scopes' halts that are in force."""
        with self._faults("cannot be read"):
            texts = self._opened().hmget(self._key["halts"], [_wire.scope_text(scope) for scope in scopes])
            return _parsed(dict(zip(scopes, texts, strict=True)), _wire.halt_of)

    def callbacks(self) -> Mapping[str, str]:
        """The episodes whose callback has not run to its end, and who runs each."""
        with self._faults("cannot be read"):
            return _runners(self._opened().hgetall(self._key["callbacks"]))

    def position(self) -> int:
        """The number of the last change."""
        with self._faults("cannot be read"):
            return int(self._opened().hget(self._key["meta"], "changes") or 0)

    # -- reading

    def read(self) -> Rows:
        """All rows."""
        with self._faults("cannot be read"):
            streaks, halts, totals = map(_table, self._run(READ, {}))
            return Rows(
                {_wire.scope_of(scope): _wire.row_of(row) for scope, row in streaks.items()},
                {},
                _halts(halts),
                {_wire.total_of(total): int(failures) for total, failures in sorted(totals.items())},
            )

    def failures(self) -> list[SignalGenerationFailure]:
        """The history of failures, the oldest first."""
        return self._list("failures", _wire.failure_of)

    def ended(self) -> list[HaltRecord]:
        """The history of halts that ended, the oldest first."""
        return self._list("ended", _wire.halt_of)

    def ended_by(self, episodes: Collection[str]) -> dict[str, HaltRecord]:
        """Those of the episodes that ended; most have ended just now."""
        with self._faults("cannot be read"):
            for last in (16, ENDED_KEPT):
                halts = map(_wire.halt_of, self._opened().lrange(self._key["ended"], -last, -1))
                found = {halt.episode: halt for halt in halts if halt.episode in episodes}
                if len(found) == len(episodes):
                    break
            return found

    def audit(self) -> list[AuditEntry]:
        """The audit, the oldest first."""
        return self._list("audit", _wire.entry_of)

    def _list(self, name: str, parsed: Callable[[str], T]) -> list[T]:
        with self._faults("cannot be read"):
            return [parsed(text) for text in self._opened().lrange(self._key[name], 0, -1)]

    def members(self) -> list[Member]:
        """The processes on the store."""
        with self._faults("cannot be read"):
            every = self._opened().hgetall(self._key["members"])
            return [_wire.member_of(text) for _, text in sorted(every.items())]

    def successes(self) -> dict[str, datetime]:
        """When each strategy last succeeded."""
        with self._faults("cannot be read"):
            every = self._opened().hgetall(self._key["successes"])
            return {_wire.name_of(name): datetime.fromisoformat(at) for name, at in sorted(every.items())}

    # -- members

    def beat(self, member: Member, successes: Mapping[str, datetime], running: Iterable[str]) -> None:
        """Be heard of."""
        order = {
            "process": member.identity,
            "member": _wire.member_text(member),
            "successes": [[_wire.dumps(name), at.astimezone(UTC).isoformat()] for name, at in successes.items()],
            "running": list(running),
            "lease": LEASE,
        }
        with self._faults("cannot be written"):
            self._run(BEAT, order)

    def leave(self, identity: str) -> None:
        """Take a process off the store."""
        with self._faults("cannot be written"):
            self._run(LEAVE, {"process": identity, "kept": CHANGES_KEPT})

    def claim(self, identity: str, episodes: Mapping[str, str]) -> list[str]:
        """Run the callbacks of others."""
        dead = [runner for runner in set(episodes.values()) if runner and is_dead(runner)]
        order = {
            "process": identity,
            "episodes": list(episodes),
            "dead": dead,
            "lease": LEASE,
            "kept": CHANGES_KEPT,
        }
        with self._faults("cannot be written"):
            return self._run(CLAIM, order)


_left_to_the_parent: list[Any] = []
_FAULTS: Final = (redis.exceptions.RedisError, redis.exceptions.RedisClusterException, OSError)
_HINTS: Final = (
    (redis.exceptions.ReadOnlyError, "It is a replica: give the URL of its primary"),
    (redis.exceptions.OutOfMemoryError, "Give it more memory"),
    (redis.exceptions.ConnectionError, "Is it running, and can it be reached from here?"),
)


def _path_of(url: str) -> str:
    try:
        return urlsplit(url).path
    except ValueError:
        raise InvalidConfiguration(f"url={shown(url)!r} of RedisStore: {_UNREADABLE}") from None


def _client(url: str, timeout: float, *, cluster: bool = False) -> Any:
    """A client that gives up after a second failed attempt at once: what waits for it is a trading strategy."""
    settings: dict[str, Any] = {
        "decode_responses": True,
        "socket_timeout": timeout,
        "socket_connect_timeout": timeout,
        "client_name": "guarded",
    }
    retry = redis.retry.Retry(redis.backoff.NoBackoff(), 1, (redis.exceptions.ConnectionError,))
    try:
        if cluster:
            return redis.cluster.RedisCluster.from_url(url, **settings)
        client = redis.Redis.from_url(url, retry=retry, **settings)
        pool = client.connection_pool
        pool.connection_class(**pool.connection_kwargs)  # it says which settings it does not take
    except TypeError as error:
        name = str(error).rpartition(" ")[2].strip("'")
        raise InvalidConfiguration(
            f"url={shown(url)!r} of RedisStore: neither the store nor redis-py knows a setting {name!r}"
            f"{near_miss(name, ('namespace', 'timeout'))}"
        ) from None
    except ValueError as error:
        why = _UNREADABLE if "@" in url or "?" in url else error  # which may quote the password
        raise InvalidConfiguration(f"url={shown(url)!r} of RedisStore: {why}") from None
    return client


@cache
def _digest(script: str) -> str:
    """What a server knows a script by, once it has run it."""
    return hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest()


def _told(error: Exception) -> str:
    text = str(error).partition(" script: ")[0].rstrip(".") or type(error).__name__
    if "HELLO AUTH" in text or "Authentication required" in text:
        return "it wants a password"
    if isinstance(error, redis.exceptions.AuthenticationError):
        return text
    for kind, hint in _HINTS:
        if isinstance(error, kind):
            return f"{text}. {hint}"
    return f"{text}. It cannot write to its disk" if "MISCONF" in text else text


def _texts(scopes: Iterable[Scope], known: Mapping[Scope, Any], text: Callable[[Any], str]) -> dict[Scope, str | None]:
    """What rows are as far as is known; a row that nobody here has read is taken for none, which the server tells."""
    found = {scope: known.get(scope) for scope in scopes}
    return {scope: text(value) if value else None for scope, value in found.items()}


def _parsed(texts: Mapping[Scope, str | None], parsed: Callable[[str], T]) -> dict[Scope, T]:
    return {scope: parsed(text) for scope, text in texts.items() if text is not None}


def _order(
    ticket: Ticket,
    streaks: Mapping[Scope, str | None],
    halts: Mapping[Scope, str | None],
    change: Change,
    before: Mapping[Scope, HaltRecord],
    cleared: Iterable[Scope],
) -> dict[str, Any]:
    """A transaction as the script takes it: texts in lists, and False for what is not there."""
    begun, over = [], list(change.settled)
    for scope, halt in change.halts.items():
        old = before.get(scope)
        if old is not None and (halt is None or halt.episode != old.episode):
            over.append(old.episode)
        if halt is not None and (old is None or old.episode != halt.episode):
            begun.append(halt.episode)
    return {
        "process": ticket.process,
        "number": ticket.number,
        "expected": _pairs(streaks),
        "expected_halts": _pairs(halts),
        "cleared": [_wire.scope_text(scope) for scope in cleared],
        "streaks": _pairs(_texts(change.streaks, change.streaks, _wire.row_text)),
        "halts": _pairs(_texts(change.halts, change.halts, _wire.halt_text)),
        "begun": begun,
        "over": over,
        "runner": ticket.process if change.claim else "",
        "lease": LEASE if change.claim else 0,
        "ended": [_wire.halt_text(halt) for halt in change.ended],
        "ended_kept": ENDED_KEPT,
        "counted": [_wire.total_text(total) for total in change.counted],
        "failure": False if change.failure is None else _wire.failure_text(change.failure),
        "keep": change.keep,
        "forget": change.forget,
        "audit": [_wire.entry_text(entry) for entry in change.audit],
        "kept": CHANGES_KEPT,
    }


def _pairs(texts: Mapping[Scope, str | None]) -> list[list[str | bool]]:
    return [[_wire.scope_text(scope), text or False] for scope, text in texts.items()]


def _halts(texts: Mapping[str, str]) -> dict[Scope, HaltRecord]:
    return {_wire.scope_of(scope): _wire.halt_of(text) for scope, text in sorted(texts.items(), reverse=True)}


def _news(entries: Sequence[tuple[str, dict[str, str]]], position: int) -> News:
    streaks: list[tuple[int, Scope, bool]] = []
    halts: set[Scope] = set()
    callbacks, gap = False, False
    if len(entries) == MOST:  # to read what is there now is less than to read how it came to be
        return News(position, gap=True)
    for _, entry in entries:
        number, live, gone, halted, changed = json.loads(entry["made"])
        gap = gap or number != position + 1  # also one that was given before: the server has been set back
        position = number
        callbacks = callbacks or changed
        streaks += [(number, _wire.scope_of(text), True) for text in live]
        streaks += [(number, _wire.scope_of(text), False) for text in gone]
        halts.update(map(_wire.scope_of, halted))
    return News(position, streaks, halts, callbacks, gap)


def _table(flat: Sequence[str]) -> dict[str, str]:
    """Fields and values, which a script returns one after the other."""
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _runners(callbacks: Mapping[str, str]) -> dict[str, str]:
    return {episode: value.rpartition("|")[0] for episode, value in callbacks.items()}
