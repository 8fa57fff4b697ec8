"""The screen: who stands out among the updates of a round, and whether anyone does at all.

Plain MANDERA always splits the replicas in two, so in a clean round it accuses someone. Here a gate comes
first: a replica is suspect only if it departs from its peers further than honest replicas do. What is
compared, for each replica with the others:

- spread: the standard deviation of its ranks, as a logarithm of the ratio to the median of its peers.
  Updates outside of the honest range have large spreads; those hidden in its middle have small ones.
- level: the mean of its ranks, in standard deviations of a rank.
- size: the norm of its update, as a logarithm of the ratio to the median of its peers.
- direction: the mean cosine between its update and those of its peers. Work on a common task points
  the same way or nowhere; an update that cancels the others points against them.

Thresholds are stated in these natural units, not in multiples of an estimated error, because with few
replicas the error cannot be estimated. They were set from honest rounds (an MLP, a CNN and ResNet-18 on
the digits, 4 and 8 replicas, one step to one epoch a round, whole models and single stages). The largest
honest departures seen, IID and (in brackets) Dirichlet 0.1: spread 0.25 (0.60, of updates that were a
tenth of their peers' size), level 0.28 (0.62), size log 2.8 (log 17), direction −0.15 (−0.36).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from tdml.trust.ranking import Moments, RankSums, rank_sums

_BLOCK = 1 << 15  # coordinates multiplied at a time
LEAST_REPLICAS = 3  # of fewer, ranking says nothing


@dataclass(frozen=True)
class Thresholds:
    """Departures from which a replica is suspect, or guilty without any further evidence."""

    suspect_spread: float = 0.3
    suspect_level: float = 0.5
    suspect_size: float = math.log(4)
    suspect_direction: float = -0.2
    guilty_narrow: float = -0.6  # spread: in the middle of its peers nearly everywhere, and yet
    narrow_size: float = -math.log(3)  # not because it is small
    guilty_size: float = math.log(100)
    guilty_direction: float = -0.45


@dataclass(frozen=True)
class Features:
    """Sums over coordinates that the screen needs. Features of disjoint coordinates can be added."""

    ranks: RankSums
    products: torch.Tensor  # (n, n) float64: scalar products of the updates

    def __add__(self, other: "Features") -> "Features":
        return Features(self.ranks + other.ranks, self.products + other.products)


@dataclass(frozen=True)
class Screening:
    """What the screen found, by the rows of the updates."""

    suspects: tuple[int, ...]
    guilty: tuple[int, ...]  # those among the suspects who need no cross-check
    moments: Moments
    reasons: dict[int, str]  # of the suspects


def screen(updates: torch.Tensor, thresholds: Thresholds | None = None) -> Screening:
    """Find the suspects among the updates of one round.

    Args:
        updates: (n, d) floating point, finite. With n < 3 nobody can be suspect.
    """
    return gate(features(updates), thresholds or Thresholds())


def features(updates: torch.Tensor) -> Features:
    """The sums that `gate` judges by, for (n, d) finite updates."""
    products = torch.zeros(len(updates), len(updates), dtype=torch.float64, device=updates.device)
    for block in updates.split(_BLOCK, dim=1):
        wide = block.double()  # an absurd update must not overflow the products of the others
        products += wide @ wide.T
    return Features(rank_sums(updates), products.cpu())


def gate(found: Features, thresholds: Thresholds) -> Screening:
    """Decide who departs from the others, and why."""
    moments, replicas = found.ranks.moments(), len(found.products)
    if replicas < LEAST_REPLICAS:
        return Screening((), (), moments, {})
    suspects: dict[int, list[str]] = {}
    guilty = []
    for i in range(replicas):
        reasons, certain = _departures(found, moments, i, thresholds)
        if reasons:
            suspects[i] = reasons
        if certain:
            guilty.append(i)
    reasons = {i: "; ".join(texts) for i, texts in suspects.items()}
    return Screening(tuple(suspects), tuple(guilty), moments, reasons)


def _departures(found: Features, moments: Moments, i: int, limit: Thresholds) -> tuple[list[str], bool]:
    peers = [j for j in range(len(found.products)) if j != i]
    norms = found.products.diagonal().clamp(min=0).sqrt()
    spread = _log_ratio(moments.std, i, peers)
    level = _level(moments, i)
    size = _log_ratio(norms, i, peers)
    direction = _mean_cosine(found.products, norms, i, peers)
    reasons = []
    if abs(spread) > limit.suspect_spread:
        reasons.append(f"rank spread {math.exp(spread):.2f} times its peers'")
    if abs(level) > limit.suspect_level:
        reasons.append(f"mean rank {level:+.2f} standard deviations off the middle")
    if abs(size) > limit.suspect_size:
        reasons.append(f"update {math.exp(size):.3g} times the size of its peers'")
    if direction < limit.suspect_direction:
        reasons.append(f"points against its peers (mean cosine {direction:+.2f})")
    hidden = spread < limit.guilty_narrow and size > limit.narrow_size
    return reasons, hidden or size > limit.guilty_size or direction < limit.guilty_direction


def _log_ratio(values: torch.Tensor, i: int, peers: Sequence[int]) -> float:
    """log(vᵢ / median of the peers' v), bounded where either is zero."""
    least = 1e-12
    return math.log(max(float(values[i]), least) / max(float(_median(values[peers])), least))


def _level(moments: Moments, i: int) -> float:
    middle = (len(moments.mean) + 1) / 2
    pooled = float((moments.std**2).mean().sqrt())
    return (float(moments.mean[i]) - middle) / pooled if pooled > 0 else 0.0


def _mean_cosine(products: torch.Tensor, norms: torch.Tensor, i: int, peers: Sequence[int]) -> float:
    scales = norms[i] * norms[peers]
    cosines = torch.where(scales > 0, products[i, peers] / scales.clamp(min=1e-300), torch.zeros(()).double())
    return float(cosines.mean())


def _median(values: torch.Tensor) -> torch.Tensor:
    return values.quantile(0.5)
