import itertools
import random

import pytest
import torch
from torch import nn

from tdml.models.stage_costs import balance, count_costs


def heaviest(costs, cuts):
    edges = [0, *cuts, len(costs)]
    return max(sum(costs[start:stop]) for start, stop in itertools.pairwise(edges))


@pytest.mark.parametrize("seed", range(8))
def test_no_other_cuts_have_a_lighter_heaviest_stage(seed):
    generator = random.Random(seed)
    costs = [generator.randint(0, 9) for _ in range(8)]
    for places in (range(1, 8), sorted(generator.sample(range(1, 8), 4))):
        for parts in range(1, len(places) + 2):
            cuts = balance(costs, parts, places)
            every = itertools.combinations(places, parts - 1)
            assert heaviest(costs, cuts) == min(heaviest(costs, other) for other in every)
            assert len(cuts) == parts - 1
            assert cuts == sorted(set(cuts))
            assert set(cuts) <= set(places)


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
    assert balance(costs, parts, range(1, len(costs))) == cuts


def test_counted_costs_by_hand():
    blocks = [nn.Linear(6, 10), nn.ReLU(), nn.Linear(10, 3)]
    # A product and a sum for each weight and sample, and one for each number returned.
    assert count_costs(blocks, torch.zeros(4, 6)) == [2 * 4 * 6 * 10 + 40, 40, 2 * 4 * 10 * 3 + 12]


def test_counted_cost_of_a_convolution_by_hand():
    returned = 2 * 8 * 5 * 5
    costs = count_costs([nn.Conv2d(3, 8, 3, padding=1)], torch.zeros(2, 3, 5, 5))
    assert costs == [2 * returned * 3 * 3 * 3 + returned]


class Attention(nn.Module):
    """Of a sequence to itself; may look at its values, which only real numbers have."""

    def __init__(self, looks):
        super().__init__()
        self.looks = looks

    def forward(self, value):
        if self.looks and value.max() > 100:
            return value
        return nn.functional.scaled_dot_product_attention(value, value, value)


@pytest.mark.parametrize("looks", [False, True])
def test_the_cost_of_attention_is_counted_wherever_the_block_runs(looks):
    batch, heads, length, width = 2, 3, 5, 7
    products = 2 * (2 * batch * heads * length * length * width)
    inputs = torch.zeros(batch, heads, length, width)
    assert count_costs([Attention(looks)], inputs) == [products + batch * heads * length * width]


class Last(nn.LSTM):
    def forward(self, value):
        return super().forward(value)[0]


def test_the_cost_of_an_lstm_by_hand():
    batch, length, inputs, hidden = 2, 5, 3, 4
    products = 2 * batch * length * (inputs + hidden) * 4 * hidden
    costs = count_costs(
        [Last(inputs, hidden, batch_first=True)], torch.zeros(batch, length, inputs)
    )
    assert costs == [products + batch * length * hidden]


class OneHot(nn.Module):
    """Numbers of classes, which have no gradients, into something that needs none."""

    def forward(self, value):
        return nn.functional.one_hot(value, 4).float()


def test_weighing_leaves_the_model_as_it_was():
    blocks = [
        OneHot(),
        nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4)),
        nn.ReLU(inplace=True),
        nn.Dropout(0.5),
    ]
    before = {name: tensor.clone() for name, tensor in blocks[1].state_dict().items()}
    drawn = torch.get_rng_state()
    inputs = torch.tensor([1, 3])
    assert all(found > 0 for found in count_costs(blocks, inputs))
    assert all(torch.equal(tensor, before[name]) for name, tensor in blocks[1].state_dict().items())
    assert all(parameter.grad is None for parameter in blocks[1].parameters())
    assert torch.equal(torch.get_rng_state(), drawn)
    assert inputs.tolist() == [1, 3]


class Forces(nn.Module):
    """Computes gradients itself, as networks of physics do."""

    def __init__(self):
        super().__init__()
        self.energy = nn.Sequential(nn.Linear(6, 6), nn.Tanh())

    def forward(self, value):
        with torch.enable_grad():
            places = value.detach().requires_grad_()
            energy = self.energy(places).sum()
            [forces] = torch.autograd.grad(energy, places, create_graph=True)
        return forces


def test_a_block_that_computes_gradients_itself_is_weighed_by_its_size():
    costs = count_costs([nn.Linear(6, 6), Forces()], torch.randn(4, 6))
    assert costs[1] == 2 * 4 * (6 * 6 + 6) + 4 * 6
