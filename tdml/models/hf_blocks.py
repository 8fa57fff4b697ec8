"""A model of Hugging Face's transformers as blocks, with one tensor across each border.

A block is a shallow copy of the model's own base module in which one layer is left, and what comes
before and after it hands on what it gets. So masks, positions and rotary embeddings are computed by
the model's own forward, whatever the architecture: what is known of one are the names of its parts.
"""

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import nn

from tdml.errors import SettingError
from tdml.models.hf_padding import apart, beside, mask_of, with_last_behind

if TYPE_CHECKING:
    from transformers import PreTrainedConfig, PreTrainedModel

_Module = TypeVar("_Module", bound=nn.Module)


class _Same(nn.Module):
    """In the place of an embedding, a dropout or a norm that another block has."""

    def forward(self, *given: object, **named: object) -> torch.Tensor:
        return _hidden(given, named)


class _Encoded(tuple):
    """What an encoder returns that has no layers: hidden states, in all forms in which they are
    asked for."""

    def __getattr__(self, name: str) -> torch.Tensor | None:
        return self[0] if name == "last_hidden_state" else None


class _Encoder(nn.Module):
    """In the place of an encoder whose layers other blocks have: not all run without any."""

    def forward(self, *given: object, **named: object) -> _Encoded:
        hidden = _hidden(given, named)
        return _Encoded((hidden, (hidden,)))


def _hidden(given: Sequence[object], named: Mapping[str, object]) -> torch.Tensor:
    """The hidden states among a module's arguments, which else are ids and masks."""
    values = (value for value in (*given, *named.values()) if isinstance(value, torch.Tensor))
    return next(value for value in values if value.is_floating_point() and value.dim() == 3)


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
    later: Mapping[str, Callable[[], nn.Module] | None]

    @property
    def encoder(self) -> str:
        """That has the layers, and nothing that comes behind them; "": there is none."""
        return "" if self.norm else self.layers.rpartition(".")[0]


_FAMILIES = (
    _Family("layers", "norm", {"embed_tokens": None}),  # as Llama
    _Family("layers", "embedding_norm", {"embed_tokens": None}),  # as LFM2
    _Family("h", "ln_f", {"wte": None, "wpe": _Zero, "drop": _Same}),  # as GPT-2
    _Family("encoder.layer", "encoder.ln", {"embeddings": _Same}),  # as Megatron's BERT
    _Family("encoder.layer", None, {"embeddings": _Same, "embeddings_project": _Same}),  # as BERT
    _Family("transformer.layer", None, {"embeddings": _Same}),  # as DistilBERT
    _Family("encoder.albert_layer_groups", None, {"embeddings": _Same}),  # as ALBERT
    _Family("layers", "final_norm", {"embeddings": _Same}),  # as ModernBERT
    _Family("layers", "final_layernorm", {"embed_tokens": None, "embed_dropout": _Same}),  # as Phi
    _Family("layers", "final_layer_norm", {"embed_in": None, "emb_dropout": _Same}),  # as GPT-NeoX
    _Family("layers", "norm_f", {"embeddings": None}),  # as Mamba
    _Family("h", "ln_f", {"word_embeddings": None, "word_embeddings_layernorm": _Same}),  # as Bloom
    _Family("blocks", "norm_f", {"wte": None}),  # as MPT
    _Family(  # as OPT
        "decoder.layers",
        "decoder.final_layer_norm",
        {"decoder.embed_tokens": None, "decoder.embed_positions": _Zero},
    ),
)


class Body(nn.Module):
    """Token ids (batch, tokens), in the first, or hidden states (batch, tokens, width) → hidden
    states."""

    def __init__(
        self, base: "PreTrainedModel", family: _Family, index: int | None, padding: int | None
    ) -> None:
        """`index` of the layer; None: the embeddings alone. `padding`: as in `blocks_of_hf`."""
        super().__init__()
        self.body, self._first, self._padding = _part(base, family, index), index is None, padding
        if family.norm:
            _put(self.body, family.norm, _Same())
        if "pooler" in self.body._modules:
            self.body._modules["pooler"] = None
        if not self._first:
            _without_embeddings(self.body, family)

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        name = "input_ids" if self._first else "inputs_embeds"
        if self._padding is None:
            return self._hidden(**{name: value})
        given, mask = (value, mask_of(value, self._padding)) if self._first else apart(value)
        return beside(self._hidden(**{name: given}, attention_mask=mask), mask)

    def _hidden(self, **given: torch.Tensor) -> torch.Tensor:
        return self.body(**given, use_cache=False).last_hidden_state


class HfHead(nn.Module):
    """Hidden states (batch, tokens, width) → what the model returns: its own forward, of a copy
    that has no layers. So whatever it does with its logits is done."""

    def __init__(self, model: "PreTrainedModel", family: _Family, padding: int | None) -> None:
        super().__init__()
        self._padding, self._reads_last = padding, "score" in model._modules
        body = _part(model.base_model, family, None)
        _without_embeddings(body, family)
        self.model = copy.copy(model)
        self.model._modules = {**model._modules, model.base_model_prefix: body}

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        if self._padding is None:
            return self._logits(inputs_embeds=value)
        hidden, mask = apart(value)
        if self._reads_last:
            return self._logits(inputs_embeds=with_last_behind(hidden, mask))
        return self._logits(inputs_embeds=hidden, attention_mask=mask)

    def _logits(self, **given: torch.Tensor) -> torch.Tensor:
        return self.model(**given, use_cache=False).logits


def blocks_of_hf(model: "PreTrainedModel", padding: int | None) -> list[nn.Module]:
    """The embeddings, each layer, and the head.

    Args:
        padding: the id that fills texts up, which no block reads then; None: all are read.

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
    layers = range(len(base.get_submodule(family.layers)))
    bodies = (Body(base, family, index, padding) for index in [None, *layers])
    return [*bodies, HfHead(model, family, padding)]


def _part(base: _Module, family: _Family, index: int | None) -> _Module:
    """A copy that has one of the layers, or none."""
    part = _shallow(base, family.layers)
    layers = list(base.get_submodule(family.layers).children())
    _put(part, family.layers, nn.ModuleList([] if index is None else [layers[index]]))
    if index is None and family.encoder:
        _put(part, family.encoder, _Encoder())
    part.config = _config_of_layer(base.config, index or 0)
    return part


def _without_embeddings(part: nn.Module, family: _Family) -> None:
    for name, make in family.later.items():
        if _get(part, name) is not None:
            _put(part, name, make and make())


def _has(base: nn.Module, family: _Family) -> bool:
    names = [family.layers, family.norm, next(iter(family.later))]
    return all(_get(base, name) is not None for name in names if name)


def _config_of_layer(config: "PreTrainedConfig", index: int) -> "PreTrainedConfig":
    """Its type, such as sliding attention, is looked up by its place."""
    own = copy.copy(config)
    if types := vars(config).get("layer_types"):
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
    inner: nn.Module | None = module
    for name in path.split("."):
        inner = None if inner is None else inner._modules.get(name)
    return inner
