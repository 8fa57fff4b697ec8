"""One forward pass before anything starts, through the model as the nodes will hold it.

The meta device, on which a model is planned, computes no number. It overlooks types that do not go together, tensors
that are neither parameters nor buffers and so stay behind, and what a model does only to real values.
"""

import torch
from torch import nn
from torch.autograd.graph import saved_tensors_hooks

from tdml.errors import SettingError, one_line
from tdml.models import whole
from tdml.models.plan import Plan
from tdml.models.split import Part, build


def rehearse(settings: dict, plan: Plan, model: nn.Module, inputs: torch.Tensor) -> None:
    """Pass a micro-batch of inputs through all parts on the CPU, each made as the node at its stage makes it.

    Args:
        settings: of the group `model`.
        model: the un-split model with its initial weights, which stay as they are.

    Raises:
        SettingError: a block fails, or the model's output is not finite.
    """
    weights, number, value = whole.tensors_of(model), 0, inputs
    meta = build(settings, "meta")
    nothing_is_kept = saved_tensors_hooks(lambda tensor: None, lambda nothing: nothing)  # nobody goes backwards
    with torch.random.fork_rng(devices=[]), nothing_is_kept:
        for part in plan.cut(meta, range(plan.parts)):
            part.materialise(torch.device("cpu"))
            _load(part, weights)
            value = value.detach().requires_grad_(number > 0)  # as it comes from another stage
            for block in part.module:
                value = _pass(block, number, value)
                number += 1
            if number in plan.cuts and not value.requires_grad:
                raise SettingError(
                    f"topology.cuts={list(plan.cuts)}: nothing before block {number} can be trained, so no gradients "
                    "cross that cut: cut behind a block that can be trained, or take one stage less"
                )
    if not value.isfinite().all():
        raise SettingError("model: what it returns for the first training samples is not finite (see model and data)")


@torch.no_grad()
def _load(part: Part, weights: dict[str, torch.Tensor]) -> None:
    names = part.parameters | part.buffers
    for name, tensor in zip(names, part.tensors(names), strict=True):
        tensor.copy_(weights[name])


def _pass(block: nn.Module, number: int, value: torch.Tensor) -> torch.Tensor:
    try:
        return block(value)
    except Exception as error:
        text = one_line(error)
        hint = ": what a model holds must be its parameters or buffers (register_buffer)" if "meta" in text else ""
        raise SettingError(f"model: block {number} fails on the first training samples: {text}{hint}") from error
