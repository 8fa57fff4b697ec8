"""Local steps on an un-split model: what `tdml.training.trainer` does on the nodes of a pipeline."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import nn

from tdml.job import Job
from tdml.models import whole
from tdml.models.compute import autocast, lay_out, lay_out_weights, training_loss
from tdml.seeds import seeded
from tdml.training.inner import inner_optimizer, set_rate
from tdml.training.schedule import Schedule
from tdml.training.slots import Slots


@dataclass(frozen=True)
class State:
    """Between two steps: the weights by stage, and what the inner optimizer keeps."""

    weights: list[torch.Tensor]
    optimizer: torch.Tensor


class LocalSteps:
    """Takes the steps of a round on the job's own model."""

    def __init__(self, job: Job) -> None:
        self._job, self._model, self._train = job, job.model, job.config.train
        lay_out_weights(self._model, self._train)
        self._parameters = list(self._model.parameters())
        self._slots = Slots(self._train, [p.shape for p in self._parameters], torch.device("cpu"))
        self._optimizer = inner_optimizer(self._train, self._parameters)
        self._schedule = Schedule(self._train, job.config.rounds)

    def begin(self, weights: Sequence[torch.Tensor]) -> None:
        """Start from global weights, one flat vector per stage, with a fresh optimizer."""
        self._write(weights)
        self._optimizer = inner_optimizer(self._train, self._parameters)

    def resume(self, state: State) -> None:
        """Start from a state."""
        self._write(state.weights)
        self._slots.write(state.optimizer, self._optimizer, self._parameters)

    def step(self, inputs: torch.Tensor, labels: torch.Tensor, seed: int, round_number: int, step: int) -> None:
        """One optimizer step of a round on a batch, in the job's micro-batches."""
        for parameter in self._parameters:
            parameter.grad = None
        pieces = self._job.config.microbatches
        with seeded(seed):
            for part, right in zip(inputs.chunk(pieces), labels.chunk(pieces), strict=True):
                (training_loss(self._forward(part), right, self._train) / pieces).backward()
        if self._train.clip_norm is not None:
            nn.utils.clip_grad_norm_(self._parameters, self._train.clip_norm)
        if self._optimizer is not None:
            set_rate(self._optimizer, self._schedule.rate(round_number, step, self._job.longest))
            self._optimizer.step()

    def weights(self) -> list[torch.Tensor]:
        """Parameters and buffers, one flat float32 vector per stage."""
        return whole.flatten(self._model, self._job.layouts)

    def state(self) -> State:
        """The state after the steps so far."""
        return State(self.weights(), self._slots.read(self._optimizer, self._parameters))

    def _forward(self, inputs: torch.Tensor) -> torch.Tensor:
        with autocast(self._train, inputs.device):
            return self._model(lay_out(inputs, self._train))

    def _write(self, weights: Sequence[torch.Tensor]) -> None:
        whole.write(self._model, self._job.layouts, weights)
        self._model.train()
