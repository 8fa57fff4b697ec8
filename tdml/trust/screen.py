"""The screen: how far each replica's update stands out from its peers'. It points at suspects, and
never convicts.

Plain MANDERA always splits the replicas in two, so in a clean round it accuses someone. Here every
replica and stage gets a number: the largest distance, over five features, from the median of its
peers, in widths of the shortest interval that holds a majority of all. As long as most are honest,
nobody can make that wider than the honest lie apart, and one limit fits shares that are alike and
shares that are not.

- spread: standard deviation of its ranks, logarithm (MANDERA, Zhu et al., arXiv 2110.11736).
- level: mean of its ranks, in standard deviations of a rank.
- size: Euclidean norm of its parameters, logarithm; the same of its buffers.
- direction: mean cosine between its update and its peers'.

Two replicas with the same numbers stand out beyond every limit: different samples never lead there.

Some honest replicas stand out for long because of their samples, such as hard ones when all others
are learnt. A replica that was found clean at some distance may stand out as far again.
"""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import torch

from tdml.trust.commitment import BLOCK
from tdml.trust.fold import StageSums, Sums, fold_stage
from tdml.trust.medians import deviation, shortest
from tdml.trust.numbers import FLOOR, FLOOR_OF_SIZE, LEAST_RANKED, LEAST_REPLICAS, LIMIT, ROUNDING
from tdml.trust.ranking import Moments


@dataclass(frozen=True)
class Screening:
    """What the screen says of a round's updates, by replica."""

    reasons: dict[int, str]  # of those beyond the limit, in what they stand out most
    moments: Moments  # of the ranks of the whole updates, in the replicas' order
    distances: Mapping[int, float] = field(default_factory=dict)  # in widths
    # by feature, the signed distances that are beyond the limit
    beyond: Mapping[int, Mapping[str, float]] = field(default_factory=dict)

    @property
    def suspects(self) -> tuple[int, ...]:
        """The replicas that stand out beyond the limit."""
        return tuple(sorted(self.reasons))


def screen(updates: torch.Tensor, parameters: int | None = None) -> Screening:
    """Compare the updates of one round.

    Args:
        updates: (n, d) float32, finite, of the replicas 0 to n − 1. With n < 3 nobody stands out.
        parameters: how many of the columns are parameters; buffers follow. Unset: all of them.
    """
    count = updates.shape[1] if parameters is None else parameters
    starts = range(0, max(1, updates.shape[1]), BLOCK)
    blocks = [fold_stage(updates[:, a : a + BLOCK], max(0, min(count - a, BLOCK))) for a in starts]
    replicas = range(len(updates))
    return screen_sums([sum(blocks[1:], blocks[0])], replicas, replicas)


def screen_sums(
    stages: Sequence[StageSums],
    replicas: Sequence[int],
    comparable: Collection[int],
    cleared: Mapping[int, Mapping[str, Sequence[float]]] = MappingProxyType({}),
) -> Screening:
    """Compare replicas by the sums of their stages: each stage by itself, and the whole.

    Args:
        replicas: in the order in which the sums have them.
        comparable: those that have taken all of their steps. The others stand out only by the same
            numbers as another's: the update of fewer steps is smaller, and points elsewhere.
        cleared: by replica and feature, the range of distances at which it stood out before and was
            found clean: within it a distance counts as the limit at most.
    """
    whole = sum((stage.parameters for stage in stages[1:]), stages[0].parameters)
    rows = [row for row, index in enumerate(replicas) if index in comparable]
    if len(rows) < LEAST_REPLICAS:
        return Screening({}, whole.moments, dict.fromkeys(replicas, 0.0))
    several = len(stages) > 1
    each = {f"stage {s}: " if several else "": stage for s, stage in enumerate(stages)}
    places = [("", whole)] * several + [(s, each[s].parameters) for s in each]
    features = [(s + text, far) for s, sums in places for text, far in _features(sums, rows)]
    features += [(f"{s}size of its buffers", _sizes(each[s].buffers, rows)) for s in each]
    own = {i: {text: float(far[row]) for text, far in features} for row, i in enumerate(replicas)}
    farthest = {index: _farthest(far, cleared.get(index, {})) for index, far in own.items()}
    distances = {index: distance for index, (distance, _) in farthest.items()}
    reasons = {index: farthest[index][1] for index in replicas if distances[index] > LIMIT}
    beyond = {
        index: {text: far for text, far in each.items() if LIMIT < abs(far) < math.inf}
        for index, each in own.items()
    }
    return Screening(reasons, whole.moments, distances, beyond)


def _features(sums: Sums, rows: Sequence[int]) -> list[tuple[str, torch.Tensor]]:
    """By feature, the distances of all replicas, (n,) float64; of few coordinates not of ranks."""
    rest = [
        ("size", _sizes(sums, rows)),
        ("direction", _distances(_directions(sums.products, rows), rows, FLOOR)),
    ]
    if not is_ranked(sums):
        return rest
    moments = sums.moments
    pooled = (moments.std**2).mean().sqrt().clamp(min=ROUNDING)
    return [
        ("spread of its ranks", _distances(moments.std.clamp(min=ROUNDING).log(), rows, FLOOR)),
        ("mean of its ranks", _distances(moments.mean / pooled, rows, FLOOR)),
        ("same numbers as another's", _copies(sums.products)),
        *rest,
    ]


def is_ranked(sums: Sums) -> bool:
    """Whether there are enough coordinates for ranks, and equal numbers, to say anything."""
    return sums.ranks.coordinates >= LEAST_RANKED


def _sizes(sums: Sums, rows: Sequence[int]) -> torch.Tensor:
    return _distances(sums.norms.clamp(min=ROUNDING).log(), rows, FLOOR_OF_SIZE)


def _directions(products: torch.Tensor, rows: Sequence[int]) -> torch.Tensor:
    """The mean cosine of each update with those of comparable peers, (n,)."""
    norms = products.diagonal().clamp(min=0).sqrt()
    scales = norms[:, None] * norms
    cosines = torch.where(scales > 0, products / scales.clamp(min=1e-300), 0.0).fill_diagonal_(0)
    return cosines[:, list(rows)].sum(dim=1) / (len(rows) - 1)


def _distances(values: torch.Tensor, rows: Sequence[int], floor: float) -> torch.Tensor:
    """Signed distances from the median of the peers, in widths of the shortest interval that holds
    a majority; 0 for rows that are not comparable."""
    width = max(shortest(values[list(rows)], len(rows) // 2 + 1), floor)
    distances = torch.zeros(len(values), dtype=torch.float64)
    for i in rows:
        distances[i] = deviation(values, i, [j for j in rows if j != i]) / width
    return distances


def _copies(products: torch.Tensor) -> torch.Tensor:
    """Infinite for rows that equal another, else 0. Rows of zeros do not count, nor does a majority
    of equal rows: where nothing is learnt, as in a frozen stage, the honest agree."""
    squares = products.diagonal()
    both = squares[:, None] + squares
    same = ((both - 2 * products) <= ROUNDING * both) & (squares[:, None] > 0) & (squares > 0)
    equals = same.sum(dim=1)
    return torch.where((equals > 1) & (equals <= len(products) // 2), math.inf, 0.0).double()


def _farthest(
    own: Mapping[str, float], cleared: Mapping[str, Sequence[float]]
) -> tuple[float, str]:
    """A replica's largest distance, in what it is, in words; `cleared` as for `screen_sums`."""
    distance, text = max(
        (min(abs(far), LIMIT) if low <= far <= high else abs(far), text)
        for text, far in own.items()
        for low, high in [cleared.get(text, (0.0, 0.0))]
    )
    if math.isinf(distance):
        return distance, text
    return distance, f"{text} is {distance:.1f} widths off its peers', limit {LIMIT:.0f}"
