"""Buffers: statistics such as BatchNorm's, which a poisoner can change without touching a parameter.

Counts of batches are known exactly: whoever counts several times as many as most others has not counted. Statistics
are not: the variances of a deep network in its first rounds differ by factors between the honest (7 was seen of
ResNet-18). They do no harm (`tdml.trust.aggregate.combine`), so only what is absurd counts against anyone.
"""

import math

import torch

from tdml.trust.medians import departure, scatter

_COUNTS = 4.0  # times the size of the peers'
_STATISTICS = 100.0
_LEAST_REPLICAS = 3
_TINY = 1e-6  # moves that are too small to compare


def miscounted(buffers: torch.Tensor) -> dict[int, str]:
    """The rows whose counts moved several times as far as their peers', and the reason to give. Counts are the columns
    in which most rows agree, and not in zero.

    Args:
        buffers: (n, b) finite: the part of the updates that belongs to buffers; b may be 0.
    """
    return _beyond(buffers[:, _are_counts(buffers)], _COUNTS)


def oversized(buffers: torch.Tensor) -> dict[int, str]:
    """The rows whose other buffers moved many times as far as their peers', as for `miscounted`."""
    return _beyond(buffers[:, ~_are_counts(buffers)], _STATISTICS)


def _are_counts(buffers: torch.Tensor) -> torch.Tensor:
    if not len(buffers):
        return torch.zeros(buffers.shape[1], dtype=torch.bool)
    middle = buffers.sort(dim=0).values[(len(buffers) - 1) // 2]
    return ((buffers == middle).sum(dim=0) > len(buffers) // 2) & (middle != 0)


def _beyond(values: torch.Tensor, limit: float) -> dict[int, str]:
    if len(values) < _LEAST_REPLICAS or values.shape[1] == 0:
        return {}
    sizes = torch.stack([torch.linalg.vector_norm(row, dtype=torch.float64) for row in values]).clamp(min=_TINY).log()
    rows = range(len(sizes))
    bound = max(math.log(limit), scatter(sizes))
    farther = [departure(sizes, i, [j for j in rows if j != i]) for i in rows]
    return {
        i: f"buffers moved {math.exp(farther[i]):.3g} times as far as its peers', limit {math.exp(bound):.3g}"
        for i in rows
        if farther[i] > bound
    }
