"""A multi-layer perceptron: the smallest model that learns something."""

import itertools

from torch import nn


def mlp(num_classes: int, features: int, hidden: int, depth: int) -> nn.Sequential:
    """`depth` hidden layers of `hidden` units with ReLU, one block each, then a linear layer.

    Input: (batch, ...) with `features` numbers per sample; output: (batch, num_classes) logits.
    """
    widths = [features] + [hidden] * depth
    layers = [
        nn.Sequential(nn.Flatten(), nn.Linear(before, after), nn.ReLU())
        for before, after in itertools.pairwise(widths)
    ]
    return nn.Sequential(*layers, nn.Linear(widths[-1], num_classes))
