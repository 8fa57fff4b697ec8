"""The mean of the updates that count, block by block."""

from collections.abc import Sequence

import torch


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
    total = sum(weights)
    counted = [each for each in zip(block, weights, scales, strict=True) if each[1] > 0]
    rows = [row for row, _, _ in counted]
    factors = [scale * (weight / total) for _, weight, scale in counted]

    _sum([row[:parameters] for row in rows], factors, out[:parameters])
    if parameters < len(out):
        buffers = [row[parameters:] for row in rows]
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
