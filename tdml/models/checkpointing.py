"""Whether the blocks of a model may be computed twice in a step, as
`train.activation_checkpointing` asks for."""

from collections.abc import Sequence

import torch
from torch import nn

from tdml.common.digest import digest
from tdml.errors import SettingError
from tdml.models.borders import walk

_SETTING = "train.activation_checkpointing=true computes every block twice, and block"


def check_twice(blocks: Sequence[nn.Module], inputs: torch.Tensor) -> None:
    """
    Args:
        inputs: a micro-batch.

    Raises:
        SettingError: a block changes its buffers in a pass, or returns something else in a second
            one. Raises as `walk`, too.
    """
    number = iter(range(len(blocks)))

    def visit(block: nn.Module, given: torch.Tensor) -> torch.Tensor:
        place, state = next(number), torch.get_rng_state()
        before = _buffers(block)
        output = block(given.clone())
        kept = output.clone()
        if changed := [name for name, after in _buffers(block).items() if after != before[name]]:
            raise SettingError(f"{_SETTING} {place} changes {changed[0]} each time: set it false")
        torch.set_rng_state(state)
        if not torch.equal(block(given.clone()), kept):
            raise SettingError(
                f"{_SETTING} {place} returns something else the second time: let it draw from "
                "torch's generator alone, or set it false"
            )
        return kept

    with torch.no_grad():
        walk(blocks, inputs, visit)


def _buffers(block: nn.Module) -> dict[str, bytes]:
    return {name: digest(buffer.detach()) for name, buffer in block.named_buffers()}
