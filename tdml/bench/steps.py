"""Local steps on an un-split model: what `tdml.training.trainer` does on the nodes of a pipeline."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F

from tdml.job import Job
from tdml.models import whole
from tdml.seeds import seeded
from tdml.training.inner import inner_optimizer
from tdml.training.schedule import Schedule


@dataclass(frozen=True)
class State:
    """Between two steps: the weights by stage, and torch's state of the inner optimizer, None without parameters."""

    weights: list[torch.Tensor]
    optimizer: dict | None


class LocalSteps:
    """Takes the steps of a round on the job's own model."""

    def __init__(self, job: Job) -> None:
        self._job, self._model = job, job.model
        self._parameters = list(self._model.parameters())
        self._optimizer = inner_optimizer(job.config.train, self._parameters)
        self._schedule = Schedule(job.config.train, job.config.rounds)

    def begin(self, weights: Sequence[torch.Tensor]) -> None:
        """Start from global weights, one flat vector per stage, with a fresh optimizer."""
        self._write(weights)
        if self._optimizer is not None:
            self._optimizer.state.clear()  # as good as new

    def resume(self, state: State) -> None:
        """Start from a state."""
        self._write(state.weights)
        if self._optimizer is not None:
            self._optimizer.load_state_dict(copy.deepcopy(state.optimizer))

    def step(self, inputs: torch.Tensor, labels: torch.Tensor, seed: int, round_number: int, step: int) -> None:
        """One optimizer step of a round on a batch, in the job's micro-batches."""
        for parameter in self._parameters:
            parameter.grad = None
        pieces = self._job.config.microbatches
        with seeded(seed):
            for part, right in zip(inputs.chunk(pieces), labels.chunk(pieces), strict=True):
                (F.cross_entropy(self._model(part), right) / pieces).backward()
        if self._optimizer is not None:
            for group in self._optimizer.param_groups:
                group["lr"] = self._schedule.rate(round_number, step, self._job.longest)
            self._optimizer.step()

    def weights(self) -> list[torch.Tensor]:
        """Parameters and buffers, one flat float32 vector per stage."""
        return whole.flatten(self._model, self._job.layouts)

    def state(self) -> State:
        """The state after the steps so far."""
        kept = None if self._optimizer is None else copy.deepcopy(self._optimizer.state_dict())
        return State(self.weights(), kept)

    def _write(self, weights: Sequence[torch.Tensor]) -> None:
        whole.write(self._model, self._job.layouts, weights)
        self._model.train()
