"""Attacks that push as far against the honest mean as a bound on distances allows.

Notation: uᵢ are the h honest updates, μ and σ their mean and standard deviation, per coordinate.
The attack is m = μ + γp with a fixed direction p and the largest γ that the bound allows, the same
for all attackers.

Shejwalkar and Houmansadr, "Manipulating the Byzantine", NDSS 2021. They search γ by halving (their
Algorithm 1); both bounds are quadratic in γ, so here it is their root. Their γ rests on the
attackers' own honest updates where the others' are unknown; here the others' are known.
"""

import torch

from tdml.attacks.base import Attack, Context, Knowledge, known
from tdml.attacks.settings import choice

_DIRECTIONS = ("unit_mean", "sign", "std")


class _Furthest(Attack):
    omniscient = sees_updates = True

    def __init__(self, direction: str) -> None:
        self.direction = choice("direction", direction, _DIRECTIONS)

    def corrupt(self, update: torch.Tensor, context: Context) -> torch.Tensor:
        knowledge = known(context)
        push = perturbation(knowledge, self.direction)
        if knowledge.honest < 2 or not push.any():
            return knowledge.mean
        assert knowledge.updates is not None
        spread = knowledge.updates - knowledge.mean
        gram = (spread @ spread.T).double()
        return (
            knowledge.mean
            + self.strength(gram, (spread @ push).double(), float(push.double().square().sum()))
            * push
        )

    def strength(self, gram: torch.Tensor, along: torch.Tensor, square: float) -> float:
        """γ, from (h, h) scalar products of the uᵢ − μ, their (h,) scalar products with p, and p's
        own square."""
        raise NotImplementedError


class MinMax(_Furthest):
    """The largest γ with maxᵢ ‖m − uᵢ‖ ≤ maxᵢⱼ ‖uᵢ − uⱼ‖: no further from any honest update than
    these are apart.

    The min-max attack (NDSS 2021).
    """

    def strength(self, gram: torch.Tensor, along: torch.Tensor, square: float) -> float:
        # ‖m − uᵢ‖² = γ²‖p‖² − 2γ⟨p, uᵢ − μ⟩ + ‖uᵢ − μ‖², at most the bound for every i.
        room = (distances(gram).max() - gram.diagonal()).clamp(min=0)
        return float(((along + (along**2 + square * room).sqrt()) / square).min())


class MinSum(_Furthest):
    """The largest γ with Σᵢ ‖m − uᵢ‖² ≤ maxᵢ Σⱼ ‖uᵢ − uⱼ‖²: no further from all together than an
    honest update is.

    The min-sum attack (NDSS 2021).
    """

    def strength(self, gram: torch.Tensor, along: torch.Tensor, square: float) -> float:
        # The linear terms cancel: Σᵢ ‖m − uᵢ‖² = h·γ²‖p‖² + Σᵢ ‖uᵢ − μ‖².
        room = (distances(gram).sum(dim=1).max() - gram.trace()).clamp(min=0)
        return float((room / (len(gram) * square)).sqrt())


def perturbation(knowledge: Knowledge, direction: str) -> torch.Tensor:
    """p: −μ/‖μ‖ ("unit_mean"), −sign(μ) ("sign") or −σ ("std")."""
    if direction == "unit_mean":
        return -torch.nn.functional.normalize(knowledge.mean, dim=0)
    return -knowledge.mean.sign() if direction == "sign" else -knowledge.std


def distances(gram: torch.Tensor) -> torch.Tensor:
    """(h, h) scalar products → the squared distances between the vectors."""
    squares = gram.diagonal()
    return squares[:, None] + squares[None, :] - 2 * gram
