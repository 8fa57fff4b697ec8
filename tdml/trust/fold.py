"""Folds a round's updates, block by block, into what the screen needs: nobody holds all at once.

Everything here is a sum over coordinates, so that blocks and stages can be added up.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from tdml.common.columns import deal
from tdml.trust.ranking import Moments, RankSums, compiled, leads_of, sums_of_ranks

_PART = 1 << 18  # columns that a thread takes at a time


@dataclass(frozen=True)
class Sums:
    """Sums over some coordinates of n updates."""

    ranks: RankSums
    products: torch.Tensor  # (n, n) float64, scalar products

    def __add__(self, other: "Sums") -> "Sums":
        return Sums(self.ranks + other.ranks, self.products + other.products)

    @property
    def moments(self) -> Moments:
        """MANDERA's features."""
        return self.ranks.moments()

    @property
    def norms(self) -> torch.Tensor:
        """The Euclidean norms of the updates, (n,) float64."""
        return self.products.diagonal().clamp(min=0).sqrt()


@dataclass(frozen=True)
class StageSums:
    """The sums of one stage: of its parameters, and of its buffers (BatchNorm's statistics), which
    are of another size."""

    parameters: Sums
    buffers: Sums

    @property
    def finite(self) -> torch.Tensor:
        """Which updates hold neither infinities nor NaN, (n,) bool. In float64 no square of a
        float32 overflows."""
        return (self.parameters.norms + self.buffers.norms).isfinite()

    def __add__(self, other: "StageSums") -> "StageSums":
        return StageSums(self.parameters + other.parameters, self.buffers + other.buffers)


def empty(replicas: int) -> StageSums:
    """The sums of no coordinates."""
    nothing = fold(torch.empty(replicas, 0))
    return StageSums(nothing, nothing)


def fold(rows: Sequence[torch.Tensor] | torch.Tensor) -> Sums:
    """The sums of one block: n rows (k,) float32, finite. Each number is read from memory once.

    Coordinates in which all replicas hand in the same say nothing, and are not counted: rows of an
    embedding that no sample has used, layers that are frozen.
    """
    rows = [row.float().contiguous() for row in rows]
    count, columns = len(rows), len(rows[0]) if rows else 0
    leads, products, unlike = np.zeros((2, count), np.int64), np.zeros((count, count)), 0
    # added in the order of the parts, whichever thread has taken them
    for more in deal(lambda start, stop: _fold_part(rows, start, stop), columns, _PART):
        leads, products, unlike = leads + more[0], products + more[1], unlike + more[2]
    total, squares = torch.from_numpy(leads)
    return Sums(sums_of_ranks(total, squares, unlike), torch.from_numpy(products))


def fold_stage(rows: Sequence[torch.Tensor] | torch.Tensor, parameters: int) -> StageSums:
    """The sums of a block of a stage's update, whose first `parameters` columns are parameters."""
    return StageSums(
        fold([row[:parameters] for row in rows]), fold([row[parameters:] for row in rows])
    )


def _fold_part(
    rows: Sequence[torch.Tensor], start: int, stop: int
) -> tuple[np.ndarray, np.ndarray, int]:
    """Fold some columns: the sums of leads and of squared leads, (2, n) int64; scalar products,
    (n, n) float64; and how many columns are not all the same."""
    if compiled():
        from tdml.trust import fold_compiled

        return fold_compiled.fold(rows, start, stop)
    block = torch.stack([row[start:stop] for row in rows])
    wide = block.double().numpy()  # whose products even absurd updates cannot overflow
    unlike = int((block != block[0]).any(dim=0).sum())
    return torch.stack(leads_of(block)).numpy(), wide @ wide.T, unlike
