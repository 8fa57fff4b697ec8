"""A model that keeps something where nobody looks, and nodes that keep it apart as processes do."""

from collections import Counter

import torch
from torch import nn

from tdml.node.node import Node

COORDINATOR = "coordinator"
CALLS: Counter[str] = Counter()  # so far, by who computes
hidden = {"who": COORDINATOR, "calls": 0}  # `calls`: of everybody's that nothing is seen of yet


class Warms(nn.Module):
    """Its scale depends on how often whoever computes has called it, which shows after a while."""

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        """Scale."""
        if not value.is_meta:
            CALLS[hidden["who"]] += 1
        return value * (1 + 0.01 * max(0, CALLS[hidden["who"]] - hidden["calls"]))


class Apart(nn.Module):
    """Its scale is another for the coordinator than for all nodes."""

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        """Scale."""
        return value * (1.0 if hidden["who"] == COORDINATOR else 1.01)


class Halves(nn.Module):
    """Has what goes forward hang on what has come back, which shows after a while."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("scale", torch.ones(()))

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        """Scale."""
        value = value * self.scale.clone()
        if value.requires_grad and not hidden["calls"]:
            value.register_hook(self._halve)
        return value

    def _halve(self, _: torch.Tensor) -> None:
        self.scale.mul_(0.5)


class Copied(nn.Module):
    """Its scale is another in every second copy, as where sets are walked by addresses."""

    copies = 0

    def __init__(self) -> None:
        super().__init__()
        self.odd = Copied.copies % 2
        Copied.copies += 1

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        """Scale."""
        return value if hidden["calls"] or not self.odd else value * 1.01


class Marked(nn.Module):
    """Computes nothing where its buffer is marked, which training never does."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mark", torch.ones(()))

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        """The same."""
        if not value.is_meta and self.mark < 0:
            raise ValueError("marked")
        return value


def marked(num_classes: int) -> nn.Sequential:
    return nn.Sequential(nn.Flatten(), nn.Linear(192, 16), Marked(), nn.Linear(16, num_classes))


def copied(num_classes: int) -> nn.Sequential:
    return nn.Sequential(nn.Flatten(), nn.Linear(192, 16), Copied(), nn.Linear(16, num_classes))


def halves(num_classes: int) -> nn.Sequential:
    return nn.Sequential(nn.Flatten(), nn.Linear(192, 16), Halves(), nn.Linear(16, num_classes))


def warms(num_classes: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Flatten(), nn.Linear(192, 16), nn.ReLU(), Warms(), nn.Linear(16, num_classes)
    )


def apart(num_classes: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Flatten(), nn.Linear(192, 16), nn.ReLU(), Apart(), nn.Linear(16, num_classes)
    )


class OfItsOwn(Node):
    """Computes as if in a process of its own."""

    def _take_step(self, given, log, step, keeps=False):
        hidden["who"] = self.name
        yield from super()._take_step(given, log, step, keeps)
        hidden["who"] = COORDINATOR

    def evaluating(self, order):
        hidden["who"] = self.name
        yield from super().evaluating(order)
        hidden["who"] = COORDINATOR
