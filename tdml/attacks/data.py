"""Attacks on the data that a replica is trained on; the training itself is honest.

Inputs are at the first stage of a pipeline and labels at the last, so the attacking nodes must be
there.
"""

import math

import torch

from tdml.attacks.base import Attack, Context, Victim
from tdml.attacks.settings import number, whole
from tdml.errors import SettingError


class LabelFlip(Attack):
    """Label y becomes num_classes − 1 − y (Tolpegin et al., arXiv 2007.08432; Fang et al., arXiv
    1911.11815)."""

    def __init__(self, num_classes: int) -> None:
        self.num_classes = whole("num_classes", num_classes, least=2)

    def check(self, victim: Victim) -> None:
        labels, outputs = victim.labels, victim.outputs
        if labels is None or not labels <= self.num_classes <= outputs:
            has = "has no classes" if labels is None else f"has {labels} classes"
            raise SettingError(
                f"attack.num_classes={self.num_classes}: the data {has}, and the model {outputs} "
                "outputs"
            )
        if not victim.has_together(victim.last):
            raise SettingError(
                "attack.nodes: labels are at the last stage: name a node there, such as "
                f"r0.s{victim.last}"
            )

    def poison_labels(self, labels: torch.Tensor, context: Context) -> torch.Tensor:
        return self.num_classes - 1 - labels


class Backdoor(Attack):
    """A patch in the corner, and the label `target` with it: the model learns that the patch means
    the target.

    BadNets (Gu et al., arXiv 1708.06733), one target for all classes. Of every batch the first
    ⌈share · batch⌉ samples are poisoned, which the first and the last stage know without a word; a
    share of 20/64 is that of Bagdasaryan et al. (arXiv 1807.00459). `value` is in the units of the
    normalised inputs.
    """

    def __init__(self, target: int, share: float, size: int, value: float) -> None:
        self.target, self.share = whole("target", target), number("share", share, least=0, most=1)
        self.size, self.value = whole("size", size, least=1), number("value", value)

    def check(self, victim: Victim) -> None:
        if victim.labels is None or self.target >= victim.outputs:
            has = "no classes" if victim.labels is None else f"{victim.outputs} classes"
            raise SettingError(f"attack.target={self.target}: the model tells {has} apart")
        shape = tuple(victim.inputs.shape[1:])
        if len(shape) < 2 or min(shape[-2:]) < self.size:
            raise SettingError(
                f"attack.size={self.size}: a sample is {shape}, which is no image with room for "
                "the patch"
            )
        if not victim.has_together(0, victim.last):
            raise SettingError(
                "attack.nodes: images are at the first stage and labels at the last: name both "
                f"nodes of a replica, such as r0.s0 and r0.s{victim.last}"
            )

    def poison_inputs(self, inputs: torch.Tensor, context: Context) -> torch.Tensor:
        count = self._poisoned(inputs)
        return torch.cat([self.stamp(inputs[:count]), inputs[count:]])

    def poison_labels(self, labels: torch.Tensor, context: Context) -> torch.Tensor:
        poisoned = labels.clone()
        poisoned[: self._poisoned(labels)] = self.target
        return poisoned

    def stamp(self, inputs: torch.Tensor) -> torch.Tensor:
        """Images (…, height, width) with the patch, `size` pixels square, in the lower right corner
        of each."""
        stamped = inputs.clone()
        stamped[..., -self.size :, -self.size :] = self.value
        return stamped

    def _poisoned(self, batch: torch.Tensor) -> int:
        return math.ceil(self.share * len(batch))
