"""Users' own classes, named by `_target_` in the tests."""

import time

import torch

from tdml.attacks import Attack, Context


class Raises(Attack):
    """Raises in the middle of a round, while the last stage trains."""

    def __init__(self, in_round: int) -> None:
        self.in_round = in_round

    def poison_labels(self, labels: torch.Tensor, context: Context) -> torch.Tensor:
        """Raise in one round."""
        if context.round == self.in_round:
            raise RuntimeError("planted failure")
        return labels


class Dawdles(Attack):
    """Takes very long over every batch of one round."""

    def __init__(self, in_round: int) -> None:
        self.in_round = in_round

    def poison_labels(self, labels: torch.Tensor, context: Context) -> torch.Tensor:
        """Wait."""
        if context.round == self.in_round:
            time.sleep(8)
        return labels
