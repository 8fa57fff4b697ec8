"""What the screen needs of a round's updates, gathered block by block: nobody holds all of them at
once.

Everything here is a sum over coordinates, so that blocks, stages and the whole are added up.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from tdml.trust.pieces import PIECE, deal
from tdml.trust.ranking import Moments, RankSums, compiled, leads_of, rank_sums, sums_of_ranks

_PART = 1 << 18  # columns that a thread takes at a time
_CACHED = 1 << 19  # numbers that are looked at together


@dataclass(frozen=True)
class Sums:
    """Of some coordinates of n updates: the sums of their ranks, and (n, n) float64 scalar
    products."""

    ranks: RankSums
    products: torch.Tensor

    def __add__(self, other: "Sums") -> "Sums":
        return Sums(self.ranks + other.ranks, self.products + other.products)

    @property
    def moments(self) -> Moments:
        """MANDERA's features."""
        return self.ranks.moments()

    @property
    def norms(self) -> torch.Tensor:
        """Euclidean, (n,) float64."""
        return self.products.diagonal().clamp(min=0).sqrt()


@dataclass(frozen=True)
class StageSums:
    """Of one stage: its parameters, and its buffers (BatchNorm's statistics), which are of another
    size."""

    parameters: Sums
    buffers: Sums

    def __add__(self, other: "StageSums") -> "StageSums":
        return StageSums(self.parameters + other.parameters, self.buffers + other.buffers)


def empty(replicas: int) -> StageSums:
    """Of no coordinates."""
    return StageSums(_nothing(replicas), _nothing(replicas))


def fold(rows: Sequence[torch.Tensor] | torch.Tensor) -> Sums:
    """The sums of one block: n rows (k,) float32, finite. Each number is read from memory once.

    Coordinates in which all replicas hand in the same say nothing, and are not counted: rows of an
    embedding that no sample has used, layers that are frozen.
    """
    found, columns = _nothing(len(rows)), len(rows[0]) if len(rows) else 0
    # added in the order of the parts, whichever thread has taken them
    for part in deal(lambda start, stop: _fold_part(rows, start, stop), columns, _PART):
        found += part
    return found


def fold_stage(rows: Sequence[torch.Tensor] | torch.Tensor, parameters: int) -> StageSums:
    """The same of a block of a stage's update, the first `parameters` columns of which are
    parameters."""
    return StageSums(
        fold([row[:parameters] for row in rows]), fold([row[parameters:] for row in rows])
    )


def _nothing(replicas: int) -> Sums:
    return Sums(
        rank_sums(torch.empty(replicas, 0)), torch.zeros(replicas, replicas, dtype=torch.float64)
    )


def _fold_part(rows: Sequence[torch.Tensor] | torch.Tensor, start: int, stop: int) -> Sums:
    """The sums of some columns, a few of them at a time in memory that stays in the cache."""
    count, width = len(rows), max(1, min(stop - start, PIECE, _CACHED // len(rows)))
    total, squares = torch.zeros(2, count, dtype=torch.int64)
    products, unlike = np.zeros((count, count)), 0
    copied = np.zeros((-(-count // 4) * 4, width), np.float32)  # four rows are taken at a time
    for a in range(start, stop, width):
        block = copied[:, : stop - a]
        for i, row in enumerate(rows):
            block[i] = row[a : a + block.shape[1]].numpy()
        leads = leads_of(torch.from_numpy(block[:count]))
        more, different = _products(copied, count, block.shape[1])
        total, squares = total + leads[0], squares + leads[1]
        products, unlike = products + more, unlike + different
    return Sums(sums_of_ranks(total, squares, unlike), torch.from_numpy(products))


def _products(values: np.ndarray, count: int, columns: int) -> tuple[np.ndarray, int]:
    """Of the first rows and columns: scalar products, and how many columns are not all the same."""
    if compiled():
        from tdml.trust import fold_compiled

        return fold_compiled.products(values, count, columns)
    rows = values[:count, :columns]
    wide = rows.astype(np.float64)  # whose products even absurd updates cannot overflow
    return wide @ wide.T, int((rows != rows[0]).any(axis=0).sum())
