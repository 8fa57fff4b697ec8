"""A model cut into parts, of which a node materialises only its own.

The whole model is built on the meta device, where tensors have shapes but no memory. A part is a run of
consecutive blocks; `Part.names` maps its tensors to their names in the un-split model.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from hydra.utils import instantiate
from torch import nn
from torch.nn.parameter import is_lazy

from tdml.data.sample import advice
from tdml.errors import SettingError, cause, one_line
from tdml.vision import mend_torchvision


@dataclass(frozen=True)
class Border:
    """What crosses between two blocks for one micro-batch."""

    shape: torch.Size
    dtype: torch.dtype

    def example(self, device: torch.device | str, requires_grad: bool) -> torch.Tensor:
        """A tensor of this shape, for the pipeline's static buffers."""
        return torch.zeros(self.shape, dtype=self.dtype, device=device).requires_grad_(requires_grad)


def build(settings: dict, device: str) -> nn.Module:
    """The un-split model on `device` ("meta" for shapes alone).

    Raises:
        SettingError: the `_target_` cannot be found or does not accept the settings.
    """
    mend_torchvision()
    try:
        with torch.device(device):
            model = instantiate(settings)
    except Exception as error:
        raise SettingError(f"model={settings['_target_']} cannot be built: {cause(error, 'model')}") from error
    if not isinstance(model, nn.Sequential) and not (isinstance(model, nn.Module) and hasattr(model, "blocks")):
        raise SettingError(
            f"model._target_={settings['_target_']} returned {type(model).__name__}: it must return an "
            "nn.Sequential of blocks or a module with a method blocks()"
        )
    _check_tensors(model)
    return model


def _check_tensors(model: nn.Module) -> None:
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if is_lazy(tensor):
            raise SettingError(f"model: {name} gets its shape from the first batch: give its layer the sizes instead")
        if tensor.is_complex():
            raise SettingError(
                f"model: {name} holds complex numbers, and only real ones are exchanged: keep its real and imaginary "
                "parts (torch.view_as_real)"
            )


def blocks_of(model: nn.Module) -> list[nn.Module]:
    """The blocks of a model, first to last: the places where it may be cut.

    Raises:
        SettingError: `blocks()` fails, or lists something else than modules.
    """
    if isinstance(model, nn.Sequential):
        return list(model)
    try:
        blocks = list(model.blocks())
    except Exception as error:
        raise SettingError(f"model: blocks() fails: {one_line(error)}") from error
    if not all(isinstance(block, nn.Module) for block in blocks):
        raise SettingError("model: blocks() must list modules: wrap whatever else the model does in a module")
    return blocks


def trace_borders(blocks: Sequence[nn.Module], sample: Border, device: str = "meta") -> list[Border]:
    """The input of each block and the output of the last, from one forward pass.

    `blocks` lie on `device`; `sample` is a micro-batch of inputs. Returns len(blocks) + 1 borders.

    Raises:
        SettingError: a block rejects its input, or returns something other than one floating-point tensor.
    """
    value, borders = sample.example(device, requires_grad=False), [sample]
    for index, block in enumerate(blocks):
        try:
            value = block(value)
        except Exception as error:
            raise SettingError(
                f"model: block {index} does not take a micro-batch of {tuple(borders[-1].shape)}: {one_line(error)} "
                f"(see model, data, train.batch_size and topology.microbatches){advice(borders[-1].dtype)}"
            ) from error
        if not isinstance(value, torch.Tensor) or not value.is_floating_point():
            raise SettingError(f"model: block {index} must return one floating-point tensor to be a place for a cut")
        borders.append(Border(value.shape, value.dtype))
    return borders


def check_cuts(cuts: Sequence[int], blocks: int) -> None:
    """Raises:
    SettingError: a cut lies beyond the model's last block.
    """
    if cuts and cuts[-1] >= blocks:
        raise SettingError(
            f"topology.cuts={list(cuts)}: the model has {blocks} blocks, so no cut may exceed {blocks - 1}"
        )


class Part:
    """The blocks [start, stop) of a model and the names of their tensors in the un-split model."""

    def __init__(self, model: nn.Module, start: int, stop: int) -> None:
        """`model` lies on the meta device and stays there; `materialise` gives this part memory."""
        self.module = nn.Sequential(*blocks_of(model)[start:stop])
        self.parameters = _names(model.named_parameters, self.module.named_parameters)
        self.buffers = _names(model.named_buffers, self.module.named_buffers)

    def materialise(self, device: torch.device) -> None:
        """Give the part's tensors memory, uninitialised: their values come from the coordinator."""
        first: dict[int, str] = {}
        named = (
            *self.module.named_parameters(remove_duplicate=False),
            *self.module.named_buffers(remove_duplicate=False),
        )
        ties = [(name, first.setdefault(id(tensor), name)) for name, tensor in named]
        self.module.to_empty(device=device)  # where layers share a tensor, it makes one for each of them
        for name, kept in ties:
            owner, _, attribute = name.rpartition(".")
            setattr(self.module.get_submodule(owner), attribute, _get(self.module, kept))

    def tensors(self, names: dict[str, str]) -> list[torch.Tensor]:
        """The tensors of `parameters` or `buffers`, in their order."""
        return [_get(self.module, local) for local in names.values()]


def _names(whole: Callable, part: Callable) -> dict[str, str]:
    """Name in the un-split model → name in the part, found by the identity of the tensors."""
    full = {id(tensor): name for name, tensor in reversed(list(whole()))}
    return {full[id(tensor)]: local for local, tensor in part()}


def _get(module: nn.Module, name: str) -> torch.Tensor:
    owner, _, attribute = name.rpartition(".")
    return getattr(module.get_submodule(owner), attribute)


def check_no_sharing(model: nn.Module, parts: Sequence[Part]) -> None:
    """Raises:
    SettingError: a tensor is used by two parts, or by none.
    """
    owned = [name for part in parts for name in (*part.parameters, *part.buffers)]
    shared = {name for name in owned if owned.count(name) > 1} if len(owned) != len(set(owned)) else set()
    if shared:
        raise SettingError(f"topology.cuts: {', '.join(sorted(shared))} is used on both sides of a cut: cut elsewhere")
    everything = {name for name, _ in (*model.named_parameters(), *model.named_buffers())}
    if missing := everything - set(owned):
        raise SettingError(
            f"model: blocks() leaves out {', '.join(sorted(missing)[:3])}: every tensor must be in a block"
        )
