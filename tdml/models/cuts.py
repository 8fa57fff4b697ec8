"""Where a model can be cut, whatever the other cuts are, and why it cannot be elsewhere."""

from collections.abc import Mapping, Sequence

import torch
from torch import nn

from tdml.errors import SettingError
from tdml.models.borders import changed_buffers, trace_gradients
from tdml.models.split import Border, blocks_of, has_blocks, tensors_in, tied

Obstacles = Mapping[int, str]  # why no cut can lie before some of the blocks
_SHOWN = 10  # places


def find_obstacles(model: nn.Module, borders: Sequence[Border], inputs: torch.Tensor) -> Obstacles:
    """Before which blocks no cut can lie.

    Args:
        model: with its weights, which stay as they are.
        borders: of its blocks, for the micro-batch `inputs`.
    """
    blocks = blocks_of(model)
    crossed = trace_gradients(blocks, inputs)
    obstacles = {}
    for place in range(1, len(blocks)):
        if not borders[place].dtype.is_floating_point:
            obstacles[place] = (
                f"block {place - 1} returns {borders[place].dtype}, which has no gradients"
            )
        elif not crossed[place]:
            obstacles[place] = (
                f"nothing before block {place} can be trained, so no gradients cross that cut"
            )
    for name, places in _shared(model, blocks, inputs).items():
        obstacles |= dict.fromkeys(places, f"{name} is used on both sides of a cut")
    return obstacles


def check_has_blocks(model: nn.Module) -> None:
    """Raises SettingError: the model does not say where it may be cut."""
    if not has_blocks(model):
        named = " (its `blocks` is no method)" if hasattr(model, "blocks") else ""
        raise SettingError(
            f"model: {type(model).__name__} is no nn.Sequential and has no method blocks() that "
            f"lists its parts{named}: add one, for without it cannot be cut, or set "
            "topology.stages=1"
        )


def check_parts(parts: int, blocks: int, obstacles: Obstacles) -> None:
    """Raises SettingError: the model cannot be cut into so many parts."""
    most = blocks - len(obstacles)
    if parts > most:
        why = "".join(
            f", and before block {place} it cannot be cut, for {reason}"
            for place, reason in sorted(obstacles.items())[:1]
        )
        raise SettingError(
            f"topology.stages asks for {parts} parts (stages × chunks), but the model can be cut "
            f"into {most} at most: it has {blocks} blocks{why}. Lower topology.stages, or take a "
            "deeper model"
        )


def check_cuts(cuts: Sequence[int], blocks: int, obstacles: Obstacles) -> None:
    """Raises SettingError: a cut lies beyond the model's last block, or where none can."""
    places = [place for place in range(1, blocks) if place not in obstacles]
    for cut in cuts:
        if cut not in places:
            why = obstacles.get(cut, f"the model has {blocks} blocks")
            more = ", …" if len(places) > _SHOWN else ""
            raise SettingError(
                f"topology.cuts={list(cuts)}: {why}: cuts can be "
                f"{', '.join(map(str, places[:_SHOWN])) or 'nowhere'}{more}"
            )


def _shared(
    model: nn.Module, blocks: Sequence[nn.Module], inputs: torch.Tensor
) -> dict[str, range]:
    """Tensors that several blocks use, and the cuts that would part these. Every part can have a
    copy of a buffer or a parameter that stays as it is, and the last part borrows what it shares
    with the first."""
    names = {id(tensor): name for name, tensor in reversed(list(tensors_in(model)))}
    users: dict[int, list[int]] = {}
    for number, block in enumerate(blocks):
        for _, tensor in tensors_in(block):
            users.setdefault(id(tensor), []).append(number)
    shared = {key: numbers for key, numbers in users.items() if len(numbers) > 1}
    buffers = {id(buffer) for buffer in model.buffers()} & shared.keys()
    constant = buffers - changed_buffers(blocks, inputs) if buffers else set()
    constant |= {id(parameter) for parameter in model.parameters() if not parameter.requires_grad}
    apart = constant | tied(blocks)
    return {
        names[key]: range(numbers[0] + 1, numbers[-1] + 1)
        for key, numbers in shared.items()
        if key not in apart
    }
