"""A model cut into parts, of which a node materialises only its own.

A part is a run of consecutive blocks; `Part.parameters`, `Part.buffers` and `Part.frozen`, the
parameters that are not trained, map the names of its tensors in the un-split model to those in the
part. A buffer, or a frozen parameter, that several parts use is in each of them. A trained
parameter of the first block may be the last block's too: it is the first part's own, of which
`Part.lent` tells, and `Part.borrowed` in the last.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeGuard

import torch
from torch import nn

from tdml.errors import SettingError, refusing
from tdml.models.tensors import bring_into_form
from tdml.settings.targets import instantiate, made

_CONTAINERS = (nn.ModuleList, nn.ModuleDict, nn.ParameterList, nn.ParameterDict)  # compute nothing


@dataclass(frozen=True)
class Border:
    """What crosses between two blocks for one micro-batch."""

    shape: torch.Size
    dtype: torch.dtype

    def example(self, requires_grad: bool) -> torch.Tensor:
        """A tensor of this shape without values, for the pipeline's static buffers."""
        example = torch.empty(self.shape, dtype=self.dtype, device="meta")
        return example.requires_grad_(requires_grad)


def build(settings: dict, device: str) -> nn.Module:
    """The un-split model on `device` ("meta" for shapes alone, as far as its constructor lets
    itself be led there).

    Raises:
        SettingError: the `_target_` cannot be found or does not accept the settings, or makes
            something that nodes cannot hold.
    """
    with torch.device(device):
        model = made("model", settings["_target_"], instantiate, settings)
    if not isinstance(model, nn.Module) or isinstance(model, _CONTAINERS):
        raise SettingError(
            f"model._target_={settings['_target_']} returned {type(model).__name__}: it must "
            "return an nn.Sequential of blocks or a module with a method blocks()"
        )
    with refusing("model: its train() fails"):
        model.train()  # one of its own may freeze what it does not train
    bring_into_form(model)
    if has_blocks(model) and (model._backward_hooks or model._backward_pre_hooks):
        raise SettingError(
            "model: it has a backward hook, and only its blocks are trained: register it on one of "
            "them"
        )
    return model


def blocks_of(model: nn.Module) -> list[nn.Module]:
    """The blocks of a model, first to last: the places where it may be cut. One that lists none is
    a single block.

    Raises:
        SettingError: `blocks()` fails, or lists nothing, or something else than modules.
    """
    listing = _listing(model)
    if listing is None:
        return [model]
    with refusing("model: blocks() fails"):
        blocks = list(listing())
    if not blocks:
        raise SettingError("model: it has no blocks, so there is nothing to train")
    if not all(isinstance(block, nn.Module) for block in blocks):
        raise SettingError(
            "model: blocks() must list modules: wrap whatever else the model does in a module"
        )
    return blocks


def has_blocks(model: nn.Module) -> bool:
    """Whether it says where it may be cut. In many models `blocks` is one of their modules, and
    says nothing."""
    return _listing(model) is not None


def is_plain_sequence(model: nn.Module) -> TypeGuard[nn.Sequential]:
    """Whether its `forward` is that of its blocks, one after the other, and nothing else."""
    return isinstance(model, nn.Sequential) and type(model).forward is nn.Sequential.forward


def _listing(model: nn.Module) -> Callable[[], Iterable[nn.Module]] | None:
    if is_plain_sequence(model):
        return model.__iter__
    method = getattr(model, "blocks", None)
    return method if callable(method) and not isinstance(method, nn.Module) else None


def check_complete(model: nn.Module, blocks: Sequence[nn.Module]) -> None:
    """Raises SettingError: a tensor of the model is in no block, or a block holds one that is not
    the model's."""
    used = {
        id(tensor): f"{name} in block {i}"
        for i, block in enumerate(blocks)
        for name, tensor in tensors_in(block)
    }
    own = {id(tensor): name for name, tensor in tensors_in(model)}
    if missing := sorted(own[key] for key in own.keys() - used.keys()):
        raise SettingError(
            f"model: blocks() leaves out {', '.join(missing[:3])}: every tensor must be in a block"
        )
    if foreign := sorted(used[key] for key in used.keys() - own.keys()):
        raise SettingError(
            f"model: blocks() lists {foreign[0]}, which is none of the model's own tensors: make "
            "it in the constructor"
        )


def tensors_in(module: nn.Module) -> Iterator[tuple[str, torch.Tensor]]:
    """Parameters and buffers with their names, each once."""
    yield from module.named_parameters()
    yield from module.named_buffers()


def tied(blocks: Sequence[nn.Module]) -> set[int]:
    """The trained parameters, by `id`, that the first and the last of several blocks have in common
    and no other has: embeddings that are the head too."""
    if len(blocks) < 2:
        return set()
    first, *others, last = ({id(p) for p in b.parameters() if p.requires_grad} for b in blocks)
    return (first & last).difference(*others)


class Part:
    """The blocks [start, stop) of a model and the names of their tensors in the un-split model."""

    def __init__(self, model: nn.Module, start: int, stop: int) -> None:
        """Where `model` lies does not matter: `materialise` gives this part memory of its own."""
        blocks = blocks_of(model)
        self.module = nn.Sequential(*blocks[start:stop])
        named = _names(model.named_parameters, self.module.named_parameters)
        ties = tied(blocks) if (start, stop) != (0, len(blocks)) else set()
        tensors = {name: tensor_at(self.module, local) for name, local in named.items()}
        shared = {name: named[name] for name, t in sorted(tensors.items()) if id(t) in ties}
        self.lent, self.borrowed = ({}, shared) if start else (shared, {})
        own = {name: t for name, t in tensors.items() if name not in self.borrowed}
        self.parameters = {name: named[name] for name, t in own.items() if t.requires_grad}
        self.frozen = {name: named[name] for name, t in own.items() if not t.requires_grad}
        self.buffers = _names(model.named_buffers, self.module.named_buffers)
        # Some models know constants, such as tables of positions, from their settings: these are
        # never sent.
        self._fill_constants = getattr(model, "fill_constants", None)
        if self._fill_constants is not None:
            kept = model.state_dict(keep_vars=True).keys()
            self.buffers = {name: local for name, local in self.buffers.items() if name in kept}

    def materialise(self, device: torch.device) -> None:
        """Give the part's tensors memory, uninitialised: their values come from the coordinator."""
        first: dict[int, str] = {}
        named = (
            *self.module.named_parameters(remove_duplicate=False),
            *self.module.named_buffers(remove_duplicate=False),
        )
        ties = [(name, first.setdefault(id(tensor), name)) for name, tensor in named]
        marks = {name: vars(tensor) for name, tensor in named}
        # where layers share a tensor, it makes one for each of them
        self.module.to_empty(device=device)
        for name, kept in ties:
            _set(self.module, name, tensor_at(self.module, kept))
            vars(tensor_at(self.module, name)).update(marks[name])
        if self._fill_constants is not None:
            self._fill_constants(self.module)

    @torch.no_grad()
    def fill(self, weights: Mapping[str, torch.Tensor]) -> None:
        """Give all of its tensors values, also those that are borrowed, by their names in the
        un-split model."""
        names = self.parameters | self.buffers | self.frozen | self.borrowed
        for name, tensor in zip(names, self.tensors(names), strict=True):
            tensor.copy_(weights[name])

    def tensors(self, names: dict[str, str]) -> list[torch.Tensor]:
        """The tensors of the part under such names, in their order."""
        return [tensor_at(self.module, local) for local in names.values()]


def _names(whole: Callable, part: Callable) -> dict[str, str]:
    """Name in the un-split model → name in the part, found by the identity of the tensors."""
    full = {id(tensor): name for name, tensor in reversed(list(whole()))}
    return {full[id(tensor)]: local for local, tensor in part()}


def tensor_at(module: nn.Module, name: str) -> torch.Tensor:
    """A module's parameter or buffer, by its name."""
    owner, _, attribute = name.rpartition(".")
    return getattr(module.get_submodule(owner), attribute)


def _set(module: nn.Module, name: str, tensor: torch.Tensor) -> None:
    owner, _, attribute = name.rpartition(".")
    setattr(module.get_submodule(owner), attribute, tensor)
