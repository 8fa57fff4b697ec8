"""A multi-layer perceptron: the smallest model that learns something."""

import itertools

import torch
from torch import nn

from tdml.errors import SettingError


def mlp(num_classes: int, features: int, hidden: int, depth: int) -> nn.Sequential:
    """`depth` hidden layers of `hidden` units with ReLU, one block each, then a linear layer.

    Input: (batch, ...) with `features` numbers per sample; output: (batch, num_classes) logits.
    It raises a SettingError where a sample has another number of them.
    """
    widths = [features] + [hidden] * depth
    layers = [
        nn.Sequential(_Flatten(before), nn.Linear(before, after), nn.ReLU())
        for before, after in itertools.pairwise(widths)
    ]
    return nn.Sequential(*layers, nn.Linear(widths[-1], num_classes))


class _Flatten(nn.Flatten):
    """Flattens samples, and names the setting where they have another number of features."""

    def __init__(self, features: int) -> None:
        super().__init__()
        self._features = features

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        flat = super().forward(inputs)
        found = flat.shape[1]
        if found != self._features:
            raise SettingError(
                f"model.features={self._features}, but a sample has {found} numbers: set "
                f"model.features={found}"
            )
        return flat
