"""What a pass leaves, as digests by place."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from tdml.common.digest import digest


@dataclass(frozen=True)
class Place:
    """Where in the model something was seen: in which block, and in words what."""

    block: int
    what: str


# in the order in which one thing follows from another
Footprint = dict[Place, bytes]


def of_outputs(values: Iterable[torch.Tensor]) -> Footprint:
    """What each block returns."""
    return {Place(number, "output"): digest(v.detach()) for number, v in enumerate(values)}


def of_gradients(blocks: Sequence[nn.Module]) -> Footprint:
    """The gradients, from the last block to the first."""
    return _of_parameters(blocks, "gradient", lambda parameter: parameter.grad)


def of_next_values(blocks: Sequence[nn.Module]) -> Footprint:
    """What follows: parameters from the last block to the first, and buffers."""
    parameters = _of_parameters(blocks, "next value", lambda parameter: parameter)
    buffers = {
        Place(number, f"next value of {name}"): digest(buffer.detach())
        for number, block in enumerate(blocks)
        for name, buffer in block.named_buffers()
    }
    return parameters | buffers


def first_difference(one: Footprint, other: Footprint) -> Place | None:
    """The first place where two passes differ."""
    return next((place for place, value in one.items() if other.get(place) != value), None)


def _of_parameters(
    blocks: Sequence[nn.Module], what: str, get: Callable[[nn.Parameter], torch.Tensor | None]
) -> Footprint:
    return {
        Place(number, f"{what} of {name}"): b"" if value is None else digest(value.detach())
        for number, block in reversed(list(enumerate(blocks)))
        for name, parameter in block.named_parameters()
        for value in (get(parameter),)
    }
