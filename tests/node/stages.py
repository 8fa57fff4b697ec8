"""Stages of small models in this process, and the same model in one piece."""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache

import torch
from torch import nn

from tdml import config as settings
from tdml.common.seeds import derive, seeded
from tdml.models import whole
from tdml.models.borders import trace_borders
from tdml.models.compute import autocast
from tdml.models.plan import Plan
from tdml.node.inner import inner_optimizer, set_rate
from tdml.node.lockstep import StepInputs, take_alone, train_step
from tdml.node.messages import Passing, empty_log
from tdml.node.stage import Stage
from tdml.settings.schema import Config, Train
from tdml.tasks.objective import mean_loss, task_of

CPU = torch.device("cpu")
FEATURES, CLASSES, LR, MICRO, BATCH = 5, 3, 0.05, 4, 16
TRAIN = replace(settings.load([]).train, batch_size=BATCH, lr=LR)


class Centred(nn.Module):
    """Keeps a running mean by putting a new tensor in its place."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(size))

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        self.mean = 0.9 * self.mean + 0.1 * value.detach().mean(0)
        return value - self.mean


def plain() -> nn.Module:
    """Eight blocks that draw nothing and keep nothing."""
    hidden = [
        nn.Linear(8, 8),
        nn.ReLU(inplace=True),
        nn.Linear(8, 8),
        nn.Tanh(),
        nn.Linear(8, 8),
        nn.ReLU(),
    ]
    return nn.Sequential(nn.Linear(FEATURES, 8), *hidden, nn.Linear(8, CLASSES))


def norms() -> nn.Module:
    """Keeps statistics in every quarter."""
    hidden = [
        nn.BatchNorm1d(8),
        nn.Linear(8, 8),
        Centred(8),
        nn.ReLU(inplace=True),
        nn.BatchNorm1d(8),
        nn.Linear(8, 8),
    ]
    return nn.Sequential(
        nn.Linear(FEATURES, 8), *hidden, nn.Sequential(nn.BatchNorm1d(8), nn.Linear(8, CLASSES))
    )


def dropout() -> nn.Module:
    """Draws in every quarter, once after normalising."""
    hidden = [
        nn.Dropout(0.3),
        nn.Linear(8, 8),
        nn.Dropout(0.2),
        nn.BatchNorm1d(8),
        nn.Dropout(0.5),
        nn.Dropout(0.1),
    ]
    return nn.Sequential(nn.Linear(FEATURES, 8), *hidden, nn.Linear(8, CLASSES))


class Draws(nn.Module):
    """As `F.dropout(value)`, which draws in evaluation too."""

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        return nn.functional.dropout(value, 0.3)


def draws() -> nn.Module:
    """Draws in every quarter, in evaluation too."""
    hidden = [Draws(), nn.Linear(8, 8), Draws(), nn.Tanh(), Draws(), Draws()]
    return nn.Sequential(nn.Linear(FEATURES, 8), *hidden, nn.Linear(8, CLASSES))


def idle() -> nn.Module:
    """Its second half has a quarter without a parameter."""
    hidden = [nn.ReLU(), nn.Linear(8, 8), nn.Tanh(), nn.ReLU(), nn.Tanh(), nn.Linear(8, 8)]
    return nn.Sequential(nn.Linear(FEATURES, 8), *hidden, nn.Linear(8, CLASSES))


class Mirror(nn.Module):
    """Turns back by the first layer's weight."""

    def __init__(self, weight: nn.Parameter) -> None:
        super().__init__()
        self.weight = weight

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        return value @ self.weight[:, :CLASSES]


def tied() -> nn.Module:
    """Its first and its last block have one weight."""
    first = nn.Linear(FEATURES, 8)
    hidden = [nn.Tanh(), nn.Linear(8, 8), nn.Dropout(0.2), nn.Linear(8, 8), nn.ReLU(), nn.Tanh()]
    return nn.Sequential(first, *hidden, Mirror(first.weight))


@dataclass
class Cut:
    """A model of eight blocks in equal parts, which are dealt to the stages in turn.

    `initial` are its weights by stage; `model` is the same model in one piece, with the same
    weights.
    """

    config: Config
    plan: Plan
    model: nn.Module
    stages: list[Stage]
    initial: list[torch.Tensor]

    def fresh(self) -> list[Stage]:
        """Other stages, whose weights are not set yet."""
        return [Stage(self.config, index, self.plan, CPU, CPU) for index in range(len(self.stages))]

    def given(self, step: int) -> list[StepInputs]:
        """What each stage takes in a step."""
        inputs, labels = batch(step)
        return [
            StepInputs(
                inputs if s.first else None,
                labels if s.last else None,
                derive(7, s.index, step),
                LR,
            )
            for s in self.stages
        ]

    def begin(self) -> None:
        """Start from the initial weights."""
        for stage, flat in zip(self.stages, self.initial, strict=True):
            stage.trainer.begin(flat)

    def take(self, step: int, keeps: bool = False) -> tuple[float, list[Passing]]:
        """One step of all stages; the loss, and what passed each."""
        passing = [Passing(keeps) for _ in self.stages]
        return train_step(self.stages, self.given(step), passing), passing

    def weights(self) -> list[torch.Tensor]:
        """By stage."""
        return [stage.trainer.weights() for stage in self.stages]

    def states(self) -> list[torch.Tensor]:
        """By stage."""
        return [stage.trainer.state() for stage in self.stages]

    def whole(self) -> list[torch.Tensor]:
        """The weights of the model in one piece, by stage."""
        return whole.flatten(self.model, [stage.layout for stage in self.stages])


def cut(model: str, stages: int = 1, parts: int | None = None, train: Train = TRAIN) -> Cut:
    """A model of this module, by name. With more parts than stages these are dealt in turn."""
    config = replace(
        _composed(stages, parts is not None), model={"_target_": f"{__name__}.{model}"}, train=train
    )
    made = whole.initial_model(config.model, config.seed)
    edges = range(0, 9, 8 // (parts or stages))
    with autocast(train, CPU):
        borders = trace_borders(list(made), batch(0)[0][: BATCH // MICRO])
    plan = Plan(
        tuple(edges[1:-1]), tuple(borders[i] for i in edges), (1,) * (len(edges) - 1), MICRO
    )
    held = [Stage(config, index, plan, CPU, CPU) for index in range(stages)]
    return Cut(
        config, plan, made.train(), held, whole.flatten(made, [stage.layout for stage in held])
    )


@cache
def _composed(stages: int, interleaved: bool) -> Config:
    schedule = "interleaved_1f1b" if interleaved else "1f1b"
    return settings.load([
        "topology.replicas=1", f"topology.stages={stages}", f"topology.microbatches={MICRO}",
        f"train.batch_size={BATCH}", f"topology.schedule={schedule}",
    ])  # fmt: skip


def batch(step: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Inputs and labels of a step."""
    generator = torch.Generator().manual_seed(step)
    return torch.randn(BATCH, FEATURES, generator=generator), torch.randint(
        CLASSES, (BATCH,), generator=generator
    )


def log_of(cut: Cut, passing: Sequence[Passing]) -> list[torch.Tensor]:
    """What each stage logs of a step: (1, channels, 32)."""
    logs = [empty_log(1, stage.channels) for stage in cut.stages]
    for passes, log in zip(passing, logs, strict=True):
        passes.write(log[0])
    return logs


def in_one_piece(cut: Cut, steps: int) -> list[float]:
    """Train `cut.model` as one would without stages, in the same micro-batches; the losses. Where
    blocks draw, each part's draws are those of its seed, for there is no other way to say what they
    should be."""
    parameters, train = list(cut.model.parameters()), cut.config.train
    optimizer, losses = inner_optimizer(train, parameters), []
    for step in range(steps):
        found = _losses(cut, step)
        optimizer.zero_grad()
        for loss in found:
            loss.backward()
        for parameter in parameters:
            parameter.grad.div_(MICRO)
        if train.clip_norm is not None:
            nn.utils.clip_grad_norm_(parameters, train.clip_norm)
        set_rate(optimizer, LR)
        optimizer.step()
        losses.append(float(torch.stack(found).detach().mean()))
    return losses


def _losses(cut: Cut, step: int) -> list[torch.Tensor]:
    inputs, labels = batch(step)
    values = list(inputs.chunk(MICRO))
    for part, (start, stop) in enumerate(itertools.pairwise([0, *cut.plan.cuts, 8])):
        seed = derive(7, part % len(cut.stages), step)
        several = cut.plan.parts > len(cut.stages)
        with seeded(seed):
            for micro, value in enumerate(values):
                if several:
                    torch.manual_seed(derive(derive(seed, part), micro + 1))
                with autocast(cut.config.train, CPU):
                    values[micro] = cut.model[start:stop](value)
    task = task_of(cut.config, training=True)
    return [mean_loss(task, v, right) for v, right in zip(values, labels.chunk(MICRO), strict=True)]


def alone(
    stage: Stage,
    given: StepInputs,
    state: torch.Tensor,
    kept: dict,
    wanted: int | None,
    one_by_one: bool = False,
) -> list[torch.Tensor]:
    """One step of a stage from a state and what it had received, or the message that it sends on a
    channel; micro-batches may go forward and back in turn."""
    stage.trainer.resume(state)
    received = {
        i: kept[i] for i, channel in enumerate(stage.channels) if channel.receiver == stage.index
    }
    return take_alone(stage, given, received, wanted, one_by_one)
