"""The coordinator's copy of the model: real weights, and the flat vectors that the stages see."""

from collections.abc import Mapping, Sequence

import torch
from torch import nn
from torch.nn.utils import parametrize

from tdml.common.seeds import derive, seeded
from tdml.errors import SettingError
from tdml.models.layout import Layout
from tdml.models.split import build, tensors_in


def initial_model(settings: dict, seed: int) -> nn.Module:
    """The un-split model on the CPU, initialised from the job's seed. Raises as `build`."""
    return _build(settings, seed, "cpu")


def outline(settings: dict, seed: int) -> nn.Module:
    """The un-split model for its form alone; what its tensors hold is not to be looked at. Raises
    as `build`.

    They take no memory where the constructor never looks at values: else it runs as for the initial
    model. So it does where torch looks, and takes it that it need not: an orthogonal
    parametrization has no `base` then.
    """
    try:
        model = _build(settings, seed, "meta")
    except SettingError:
        return initial_model(settings, seed)
    looks = any(map(parametrize.is_parametrized, model.modules()))
    return initial_model(settings, seed) if looks else model


def _build(settings: dict, seed: int, device: str) -> nn.Module:
    # everywhere, for a constructor may draw the model's form
    with seeded(derive(seed, "initial weights")):
        return build(settings, device)


def flatten(model: nn.Module, layouts: Sequence[Layout]) -> list[torch.Tensor]:
    """The model's weights, one flat float32 vector per stage."""
    tensors = tensors_of(model)
    return [layout.flatten([tensors[name] for name in layout.names]) for layout in layouts]


def write(model: nn.Module, layouts: Sequence[Layout], flats: Sequence[torch.Tensor]) -> None:
    """Put the stages' flat vectors into the model."""
    tensors = tensors_of(model)
    for layout, flat in zip(layouts, flats, strict=True):
        layout.scatter(flat, [tensors[name] for name in layout.names])


def agree(layouts: Sequence[Layout], flats: Sequence[torch.Tensor]) -> None:
    """Let the copies of a buffer that several parts use be what the first of them holds, in
    place."""
    first: dict[str, torch.Tensor] = {}
    for layout, flat in zip(layouts, flats, strict=True):
        for name, view in zip(layout.names, layout.views(flat), strict=True):
            if (kept := first.setdefault(name, view)) is not view:
                view.copy_(kept)


def restore(model: nn.Module, saved: Mapping[str, torch.Tensor]) -> None:
    """Put back what `tensors_of` gave."""
    with torch.no_grad():
        for name, tensor in tensors_of(model).items():
            tensor.copy_(saved[name])


def tensors_of(model: nn.Module) -> dict[str, torch.Tensor]:
    """All parameters and buffers by name, with the buffers that a state dict leaves out."""
    return dict(tensors_in(model))
