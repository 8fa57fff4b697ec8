"""The coordinator's copy of the model: real weights, and the flat vectors that the stages see."""

from collections.abc import Sequence

import torch
from torch import nn

from tdml.models.layout import Layout
from tdml.models.split import build
from tdml.seeds import derive, seeded


def initial_model(settings: dict, seed: int) -> nn.Module:
    """The un-split model on the CPU, initialised from the job's seed."""
    with seeded(derive(seed, "initial weights")):
        return build(settings, "cpu")


def flatten(model: nn.Module, layouts: Sequence[Layout]) -> list[torch.Tensor]:
    """The model's weights, one flat float32 vector per stage."""
    tensors = tensors_of(model)
    return [layout.flatten([tensors[name] for name in layout.names]) for layout in layouts]


def write(model: nn.Module, layouts: Sequence[Layout], flats: Sequence[torch.Tensor]) -> None:
    """Put the stages' flat vectors into the model."""
    tensors = tensors_of(model)
    for layout, flat in zip(layouts, flats, strict=True):
        layout.scatter(flat, [tensors[name] for name in layout.names])


def restore(model: nn.Module, saved: dict[str, torch.Tensor]) -> None:
    """Put back what `tensors_of` gave."""
    with torch.no_grad():
        for name, tensor in tensors_of(model).items():
            tensor.copy_(saved[name])


def tensors_of(model: nn.Module) -> dict[str, torch.Tensor]:
    """All parameters and buffers by name, with the buffers that a state dict leaves out."""
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}
