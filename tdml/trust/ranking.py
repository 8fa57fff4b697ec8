"""MANDERA's features: the mean and the standard deviation of a replica's ranks over all coordinates."""

from dataclasses import dataclass

import torch

_BLOCK = 1 << 15  # coordinates ranked at a time: the n × block comparisons stay in the cache


@dataclass(frozen=True)
class Moments:
    """Mean and standard deviation (ddof 1) of each replica's ranks: (n,) float64 each."""

    mean: torch.Tensor
    std: torch.Tensor


@dataclass(frozen=True)
class RankSums:
    """Sums over coordinates from which the moments follow. Sums of disjoint coordinates can be added."""

    coordinates: int
    total: torch.Tensor  # (n,) float64, of the ranks
    squares: torch.Tensor  # (n,) float64, of the squared ranks

    def __add__(self, other: "RankSums") -> "RankSums":
        return RankSums(self.coordinates + other.coordinates, self.total + other.total, self.squares + other.squares)

    def moments(self) -> Moments:
        """Mean and standard deviation of the ranks."""
        mean = self.total / self.coordinates
        spread = self.squares - self.coordinates * mean**2
        return Moments(mean, (spread / max(1, self.coordinates - 1)).clamp(min=0).sqrt())


def rank_moments(updates: torch.Tensor) -> Moments:
    """Rank every coordinate over the replicas; describe each replica by the moments of its ranks.

    Rank 1 is the smallest value; ties share the mean rank, as `scipy.stats.rankdata(method="average")`
    (MANDERA, Zhu et al., arXiv 2110.11736, Section 3).

    Args:
        updates: (n, d) floating point, without NaN; d ≥ 1. Read a block at a time, never sorted whole.
    """
    return rank_sums(updates).moments()


def rank_sums(updates: torch.Tensor) -> RankSums:
    """As `rank_moments`, in a form that can be added up over pieces of the coordinates."""
    replicas, coordinates = updates.shape
    total = torch.zeros(replicas, dtype=torch.float64, device=updates.device)
    squares = torch.zeros_like(total)
    for block in updates.split(_BLOCK, dim=1):
        ranks = average_ranks(block)
        total += ranks.sum(dim=1, dtype=torch.float64)
        squares += ranks.square_().sum(dim=1, dtype=torch.float64)
    return RankSums(coordinates, total.cpu(), squares.cpu())


def average_ranks(block: torch.Tensor) -> torch.Tensor:
    """Ranks of (n, k) values down each column, (n, k) float32.

    The rank of x is (n + 1)/2 + ((values below x) − (values above x))/2. Each pair is compared once: what
    one of the two gains the other lacks. The small integers keep the traffic to memory low.
    """
    replicas = len(block)
    lead = torch.zeros(block.shape, dtype=torch.int8 if replicas < 128 else torch.int16, device=block.device)
    for i in range(replicas):
        for j in range(i):
            difference = (block[i] > block[j]).view(torch.int8) - (block[i] < block[j]).view(torch.int8)
            lead[i] += difference
            lead[j] -= difference
    return lead.float().mul_(0.5).add_((replicas + 1) / 2)
