"""Attacks on the data that a replica is trained on."""

import torch

from tdml.attacks.base import Attack, Context


class LabelFlip(Attack):
    """Label y becomes num_classes − 1 − y (Tolpegin et al., arXiv 2007.08432; Fang et al., arXiv 1911.11815).

    Labels are at the last stage of a pipeline, so the attacking node must be there.
    """

    def __init__(self, num_classes: int) -> None:
        self.num_classes = num_classes

    def poison_labels(self, labels: torch.Tensor, context: Context) -> torch.Tensor:
        return self.num_classes - 1 - labels
