"""Medians over replicas, without the overhead that `torch.quantile` has on small tensors."""

from collections.abc import Sequence

import torch

_WIDTHS = 3.0


def median(values: torch.Tensor) -> torch.Tensor:
    """Over the first dimension; of an even number the mean of the middle two."""
    order = values.sort(dim=0).values
    return (order[(len(order) - 1) // 2] + order[len(order) // 2]) / 2


def median_of_others(values: torch.Tensor, trusted: Sequence[int]) -> torch.Tensor:
    """For each of n rows the median over the trusted rows but itself, column by column: (n, s) → (n, s)."""
    chosen = values[list(trusted)]
    result = median(chosen).expand_as(values).clone()
    if len(trusted) < 2:
        return result
    order = chosen.sort(dim=0).values
    lower, upper = (len(trusted) - 2) // 2, (len(trusted) - 1) // 2  # of the rows that are left
    for row in trusted:
        own = values[row]
        pick = [torch.where(own <= order[k], order[k + 1], order[k]) for k in (lower, upper)]
        result[row] = (pick[0] + pick[1]) / 2
    return result


def departure(values: torch.Tensor, i: int, peers: Sequence[int]) -> float:
    """vᵢ less the median of the peers' v; of an even number of peers less the nearer of the middle two, lest one be
    an attacker's, and 0 between them."""
    order = values[list(peers)].sort().values
    low, high = order[(len(peers) - 1) // 2], order[len(peers) // 2]
    return float(values[i] - values[i].clamp(low, high))


def shortest(values: torch.Tensor, count: int) -> float:
    """The length of the shortest interval that holds `count` of the values."""
    order = values.sort().values
    return float((order[count - 1 :] - order[: len(order) - count + 1]).min())


def scatter(values: torch.Tensor) -> float:
    """How far from the others one of n values may lie where nothing is wrong with it: three times the length of the
    shortest interval that holds most of them. As long as the honest are the majority, nobody can make that longer
    than three times what the honest lie apart. Half of the values would not do: of four, two are near by chance."""
    return _WIDTHS * shortest(values, len(values) // 2 + 1)
