"""What rounding can do to a step, found by taking it from numbers that are changed by as little.

Machines of different kinds add up in different orders. Where a step is told by the sign of what
ought to be 0, as Adam's is for a bias in front of a batch norm, they are far apart, and both are
right.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch

from tdml.node.lockstep import StepInputs
from tdml.settings.schema import Train


class Rounding:
    """Changes of numbers by as much as the training precision rounds them."""

    def __init__(self, train: Train, seed: int) -> None:
        dtype = torch.bfloat16 if train.precision == "bf16" else torch.float32
        self._unit = torch.finfo(dtype).eps
        self._generator = torch.Generator().manual_seed(seed)

    def of(self, values: torch.Tensor) -> torch.Tensor:
        """By how much some values are changed; whole numbers are not, nor what is not finite, such
        as in a mask."""
        if not values.is_floating_point():
            return torch.zeros_like(values)
        noise = torch.randn(values.shape, generator=self._generator, dtype=torch.float32)
        changes = values * (self._unit * noise).to(values.dtype)
        return changes.where(values.isfinite(), 0)

    def inputs(self, given: StepInputs) -> StepInputs:
        """The samples of a step, changed where the stage reads any."""
        if given.inputs is None:
            return given
        return replace(given, inputs=given.inputs + self.of(given.inputs))

    def messages(
        self, messages: Mapping[int, Sequence[torch.Tensor]]
    ) -> dict[int, list[torch.Tensor]]:
        """What a step receives, changed."""
        return {
            channel: [tensor + self.of(tensor) for tensor in tensors]
            for channel, tensors in messages.items()
        }
