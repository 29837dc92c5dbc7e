"""RedisStore: its settings, the servers that it takes and refuses, and answers that are lost."""

from __future__ import annotations

import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from servers import Server, executables
from stores import Place, heard

from guarded import FailureTracker, InvalidConfiguration, Scope, StoreUnavailable, guarded_signal
from guarded.stores import Change, Touched, open_store
from guarded.stores import redis as module
from guarded.stores._backend import News
from guarded.stores.redis import KEYS, RedisStore
from guarded.stores.shared import SharedStore


@pytest.fixture
def servers() -> Iterator[Callable[..., Server]]:
    """Starts servers of a test's own, and ends them."""
    started: list[Server] = []

    def start(*options: str, **settings: Any) -> Server:
        started.append(Server(*options, **settings))
        return started[-1]

    yield start
    for one in started:
        one.remove()


@pytest.fixture
def place(places: Callable[[str], Place]) -> Place:
    return places("redis")


def opened(place: Place) -> RedisStore:
    store = place.open()
    assert isinstance(store, RedisStore)
    return store


class TestSettings:
    @pytest.mark.parametrize("url", ["localhost:6379", "http://localhost", "redis:/localhost", 6379, None])
    def test_url(self, url: Any) -> None:
        """A URL begins with redis:// or rediss://."""
        with pytest.raises(InvalidConfiguration, match=r"of RedisStore: expected redis://host:6379/0 or rediss://"):
            RedisStore(url)

    def test_a_password_is_not_shown(self) -> None:
        """Errors and reprs show no password."""
        with pytest.raises(InvalidConfiguration) as caught:
            RedisStore("http://bot:hush@localhost")
        assert "hush" not in str(caught.value)
        with pytest.raises(StoreUnavailable) as lost:
            RedisStore("redis://bot:hush@127.0.0.1:1/0")
        assert "redis://***@127.0.0.1:1/0" in str(lost.value)
        assert "hush" not in str(lost.value)

    @pytest.mark.parametrize(
        "url",
        [
            "redis://:hush hush@127.0.0.1:1/0",
            "redis://:hush/hush@127.0.0.1:1/0",
            "redis://bot:hu@sh@127.0.0.1:1/0",
            "redis://127.0.0.1:1/0?password=hush%26hush%20",
        ],
    )
    def test_no_part_of_a_password_is_shown(self, url: str) -> None:
        """Whatever is in a password, no error shows it."""
        for make in (RedisStore, open_store):
            with pytest.raises((InvalidConfiguration, StoreUnavailable)) as caught:
                make(url)
            assert "hush" not in str(caught.value)
            assert "sh@" not in str(caught.value)

    def test_a_password_in_the_settings(self, servers: Callable[..., Server]) -> None:
        """A password among the settings of a URL reaches the server as it is."""
        server = servers("--requirepass", "a&b c%", "--appendonly", "yes")
        store = open_store(f"{server.url}?password=a%26b%20c%25&namespace=prod")
        assert isinstance(store, RedisStore)
        store.close()

    @pytest.mark.parametrize("namespace", ["", "a b", "{a}", "x" * 101, 7])
    def test_namespace(self, namespace: Any) -> None:
        """A namespace is made of letters, digits and some signs, for it is part of the keys."""
        with pytest.raises(InvalidConfiguration, match="of RedisStore: expected up to 100 letters, digits and"):
            RedisStore("redis://localhost", namespace=namespace)

    @pytest.mark.parametrize("timeout", [0, -1, "1", True])
    def test_timeout(self, timeout: Any) -> None:
        """A timeout is a number of seconds above 0."""
        with pytest.raises(InvalidConfiguration, match="of RedisStore: expected a number of seconds above 0"):
            RedisStore("redis://localhost", timeout=timeout)

    def test_what_the_client_does_not_take(self) -> None:
        """A URL that redis-py cannot read is an error at once."""
        with pytest.raises(InvalidConfiguration, match=r"url='redis://localhost/0' of RedisStore: it cannot be read"):
            RedisStore("redis://localhost/0?db=no")

    def test_a_url_that_is_none(self) -> None:
        """A URL that cannot be taken apart is an error at once, whoever it is given to."""
        for make in (RedisStore, open_store):
            with pytest.raises(InvalidConfiguration, match="it cannot be read"):
                make("redis://[::1/0")

    def test_what_a_url_may_not_have(self) -> None:
        """A setting that nobody knows, and a database that is no number, are errors that name them."""
        with pytest.raises(InvalidConfiguration, match="knows a setting 'namspace'; did you mean 'namespace'"):
            open_store("redis://localhost/0?namspace=prod")
        for url in ("redis://localhost/abc", "redis://localhost/0/1"):
            with pytest.raises(InvalidConfiguration, match="expected the number of a database after host/"):
                RedisStore(url)

    def test_urls(self, server: Server) -> None:
        """Namespace and timeout may stand in the URL; the rest of its settings goes to redis-py."""
        url = f"{server.url}?namespace=of-a-url&timeout=2.5&health_check_interval=7"
        store = open_store(url)
        assert isinstance(store, RedisStore)
        assert store._settings == {"namespace": "of-a-url", "timeout": 2.5}
        client: Any = store._backend._client  # type: ignore[attr-defined]  # the backend's own
        assert client.connection_pool.connection_kwargs["health_check_interval"] == 7
        assert repr(store) == f"RedisStore({server.url!r}, namespace='of-a-url')"
        store.close()

    def test_without_the_package(self) -> None:
        """Without redis-py the error says what to install."""
        code = "import sys, guarded; sys.modules['redis'] = None; guarded.FailureTracker(store='redis://x')"
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, timeout=60)
        assert "ImportError: RedisStore needs the package redis: install guarded[redis]" in done.stderr


class TestServers:
    @pytest.mark.parametrize("executable", executables().values(), ids=executables().keys())
    def test_every_server(self, servers: Callable[..., Server], executable: str) -> None:
        """Redis and Valkey both do."""
        server = servers("--appendonly", "yes", executable=executable)
        one, two = (FailureTracker(store=RedisStore(server.url)) for _ in range(2))
        for tracker in (one, two, one):
            tracker.record_failure("VWAP", "AAPL", "late")
        heard(lambda: two.halt_triggered)
        two.resume(by="ana", reason="over")
        heard(lambda: not one.halt_triggered)
        for tracker in (one, two):
            close(tracker)

    def test_there_is_one(self) -> None:
        """The tests found a server to run against."""
        assert executables()

    @pytest.mark.parametrize("policy", ["allkeys-lru", "allkeys-random"])
    def test_one_that_may_drop_the_latch(self, servers: Callable[..., Server], policy: str) -> None:
        """A server that may drop any key when its memory is full is refused."""
        server = servers("--maxmemory-policy", policy)
        with pytest.raises(StoreUnavailable, match=f"maxmemory-policy {policy}, and may drop a halt .*noeviction"):
            RedisStore(server.url)

    def test_one_that_drops_what_expires(self, servers: Callable[..., Server]) -> None:
        """A server that drops keys with an expiry alone will do: no key of the ledger has one."""
        server = servers("--maxmemory-policy", "volatile-lru", "--appendonly", "yes")
        store = RedisStore(server.url)
        tracker = FailureTracker(store=store)
        tracker.halt_manager.trigger_halt("drill")
        with server.client() as client:
            keys = list(client.scan_iter())
            assert {key.rpartition(":")[2] for key in keys} <= set(KEYS)
            assert {client.ttl(key) for key in keys} == {-1}
            assert all(key.startswith("{guarded:default}:") for key in keys)
        store.close()

    def test_one_that_wants_a_password(self, servers: Callable[..., Server]) -> None:
        """User and password are taken from the URL; a wrong one is an error that says so."""
        server = servers("--requirepass", "hush", "--appendonly", "yes")
        with pytest.raises(StoreUnavailable, match=r"refuses the user: .*See to user and password in the URL"):
            RedisStore(server.url.replace("127", "bot:wrong@127"))
        with pytest.raises(
            StoreUnavailable, match=r"refuses the user: it wants a password\. See to user and password in the URL"
        ):
            RedisStore(server.url)
        store = RedisStore(server.url.replace("127", ":hush@127"))
        assert repr(store) == f"RedisStore({server.url.replace('127', '***@127')!r}, namespace='default')"
        store.close()

    def test_a_user_that_may_do_no_more_than_it_must(self, servers: Callable[..., Server]) -> None:
        """The rights that the README gives to a user suffice for a namespace, and for no other."""
        readme = (Path(__file__).parent.parent / "README.md").read_text(encoding="utf-8")
        (command,) = [line for line in readme.splitlines() if line.startswith("redis-cli ACL SETUSER")]
        server = servers("--appendonly", "yes")
        with server.client() as client:
            client.execute_command(*shlex.split(command)[1:])
        url = server.url.replace("127", "guarded:secret@127")
        one, two = (FailureTracker(store=RedisStore(url, namespace="prod")) for _ in range(2))
        for tracker in (one, two, one):
            tracker.record_failure("VWAP", "AAPL", "late")
        heard(lambda: two.halt_triggered)
        two.resume(by="ana", reason="over")
        two.clear_history()
        heard(lambda: not one.halt_triggered)
        assert len(one._store.audit()) == 5
        heard(lambda: len(two._store.members()) == 2)
        assert (one.degraded, two.degraded) == (None, None)
        for tracker in (one, two):
            close(tracker)
        with pytest.raises(StoreUnavailable):
            RedisStore(url, namespace="test")

    def test_a_replica(self, servers: Callable[..., Server]) -> None:
        """A replica is refused at the start; a primary that becomes one is away."""
        primary = servers("--appendonly", "yes")
        replica = servers("--replicaof", "127.0.0.1", str(primary.port))
        with pytest.raises(StoreUnavailable, match="is a replica, which cannot be written"):
            RedisStore(replica.url)
        store = RedisStore(primary.url)
        tracker = FailureTracker(store=store)
        with primary.client() as client:
            client.replicaof("127.0.0.1", str(replica.port))
            tracker.record_failure("VWAP", "AAPL", "late")
            assert tracker.degraded is not None
            assert "replica" in tracker.degraded
            client.replicaof("NO", "ONE")
        heard(lambda: tracker.degraded is None)
        assert tracker.total_failures == 1
        store.close()

    def test_one_that_does_not_say_its_policy(self, place: Place) -> None:
        """A server that does not say whether it may drop keys is refused."""
        backend: Any = opened(place)._backend
        with pytest.raises(StoreUnavailable, match=r"does not say its maxmemory-policy, and may drop a halt"):
            backend._check({"redis_version": "7.0.0"})

    def test_one_that_is_too_old(self, server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
        """A server older than 6.2 is refused."""
        monkeypatch.setattr(module, "OLDEST", (99, 0))
        with pytest.raises(StoreUnavailable, match=r"is version \d.*: expected 6\.2 or newer"):
            RedisStore(server.url)

    def test_a_newer_ledger(self, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
        """A ledger that a newer guarded wrote is not touched."""
        opened(place)
        monkeypatch.setattr(module, "SCHEMA", "0")
        with pytest.raises(StoreUnavailable, match="a ledger of version 1, and this guarded knows 0"):
            opened(place)

    def test_one_that_forgets(self, servers: Callable[..., Server], caplog: pytest.LogCaptureFixture) -> None:
        """A server without an append-only file is taken, with a warning, once."""
        store = RedisStore(servers().url)
        store._backend.open()
        assert caplog.text.count("writes no append-only file") == 1
        store.close()

    def test_a_cluster(self, servers: Callable[..., Server]) -> None:
        """A cluster is spoken to as one; everything is in one slot."""
        server = servers("--cluster-enabled", "yes", "--appendonly", "yes")
        with server.client() as client:
            client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
            heard(lambda: "cluster_state:ok" in str(client.execute_command("CLUSTER", "INFO")) or cluster_is_up(client))
        one, two = (FailureTracker(store=RedisStore(server.url)) for _ in range(2))
        for tracker in (one, two, one):
            tracker.record_failure("VWAP", "AAPL", "late")
        heard(lambda: two.halt_triggered)
        assert two.total_failures == 3
        two.resume(by="ana", reason="over")
        heard(lambda: not one.halt_triggered)
        server.kill()
        for _ in range(3):
            one.record_failure("RSI", "MSFT", "late")
        assert one.degraded is not None
        assert one.halt_triggered
        server.start()
        heard(lambda: one.degraded is None and two.halt_triggered, seconds=30)
        assert two.total_failures == 6
        for tracker in (one, two):
            close(tracker)

    def test_out_of_memory(self, servers: Callable[..., Server]) -> None:
        """A server whose memory is full is a store that is away, and says what to do."""
        server = servers("--appendonly", "yes")
        store = RedisStore(server.url)
        tracker = FailureTracker(store=store)
        with server.client() as client:
            client.config_set("maxmemory", "1")
            tracker.record_failure("VWAP", "AAPL", "late")
            assert tracker.degraded is not None
            assert "Give it more memory" in tracker.degraded
            client.config_set("maxmemory", "0")
        heard(lambda: tracker.degraded is None)
        store.close()

    def test_one_that_cannot_write_to_its_disk(self) -> None:
        """What a server says when its disk fails is told with what it means."""
        error = redis.exceptions.ResponseError("MISCONF Errors writing to the AOF file")
        assert module._told(error) == "MISCONF Errors writing to the AOF file. It cannot write to its disk"
        assert module._told(redis.exceptions.TimeoutError()) == "TimeoutError"
        replica = redis.exceptions.ReadOnlyError("You can't write against a read only replica.")
        assert module._told(replica).endswith("read only replica. It is a replica: give the URL of its primary")


def cluster_is_up(client: Any) -> bool:
    info = client.execute_command("CLUSTER", "INFO")
    return isinstance(info, dict) and info.get("cluster_state") == "ok"


def forget(store: RedisStore, server: Server) -> None:
    """Have a server lose a ledger, and the store look whether it is the one it was."""
    with server.client() as client:
        client.delete(*store._backend._keys)  # type: ignore[attr-defined]  # the backend's own
    store._keeper._beat_at = 0.0


def close(tracker: FailureTracker) -> None:
    assert isinstance(tracker._store, SharedStore)
    tracker._store.close()


class TestWhatIsThere:
    def test_what_guarded_did_not_write(self, place: Place, server: Server) -> None:
        """A value that is none of the ledger's is an error that names the server, and is not taken for no halt."""
        store = opened(place)
        with server.client() as client:
            key = store._backend._key["halts"]  # type: ignore[attr-defined]  # the backend's own
            client.hset(key, "[null,null]", "{}")
        with pytest.raises(StoreUnavailable, match=r"holds what guarded did not write .*another namespace, or"):
            opened(place)

    def test_a_server_that_forgot(self, place: Place, server: Server) -> None:
        """The halts that processes know are set again on a server that has lost them."""
        store = opened(place)
        tracker = FailureTracker(store=store)
        tracker.halt_manager.trigger_halt("drill")
        forget(store, server)
        heard(lambda: len(store._backend.read().halts) == 1)
        later = FailureTracker(store=opened(place))
        assert later.halt_reason == "drill"
        assert tracker.halts == later.halts
        set_again = [entry for entry in store.audit() if entry.details.get("set_again")]
        assert [entry.reason for entry in set_again] == ["drill"]

    def test_a_server_that_was_set_back(self, place: Place, server: Server) -> None:
        """A server that has lost its last changes, as in a failover, is noticed although others write as many again."""
        store = opened(place)
        tracker = FailureTracker(store=store)
        key = store._backend._key  # type: ignore[attr-defined]  # the backend's own
        tracker.record_failure("VWAP", "AAPL", "late")
        heard(lambda: store._position == store._highest)
        with server.client() as client:
            before = {name: client.dump(name) for name in key.values()}
        tracker.halt_manager.trigger_halt("drill")
        heard(lambda: store._position == store._highest)
        with redis.Redis(port=server.port) as client:
            for name, dumped in before.items():
                client.delete(name)
                if dumped is not None:
                    client.restore(name, 0, dumped)
        other = FailureTracker(store=opened(place))
        assert not other.halts
        other.record_failure("RSI", "MSFT", "late")
        heard(lambda: other.halt_triggered)
        assert other.halt_reason == "drill"

    def test_a_resume_of_what_a_server_forgot(self, place: Place, server: Server) -> None:
        """A resume in the moment after a server has forgotten the halt ends it all the same, on the record."""
        store = opened(place)
        tracker = FailureTracker(store=store)
        tracker.halt_manager.trigger_halt("drill")
        with server.client() as client:
            client.delete(*store._backend._keys)  # type: ignore[attr-defined]  # the backend's own
        assert [halt.reason for halt in tracker.halts] == ["drill"]
        assert tracker.resume(by="ana", reason="over") == ()
        assert not tracker.halt_triggered
        assert [halt.resumed_by for halt in store.ended()] == ["ana"]
        assert store._backend.read().halts == {}

    def test_a_callback_that_is_owed_is_not_forgotten(self, place: Place, server: Server) -> None:
        """A halt whose callback nobody has run is set again with it, and a process that has one runs it."""
        store = opened(place)
        tracker = FailureTracker(store=store)
        tracker.halt_manager.trigger_halt("drill")
        forget(store, server)
        heard(lambda: len(store._backend.read().halts) == 1)
        called: list[str] = []
        other = FailureTracker(store=opened(place), halt_callback=lambda reason, _failure: called.append(reason))
        heard(lambda: called == ["drill"])
        heard(lambda: not other.callback_pending)

    def test_who_is_far_behind_reads_everything(self, place: Place) -> None:
        """A process that missed changes reads all that it has to know."""
        one, two = FailureTracker(store=opened(place)), FailureTracker(store=opened(place))
        store = two._store
        assert isinstance(store, SharedStore)
        store._position = -5
        one.record_failure("VWAP", "AAPL", "late")
        one.record_failure("RSI", "AAPL", "late")
        heard(lambda: len(store.live) == 2)

    def test_many_changes_at_once_are_not_read_one_by_one(self, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
        """A process that finds very many changes reads what is there now."""
        monkeypatch.setattr(module, "MOST", 3)
        one, two = FailureTracker(store=opened(place)), FailureTracker(store=opened(place))
        store = two._store
        assert isinstance(store, SharedStore)
        with store._lock:  # it cannot take them over meanwhile
            for number in range(8):
                one.record_failure(f"S{number}", "AAPL", "late")
        heard(lambda: len(store.live) == 8)

    def test_an_answer_that_comes_too_late(self, place: Place) -> None:
        """What was asked before everything was read anew says nothing new."""
        store = opened(place)
        backend: Any = store._backend
        xread = backend._listening.xread

        def late(*args: Any, **kwargs: Any) -> Any:
            backend._last_id = "1-1"
            return xread(*args, **{**kwargs, "block": 1})

        store.close()
        backend.open()
        backend._listening.xread = late
        assert backend.wait(0) == News(0)
        backend.close()

    def test_members_that_were_silent_for_long_are_forgotten(
        self, place: Place, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A process that ended without saying so is taken off the store by one that starts a day later."""
        store = opened(place)
        store._keeper._beat_at = 0.0
        heard(lambda: len(store.members()) == 1)
        monkeypatch.setattr(module, "FORGOTTEN_AFTER", -1.0)
        store._keeper._beat_at = float("inf")
        other = opened(place)
        assert [m for m in other.members() if m.identity == store._identity] == []

    def test_clearing_many_streaks(self, place: Place, caplog: pytest.LogCaptureFixture) -> None:
        """A resume clears more streaks at once than a script may return values."""
        caplog.set_level(100, "guarded")
        store = opened(place)
        scopes = {Scope(f"S{number}", "AAPL"): (("key", 1, 1, 0.0),) for number in range(10_000)}
        store.update(Touched(), lambda _rows: Change(streaks=scopes))  # type: ignore[arg-type]  # plain tuples do
        assert len(store.live) == 10_000
        FailureTracker(store=store).reset()
        assert dict(store.live) == {}
        assert store.read().streaks == {}


class TestLostAnswers:
    def test_an_answer_that_is_lost(self, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
        """A failure whose transaction was carried out although its answer was lost counts once, here and there."""
        store = opened(place)
        tracker = FailureTracker(store=store)
        backend: Any = store._backend
        run = backend._run
        asked: list[str] = []

        def lose_the_first_answer(script: str, order: Any) -> Any:
            asked.append(script)
            answer = run(script, order)
            return run(script, order) if len(asked) == 1 else answer  # as redis-py does after a lost connection

        monkeypatch.setattr(backend, "_run", lose_the_first_answer)
        for _ in range(3):
            tracker.record_failure("VWAP", "AAPL", "late")
        assert tracker.consecutive_failures == 3
        assert tracker.halt_triggered
        assert store.read().totals[("all", "")] == 3

    def test_others_that_are_always_quicker(self, place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
        """A transaction that never gets through is kept and merged, like one without a server."""
        monkeypatch.setattr(module, "TRIES", 0)
        tracker = FailureTracker(store=opened(place))
        assert tracker.degraded is not None
        assert "other processes were quicker 0 times" in tracker.degraded
        tracker.record_failure("VWAP", "AAPL", "late")
        monkeypatch.setattr(module, "TRIES", 1_000)
        heard(lambda: tracker.degraded is None)
        assert tracker.total_failures == 1

    def test_a_closed_client(self, place: Place) -> None:
        """Who asks a closed store for its audit is told that it is closed; its keeper is, too."""
        store = opened(place)
        store.close()
        with pytest.raises(StoreUnavailable, match="has been closed"):
            store.audit()
        with pytest.raises(StoreUnavailable, match="is closed"):
            store._backend.wait(0)

    def test_a_signal_goes_through(self, place: Place) -> None:
        """A guarded call that succeeds returns its signal with this store as with any."""
        tracker = FailureTracker(store=opened(place))
        assert guarded_signal(tracker=tracker)(lambda: "long")() == "long"
