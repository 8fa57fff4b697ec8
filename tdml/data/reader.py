"""What a node reads of the data: inputs and targets at the ends of a pipeline, nothing in
between."""

import itertools
import math
from collections.abc import Iterable

import torch

from tdml.data import pieces
from tdml.data.order import augmentation_seed
from tdml.data.pieces import Piece
from tdml.data.source import Source

Batch = tuple[
    torch.Tensor | None, torch.Tensor | None
]  # inputs and targets, both None where nothing is read


class BatchReader:
    """Reads for one slot. `source` is None where nothing is read."""

    def __init__(self, source: Source | None, seed: int) -> None:
        self._source, self._seed = source, seed
        self._asked: tuple[Piece, ...] = ()
        self._answered: list[tuple[torch.Tensor, torch.Tensor]] = []

    def training_batch(
        self, round_number: int, replica: int, step: int, indices: torch.Tensor
    ) -> Batch:
        """The samples of one step of a replica's round, with the augmentation that this step
        has."""
        if self._source is None:
            return None, None
        seed = augmentation_seed(self._seed, round_number, replica, step)
        return self._source.training_batch(indices.tolist(), seed)

    def weights(self, indices: torch.Tensor) -> torch.Tensor | None:
        """What these training samples count in the loss, (k,) float32; None: all alike."""
        if self._source is None or self._source.weights is None:
            return None
        return self._source.weights[indices]

    def evaluation_batches(
        self, asked: tuple[Piece, ...], size: int, again: bool
    ) -> Iterable[Batch]:
        """Some samples in batches of `size`. `again`: the same ones are likely to be asked for
        next."""
        if self._source is None:
            return itertools.repeat((None, None), math.ceil(pieces.count(asked) / size))
        if not again:
            return pieces.batches(self._source, asked, size)
        if not pieces.equal(asked, self._asked):
            self._asked, self._answered = asked, list(pieces.batches(self._source, asked, size))
        # A model may work in place on its input: what is kept is not what is handed out.
        return ((inputs.clone(), targets) for inputs, targets in self._answered)
