"""The mean of the updates that count, block by block."""

from collections.abc import Sequence

import torch


def weighted_mean(
    updates: Sequence[torch.Tensor] | torch.Tensor, weights: Sequence[float]
) -> torch.Tensor:
    """n ≥ 1 rows of d numbers weighted by n numbers ≥ 0 → (d,) float32, added in the order of the
    rows; 0 if all weigh nothing. ValueError where there are more of one than of the other."""
    total, out = sum(weights), torch.empty(len(updates[0]))
    counted = [pair for pair in zip(updates, weights, strict=True) if pair[1] > 0]
    _sum([row for row, _ in counted], [weight / total for _, weight in counted], out)
    return out


def combine(
    block: Sequence[torch.Tensor] | torch.Tensor,
    weights: Sequence[float],
    scales: Sequence[float],
    parameters: int,
    out: torch.Tensor,
) -> None:
    """One block of what the updates of a stage come to: n ≥ 1 rows (k,) float32 → `out`, (k,).

    Of its first `parameters` columns Σ wᵢ·cᵢ·uᵢ / Σ wᵢ, with the weights w and each update scaled
    by c ≤ 1, so that none outweighs the others (norm bounding: Sun et al., arXiv 1911.07963). Of
    the buffers that follow the median, number by number, over all that count: a variance that is
    moved a little too far is negative, after which the network computes nothing, and the median
    lies among the honest as long as most are. With an even number "no change" joins them, so that
    neither of two updates moves them further than the other. All zero if nothing counts.
    """
    rows, total = [row for row, weight in enumerate(weights) if weight > 0], sum(weights)
    counted = [block[row] for row in rows]
    factors = [scales[row] * (weights[row] / total) for row in rows]
    _sum([row[:parameters] for row in counted], factors, out[:parameters])
    if parameters < len(out):
        buffers = [row[parameters:] for row in counted]
        if len(buffers) % 2 == 0:
            buffers.append(torch.zeros_like(out[parameters:]))
        out[parameters:] = torch.stack(buffers).median(dim=0).values


def _sum(rows: Sequence[torch.Tensor], factors: Sequence[float], out: torch.Tensor) -> None:
    """Σ fᵢ·rowᵢ of one block; `out` stays in the cache meanwhile."""
    if not rows:
        out.zero_()
        return
    torch.mul(rows[0], factors[0], out=out)
    for row, factor in zip(rows[1:], factors[1:], strict=True):
        out.add_(row, alpha=factor)
