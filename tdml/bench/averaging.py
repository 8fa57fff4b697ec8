"""`tdml bench averaging`: what it costs in loss, and saves in traffic, that replicas are averaged
once a round and not in every step.

The job is played as it is set. Another training sees the same samples in the same steps, and
averages the replicas' gradients in each (`tdml.bench.per_step`). What that would have to send is
taken from a short job that has one step a round.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from rich.console import Console

from tdml import config as settings
from tdml.bench import hardware, json_file
from tdml.bench.averaging_page import page_text
from tdml.bench.per_step import per_step
from tdml.bench.plain_loop import device_of
from tdml.bench.play import play
from tdml.common.checkout import commit
from tdml.data.source import load_source
from tdml.errors import SettingError
from tdml.monitor.run_folder import read_metrics
from tdml.round.job import Job
from tdml.run.prepare import prepare
from tdml.settings.overrides import quoted

# The job whose traffic is measured: in its first round weights are sent twice.
_SHORT = ("rounds=2", "sync.local_steps=1", "sync.outer=fedavg", "train.warmup=0")


@dataclass(frozen=True)
class AveragingResult:
    """`rare` and `every_step` are losses on the test half after each round. Bytes are those of
    weights and updates between coordinator and replicas, until the end. `samples` are those that
    all replicas have trained on, each of the form `sample`; `numbers` are the model's."""

    numbers: int
    local_steps: int
    samples: int
    sample: str
    rare: list[float]
    every_step: list[float]
    rare_bytes: int
    every_step_bytes: int

    @property
    def worse(self) -> float:
        """By how much the job's loss is larger in the end, as a share."""
        return self.rare[-1] / self.every_step[-1] - 1

    @property
    def sentence(self) -> str:
        """All of it, in one."""
        times = self.every_step_bytes / self.rare_bytes
        return (
            f"averaged every {self.local_steps} steps, the test loss of {self.numbers:,} numbers "
            f"ends at {self.rare[-1]:.4f}, {self.worse:+.1%} of the {self.every_step[-1]:.4f} when "
            f"averaged in every step, with {self.rare_bytes / 1e9:.4g} GB sent and received in the "
            f"place of {self.every_step_bytes / 1e9:.4g} GB: {times:.1f} × less"
        )


def run(overrides: Sequence[str], out: Path | None, docs: Path | None) -> int:
    """Measure, print, and write JSON to `out`, and the page in the folder `docs`, where they are
    given. The runs stay in their folders.

    Raises:
        SettingError: settings that no job could have, replicas that take different numbers of
            steps, or training that diverges.
    """
    chosen = ["name=bench-averaging", *overrides]
    config = settings.load(chosen)
    json_file.check(out)
    json_file.check_docs(docs)
    job = prepare(config, load_source(config), checkpoint=None)
    if len(set(job.steps)) > 1:
        raise SettingError(
            "sync.local_steps=null: the replicas take different numbers of steps a round: set it"
        )
    folder = Path(config.run_dir)
    short = folder.with_name(f"{folder.name}-every-step")
    for more in ([], [*_SHORT, f"run_dir={quoted(short)}"]):
        if status := play([*chosen, *more]):
            return status
    rounds, [*_, one] = read_metrics(folder), read_metrics(short)
    rare = _finite([line["test_loss"] for line in rounds], "the job")
    result = AveragingResult(
        numbers=sum(layout.size for layout in job.layouts),
        local_steps=job.longest,
        samples=samples_of(job),
        sample=str(job.source.form),
        rare=rare,
        every_step=_finite(_trained(job), "averaged in every step, training"),
        rare_bytes=sum(sum(line["bytes"].values()) for line in rounds),
        every_step_bytes=sum(one["bytes"].values()) * job.longest * config.rounds,
    )
    Console(soft_wrap=True).print(result.sentence, highlight=False)
    about = {
        "name": config.name, "commit": commit(), "settings": list(overrides),
        "machine": hardware.describe(device_of(job)), "said": result.sentence,
    }  # fmt: skip
    json_file.write(out, about | asdict(result))
    if docs is not None:
        print(json_file.keep(docs, "averaging", about | asdict(result), page_text))
    return 0


def _finite(losses: Sequence[float | None], who: str) -> list[float]:
    """The same, where all are numbers; metrics.jsonl has null for one that is not finite."""
    known = [loss for loss in losses if loss is not None and math.isfinite(loss)]
    if len(known) < len(losses):
        raise SettingError(f"{who} diverges: its test loss is not finite: lower train.lr")
    return known


def samples_of(job: Job) -> int:
    """Those that all replicas train on in all rounds."""
    return job.config.rounds * sum(map(job.samples, job.steps))


def _trained(job: Job) -> list[float]:
    losses = []
    for number, loss in enumerate(per_step(job), start=1):
        print(f"in every step, round {number}/{job.config.rounds}: {loss:.4f}", flush=True)
        losses.append(loss)
    return losses
