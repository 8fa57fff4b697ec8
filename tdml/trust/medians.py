"""Medians over replicas, without the overhead that `torch.quantile` has on small tensors."""

from collections.abc import Sequence

import torch


def deviation(values: torch.Tensor, i: int, peers: Sequence[int]) -> float:
    """vᵢ less the median of the peers' v. With an even number of peers, one of the middle two may
    be an attacker's: then it is vᵢ less the nearer of these, and 0 between them."""
    order = values[list(peers)].sort().values
    low, high = order[(len(peers) - 1) // 2], order[len(peers) // 2]
    return float(values[i] - values[i].clamp(low, high))


def shortest(values: torch.Tensor, count: int) -> float:
    """The length of the shortest interval that holds `count` of the values."""
    order = values.sort().values
    return float((order[count - 1 :] - order[: len(order) - count + 1]).min())
