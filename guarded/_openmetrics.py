"""OpenMetrics: a report in the text format that Prometheus and its like read.

What is written is also a valid text of the older Prometheus format, which is what node exporter's collector of text
files reads: only gauges and counters, no timestamps of samples.
"""

from __future__ import annotations

from datetime import datetime
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from guarded._report import Report

_LEVELS = ("halted", "reducing")
_NOBODY = {"scope": "global", "strategy": "", "symbol": ""}


class Sample(NamedTuple):
    """One number.

    Attributes:
        value: The number.
        labels: What tells it apart from the others of its family.
    """

    value: float
    labels: Mapping[str, str] = MappingProxyType({})


class Family(NamedTuple):
    """One metric.

    Attributes:
        name: Its name; samples of a counter have `_total` behind it.
        kind: What kind of number it is.
        about: What it says.
        samples: The numbers.
        unit: Their unit, which the name ends in.
    """

    name: str
    kind: Literal["gauge", "counter"]
    about: str
    samples: Sequence[Sample]
    unit: str = ""


def text(report: Report) -> str:
    """A status, or a look at a store that is away, as OpenMetrics."""
    families = [_up(0)] if "error" in report else _families(report)
    return "".join(line for family in families if family.samples for line in _lines(family)) + "# EOF\n"


def _families(report: Report) -> list[Family]:
    return [
        _up(1),
        *_of_halts(report),
        *_of_failures(report),
        *_of_successes(report),
        *_of_processes(report),
    ]


def _up(value: int) -> Family:
    return Family("guarded_store_up", "gauge", "Whether the store could be read.", [Sample(value)])


def _of_halts(report: Report) -> Iterator[Family]:
    halts = report["halts"]
    levels = {halt["level"]: 1 for halt in halts if halt["kind"] == "global"}
    everything = [Sample(levels.get(level, 0), {**_NOBODY, "level": level}) for level in _LEVELS]
    others = [Sample(1, {**_scope(halt), "level": halt["level"]}) for halt in halts if halt["kind"] != "global"]
    about = "Whether a scope is halted; for everything also 0, for other scopes only while they are."
    yield Family("guarded_halted", "gauge", about, [*everything, *others])
    since = [Sample(_seconds(halt["since"]), _scope(halt)) for halt in halts]
    yield _time("guarded_halted_since", "When a scope was halted.", since)
    pending = sum(halt["callback_pending"] for halt in halts)
    yield Family("guarded_callback_pending", "gauge", "Halts whose callback has not run to its end.", [Sample(pending)])
    ready = report["processes_with_callback"]
    about = "Processes that would run a halt callback."
    yield Family("guarded_processes_with_callback", "gauge", about, [Sample(ready)])


def _of_failures(report: Report) -> Iterator[Family]:
    failures = report["failures"]
    if failures["total"] is not None:
        yield Family("guarded_failures", "counter", "Failures recorded.", [Sample(failures["total"])])
    for by in ("strategy", "symbol", "type"):
        counted = [Sample(count, {by: name}) for name, count in failures[f"by_{by}"].items()]
        yield Family(f"guarded_{by}_failures", "counter", f"Failures recorded, by {by}.", counted)
    streaks = [Sample(s["failures"], {**_scope(s), "series": s["series"]}) for s in report["streaks"]]
    about = "Consecutive failures; a scope has no sample once it has succeeded."
    yield Family("guarded_streak_failures", "gauge", about, streaks)
    last = [Sample(_seconds(failure["timestamp"])) for failure in report["last_failures"][-1:]]
    yield _time("guarded_last_failure", "When a failure was last recorded.", last)


def _of_successes(report: Report) -> Iterator[Family]:
    successes = [Sample(_seconds(last["at"]), {"strategy": name}) for name, last in report["last_success"].items()]
    yield _time("guarded_last_success", "When a strategy last succeeded, to within half a minute.", successes)


def _of_processes(report: Report) -> Iterator[Family]:
    processes = [(process, _process(process)) for process in report["processes"]]
    seen = [Sample(_seconds(process["seen"]), labels) for process, labels in processes]
    yield _time("guarded_process_last_seen", "When a process was last heard of.", seen)
    refusals = [Sample(process["refusals"], labels) for process, labels in processes]
    yield Family("guarded_process_refusals", "counter", "Guarded calls that a process has refused.", refusals)
    silent = Sample(len(report["stores_degraded"]))
    about = "Processes that are silent: they hang, or are without the store."
    yield Family("guarded_stores_degraded", "gauge", about, [silent])


def _time(name: str, about: str, samples: Sequence[Sample]) -> Family:
    return Family(f"{name}_timestamp_seconds", "gauge", about, samples, "seconds")


def _scope(of: Mapping[str, Any]) -> dict[str, str]:
    scope = of["scope"]
    return {"scope": of["kind"], "strategy": scope["strategy"] or "", "symbol": scope["symbol"] or ""}


def _process(process: Mapping[str, Any]) -> dict[str, str]:
    return {"host": process["host"], "pid": str(process["pid"]), "process": process["identity"]}


def _seconds(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()


def _lines(family: Family) -> Iterator[str]:
    yield f"# HELP {family.name} {family.about}\n"
    yield f"# TYPE {family.name} {family.kind}\n"
    if family.unit:
        yield f"# UNIT {family.name} {family.unit}\n"
    name = f"{family.name}_total" if family.kind == "counter" else family.name
    for sample in family.samples:
        labels = ",".join(f'{label}="{_escaped(value)}"' for label, value in sample.labels.items())
        yield f"{name}{{{labels}}} {sample.value}\n" if labels else f"{name} {sample.value}\n"


def _escaped(value: str) -> str:
    encodable = value.encode("utf-8", "backslashreplace").decode("utf-8")
    return encodable.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
