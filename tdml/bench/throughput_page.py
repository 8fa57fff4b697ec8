"""`docs/results/throughput.md`, made from the files in `docs/results/throughput/` alone."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

_INTRODUCTION = """# How fast it trains

`tdml bench throughput name=NAME KEY=VALUE… --keep docs` makes this page from the files in
`docs/results/throughput/`, and these from what it has measured: nothing on it is written by hand.
Samples a second of a plain loop on all threads of the machine, and, as shares of that, what
pipelines could reach that lose nothing on their way, what the job reaches while it trains, and what
it does in whole rounds, with all that comes between two trainings. A round is one epoch, unless the
settings say otherwise. *Records* is what it costs to keep states and messages for audits, as a
share of training; *start* the seconds until the first step, of the job and of a plain loop;
*memory* that of the node that takes most, and of a plain loop, in MiB.
"""
_HEAD = (
    "", "replicas × stages", "plain loop", "pipelines", "training", "rounds", "records", "start",
    "memory",
)  # fmt: skip


def page_text(kept: Sequence[Mapping[str, Any]]) -> str:
    """The page, in Markdown: one table for each machine and torch."""
    machines = dict.fromkeys(_machine(measured) for measured in kept)
    return "\n".join([_INTRODUCTION, *(line for each in machines for line in _part(kept, each))])


def _part(kept: Sequence[Mapping[str, Any]], machine: str) -> Iterator[str]:
    mine = [measured for measured in kept if _machine(measured) == machine]
    yield f"## {machine}\n"
    yield f"| {' | '.join(_HEAD)} |"
    yield "| --- " * len(_HEAD) + "|"
    yield from map(_row, mine)
    yield ""
    for measured in mine:
        command = " ".join(["tdml bench throughput", *measured["settings"]])
        at = (measured["commit"] or "unknown")[:10]
        yield f"- `{measured['name']}`: `{command}`, commit `{at}`"
    yield ""


def _machine(measured: Mapping[str, Any]) -> str:
    machine = measured["machine"]
    return f"{machine['gpu'] or machine['processor']}, torch {machine['versions']['torch']}"


def _row(measured: Mapping[str, Any]) -> str:
    plain, started, alone = (measured[name] for name in ("plain", "startup", "plain_startup"))
    cells = [
        f"`{measured['name']}`",
        measured["nodes"],
        f"{plain:.4g}",
        *(f"{measured[name] / plain:.0%}" for name in ("limit", "training", "whole")),
        "" if measured["records"] is None else f"{measured['records']:.1%}",
        "" if not started else f"{started['seconds']:.1f}, {alone['seconds']:.1f}",
        "" if not started else f"{_most(started)}, {_most(alone)}",
    ]
    return f"| {' | '.join(cells)} |"


def _most(started: Mapping[str, Any]) -> str:
    nodes = [number for name, number in started["bytes"].items() if name != "coordinator"]
    return f"{max(nodes) / 2**20:,.0f}"
