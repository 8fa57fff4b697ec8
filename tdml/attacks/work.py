"""Attacks on the work: free riders, who want to be paid for steps that they have not taken.

Notation: u is the node's own update; noise · rms(v) · N(0, I) is added to the parameters of a copy
v where `noise` is set, so that it is no exact copy; buffers, such as counters, are copied as they
are.
"""

import torch

from tdml.attacks.base import Attack, Context, Victim
from tdml.attacks.settings import number
from tdml.errors import SettingError


class ZeroUpdate(Attack):
    """Zero: the global weights, handed back as they came.

    The plain free rider (Fraboni, Vidal and Lorenzi, arXiv 2006.11901).
    """

    def corrupt(self, update: torch.Tensor, context: Context) -> torch.Tensor:
        return torch.zeros_like(update)


class Replay(Attack):
    """What the node handed in the round before, again and again. With nothing before it, the update
    is honest.

    Ours. It is old work on other batches, and points where real work pointed.
    """

    def __init__(self, noise: float) -> None:
        self.noise = number("noise", noise, least=0)

    def corrupt(self, update: torch.Tensor, context: Context) -> torch.Tensor:
        return _disguised(context.past[-1], self.noise, context) if context.past else update


class CopyAggregate(Attack):
    """The last change of the global weights; zero in the first round, before there was any.

    The delta weights attack, with noise the advanced one (Lin, Du and Liu, arXiv 1911.12560).
    """

    def __init__(self, noise: float) -> None:
        self.noise = number("noise", noise, least=0)

    def corrupt(self, update: torch.Tensor, context: Context) -> torch.Tensor:
        if context.aggregate is None:
            return torch.zeros_like(update)
        return _disguised(context.aggregate, self.noise, context)


class HalfWork(Attack):
    """u / share after that share of the steps: half of the work, and an update of full size.

    Ours. At least one step is taken. Only a replica whose nodes all attack can leave steps out.
    """

    def __init__(self, share: float) -> None:
        self.share = number("share", share, least=0, most=1)

    def check(self, victim: Victim) -> None:
        if not victim.has_together(*range(victim.last + 1)):
            raise SettingError(
                "attack.nodes: only a replica whose nodes all attack can leave steps out: name it "
                "in attack.replicas"
            )

    def local_steps(self, steps: int, context: Context) -> int:
        return round(self.share * steps)

    def corrupt(self, update: torch.Tensor, context: Context) -> torch.Tensor:
        return update / context.work


def _disguised(copy: torch.Tensor, noise: float, context: Context) -> torch.Tensor:
    disguised = copy.clone()
    if noise and context.parameters:
        parameters = disguised[: context.parameters]
        size = parameters.square().mean().sqrt()
        parameters += noise * size * torch.randn(parameters.shape, generator=context.generator)
    return disguised
