"""How far it takes to be guilty beyond all chance."""

import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import rankdata

from tdml.trust import screen
from tdml.trust.departures import Measures, find_departures
from tdml.trust.screen import features, gate, screen_stages
from tdml.trust.thresholds import ALIKE, SKEWED
from tests.trust.rounds import ATTACKS, honest, nearer_middle


@pytest.mark.parametrize(
    ("factors", "vast"),
    [
        ((1, 1, 1, 1, 10), (4,)),
        ((1, 1, 1, 1, 2.9), ()),  # below the limit
        ((1, 3, 9, 27, 81), ()),  # all of them lie far apart
        ((1, 1.5, 2, 2.5, 1e6), (4,)),
        ((1, 1e9, 1, 1e6, 1), (1, 3)),
    ],
)
def test_only_an_absurd_size_is_vast(factors, vast):
    updates = honest(5) * torch.tensor(factors, dtype=torch.float32)[:, None]
    overall, (stage,) = screen_stages([updates])
    assert overall.vast == stage.vast == vast
    assert set(vast) <= set(overall.guilty)
    assert screen(updates, SKEWED).vast == overall.certain == overall.apart == ()


def plain_apart(values, i):
    """The departure of value i in lengths of the shortest interval that holds three quarters of all values."""
    most = len(values) - len(values) // 4
    shortest = min(max(some) - min(some) for some in itertools.combinations(values, most))
    peers = [value for j, value in enumerate(values) if j != i]
    return abs(values[i] - nearer_middle(peers, values[i])) / shortest


@pytest.mark.parametrize(
    ("attack", "feature"),
    [("sign flip", "direction"), ("shift", "level"), ("mean of the others", "spread")],
)
def test_a_departure_is_beyond_chance_where_it_is_many_times_what_the_others_lie_apart(attack, feature):
    updates = honest(12, common=2.0)
    updates[1] = ATTACKS[attack][0](updates) + 2 * (attack == "shift")
    rows = updates.double().numpy()
    ranks, norms = rankdata(rows, axis=0), np.linalg.norm(rows, axis=1)
    cosines = rows @ rows.T / np.outer(norms, norms)
    stds = ranks.std(axis=1, ddof=1)
    values = {
        "direction": (cosines.sum(axis=1) - 1) / 11,
        "level": ranks.mean(axis=1) / math.sqrt((stds**2).mean()),
        "spread": np.log(stds),
    }[feature]
    ratio = plain_apart(list(values), 1)
    for factor, apart in ((0.999, (1,)), (1.001, ())):
        limits = replace(ALIKE, apart=factor * ratio, guilty_size=math.inf, outside_size=math.inf)
        found = gate(features(updates), limits)
        assert (found.guilty, found.apart, found.certain) == ((1,), apart, ())
    assert ratio > ALIKE.apart
    assert gate(features(updates), SKEWED).apart == ()


@pytest.mark.parametrize(("replicas", "bound"), [(4, math.exp(5)), (5, math.exp(10 / 3)), (8, math.exp(2)), (12, 7)])
def test_the_fewer_replicas_the_farther_it_takes_to_be_beyond_chance(replicas, bound):
    # The others' levels are 0, a, …, so that three quarters of all lie within `width`.
    most = replicas - replicas // 4
    values = torch.arange(replicas, dtype=torch.float64)
    width = most - 1.0
    nothing = torch.zeros(replicas, dtype=torch.float64)
    for factor, apart in ((1.01, True), (0.99, False)):
        # Less the nearer of the middle two of the others, which is the replicas / 2-th.
        levels = values.clone()
        levels[-1] = (replicas - 1) // 2 + factor * bound * width
        found = find_departures(Measures(nothing, levels, nothing, nothing), ALIKE)
        assert (found[-1].guilty, found[-1].apart) == (True, apart)


def few_decide_all(replicas, seed):
    """Honest updates of many coordinates that are all multiples of three numbers."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(replicas, 3, generator=generator) @ torch.randn(3, 3000, generator=generator)


@pytest.mark.parametrize("replicas", [3, 4, 5, 8, 12])
def test_where_few_numbers_decide_all_others_the_honest_may_be_guilty_but_not_beyond_chance(replicas):
    found = [screen(few_decide_all(replicas, seed)) for seed in range(200)]
    assert sum(len(part.guilty) for part in found) >= 20
    assert sum(len({*part.apart, *part.vast}) for part in found) <= 5  # of 600 and more replica-rounds


def test_the_vast_are_numbered_as_the_rows_in_every_pass():
    updates = honest(5) * torch.tensor([[1.0], [1e6], [1.0], [1e5], [8.0]])
    assert screen(updates).vast == (1, 3, 4)


def test_whoever_hands_in_the_same_as_the_vast_is_vast():
    updates = honest(7)
    updates[2] *= 50
    updates[5] = updates[2]
    assert screen(updates).vast == (2, 5)


@pytest.mark.parametrize(("counts", "certain"), [(True, (3,)), (False, ())])
def test_absurd_counts_are_certain_guilt_and_absurd_statistics_are_guilt(counts, certain):
    updates = honest(5)
    updates[:, 2900:] = 10.0 if counts else updates[:, 2900:]
    updates[3, 2900:] *= 1e4
    found, _ = screen_stages([updates], parameters=[2900])
    assert (found.guilty, found.certain) == ((3,), certain)


@pytest.mark.parametrize(
    ("attack", "limit"), [("sign flip", "-0.45"), ("mean of the others", "0.47"), ("a hundredfold", "limit 3")]
)
def test_the_reason_has_the_limit_that_was_passed(attack, limit):
    updates = honest(8, common=2.0)
    updates[1] = ATTACKS[attack][0](updates)
    assert limit in screen(updates).reasons[1]


def test_who_lies_outside_is_vast_only_if_size_and_spread_together_are_far_apart():
    zeros, sizes = torch.zeros(8).double(), torch.tensor([1.3, 0.0, 0.05, -0.05, 0.1, -0.1, 0.12, -0.12]).double()
    for spread, vast in ((0.35, False), (3.0, True)):
        spreads = torch.tensor([spread, -0.6, -0.6, -0.3, 0.0, 0.3, 0.5, 0.6]).double()
        found = find_departures(Measures(spreads, zeros, sizes, zeros), ALIKE)[0]
        assert (found.guilty, found.vast) == (True, vast)


@pytest.mark.parametrize(("times", "guilty"), [(50, ()), (150, (0,))])
def test_of_skewed_shares_a_hundred_times_the_size_is_guilty(times, guilty):
    updates = honest(6)
    updates[0] *= times
    assert screen(updates, SKEWED).guilty == guilty


@pytest.mark.parametrize(
    ("thresholds", "cosine", "guilty"),
    [(SKEWED, -0.5, False), (SKEWED, -0.6, True), (ALIKE, -0.5, True), (ALIKE, -0.4, False)],
)
def test_from_which_direction_on_one_is_guilty(thresholds, cosine, guilty):
    zeros = torch.zeros(6).double()
    directions = zeros.clone()
    directions[0] = cosine
    assert find_departures(Measures(zeros, zeros, zeros, directions), thresholds)[0].guilty == guilty
