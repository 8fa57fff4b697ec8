"""What a step may leave: only what nodes can hand in."""

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from tdml.common.digest import digest
from tdml.errors import SettingError


def check_handed_in(
    weights: Mapping[str, torch.Tensor],
    frozen: Mapping[str, torch.Tensor],
    buffers: Mapping[str, torch.Tensor],
) -> None:
    """Whether what a step has changed, besides what it trains, can be part of an update.

    Args:
        weights: what it began with, by name.
        frozen: parameters after it.
        buffers: after it.

    Raises:
        SettingError: it cannot.
    """
    for name, tensor in frozen.items():
        if digest(tensor.detach()) != digest(weights[name]):
            raise SettingError(
                f"model: the parameter {name} is frozen, and training changes it all the same: "
                "nodes hand in no such changes, so make it a buffer (register_buffer)"
            )
    for name, tensor in buffers.items():
        start = weights[name]
        if not start.isfinite().all() and not torch.equal(tensor.cpu(), start):
            raise SettingError(
                f"model: the buffer {name} begins as inf or NaN, from which there is no "
                "difference to hand in: let it begin with numbers"
            )


def check_dense(blocks: Sequence[nn.Module]) -> None:
    """Raises SettingError where a gradient has a form that is not handed in."""
    for number, block in enumerate(blocks):
        for name, parameter in block.named_parameters():
            if parameter.grad is not None and parameter.grad.is_sparse:
                raise SettingError(
                    f"model: block {number}: the gradient of {name} is sparse: give sparse=False"
                )
