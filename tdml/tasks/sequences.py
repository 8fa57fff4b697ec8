"""What tasks on token ids share."""

from collections.abc import Sequence
from typing import Any

import torch

from tdml.errors import SettingError
from tdml.tasks.pairs import check_batch

IGNORED = -100  # in the place of a target that is none, as in torch and transformers


def padded(
    samples: Any, length: int | None, cut: bool = False, padding: int | None = None
) -> torch.Tensor:
    """Sequences of token ids as (k, length) int64, filled up on the right with `IGNORED`. Without a
    length all must be equally long.

    Args:
        cut: longer ones lose what is too much.
        padding: the id with which samples are filled up already: `IGNORED` takes its place.

    Raises:
        TypeError, ValueError: a sample is no such sequence.
    """
    if isinstance(samples, tuple):  # a batch that the data set has made
        check_batch(samples, 1)
        samples = samples[0]
    rows = [_ids(sample)[: length if cut else None] for sample in samples]
    longest = length or len(rows[0])
    out = torch.full((len(rows), longest), IGNORED, dtype=torch.int64)
    for row, ids in zip(out, rows, strict=True):
        if len(ids) > longest or (length is None and len(ids) != longest):
            raise ValueError(
                f"it has {len(ids)} tokens, and {longest} are expected: see data.context, "
                "task.context"
            )
        row[: len(ids)] = ids
    return out if padding is None else out.masked_fill(out == padding, IGNORED)


def readable(ids: torch.Tensor, padding: int | None) -> torch.Tensor:
    """What `padded` has made, for a model to read: `padding` where there is nothing to be said, or
    0 where nobody has named an id for that."""
    return ids.masked_fill(ids == IGNORED, padding or 0)


def by_sequence(each: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """(k, t) losses of tokens → (k,) means over the tokens that count."""
    return each.sum(dim=1) / (targets != IGNORED).sum(dim=1).clamp(min=1)


def check_logits(shape: Sequence[int], task: str) -> None:
    """Raises SettingError: an output is not one of logits for every token."""
    if len(shape) != 3:
        raise SettingError(
            f"task={task}: the model returns {tuple(shape)}, and (batch, tokens, vocabulary) is "
            "needed: take another model or task"
        )


def _ids(sample: Any) -> torch.Tensor:
    if isinstance(sample, tuple | dict):
        if len(sample) != 1:
            raise TypeError(
                f"it is a {type(sample).__name__} of {len(sample)}: return the token ids alone "
                "(see task)"
            )
        [sample] = sample if isinstance(sample, tuple) else sample.values()
    ids = torch.as_tensor(sample)
    if ids.dim() != 1 or ids.is_floating_point() or ids.is_complex() or ids.dtype is torch.bool:
        raise TypeError(
            f"it is {tuple(ids.shape)} of {ids.dtype}: return the token ids alone, whole numbers "
            "(t,)"
        )
    if len(ids) < 2:
        raise ValueError("it has fewer than two tokens: leave it out")
    ids = ids.long()
    if len(wrong := ids[(ids < 0) & (ids != IGNORED)]):
        raise ValueError(
            f"it has the token {wrong[0]}: ids are whole numbers from 0, or {IGNORED} where "
            "nothing counts (see task.padding)"
        )
    return ids
