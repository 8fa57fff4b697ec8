"""Samples to evaluate on: pieces of the training or held-out data, read exactly as a replica would
read them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from tdml.common.seeds import derive
from tdml.data.source import Source


@dataclass(frozen=True)
class Piece:
    """Some samples of one batch.

    The batch is `indices` (k,) int64 of what `split` names, with the random augmentation that
    `seed` decides; of it only the places `keep` (m,) int64 are meant. Of held-out samples that the
    coordinator alone has, the batch's inputs and targets themselves are `given`.
    """

    split: str  # "train", "test" or "validation"
    indices: torch.Tensor
    seed: int
    keep: torch.Tensor
    given: tuple[torch.Tensor, torch.Tensor] | None = None


def held_out(source: Source, split: str, positions: torch.Tensor, size: int) -> tuple[Piece, ...]:
    """Samples of a held-out half, by their positions in it, in batches of `size`. What is drawn for
    a batch, such as which tokens are hidden, follows from its first sample."""
    pieces = []
    for chosen in positions.split(max(1, size)) if len(positions) else ():
        keep, seed = torch.arange(len(chosen)), derive(split, int(chosen[0]))
        if source.alone or (split == "validation" and source.validation is not None):
            given = source.held_out_batch(split, chosen.tolist(), seed)
            pieces.append(Piece(split, chosen, seed, keep, given))
        else:
            indices = torch.from_numpy(source.halves[split])[chosen]
            pieces.append(Piece("test", indices, seed, keep))
    return tuple(pieces)


def count(pieces: Sequence[Piece]) -> int:
    """Samples in all."""
    return sum(len(piece.keep) for piece in pieces)


def equal(one: Sequence[Piece], other: Sequence[Piece]) -> bool:
    """Whether they mean the same samples, read in the same way."""
    return len(one) == len(other) and all(map(_same, one, other))


def read(source: Source, piece: Piece) -> tuple[torch.Tensor, torch.Tensor]:
    """The inputs and targets that a piece means."""
    indices = piece.indices.tolist()
    if piece.given is not None:
        inputs, targets = piece.given
    elif piece.split == "train":
        inputs, targets = source.training_batch(indices, piece.seed)
    else:
        inputs, targets = source.test_batch(indices, piece.seed)
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


def one_batch(
    source: Source, pieces: Sequence[Piece], size: int, number: int
) -> tuple[torch.Tensor, torch.Tensor]:
    """One of `batches`, counted from 0, for which no more is read than its own pieces."""
    start, first = number * size, 0
    while start >= len(pieces[first].keep):
        start, first = start - len(pieces[first].keep), first + 1
    inputs, targets = next(batches(source, pieces[first:], start + size))
    return inputs[start:], targets[start:]


def _same(one: Piece, other: Piece) -> bool:
    alike = (one.split, one.seed) == (other.split, other.seed)
    return alike and torch.equal(one.indices, other.indices) and torch.equal(one.keep, other.keep)
