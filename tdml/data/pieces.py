"""Samples to evaluate on: pieces of the training or held-out data, read exactly as a replica would read them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from tdml.data.source import Source


@dataclass(frozen=True)
class Piece:
    """Some samples of one batch.

    The batch is `indices` (k,) int64 of the training set, or positions in a held-out half, with the random
    augmentation that `seed` decides; of it only the places `keep` (m,) int64 are meant.
    """

    split: str  # "train", "validation" or "test"
    indices: torch.Tensor
    seed: int
    keep: torch.Tensor


def held_out(split: str, samples: range, size: int) -> tuple[Piece, ...]:
    """Positions of a held-out half in batches of `size`."""
    starts = range(samples.start, samples.stop, size)
    batches = [torch.arange(start, min(start + size, samples.stop)) for start in starts]
    return tuple(Piece(split, batch, 0, torch.arange(len(batch))) for batch in batches)


def count(pieces: Sequence[Piece]) -> int:
    """Samples in all."""
    return sum(len(piece.keep) for piece in pieces)


def equal(one: Sequence[Piece], other: Sequence[Piece]) -> bool:
    """Whether they mean the same samples, read in the same way."""
    return len(one) == len(other) and all(map(_same, one, other))


def read(source: Source, piece: Piece) -> tuple[torch.Tensor, torch.Tensor]:
    """The inputs and labels that a piece means."""
    indices = piece.indices.tolist()
    if piece.split == "train":
        inputs, labels = source.training_batch(indices, piece.seed)
    else:
        inputs, labels = source.held_out_batch(piece.split, indices)
    return inputs[piece.keep], labels[piece.keep]


def batches(source: Source, pieces: Sequence[Piece], size: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """All samples of the pieces, in their order, in batches of `size`; the last may be smaller."""
    inputs, labels = torch.empty(0), torch.empty(0, dtype=torch.int64)
    for piece in pieces:
        more, named = read(source, piece)
        inputs = torch.cat([inputs, more]) if len(labels) else more
        labels = torch.cat([labels, named])
        while len(labels) >= size:
            yield inputs[:size], labels[:size]
            inputs, labels = inputs[size:], labels[size:]
    if len(labels):
        yield inputs, labels


def _same(one: Piece, other: Piece) -> bool:
    alike = (one.split, one.seed) == (other.split, other.seed)
    return alike and torch.equal(one.indices, other.indices) and torch.equal(one.keep, other.keep)
