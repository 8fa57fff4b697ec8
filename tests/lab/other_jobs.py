"""Data that are not the digits."""

import math

import torch
from torch.utils.data import Dataset


class Vectors(Dataset):
    """Samples (n, features) in memory, and their labels."""

    def __init__(self, inputs: torch.Tensor, labels: torch.Tensor) -> None:
        self.inputs, self.labels, self.targets = inputs, labels, labels.tolist()

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        return self.inputs[index], self.labels[index]

    def __getitems__(self, indices: list[int]) -> tuple[torch.Tensor, torch.Tensor]:
        return self.inputs[indices], self.labels[indices]


def clusters(classes: int, rarest: float, gap: float) -> tuple[Vectors, Vectors]:
    """3000 training and 600 test points in 20 dimensions, in two clusters a class.

    Args:
        rarest: how many samples the last class has for each of the first.
        gap: between the clusters, in their standard deviations.
    """
    generator = torch.Generator().manual_seed(1)
    shares = torch.tensor([rarest ** (c / (classes - 1)) for c in range(classes)])
    labels = torch.multinomial(shares, 3600, replacement=True, generator=generator)
    centres = torch.randn(classes, 2, 20, generator=generator) * gap / math.sqrt(2)
    points = centres[labels, torch.randint(2, (3600,), generator=generator)]
    points += torch.randn(3600, 20, generator=generator)
    return Vectors(points[600:], labels[600:]), Vectors(points[:600], labels[:600])
