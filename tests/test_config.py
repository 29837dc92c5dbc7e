"""Configuration files: where one is found, what it may say, what is wrong with it, and what it puts in force."""

from __future__ import annotations

import importlib
import json
import logging
import os
import pickle
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from stores import heard

from guarded import (
    ConsecutiveFailures,
    FailureRate,
    FailureRules,
    FailureTracker,
    FailureType,
    HaltLevel,
    InvalidConfiguration,
    StoreUnavailable,
    _config,
    _configure,
    _mode,
    get_failure_tracker,
    is_guarded,
    set_failure_tracker,
    set_mode,
)
from guarded.__main__ import main
from guarded._configure import Configuration, configure, planned
from guarded._instrument import instrument, uninstrument
from guarded._packs import BUILT_IN
from guarded._tracker import DEFAULT_WINDOW
from guarded.stores import open_store

Write = Callable[..., Path]

STRATEGIES = """
    class Vwap:
        name = "VWAP"

        def generate_signals(self, symbol, bars):
            return bars[-1] / len(bars[:-1])

        def size(self, symbol):
            return 1 / 0
"""
RISK = """
    halted = []

    def cancel_all(reason, failure):
        halted.append(reason)

    def positive(value):
        return value > 0

    def flat(self, symbol, bars):
        return "flat"

    class Desk:
        @staticmethod
        def cancel(reason, failure):
            halted.append("desk: " + reason)

    limit = 3
"""


@pytest.fixture(autouse=True)
def _alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each test starts in a folder of its own, without a configuration, and leaves none."""
    monkeypatch.chdir(tmp_path)
    for name in ("GUARDED_CONFIG", "GUARDED_MODE", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(_configure, "_in_force", None)
    logging.getLogger("guarded").setLevel(logging.CRITICAL + 1)  # what bots log is tested elsewhere
    with set_failure_tracker(FailureTracker()), set_mode("on"):
        yield
    uninstrument()


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a file, by default `guarded.toml`, in the current folder."""

    def put(text: str, name: str = "guarded.toml") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text), encoding="utf-8")
        return path

    return put


@pytest.fixture
def bot(write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Write]:
    """A package `my_bot` with strategies and a halt callback; writes more of its modules."""
    monkeypatch.syspath_prepend(str(tmp_path))
    write("", "my_bot/__init__.py")
    write(STRATEGIES, "my_bot/strategies.py")
    write(RISK, "my_bot/risk.py")
    importlib.invalidate_caches()
    yield write
    for name in [name for name in sys.modules if name.partition(".")[0] == "my_bot"]:
        del sys.modules[name]


def module(name: str) -> Any:
    return importlib.import_module(name)


def faults_of(path: Path | None = None) -> list[str]:
    """What is wrong with a file, without its name, line by line."""
    with pytest.raises(InvalidConfiguration) as caught:
        planned(path)
    lines = str(caught.value).split("\n")
    where = f"{Path('guarded.toml').absolute() if path is None else path}: "
    assert all(line.startswith(where) for line in lines)
    return [line.removeprefix(where) for line in lines]


def settings_of(path: Path | None = None) -> Any:
    return planned(path).settings


class TestWhere:
    def test_the_argument(self, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
        """The file that is given goes before the one of the environment and the one in the folder."""
        write("mode = 'off'")
        monkeypatch.setenv("GUARDED_CONFIG", str(write("mode = 'off'", "other.toml")))
        given = write("mode = 'strict'", "given.toml")
        assert configure("given.toml").path == given
        assert _mode.current == "strict"

    def test_the_environment(self, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
        """The file that GUARDED_CONFIG names goes before the one in the folder."""
        write("mode = 'off'")
        named = write("mode = 'strict'", "other.toml")
        monkeypatch.setenv("GUARDED_CONFIG", "other.toml")
        assert configure().path == named

    def test_an_empty_environment_variable(self, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
        """An empty GUARDED_CONFIG names no file."""
        monkeypatch.setenv("GUARDED_CONFIG", "")
        nearest = write("")
        assert planned().path == nearest

    def test_the_nearest_folder(self, write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """From the current folder upwards the first that has a configuration is taken; a pyproject without is none."""
        write("mode = 'off'", "pyproject.toml")
        far = write("mode = 'strict'")
        write("[tool.other]\nx = 1", "near/pyproject.toml")
        write("x = 1", "near/nearer/pyproject.toml")
        monkeypatch.chdir(tmp_path / "near" / "nearer")
        assert planned().path == far

    def test_pyproject(self, write: Write) -> None:
        """Of a pyproject.toml the table [tool.guarded] is read, also where it is empty."""
        path = write("[tool.guarded]\nmode = 'strict'", "pyproject.toml")
        assert settings_of()["mode"] == "strict"
        write("[tool.guarded]", "pyproject.toml")
        assert planned().path == path

    def test_a_file_of_its_own_first(self, write: Write) -> None:
        """A guarded.toml goes before the pyproject.toml beside it."""
        write("[tool.guarded]\nmode = 'strict'", "pyproject.toml")
        own = write("")
        assert planned().path == own

    def test_none(self, tmp_path: Path) -> None:
        """Where there is none, the error says where it looked and what to do."""
        with pytest.raises(InvalidConfiguration) as caught:
            configure()
        text = str(caught.value)
        assert text.startswith(
            f"there is no configuration: neither {tmp_path} nor a folder above it has a guarded.toml"
        )
        assert text.endswith("make a guarded.toml, or name a file")

    @pytest.mark.parametrize(
        ("name", "content", "why"),
        [
            ("none.toml", None, "there is no such file; make it, or name another one"),
            ("folder", b"", "this configuration cannot be read: "),
            ("bad.toml", b"mode = ", "this configuration is no TOML: Invalid value (at end of document)"),
            ("latin.toml", b"mode = '\xe4'", "a configuration has to be UTF-8: "),
            ("pyproject.toml", b"[tool]", "it has no table [tool.guarded]; add one, or name another file"),
            ("pyproject.toml", b"tool = 3", "it has no table [tool.guarded]; add one, or name another file"),
            ("pyproject.toml", b"[tool]\nguarded = 3", "it has no table [tool.guarded]; add one, or name another file"),
        ],
    )
    def test_a_file_that_cannot_be_used(self, tmp_path: Path, name: str, content: bytes | None, why: str) -> None:
        """A named file that is missing or cannot be read is an error that names it and says why."""
        if name == "folder":
            (tmp_path / name).mkdir()
        elif content is not None:
            (tmp_path / name).write_bytes(content)
        with pytest.raises(InvalidConfiguration) as caught:
            configure(tmp_path / name)
        assert str(caught.value).startswith(f"{tmp_path / name}: {why}")

    def test_a_missing_file_of_the_environment(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """The error says that the environment named the file."""
        monkeypatch.setenv("GUARDED_CONFIG", "none.toml")
        with pytest.raises(InvalidConfiguration) as caught:
            configure()
        assert str(caught.value).startswith(f"{tmp_path / 'none.toml'} (environment variable GUARDED_CONFIG): there is")

    def test_a_byte_order_mark(self, tmp_path: Path) -> None:
        """A file that an editor began with a byte order mark is read."""
        (tmp_path / "guarded.toml").write_bytes(b"\xef\xbb\xbfmode = 'strict'")
        assert settings_of()["mode"] == "strict"


class TestWhatItHolds:
    def test_nothing(self, write: Write) -> None:
        """An empty file sets a new tracker with the defaults of FailureTracker."""
        write("")
        before = get_failure_tracker()
        configuration = configure()
        tracker, plain = get_failure_tracker(), FailureTracker()
        assert tracker is not before
        assert (tracker.policies, tracker.history_size) == (plain.policies, plain.history_size)
        assert configuration.settings["tracker"] == {"threshold": 3, "reset_window": "5m", "history": 100}
        assert tracker.reset_window == plain.reset_window == DEFAULT_WINDOW == timedelta(minutes=5)
        assert configuration.settings["on_store_loss"] == plain.on_store_loss
        assert configuration.settings["rules"]["packs"] == list(BUILT_IN)

    def test_the_tracker(self, write: Write) -> None:
        """Threshold, window, history, store and what is done at its loss are the tracker's."""
        write("""
            store = "sqlite:///guarded.db"
            on_store_loss = "halt"
            [tracker]
            threshold = 5
            reset_window = "1h30m"
            history = 7
        """)
        configure()
        tracker = get_failure_tracker()
        assert (tracker.failure_threshold, tracker.history_size, tracker.on_store_loss) == (5, 7, "halt")
        assert tracker.reset_window == timedelta(hours=1, minutes=30)
        assert Path("guarded.db").exists()
        tracker._store.close()  # type: ignore[attr-defined]  # it is one of a file

    @pytest.mark.parametrize(
        ("text", "seconds"),
        [("90s", 90), ("5m", 300), ("2d", 172_800), ("1d1h1m1s", 90_061), ("999999d", 999_999 * 86_400)],
    )
    def test_spans(self, write: Write, text: str, seconds: int) -> None:
        """A span is a number of days, hours, minutes and seconds, in that order."""
        write(f"[tracker]\nreset_window = '{text}'")
        assert planned().tracker == {"reset_window": timedelta(seconds=seconds)}

    def test_never(self, write: Write) -> None:
        """The span "never" is the None of the constructors."""
        write("[tracker]\nreset_window = 'never'")
        assert planned().tracker == {"reset_window": None}

    @pytest.mark.parametrize("text", ["", "5", "5 m", "0s", "1m1h", "-5m", "1.5h", "forever", "5m\n", "9999999d", "٣m"])
    def test_no_spans(self, write: Write, text: str) -> None:
        """What is not such a span is refused, with examples of some."""
        write(f"[tracker]\nreset_window = {json.dumps(text)}")
        assert faults_of() == [
            f"tracker.reset_window = {text!r}: expected a span of time such as '90s', '5m', '1h30m' or '2d', or 'never'"
        ]

    def test_policies(self, write: Write) -> None:
        """Policies take the place of threshold and window, with all the settings that their classes have."""
        write("""
            [[policy]]
            kind = "consecutive_failures"
            shared = true
            within = "10m"
            threshold = 3
            scope = "global"
            [[policy]]
            kind = "consecutive_failures"
            threshold = 1
            within = "never"
            types = ["configuration_error"]
            [[policy]]
            kind = "failure_rate"
            ratio = 0.5
            calls = 20
            scope = "strategy"
            halt_scope = "same"
            level = "reducing"
        """)
        configuration = configure()
        assert get_failure_tracker().policies == (
            ConsecutiveFailures(3, scope="global", within=timedelta(minutes=10), shared=True),
            ConsecutiveFailures(1, within=None, types=["configuration_error"]),
            FailureRate(0.5, calls=20, scope="strategy", halt_scope="same", level=HaltLevel.REDUCING),
        )
        assert "threshold" not in configuration.settings["tracker"]
        assert "tracker.threshold" not in configuration.origins

    def test_rules(self, write: Write) -> None:
        """Rules of the file go before those of its packs, and are of a pack called by the file's name."""
        write("""
            [rules]
            packs = ["builtin"]
            load = ["packs/mine.toml"]
            [[rules.rule]]
            exception = "ValueError"
            type = "execution_error"
        """)
        write(
            """
            pack = "mine"
            [[rule]]
            exception = ["ValueError", "KeyError"]
            type = "connection_error"
            """,
            "packs/mine.toml",
        )
        configure()
        rules = get_failure_tracker().rules
        assert rules._packs == ("builtin",)
        explanation = rules.explain(ValueError())
        assert (explanation.failure_type, explanation.pack) == (FailureType.EXECUTION_ERROR, "guarded.toml")
        assert rules.classify(KeyError()) is FailureType.CONNECTION_ERROR

    def test_rules_without_packs(self, write: Write) -> None:
        """Without `packs` the rules start with all built-in ones; with an empty list with none."""
        write("[[rules.rule]]\nexception = 'ValueError'\ntype = 'data_error'")
        configure()
        assert get_failure_tracker().rules._packs == FailureRules()._packs
        write("[rules]\npacks = []")
        configure()
        assert get_failure_tracker().rules._packs == ()

    def test_load_is_relative_to_the_file(self, write: Write) -> None:
        """A pack is looked for beside the configuration, wherever the program was started."""
        path = write("[rules]\nload = ['mine.toml']", "etc/guarded.toml")
        write("pack = 'mine'\n[[rule]]\nexception = 'ValueError'\naction = 'ignore'", "etc/mine.toml")
        configure(path)
        assert get_failure_tracker().rules.explain(ValueError()).action == "ignore"

    @pytest.mark.parametrize("mode", ["on", "strict", "off"])
    def test_mode(self, write: Write, mode: str) -> None:
        """The mode is that of the process."""
        write(f"mode = '{mode}'")
        with set_mode("strict" if mode == "on" else "on"):
            configure()
            assert _mode.current == mode

    def test_no_mode(self, write: Write) -> None:
        """A file that says nothing of the mode leaves it as it is."""
        write("")
        with set_mode("strict"):
            configure()
            assert _mode.current == "strict"

    def test_the_mode_of_the_environment(self, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
        """GUARDED_MODE goes before the file, as for one run it is nearer at hand."""
        write("mode = 'off'")
        monkeypatch.setenv("GUARDED_MODE", "strict")
        with set_mode("strict"):  # so the process starts with that variable
            configuration = configure()
            assert _mode.current == "strict"
        assert configuration.settings["mode"] == "strict"
        assert configuration.origins["mode"] == "environment variable GUARDED_MODE"


class TestFaults:
    def test_all_at_once(self, write: Write) -> None:
        """Every fault is told in one error, each on a line with file, key, value and what is allowed."""
        write("""
            mode = "strct"
            on_store_loss = "cuont"
            trackr = 1
            hosts = "freqtrade"
            [tracker]
            threshold = 0
            history = true
            [[instrument]]
            methods = ["", 3]
            reraise = 1
            when_halted = "wait"
            context = 3
            validate = "numpy"
        """)
        assert faults_of() == [
            (
                "trackr = 1: no such key; did you mean 'tracker'?; expected one of mode, store, on_store_loss,"
                " halt_callback, hosts, tracker, policy, rules, instrument"
            ),
            "mode = 'strct': expected one of 'on', 'strict', 'off'; did you mean 'strict'?",
            "hosts = 'freqtrade': expected a list, such as hosts = [\"...\"]",
            "instrument[0].target: it is missing, and has to be given",
            "instrument[0].methods[0] = '': expected a text that is not empty",
            "instrument[0].methods[1] = 3: expected a text that is not empty",
            "instrument[0].reraise = 1: expected true or false",
            "instrument[0].when_halted = 'wait': expected one of 'refuse', 'run'",
            "instrument[0].context = 3: expected a table",
            (
                "instrument[0].validate = 'numpy': expected the module and the name of a function,"
                " such as 'my_bot.risk:cancel_all'"
            ),
            "tracker.threshold: failure_threshold=0: expected a whole number of at least 1",
            "tracker.history: history_size=True: expected a whole number of at least 1",
            "on_store_loss: on_store_loss='cuont': expected one of 'count', 'halt'",
        ]

    def test_tables(self, write: Write) -> None:
        """What has to be a table, or several, says so."""
        write("""
            tracker = 3
            policy = 1
            instrument = ["x"]
            [rules]
            rule = [1]
        """)
        assert faults_of() == [
            "tracker = 3: expected a table",
            "policy = 1: expected tables, each under its own [[policy]]",
            "instrument[0] = 'x': expected a table",
            "rules.rule[0] = 1: expected a table",
        ]

    def test_policies(self, write: Write) -> None:
        """Each setting of each policy is tried: what its class says stands behind its key."""
        write("""
            [[policy]]
            kind = "failure_rates"
            [[policy]]
            threshold = 3
            [[policy]]
            kind = "failure_rate"
            ratio = 1.5
            scop = "key"
            [[policy]]
            kind = "consecutive_failures"
            threshold = 3
            within = 300
            types = ["dta_error"]
            shared = true
        """)
        assert faults_of() == [
            (
                "policy[0].kind = 'failure_rates': expected one of 'consecutive_failures', 'failure_rate';"
                " did you mean 'failure_rate'?"
            ),
            "policy[1].kind: it is missing, and has to be given",
            (
                "policy[2].scop = 'key': no such key; did you mean 'scope'?; expected one of kind, ratio, calls, scope,"
                " types, halt_scope, level"
            ),
            "policy[2].calls: it is missing, and has to be given",
            "policy[2].ratio: FailureRate(ratio)=1.5: expected a share above 0 and at most 1, such as 0.5",
            "policy[3].within = 300: expected a span of time such as '90s', '5m', '1h30m' or '2d', or 'never'",
            (
                "policy[3].types: ConsecutiveFailures(types)='dta_error': expected a FailureType or one of"
                " 'strategy_error', 'data_error', 'execution_error', 'connection_error', 'configuration_error',"
                " 'unknown_error'; did you mean 'data_error'?"
            ),
            (
                'policy[3].shared: ConsecutiveFailures(shared=True) is for scope="global": the streak of each key is'
                " shared anyway; leave it out"
            ),
        ]

    def test_policies_beside_a_threshold(self, write: Write) -> None:
        """A threshold beside policies is what FailureTracker says it is: a contradiction."""
        write("tracker = { threshold = 4 }\n[[policy]]\nkind = 'consecutive_failures'\nthreshold = 1")
        assert faults_of() == [
            (
                "tracker: failure_threshold and reset_window cannot be given beside policies: write"
                " ConsecutiveFailures(threshold, within=window) into policies instead"
            )
        ]

    def test_no_policy(self, write: Write) -> None:
        """An empty list of policies would never halt."""
        write("policy = []")
        assert faults_of() == ["policy: policies is empty: nothing would ever halt; leave it out for the default"]

    def test_rules(self, write: Write, tmp_path: Path) -> None:
        """Each pack and each rule is tried: what the rules say stands behind its key."""
        write("""
            [rules]
            packs = ["builtn", 3]
            load = ["none.toml"]
            [[rules.rule]]
            exception = "ValueError"
            typ = "data_error"
            [[rules.rule]]
            exception = 3
            type = "data_error"
        """)
        shape, pack, missing, key, exception = faults_of()
        assert shape == "rules.packs[1] = 3: expected a text that is not empty"
        assert pack.startswith(
            "rules.packs[0]: FailureRules(packs): there is no built-in pack 'builtn'; did you mean 'builtin'?"
        )
        assert missing.startswith(f"rules.load[0]: {tmp_path / 'none.toml'}: this rule pack cannot be read")
        assert key.startswith("rules.rule[0]: key 'typ' is unknown; did you mean 'type'?; allowed: exception, type,")
        assert exception.startswith("rules.rule[1], key 'exception': 3 is no exception class")

    @pytest.mark.parametrize(
        ("url", "why"),
        [
            ("guarded.db", "store='guarded.db': expected 'memory://', 'sqlite:///guarded.db', "),
            ("sqlite:///", "store='sqlite:///': expected 'sqlite:///guarded.db' for a path from here"),
            ("sqlite://", "store='sqlite://': expected 'sqlite:///guarded.db' for a path from here"),
            (
                "sqlite:///guarded.db?durabilty=power",
                "store='sqlite:///guarded.db': it knows no setting 'durabilty'; did you mean 'durability'?",
            ),
            ("sqlite:///guarded.db?durability=x", "durability of SQLiteStore='x': expected one of 'power', 'process'"),
            (
                "redis://u:hunter2@host:1/x",
                "url='redis://***@host:1/x' of RedisStore: expected the number of a database",
            ),
        ],
    )
    def test_stores(self, write: Write, tmp_path: Path, url: str, why: str) -> None:
        """What open_store says of a URL stands behind the key, without password; no file is made."""
        write(f"store = '{url}'")
        (fault,) = faults_of()
        assert fault.startswith(f"store: {why}")
        assert [path.name for path in tmp_path.iterdir()] == ["guarded.toml"]

    def test_a_store_is_not_made(self, write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """To check a file makes no store, and leaves none open."""
        write("store = 'sqlite:///guarded.db?timeout=1'")
        tried: list[Any] = []

        def keeping(url: str) -> Any:
            tried.append(open_store(url))
            return tried[-1]

        monkeypatch.setattr(_config, "open_store", keeping)
        assert settings_of()["store"] == f"sqlite:///{tmp_path}/guarded.db?timeout=1"
        assert not (tmp_path / "guarded.db").exists()
        assert [store._closed for store in tried] == [True]

    @pytest.mark.parametrize("name", ["bot", "my bot", "50%41"])
    def test_where_a_store_is(self, name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        """A store's relative path is looked for from the file's folder, wherever the program is started."""
        folder = tmp_path / name
        (folder / "below").mkdir(parents=True)
        (folder / "guarded.toml").write_text("store = 'sqlite:///guarded.db'")
        monkeypatch.chdir(folder / "below")
        configure()
        store = get_failure_tracker()._store
        store.close()  # type: ignore[attr-defined]  # it is one of a file
        assert [path.name for path in folder.glob("*.db")] == ["guarded.db"]

    @pytest.mark.parametrize("url", ["sqlite:////tmp/guarded.db", "memory://"])
    def test_a_store_with_a_place_of_its_own(self, url: str, write: Write) -> None:
        """An absolute path, and what is no path, stay as they are."""
        write(f"store = {url!r}")
        assert settings_of()["store"] == url

    def test_a_store_that_is_away(self, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
        """Whether the store can be opened is not the file's affair, but configure does not start without it."""

        def away(_url: object) -> None:
            raise StoreUnavailable("nobody there")

        monkeypatch.setattr(_config, "open_store", away)
        write("store = 'redis://host'")
        assert settings_of()["store"] == "redis://host"

        before = get_failure_tracker()
        Path("folder").mkdir()
        write("mode = 'strict'\nstore = 'sqlite:///folder'")
        with pytest.raises(StoreUnavailable):
            configure()
        assert (get_failure_tracker(), _mode.current) == (before, "on")

    def test_a_store_whose_extra_is_missing(self, write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
        """A store that needs a package which is not there says what to install."""
        monkeypatch.delitem(sys.modules, "guarded.stores.redis", raising=False)
        monkeypatch.setitem(sys.modules, "redis", None)
        write("store = 'redis://host'")
        assert faults_of() == ["store: RedisStore needs the package redis: install guarded[redis]"]

    def test_secrets(self, write: Write) -> None:
        """A secret is in no error."""
        write("stor = 'redis://bot:hunter2@host'\nmode = 'redis://bot:hunter2@host'\nhosts = { password = 'hunter2' }")
        with pytest.raises(InvalidConfiguration) as caught:
            planned()
        assert "hunter2" not in str(caught.value)

    def test_hosts(self, write: Write, bot: Write) -> None:
        """A host that guarded does not know, or whose strategies have to be named, says what to do."""
        write("""
            hosts = ["freqtrad", "backtrader", "ib_async"]
            [[instrument]]
            target = "my_bot.strategies"
            host = "vnpi"
        """)
        unknown, *unhooked, other = faults_of()
        assert unknown.startswith("hosts[0]: host='freqtrad': guarded does not know it; did you mean 'freqtrade'?")
        assert unhooked[-1] == (
            "hosts[2] = 'ib_async': its strategies cannot be found by themselves; name them under [[instrument]],"
            " as in target = \"my_bot.strategies\" and host = 'ib_async'"
        )
        assert other.startswith("instrument[0].host: host='vnpi': guarded does not know it")

    def test_targets(self, write: Write, bot: Write) -> None:
        """A target that is malformed, names no method, or a module that is not there, is refused."""
        write("""
            [[instrument]]
            target = "my_bot.strategis:Vwap.generate_signals"
            [[instrument]]
            target = "my_bot.strategies"
            [[instrument]]
            target = "my_bot:"
            methods = ["f"]
        """)
        module_fault, method_fault, form_fault = faults_of()
        assert module_fault.startswith("instrument[0].target: target='my_bot.strategis:Vwap.generate_signals'")
        assert "did you mean" in module_fault
        assert method_fault.startswith("instrument[1].target: target='my_bot.strategies'")
        assert "names no method" in method_fault
        assert form_fault.startswith("instrument[2].target: target='my_bot:'")

    def test_the_program_itself(self, write: Write, bot: Write) -> None:
        """A function of `__main__` is refused, with the reason, wherever it is named."""
        write("""
            halt_callback = "__main__:cancel_all"
            [[instrument]]
            target = "my_bot.strategies:Vwap.size"
            validate = "__main__:positive"
        """)
        why = (
            ": __main__ is the program itself, which is at its first line when this is looked up, and in another"
            " process it is another program; move the function into a module, and name that"
        )
        assert faults_of() == [
            f"instrument[0].validate = '__main__:positive'{why}",
            f"halt_callback = '__main__:cancel_all'{why}",
        ]

    @pytest.mark.parametrize("name", ["strategy", "symbol"])
    def test_templates(self, name: str, write: Write) -> None:
        """A template that is malformed is told of before there is a function that it is for."""
        write(f"[[instrument]]\ntarget = 'my_bot.*:*.generate'\n{name} = '{{nope'")
        with pytest.raises(
            InvalidConfiguration, match=rf"instrument\[0\]\.{name} = '{{nope': expected a name, or a temp"
        ):
            planned()

    def test_nothing_is_applied(self, write: Write, bot: Write) -> None:
        """A file with one fault changes nothing at all."""
        write("""
            mode = "strict"
            [[instrument]]
            target = "my_bot.strategies:Vwap.generate_signals"
            [tracker]
            threshold = 0
        """)
        before = get_failure_tracker()
        with pytest.raises(InvalidConfiguration):
            configure()
        assert (get_failure_tracker(), _mode.current) == (before, "on")
        assert not is_guarded(module("my_bot.strategies").Vwap.generate_signals)


INSTRUMENT = """
    [[instrument]]
    target = "my_bot.strategies:Vwap.generate_signals"
    strategy = "{self.name}"
    symbol = "{symbol}"
    validate = "my_bot.risk:positive"
    no_signal = "my_bot.risk:flat"
    context = { bars = "{bars}" }
    [[instrument]]
    target = "my_bot.strategies:Vwap"
    methods = ["size"]
    reraise = true
"""


class TestApplying:
    def test_instrument(self, write: Write, bot: Write) -> None:
        """What is named is guarded as the file says, and nothing else is."""
        write(INSTRUMENT)
        configuration = configure()
        vwap = module("my_bot.strategies").Vwap()
        tracker = get_failure_tracker()

        assert vwap.generate_signals("AAPL", [1, 2]) == 2
        assert vwap.generate_signals("AAPL", [1]) == "flat"
        assert vwap.generate_signals("AAPL", [1, -1]) == "flat"
        failure = tracker.failure_history[0]
        assert (failure.strategy_name, failure.symbol) == ("VWAP", "AAPL")
        assert failure.additional_context == {"bars": [1]}
        with pytest.raises(ZeroDivisionError):
            vwap.size("AAPL")
        assert [one.guarded for one in configuration.instrumented] == [
            ("my_bot.strategies:Vwap.generate_signals",),
            ("my_bot.strategies:Vwap.size",),
        ]

    def test_hosts(self, write: Write) -> None:
        """The strategies of each host that is named are guarded once the host is imported."""
        write("hosts = ['freqtrade']")
        (one,) = configure().instrumented
        assert one.target == "freqtrade"

    def test_the_halt_callback(self, write: Write, bot: Write) -> None:
        """The halt callback is called at a halt, and the audit knows it by its name."""
        write("halt_callback = 'my_bot.risk:cancel_all'")
        configure()
        tracker = get_failure_tracker()
        tracker.halt_manager.trigger_halt("drawdown")
        assert module("my_bot.risk").halted == ["drawdown"]
        assert tracker._settings_in_words()["halt_callback"] == "my_bot.risk:cancel_all"

    def test_a_method_as_the_halt_callback(self, write: Write, bot: Write) -> None:
        """A function in a class can be named, and goes to another process by its name."""
        write("halt_callback = 'my_bot.risk:Desk.cancel'")
        configure()
        callback = get_failure_tracker()._callback_function
        again = pickle.loads(pickle.dumps(callback))  # noqa: S301  # of our own
        again("drawdown", None)
        assert module("my_bot.risk").halted == ["desk: drawdown"]

    def test_the_tracker_is_there_when_a_module_is_imported(self, write: Write, bot: Write) -> None:
        """A module that the file names finds the new tracker and the new mode, and its strategies are guarded."""
        bot(
            """
            from guarded import get_failure_tracker, is_guarded
            from guarded import _mode
            from my_bot.strategies import Vwap

            tracker, mode, guarded = get_failure_tracker(), _mode.current, is_guarded(Vwap.generate_signals)

            def cancel_all(reason, failure):
                pass
            """,
            "my_bot/alarm.py",
        )
        write("mode = 'strict'\nhalt_callback = 'my_bot.alarm:cancel_all'" + textwrap.dedent(INSTRUMENT))
        configure()
        alarm = module("my_bot.alarm")
        assert (alarm.tracker, alarm.mode, alarm.guarded) == (get_failure_tracker(), "strict", True)

    def test_a_module_that_another_thread_imports(self, write: Write, bot: Write) -> None:
        """A thread whose import calls configure, while another waits there for that import, does not wait for it."""
        bot(
            """
            import time
            from guarded import _configure, configure

            give_up = time.monotonic() + 20
            while _configure._pending is None and time.monotonic() < give_up:
                time.sleep(0.001)
            found = configure()

            def cancel_all(reason, failure):
                pass
            """,
            "my_bot/alarm.py",
        )
        write("halt_callback = 'my_bot.alarm:cancel_all'")
        with ThreadPoolExecutor() as pool:
            importing = pool.submit(module, "my_bot.alarm")
            heard(lambda: "my_bot.alarm" in sys.modules)
            configuring = pool.submit(configure)
            assert importing.result(timeout=30).found.path == configuring.result(timeout=30).path

    def test_a_module_that_configures(self, write: Write, bot: Write) -> None:
        """A module that is imported for the file and calls configure itself gets what is being put in force."""
        bot(
            """
            from guarded._configure import configure

            configuration = configure()

            def cancel_all(reason, failure):
                pass
            """,
            "my_bot/alarm.py",
        )
        path = write("halt_callback = 'my_bot.alarm:cancel_all'")
        assert configure().path == path
        assert module("my_bot.alarm").configuration.path == path

    def test_functions_that_are_not_there(self, write: Write, bot: Write) -> None:
        """Every function that cannot be found is told, and nothing stays applied."""
        bot("import my_bot.nothing", "my_bot/broken.py")
        bot("raise SystemExit('usage')", "my_bot/program.py")
        write("""
            mode = "strict"
            hosts = ["freqtrade"]
            halt_callback = "my_bot.risk:positive"
            [[instrument]]
            target = "my_bot.strategies:Vwap.generate_signals"
            validate = "my_bot.risk:postive"
            no_signal = "my_bot.broken:flat"
            [[instrument]]
            target = "my_bot.strategies:Vwap.size"
            validate = "my_bot.risk:limit"
            no_signal = "my_bot.program:flat"
            [[instrument]]
            target = "my_bot.strategies:Vwap.size"
        """)
        before = get_failure_tracker()
        with pytest.raises(InvalidConfiguration) as caught:
            configure()
        lines = [line.partition(".toml: ")[2] for line in str(caught.value).split("\n")]
        missing, broken, limit, program, callback = sorted(set(lines), key=lines.index)
        assert missing.startswith("instrument[0].validate = 'my_bot.risk:postive': <module 'my_bot.risk'")
        assert missing.endswith("has no 'postive'; did you mean 'positive'?")
        assert broken == (
            "instrument[0].no_signal = 'my_bot.broken:flat': importing 'my_bot.broken' raised ModuleNotFoundError:"
            " No module named 'my_bot.nothing'"
        )
        assert limit == "instrument[1].validate = 'my_bot.risk:limit': expected a function, not 3"
        assert program.endswith("importing 'my_bot.program' raised SystemExit: usage")
        assert callback.startswith("halt_callback = 'my_bot.risk:positive': halt_callback=<function positive")
        assert callback.endswith("expected a function of (reason, failure), without yield")
        assert len(lines) == len(set(lines))

        assert (get_failure_tracker(), _mode.current) == (before, "on")
        assert not is_guarded(module("my_bot.strategies").Vwap.size)
        with pytest.raises(InvalidConfiguration, match="not instrumented"):
            uninstrument("freqtrade")

    def test_what_cannot_be_instrumented(self, write: Write, bot: Write) -> None:
        """What `instrument` refuses stands behind the key of its table, and nothing stays applied."""
        module("my_bot.strategies")
        write("""
            [[instrument]]
            target = "my_bot.strategies:Vwap.generate_signals"
            [[instrument]]
            target = "my_bot.strategies:Vwap.generate_signal"
        """)
        with pytest.raises(InvalidConfiguration, match=r"instrument\[1\]: .*generate_signal'"):
            configure()
        assert not is_guarded(module("my_bot.strategies").Vwap.generate_signals)

    def test_what_the_program_has_instrumented(self, write: Write, bot: Write) -> None:
        """A target that the program has instrumented itself, in another way, is an error and stays as it was."""
        vwap = module("my_bot.strategies").Vwap
        instrument("my_bot.strategies:Vwap.size", symbol="{symbol}")
        write("[[instrument]]\ntarget = 'my_bot.strategies:Vwap.size'")
        with pytest.raises(InvalidConfiguration, match=r"instrument\[0\]: .*already"):
            configure()
        assert is_guarded(vwap.size)


class TestAgain:
    def test_unchanged(self, write: Write, bot: Write) -> None:
        """A second call with an unchanged file returns the same Configuration and does nothing."""
        write("mode = 'strict'\n" + textwrap.dedent(INSTRUMENT))
        first, tracker = configure(), get_failure_tracker()
        set_mode("on")
        assert configure() is first
        assert (get_failure_tracker(), _mode.current) == (tracker, "on")

    def test_changed(self, write: Write, bot: Write) -> None:
        """With a changed file what the old one put on is taken off, and the new one's is put on."""
        write("mode = 'strict'\n" + textwrap.dedent(INSTRUMENT))
        first = configure()
        write("[[instrument]]\ntarget = 'my_bot.strategies:Vwap.size'")
        second = configure()
        vwap = module("my_bot.strategies").Vwap
        assert second != first
        assert (is_guarded(vwap.generate_signals), is_guarded(vwap.size)) == (False, True)
        assert _mode.current == "on"

    def test_a_target_that_is_not_there(self, write: Write, bot: Write) -> None:
        """A changed file whose target matches nothing is an error, and what the old one put on is put on again."""
        write(textwrap.dedent(INSTRUMENT))
        configure()
        vwap = module("my_bot.strategies").Vwap
        write("[[instrument]]\ntarget = 'my_bot.strategies:Vwap.generate_signal'")
        with pytest.raises(InvalidConfiguration, match="did you mean 'generate_signals'"):
            configure()
        assert is_guarded(vwap.generate_signals)

    def test_nothing_runs_without_guards_meanwhile(self, write: Write, bot: Write) -> None:
        """While the modules that a changed file names are imported, what the old one put on is still on."""
        bot(
            """
            from guarded import is_guarded
            from my_bot.strategies import Vwap

            guarded = is_guarded(Vwap.generate_signals)

            def cancel_all(reason, failure):
                pass
            """,
            "my_bot/alarm.py",
        )
        write(textwrap.dedent(INSTRUMENT))
        configure()
        importlib.import_module("my_bot.strategies")
        write("halt_callback = 'my_bot.alarm:cancel_all'" + textwrap.dedent(INSTRUMENT))
        configure()
        assert module("my_bot.alarm").guarded

    def test_a_tracker_of_the_same_settings_stays(self, write: Write, bot: Write) -> None:
        """A change elsewhere leaves the tracker, so that its halts go on; one of its settings makes a new one."""
        write("[tracker]\nthreshold = 2")
        configure()
        tracker = get_failure_tracker()
        tracker.halt_manager.trigger_halt("drawdown")
        write("mode = 'strict'\n[tracker]\nthreshold = 2")
        configure()
        assert get_failure_tracker() is tracker
        assert get_failure_tracker().halt_triggered
        write("mode = 'strict'\n[tracker]\nthreshold = 4")
        configure()
        assert get_failure_tracker().failure_threshold == 4

    def test_a_changed_pack(self, write: Write) -> None:
        """A pack that has changed is read again."""
        write("[rules]\nload = ['mine.toml']")
        write("pack = 'mine'\n[[rule]]\nexception = 'ValueError'\ntype = 'data_error'", "mine.toml")
        first = configure()
        write("pack = 'mine'\n[[rule]]\nexception = 'ValueError'\ntype = 'execution_error'", "mine.toml")
        assert configure() is not first
        assert get_failure_tracker().rules.classify(ValueError()) is FailureType.EXECUTION_ERROR

    def test_a_pack_that_is_gone(self, write: Write) -> None:
        """A pack that is gone since is an error, and what was in force stays."""
        write("[rules]\nload = ['mine.toml']")
        pack = write("pack = 'mine'\n[[rule]]\nexception = 'ValueError'\ntype = 'data_error'", "mine.toml")
        configure()
        tracker = get_failure_tracker()
        pack.unlink()
        with pytest.raises(InvalidConfiguration, match=r"rules\.load\[0\]"):
            configure()
        assert get_failure_tracker() is tracker

    def test_another_file(self, write: Write) -> None:
        """Another file is another configuration, though it holds the same."""
        first = configure(write("", "one.toml"))
        assert configure(write("", "two.toml")) is not first

    def test_a_change_that_fails(self, write: Write, bot: Write) -> None:
        """Where the new file cannot be applied, the old one is in force again, with its tracker and its reports."""
        good = "mode = 'strict'\n" + textwrap.dedent(INSTRUMENT)
        write(good)
        configure()
        tracker, vwap = get_failure_tracker(), module("my_bot.strategies").Vwap
        write("halt_callback = 'my_bot.risk:nothing'\n[[instrument]]\ntarget = 'my_bot.strategies:Vwap.size'")
        with pytest.raises(InvalidConfiguration, match="nothing"):
            configure()
        assert (get_failure_tracker(), _mode.current) == (tracker, "strict")
        assert (is_guarded(vwap.generate_signals), is_guarded(vwap.size)) == (True, True)
        write(good)
        assert [one.guarded for one in configure().instrumented] == [
            ("my_bot.strategies:Vwap.generate_signals",),
            ("my_bot.strategies:Vwap.size",),
        ]

    def test_what_the_program_has_taken_off(self, write: Write, bot: Write) -> None:
        """That the program has taken guards off itself does not stop the next configuration."""
        write(INSTRUMENT)
        configure()
        uninstrument()
        write("")
        assert configure().instrumented == ()


class TestText:
    def test_what_is_in_force(self, write: Write, bot: Write) -> None:
        """Its text has a line for each setting, with its origin, and reports what is guarded; no secrets."""
        module("my_bot.strategies")
        path = write("""
            store = "memory://"
            [rules]
            packs = ["builtin"]
            [[rules.rule]]
            exception = "ccxt.NetworkError"
            type = "connection_error"
            [[instrument]]
            target = "my_bot.strategies:Vwap.size"
            context = { desk = "fx", api_key = "hunter2", since = 2025-01-01, limits = [1, 2] }
        """)
        assert str(configure()).split("\n") == [
            f"guarded is configured by {path}",
            '  mode = "on"  (default)',
            '  store = "memory://"  (file)',
            '  on_store_loss = "count"  (default)',
            "  tracker.threshold = 3  (default)",
            '  tracker.reset_window = "5m"  (default)',
            "  tracker.history = 100  (default)",
            '  rules.packs = ["builtin"]  (file)',
            '  rules.rule[0].exception = "ccxt.NetworkError"  (file)',
            '  rules.rule[0].type = "connection_error"  (file)',
            '  instrument[0].target = "my_bot.strategies:Vwap.size"  (file)',
            "  instrument[0].reraise = false  (default)",
            "  instrument[0].reduce_only = false  (default)",
            '  instrument[0].when_halted = "refuse"  (default)',
            '  instrument[0].context.desk = "fx"  (file)',
            '  instrument[0].context.api_key = "***"  (file)',
            '  instrument[0].context.since = "2025-01-01"  (file)',
            "  instrument[0].context.limits = [1, 2]  (file)",
            "my_bot.strategies:Vwap.size: 1 guarded",
            "  my_bot.strategies:Vwap.size",
        ]

    def test_long_lists(self, write: Write) -> None:
        """Of a long list the first items are shown, and how many more there are."""
        write("")
        more = len(BUILT_IN) - 5
        assert (
            f'  rules.packs = ["builtin", "general", "aiohttp", "alpaca", "alpaca_trade_api", and {more} more]'
            in str(configure())
        )

    def test_no_password(self) -> None:
        """Neither the text nor the repr has the password of a store."""
        settings = {"store": "redis://bot:hunter2@host:6379/0?password=hunter2"}
        configuration = Configuration(Path("guarded.toml"), settings, {"store": "file"})
        assert '  store = "redis://***@host:6379/0"  (file)' in str(configuration)
        assert "hunter2" not in str(configuration) + repr(configuration)


class TestCommands:
    @pytest.fixture
    def cli(self, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
        def run(*arguments: str) -> tuple[int, str, str]:
            capsys.readouterr()
            status = main(["config", *arguments])
            return (status, *capsys.readouterr())

        return run

    def test_no_command(self, cli: Callable[..., Any]) -> None:
        """Without a command it says which there are; the exit status is 2."""
        assert cli() == (2, "", "guarded: give a command: check, show; `guarded config --help` describes them\n")

    def test_check(self, cli: Callable[..., Any], write: Write, bot: Write) -> None:
        """A sound file is ok, says what it would guard, and applies nothing; its functions are looked up."""
        before = get_failure_tracker()
        path = write("hosts = ['freqtrade']\nhalt_callback = 'my_bot.risk:cancel_all'" + textwrap.dedent(INSTRUMENT))
        assert cli("check") == (
            0,
            (
                f"ok: {path}: it guards my_bot.strategies:Vwap.generate_signals, my_bot.strategies:Vwap,"
                " every strategy of freqtrade\n"
            ),
            "",
        )
        assert get_failure_tracker() is before
        assert not is_guarded(module("my_bot.strategies").Vwap.generate_signals)

    def test_check_a_named_file(self, cli: Callable[..., Any], write: Write) -> None:
        """A file can be named."""
        path = write("", "other.toml")
        assert cli("check", "other.toml") == (0, f"ok: {path}: it guards nothing by itself, and sets the tracker\n", "")

    def test_check_finds_every_fault(self, cli: Callable[..., Any], write: Write) -> None:
        """Each fault is a line on standard error; the exit status is 2."""
        path = write("mode = 3\nhosts = 3")
        assert cli("check", str(path)) == (
            2,
            "",
            (
                f"guarded: {path}: mode = 3: expected one of 'on', 'strict', 'off'\n"
                f'guarded: {path}: hosts = 3: expected a list, such as hosts = ["..."]\n'
            ),
        )

    def test_check_looks_functions_up(self, cli: Callable[..., Any], write: Write, bot: Write) -> None:
        """A function that is not there is a fault, also of a module whose import configures."""
        bot("from guarded._configure import configure\nconfigure()", "my_bot/alarm.py")
        write("halt_callback = 'my_bot.alarm:cancel_all'")
        before = get_failure_tracker()
        status, out, err = cli("check")
        assert (status, out) == (2, "")
        assert "halt_callback = 'my_bot.alarm:cancel_all': <module 'my_bot.alarm'" in err
        assert get_failure_tracker() is before

    def test_check_imports_from_here(self, cli: Callable[..., Any], write: Write) -> None:
        """Modules in the current folder are found, and the path is as it was afterwards."""
        write("def cancel_all(reason, failure): ...", "here_alone.py")
        write("halt_callback = 'here_alone:cancel_all'")
        before = [entry for entry in sys.path if entry]
        sys.path[:] = before
        try:
            assert cli("check")[0] == 0
        finally:
            sys.modules.pop("here_alone", None)
        assert sys.path == before

    @pytest.mark.parametrize("command", ["check", "show"])
    def test_modules_beside_the_file(
        self, command: str, cli: Callable[..., Any], write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """What the file names is looked for beside the file, too, wherever the command is given."""
        path = write("[[instrument]]\ntarget = 'beside_it:signal'", "elsewhere/guarded.toml")
        write("def signal(): ...", "elsewhere/beside_it.py")
        assert cli(command, str(path))[0] == 0
        monkeypatch.chdir(tmp_path / "elsewhere")
        assert cli(command)[0] == 0

    def test_show(self, cli: Callable[..., Any], write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
        """The effective settings are shown with their origins; nothing is applied."""
        monkeypatch.setenv("GUARDED_MODE", "strict")
        path = write("mode = 'off'\n[tracker]\nthreshold = 4\nhistory = 7")
        before = get_failure_tracker()
        status, out, err = cli("show")
        assert (status, err) == (0, "")
        lines = out.splitlines()
        assert lines[:2] == [str(path), '  mode = "strict"  (environment variable GUARDED_MODE)']
        assert "  tracker.threshold = 4  (file)" in lines
        assert '  tracker.reset_window = "5m"  (default)' in lines
        assert (get_failure_tracker(), _mode.current) == (before, "on")

    def test_show_as_json(self, cli: Callable[..., Any], write: Write) -> None:
        """With --json it is one object, without secrets."""
        path = write("store = 'sqlite:///guarded.db?timeout=3'\nmode = 'off'")
        shown = json.loads(cli("show", "--json")[1])
        assert shown["file"] == str(path)
        assert shown["settings"]["store"] == f"sqlite:///{path.parent}/guarded.db"
        assert shown["settings"]["tracker"] == {"threshold": 3, "reset_window": "5m", "history": 100}
        assert (shown["origins"]["mode"], shown["origins"]["tracker.history"]) == ("file", "default")

    def test_show_finds_every_fault(self, cli: Callable[..., Any], write: Write) -> None:
        """A file with faults is not shown; the exit status is 2."""
        write("mode = 3")
        status, out, err = cli("show")
        assert (status, out) == (2, "")
        assert "mode = 3" in err

    @pytest.mark.parametrize("command", ["check", "show"])
    def test_without_the_extra(
        self, cli: Callable[..., Any], write: Write, monkeypatch: pytest.MonkeyPatch, command: str
    ) -> None:
        """Without msgspec, one line says what to install, and the exit status is 1."""
        write("")
        monkeypatch.delitem(sys.modules, "guarded._config")
        monkeypatch.delattr("guarded._config")
        monkeypatch.setitem(sys.modules, "msgspec", None)
        assert cli(command) == (
            1,
            "",
            "guarded: a configuration file needs the package msgspec: install guarded[config]\n",
        )


def test_without_the_extra() -> None:
    """Without msgspec guarded works, and configure raises an ImportError of one line that says what to install."""
    program = (
        "import sys; sys.modules['msgspec'] = None; from guarded._configure import configure\n"
        "try: configure('guarded.toml')\nexcept ImportError as missing: print(missing)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=os.environ)
    assert done.stdout == "a configuration file needs the package msgspec: install guarded[config]\n"


def test_what_is_imported_for_it() -> None:
    """Neither msgspec nor a TOML parser is imported before there is a configuration to read."""
    program = "import sys, guarded._configure; print([n for n in ('msgspec', 'tomllib') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
