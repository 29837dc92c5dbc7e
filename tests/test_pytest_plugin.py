"""The pytest plugin: its fixture, its marker and option, and what it shows below a failing test."""

from __future__ import annotations

from importlib.metadata import entry_points

import pytest

from guarded import get_failure_tracker, pytest_plugin

STRATEGY = """
    import pytest
    from guarded import FailureTracker, get_failure_tracker, guarded_signal

    @guarded_signal(strategy="VWAP", symbol="{symbol}")
    def generate(symbol, close):
        return 1 / close
"""


@pytest.fixture
def project(pytester: pytest.Pytester) -> pytest.Pytester:
    """A project whose tests import a strategy."""
    pytester.makeini("[pytest]\naddopts = --strict-markers\nasyncio_default_fixture_loop_scope = function")
    pytester.makepyfile(strategy=STRATEGY)
    return pytester


def write(project: pytest.Pytester, body: str) -> None:
    import textwrap  # noqa: PLC0415  # only here

    project.makepyfile(test_it="from strategy import *\n" + textwrap.dedent(body))


def test_pytest_finds_the_plugin() -> None:
    """The distribution declares the plugin, so that pytest loads it by itself."""
    assert [entry.value for entry in entry_points(group="pytest11", name="guarded")] == ["guarded.pytest_plugin"]


class TestFixture:
    """`failure_tracker`."""

    def test_it_is_fresh_current_and_restored(self, project: pytest.Pytester) -> None:
        """Each test gets a tracker of its own, in which guards count, also from threads and coroutines."""
        before = get_failure_tracker()
        write(
            project,
            """
            import asyncio, threading
            seen = []

            @pytest.mark.parametrize("number", range(2))
            def test_counts(failure_tracker, number):
                assert get_failure_tracker() is failure_tracker
                assert failure_tracker not in seen
                seen.append(failure_tracker)
                generate("AAPL", 0)
                thread = threading.Thread(target=generate, args=("MSFT", 0))
                thread.start()
                thread.join()
                assert failure_tracker.symbol_failures == {"AAPL": 1, "MSFT": 1}

            @pytest.mark.asyncio
            async def test_counts_in_tasks(failure_tracker):
                await asyncio.gather(asyncio.to_thread(generate, "AAPL", 0))
                assert failure_tracker.total_failures == 1

            def test_is_restored():
                assert get_failure_tracker() not in seen
            """,
        )
        project.runpytest().assert_outcomes(passed=4)
        assert get_failure_tracker() is before


class TestMode:
    """The marker and the ini option `guarded_mode`."""

    def test_the_marker_says_the_mode(self, project: pytest.Pytester) -> None:
        """A marked test runs in its mode from setup to teardown, the next one in that of the process again."""
        write(
            project,
            """
            @pytest.fixture
            def failing(failure_tracker):
                with pytest.raises(ZeroDivisionError):
                    generate("AAPL", 0)
                yield
                with pytest.raises(ZeroDivisionError):
                    generate("AAPL", 0)

            @pytest.mark.guarded_mode("strict")
            def test_strict(failing, failure_tracker):
                with pytest.raises(ZeroDivisionError):
                    generate("AAPL", 0)
                assert failure_tracker.total_failures == 2

            @pytest.mark.guarded_mode("off")
            class TestOff:
                def test_off(self, failure_tracker):
                    with pytest.raises(ZeroDivisionError):
                        generate("AAPL", 0)
                    assert failure_tracker.total_failures == 0

            def test_on(failure_tracker):
                assert generate("AAPL", 0) is None
            """,
        )
        project.runpytest().assert_outcomes(passed=3)

    def test_the_option_says_it_for_all_tests(self, project: pytest.Pytester) -> None:
        """The ini option is the mode of every test that is not marked."""
        project.makeini("[pytest]\nguarded_mode = strict\nasyncio_default_fixture_loop_scope = function")
        write(
            project,
            """
            def test_strict(failure_tracker):
                with pytest.raises(ZeroDivisionError):
                    generate("AAPL", 0)

            @pytest.mark.guarded_mode("on")
            def test_on(failure_tracker):
                assert generate("AAPL", 0) is None
            """,
        )
        project.runpytest().assert_outcomes(passed=2)

    def test_a_wrong_option_fails_at_the_start(self, project: pytest.Pytester) -> None:
        """An ini option that is no mode is a usage error, before any test runs."""
        project.makeini("[pytest]\nguarded_mode = strikt")
        write(project, "def test_nothing(): pass")
        result = project.runpytest()
        assert result.ret == pytest.ExitCode.USAGE_ERROR
        result.stderr.fnmatch_lines(
            ["*guarded_mode in *tox.ini: 'strikt' is no mode of guards; expected one of 'on', 'strict', 'off'*"]
        )

    @pytest.mark.parametrize("given", ["'strikt'", "", "'on', 'off'", "mode='strict'"])
    def test_a_wrong_marker_fails_its_test(self, given: str, project: pytest.Pytester) -> None:
        """A marker that says no mode is an error of that test, and of no other."""
        write(
            project,
            f"""
            @pytest.mark.guarded_mode({given})
            def test_wrong(): pass

            def test_right(): pass
            """,
        )
        result = project.runpytest()
        result.assert_outcomes(passed=1, errors=1)
        result.stdout.fnmatch_lines(
            ["*the marker guarded_mode of test_it.py::test_wrong: * is no mode of guards; expected*"]
        )

    def test_it_is_listed(self, project: pytest.Pytester) -> None:
        """The marker is registered, with what it takes."""
        project.runpytest("--markers").stdout.fnmatch_lines(
            ["@pytest.mark.guarded_mode(mode): *'on', 'strict', 'off'*"]
        )


class TestReport:
    """What is shown below a failing test."""

    def shown(self, project: pytest.Pytester, body: str, *options: str) -> str:
        write(project, body)
        return project.runpytest("-p", "no:logging", *options).stdout.str()

    def test_failures_are_shown_below_a_failing_test(self, project: pytest.Pytester) -> None:
        """Below a failing test stand the failures of all trackers that lived in it, and the last trace."""
        shown = self.shown(
            project,
            """
            def test_signal(failure_tracker):
                own = FailureTracker()
                own.record_failure("RSI", "MSFT", "no bars, api_key=hunter2")
                assert generate("AAPL", 0) is not None
            """,
        )
        section = shown.partition(f"- {pytest_plugin.TITLE} -")[2]
        assert "VWAP for AAPL: ZeroDivisionError: division by zero [strategy_error]" in section
        assert "the last one with a trace:\nTraceback (most recent call last):\n" in section
        assert "    return 1 / close\nZeroDivisionError: division by zero" in section
        assert "RSI for MSFT: no bars, api_key=*** [unknown_error]" in section

    def test_also_those_of_a_block_in_the_test(self, project: pytest.Pytester) -> None:
        """A tracker that was the shared one within the test only is looked at, too, and its halts are told."""
        shown = self.shown(
            project,
            """
            from guarded.testing import fresh_tracker

            def test_signal():
                with fresh_tracker(failure_threshold=1) as tracker:
                    assert generate("AAPL", 0) is not None
            """,
        )
        assert "VWAP for AAPL: ZeroDivisionError" in shown
        assert "trading is halted for everything: 1 consecutive failure (threshold 1); last: VWAP for AAPL" in shown

    def test_not_below_a_passing_test_nor_those_of_another(self, project: pytest.Pytester) -> None:
        """A test that passes shows nothing, and a failing one nothing that was recorded before it."""
        shown = self.shown(
            project,
            """
            kept = FailureTracker()

            def test_passes(failure_tracker):
                generate("AAPL", 0)
                kept.record_failure("RSI", "MSFT", "earlier")

            def test_fails():
                assert False
            """,
            "-rA",
        )
        assert pytest_plugin.TITLE not in shown
        assert "earlier" not in shown

    def test_below_a_failing_setup(self, project: pytest.Pytester) -> None:
        """A test whose setup fails shows what was recorded in it."""
        shown = self.shown(
            project,
            """
            @pytest.fixture
            def broken(failure_tracker):
                generate("AAPL", 0)
                raise RuntimeError

            def test_signal(broken): pass
            """,
        )
        assert "VWAP for AAPL: ZeroDivisionError" in shown

    def test_it_is_bounded(self, project: pytest.Pytester) -> None:
        """The first ten failures are shown, and how many more there are."""
        shown = self.shown(
            project,
            """
            def test_signal(failure_tracker):
                for number in range(25):
                    failure_tracker.record_failure("VWAP", f"S{number}", "an error event")
                assert False
            """,
        )
        section = shown.partition(f"- {pytest_plugin.TITLE} -")[2]
        assert section.count("an error event [unknown_error]") == 10
        assert "VWAP for S9: an error event" in section
        assert "... and 15 more" in section

    def test_what_cannot_be_read_fails_no_test(self, project: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> None:
        """If the records cannot be read, tests pass and fail as ever, and a failing one says so."""
        monkeypatch.setattr(pytest_plugin, "living_trackers", lambda: 1 / 0)
        write(
            project,
            """
            def test_passes(): pass

            def test_fails(): assert False
            """,
        )
        result = project.runpytest()
        result.assert_outcomes(passed=1, failed=1)
        result.stdout.fnmatch_lines(["they cannot be shown: ZeroDivisionError: division by zero"])


@pytest.mark.parametrize("option", ["--collect-only", "-p no:guarded", "-p no:terminal"])
def test_it_is_in_nobodys_way(option: str, project: pytest.Pytester) -> None:
    """Tests are collected and run without the plugin, and without a terminal."""
    write(project, "def test_nothing(): assert get_failure_tracker() is not None")
    assert project.runpytest(*option.split()).ret == pytest.ExitCode.OK


def test_in_a_process_of_its_own(project: pytest.Pytester) -> None:
    """Pytest loads the plugin without being told to."""
    write(project, "def test_it(failure_tracker): assert generate('AAPL', 0) is None")
    project.runpytest_subprocess().assert_outcomes(passed=1)
