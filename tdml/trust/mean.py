"""The mean of the updates that count, block by block."""

from collections.abc import Sequence

import torch

from tdml.trust.medians import median


def weighted_mean(
    updates: Sequence[torch.Tensor] | torch.Tensor, weights: Sequence[float]
) -> torch.Tensor:
    """n ≥ 1 rows of d numbers weighted by n numbers ≥ 0 → (d,) float32, added in the order of the
    rows; 0 if all weigh nothing."""
    total = sum(weights)
    mean = torch.zeros_like(updates[0])
    for row, weight in zip(updates, weights, strict=True):
        if weight > 0:
            mean.add_(row, alpha=weight / total)
    return mean


def combine(
    block: torch.Tensor, weights: Sequence[float], scales: Sequence[float], parameters: int
) -> torch.Tensor:
    """One block of what the updates of a stage come to: (n, k) float32 → (k,).

    Of its first `parameters` columns Σ wᵢ·cᵢ·uᵢ / Σ wᵢ, with the weights w and each update scaled
    by c ≤ 1, so that none outweighs the others (norm bounding: Sun et al., arXiv 1911.07963). Of
    the buffers that follow the median, number by number, over all that count: a variance that is
    moved a little too far is negative, after which the network computes nothing, and the median
    lies among the honest as long as most are. All zero if nothing counts.
    """
    rows = [row for row, weight in enumerate(weights) if weight > 0]
    if not rows:
        return torch.zeros(block.shape[1])
    total = sum(weights[row] for row in rows)
    mean = torch.zeros(parameters)
    for row in rows:
        mean.add_(block[row, :parameters], alpha=scales[row] * (weights[row] / total))
    buffers = block[rows][:, parameters:]
    return torch.cat([mean, median(buffers) if buffers.shape[1] else buffers[0]])
