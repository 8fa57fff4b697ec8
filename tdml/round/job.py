"""What the coordinator works with: a job's data, model, pipelines and shares."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import nn

from tdml.data import source as data
from tdml.data.left_out import LeftOut
from tdml.data.order import assigned_batches, augmentation_seed
from tdml.models import whole
from tdml.models.layout import Layout
from tdml.models.plan import Plan
from tdml.node.memory import Need
from tdml.node.messages import Channel
from tdml.node.state import StateLayout
from tdml.protocol.orders import TrainOrder
from tdml.round.windows import window_bounds
from tdml.settings.schema import Config
from tdml.tasks import Task
from tdml.tasks.measures import Measures
from tdml.trust.commitment import count_blocks


@dataclass(frozen=True)
class Job:
    """What the coordinator works with: it stays the same from round to round."""

    config: Config
    source: data.Source  # with data.partition=own the coordinator's alone
    model: nn.Module
    plan: Plan
    layouts: list[Layout]
    frozen: list[list[torch.Tensor]]  # by stage: the parameters that are not trained, in float32
    states: list[StateLayout]
    shares: list[np.ndarray]  # samples of each replica; with data.partition=own as owners say
    steps: list[int]  # H of each replica: of a round, if it takes all of them
    measures: Measures  # of the task
    iid: bool  # whether the replicas' shares are drawn alike (data.partition=iid)
    windows: int  # of a round's steps, for audits; 0: there are none
    needs: list[Need]  # by stage: the memory that a node takes
    channels: tuple[Channel, ...]  # between the stages of a replica
    problem: str = ""  # why its steps cannot be taken again, as the rehearsal has found
    uncompared: str = ""  # why the model itself could not be compared with its blocks
    left_out: LeftOut = field(default_factory=LeftOut)  # samples that rounds have shown to be bad

    @property
    def task(self) -> Task:
        """What the job trains for."""
        return self.source.task

    @property
    def audits(self) -> bool:
        """Whether any work is repeated in this job."""
        return self.windows > 0 and not self.problem

    def initial_model(self) -> nn.Module:
        """The model as it was at first: a new one."""
        return whole.initial_model(self.config.model, self.config.seed)

    def write_weights(self, flats: Sequence[torch.Tensor]) -> dict[str, torch.Tensor]:
        """Put the stages' flat vectors into the model and return its state dict."""
        whole.write(self.model, self.layouts, flats)
        return self.model.state_dict()

    # What a replica does in a round

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

    def augmentation(self, round_number: int, replica: int, step: int) -> int:
        """The seed of whatever a data set draws at random for one batch."""
        return augmentation_seed(self.config.seed, round_number, replica, step)

    def samples(self, steps: int) -> int:
        """How many samples a replica trains on in so many steps: its weight in the average."""
        return steps * self.config.train.effective_batch_size

    @property
    def longest(self) -> int:
        """The most steps that any replica takes in a round."""
        return max(self.steps)

    def train_order(
        self,
        replica: int,
        round_number: int,
        steps: int,
        nonce: str,
        inner: tuple[str, ...],
    ) -> TrainOrder:
        """The order to take the first steps of a replica's round, with optimizers that go on from
        the states with the digests `inner`, by stage."""
        batches, bounds = self.batches(replica, round_number)[:steps], self.window_bounds(steps)
        return TrainOrder(round_number, self.longest, batches, nonce, bounds, inner)

    def window_bounds(self, steps: int) -> tuple[int, ...]:
        """Where the windows of a round of so many steps begin and end; empty without audits."""
        return window_bounds(steps, self.windows) if self.windows else ()

    def window_count(self, steps: int) -> int:
        """How many windows a round of so many steps has."""
        return len(self.window_bounds(steps)) - 1

    # Sizes, by stage

    @property
    def parameters(self) -> list[int]:
        """How many of each stage's numbers are parameters; buffers follow."""
        return [layout.parameters for layout in self.layouts]

    def blocks_of_update(self, stage: int) -> int:
        """How many blocks a stage's update has."""
        return count_blocks(self.layouts[stage].size)

    def blocks_handed_in(self, stage: int) -> int:
        """How many blocks a node commits to: of its update, and of its inner state if that is
        kept."""
        inner = self.inner_size(stage)
        return self.blocks_of_update(stage) + (count_blocks(inner) if inner else 0)

    def inner_size(self, stage: int) -> int:
        """The size of the state that a stage's optimizer goes on from; 0 if it is not kept."""
        return self.states[stage].inner.size if self.config.sync.keeps_inner_state else 0


def how_shared(config: Config) -> str:
    """How the replicas' shares come about: "given", or a value of data.partition."""
    return "given" if config.data.get("shares") else config.data.get("partition", "iid")
