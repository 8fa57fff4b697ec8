"""`tdml bench scale`: the coordinator's side of a round, over numbers of replicas and of stages.

The engine is that of every job. Its nodes answer at once, with updates that were recorded, so all
that is measured is what the coordinator does: it looks at every block, folds it, judges, and takes
the mean. The blocks are made anew for every answer, as messages are.
"""

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tdml import config as settings
from tdml.bench import hardware, json_file
from tdml.bench.turns import Timing, take_turn
from tdml.data.source import load_source
from tdml.errors import SettingError
from tdml.lab.laboratory import Seeded
from tdml.lab.recorded import Blocks, RecordedFleet, record
from tdml.round.engine import Engine
from tdml.round.result import Round
from tdml.run.prepare import prepare
from tdml.trust.commitment import BLOCK

_TURNS = 3  # rounds that count; one before them warms up
_PHASES = ("gather", "screen", "aggregate")
_MIB = 2**20
# a block for every one of eight stages, unless another model is asked for
_MODEL = ("model=mlp", "model.hidden=1024", "model.depth=8")
# Batches small enough for 64 shares of the digits; and no memory for updates, so that all of them
# are asked for twice.
_DEFAULTS = ("train.batch_size=8", "gather.memory=0", "device=cpu")


@dataclass(frozen=True)
class ScaleResult:
    """Of one number of replicas and stages: the numbers of an update, the median seconds of a round
    and of its phases, and the bytes at its peak beyond those before it (None: unknown)."""

    replicas: int
    stages: int
    numbers: int
    round: float
    seconds: dict[str, float]
    extra_bytes: int | None


def run(
    replicas: Sequence[int], stages: Sequence[int], overrides: Sequence[str], out: Path | None
) -> int:
    """Measure, print, and write JSON to `out` where it is given.

    Raises:
        SettingError: settings that no job could have.
    """
    json_file.check(out)
    if min(*replicas, *stages, 1) < 1:
        raise SettingError("--replicas, --stages: give numbers from 1 on")
    console = Console(soft_wrap=True)
    cases: list[ScaleResult] = []
    model = () if any(text.startswith("model=") for text in overrides) else _MODEL
    given = [*model, *_DEFAULTS, *overrides]
    for n in stages:
        chosen = [*given, f"topology.stages={n}"]
        recordings = record(chosen)
        for m in sorted(replicas):
            cases.append(measure([*chosen, f"topology.replicas={m}", "trust.budget=0"], recordings))
            console.print(_line(cases[-1]), highlight=False)
    console.print(_table(cases))
    about = {"machine": hardware.describe(), "settings": given}
    json_file.write(out, about | {"cases": [asdict(case) for case in cases]})
    return 0


def measure(overrides: Sequence[str], recordings: Sequence[Blocks]) -> ScaleResult:
    """Some rounds of one job."""
    config = settings.load(list(overrides))
    job = prepare(config, load_source(config), None)
    fleet = RecordedFleet(job, recordings)
    engine, timing = Engine(job, fleet, Seeded(config.seed)), Timing("round")
    slots = {replica.index: replica.names for replica in fleet.muster()}
    played: list[Round] = [engine.play(1, slots)]
    for _ in range(_TURNS):
        take_turn(timing, lambda: played.append(engine.play(len(played) + 1, slots)))
    fleet.close()
    assert all(len(round_.judgements) == config.topology.replicas for round_ in played)
    seconds = {
        phase: statistics.median(round_.seconds[phase] for round_ in played[1:])
        for phase in _PHASES
    }
    numbers = sum(layout.size for layout in job.layouts)
    topology = config.topology
    return ScaleResult(
        topology.replicas, topology.stages, numbers, timing.median, seconds, timing.extra_bytes
    )


def _line(case: ScaleResult) -> str:
    return f"{case.replicas} × {case.stages}: {case.round:.3g} s"


def _table(cases: Sequence[ScaleResult]) -> Table:
    size = f"{cases[0].numbers:,} numbers a replica, in blocks of {BLOCK:,}"
    table = Table(title=f"{size}; seconds, and MiB beyond those before the round")
    heads = (
        "replicas × stages", "round", *_PHASES, "round / replica", "memory", "memory / replica",
    )  # fmt: skip
    for head in heads:
        table.add_column(head, justify="right")
    least: dict[int, ScaleResult] = {}  # by stages: the case with the fewest replicas
    for case in cases:
        first = least.setdefault(case.stages, case)
        table.add_row(
            f"{case.replicas} × {case.stages}",
            f"{case.round:.3g}",
            *(f"{case.seconds[name]:.3g}" for name in _PHASES),
            f"{case.round / case.replicas:.3g}",
            "?" if case.extra_bytes is None else f"{case.extra_bytes / _MIB:.0f}",
            _a_replica(first, case),
        )
    return table


def _a_replica(first: ScaleResult, case: ScaleResult) -> str:
    """By how much memory grows with every replica more."""
    more = case.replicas - first.replicas
    if not more or first.extra_bytes is None or case.extra_bytes is None:
        return ""
    return f"{(case.extra_bytes - first.extra_bytes) / more / _MIB:.1f}"
