import itertools
import math
import statistics

import numpy as np
import pytest
import torch

from tdml.trust.medians import departure, median, median_of_others, scatter


def seeded(seed):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("rows", [1, 2, 3, 4, 7, 8])
@pytest.mark.parametrize("shape", [(), (5,), (2, 3)])
def test_median_over_the_first_dimension(rows, shape):
    values = torch.randn(rows, *shape, generator=seeded(rows)).double()
    np.testing.assert_allclose(median(values), np.median(values.numpy(), axis=0), rtol=1e-12)


@pytest.mark.parametrize("wild", [1e300, torch.inf])
def test_of_a_wild_minority_the_median_is_none(wild):
    assert median(torch.tensor([wild, 1.0, -wild, 2.0, 3.0]).double()) == 2.0
    others = median_of_others(torch.tensor([[wild], [1.0], [1.0], [3.0]]).double(), range(4)).flatten()
    assert others.tolist() == [1.0, 3.0, 3.0, 1.0]


# Of the others


def plain_median_of_others(values, trusted):
    result = np.empty(values.shape)
    for row in range(len(values)):
        peers = [other for other in trusted if other != row] or [row]
        for column in range(values.shape[1]):
            result[row, column] = np.median([values[peer, column] for peer in peers])
    return result


@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize(
    ("replicas", "trusted"),
    [
        (1, [0]), (2, [0, 1]), (3, [0, 1, 2]), (4, [0, 1, 2, 3]), (7, list(range(7))), (8, list(range(8))),
        (5, [3]), (5, [1, 4]), (5, [0, 2, 4]), (6, [5, 1, 2, 0]), (9, [8, 3, 5, 1, 0]),
    ],
)  # fmt: skip
def test_median_of_the_trusted_others(replicas, trusted, ties):
    values = torch.randn(replicas, 20, generator=seeded(replicas)).double()
    values = values.mul(1.5).round() if ties else values
    expected = plain_median_of_others(values.numpy(), trusted)
    np.testing.assert_allclose(median_of_others(values, trusted), expected, rtol=1e-12, atol=1e-12)


# Departure


@pytest.mark.parametrize(
    ("own", "peers", "expected"),
    [
        (5.0, [2.0], 3.0),
        (5.0, [1.0, 2.0], 3.0),
        (0.5, [1.0, 2.0], -0.5),
        (1.25, [1.0, 2.0], 0.0),
        (1.0, [1.0, 2.0], 0.0),
        (5.0, [1.0, 2.0, 4.0], 3.0),
        (1.75, [1.0, 2.0, 4.0], -0.25),
        (6.0, [4.0, 2.0, 1.0, 5.0], 2.0),
        (1.5, [4.0, 2.0, 1.0, 5.0], -0.5),
        (3.5, [4.0, 2.0, 1.0, 5.0], 0.0),
        (0.0, [3.0, 3.0, 3.0, 9.0], -3.0),
    ],
)
@pytest.mark.parametrize("place", [0, 1])
def test_from_the_nearer_of_the_middle_two(own, peers, expected, place):
    values = torch.tensor([*peers[:place], own, *peers[place:]]).double()
    found = departure(values, place, [i for i in range(len(values)) if i != place])
    assert isinstance(found, float)
    assert found == expected


@pytest.mark.parametrize("peers", range(1, 10))
def test_departure_by_the_standard_library(peers):
    generator = seeded(peers)
    for _ in range(20):
        values = torch.randn(peers + 2, generator=generator).double()  # the last is no peer
        rest = values[1:-1].tolist()
        low, high = values[0] - statistics.median_low(rest), values[0] - statistics.median_high(rest)
        nearer = 0.0 if low > 0 > high else float(min(low, high, key=abs))
        assert departure(values, 0, range(1, peers + 1)) == nearer


@pytest.mark.parametrize("wild", [1e9, -1e9])
@pytest.mark.parametrize(("honest", "liars"), [(2, 1), (3, 2), (4, 3)])
def test_a_minority_cannot_make_an_honest_one_depart_further_than_the_honest_do(wild, honest, liars):
    values = torch.cat([torch.rand(honest, generator=seeded(honest)), torch.full((liars,), wild)]).double()
    for i in range(honest):
        assert abs(departure(values, i, [j for j in range(len(values)) if j != i])) <= 1
    assert abs(departure(values, honest, [j for j in range(len(values)) if j != honest])) > 1e8


# Scatter


@pytest.mark.parametrize("replicas", [1, 2, 3, 4, 7, 8])
def test_scatter_is_three_times_the_shortest_interval_that_holds_most(replicas):
    values = torch.randn(replicas, generator=seeded(replicas)).double()
    most = math.floor(replicas / 2) + 1
    shortest = min(max(chosen) - min(chosen) for chosen in itertools.combinations(values.tolist(), most))
    assert scatter(values) == pytest.approx(3 * shortest)


@pytest.mark.parametrize(("replicas", "liars"), [(3, 1), (4, 1), (5, 2), (8, 3)])
def test_no_minority_makes_the_scatter_larger_than_that_of_the_honest(replicas, liars):
    for seed in range(20):
        values = torch.randn(replicas, generator=seeded(seed)).double()
        values[:liars] *= torch.logspace(0, 30, 20)[seed] * (-1) ** torch.arange(liars)
        honest = values[liars:]
        assert scatter(values) <= 3 * float(honest.max() - honest.min()) + 1e-9
