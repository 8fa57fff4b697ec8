"""Which tokens of a classifier's texts are padding, as all of its blocks need to know.

One tensor crosses a border, so the mask travels as one more channel of the hidden states: 1 where a
token is to be read, 0 where it is padding.
"""

from functools import partial
from typing import TYPE_CHECKING, Any

import torch

if TYPE_CHECKING:
    from transformers import PreTrainedModel


def mask_of(ids: torch.Tensor, padding: int) -> torch.Tensor:
    """Token ids (batch, tokens) → (batch, tokens) int64, 0 before and behind a text where one is
    `padding`: within, it may be the token that ends a sentence. A text of nothing else is read
    whole, for no model can look at nothing."""
    read = (ids != padding).long()
    before, behind = read.cumsum(dim=1), read.flip(1).cumsum(dim=1).flip(1)
    mask = (before > 0) & (behind > 0)
    return (mask | ~mask.any(dim=1, keepdim=True)).long()


def read_padding(model: "PreTrainedModel", padding: int) -> None:
    """Have a model that is called with ids alone look at the others only, as it does where a
    tokenizer gives it a mask."""
    model.register_forward_pre_hook(partial(_with_mask, padding), with_kwargs=True)


def _with_mask(padding: int, _: object, given: tuple, named: dict[str, Any]) -> tuple[tuple, dict]:
    ids = given[0] if given else named.get("input_ids")
    if ids is not None and named.get("attention_mask") is None:
        named = {**named, "attention_mask": mask_of(ids, padding)}
    return given, named


def beside(hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Hidden states (batch, tokens, width) and a mask (batch, tokens) → (batch, tokens,
    width + 1)."""
    return torch.cat([hidden, mask[..., None].to(hidden.dtype)], dim=-1)


def apart(value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """What `beside` was given."""
    return value[..., :-1].contiguous(), value[..., -1].detach().long()


def with_last_behind(hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """Each row of hidden states (batch, tokens, width) turned until the last token that is no
    padding is behind all others, where a decoder's classifier looks for it if it has no ids."""
    tokens = torch.arange(hidden.shape[1], device=hidden.device)
    last = (tokens * mask).argmax(dim=1, keepdim=True)
    turned = (tokens + last + 1) % hidden.shape[1]
    return hidden.gather(1, turned[..., None].expand_as(hidden))
