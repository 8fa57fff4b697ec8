"""How far each replica of a round departs from its peers, and which departures count against it.

- spread: the standard deviation of its ranks, as a logarithm of the ratio to the median of its peers.
  Updates outside of the honest range have large spreads; those hidden in its middle have small ones.
- level: the mean of its ranks, in standard deviations of a rank, less the median of its peers.
- size: the norm of its update, as a logarithm of the ratio to the median of its peers. Small is no crime: it
  is what a replica hands in that has little left to learn. But next to nothing calls for a look at its work.
- direction: the mean cosine between its update and those of its peers. Work on a common task points
  the same way or nowhere; an update that cancels the others points against them.

A departure beyond the limit of guilt convicts alone only if it is also many times what the others lie apart. In a
stuck or unstable training, or where few numbers decide all others, honest replicas lie far apart too; and where nothing
is left to learn their sizes may differ by thousands, for a rare sample decides them.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch

from tdml.trust.evidence import CONVICTION
from tdml.trust.medians import departure, scatter, shortest
from tdml.trust.ranking import Moments
from tdml.trust.thresholds import Thresholds

_NOTHING = 1e-12


@dataclass(frozen=True)
class Measures:
    """What is compared, (n,) float64 each: logarithms of spread and size, levels, and mean cosines."""

    spreads: torch.Tensor
    levels: torch.Tensor
    sizes: torch.Tensor
    directions: torch.Tensor


@dataclass(frozen=True)
class Departure:
    """How one replica departs from its peers."""

    reasons: tuple[str, ...]
    guilty: bool
    apart: bool  # from its peers in rank or direction, farther than any chance would have it
    vast: bool  # the same in size


def measure(moments: Moments, products: torch.Tensor) -> Measures:
    """From the moments of n ≥ 2 updates' ranks and the (n, n) scalar products of the updates."""
    pooled = (moments.std**2).mean().sqrt().clamp(min=_NOTHING)
    norms = products.diagonal().clamp(min=0).sqrt()
    scales = norms[:, None] * norms
    cosines = torch.where(scales > 0, products / scales.clamp(min=1e-300), 0.0).fill_diagonal_(0)
    return Measures(
        moments.std.clamp(min=_NOTHING).log(), moments.mean / pooled, norms.clamp(min=_NOTHING).log(),
        cosines.sum(dim=1) / (len(products) - 1),
    )  # fmt: skip


def find_departures(found: Measures, limit: Thresholds) -> list[Departure]:
    """The departures of all replicas."""
    replicas = range(len(found.sizes))
    return [_depart(found, i, [j for j in replicas if j != i], limit) for i in replicas]


def _depart(found: Measures, i: int, peers: Sequence[int], limit: Thresholds) -> Departure:
    spread, level, size = (departure(values, i, peers) for values in (found.spreads, found.levels, found.sizes))
    direction = float(found.directions[i])
    outside = spread > limit.suspect_wide and size > limit.outside_size
    hidden = spread < limit.guilty_narrow and size > limit.narrow_size
    shifted, against = abs(level) > limit.guilty_level, direction < limit.guilty_direction
    large = size > limit.guilty_size
    reasons = []
    if not limit.suspect_narrow <= spread <= limit.suspect_wide:
        bound = limit.suspect_wide if spread > 0 else limit.guilty_narrow if hidden else limit.suspect_narrow
        reasons.append(f"rank spread {math.exp(spread):.2f} times its peers', limit {math.exp(bound):.2f}")
    if abs(level) > limit.suspect_level:
        bound = limit.guilty_level if shifted else limit.suspect_level
        reasons.append(f"mean rank {level:+.2f} standard deviations off its peers', limit {bound:.2f}")
    if not limit.suspect_small <= size <= limit.suspect_size or outside:
        upper = limit.outside_size if outside else limit.guilty_size if large else limit.suspect_size
        bound = upper if size > 0 else limit.suspect_small
        reasons.append(f"update {math.exp(size):.3g} times the size of its peers', limit {math.exp(bound):.3g}")
    if direction < limit.suspect_direction:
        bound = limit.guilty_direction if against else limit.suspect_direction
        reasons.append(f"points against its peers (mean cosine {direction:+.2f}, limit {bound})")
    is_apart = partial(_is_apart, i, peers, limit.apart)
    vast = (large and limit.apart < math.inf and size > scatter(found.sizes)) or (
        outside and is_apart(found.sizes, found.spreads)
    )
    apart = (
        (hidden and is_apart(found.spreads))
        or (shifted and is_apart(found.levels))
        or (against and is_apart(found.directions))
    )
    return Departure(tuple(reasons), hidden or outside or shifted or against or large, apart, vast)


def _is_apart(i: int, peers: Sequence[int], apart: float, *features: torch.Tensor) -> bool:
    """Whether replica i lies as far from its peers, in all of these features together, as no chance would have it.

    Let w be the length of the shortest interval that holds three quarters of all, m values. That so many lie so
    near to each other has a chance of about (w/d)^(m − 1), where d is how far values lie apart, and so the
    departure: one in exp(CONVICTION) rounds. Few replicas, therefore, must depart much farther than many.

    Args:
        apart: times w, at least; inf: nobody is.
    """
    replicas = len(peers) + 1
    most = replicas - replicas // 4
    bound = max(apart, math.exp(CONVICTION / (most - 1)))
    distances = [abs(departure(values, i, peers)) for values in features]
    widths = [shortest(values, most) for values in features]
    return math.prod(distances) > bound * math.prod(widths)
