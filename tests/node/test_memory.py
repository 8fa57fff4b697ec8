"""What a stage will take, against what the operating system says that it has taken."""

import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from tdml import config as settings
from tdml.models import whole
from tdml.models.plan import layouts, make_plan
from tdml.node.memory import Need, _kept, needs
from tdml.node.state import StateLayout
from tests.node.memory import leave

_MODEL = [
    "task=language", "model=gpt", "model.vocabulary=4096", "model.context=128", "model.layers=4",
    "model.width=384", "model.heads=6", "train=adamw", "train.batch_size=16",
    "topology.replicas=1", "topology.stages=2", "topology.microbatches=4",
]  # fmt: skip
_MODEL += ["topology.schedule=1f1b"]
_FACTOR = 1.2


def _estimate(*overrides: str, windows: int) -> tuple[list[Need], tuple]:
    config = settings.load([*_MODEL, *overrides])
    model = whole.initial_model(config.model, config.seed)
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(1, 4096, (config.train.effective_batch_size, 129), generator=generator)
    batch = ids[:, :-1], ids[:, 1:].contiguous()
    first = batch[0][: len(ids) // config.microbatches]
    plan = make_plan(config, model, first)
    states = [StateLayout(made, config.train) for made in layouts(plan, model, 2)]
    return needs(config, plan, model, first, states, windows), (config, plan, windows, batch)


class Tangent(nn.Linear):
    """Asks how its output moves with its input: there are zeros then that take no memory."""

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        return torch.func.jvp(super().forward, (value,), (torch.ones_like(value),))[1]


# torch's own, as it first meets jvp
@pytest.mark.filterwarnings("ignore:.*torch.jit.script. is deprecated:DeprecationWarning")
def test_zeros_that_take_no_memory_are_none() -> None:
    train, inputs = settings.load([]).train, torch.ones(8, 4)
    model = nn.Sequential(nn.Linear(4, 4), Tangent(4, 4))
    (kept,), _ = _kept([model], train, inputs)
    assert kept > inputs.nbytes


@pytest.mark.parametrize(
    ("overrides", "windows"),
    [
        pytest.param([], 0, marks=pytest.mark.slow),
        pytest.param(
            ["train.activation_checkpointing=true", "model.tied=true"], 3, marks=pytest.mark.slow
        ),
        pytest.param(
            ["topology.schedule=interleaved_1f1b", "train.precision=bf16"],
            3,
            marks=pytest.mark.slow,
        ),
        pytest.param(["topology.schedule=gpipe", "train=sgd"], 2, marks=pytest.mark.slow),
    ],
)
def test_what_a_stage_takes_is_told_before(
    overrides: list[str], windows: int, tmp_path: Path
) -> None:
    told, job = _estimate(*overrides, windows=windows)
    leave(tmp_path, *job)
    processes = [
        subprocess.Popen([sys.executable, "-m", "tests.node.memory", str(rank), str(tmp_path)])
        for rank in range(2)
    ]
    try:
        assert [process.wait(150) for process in processes] == [0, 0]
    finally:
        for process in processes:
            process.kill()
    taken = [int((tmp_path / f"{rank}").read_text()) for rank in range(2)]
    shares = [need.total / found for need, found in zip(told, taken, strict=True)]
    assert all(1 / _FACTOR < share < _FACTOR for share in shares), (shares, taken)
