"""The command line's commands: their arguments, what they call, and their exit status."""

from __future__ import annotations

import functools
import json
import logging
import sys
from contextlib import contextmanager
from datetime import UTC, datetime
from enum import StrEnum
from time import sleep
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer

from guarded import _configure, _openmetrics, _report, _screen, _tables
from guarded._errors import InvalidConfiguration, StoreUnavailable
from guarded._explained import explained
from guarded._failure import checked_type
from guarded._halt import HaltLevel
from guarded._halt_manager import EmergencyHaltManager
from guarded._operands import (
    check_carried_out,
    check_known,
    checked_action,
    checked_url,
    moment_of,
    note_unknown,
    opened,
)
from guarded._pipeline import LOGGER
from guarded._scope import Scope, checked_scope
from guarded._secrets import mask
from guarded.stores._urls import shown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from rich.console import RenderableType

    from guarded._report import Report

ACTIVE: Final = 0
FAULT: Final = 1
USAGE: Final = 2
HALTED: Final = 3

_STATUSES: Final = (
    "Exit status: 0 active, or done; 1 a fault, such as a store that is away; 2 wrong usage, such as a name that the"
    " store does not know; 3 halted: of `status`, if anything that was asked for is; of `resume`, if anything stays so."
    " `halt` ends with 0 once trading is halted."
)

app = typer.Typer(
    help="See how guarded trading stands; halt it, resume it.",
    epilog=_STATUSES,
    add_completion=False,
    rich_markup_mode="markdown",
)
config = typer.Typer(help="See what a configuration file says, and what is wrong with it.", epilog=_STATUSES)
app.add_typer(config, name="config")


class Format(StrEnum):
    """How a status is written."""

    TEXT = "text"
    JSON = "json"
    OPENMETRICS = "openmetrics"


Store = Annotated[
    str | None,
    typer.Option("--store", envvar="GUARDED_STORE", metavar="URL", help="The store that the bots use."),
]
Strategy = Annotated[str | None, typer.Option("--strategy", metavar="NAME", help="This strategy only.")]
Symbol = Annotated[
    str | None, typer.Option("--symbol", metavar="NAME", help="This symbol only; with --strategy, the two together.")
]
By = Annotated[str, typer.Option("--by", metavar="NAME", help="Who you are: it goes on the record.")]
Reason = Annotated[str, typer.Option("--reason", metavar="TEXT", help="Why: it goes on the record.")]
Json = Annotated[bool, typer.Option("--json", help="Write JSON.")]
ConfigFile = Annotated[
    str | None,
    typer.Argument(metavar="FILE", help="Without it: the one of GUARDED_CONFIG, or the nearest one from here upwards."),
]
Limit = Annotated[int, typer.Option("--limit", min=0, metavar="N", help="The newest so many; 0 = all.")]


def run(arguments: Sequence[str] | None) -> int:
    """Run a command.

    Args:
        arguments: Those after `guarded`; None: the program's own.

    Returns:
        The exit status.
    """
    status: object = ACTIVE
    try:
        with _silent_log():
            _command().main(arguments, prog_name="guarded")
    except SystemExit as ended:
        status = ended.code
    except InvalidConfiguration as fault:
        return _failed(fault, USAGE)
    except (StoreUnavailable, OSError) as fault:
        return _failed(fault, FAULT)
    return status if isinstance(status, int) else ACTIVE


@functools.cache
def _command() -> Any:
    """What parses the arguments; its class is click's, or typer's own copy of that, as typer is older or newer."""
    return typer.main.get_command(app)


@contextmanager
def _silent_log() -> Iterator[None]:
    """Keep the library's log out of standard error: the commands say themselves what they do."""
    logger = logging.getLogger(LOGGER)
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before


def _failed(fault: Exception, status: int) -> int:
    _screen.say(mask(str(fault)))
    return status


@app.callback(invoke_without_command=True)
def _main(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        names = ", ".join(command.name or "" for command in app.registered_commands)
        raise InvalidConfiguration(f"give a command: {names}; `guarded --help` describes them")


@app.command("status", epilog=_STATUSES)
def _status(
    store: Store = None,
    strategy: Strategy = None,
    symbol: Symbol = None,
    watch: Annotated[bool, typer.Option("--watch", help="Look again and again, until Ctrl-C.")] = False,
    interval: Annotated[
        float, typer.Option("--interval", min=0.1, metavar="SECONDS", help="From one look to the next.")
    ] = 2.0,
    as_json: Json = False,
    form: Annotated[Format | None, typer.Option("--format", help="How to write it.")] = None,
) -> None:
    """Say how things stand; the exit status is 3 if anything asked for is halted.

    Halts, streaks, failures, last successes, and the processes on the store. With a scope: what concerns it.
    """
    form = _checked_form(form, as_json=as_json, watch=watch)
    url, scope = checked_url(store), checked_scope(strategy, symbol)
    try:
        report = _look(url, scope, known=True)
    except StoreUnavailable as fault:
        if form is Format.OPENMETRICS:
            _screen.put_for_programs(_openmetrics.text(_away(url, fault)))
        raise
    if watch:
        report = _watched(report, url, scope, interval, form)
    elif form is Format.OPENMETRICS:
        _screen.put_for_programs(_openmetrics.text(report))
    else:
        _answer(report, _tables.status(report), as_json=form is Format.JSON)
    raise typer.Exit(_status_of(report))


def _checked_form(form: Format | None, *, as_json: bool, watch: bool) -> Format:
    if as_json and form not in (None, Format.JSON):
        raise InvalidConfiguration(f"--json and --format {form} disagree: give one of the two")
    if watch and form is Format.OPENMETRICS:
        raise InvalidConfiguration("--watch does not go with --format openmetrics, which is one look: leave it out")
    return Format.JSON if as_json else form or Format.TEXT


def _look(url: str, scope: Scope, *, known: bool = False) -> Report:
    """A status.

    Args:
        url: Where.
        scope: Of whom.
        known: Whether the store has to know the names.
    """
    with opened(url) as ledger:
        picture = _report.taken(ledger, shown(url))
        for note in note_unknown(picture, scope) if known else ():
            _screen.say(note)
        return _report.status(picture, scope)


def _away(url: str, fault: Exception) -> Report:
    return _report.away(shown(url), mask(str(fault)), datetime.now(UTC))


def _watched(report: Report, url: str, scope: Scope, interval: float, form: Format) -> Report:
    """Show a status and those that follow until Ctrl-C; returns the last one."""
    if form is Format.JSON:
        return _looks(report, url, scope, interval, lambda report: _screen.put(f"{json.dumps(report)}\n"))
    with _screen.replacing() as show:
        return _looks(report, url, scope, interval, lambda report: show(_tables.status(report)))


def _looks(report: Report, url: str, scope: Scope, interval: float, show: Callable[[Report], None]) -> Report:
    try:
        while True:
            show(report)
            sleep(interval)
            try:
                report = _look(url, scope)
            except StoreUnavailable as fault:
                report = _away(url, fault)
    except KeyboardInterrupt:
        return report


def _status_of(report: Report) -> int:
    if "error" in report:
        return FAULT
    return HALTED if report["halted"] else ACTIVE


@app.command("history", epilog=_STATUSES)
def _history(
    store: Store = None,
    strategy: Strategy = None,
    symbol: Symbol = None,
    failure_type: Annotated[
        str | None, typer.Option("--type", metavar="TYPE", help="Failures of this type only, such as data_error.")
    ] = None,
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="TIME", help="ISO 8601, in UTC if it does not say; or 30s, 15m, 2h, 7d ago."),
    ] = None,
    limit: Limit = 50,
    trace: Annotated[bool, typer.Option("--trace", help="With rule, context and stack trace of each.")] = False,
    as_json: Json = False,
) -> None:
    """List failures, the newest last."""
    url, scope = checked_url(store), checked_scope(strategy, symbol)
    kind = None if failure_type is None else checked_type(failure_type, "--type")
    after = moment_of(since, datetime.now(UTC))
    with opened(url) as ledger:
        picture = _report.taken(ledger, shown(url))
    check_known(picture, scope)
    found = _newest(_report.history(picture.failures, scope, kind, after, trace=trace), limit)
    _answer(found, _tables.traces(found) if trace else _tables.history(found), as_json=as_json)


@app.command("halt", epilog=_STATUSES)
def _halt(
    by: By,
    reason: Reason,
    store: Store = None,
    strategy: Strategy = None,
    symbol: Symbol = None,
    level: Annotated[
        HaltLevel, typer.Option("--level", help="reducing: calls that only reduce positions still run.")
    ] = HaltLevel.HALTED,
    force: Annotated[bool, typer.Option("--force", help="Halt a name that is like a known one all the same.")] = False,
    as_json: Json = False,
) -> None:
    """Halt trading: everything, or a strategy, a symbol, or the two together.

    Guarded calls are refused from then on, in every process on the store; one of them runs its halt callback. It stays
    so until somebody resumes trading.
    """
    url, scope = checked_url(store), checked_scope(strategy, symbol)
    for option, value in (("--by", by), ("--reason", reason)):
        if not value.strip():
            raise InvalidConfiguration(f"{option}={value!r}: trading is halted on the record, so say who and why")
    with opened(url) as ledger:
        before = _report.taken(ledger, shown(url))
        for note in () if force else note_unknown(before, scope, " (--force halts it all the same)"):
            _screen.say(note)
        manager = EmergencyHaltManager(ledger)
        changed = manager.trigger_halt(reason, strategy=strategy, symbol=symbol, level=level, by=by)
        check_carried_out(ledger, "halted")
        after = _report.taken(ledger, shown(url))
    report = _report.halted(before, after, scope, changed=changed)
    _answer(report, _tables.halted(report), as_json=as_json)


@app.command("resume", epilog=_STATUSES)
def _resume(
    by: By,
    reason: Reason,
    store: Store = None,
    strategy: Strategy = None,
    symbol: Symbol = None,
    as_json: Json = False,
) -> None:
    """End one halt, and say what stays halted; the exit status is 3 if anything does.

    Without names it ends the halt of everything; that of a strategy or symbol stays until it is resumed by its names.
    """
    url, scope = checked_url(store), checked_scope(strategy, symbol)
    with opened(url) as ledger:
        before = _report.taken(ledger, shown(url))
        check_known(before, scope)
        EmergencyHaltManager(ledger).resume_trading(by=by, reason=reason, strategy=strategy, symbol=symbol)
        check_carried_out(ledger, "resumed")
        after = _report.taken(ledger, shown(url))
        halt = before.rows.halts.get(scope)
        ended = [other for other in ledger.ended() if halt is not None and other.episode == halt.episode]
    report = _report.resumed(after, scope, ended[-1] if ended else None)
    _answer(report, _tables.resumed(report), as_json=as_json)
    raise typer.Exit(HALTED if report["halts"] else ACTIVE)


@app.command("audit", epilog=_STATUSES)
def _audit(
    store: Store = None,
    action: Annotated[
        str | None, typer.Option("--action", metavar="ACTION", help="Entries of this action only, such as resume.")
    ] = None,
    limit: Limit = 50,
    as_json: Json = False,
) -> None:
    """List who halted, resumed, reset and started what, and where; the newest last.

    Who did it is a claim, which nobody has checked; host, pid and os user are those of the process that did it.
    """
    url, wanted = checked_url(store), checked_action(action)
    with opened(url) as ledger:
        found = _newest(_report.audit(ledger.audit(), wanted), limit)
    _answer(found, _tables.audit(found), as_json=as_json)


@app.command("explain")
def _explain(
    exception: Annotated[
        str | None,
        typer.Argument(
            metavar="module:ClassName",
            help="The class of the exception; without it, a traceback is read from standard input.",
        ),
    ] = None,
    rules: Annotated[
        list[str] | None,
        typer.Option("--rules", metavar="FILE", help="A pack of your own, asked first; may be repeated."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Say what an exception counts as, by which rule of which pack, and why.

    What an exception carries beside its text, such as a status code, is not in a traceback: rules that look at it are
    passed over.
    """
    try:
        found = explained(exception, rules or ())
    except InvalidConfiguration as fault:
        typer.echo(f"guarded explain: {fault}", err=True)
        raise typer.Exit(USAGE) from None
    _screen.put(f"{json.dumps(found.to_dict(), indent=2) if as_json else found}\n")


@config.callback(invoke_without_command=True)
def _config(context: typer.Context) -> None:
    if context.invoked_subcommand is None:
        raise InvalidConfiguration("give a command: check, show; `guarded config --help` describes them")


@config.command("check", epilog=_STATUSES)
def _config_check(file: ConfigFile = None) -> None:
    """Say everything that is wrong with a configuration file; the exit status is 2 if anything is.

    The functions that it names are imported, as `python -m` would from here. Nothing is guarded, and no store is made.
    """
    with _each_fault_told(), _importing_from_here(file):
        checked = _configure.check(file)
    _screen.put(f"ok: {checked.path}: {_configure.scope_of(checked.settings)}\n")


@config.command("show", epilog=_STATUSES)
def _config_show(file: ConfigFile = None, as_json: Json = False) -> None:
    """Show the settings of a configuration file, with the defaults, and where each comes from."""
    with _each_fault_told(), _importing_from_here(file):
        plan = _configure.planned(file)
    if as_json:
        shown_as = _configure.as_json(plan.settings)
        _screen.put(
            f"{json.dumps({'file': str(plan.path), 'settings': shown_as, 'origins': plan.origins}, indent=2)}\n"
        )
    else:
        lines = [str(plan.path), *_configure.described(plan.settings, plan.origins)]
        _screen.put("".join(f"{_screen.printable(line)}\n" for line in lines))


@contextmanager
def _each_fault_told() -> Iterator[None]:
    """Say what is wrong with a configuration line by line, and end; the same where the extra is missing."""
    try:
        yield
    except InvalidConfiguration as faults:
        for fault in str(faults).split("\n"):
            _failed(InvalidConfiguration(fault), USAGE)
        raise typer.Exit(USAGE) from None
    except ImportError as missing:
        raise typer.Exit(_failed(missing, FAULT)) from None


@contextmanager
def _importing_from_here(file: str | None) -> Iterator[None]:
    """Find modules in the current folder, and beside the file; an installed command does not by itself."""
    before = list(sys.path)
    sys.path[:0] = ["", str(_configure.folder_of(file))]
    try:
        yield
    finally:
        sys.path[:] = before


def _newest(found: list[Report], limit: int) -> list[Report]:
    return found[-limit:] if limit else found


def _answer(report: Report | list[Report], shown_as: RenderableType, *, as_json: bool) -> None:
    if as_json:
        _screen.put(f"{json.dumps(report, indent=2)}\n")
    else:
        _screen.show(shown_as)
