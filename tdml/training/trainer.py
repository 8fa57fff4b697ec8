"""One node's local steps, and its training state as one flat vector from which the steps can be taken again."""

from collections.abc import Callable

import torch

from tdml.config import Train
from tdml.models.layout import Layout
from tdml.seeds import seeded
from tdml.training.clip import Clip
from tdml.training.inner import inner_optimizer, set_rate
from tdml.training.pipeline import Pipeline
from tdml.training.state import StateLayout


class Trainer:
    """Takes the steps of a round on one node.

    Every step seeds the generators anew, so that what a model draws at random (dropout) is a function of the step:
    the state needs none of it. The state is (size,) float32, as `StateLayout` has it.
    """

    def __init__(
        self, pipeline: Pipeline, layout: Layout, tensors: Callable[[], list[torch.Tensor]], train: Train,
        clip: Clip | None = None,
    ) -> None:  # fmt: skip
        """
        Args:
            tensors: gives the node's parameters and buffers, in the layout's order.
            clip: of the gradients, if `train.clip_norm` asks for it.
        """
        self._pipeline, self._layout, self._tensors, self._train = pipeline, layout, tensors, train
        self._clip = clip
        held = tensors()
        self._form = StateLayout(layout, train, held[0].device if held else torch.device("cpu"))
        self._parameters = [p for module in pipeline.modules for p in module.parameters()]
        self._optimizer: torch.optim.Optimizer | None = None

    def begin(self, weights: torch.Tensor) -> None:
        """Start from global weights (d,) float32, with a fresh optimizer."""
        self._layout.scatter(weights, self._tensors())
        self._optimizer = inner_optimizer(self._train, self._parameters)

    def resume(self, state: torch.Tensor) -> None:
        """Start from a state."""
        assert state.shape == (self._form.size,)
        self.begin(state[: self._layout.size])
        self._form.slots.write(state[self._layout.size :], self._optimizer, self._parameters)

    def step(
        self, inputs: torch.Tensor | None, labels: torch.Tensor | None, seed: int, lr: float,
        records: torch.Tensor | None = None,
    ) -> float | None:  # fmt: skip
        """One step with the learning rate `lr`; see `Pipeline.train_step`."""
        for parameter in self._parameters:
            parameter.grad = None
        with seeded(seed):
            loss = self._pipeline.train_step(inputs, labels, records)
        if self._clip is not None:
            self._clip(self._parameters, records)
        if self._optimizer:
            set_rate(self._optimizer, lr)
            self._optimizer.step()
        return loss

    def weights(self) -> torch.Tensor:
        """Parameters and buffers: (d,) float32 on the host."""
        return self._layout.flatten(self._tensors())

    def state(self) -> torch.Tensor:
        """The state after the steps so far: (size,) float32 on the host."""
        return torch.cat([self.weights(), self._form.slots.read(self._optimizer, self._parameters)])
