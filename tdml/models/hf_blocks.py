"""A model of Hugging Face's transformers as blocks, with one tensor across each border.

A block is a shallow copy of the model's own base module in which one layer is left, and what comes
before and after it hands on what it gets. So masks, positions and rotary embeddings are computed by
the model's own forward, whatever the architecture: what is known of one are the names of its parts.
"""

import copy
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import nn

from tdml.errors import SettingError

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

_Module = TypeVar("_Module", bound=nn.Module)


class _Same(nn.Module):
    """In the place of an embedding, a dropout or a norm that another block has."""

    def forward(
        self, value: torch.Tensor | None = None, *_: object, **named: torch.Tensor
    ) -> torch.Tensor:
        return named["inputs_embeds"] if value is None else value


class _Zero(nn.Module):
    """In the place of positions that were added already."""

    def forward(self, ids: torch.Tensor, *_: object, **__: object) -> torch.Tensor:
        return torch.zeros((), device=ids.device)


@dataclass(frozen=True)
class _Family:
    """Names in the base module: of its list of layers, of the norm behind them, and what takes the
    place of its other parts in all blocks but the first; None: nothing does."""

    layers: str
    norm: str | None
    later: Mapping[str, Callable[[], nn.Module] | None] = field(default_factory=dict)


_FAMILIES = (
    _Family("layers", "norm", {"embed_tokens": None}),  # as Llama
    _Family("h", "ln_f", {"wte": None, "wpe": _Zero, "drop": _Same}),  # as GPT-2
    _Family(  # as BERT
        "encoder.layer", None, {"embeddings": _Same, "embeddings_project": _Same, "pooler": None}
    ),
    _Family("layers", "final_layernorm", {"embed_tokens": None, "embed_dropout": _Same}),  # as Phi
    _Family("layers", "final_layer_norm", {"embed_in": None, "emb_dropout": _Same}),  # as GPT-NeoX
    _Family("h", "ln_f", {"word_embeddings": None, "word_embeddings_layernorm": _Same}),  # as Bloom
    _Family(  # as OPT
        "decoder.layers",
        "decoder.final_layer_norm",
        {"decoder.embed_tokens": None, "decoder.embed_positions": _Zero},
    ),
)


class Body(nn.Module):
    """Token ids (batch, tokens), in the first, or hidden states (batch, tokens, width) → hidden
    states."""

    def __init__(self, base: "PreTrainedModel", family: _Family, index: int | None) -> None:
        """`index` of the layer; None: the embeddings alone."""
        super().__init__()
        body = _shallow(base, family.layers)
        layers = base.get_submodule(family.layers)
        _put(body, family.layers, nn.ModuleList([] if index is None else [layers[index]]))
        if family.norm:
            _put(body, family.norm, _Same())
        if index is None:
            if "pooler" in body._modules:
                body._modules["pooler"] = None
        else:
            for name, make in family.later.items():
                if _get(body, name) is not None:
                    _put(body, name, make and make())
        body.config = _config_of_layer(base.config, index or 0)
        self.body, self._first = body, index is None

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        given = {"input_ids": value} if self._first else {"inputs_embeds": value}
        return self.body(**given, use_cache=False).last_hidden_state


class _Chain(nn.Sequential):
    """What comes behind the layers."""


def blocks_of_hf(model: "PreTrainedModel") -> list[nn.Module]:
    """The embeddings, each layer, and the head.

    Raises:
        SettingError: its parts have other names.
    """
    base = model.base_model
    family = next((family for family in _FAMILIES if _has(base, family)), None)
    if family is None:
        raise SettingError(
            f"model=hf: {type(model).__name__} is built in another way than the models whose "
            "parts TDML knows (Llama, GPT-2, BERT, Phi, GPT-NeoX, Bloom, OPT and their like): "
            "take another architecture, or one stage of your own module (docs/your-model.md)"
        )
    head = _head(model, base, family)
    if head is None:
        raise SettingError(
            f"model=hf: {type(model).__name__} has another head than those whose parts TDML knows: "
            "of models that predict the next token that is model.head=causal"
        )
    layers = range(len(base.get_submodule(family.layers)))
    return [Body(base, family, None), *(Body(base, family, index) for index in layers), head]


def _has(base: nn.Module, family: _Family) -> bool:
    names = [family.layers, family.norm, next(iter(family.later))]
    return all(_get(base, name) is not None for name in names if name)


def _head(model: "PreTrainedModel", base: "PreTrainedModel", family: _Family) -> nn.Module | None:
    """Of a causal model, of a masked one, or of a classifier of sequences."""
    after = {
        name: part for name, part in model._modules.items() if part is not base and part is not None
    }
    if family.norm:
        return (
            _Chain(base.get_submodule(family.norm), after["lm_head"])
            if list(after) == ["lm_head"]
            else None
        )
    pooler = base._modules.get("pooler")
    return _Chain(*([pooler] if pooler is not None else []), *after.values())


def _config_of_layer(config: "PreTrainedConfig", index: int) -> "PreTrainedConfig":
    """Its type, such as sliding attention, is looked up by its place."""
    own = copy.copy(config)
    if types := getattr(config, "layer_types", None):
        own.layer_types = [types[index]]
    return own


def _shallow(module: _Module, path: str) -> _Module:
    """A copy whose children on the path can be exchanged; all else, and every tensor, is shared."""
    new = copy.copy(module)
    new._modules = dict(module._modules)
    name, _, rest = path.partition(".")
    if rest:
        new._modules[name] = _shallow(new.get_submodule(name), rest)
    return new


def _put(module: nn.Module, path: str, value: nn.Module | None) -> None:
    owner, _, name = path.rpartition(".")
    module.get_submodule(owner)._modules[name] = value


def _get(module: nn.Module, path: str) -> nn.Module | None:
    found: nn.Module | None = module
    for name in path.split("."):
        found = None if found is None else found._modules.get(name)
    return found
