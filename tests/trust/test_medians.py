import itertools
import statistics

import pytest
import torch

from tdml.trust.medians import deviation, shortest


def seeded(seed):
    return torch.Generator().manual_seed(seed)


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
    found = deviation(values, place, [i for i in range(len(values)) if i != place])
    assert isinstance(found, float)
    assert found == expected


@pytest.mark.parametrize("peers", range(1, 10))
def test_departure_by_the_standard_library(peers):
    generator = seeded(peers)
    for _ in range(20):
        values = torch.randn(peers + 2, generator=generator).double()  # the last is no peer
        rest = values[1:-1].tolist()
        low, high = (
            values[0] - statistics.median_low(rest),
            values[0] - statistics.median_high(rest),
        )
        nearer = 0.0 if low > 0 > high else float(min(low, high, key=abs))
        assert deviation(values, 0, range(1, peers + 1)) == nearer


@pytest.mark.parametrize("wild", [1e9, -1e9])
@pytest.mark.parametrize(("honest", "liars"), [(2, 1), (3, 2), (4, 3)])
def test_a_minority_cannot_make_an_honest_one_depart_further_than_the_honest_do(
    wild, honest, liars
):
    values = torch.cat(
        [torch.rand(honest, generator=seeded(honest)), torch.full((liars,), wild)]
    ).double()
    for i in range(honest):
        assert abs(deviation(values, i, [j for j in range(len(values)) if j != i])) <= 1
    assert abs(deviation(values, honest, [j for j in range(len(values)) if j != honest])) > 1e8


# Shortest interval


@pytest.mark.parametrize("replicas", [1, 2, 3, 4, 7, 8])
def test_shortest_interval_that_holds_most(replicas):
    values = torch.randn(replicas, generator=seeded(replicas)).double()
    most = replicas // 2 + 1
    lengths = [
        max(chosen) - min(chosen) for chosen in itertools.combinations(values.tolist(), most)
    ]
    assert shortest(values, most) == pytest.approx(min(lengths))


@pytest.mark.parametrize(("replicas", "liars"), [(3, 1), (4, 1), (5, 2), (8, 3)])
def test_no_minority_makes_the_shortest_interval_longer_than_the_honest_do(replicas, liars):
    for seed in range(20):
        values = torch.randn(replicas, generator=seeded(seed)).double()
        values[:liars] *= torch.logspace(0, 30, 20)[seed] * (-1) ** torch.arange(liars)
        honest = values[liars:]
        assert shortest(values, replicas // 2 + 1) <= float(honest.max() - honest.min()) + 1e-9
