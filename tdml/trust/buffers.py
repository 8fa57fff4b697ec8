"""Buffers: statistics such as BatchNorm's, which a poisoner can change without touching a parameter."""

import math

import torch

from tdml.trust.medians import departure, scatter

_ALL = 4.0  # times the size of the peers': counts of batches, on which the honest agree, dominate it
_STATISTICS = 100.0  # without the counts; of honest ones that had settled 4.5 was seen
_LEAST_REPLICAS = 3
_TINY = 1e-6  # moves that are too small to compare


def oversized(buffers: torch.Tensor) -> dict[int, str]:
    """The rows whose buffers moved many times as far as their peers', and the reason to give.

    Args:
        buffers: (n, b) finite: the part of the updates that belongs to buffers; b may be 0.
    """
    if len(buffers) < _LEAST_REPLICAS or buffers.shape[1] == 0:
        return {}
    middle = buffers.sort(dim=0).values[(len(buffers) - 1) // 2]
    counts = ((buffers == middle).sum(dim=0) > len(buffers) // 2) & (middle != 0)
    return _beyond(buffers[:, ~counts], _STATISTICS) | _beyond(buffers, _ALL if bool(counts.any()) else _STATISTICS)


def _beyond(values: torch.Tensor, limit: float) -> dict[int, str]:
    sizes = torch.stack([torch.linalg.vector_norm(row, dtype=torch.float64) for row in values]).clamp(min=_TINY).log()
    rows = range(len(sizes))
    bound = max(math.log(limit), scatter(sizes))
    farther = [departure(sizes, i, [j for j in rows if j != i]) for i in rows]
    return {
        i: f"buffers moved {math.exp(farther[i]):.3g} times as far as its peers', limit {math.exp(bound):.3g}"
        for i in rows
        if farther[i] > bound
    }
