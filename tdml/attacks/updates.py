"""Attacks that replace a node's update.

Notation: u is the node's own update; μ and σ are mean and standard deviation of the honest updates, per
coordinate; h and f count the honest and the attacking replicas, n = h + f.
"""

from statistics import NormalDist

import torch

from tdml.attacks.base import Attack, Context, Knowledge


class Gaussian(Attack):
    """μ + std · N(0, I).

    MANDERA's Gaussian attack (Zhu et al., arXiv 2110.11736), whose code has std = 30; the first attack of
    the TDML paper (arXiv 2407.07339).
    """

    omniscient = True

    def __init__(self, std: float) -> None:
        self.std = std

    def corrupt(self, update: torch.Tensor, context: Context) -> torch.Tensor:
        noise = torch.randn(update.shape, generator=context.generator)
        return _known(context).mean + self.std * noise


class ZeroGradient(Attack):
    """−(h/f) · μ, so that the sum over all replicas is zero and the model stands still.

    MANDERA's zero gradient attack (arXiv 2110.11736).
    """

    omniscient = True

    def corrupt(self, update: torch.Tensor, context: Context) -> torch.Tensor:
        known = _known(context)
        return -known.mean * (known.honest / known.attackers)


class MeanShift(Attack):
    """μ − z·σ: a shift that hides inside the honest spread.

    MANDERA's mean shift attack (arXiv 2110.11736). With z unset it is the largest that still hides, by "A
    Little Is Enough" (Baruch et al., arXiv 1902.06156, Algorithm 3): z = Φ⁻¹((n − f − s)/(n − f)) with
    s = ⌊n/2 + 1⌋ − f.
    """

    omniscient = True

    def __init__(self, z: float | None) -> None:
        self.z = z

    def corrupt(self, update: torch.Tensor, context: Context) -> torch.Tensor:
        known = _known(context)
        z = hiding_shift(known.honest, known.attackers) if self.z is None else self.z
        return known.mean - z * known.std


class SignFlip(Attack):
    """−scale · u: the node's own honest update, turned round (Li et al., RSA, arXiv 1811.03761)."""

    def __init__(self, scale: float) -> None:
        self.scale = scale

    def corrupt(self, update: torch.Tensor, context: Context) -> torch.Tensor:
        return -self.scale * update


def hiding_shift(honest: int, attackers: int) -> float:
    """ALIE's z. Where its formula leaves no room (a quantile of 0 or 1) the quantile is kept 1/(h+1) away from both."""
    supporters = (honest + attackers) // 2 + 1 - attackers
    quantile = (honest - supporters) / honest
    least = 1 / (honest + 1)
    return NormalDist().inv_cdf(min(max(quantile, least), 1 - least))


def _known(context: Context) -> Knowledge:
    assert context.knowledge is not None, "an omniscient attack is always told"
    return context.knowledge
