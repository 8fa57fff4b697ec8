"""An attacker that knows the defence and stays just below its threshold."""

from collections.abc import Callable

import torch

from tdml.attacks.base import Attack, Context, known
from tdml.trust.screen import screen

_MOST = 64.0  # strengths are tried up to here
_HALVINGS = 12


class Adaptive(Attack):
    """(1 − γ) · μ + σ · N(0, I), with the largest γ at which the screen suspects none of the
    attackers.

    Ours, in the spirit of the attacks that know the aggregation rule (Fang et al., arXiv
    1911.11815; Shejwalkar and Houmansadr, NDSS 2021). At γ = 0 it is a draw from among the honest
    updates, μ and σ being their mean and standard deviation; from γ = 1 on it points against them.
    The attackers screen the honest updates of their stage together with their own,
    `tdml.trust.screen` as it stands, double γ until it suspects one of them and halve the interval
    from there. What they draw is drawn in common, so all of them find the same γ.
    """

    omniscient = sees_updates = True

    def corrupt(self, update: torch.Tensor, context: Context) -> torch.Tensor:
        knowledge = known(context)
        together = sorted(context.friends | {context.replica})
        noise = knowledge.std * torch.randn(len(together), len(update), generator=context.shared)
        mine = noise[together.index(context.replica)]
        seen = slice(context.parameters)  # by the screen
        assert knowledge.updates is not None
        return (
            mine
            + (1 - self.strength(knowledge.updates[:, seen], knowledge.mean[seen], noise[:, seen]))
            * knowledge.mean
        )

    def strength(self, honest: torch.Tensor, mean: torch.Tensor, noise: torch.Tensor) -> float:
        """The largest γ that passes for all attackers, whose noise is (attackers, d)."""

        def passes(gamma: float) -> bool:
            suspects = screen(torch.cat([honest, noise + (1 - gamma) * mean])).suspects
            return all(suspect < len(honest) for suspect in suspects)

        return largest(passes)


def largest(passes: Callable[[float], bool]) -> float:
    """The largest strength up to 64 that passes, by doubling and halving; 0 if none does."""
    low, high = 0.0, 1.0
    while passes(high):
        low, high = high, 2 * high
        if low >= _MOST:
            return low
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if passes(middle) else (low, middle)
    return low
