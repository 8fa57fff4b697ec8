"""What the screen needs of a round's updates, gathered block by block: nobody holds all of them at
once.

Everything here is a sum over coordinates, so that blocks, stages and the whole are added up.
"""

from dataclasses import dataclass

import torch

from tdml.trust.ranking import Moments, RankSums, rank_sums

_PIECE = 1 << 15  # coordinates multiplied at a time, in double precision


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
    nothing = fold(torch.empty(replicas, 0))
    return StageSums(nothing, nothing)


def fold(block: torch.Tensor) -> Sums:
    """The sums of one block: (n, k) float32, finite.

    Coordinates in which all replicas hand in the same say nothing, and are not ranked: rows of an
    embedding that no sample has used, layers that are frozen.
    """
    products = torch.zeros(len(block), len(block), dtype=torch.float64)
    for piece in block.split(_PIECE, dim=1):
        wide = piece.double()  # an absurd update must not overflow the products of the others
        products += wide @ wide.T
    moved = (block != block[:1]).any(dim=0) if len(block) else torch.empty(0, dtype=torch.bool)
    ranked = block if bool(moved.all()) else block[:, moved]
    return Sums(rank_sums(ranked), products)


def fold_stage(block: torch.Tensor, parameters: int) -> StageSums:
    """The same of a block of a stage's update, the first `parameters` columns of which are
    parameters."""
    return StageSums(fold(block[:, :parameters]), fold(block[:, parameters:]))
