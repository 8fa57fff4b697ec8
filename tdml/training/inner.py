"""The inner optimizer, which starts fresh in every round, and the size of what it keeps."""

from collections.abc import Iterable
from math import prod

import torch

from tdml.config import Train
from tdml.models.layout import Layout

_ADAM = ("step", "exp_avg", "exp_avg_sq")


def inner_optimizer(settings: Train, parameters: Iterable[torch.nn.Parameter]) -> torch.optim.Optimizer | None:
    """SGD, Adam or AdamW over one node's parameters; None where a stage has none."""
    parameters = list(parameters)
    if not parameters:
        return None
    common = {"lr": settings.lr, "weight_decay": settings.weight_decay}
    if settings.optimizer == "sgd":
        return torch.optim.SGD(parameters, momentum=settings.momentum, **common)
    return {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[settings.optimizer](parameters, **common)


def slot_names(settings: Train) -> tuple[str, ...]:
    """What the inner optimizer keeps of each parameter, by torch's names."""
    if settings.optimizer == "sgd":
        return ("momentum_buffer",) if settings.momentum else ()
    return _ADAM


def state_size(layout: Layout, settings: Train) -> int:
    """Numbers in a node's training state."""
    names = slot_names(settings)
    counters = layout.parameter_tensors if "step" in names else 0
    return layout.size + sum(name != "step" for name in names) * layout.parameters + counters


def sections(vector: torch.Tensor, layout: Layout, settings: Train) -> list[torch.Tensor]:
    """A training state, or an update, in pieces that are each of one kind: all parameters, every buffer, and what the
    optimizer keeps of all parameters under one name. Beside a counter of steps all else would seem small."""
    sizes = [prod(shape) for shape in layout.shapes]
    first = layout.parameter_tensors
    weights = vector[: layout.size].split([layout.parameters, *sizes[first:]])
    if len(vector) == layout.size:
        return list(weights)
    names = slot_names(settings)
    kept = vector[layout.size :].split([1 if name == "step" else size for size in sizes[:first] for name in names])
    return [*weights, *(torch.cat(kept[i :: len(names)]) for i in range(len(names)))]
