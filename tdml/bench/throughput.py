"""`tdml bench throughput`: how many samples a second a job trains on, beside a plain loop on the same machine, and
where the time of a round goes.

The loop takes its turn before and after the job, so that what else the machine does slows both of them.
"""

import copy
import itertools
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from rich.console import Console
from rich.table import Table

from tdml import config as settings
from tdml import job as jobs
from tdml.cluster.devices import choose_device, machine_kind
from tdml.data import source
from tdml.data.reader import Reader
from tdml.errors import SettingError
from tdml.job import Job
from tdml.models.compute import autocast, lay_out, lay_out_weights, training_loss
from tdml.training.inner import inner_optimizer

_ROUNDS = 5  # unless others are asked for; the first is not counted, for what is compiled and loaded in it
_TURN_S = 5.0  # of the plain loop
_WARM_UP = 3  # steps


@dataclass(frozen=True)
class Result:
    """Samples a second, of the plain loop, of the job while its replicas train, and of its whole rounds; and the mean
    seconds of a round's phases: some, as audits, take theirs in few of the rounds."""

    plain: float
    training: float
    whole: float
    seconds: Mapping[str, float]


def run(overrides: Sequence[str], json_file: Path | None) -> int:
    """Measure, print, and write `json_file` where one is given. The run stays in its folder.

    Raises:
        SettingError: settings that no job could have, or of which there is nothing to measure.
    """
    chosen = [f"rounds={_ROUNDS}", "name=bench-throughput", *overrides]
    config = settings.load(chosen)
    if config.rounds < 2:
        raise SettingError(f"rounds={config.rounds}: take at least 2, for the first one warms up")
    if json_file is not None and not json_file.absolute().parent.is_dir():
        raise SettingError(f"--json {json_file}: its folder does not exist")
    job = jobs.prepare(config, source.load(config.data, config.seed), checkpoint=None)
    before = plain_loop(job, _TURN_S)
    ended = subprocess.run([sys.executable, "-m", "tdml.cli", "train", *chosen], check=False)
    if ended.returncode:
        return ended.returncode  # it has said why
    rounds = [json.loads(line) for line in Path(config.run_dir, "metrics.jsonl").read_text().splitlines()]
    result = summarise(job, rounds[1:], (before + plain_loop(job, _TURN_S)) / 2)
    Console().print(*_tables(job, result))
    if json_file is not None:
        about = {"machine": machine_kind(_device(job)), "settings": list(overrides)}
        json_file.write_text(json.dumps(about | asdict(result), indent=2) + "\n")
    return 0


def plain_loop(job: Job, seconds: float) -> float:
    """Samples a second of what one would write without TDML: a loop in one process over the first replica's batches,
    with all threads that torch takes."""
    train, device = job.config.train, _device(job)
    model = copy.deepcopy(job.model).to(device).train()
    lay_out_weights(model, train)
    optimizer = inner_optimizer(train, model.parameters())
    reader, batches = Reader(job.source, job.config.seed), job.batches(0, 1)
    places = itertools.cycle(range(len(batches)))

    def take_step() -> None:
        place = next(places)
        inputs, labels = reader.training_batch(1, 0, place, batches[place])
        model.zero_grad()
        with autocast(train, device):
            logits = model(lay_out(inputs.to(device), train))
        training_loss(logits, labels.to(device), train).backward()
        if optimizer is not None:
            optimizer.step()

    for _ in range(_WARM_UP):
        take_step()
    start, steps = _now(device), 0
    while (taken := _now(device) - start) < seconds:
        take_step()
        steps += 1
    return steps * train.batch_size / taken


def summarise(job: Job, rounds: Sequence[Mapping[str, Any]], plain: float) -> Result:
    """What the lines of some rounds in `metrics.jsonl` say; `plain` is the plain loop's samples a second."""
    samples = statistics.fmean(
        sum(job.samples(int(index)) for index, found in line["replicas"].items() if found["train_loss"] is not None)
        for line in rounds
    )
    phases = rounds[0]["seconds"]
    seconds = {phase: statistics.fmean(line["seconds"][phase] for line in rounds) for phase in phases}
    return Result(plain, samples / seconds["train"], samples / seconds["total"], seconds)


def _device(job: Job) -> torch.device:
    return choose_device(job.config.device, 0, 1).device


def _now(device: torch.device) -> float:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def _tables(job: Job, result: Result) -> tuple[Table, Table]:
    topology = job.config.topology
    speed = Table("samples a second", "", "of the plain loop's")
    nodes = f"{topology.replicas} × {topology.stages} nodes"
    for name, value in (
        (f"plain loop, {torch.get_num_threads()} threads", result.plain),
        (f"{nodes}, while they train", result.training),
        (f"{nodes}, whole rounds", result.whole),
    ):
        speed.add_row(name, f"{value:.4g}", f"{value / result.plain:.0%}")
    phases = Table("a round", "seconds", "share")
    for phase, value in result.seconds.items():
        phases.add_row(phase, f"{value:.3g}", f"{value / result.seconds['total']:.0%}")
    return speed, phases
