"""Samples to evaluate on: pieces of the training or held-out data, read exactly as a replica would
read them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from tdml.data.source import Source


@dataclass(frozen=True)
class Piece:
    """Some samples of one batch.

    The batch is `indices` (k,) int64 of the training set, or positions in a held-out half, with the
    random augmentation that `seed` decides; of it only the places `keep` (m,) int64 are meant.
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
    """The inputs and targets that a piece means."""
    indices = piece.indices.tolist()
    if piece.split == "train":
        inputs, targets = source.training_batch(indices, piece.seed)
    else:
        inputs, targets = source.held_out_batch(piece.split, indices)
    return inputs[piece.keep], targets[piece.keep]


def batches(
    source: Source, pieces: Sequence[Piece], size: int
) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """All samples of the pieces, in their order, in batches of `size`; the last may be smaller."""
    held: list[torch.Tensor] = []
    for piece in pieces:
        more = read(source, piece)
        held = [torch.cat(pair) for pair in zip(held, more, strict=True)] if held else list(more)
        while len(held[1]) >= size:
            yield held[0][:size], held[1][:size]
            held = [tensor[size:] for tensor in held]
    if held and len(held[1]):
        yield held[0], held[1]


def _same(one: Piece, other: Piece) -> bool:
    alike = (one.split, one.seed) == (other.split, other.seed)
    return alike and torch.equal(one.indices, other.indices) and torch.equal(one.keep, other.keep)
