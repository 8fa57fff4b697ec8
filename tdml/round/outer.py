"""The outer optimizer: from the accepted updates of a round to the next global weights.

Weights and updates are lists of flat vectors, one per stage, parameters first and buffers after
them. Buffers (BatchNorm's running statistics) take the change they are given, whatever the rule for
the parameters.
"""

from collections.abc import Sequence

import torch

from tdml.settings.schema import Sync


class FedAvg:
    """w ← w + Σ nᵢ·uᵢ / Σ nᵢ (McMahan et al., arXiv 1602.05629): the mean weighted by samples."""

    def step(
        self,
        weights: Sequence[torch.Tensor],
        mean_update: Sequence[torch.Tensor],
        parameters: Sequence[int],
    ) -> list[torch.Tensor]:
        """The next weights.

        Args:
            weights: (d_s,) float32 per stage.
            mean_update: the same shapes, see `tdml.round.aggregate`; the next weights may take
                its place in memory, for to write to new memory takes twice as long.
            parameters: how many of each stage's numbers are parameters.
        """
        return [
            torch.add(weight, update, out=update)
            for weight, update in zip(weights, mean_update, strict=True)
        ]

    def state(self) -> list[torch.Tensor]:
        """What a checkpoint must keep."""
        return []

    def restore(self, state: list[torch.Tensor]) -> None:
        """Undo `state`."""


class Nesterov:
    """DiLoCo (Douillard et al., arXiv 2311.08105): SGD with Nesterov momentum on the outer gradient
    −u.

    v ← momentum·v + u;  w ← w + lr·(u + momentum·v),
    in the form of `torch.optim.SGD(nesterov=True)`.
    """

    def __init__(self, lr: float, momentum: float) -> None:
        self.lr, self.momentum = lr, momentum
        self._velocity: list[torch.Tensor] = []

    def step(
        self,
        weights: Sequence[torch.Tensor],
        mean_update: Sequence[torch.Tensor],
        parameters: Sequence[int],
    ) -> list[torch.Tensor]:
        """As `FedAvg.step`."""
        if not self._velocity:
            self._velocity = [
                torch.zeros_like(u[:count])
                for u, count in zip(mean_update, parameters, strict=True)
            ]
        following = []
        for i, (weight, update, count) in enumerate(
            zip(weights, mean_update, parameters, strict=True)
        ):
            self._velocity[i] = self.momentum * self._velocity[i] + update[:count]
            stepped = weight + update
            stepped[:count] = weight[:count] + self.lr * (
                update[:count] + self.momentum * self._velocity[i]
            )
            following.append(stepped)
        return following

    def state(self) -> list[torch.Tensor]:
        """As `FedAvg.state`."""
        return list(self._velocity)

    def restore(self, state: list[torch.Tensor]) -> None:
        """As `FedAvg.restore`."""
        self._velocity = list(state)


def outer_optimizer(settings: Sync) -> FedAvg | Nesterov:
    """The rule that `sync.outer` names."""
    return (
        FedAvg()
        if settings.outer == "fedavg"
        else Nesterov(settings.outer_lr, settings.outer_momentum)
    )
