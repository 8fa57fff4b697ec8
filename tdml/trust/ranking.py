"""MANDERA's features: the mean and the standard deviation of a replica's ranks over all
coordinates.

All that is needed of the ranks are two sums a replica. The rank of a value is (n + 1)/2 + lead/2,
where its lead is the number of values below it less the number above it: a whole number, whose sums
are exact.
"""

import functools
import logging
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType

import torch

log = logging.getLogger(__name__)

# coordinates ranked at a time: with one more torch starts threads, whose waiting costs more
_BLOCK = (1 << 15) - 1
# of so many pieces each is worth its kernel launches, and takes 2 % of the updates' memory
_GPU_BLOCKS = 32


@dataclass(frozen=True)
class Moments:
    """Mean and standard deviation (ddof 1) of each replica's ranks: (n,) float64 each."""

    mean: torch.Tensor
    std: torch.Tensor


@dataclass(frozen=True)
class RankSums:
    """Sums over coordinates from which the moments follow. Sums of disjoint coordinates can be
    added."""

    coordinates: int
    total: torch.Tensor  # (n,) float64, of the ranks
    squares: torch.Tensor  # (n,) float64, of the squared ranks

    def __add__(self, other: "RankSums") -> "RankSums":
        return RankSums(
            self.coordinates + other.coordinates,
            self.total + other.total,
            self.squares + other.squares,
        )

    def moments(self) -> Moments:
        """Mean and standard deviation of the ranks. Without coordinates: the middle rank, and 0."""
        if not self.coordinates:
            return Moments(
                torch.full_like(self.total, (len(self.total) + 1) / 2), torch.zeros_like(self.total)
            )
        mean = self.total / self.coordinates
        spread = self.squares - self.coordinates * mean**2
        return Moments(mean, (spread / max(1, self.coordinates - 1)).clamp(min=0).sqrt())


def rank_moments(updates: torch.Tensor) -> Moments:
    """Rank every coordinate over the replicas; describe each replica by the moments of its ranks.

    Rank 1 is the smallest value; ties share the mean rank, as
    `scipy.stats.rankdata(method="average")` (MANDERA, Zhu et al., arXiv 2110.11736, Section 3).

    Args:
        updates: (n, d) floating point on any device, without NaN; infinities are ranked, and −0
            equals 0. Read once, a block at a time, never sorted or copied whole.
    """
    return rank_sums(updates).moments()


def rank_sums(updates: torch.Tensor) -> RankSums:
    """The sums from which `rank_moments` follow: they can be added up over coordinates."""
    return sums_of_ranks(*leads_of(updates), updates.shape[1])


def leads_of(updates: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """See `lead_sums`: the fastest for where the updates are."""
    if updates.device.type == "cuda":
        return on_gpu(updates.device, updates.dtype, len(updates))(updates)
    fast = compiled() if updates.device.type == "cpu" else None
    return fast.lead_sums(updates) if fast else lead_sums(updates)


def sums_of_ranks(total: torch.Tensor, squares: torch.Tensor, coordinates: int) -> RankSums:
    """The sums of ranks, from the sums of the leads and of their squares, (n,) each.

    Args:
        coordinates: how many count: all, or all but those in which nobody leads.
    """
    middle = (len(total) + 1) / 2
    total, squares = total.double(), squares.double()
    return RankSums(
        coordinates,
        total=coordinates * middle + total / 2,
        squares=coordinates * middle**2 + middle * total + squares / 4,
    )


@functools.cache
def on_gpu(device: torch.device, dtype: torch.dtype, replicas: int) -> Callable:
    """The `lead_sums` by Triton, or by torch operations where it is missing or cannot compile; the
    log says why."""
    try:
        from tdml.trust import ranking_triton

        ranking_triton.lead_sums(torch.zeros(replicas, 1, dtype=dtype, device=device))
    except Exception as error:  # Triton, its compilers and drivers raise all kinds
        log.info(
            "%d updates on %s are ranked by torch operations, without Triton: %r",
            replicas,
            device,
            error,
        )
        return lead_sums
    return ranking_triton.lead_sums


@functools.cache
def compiled() -> ModuleType | None:
    """The compiled `lead_sums` for processors, unless numba is missing."""
    try:
        from tdml.trust import ranking_compiled
    except ImportError:
        return None
    return ranking_compiled


def lead_sums(updates: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Sums over the coordinates of the leads and of the squared leads, (n,) int64 each, by torch
    operations.

    They run on any device; how fast on a GPU nobody has measured.
    """
    replicas, coordinates = updates.shape
    total = torch.zeros(replicas, dtype=torch.int64, device=updates.device)
    squares = torch.zeros(replicas, dtype=torch.float64, device=updates.device)
    size = _BLOCK if updates.device.type == "cpu" else max(_BLOCK, coordinates // _GPU_BLOCKS)
    for block in updates.split(size, dim=1):
        for i, leads in enumerate(_leads(block)):
            total[i] += leads.sum()
            squares[i] += leads.float().square_().sum(dtype=torch.float64)
    return total.cpu(), squares.long().cpu()


def _leads(block: torch.Tensor) -> list[torch.Tensor]:
    """The leads of (n, k) values down each column, n times (k,) whole numbers.

    Each pair is compared once: what one of the two gains the other lacks. The small integers keep
    the traffic to memory low.
    """
    dtype = torch.int8 if len(block) <= 128 else torch.int16
    leads = [torch.zeros(block.shape[1], dtype=dtype, device=block.device) for _ in block]
    for i in range(len(block)):
        for j in range(i):
            difference = (block[i] > block[j]).view(torch.int8) - (block[i] < block[j]).view(
                torch.int8
            )
            leads[i] += difference
            leads[j] -= difference
    return leads
