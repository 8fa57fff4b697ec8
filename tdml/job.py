"""A job made ready: data, model, pipelines and shares, with every check that needs them."""

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace

import numpy as np
import torch
from torch import nn

from tdml.attacks.base import make_attack
from tdml.config import Config
from tdml.data import source as data
from tdml.data.order import assigned_batches, steps_per_round
from tdml.data.partition import partition
from tdml.errors import SettingError, one_line
from tdml.models import whole
from tdml.models.layout import Layout
from tdml.models.plan import Plan, layouts, make_plan
from tdml.rehearsal import rehearse
from tdml.seeds import derive
from tdml.training.checkpoint import Checkpoint
from tdml.training.schedule import Schedule
from tdml.training.state import StateLayout
from tdml.trust.audit import edges, windows_that_fit
from tdml.trust.thresholds import ALIKE, SKEWED, Thresholds


@dataclass(frozen=True)
class Job:
    """What the coordinator works with. `shares` are the samples of each replica, `steps` its H."""

    config: Config
    source: data.Source
    model: nn.Module
    plan: Plan
    layouts: list[Layout]
    states: list[StateLayout]
    shares: list[np.ndarray]
    steps: list[int]
    alike: bool  # whether the replicas' shares are drawn alike
    windows: int  # of a round's steps, for audits; 0: there are none
    thresholds: Thresholds  # of the screen
    omniscient: bool  # whether the attack must be told of the honest updates
    sees_updates: bool  # and of every one of them
    problem: str = ""  # why its steps cannot be taken again, as the rehearsal has found

    @property
    def repeatable(self) -> bool:
        """Whether its steps can be taken again."""
        return not self.problem

    def batches(self, replica: int, round_number: int) -> torch.Tensor:
        """The samples that a replica trains on in a round: (steps, batch_size) int64."""
        return torch.from_numpy(
            assigned_batches(
                self.shares[replica], self.config.train.effective_batch_size, self.steps[replica], self.config.seed,
                round_number, replica,
            )
        )  # fmt: skip

    def seed(self, *purpose: int | str) -> int:
        """The seed of something random in this job."""
        return derive(self.config.seed, *purpose)

    def augmentation(self, round_number: int, replica: int, step: int) -> int:
        """The seed of whatever a data set draws at random for one batch."""
        return self.seed("augmentation", round_number, replica, step)

    def distinct(self, round_number: int, replicas: Sequence[int]) -> int:
        """How many different samples each of the replicas was assigned in a round, at least."""
        return min((len(self.batches(replica, round_number).unique()) for replica in replicas), default=0)

    def samples(self, replica: int) -> int:
        """How many samples a replica trains on in a round: its weight in the average."""
        return self.steps[replica] * self.config.train.effective_batch_size

    @property
    def longest(self) -> int:
        """The most steps that any replica takes in a round."""
        return max(self.steps)

    @property
    def shares_of_work(self) -> list[int]:
        """The stages' shares of a replica's computation, in millionths."""
        stages = self.config.topology.stages
        return [sum(self.plan.shares[part] for part in self.plan.parts_of(s, stages)) for s in range(stages)]

    def edges(self, replica: int) -> tuple[int, ...]:
        """Where the windows of a replica's round begin and end; empty without audits."""
        return edges(self.steps[replica], self.windows) if self.windows else ()

    @property
    def parameters(self) -> list[int]:
        """How many of each stage's numbers are parameters; buffers follow."""
        return [layout.parameters for layout in self.layouts]

    def write_weights(self, flats: Sequence[torch.Tensor]) -> dict[str, torch.Tensor]:
        """Put the stages' flat vectors into the model and return its state dict."""
        whole.write(self.model, self.layouts, flats)
        return self.model.state_dict()


def prepare(config: Config, source: data.Source, checkpoint: Checkpoint | None) -> Job:
    """Make a job ready. A resumed job keeps the cuts of its checkpoint, which its outer optimizer is bound to.

    Raises:
        SettingError: the settings do not fit the data or the model.
    """
    if checkpoint is not None:
        config = replace(config, topology=replace(config.topology, cuts=checkpoint.cuts))
    kind = config.data.get("partition", "iid")
    labels, classes = source.labels, source.classes
    shares = partition(
        kind, labels, len(source.train), config.topology.replicas, config.train.effective_batch_size, config.seed,
        config.data.get("alpha", 1.0),
    )  # fmt: skip
    model = whole.initial_model(config.model, config.seed)
    inputs = _first_inputs(config, source)
    plan = make_plan(config, model, inputs, classes)
    stage_layouts = layouts(plan, model, config.topology.stages)
    states = [StateLayout(layout, config.train) for layout in stage_layouts]
    problem = rehearse(config, plan, model, source, range(len(inputs)))
    if problem and config.trust.repeatable == "require":
        raise SettingError(problem)
    attack = make_attack(config.attack) if config.attack.get("_target_") else None
    steps = [
        steps_per_round(len(share), config.train.effective_batch_size, config.sync.local_steps) for share in shares
    ]
    Schedule(config.train, config.rounds).check(max(steps))
    return Job(
        config=config,
        source=source,
        model=model,
        plan=plan,
        layouts=stage_layouts,
        states=states,
        shares=shares,
        steps=steps,
        alike=kind == "iid",
        windows=_windows(config, states),
        thresholds=_thresholds(kind == "iid", config.trust.thresholds),
        omniscient=attack is not None and attack.omniscient,
        sees_updates=attack is not None and attack.sees_updates,
        problem=problem,
    )


def _windows(config: Config, states: Sequence[StateLayout]) -> int:
    """As many as are set and as the memory for kept states allows; none where nobody could audit anybody."""
    trust = config.trust
    if not trust.enabled or not trust.audit_rate or config.topology.replicas == 1:
        return 0
    largest = max(state.size for state in states)
    return windows_that_fit(trust.audit_windows, largest * torch.float32.itemsize, trust.audit_memory * 2**20)


def _thresholds(alike: bool, chosen: dict[str, float | None]) -> Thresholds:
    known = [field.name for field in fields(Thresholds)]
    for name in chosen:
        if name not in known:
            raise SettingError(f"trust.thresholds.{name} is unknown: choose one of {', '.join(known)}")
    return replace(ALIKE if alike else SKEWED, **{name: value for name, value in chosen.items() if value is not None})


def _first_inputs(config: Config, source: data.Source) -> torch.Tensor:
    """A micro-batch of training samples, whose form all others must have."""
    size = config.train.effective_batch_size // config.microbatches
    try:
        inputs, labels = source.training_batch(range(size), seed=0)
        source.held_out_batch("test", [0])
    except SettingError:
        raise
    except Exception as error:
        raise SettingError(f"data: the first samples cannot be read as (tensor, label): {one_line(error)}") from error
    if labels.shape != (size,):
        raise SettingError(f"data: {size} samples have labels of the shape {tuple(labels.shape)}: each needs one class")
    return inputs
