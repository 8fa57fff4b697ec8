import itertools

import pytest
import torch

from tdml.attacks import MinMax, MinSum
from tests.attacks.contexts import context, updates

DIRECTIONS = ["unit_mean", "sign", "std"]


def furthest(vector, honest):
    return max(float((vector - row).double().norm()) for row in honest)


def furthest_apart(honest):
    return max(float((a - b).double().norm()) for a, b in itertools.combinations(honest, 2))


def total(vector, honest):
    return sum(float((vector - row).double().square().sum()) for row in honest)


def largest_total(honest):
    return max(total(row, honest) for row in honest)


RULES = [(MinMax, furthest, furthest_apart), (MinSum, total, largest_total)]


@pytest.mark.parametrize("direction", DIRECTIONS)
@pytest.mark.parametrize(("attack", "distance", "bound"), RULES, ids=["min-max", "min-sum"])
@pytest.mark.parametrize(("honest", "coordinates"), [(2, 5), (6, 300), (12, 40)])
def test_it_keeps_the_bound_and_nothing_stronger_would(
    attack, distance, bound, direction, honest, coordinates
):
    rows = updates(honest, coordinates, seed=honest) * 0.01 + 0.003
    corrupted = attack(direction).corrupt(torch.ones(coordinates), context(rows))
    mean, limit = rows.mean(dim=0), bound(rows)
    assert distance(corrupted, rows) == pytest.approx(limit, rel=1e-4)
    assert distance(mean + 1.01 * (corrupted - mean), rows) > limit


@pytest.mark.parametrize(("attack", "distance", "bound"), RULES, ids=["min-max", "min-sum"])
def test_it_finds_what_the_papers_search_finds(attack, distance, bound):
    rows = updates(8, 100)
    mean, push, limit = rows.mean(dim=0), -rows.std(dim=0), bound(rows)
    found, gamma, step = 0.0, 10.0, 10.0
    while abs(found - gamma) > 1e-5:  # their Algorithm 1
        step /= 2
        if distance(mean + gamma * push, rows) <= limit:
            found, gamma = gamma, gamma + step
        else:
            gamma -= step
    corrupted = attack("std").corrupt(torch.ones(100), context(rows))
    torch.testing.assert_close(corrupted, mean + found * push, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("attack", [MinMax, MinSum])
@pytest.mark.parametrize("direction", DIRECTIONS)
def test_it_points_against_the_honest_mean_or_below_it(attack, direction):
    rows = updates(6, 200) + 0.1
    mean = rows.mean(dim=0)
    pushed = attack(direction).corrupt(torch.ones(200), context(rows)) - mean
    expected = {"unit_mean": -mean, "sign": -mean.sign(), "std": -rows.std(dim=0)}[direction]
    assert float(torch.cosine_similarity(pushed, expected, dim=0)) == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("attack", [MinMax("std"), MinSum("unit_mean")])
@pytest.mark.parametrize(
    "rows", [torch.ones(1, 4), torch.ones(3, 4), torch.zeros(3, 4)], ids=["one", "equal", "zero"]
)
def test_where_the_honest_leave_no_room_it_is_their_mean(attack, rows):
    corrupted = attack.corrupt(torch.full((4,), 9.0), context(rows))
    torch.testing.assert_close(corrupted, rows[0])


def test_with_nobody_honest_it_is_zero():
    assert MinMax("std").corrupt(torch.ones(3), context(torch.empty(0, 3))).tolist() == [0.0] * 3
