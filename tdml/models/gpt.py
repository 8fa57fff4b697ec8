"""A small GPT (Radford et al., 2019): embeddings, blocks of causal attention and an MLP, a head."""

from collections.abc import Mapping
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from tdml.errors import SettingError


def gpt(
    vocabulary: int, context: int, layers: int, width: int, heads: int, dropout: float, tied: bool
) -> nn.Sequential:
    """layers + 2 blocks. Input: (batch, tokens) int64, up to `context` tokens; output: (batch,
    tokens, vocabulary) logits of the next token. `tied`: embeddings of tokens are the head too.

    Raises:
        SettingError: the heads cannot share the width.
    """
    if width % heads:
        raise SettingError(f"model.width={width} must be a multiple of model.heads={heads}")
    blocks = [Block(width, heads, dropout) for _ in range(layers)]
    embedding, head = Embedding(vocabulary, context, width), Head(width, vocabulary)
    model = nn.Sequential(embedding, *blocks, head)
    # A module may have any attribute, whatever torch's stubs say.
    model.most_tokens = context  # type: ignore[assignment]
    if tied:
        head.logits.weight = embedding.tokens.weight
    for name, parameter in model.named_parameters():
        if parameter.dim() > 1:
            # Layers that are added to the residual stream begin smaller, the more there are.
            nn.init.normal_(parameter, std=0.02 / (2 * layers) ** 0.5 if ".onto." in name else 0.02)
    return model


class Embedding(nn.Module):
    """Token ids → vectors that know token and position."""

    def __init__(self, vocabulary: int, context: int, width: int) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, width)
        self.places = nn.Embedding(context, width)

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        """(batch, tokens) int64 → (batch, tokens, width)."""
        return self.tokens(ids) + self.places(torch.arange(ids.shape[1], device=ids.device))


class Block(nn.Module):
    """Attention and MLP, each added to what came in."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.attention = Attention(width, heads, dropout)
        self.mlp = MLP(width, dropout)

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        """(batch, tokens, width) → the same."""
        value = value + self.attention(value)
        return value + self.mlp(value)


class Attention(nn.Module):
    """Every token looks at itself and those before it."""

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self._heads, self._dropout = heads, dropout
        self.norm = nn.LayerNorm(width)
        self.queries_keys_values = nn.Linear(width, 3 * width)
        self.onto = nn.Sequential(nn.Linear(width, width), nn.Dropout(dropout))

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        """(batch, tokens, width) → the same."""
        batch, tokens, width = value.shape
        three = self.queries_keys_values(self.norm(value)).view(batch, tokens, 3, self._heads, -1)
        queries, keys, values = three.permute(2, 0, 3, 1, 4)
        dropout = self._dropout if self.training else 0.0
        seen = F.scaled_dot_product_attention(
            queries, keys, values, is_causal=True, dropout_p=dropout
        )
        return self.onto(seen.transpose(1, 2).reshape(batch, tokens, width))


class MLP(nn.Module):
    """Four times as wide inside."""

    def __init__(self, width: int, dropout: float) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.up = nn.Linear(width, 4 * width)
        self.onto = nn.Sequential(nn.Linear(4 * width, width), nn.Dropout(dropout))

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        """(batch, tokens, width) → the same."""
        return self.onto(F.gelu(self.up(self.norm(value))))


class Head(nn.Module):
    """Vectors → logits."""

    def __init__(self, width: int, vocabulary: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.logits = nn.Linear(width, vocabulary, bias=False)

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        """(batch, tokens, width) → (batch, tokens, vocabulary)."""
        return self.logits(self.norm(value))


def as_gpt2(
    weights: Mapping[str, torch.Tensor], settings: Mapping[str, Any]
) -> tuple[dict[str, torch.Tensor], dict]:
    """The same model as transformers' GPT2LMHeadModel: its state dict, and its config.json.

    Args:
        weights: the state dict of a `gpt` of these settings.
    """
    layers = settings["layers"]
    names = {
        "0.tokens": "transformer.wte",
        "0.places": "transformer.wpe",
        f"{layers + 1}.norm": "transformer.ln_f",
    }
    names[f"{layers + 1}.logits"] = "lm_head"
    for i in range(layers):
        ours, theirs = f"{i + 1}", f"transformer.h.{i}"
        names |= {
            f"{ours}.attention.norm": f"{theirs}.ln_1", f"{ours}.mlp.norm": f"{theirs}.ln_2",
            f"{ours}.attention.queries_keys_values": f"{theirs}.attn.c_attn",
            f"{ours}.attention.onto.0": f"{theirs}.attn.c_proj",
            f"{ours}.mlp.up": f"{theirs}.mlp.c_fc", f"{ours}.mlp.onto.0": f"{theirs}.mlp.c_proj",
        }  # fmt: skip
    renamed = {}
    for name, tensor in weights.items():
        module, _, kind = name.rpartition(".")
        # theirs are convolutions of width 1
        transposed = ".c_" in names[module] and tensor.dim() == 2
        renamed[f"{names[module]}.{kind}"] = tensor.T if transposed else tensor
    config = {
        "model_type": "gpt2", "architectures": ["GPT2LMHeadModel"],
        "vocab_size": settings["vocabulary"], "n_positions": settings["context"],
        "n_embd": settings["width"], "n_layer": layers, "n_head": settings["heads"],
        "activation_function": "gelu", "layer_norm_epsilon": 1e-5,
        "resid_pdrop": settings["dropout"], "attn_pdrop": settings["dropout"], "embd_pdrop": 0.0,
        "tie_word_embeddings": settings["tied"], "bos_token_id": None, "eos_token_id": None,
    }  # fmt: skip
    return renamed, config
