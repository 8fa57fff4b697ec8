"""The average of the accepted updates, in which nobody can outweigh the others.

Parameters and buffers are combined apart. What a round does to BatchNorm's statistics and counters is a hundred times
as large as what it does to the parameters, and would hide whatever an attacker does to these. And a variance that is
moved a little too far is negative, after which the network computes nothing: so the statistics are not averaged.
"""

import math
from collections.abc import Sequence

import torch

from tdml.trust.medians import median

LARGEST = 2.0  # times the median size; honest updates on like shares differ by less


def combine(stages: Sequence[torch.Tensor], weights: Sequence[float], parameters: Sequence[int]) -> list[torch.Tensor]:
    """What the accepted updates come to, (d_s,) float32 by stage: the `bounded_mean` of their parameters, and of their
    buffers the median, number by number, which lies among the honest ones as long as most of the updates are honest.

    Args:
        stages, weights: as for `bounded_mean`; among those of weight above 0 all count alike in the median.
        parameters: how many of each stage's columns are parameters; buffers follow.
    """
    parts = list(zip(stages, parameters, strict=True))
    means = bounded_mean([updates[:, :count] for updates, count in parts], weights)
    rows = [row for row, weight in enumerate(weights) if weight > 0]
    middles = [
        median(updates[rows, count:]) if rows else updates.new_zeros(updates.shape[1] - count)
        for updates, count in parts
    ]
    return [torch.cat(pair) for pair in zip(means, middles, strict=True)]


def bounded_mean(stages: Sequence[torch.Tensor], weights: Sequence[float]) -> list[torch.Tensor]:
    """The weighted mean of updates that are each scaled down to at most LARGEST times the median size.

    The size is the Euclidean norm over all stages. So an attacker who is not yet found out does no more than
    an honest replica that is twice wrong (norm bounding: Sun et al., arXiv 1911.07963). Where no update is
    that large, the result is the plain weighted mean, bit for bit.

    Args:
        stages: one (n, d_s) float32 matrix per stage.
        weights: n numbers ≥ 0; rows of weight 0 take no part. If all are 0 the mean is 0.
    """
    rows = [row for row, weight in enumerate(weights) if weight > 0]
    if not rows:
        return [
            torch.zeros_like(updates[0]) if len(updates) else updates.new_zeros(updates.shape[1]) for updates in stages
        ]
    squares = torch.stack([_squares(updates[rows]) for updates in stages]).sum(dim=0)
    sizes = squares.sqrt()
    middle = float(sizes.sort().values[(len(sizes) - 1) // 2])  # of an even number the lower: it may be one of two
    limit = LARGEST * middle if middle > 0 else math.inf
    total = sum(weights[row] for row in rows)
    bounds = [limit / size if size > limit else 1.0 for size in sizes.tolist()]
    means = [torch.zeros_like(updates[0]) for updates in stages]
    for mean, updates in zip(means, stages, strict=True):
        for row, bound in zip(rows, bounds, strict=True):
            mean.add_(updates[row], alpha=bound * (weights[row] / total))
    return means


def weighted_mean(updates: Sequence[torch.Tensor] | torch.Tensor, weights: Sequence[float]) -> torch.Tensor:
    """The plain mean, which bounds nobody: n ≥ 1 rows of d numbers weighted by n numbers → (d,) float32, added in the
    order of the rows."""
    total = torch.zeros_like(updates[0])
    for row, weight in zip(updates, weights, strict=True):
        total.add_(row, alpha=weight / sum(weights))
    return total


def _squares(updates: torch.Tensor) -> torch.Tensor:
    return torch.stack([torch.linalg.vector_norm(row, dtype=torch.float64) ** 2 for row in updates])
