"""Attacks that replace a node's update by another, from statistics of the honest ones.

Notation: u is the node's own update; μ and σ are mean and standard deviation of the honest updates,
per coordinate; h and f count the honest and the attacking replicas, n = h + f; N(0, I) is drawn
anew by every attacker unless said otherwise.
"""

from collections.abc import Sequence
from statistics import NormalDist

import torch

from tdml.attacks.base import Attack, Context, Victim, known
from tdml.attacks.settings import number, whole
from tdml.errors import SettingError


class Gaussian(Attack):
    """μ + std · N(0, I).

    MANDERA's Gaussian attack (Zhu et al., arXiv 2110.11736), whose code has std = 30; the first
    attack of the TDML paper (arXiv 2407.07339).
    """

    omniscient = True

    def __init__(self, std: float) -> None:
        self.std = number("std", std, least=0)

    def corrupt(self, update: torch.Tensor, context: Context) -> torch.Tensor:
        noise = torch.randn(update.shape, generator=context.generator)
        return known(context).mean + self.std * noise


class ZeroGradient(Attack):
    """−(h/f) · μ, so that the sum over all replicas is zero and the model stands still.

    MANDERA's zero gradient attack (arXiv 2110.11736).
    """

    omniscient = True

    def corrupt(self, update: torch.Tensor, context: Context) -> torch.Tensor:
        knowledge = known(context)
        return -knowledge.mean * (knowledge.honest / knowledge.attackers)


class MeanShift(Attack):
    """μ − z·σ: a shift that hides inside the honest spread.

    "A Little Is Enough" (ALIE; Baruch et al., arXiv 1902.06156, Algorithm 3), and under another
    name MANDERA's mean shift attack (arXiv 2110.11736). With z unset it is ALIE's, the largest that
    still hides: z = Φ⁻¹((n − f − s)/(n − f)) with s = ⌊n/2 + 1⌋ − f.
    """

    omniscient = True

    def __init__(self, z: float | None) -> None:
        self.z = None if z is None else number("z", z)

    def corrupt(self, update: torch.Tensor, context: Context) -> torch.Tensor:
        knowledge = known(context)
        z = hiding_shift(knowledge.honest, knowledge.attackers) if self.z is None else self.z
        return knowledge.mean - z * knowledge.std


class InnerProduct(Attack):
    """−epsilon · μ + jitter · σ · N(0, I): the aggregate's scalar product with the true direction
    turns negative.

    Inner product manipulation (IPM; Xie et al., arXiv 1903.03936), with small epsilon against rules
    that select and large against rules that average. With epsilon = 3 it is MANDERA's sign flip
    attack (arXiv 2110.11736). The jitter, ours, keeps colluders from being told by their identical
    updates.
    """

    omniscient = True

    def __init__(self, epsilon: float, jitter: float) -> None:
        self.epsilon, self.jitter = (
            number("epsilon", epsilon, least=0),
            number("jitter", jitter, least=0),
        )

    def corrupt(self, update: torch.Tensor, context: Context) -> torch.Tensor:
        knowledge = known(context)
        noise = torch.randn(update.shape, generator=context.generator)
        return -self.epsilon * knowledge.mean + self.jitter * knowledge.std * noise


class HonestNoise(Attack):
    """−bias · σ · sign(μ) + σ · N(0, I): noise as large as the honest replicas differ, in place of
    any work.

    Ours: every coordinate lies in the honest spread, and without a bias nothing points anywhere.
    The bias pushes against the honest mean by a part of the spread, as ALIE's z does.
    """

    omniscient = True

    def __init__(self, bias: float) -> None:
        self.bias = number("bias", bias, least=0)

    def corrupt(self, update: torch.Tensor, context: Context) -> torch.Tensor:
        knowledge = known(context)
        noise = torch.randn(update.shape, generator=context.generator)
        return knowledge.std * (noise - self.bias * knowledge.mean.sign())


class SingleLayer(Attack):
    """μ + scale · σ · N(0, I) in one tensor of the shard, u in all others: little shows in the
    whole update.

    Ours: the Gaussian attack on a single layer. `layer` is the tensor's place in the shard, or the
    end of its name; unset, it is the largest. A shard without such a tensor stays honest.
    """

    omniscient = True

    def __init__(self, layer: int | str | None, scale: float) -> None:
        self.layer = layer if layer is None or isinstance(layer, str) else whole("layer", layer)
        self.scale = number("scale", scale, least=0)

    def check(self, victim: Victim) -> None:
        held = frozenset().union(*victim.held)
        if self.layer is not None and all(
            self._place(victim.names[stage]) is None for stage in held
        ):
            raise SettingError(
                f"attack.layer={self.layer}: no stage of an attacker has such a tensor"
            )

    def corrupt(self, update: torch.Tensor, context: Context) -> torch.Tensor:
        index = self._index(context)
        if index is None:
            return update
        knowledge, start = known(context), sum(context.sizes[:index])
        part = slice(start, start + context.sizes[index])
        noise = torch.randn(context.sizes[index], generator=context.generator)
        corrupted = update.clone()
        corrupted[part] = knowledge.mean[part] + self.scale * knowledge.std[part] * noise
        return corrupted

    def _index(self, context: Context) -> int | None:
        if self.layer is None:
            sizes = context.sizes
            return max(range(len(sizes)), key=sizes.__getitem__, default=None)
        return self._place(context.names)

    def _place(self, names: Sequence[str]) -> int | None:
        """That of `layer` among the tensors of a shard, if it is there."""
        if isinstance(self.layer, int):
            return self.layer if self.layer < len(names) else None
        return next((i for i, name in enumerate(names) if name.endswith(self.layer or "")), None)


class Mimic(Attack):
    """The update of one honest replica, copied by all attackers: it counts f + 1 times, others are
    drowned out.

    The mimic attack (Karimireddy, He and Jaggi, arXiv 2006.09365). They choose whom to copy by the
    direction in which honest workers differ most; here it is the honest replica at `target`,
    counted from 0 (the last where there are fewer), always the same one, which is what makes the
    bias add up over rounds.
    """

    omniscient = sees_updates = True

    def __init__(self, target: int) -> None:
        self.target = whole("target", target)

    def corrupt(self, update: torch.Tensor, context: Context) -> torch.Tensor:
        knowledge = known(context)
        assert knowledge.updates is not None
        honest = knowledge.honest
        return knowledge.updates[min(self.target, honest - 1)] if honest else update


class SignFlip(Attack):
    """−scale · u: the node's own honest update, turned round (Li et al., RSA, arXiv 1811.03761)."""

    def __init__(self, scale: float) -> None:
        self.scale = number("scale", scale)

    def corrupt(self, update: torch.Tensor, context: Context) -> torch.Tensor:
        return -self.scale * update


class Scaled(Attack):
    """scale · u: with scale = n the average becomes the attacker's own model, if the others have
    converged.

    Model replacement (Bagdasaryan et al., arXiv 1807.00459, Eq. 3, scale = n/η).
    """

    def __init__(self, scale: float) -> None:
        self.scale = number("scale", scale)

    def corrupt(self, update: torch.Tensor, context: Context) -> torch.Tensor:
        return self.scale * update


class BufferPoison(Attack):
    """u + scale · |u| in the buffers, u in the parameters: BatchNorm's running statistics drift
    upwards.

    Ours. Training never reads the running statistics, so only evaluation shows it; a running
    variance stays positive. A shard without buffers has nothing to poison.
    """

    def __init__(self, scale: float) -> None:
        self.scale = number("scale", scale, least=0)

    def check(self, victim: Victim) -> None:
        if not victim.buffered & frozenset().union(*victim.held):
            raise SettingError(
                "attack=buffer_poison: no stage of an attacker has buffers to poison: take a model "
                "with BatchNorm, such as model=cnn, or another attack"
            )

    def corrupt(self, update: torch.Tensor, context: Context) -> torch.Tensor:
        corrupted = update.clone()
        corrupted[context.parameters :] += self.scale * update[context.parameters :].abs()
        return corrupted


def hiding_shift(honest: int, attackers: int) -> float:
    """ALIE's z. Where its formula leaves no room (a quantile of 0 or 1) the quantile is kept
    1/(h+1) away from both."""
    supporters = (honest + attackers) // 2 + 1 - attackers
    quantile = (honest - supporters) / honest
    least = 1 / (honest + 1)
    return NormalDist().inv_cdf(min(max(quantile, least), 1 - least))
