"""The inner optimizer, which starts fresh in every round."""

from collections.abc import Iterable

import torch

from tdml.config import Train


def inner_optimizer(settings: Train, parameters: Iterable[torch.nn.Parameter]) -> torch.optim.Optimizer | None:
    """SGD, Adam or AdamW over one node's parameters; None where a stage has none."""
    parameters = list(parameters)
    if not parameters:
        return None
    common = {"lr": settings.lr, "weight_decay": settings.weight_decay}
    if settings.optimizer == "sgd":
        return torch.optim.SGD(parameters, momentum=settings.momentum, **common)
    return {"adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[settings.optimizer](parameters, **common)
