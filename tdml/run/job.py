"""A job made ready: data, model, pipelines and shares, with every check that needs them."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import chain

import numpy as np
import torch
from torch import nn

from tdml.attacks.base import make_attack
from tdml.common.seeds import derive
from tdml.config import Config
from tdml.data import source as data
from tdml.data.left_out import LeftOut
from tdml.data.order import assigned_batches, augmentation_seed, steps_per_round
from tdml.data.partition import partition
from tdml.data.shares import given_shares
from tdml.errors import SettingError, one_line
from tdml.models import whole
from tdml.models.layout import Layout
from tdml.models.plan import Plan, frozen_layouts, layouts, make_plan
from tdml.models.split import blocks_of, tied
from tdml.models.tokens import check_causal, check_tokens
from tdml.node.memory import Need, needs
from tdml.node.messages import Channel, channels
from tdml.node.schedule import Schedule
from tdml.node.state import StateLayout
from tdml.rehearsal import rehearse
from tdml.round.checkpoint import Checkpoint
from tdml.round.orders import TrainOrder
from tdml.round.windows import window_bounds, windows_that_fit
from tdml.tasks import Language, Masked, Task
from tdml.tasks.measures import Measures, look_at


@dataclass(frozen=True)
class Job:
    """What the coordinator works with. `shares` are the samples of each replica, `steps` its H."""

    config: Config
    source: data.Source  # with data.partition=own the coordinator's alone
    model: nn.Module
    plan: Plan
    layouts: list[Layout]
    frozen: list[torch.Tensor]  # by stage: the parameters that are not trained, (f_s,) float32
    states: list[StateLayout]
    shares: list[np.ndarray]  # with data.partition=own as owners say when they enter
    steps: list[int]
    measures: Measures  # of the task
    alike: bool  # whether the replicas' shares are drawn alike
    windows: int  # of a round's steps, for audits; 0: there are none
    needs: list[Need]  # by stage: the memory that a node takes
    channels: tuple[Channel, ...]  # between the stages of a replica
    problem: str = ""  # why its steps cannot be taken again, as the rehearsal has found
    left_out: LeftOut = field(default_factory=LeftOut)  # samples that rounds have shown to be bad

    @property
    def task(self) -> Task:
        """What it trains for."""
        return self.source.task

    @property
    def own(self) -> bool:
        """Whether the data of each replica stays with its owner."""
        return _kind(self.config) == "own"

    @property
    def audits(self) -> bool:
        """Whether anything is repeated at all."""
        return self.windows > 0 and not self.problem

    def keeps_updates(self, replicas: int) -> bool:
        """Whether the coordinator keeps so many updates until it takes their mean."""
        numbers = replicas * sum(layout.size for layout in self.layouts)
        return numbers * torch.float32.itemsize <= self.config.gather.memory * 2**20

    def batches(self, replica: int, round_number: int) -> torch.Tensor:
        """The samples that a replica trains on in a round, if it takes all of its steps: (steps,
        batch_size) int64. With fewer it trains on the first of them."""
        assigned = assigned_batches(
            self.shares[replica],
            self.config.train.effective_batch_size,
            self.steps[replica],
            self.config.seed,
            round_number,
            replica,
        )
        return torch.from_numpy(
            self.left_out.replaced(assigned, self.shares[replica], round_number)
        )

    def seed(self, *purpose: int | str) -> int:
        """The seed of something random in this job."""
        return derive(self.config.seed, *purpose)

    def augmentation(self, round_number: int, replica: int, step: int) -> int:
        """The seed of whatever a data set draws at random for one batch."""
        return augmentation_seed(self.config.seed, round_number, replica, step)

    def distinct(self, round_number: int, replicas: Sequence[int]) -> int:
        """How many different samples each of the replicas was assigned in a round, at least."""
        return min(
            (len(self.batches(replica, round_number).unique()) for replica in replicas), default=0
        )

    def samples(self, steps: int) -> int:
        """How many samples a replica trains on in so many steps: its weight in the average."""
        return steps * self.config.train.effective_batch_size

    def train_order(self, replica: int, round_number: int, steps: int, nonce: str) -> TrainOrder:
        """To take the first steps of a replica's round."""
        batches = self.batches(replica, round_number)[:steps]
        return TrainOrder(round_number, self.longest, batches, nonce, self.bounds(steps))

    @property
    def longest(self) -> int:
        """The most steps that any replica takes in a round."""
        return max(self.steps)

    @property
    def shares_of_work(self) -> list[int]:
        """The stages' shares of a replica's computation, in millionths."""
        stages = self.config.topology.stages
        return [
            sum(self.plan.shares[part] for part in self.plan.parts_of(s, stages))
            for s in range(stages)
        ]

    def bounds(self, steps: int) -> tuple[int, ...]:
        """Where the windows of a round of so many steps begin and end; empty without audits."""
        return window_bounds(steps, self.windows) if self.windows else ()

    def windows_of(self, steps: int) -> int:
        """How many windows such a round has."""
        return len(self.bounds(steps)) - 1

    @property
    def parameters(self) -> list[int]:
        """How many of each stage's numbers are parameters; buffers follow."""
        return [layout.parameters for layout in self.layouts]

    def initial_model(self) -> nn.Module:
        """The model as it was at first: a new one."""
        return whole.initial_model(self.config.model, self.config.seed)

    def write_weights(self, flats: Sequence[torch.Tensor]) -> dict[str, torch.Tensor]:
        """Put the stages' flat vectors into the model and return its state dict."""
        whole.write(self.model, self.layouts, flats)
        return self.model.state_dict()


def prepare(config: Config, source: data.Source, checkpoint: Checkpoint | None) -> Job:
    """Make a job ready. A resumed job keeps the cuts of its checkpoint, which its outer optimizer
    is bound to.

    Raises:
        SettingError: the settings do not fit the data or the model.
    """
    if checkpoint is not None:
        config = replace(config, topology=replace(config.topology, cuts=checkpoint.cuts))
    shares = _shares(config, source)
    _ = source.test_strata  # what is wrong with a sample is found before anything begins
    model = whole.initial_model(config.model, config.seed)
    inputs, targets = _first_samples(config, source)
    predicted = targets if isinstance(source.task, Language) else None
    check_tokens(model, source.train, inputs, predicted)
    plan = make_plan(config, model, inputs, lambda shape: _check_output(source, shape))
    if isinstance(source.task, Language) and not isinstance(source.task, Masked):
        check_causal(model, inputs)
    stage_layouts = layouts(plan, model, config.topology.stages)
    states = [StateLayout(layout, config.train) for layout in stage_layouts]
    measures = look_at(source.task, plan.borders[-1], targets)
    frozen = whole.flatten(model, frozen_layouts(plan, model, config.topology.stages))
    problem = rehearse(config, plan, model, source, range(len(inputs)))
    if problem and config.trust.repeatable == "require":
        raise SettingError(problem)
    if config.attack.get("_target_"):
        make_attack(config.attack)  # a mistake in its settings is found here
    steps = [
        steps_per_round(len(share), config.train.effective_batch_size, config.sync.local_steps)
        for share in shares
    ]
    Schedule(config.train, config.rounds).check(max(steps))
    windows = _windows(config, states)
    return Job(
        config=config,
        source=source,
        model=model,
        plan=plan,
        layouts=stage_layouts,
        frozen=frozen,
        states=states,
        shares=shares,
        steps=steps,
        measures=measures,
        alike=_kind(config) == "iid",
        windows=windows,
        needs=needs(config, plan, model, inputs, states, windows),
        channels=channels(
            plan.parts,
            config.topology.stages,
            config.train.clip_norm is not None,
            bool(tied(blocks_of(model))),
        ),
        problem=problem,
    )


def _windows(config: Config, states: Sequence[StateLayout]) -> int:
    """As many as are set and as the memory for kept states allows; none where nobody is audited,
    or can be, for want of the data."""
    trust = config.trust
    if not trust.enabled or not trust.budget or _kind(config) == "own":
        return 0
    largest = max(state.size for state in states)
    return windows_that_fit(
        trust.audit_windows, largest * torch.float32.itemsize, trust.audit_memory * 2**20
    )


def _kind(config: Config) -> str:
    """How the shares come about."""
    return "given" if config.data.get("shares") else config.data.get("partition", "iid")


def _shares(config: Config, source: data.Source) -> list[np.ndarray]:
    """The training samples of each replica."""
    kind, replicas = _kind(config), config.topology.most
    least, strata = config.train.effective_batch_size, source.strata
    if kind == "given":
        return given_shares(config.data["shares"], source.train, replicas, least, config.seed)
    if kind == "own":  # until they say what they hold
        return [np.arange(len(source.train)) for _ in range(replicas)]
    if kind == "dirichlet" and strata is None:
        raise SettingError(
            "data.partition=dirichlet: the task has no classes to deal out: take data.partition=iid"
        )
    alpha = config.data.get("alpha", 1.0)
    return partition(kind, strata, len(source.train), replicas, least, config.seed, alpha)


def _check_output(source: data.Source, shape: torch.Size) -> None:
    """What the task says of what the model returns, if it says anything."""
    if check := getattr(source.task, "check_output", None):
        strata = source.strata
        held_out = chain(source.test_strata or [], source.validation_strata or [])
        check(shape, None if strata is None else [*strata, *held_out])


def _first_samples(config: Config, source: data.Source) -> tuple[torch.Tensor, torch.Tensor]:
    """A micro-batch of training samples, whose form all others must have."""
    size = config.train.effective_batch_size // config.microbatches
    try:
        inputs, targets = source.training_batch(range(size), seed=0)
        source.held_out_batch("test", [0])
        source.held_out_batch("validation", [0])
    except SettingError:
        raise
    except Exception as error:
        raise SettingError(f"data: the first samples cannot be read: {one_line(error)}") from error
    return inputs, targets
