"""`tdml bench throughput`: how many samples a second a job trains on, beside a plain loop on the
same machine, and where the time of a round goes.

What pipelines could reach is what their stages take, measured one after the other in this process,
and the time that they have to wait for each other. The loop takes its turn before and after the
job, so that what else the machine does slows both of them.
"""

import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from tdml import config as settings
from tdml.bench import hardware, json_file, startup
from tdml.bench.floors import cost_of_records, floors, threads_of_a_rank
from tdml.bench.plain_loop import device_of, plain_loop
from tdml.bench.startup import Startup
from tdml.bench.throughput_page import page_text
from tdml.common.checkout import commit
from tdml.data.source import load_source
from tdml.errors import SettingError
from tdml.models.microbatches import busy_share, step_seconds
from tdml.monitor.run_folder import read_metrics
from tdml.rehearsal.timing import Stages, load
from tdml.round.job import Job
from tdml.run.prepare import prepare
from tdml.settings.file import from_yaml

# unless others are asked for; the first is not counted, for what is compiled and loaded in it
_ROUNDS = 5
_TURN_S = 5.0  # of the plain loop


@dataclass(frozen=True)
class ThroughputResult:
    """Samples a second, of the plain loop, of pipelines that lose nothing, of the job while its
    replicas train, and of its whole rounds; `busy` is the share of a step in which those pipelines'
    stages compute. And the mean seconds of a round's phases: some, as audits, take theirs in few of
    the rounds. `floors` are the least seconds that some phases could take; `records` is what it
    costs to keep states and messages for audits, as a share of training on a processor, None where
    nobody is audited or a GPU trains. `startup` is what comes before the first step, and the memory
    of every process; `plain_startup` the same of a plain loop in a process of its own."""

    plain: float
    limit: float
    busy: float
    training: float
    whole: float
    seconds: Mapping[str, float]
    floors: Mapping[str, float] = field(default_factory=dict)
    records: float | None = None
    startup: Startup | None = None  # None: nobody has watched it
    plain_startup: Startup | None = None


def run(overrides: Sequence[str], out: Path | None, docs: Path | None) -> int:
    """Measure and print. The run stays in its folder.

    Args:
        out: a file for the figures, as JSON.
        docs: a folder whose page keeps them.

    Raises:
        SettingError: settings that no job could have, or of which there is nothing to measure.
    """
    chosen = [f"rounds={_ROUNDS}", "name=bench-throughput", *overrides]
    config = settings.load(chosen)
    if config.rounds < 2:
        raise SettingError(f"rounds={config.rounds}: take at least 2, for the first one warms up")
    json_file.check(out)
    json_file.check_docs(docs)
    samples = load_source(config)
    job = prepare(config, samples, checkpoint=None)
    before = plain_loop(job, _TURN_S)
    alone = startup.plain(chosen)
    status, started = startup.watched(chosen, config)
    if status:
        return status
    run = Path(config.run_dir)
    # which it has chosen itself
    microbatches = from_yaml(run / "config.yaml").topology.microbatches
    job = prepare(
        replace(config, topology=replace(config.topology, microbatches=microbatches)), samples, None
    )
    plain, device = (before + plain_loop(job, _TURN_S)) / 2, device_of(job)
    result = replace(
        summarise(job, read_metrics(run)[1:], plain, *limit(job)),
        floors=floors(job),
        records=cost_of_records(job) if job.audits and device.type == "cpu" else None,
        startup=started,
        plain_startup=alone,
    )
    console = Console(soft_wrap=True)
    console.print(*_tables(job, result), *([_memory(started, alone)] if started else []))
    console.print(_sentence(job, result), highlight=False)
    about = {"machine": hardware.describe(device), "settings": list(overrides)}
    json_file.write(out, about | asdict(result))
    if docs is not None:
        named = {"name": config.name, "nodes": _by(job), "commit": commit()}
        measured = named | about | asdict(result)
        page = json_file.keep(docs, "throughput", measured, page_text)
        console.print(page, highlight=False)
    return 0


def limit(job: Job) -> tuple[float, float]:
    """Samples a second of pipelines that lose nothing on the way, and the share of a step in which
    their stages compute, by what they take with as many threads as in a job."""
    config, topology = job.config, job.config.topology
    device, size = device_of(job), job.plan.borders[0].shape[0]
    with threads_of_a_rank(topology):
        times = Stages(config, job.source, size, device).seconds(size)
        step = times, config.microbatches, topology.parts // topology.stages, load(topology, device)
    return topology.replicas * config.train.effective_batch_size / step_seconds(*step), busy_share(
        *step
    )


def summarise(
    job: Job, rounds: Sequence[Mapping[str, Any]], plain: float, limit: float, busy: float
) -> ThroughputResult:
    """What the lines of some rounds in `metrics.jsonl` say; the others are those of the result."""
    samples = statistics.fmean(
        sum(
            job.samples(replica["steps"])
            for replica in line["replicas"].values()
            if replica["train_loss"] is not None
        )
        for line in rounds
    )
    phases = rounds[0]["seconds"]
    seconds = {
        phase: statistics.fmean(line["seconds"][phase] for line in rounds) for phase in phases
    }
    return ThroughputResult(
        plain, limit, busy, samples / seconds["train"], samples / seconds["total"], seconds
    )


def _tables(job: Job, result: ThroughputResult) -> tuple[Table, Table]:
    speed = Table("samples a second", "", "of the plain loop's")
    nodes = _nodes(job)
    could = f"{nodes}, if nothing were lost (stages compute {result.busy:.0%} of the time)"
    for name, value in (
        (f"plain loop, {torch.get_num_threads()} threads", result.plain),
        (could, result.limit),
        (f"{nodes}, while they train", result.training),
        (f"{nodes}, whole rounds", result.whole),
    ):
        speed.add_row(name, f"{value:.4g}", f"{value / result.plain:.0%}")
    phases = Table("a round", "seconds", "share", "of the least that it could take")
    for phase, value in result.seconds.items():
        least = result.floors.get(phase)
        times = "" if least is None else f"{value / least:.2f} × {least:.3g} s"
        phases.add_row(phase, f"{value:.3g}", f"{value / result.seconds['total']:.0%}", times)
    return speed, phases


def _memory(started: Startup, alone: Startup) -> Table:
    """With the node of a replica's stage that took the most for all of its like."""
    table = Table("until the first step, and at its peak", "seconds", "MiB of host memory")
    table.add_row("plain loop", f"{alone.seconds:.3g}", _mebibytes(max(alone.bytes.values())))
    most: dict[str, int] = {}
    for name, peak in started.bytes.items():
        kind = re.sub(r"^r\d+\.", "r*.", name)
        most[kind] = max(most.get(kind, 0), peak)
    for place, (kind, peak) in enumerate(most.items()):
        table.add_row(kind, f"{started.seconds:.3g}" if place == 0 else "", _mebibytes(peak))
    return table


def _mebibytes(number: int) -> str:
    return f"{number / 2**20:,.0f}"


def _sentence(job: Job, result: ThroughputResult) -> str:
    rest = 1 - result.seconds["train"] / result.seconds["total"]
    speed = (
        f"{_nodes(job)} train at {result.training / result.plain:.1%} of a plain loop's "
        f"{result.plain:.4g} samples/s"
    )
    share = f"{result.training / result.limit:.1%} of what its pipelines allow"
    text = f"{speed}, {share}; {rest:.1%} of a round is not training"
    if result.records is None:
        return text
    return f"{text}; states and messages kept for audits cost {result.records:.1%} of training"


def _nodes(job: Job) -> str:
    return f"{_by(job)} nodes"


def _by(job: Job) -> str:
    return f"{job.config.topology.replicas} × {job.config.topology.stages}"
