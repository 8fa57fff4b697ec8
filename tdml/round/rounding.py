"""What rounding can do to a step: it is taken again from numbers with noise that is as small as the
errors of rounding.

Machines of different kinds add up in different orders. Where a step depends on the sign of a number
that ought to be 0, as Adam's does for a bias in front of a batch norm, their results are far apart,
and both are right.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch

from tdml.node.lockstep import StepInputs
from tdml.settings.schema import Train


class Rounding:
    """Noise as large as the errors by which the training precision rounds numbers."""

    def __init__(self, train: Train, seed: int) -> None:
        dtype = torch.bfloat16 if train.precision == "bf16" else torch.float32
        self._unit = torch.finfo(dtype).eps
        self._generator = torch.Generator().manual_seed(seed)

    def noise(self, values: torch.Tensor) -> torch.Tensor:
        """The noise to add to some values: 0 for whole numbers, and for what is not finite, such as
        in a mask."""
        if not values.is_floating_point():
            return torch.zeros_like(values)
        normal = torch.randn(values.shape, generator=self._generator, dtype=torch.float32)
        errors = values * (self._unit * normal).to(values.dtype)
        return errors.where(values.isfinite(), 0)

    def inputs(self, given: StepInputs) -> StepInputs:
        """The inputs of a step, with noise on the samples if the stage reads any."""
        if given.inputs is None:
            return given
        return replace(given, inputs=given.inputs + self.noise(given.inputs))

    def messages(
        self, messages: Mapping[int, Sequence[torch.Tensor]]
    ) -> dict[int, list[torch.Tensor]]:
        """The messages that a step receives, with noise."""
        return {
            channel: [tensor + self.noise(tensor) for tensor in tensors]
            for channel, tensors in messages.items()
        }
