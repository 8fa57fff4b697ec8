"""A node's training state as one flat vector, by which its steps can be audited."""

from math import prod

import torch

from tdml.models.layout import Layout
from tdml.node.optimizer_state import OptimizerState
from tdml.settings.schema import Train

_HOST = torch.device("cpu")


class StateLayout:
    """Parameters and buffers as in `Layout`, then what the inner optimizer keeps of each
    parameter."""

    def __init__(self, layout: Layout, train: Train, device: torch.device = _HOST) -> None:
        """
        Raises:
            SettingError: see `OptimizerState`.
        """
        self._layout = layout
        self.inner = OptimizerState(train, layout.shapes[: layout.parameter_tensors], device)
        self.size = layout.size + self.inner.size

    def sections(self, vector: torch.Tensor) -> list[torch.Tensor]:
        """A training state, or an update, in pieces that are each of one kind: all parameters,
        every buffer, and what the optimizer keeps under one name. Beside a counter of steps all
        else would seem small."""
        layout = self._layout
        buffers = [prod(shape) for shape in layout.shapes[layout.parameter_tensors :]]
        weights = list(vector[: layout.size].split([layout.parameters, *buffers]))
        return (
            weights
            if len(vector) == layout.size
            else weights + self.inner.sections(vector[layout.size :])
        )
