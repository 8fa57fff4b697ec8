"""What a step changes besides what the optimizer does, which must be part of an update."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from tdml.common.digest import digest
from tdml.errors import SettingError


@dataclass(frozen=True)
class Untrained:
    """By name: the buffers that hold what is no finite number, such as a mask, and digests of the
    parameters that are frozen."""

    odd: Mapping[str, torch.Tensor]
    frozen: Mapping[str, bytes]

    @staticmethod
    def of(blocks: Sequence[nn.Module]) -> "Untrained":
        """Before a step."""
        odd = {n: value.clone() for n, value in _buffers(blocks) if not value.isfinite().all()}
        return Untrained(odd, _frozen(blocks))

    def check(self, blocks: Sequence[nn.Module]) -> None:
        """After it.

        Raises:
            SettingError: something has changed that no node hands in, or could.
        """
        for name, known in _frozen(blocks).items():
            if known != self.frozen.get(name):
                raise SettingError(
                    f"model: the parameter {name} is frozen, and training changes it all the same: "
                    "nodes hand in no such changes, so make it a buffer (register_buffer)"
                )
        now = dict(_buffers(blocks))
        for name, value in self.odd.items():
            if value.isnan().any() or not torch.equal(value, now[name]):
                raise SettingError(
                    f"model: the buffer {name} begins as inf or NaN, from which there is no "
                    "difference to hand in: let it begin with numbers"
                )


def _buffers(blocks: Sequence[nn.Module]) -> list[tuple[str, torch.Tensor]]:
    return [
        (f"{name} of block {number}", buffer)
        for number, block in enumerate(blocks)
        for name, buffer in block.named_buffers()
    ]


def _frozen(blocks: Sequence[nn.Module]) -> dict[str, bytes]:
    return {
        f"{name} of block {number}": digest(parameter.detach())
        for number, block in enumerate(blocks)
        for name, parameter in block.named_parameters()
        if not parameter.requires_grad
    }
