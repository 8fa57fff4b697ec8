"""`tdml bench kinds`: how far a step on this machine's GPU is from the same step on its processor.

The processor trains. At the first and at the last step of a round the GPU takes each stage's step
too, from the same state and with the same messages from the stage before and after. So far apart
are honest machines of different kinds, and no recomputation by another kind can judge more closely.
Without a GPU the processor is compared with itself.
"""

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from rich.console import Console
from rich.table import Table

from tdml import config as settings
from tdml.bench import alone, hardware, json_file
from tdml.bench.alone import Taken
from tdml.bench.plain_loop import device_of
from tdml.common.seeds import derive
from tdml.data.reader import BatchReader
from tdml.data.source import load_source
from tdml.errors import SettingError
from tdml.models.layout import Layout
from tdml.node.devices import make_repeatable
from tdml.node.schedule import Schedule
from tdml.node.state import StateLayout
from tdml.round.job import Job
from tdml.run.prepare import prepare
from tdml.settings.schema import Train
from tdml.trust.tolerance import relative_error

_STEPS = 10  # of a round, unless others are asked for
_OPTIMIZERS = ("sgd", "adamw")  # of conf/train
_COMPARED = ("train", "train.optimizer", "train.optimizer._target_", "train.precision")
_HOST = torch.device("cpu")


class Arithmetic(NamedTuple):
    """`train.precision`, and whether a GPU's convolutions of float32 may round to TF32, which torch
    lets them."""

    precision: str
    tf32: bool


_ARITHMETICS = {
    "fp32": Arithmetic("fp32", False),
    "tf32": Arithmetic("fp32", True),
    "bf16": Arithmetic("bf16", True),
}


@dataclass(frozen=True)
class Errors:
    """Relative errors ‖a − b‖ / max(‖a‖, ‖b‖) of one step of one part of the model: of what it
    hands to the next part, of the gradients that it hands back (0 at the first) and of its
    parameters' gradients; and, relative to the step's change, of its parameters and of its worst
    buffer."""

    optimizer: str
    arithmetic: str
    step: int
    part: int
    activations: float
    passed: float
    gradients: float
    update: float
    buffers: float


_MEASURED = ("activations", "passed", "gradients", "update", "buffers")


def run(overrides: Sequence[str], out: Path | None) -> int:
    """Compare, print, and write JSON to `out` where it is given.

    Raises:
        SettingError: settings that no job could have.
    """
    json_file.check(out)
    for text in overrides:
        if text.lstrip("+").partition("=")[0] in _COMPARED:
            raise SettingError(
                f"{text}: sgd and adamw, fp32 and bf16 are all compared: leave it out"
            )
    make_repeatable()
    rows: list[Errors] = []
    for optimizer, arithmetic in itertools.product(_OPTIMIZERS, _ARITHMETICS):
        given = [f"train={optimizer}", f"train.precision={_ARITHMETICS[arithmetic].precision}"]
        config = settings.load(
            [f"sync.local_steps={_STEPS}", "trust.repeatable=warn", *given, *overrides]
        )
        job = prepare(config, load_source(config), checkpoint=None)
        device = device_of(job)
        if device != _HOST or arithmetic != "tf32":
            rows += compare(job, optimizer, arithmetic, device)
    console = Console(soft_wrap=True)
    console.print(_table(rows, device))
    console.print(_sentence(rows, device), highlight=False)
    about = {"machine": hardware.describe(device), "settings": list(overrides)}
    json_file.write(out, about | {"errors": [asdict(errors) for errors in rows]})
    return 0


def compare(job: Job, optimizer: str, arithmetic: str, device: torch.device) -> list[Errors]:
    """The steps of a round on the host, the first and the last of them on `device`, too."""
    ours, theirs = alone.start(job, _HOST), alone.start(job, device)
    reader, batches, rows = BatchReader(job.source, job.config.seed), job.batches(0, 1), []
    schedule = Schedule(job.config.train, job.config.rounds)
    for number, batch in enumerate(batches):
        compared = theirs if number in (0, len(batches) - 1) else []
        for part, other in zip(compared, ours, strict=False):
            part.resume(other)
        before = [part.weights() for part in compared]
        inputs, labels = reader.training_batch(1, 0, number, batch)
        assert inputs is not None and labels is not None
        seed = derive(job.config.seed, "kinds", number)
        step = alone.SeedAndRate(seed, schedule.rate(1, number, job.longest))
        taken = alone.take(ours, inputs, labels, job.config.microbatches, step)
        for index, part in enumerate(compared):
            with _tf32(_ARITHMETICS[arithmetic].tf32):
                repeated = part.repeat(taken[index], step)
            errors = _errors(before[index], taken[index], repeated, part.layout, job.config.train)
            rows.append(Errors(optimizer, arithmetic, number, index, *errors))
    return rows


@contextmanager
def _tf32(allowed: bool) -> Iterator[None]:
    before, torch.backends.cudnn.allow_tf32 = torch.backends.cudnn.allow_tf32, allowed
    try:
        yield
    finally:
        torch.backends.cudnn.allow_tf32 = before


def _errors(
    before: torch.Tensor, one: Taken, other: Taken, layout: Layout, train: Train
) -> list[float]:
    """In the order of `_MEASURED`."""
    sections = StateLayout(layout, train).sections
    pieces = (sections(weights) for weights in (before, one.weights, other.weights))
    changes = [relative_error(*triple) for triple in zip(*pieces, strict=True)]
    pairs = (
        (one.outputs, other.outputs),
        (one.passed, other.passed),
        ([one.gradients], [other.gradients]),
    )
    return [*(_apart(*pair) for pair in pairs), changes[0], max(changes[1:], default=0.0)]


def _apart(one: Sequence[torch.Tensor], other: Sequence[torch.Tensor]) -> float:
    a, b = (
        torch.cat([torch.empty(0), *(value.float().reshape(-1) for value in values)])
        for values in (one, other)
    )
    return relative_error(torch.zeros_like(a), a, b)


def _table(rows: Sequence[Errors], device: torch.device) -> Table:
    title = (
        f"relative errors between {device.type} and {_HOST.type}, the largest of all parts of "
        "the model"
    )
    table = Table("", "step", *_MEASURED, title=title)
    for (optimizer, arithmetic, step), group in _grouped(
        rows, "optimizer", "arithmetic", "step"
    ).items():
        largest = (max(getattr(errors, name) for errors in group) for name in _MEASURED)
        table.add_row(
            f"{optimizer}, {arithmetic}", str(step + 1), *(f"{value:.2g}" for value in largest)
        )
    return table


def _sentence(rows: Sequence[Errors], device: torch.device) -> str:
    groups = _grouped(rows, "optimizer", "arithmetic")
    errors = ", ".join(
        f"{' '.join(key)} {max(e.update for e in group):.2g}" for key, group in groups.items()
    )
    return (
        f"updates on {device.type} are so far from those on {_HOST.type}, relative to a "
        f"step's change: {errors}"
    )


def _grouped(rows: Sequence[Errors], *names: str) -> dict[tuple, list[Errors]]:
    groups: dict[tuple, list[Errors]] = {}
    for errors in rows:
        groups.setdefault(tuple(getattr(errors, name) for name in names), []).append(errors)
    return groups
