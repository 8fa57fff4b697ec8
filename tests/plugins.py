"""Users' own classes, named by `_target_` in the tests."""

import time

import torch
from torch.utils.data import Dataset

from tdml.attacks import Attack, Context
from tdml.data import digits
from tdml.data.images import Images


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


class Unreadable(Dataset):
    """A data set of which only the first samples can be read; the labels are known."""

    def __init__(self, whole: Images) -> None:
        self.whole, self.targets = whole, whole.targets

    def __len__(self) -> int:
        return len(self.whole)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        """Raise for most."""
        if index >= 100:
            raise OSError(f"sample {index} is gone")
        return self.whole[index]


def unreadable() -> tuple[Unreadable, Images]:
    """The digits, most of which cannot be read."""
    train, test = digits(16)
    return Unreadable(train), test
