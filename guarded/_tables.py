"""Tables: reports as people read them.

Names, messages and reasons come from outside: they are shown literally, never as markup, and with what is not printable
escaped.
"""

from __future__ import annotations

import json
from datetime import datetime
from typing import TYPE_CHECKING, Any

from rich.console import Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from guarded._scope import Scope
from guarded._screen import printable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from rich.console import RenderableType

    from guarded._report import Report

_LEVEL_STYLES = {"halted": "bold red", "reducing": "bold yellow"}
_LEVELS = {"halted": "halted", "reducing": "reducing: calls marked reduce_only=True still run"}


def status(report: Report) -> RenderableType:
    """A status, or a look at a store that is away."""
    if "error" in report:
        return Group(_head("AWAY", "bold red", report), _line(f"  {report['error']}"))
    state, style = ("HALTED", "bold red") if report["halted"] else ("ACTIVE", "bold green")
    return Group(
        _head(state, style, report),
        *_degraded(len(report["stores_degraded"]), len(report["processes"])),
        *_halts(report["halts"], report["processes_with_callback"]),
        *_section("Streaks", _streaks(report["streaks"])),
        *_section("Failures", _totals(report["failures"])),
        *_section("Last failures", _failures(report["last_failures"])),
        *_section("Last success of each strategy", _successes(report["last_success"])),
        *_section("Processes", _processes(report["processes"])),
    )


def halted(report: Report) -> RenderableType:
    """What became of an order to halt trading."""
    scope = Scope(**report["scope"])
    said = {
        "halted": f"Trading is halted for {scope}.",
        "raised": f"The halt of {scope} is stricter now.",
        "halted_already": f"Trading was halted for {scope} already; the reason is added to that halt.",
    }[report["outcome"]]
    return Group(
        _line(said, "bold"),
        *_halts(report["halts"], report["processes_with_callback"]),
        _blank(),
        _line(_who_hears(report["processes"])),
    )


def resumed(report: Report) -> RenderableType:
    """What became of an order to resume trading."""
    scope, ended, halts = Scope(**report["scope"]), report["ended"], report["halts"]
    if ended is None:
        said = [_line(f"Nothing is resumed: there is no halt of {scope}.", "bold")]
    else:
        said = [
            _line(
                f"Trading is resumed for {scope}, claimed by {ended['resumed_by']}: {ended['resume_reason']}", "bold"
            ),
            _line(f"It was halted since {_time(ended['since'])}: {ended['reason']}"),
        ]
    left = [_blank(), _line("Still halted:", "bold red")] if halts else [_line("Nothing is halted.", "bold green")]
    return Group(*said, *left, *_halts(halts, None))


def history(failures: Sequence[Report]) -> RenderableType:
    """Failures, one line each."""
    return _failures(failures) or _line("No such failures are on record.")


def traces(failures: Sequence[Report]) -> RenderableType:
    """Failures with what is known of each."""
    blocks = [part for failure in failures for part in (*_failure(failure), _blank())]
    return Group(*blocks[:-1]) if blocks else history(failures)


def audit(entries: Sequence[Report]) -> RenderableType:
    """Entries of the audit, one line each."""
    if not entries:
        return _line("No such entries are in the audit.")
    rows = [(_time(entry["at"]), _entry(entry)) for entry in entries]
    return _table(("at", "what"), rows)


def _entry(entry: Report) -> Text:
    of = "" if entry["scope"] is None else f" of {Scope(**entry['scope'])}"
    by = "" if entry["claimed_by"] is None else f", claimed by {entry['claimed_by']}"
    why = "" if entry["reason"] is None else f": {entry['reason']}"
    place = f"host {entry['host']}, pid {entry['pid']}, os user {entry['os_user']}"
    details = "; ".join([place, *_details(entry["details"])])
    what = Text.assemble((entry["action"], "bold"), printable(f"{of}{by}{why}"), (printable(f"  ({details})"), "dim"))
    what.overflow = "fold"
    return what


def _head(state: str, style: str, report: Report) -> RenderableType:
    about = "" if "scope" not in report or not any(report["scope"].values()) else f"  {Scope(**report['scope'])}"
    return Text.assemble((state, style), printable(f"{about}  {report['store']}  {_time(report['at'])}"))


def _degraded(silent: int, processes: int) -> list[RenderableType]:
    if not silent:
        return []
    return [_line(f"{silent} of {_counted(processes, 'process', 'processes')} silent: see below.", "bold red")]


def _halts(halts: Iterable[Report], with_callback: int | None) -> list[RenderableType]:
    """Halts in force.

    Args:
        halts: The halts.
        with_callback: How many processes would run a callback; None = do not tell of callbacks.
    """
    return [part for halt in halts for part in _halt(halt, with_callback)]


def _halt(halt: Report, with_callback: int | None) -> list[RenderableType]:
    facts = {
        "level": _LEVELS[halt["level"]],
        "since": _ago(halt["since"], halt["seconds"]),
        "reason": halt["reason"],
        **_by(halt),
        "trigger": halt["trigger_type"],
    }
    if with_callback is not None:
        facts["callback"] = _callback(halt, with_callback)
    title = _line(f"Halt of {Scope(**halt['scope'])}", _LEVEL_STYLES[halt["level"]])
    return [_blank(), title, _indented(_table((), facts.items()))]


def _by(halt: Report) -> dict[str, str]:
    if halt["by"]:
        return {"claimed by": halt["by"]}
    return {"halted by": "somebody who gave no name" if halt["by_hand"] else "a policy"}


def _callback(halt: Report, with_callback: int) -> str:
    if not halt["callback_pending"]:
        return "has run to its end"
    if with_callback == 0:
        return "pending, and no process on the store has one"
    return f"pending; {_counted(with_callback, 'process', 'processes')} on the store would run one"


def _who_hears(processes: int) -> str:
    if processes == 0:
        return "No process is on this store at the moment: see that it is the one that the bots use."
    return f"On the store: {_counted(processes, 'process', 'processes')}."


def _section(title: str, content: RenderableType | None) -> list[RenderableType]:
    if content is None:
        return [_blank(), _line(f"{title}: none", "bold")]
    return [_blank(), _line(title, "bold"), _indented(content)]


def _streaks(streaks: Sequence[Report]) -> RenderableType | None:
    rows = [
        (Scope(**s["scope"]), s["series"], s["failures"], s["unbroken"], _ago(s["last_failure"], s["seconds"]))
        for s in streaks
    ]
    return _table(("of", "counted by", "failures", "since last success", "last failure"), rows) if rows else None


def _totals(failures: Report) -> RenderableType | None:
    rows = [(by, name, count) for by in ("strategy", "symbol", "type") for name, count in failures[f"by_{by}"].items()]
    total = [] if failures["total"] is None else [("total", "", failures["total"])]
    return _table(("by", "", "failures"), [*rows, *total]) if rows else None


def _failures(failures: Sequence[Report]) -> RenderableType | None:
    rows = [(_time(f["timestamp"]), f["strategy_name"], f["symbol"], f["failure_type"], _error(f)) for f in failures]
    return _table(("at", "strategy", "symbol", "type", "error"), rows) if rows else None


def _failure(failure: Report) -> Iterable[RenderableType]:
    key = Scope(failure["strategy_name"], failure["symbol"])
    yield _line(f"{_time(failure['timestamp'])}  {key}  {failure['failure_type']}  {_error(failure)}", "bold")
    facts = {"rule": failure["rule"] or "none"}
    if failure["additional_context"]:
        facts["context"] = json.dumps(failure["additional_context"], ensure_ascii=False)
    yield _indented(_table((), facts.items()))
    trace = failure["stack_trace"] or "no trace was kept"
    yield from (_line(f"  {line}") for line in trace.expandtabs().splitlines())


def _successes(successes: Mapping[str, Report]) -> RenderableType | None:
    rows = [(name, _ago(last["at"], last["seconds"])) for name, last in successes.items()]
    return _table(("strategy", "at, to within half a minute"), rows) if rows else None


def _processes(processes: Sequence[Report]) -> RenderableType | None:
    rows = [
        (
            p["host"],
            p["pid"],
            _time(p["started"]),
            f"{_span(p['seconds'])} ago",
            p["refusals"],
            "yes" if p["has_callback"] else "no",
            _cell("silent: it hangs, or is without the store", "bold red") if p["silent"] else "running",
        )
        for p in processes
    ]
    return _table(("host", "pid", "started", "heard of", "refusals", "callback", "state"), rows) if rows else None


def _details(details: Mapping[str, Any]) -> list[str]:
    """Those that fit into a line."""
    return [f"{name} {value}" for name, value in details.items() if isinstance(value, str | int | float)]


def _error(failure: Report) -> str:
    error_type, message = failure["error_type"], failure["error_message"]
    return message if error_type in ("", message) else f"{error_type}: {message}"


def _time(moment: str) -> str:
    return datetime.fromisoformat(moment).isoformat(timespec="seconds")


def _ago(moment: str, seconds: float) -> str:
    return f"{_time(moment)} ({_span(seconds)} ago)"


def _span(seconds: float) -> str:
    minutes, hours, days = int(seconds // 60), int(seconds // 3600), int(seconds // 86400)
    if minutes == 0:
        return f"{int(seconds)} s"
    if hours == 0:
        return f"{minutes} min"
    return f"{hours} h {minutes % 60} min" if days == 0 else f"{days} d {hours % 24} h"


def _counted(count: int, one: str, many: str) -> str:
    return f"{count} {one if count == 1 else many}"


def _table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> RenderableType:
    """A table without lines; without names of columns, too, where there are none."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=bool(columns), header_style="dim")
    for column in columns:
        table.add_column(column, overflow="fold", no_wrap=column == "at")
    for row in rows:
        table.add_row(*(_cell(value) for value in row))
    return table


def _cell(value: object, style: str = "") -> Text:
    return value if isinstance(value, Text) else Text(printable(str(value)), style, overflow="fold")


def _line(text: str, style: str = "") -> Text:
    return Text(printable(text), style)


def _blank() -> Text:
    return Text("")


def _indented(content: RenderableType) -> RenderableType:
    return Padding(content, (0, 0, 0, 2), expand=False)
