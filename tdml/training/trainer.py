"""One node's local steps, and its training state as one flat vector from which the steps can be taken again."""

import torch

from tdml.config import Train
from tdml.models.layout import Layout
from tdml.seeds import seeded
from tdml.training.inner import inner_optimizer, slot_names, state_size
from tdml.training.pipeline import Pipeline


class Trainer:
    """Takes the steps of a round on one node.

    Every step seeds the generators anew, so that what a model draws at random (dropout) is a function of the step:
    the state needs none of it. The state is (size,) float32: parameters, buffers, then what the optimizer keeps of
    each parameter. What it has not kept yet is zero, from which SGD and Adam go on as from nothing.
    """

    def __init__(self, pipeline: Pipeline, layout: Layout, tensors: list[torch.Tensor], settings: Train) -> None:
        """`tensors` are the node's parameters and buffers, in the layout's order."""
        self._pipeline, self._layout, self._tensors, self._settings = pipeline, layout, tensors, settings
        self._parameters = [p for module in pipeline.modules for p in module.parameters()]
        self._optimizer: torch.optim.Optimizer | None = None

    def begin(self, weights: torch.Tensor) -> None:
        """Start from global weights (d,) float32, with a fresh optimizer."""
        self._layout.scatter(weights, self._tensors)
        self._optimizer = inner_optimizer(self._settings, self._parameters)

    def resume(self, state: torch.Tensor) -> None:
        """Start from a state."""
        assert state.shape == (state_size(self._layout, self._settings),)
        self.begin(state[: self._layout.size])
        if self._optimizer is None:
            return
        kept = state[self._layout.size :].split([n for p in self._parameters for n in _sizes(p, self._settings)])
        for i, parameter in enumerate(self._parameters):
            slots = kept[i * len(slot_names(self._settings)) :]
            self._optimizer.state[parameter] = {
                name: (
                    value.clone().view(()) if name == "step" else value.view(parameter.shape).to(parameter, copy=True)
                )
                for name, value in zip(slot_names(self._settings), slots, strict=False)
            }

    def step(
        self, inputs: torch.Tensor | None, labels: torch.Tensor | None, seed: int, lr: float,
        records: torch.Tensor | None = None,
    ) -> float | None:  # fmt: skip
        """One step with the learning rate `lr`; see `Pipeline.train_step`."""
        for parameter in self._parameters:
            parameter.grad = None
        with seeded(seed):
            loss = self._pipeline.train_step(inputs, labels, records)
        if self._optimizer:
            for group in self._optimizer.param_groups:
                group["lr"] = lr
            self._optimizer.step()
        return loss

    def weights(self) -> torch.Tensor:
        """Parameters and buffers: (d,) float32 on the host."""
        return self._layout.flatten(self._tensors)

    def state(self) -> torch.Tensor:
        """The state after the steps so far: (size,) float32 on the host."""
        return torch.cat([self.weights(), *(self._slot(p, name) for p in self._parameters for name in self._slots)])

    @property
    def _slots(self) -> tuple[str, ...]:
        return slot_names(self._settings)

    def _slot(self, parameter: torch.nn.Parameter, name: str) -> torch.Tensor:
        value = self._optimizer.state[parameter].get(name) if parameter in self._optimizer.state else None
        if value is None:
            return torch.zeros(1 if name == "step" else parameter.numel())
        return value.detach().reshape(-1).float().cpu()


def _sizes(parameter: torch.nn.Parameter, settings: Train) -> list[int]:
    return [1 if name == "step" else parameter.numel() for name in slot_names(settings)]
