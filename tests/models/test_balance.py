import itertools
import random

import pytest
import torch
from torch import nn

from tdml.errors import SettingError
from tdml.models import balance as module
from tdml.models.balance import balance, count_costs, measure_costs
from tdml.models.split import Border, trace_borders


def heaviest(costs, cuts):
    edges = [0, *cuts, len(costs)]
    return max(sum(costs[start:stop]) for start, stop in itertools.pairwise(edges))


@pytest.mark.parametrize("seed", range(8))
def test_no_other_cuts_have_a_lighter_heaviest_stage(seed):
    generator = random.Random(seed)
    costs = [generator.randint(0, 9) for _ in range(8)]
    for parts in range(1, len(costs) + 1):
        cuts = balance(costs, parts)
        every = itertools.combinations(range(1, len(costs)), parts - 1)
        assert heaviest(costs, cuts) == min(heaviest(costs, other) for other in every)
        assert len(cuts) == parts - 1
        assert cuts == sorted(set(cuts))
        assert all(0 < cut < len(costs) for cut in cuts)


@pytest.mark.parametrize(
    ("costs", "parts", "cuts"),
    [
        ([1, 1, 1, 1], 2, [2]),
        ([9, 1, 1, 1], 2, [1]),
        ([1, 1, 1, 9], 2, [3]),
        ([3, 1, 2, 2, 4], 3, [2, 4]),
        ([5], 1, []),
        ([1, 2, 3], 3, [1, 2]),
        ([1, 1, 1], 2, [1]),  # 1 + 2 and 2 + 1 are equal: the earliest
        ([0, 0, 0], 2, [1]),
    ],
)
def test_cuts_by_hand(costs, parts, cuts):
    assert balance(costs, parts) == cuts


def test_more_parts_than_blocks():
    with pytest.raises(SettingError, match=r"topology\.stages asks for 4 parts .* only 3 blocks"):
        balance([1, 1, 1], 4)


def meta(*layers):
    with torch.device("meta"):
        return [layer() for layer in layers]


def test_counted_costs_by_hand():
    blocks = meta(lambda: nn.Linear(6, 10), nn.ReLU, lambda: nn.Linear(10, 3))
    borders = trace_borders(blocks, Border(torch.Size([4, 6]), torch.float32))
    # A product and a sum for each weight and sample, and one for each number returned.
    assert count_costs(blocks, borders) == [2 * 4 * 6 * 10 + 40, 40, 2 * 4 * 10 * 3 + 12]


def test_counted_cost_of_a_convolution_by_hand():
    blocks = meta(lambda: nn.Conv2d(3, 8, 3, padding=1))
    borders = trace_borders(blocks, Border(torch.Size([2, 3, 5, 5]), torch.float32))
    returned = 2 * 8 * 5 * 5
    assert count_costs(blocks, borders) == [2 * returned * 3 * 3 * 3 + returned]


class Clock:
    """A clock that only the blocks move."""

    def __init__(self):
        self.now = 0.0

    def perf_counter(self):
        return self.now

    def advance(self, seconds):
        self.now += seconds

    def __deepcopy__(self, memo):
        return self


class Takes(nn.Module):
    """Takes so many seconds, pass by pass, and as many again for the way back."""

    def __init__(self, clock, seconds):
        super().__init__()
        self.clock, self.seconds = clock, list(seconds)
        self.weight = nn.Parameter(torch.ones(()))

    def forward(self, value):
        seconds = self.seconds.pop(0)
        result = value * self.weight
        self.clock.advance(seconds)
        result.register_hook(lambda gradient: self.clock.advance(seconds))
        return result


def test_measured_costs_are_medians_of_both_ways_without_the_first(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    blocks = [Takes(clock, [90, 1, 8, 2]), Takes(clock, [90, 5, 5, 80])]
    assert measure_costs(blocks, [Border(torch.Size([2, 3]), torch.float32)] * 3) == [4, 10]


def test_measuring_leaves_the_model_as_it_was():
    blocks = [nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))]
    before = {name: tensor.clone() for name, tensor in blocks[0].state_dict().items()}
    measure_costs(blocks, [Border(torch.Size([2, 3]), torch.float32), Border(torch.Size([2, 4]), torch.float32)])
    assert all(torch.equal(tensor, before[name]) for name, tensor in blocks[0].state_dict().items())
    assert all(parameter.grad is None for parameter in blocks[0].parameters())
