import importlib
import itertools
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import rankdata

from tdml.trust import screen
from tdml.trust.departures import Measures, find_departures
from tdml.trust.screen import Features, features, gate, screen_stages
from tdml.trust.thresholds import ALIKE, SKEWED, Thresholds

BLIND = {
    "suspect_wide": math.inf,
    "suspect_narrow": -math.inf,
    "suspect_level": math.inf,
    "suspect_size": math.inf,
    "suspect_small": -math.inf,
    "suspect_direction": -math.inf,
    "guilty_narrow": -math.inf,
    "narrow_size": -math.inf,
    "guilty_level": math.inf,
    "guilty_size": math.inf,
    "outside_size": math.inf,
    "guilty_direction": -math.inf,
    "apart": math.inf,
}


def honest(replicas, seed=0, common=1.0, coordinates=3000):
    """Work on a common task: the same direction for all, and each replica's own noise."""
    generator = torch.Generator().manual_seed(seed)
    direction = torch.randn(coordinates, generator=generator)
    return common * direction + torch.randn(replicas, coordinates, generator=generator)


def nearer_middle(peers, own):
    """The median of the peers; of an even number the nearer of the middle two, and in between there is no departure."""
    order = sorted(peers)
    low, high = order[(len(order) - 1) // 2], order[len(order) // 2]
    return low if own < low else high if own > high else own


def plain_features(updates, i):
    """Spread, level, size and direction of row i, straight from their definitions."""
    rows = updates.double().numpy()
    peers = [j for j in range(len(rows)) if j != i]
    ranks = rankdata(rows, axis=0)
    means, stds, norms = ranks.mean(axis=1), ranks.std(axis=1, ddof=1), np.linalg.norm(rows, axis=1)
    cosines = [rows[i] @ rows[j] / (norms[i] * norms[j]) for j in peers]
    return {
        "spread": math.log(stds[i] / nearer_middle(stds[peers], stds[i])),
        "level": (means[i] - nearer_middle(means[peers], means[i])) / math.sqrt((stds**2).mean()),
        "size": math.log(norms[i] / nearer_middle(norms[peers], norms[i])),
        "direction": float(np.mean(cosines)),
    }


def uneven(replicas):
    """Updates whose features all differ clearly from zero."""
    updates = honest(replicas, coordinates=500)
    scales = torch.linspace(-1.4, 3, replicas).view(-1, 1)
    return updates * scales + 0.3 * scales


LIMITS = {  # the feature and the side on which it counts
    "suspect_wide": ("spread", 1),
    "suspect_narrow": ("spread", -1),
    "suspect_level": ("level", 0),
    "suspect_size": ("size", 1),
    "suspect_small": ("size", -1),
    "suspect_direction": ("direction", -1),
    "guilty_narrow": ("spread", -1),
    "guilty_level": ("level", 0),
    "guilty_size": ("size", 1),
    "guilty_direction": ("direction", -1),
}


@pytest.mark.parametrize("replicas", [3, 4, 7])
@pytest.mark.parametrize("limit", LIMITS)
def test_the_threshold_is_met_where_the_definition_says(limit, replicas):
    found = features(uneven(replicas))
    feature, side = LIMITS[limit]
    for i in range(replicas):
        value = plain_features(uneven(replicas), i)[feature]
        value, sign = (abs(value), 1) if side == 0 else (value, side)
        inside, outside = (gate(found, Thresholds(**BLIND | {limit: value + sign * step})) for step in (1e-4, -1e-4))
        if limit.startswith("suspect"):
            assert (i in inside.suspects, i in outside.suspects) == (False, True)
            assert list(outside.reasons) == list(outside.suspects)
            assert outside.guilty == ()
        else:
            assert (i in inside.guilty, i in outside.guilty) == (False, True)


@pytest.mark.parametrize("thresholds", [ALIKE, SKEWED])
def test_guilt_takes_more_than_suspicion(thresholds):
    # Otherwise the guilty would not be among the suspects.
    assert thresholds.guilty_narrow < thresholds.suspect_narrow < 0 < thresholds.suspect_wide
    assert thresholds.guilty_level > thresholds.suspect_level > 0
    assert thresholds.guilty_size > thresholds.suspect_size > 0 > thresholds.suspect_small
    assert thresholds.guilty_direction < thresholds.suspect_direction < 0


def test_skewed_shares_excuse_more():
    assert SKEWED.suspect_wide > ALIKE.suspect_wide
    assert SKEWED.suspect_narrow < ALIKE.suspect_narrow
    assert SKEWED.suspect_level > ALIKE.suspect_level
    assert SKEWED.suspect_size > ALIKE.suspect_size
    assert SKEWED.suspect_small < ALIKE.suspect_small
    assert SKEWED.suspect_direction < ALIKE.suspect_direction


@pytest.mark.parametrize(("share", "guilty"), [(1.0, (2,)), (0.5, ())])
def test_hiding_in_the_middle_is_guilt_unless_the_update_is_small(share, guilty):
    # The mean of seven independent updates is 0.38 of their size; below a third it is small.
    updates = honest(8, common=0.0)
    updates[2] = share * updates[[0, 1, 3, 4, 5, 6, 7]].mean(dim=0)
    found = screen(updates)
    assert found.suspects == (2,)
    assert found.guilty == guilty


@pytest.mark.parametrize("thresholds", [ALIKE, SKEWED])
@pytest.mark.parametrize("replicas", [3, 4, 8])
@pytest.mark.parametrize("share", [0.0, 1e-5])
def test_next_to_nothing_is_suspect_and_no_guilt(share, replicas, thresholds):
    updates = honest(replicas)
    updates[1] *= share
    found = gate(features(updates), thresholds)
    assert (found.suspects, found.guilty) == ((1,), ())
    assert "times the size of its peers', limit 0.0" in found.reasons[1]


def test_where_all_hand_in_nothing_nobody_is_suspect():
    assert screen(torch.zeros(4, 50)).suspects == ()


@pytest.mark.parametrize(
    ("wide", "size", "guilty"), [(1e-4, 1e-4, ()), (-1e-4, 1e-4, ()), (1e-4, -1e-4, ()), (-1e-4, -1e-4, (1,))]
)
def test_large_and_outside_of_its_peers_range_is_guilt(wide, size, guilty):
    updates = honest(6)
    updates[1] = 3 * honest(1, 5, 0.0)[0]
    value = plain_features(updates, 1)
    limits = {"suspect_wide": value["spread"] + wide, "outside_size": value["size"] + size}
    found = gate(features(updates), Thresholds(**BLIND | limits))
    assert found.guilty == guilty
    assert found.suspects == ((1,) if wide < 0 else ())


@pytest.mark.parametrize(("common", "guilty"), [(1.0, (2,)), (0.7, ())])
def test_turning_round_is_guilt_where_the_others_agree_well(common, guilty):
    # The mean cosine is −0.5, and −0.33.
    updates = honest(8, common=common)
    updates[2] = -updates[2]
    found = screen(updates)
    assert found.suspects == (2,)
    assert found.guilty == guilty


@pytest.mark.parametrize("replicas", [3, 4, 8, 16])
@pytest.mark.parametrize("common", [0.0, 1.0])
def test_nobody_is_suspect_in_a_clean_round(replicas, common):
    for seed in range(5):
        found = screen(honest(replicas, seed, common))
        assert (found.suspects, found.guilty, found.reasons) == ((), (), {})


def noise(updates):
    return updates.mean(dim=0) + 30 * torch.randn(updates.shape[1], generator=torch.Generator().manual_seed(9))


ATTACKS = {
    "noise": (noise, "rank spread"),
    "sign flip": (lambda updates: -updates[1], "points against its peers"),
    "shift": (lambda updates: updates[1] + 1, "mean rank"),
    "a hundredfold": (lambda updates: 150 * updates[1], "times the size"),
    "mean of the others": (lambda updates: updates[2:].mean(dim=0), "rank spread"),
}


@pytest.mark.parametrize(("attack", "reason"), ATTACKS.values(), ids=ATTACKS.keys())
@pytest.mark.parametrize("replicas", [4, 8])
def test_the_attacker_alone_is_suspect(attack, reason, replicas):
    updates = honest(replicas)
    updates[1] = attack(updates)
    found = screen(updates)
    assert found.suspects == (1,)
    assert list(found.reasons) == [1]
    assert reason in found.reasons[1]


@pytest.mark.parametrize("share", [0.02, 0.5])
@pytest.mark.parametrize("replicas", [4, 8])
def test_who_had_little_to_learn_is_no_suspect(share, replicas):
    updates = honest(replicas)
    updates[1] *= share
    assert screen(updates).suspects == ()


@pytest.mark.parametrize("scale", [1e10, 1e25, 3e37])
def test_a_wild_update_is_guilty_and_accuses_nobody_else(scale):
    updates = honest(6)
    updates[4] *= scale
    assert screen(updates).guilty == (4,)
    assert screen(updates).suspects == (4,)


def test_a_wild_update_does_not_hide_another_attacker():
    updates = honest(6, common=2.0)
    updates[1] = -updates[1]
    assert 1 in screen(updates).guilty
    updates[4] = 3e38 * updates[4].sign()
    assert 1 in screen(updates).guilty


@pytest.mark.parametrize("replicas", [1, 2])
def test_two_replicas_are_too_few_to_suspect_one(replicas):
    updates = honest(replicas)
    updates[0] *= 1e6
    found = screen(updates)
    assert (found.suspects, found.guilty, found.reasons) == ((), (), {})
    assert len(found.moments.mean) == replicas


@pytest.mark.parametrize("identical", [torch.zeros(4, 10), torch.ones(4, 10), torch.empty(4, 0)])
def test_identical_updates_accuse_nobody(identical):
    assert screen(identical).suspects == ()


def test_features_of_pieces_add_up():
    updates = uneven(5)
    pieces = [features(piece) for piece in updates.split(77, dim=1)]
    added = sum(pieces[1:], pieces[0])
    assert isinstance(added, Features)
    torch.testing.assert_close(added.products, updates.double() @ updates.double().T, rtol=1e-5, atol=1e-3)
    whole, summed = screen(updates), gate(added, Thresholds())
    assert (summed.suspects, summed.guilty) == (whole.suspects, whole.guilty)
    torch.testing.assert_close(summed.moments.std, whole.moments.std)


@pytest.mark.parametrize("coordinates", [1, 7, 8, 15, 40])
def test_more_coordinates_than_fit_into_a_block(monkeypatch, coordinates):
    monkeypatch.setattr(importlib.import_module("tdml.trust.screen"), "_BLOCK", 7)
    updates = uneven(5)[:, :coordinates].round()
    assert torch.equal(features(updates).products, updates.double() @ updates.double().T)


def test_moments_are_handed_on():
    updates = honest(4)
    ranks = rankdata(updates.numpy(), axis=0)
    moments = screen(updates).moments
    np.testing.assert_allclose(moments.mean, ranks.mean(axis=1))
    np.testing.assert_allclose(moments.std, ranks.std(axis=1, ddof=1))


# Equals


@pytest.mark.parametrize("replicas", [4, 8])
def test_copies_are_suspect_together_and_nobody_else(replicas):
    updates = honest(replicas)
    updates[3] = updates[1]
    found = screen(updates)
    assert (found.suspects, found.equals, found.guilty) == ((1, 3), ((1, 3),), ())
    assert found.reasons == dict.fromkeys((1, 3), "hands in the same numbers as 1 other")


def test_groups_of_equals_are_told_apart():
    updates = honest(8)
    updates[[4, 7]], updates[3] = updates[0].clone(), updates[2].clone()
    found = screen(updates)
    assert found.equals == ((0, 4, 7), (2, 3))
    assert found.suspects == (0, 2, 3, 4, 7)
    assert found.reasons[4] == "hands in the same numbers as 2 others"
    assert found.reasons[2] == "hands in the same numbers as 1 other"


@pytest.mark.parametrize(
    ("replicas", "equal", "grouped"),
    [
        (4, 2, True), (5, 2, True), (6, 3, True), (7, 3, True), (8, 4, True),
        (3, 2, False), (3, 3, False), (4, 3, False), (5, 3, False), (6, 4, False), (6, 6, False), (7, 4, False),
    ],
)  # fmt: skip
def test_up_to_half_of_all_are_a_group_but_a_majority_of_equals_accuses_nobody(replicas, equal, grouped):
    updates = honest(replicas)
    updates[:equal] = updates[0].clone()
    found = gate(features(updates), Thresholds(**BLIND))
    assert found.equals == ((tuple(range(equal)),) if grouped else ())
    assert found.suspects == (tuple(range(equal)) if grouped else ())
    assert found.guilty == ()


def test_beside_a_majority_of_equals_a_smaller_group_is_found():
    updates = honest(8)
    updates[:5], updates[6] = updates[0].clone(), updates[7].clone()
    found = gate(features(updates), Thresholds(**BLIND))
    assert (found.equals, found.suspects) == (((6, 7),), (6, 7))


@pytest.mark.parametrize("value", [0.0, -0.0])
def test_two_who_hand_in_nothing_are_no_equals(value):
    updates = honest(6)
    updates[[1, 4]] = value
    found = screen(updates)
    assert (found.equals, found.guilty) == ((), ())


@pytest.mark.parametrize("length", [4, 5, 16])
def test_what_equals_the_same_is_the_same(length):
    # A chain: neighbours differ by 1e-6 of their size, the ends by more, and its order is not that of the rows.
    updates, steps = honest(2 * length).double(), honest(length, 4).double()
    order = torch.randperm(length, generator=torch.Generator().manual_seed(1)).tolist()
    for before, row in itertools.pairwise(order):
        step = steps[row] - (steps[row] @ updates[before]) / (updates[before] @ updates[before]) * updates[before]
        updates[row] = updates[before] + 1.2e-6 * step * updates[before].norm() / step.norm()
    updates = updates.float()
    ends = updates[[order[0], order[-1], length, length + 1]]
    links = updates[[order[0], order[1], length, length + 1]]
    assert gate(features(ends), Thresholds(**BLIND)).equals == ()
    assert gate(features(links), Thresholds(**BLIND)).equals == ((0, 1),)
    assert gate(features(updates), Thresholds(**BLIND)).equals == (tuple(range(length)),)


@pytest.mark.parametrize(
    ("noise", "equal"), [(0.0, True), (1e-7, True), (1e-6, True), (3e-6, False), (1e-4, False), (1e-2, False)]
)
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e8])
def test_equal_but_for_rounding(noise, equal, scale):
    # Squared distances of 1e-12 of the two squared sizes: 1.4e-6 of the size.
    updates = honest(6)
    jitter = torch.randn(updates.shape[1], generator=torch.Generator().manual_seed(7))
    updates[2] = updates[5] + noise * jitter * updates[5].norm() / jitter.norm()
    assert screen(updates * scale).equals == (((2, 5),) if equal else ())


@pytest.mark.parametrize(("replicas", "equal"), [(4, 2), (6, 3)])
def test_copies_of_one_shift_do_not_make_the_honest_look_shifted(replicas, equal):
    # Half of all: against them each honest one is far below. All but one of the equals are set aside.
    updates = honest(replicas)
    updates[:equal] = updates[0] + 0.6
    assert gate(features(updates), ALIKE).suspects == tuple(range(replicas))
    found = screen(updates)
    assert found.suspects == tuple(range(equal))
    assert sorted(found.reasons) == list(range(equal))


# Several passes


@pytest.mark.parametrize("attack", ["noise", "turned round", "a shift"])
def test_one_huge_attacker_leaves_three_honest_clean(attack):
    updates = honest(4, common=2.0)
    updates[3] = {"noise": 50 * honest(1, 5, 0.0)[0], "turned round": -50 * updates[3], "a shift": updates[3] + 50}[
        attack
    ]
    found = screen(updates)
    assert (found.suspects, found.guilty) == ((3,), (3,))


def turned_round(replicas, attackers, seed=0, coordinates=3000):
    """The attackers turn the mean of the others round, so that even these point against their peers."""
    updates = honest(replicas, seed, 0.5, coordinates)
    updates[:attackers] = honest(attackers, 5, 0.0, coordinates) - 10 * updates[attackers:].mean(dim=0)
    return updates


@pytest.mark.parametrize(("replicas", "attackers"), [(5, 2), (6, 3)])
def test_who_is_distorted_by_the_guilty_is_no_suspect(replicas, attackers):
    updates = turned_round(replicas, attackers)
    first = gate(features(updates), ALIKE)
    assert first.guilty == tuple(range(attackers))
    assert set(first.suspects) > set(range(attackers))
    found = screen(updates)
    assert found.suspects == found.guilty == tuple(range(attackers))
    assert list(found.reasons) == list(range(attackers))


def test_who_hid_behind_the_guilty_is_found_in_the_next_pass():
    # Beside two wild updates the ranks of one with some noise are not wide.
    updates, noises = honest(7), honest(3, 3, common=0.0)
    updates[:2] = 30 * noises[:2]
    updates[2] += 3 * noises[2]
    assert gate(features(updates), ALIKE).suspects == (0, 1)
    found = screen(updates)
    assert (found.suspects, found.guilty) == ((0, 1, 2), (0, 1))
    assert found.reasons[2].startswith("rank spread")


def test_who_was_large_beside_the_huge_is_found_in_the_next_pass():
    # The median of its peers, 1, 1, 1e5 and 1e6 times as large, is 5e4.
    updates = honest(5) * torch.tensor([[1.0], [1e6], [1.0], [1e5], [8.0]])
    assert gate(features(updates), ALIKE).guilty == (1, 3)
    found = screen(updates)
    assert found.suspects == found.guilty == (1, 3, 4)
    assert "times the size" in found.reasons[4]


@pytest.mark.parametrize(("common", "scale"), [(0.0, 8.0), (1.0, 1.0)])
@pytest.mark.parametrize(("replicas", "attackers"), [(3, 1), (4, 1), (5, 2), (8, 3)])
def test_a_minority_that_shifts_does_not_make_the_honest_suspect(replicas, attackers, scale, common):
    updates = honest(replicas, common=common, coordinates=1000)
    updates[:attackers] = scale * (updates[:attackers] + 2)
    first, found = gate(features(updates), ALIKE), screen(updates)
    assert set(first.suspects) | set(found.suspects) <= set(range(attackers))


@pytest.mark.parametrize(("replicas", "equal"), [(4, 2), (6, 2), (7, 3)])
def test_equals_of_the_guilty_are_guilty(replicas, equal):
    updates = honest(replicas)
    updates[:equal] = -updates[0]
    found = screen(updates)
    assert found.guilty == found.suspects == found.equals[0] == tuple(range(equal))
    assert sorted(found.reasons) == list(range(equal))


def test_equals_of_those_who_are_not_guilty_are_not():
    updates = honest(8)
    updates[:2], updates[3] = -updates[0], updates[2]
    found = screen(updates)
    assert (found.equals, found.guilty, found.suspects) == (((0, 1), (2, 3)), (0, 1), (0, 1, 2, 3))


def test_three_replicas_do_not_tell_whom_the_guilty_distorted():
    updates = turned_round(3, 1)
    assert gate(features(updates), ALIKE).suspects == (0, 1, 2)
    found = screen(updates)
    assert (found.suspects, found.guilty) == ((0,), (0,))
    assert list(found.reasons) == [0]


def test_moments_are_those_of_all_replicas():
    updates = honest(6)
    updates[2] *= 100
    assert screen(updates).guilty == (2,)
    assert torch.equal(screen(updates).moments.std, features(updates).ranks.moments().std)


# Stages


def test_the_stage_is_named_and_only_that():
    stages = [honest(6, seed, coordinates=2000) for seed in range(3)]
    stages[1][4] = noise(stages[1])
    whole, by_stage = screen_stages(stages)
    assert [found.guilty for found in by_stage] == [(), (4,), ()]
    assert [found.suspects for found in by_stage] == [(), (4,), ()]
    assert whole.suspects == (4,)


def test_a_small_stage_is_judged_by_itself():
    stages = [honest(6, 0, coordinates=50_000), honest(6, 1, coordinates=500)]
    stages[1][2] = -stages[1][2]
    whole, by_stage = screen_stages(stages)
    assert whole.suspects == ()
    assert by_stage[0].suspects == ()
    assert by_stage[1].guilty == (2,)


def test_who_is_guilty_at_one_stage_only_is_set_aside_too():
    stages = [honest(5, 1, 5.0, coordinates=50_000), turned_round(5, 2)]
    assert set(gate(features(stages[1]), ALIKE).suspects) > {0, 1}
    whole, by_stage = screen_stages(stages)
    assert (whole.guilty, by_stage[0].suspects) == ((), ())
    assert by_stage[1].suspects == by_stage[1].guilty == (0, 1)


def test_equal_at_one_stage():
    stages = [honest(5, seed) for seed in range(2)]
    stages[1][3] = stages[1][0]
    whole, by_stage = screen_stages(stages)
    assert (whole.equals, by_stage[0].equals, by_stage[1].equals) == ((), (), ((0, 3),))
    assert by_stage[1].suspects == (0, 3)


def test_a_frozen_stage_accuses_nobody():
    whole, by_stage = screen_stages([honest(4), torch.zeros(4, 100)])
    assert [found.suspects for found in (whole, *by_stage)] == [()] * 3


def test_a_stage_without_parameters_accuses_nobody_and_hides_nobody():
    stages = [torch.empty(5, 0), honest(5)]
    stages[1][3] *= 100
    whole, by_stage = screen_stages(stages)
    assert (whole.guilty, by_stage[0].suspects, by_stage[1].guilty) == ((3,), (), (3,))
    assert torch.equal(whole.moments.std, by_stage[1].moments.std)
    assert by_stage[0].moments.mean.tolist() == [3.0] * 5


def test_one_stage_is_the_whole():
    updates = uneven(6)
    whole, (only,) = screen_stages([updates])
    for field in ("suspects", "guilty", "reasons", "equals"):
        assert getattr(whole, field) == getattr(only, field) == getattr(screen(updates), field)
    assert torch.equal(whole.moments.std, only.moments.std)


# Buffers


def with_buffers(stages, count=20, seed=0):
    """Stages whose last `count` columns are buffers, which hardly differ; the last of them counts batches."""
    generator = torch.Generator().manual_seed(seed)
    moved = [
        torch.randn(count, generator=generator) + 0.01 * torch.randn(len(s), count, generator=generator) for s in stages
    ]
    for buffers in moved:
        buffers[:, -1] = 3.0
    return [torch.cat(pair, dim=1) for pair in zip(stages, moved, strict=True)], [s.shape[1] for s in stages]


@pytest.mark.parametrize(("times", "guilty"), [(3.0, ()), (5.0, (2,)), (-5.0, (2,)), (1e30, (2,))])
def test_who_moves_the_buffers_too_far_is_guilty_at_that_stage_and_as_a_whole(times, guilty):
    # The buffers alone are too few coordinates to matter to anything else.
    stages, parameters = with_buffers([honest(6, seed, coordinates=20_000) for seed in range(2)], count=3)
    stages[1][2, 20_000:] *= times
    whole, by_stage = screen_stages(stages, ALIKE, parameters)
    assert [found.guilty for found in (whole, *by_stage)] == [guilty, (), guilty]
    assert [found.suspects for found in (whole, *by_stage)] == [guilty, (), guilty]
    for found in (whole, by_stage[1]):
        assert all("buffers moved" in found.reasons[row] for row in guilty)
        assert sorted(found.reasons) == list(guilty)


@pytest.mark.parametrize(
    "attack", [lambda own: -own, lambda own: 50 * own, lambda own: 0 * own], ids=["turned", "large", "nothing"]
)
def test_large_buffers_hide_nothing_that_is_done_to_the_parameters(attack):
    """Counters and statistics move a hundred times as far as the parameters, and point the same way."""
    (stage,), (count,) = with_buffers([honest(6, common=2.0)])
    stage[:, count:] *= 1e4
    bare = stage[:, :count].clone()
    stage[2, :count], bare[2] = attack(stage[2, :count]), attack(bare[2])
    found, expected = screen_stages([stage], ALIKE, [count])[0], screen(bare)
    assert found.suspects == (2,)
    assert (found.suspects, found.guilty, found.reasons) == (expected.suspects, expected.guilty, expected.reasons)


def test_copied_parameters_are_equal_whatever_the_buffers():
    (stage,), (count,) = with_buffers([honest(6)])
    stage[4, :count] = stage[1, :count]
    assert screen_stages([stage], ALIKE, [count])[0].equals == ((1, 4),)


def test_of_unknown_buffers_nobody_is_guilty():
    (stage,), (count,) = with_buffers([honest(6, coordinates=20_000)], count=3)
    stage[2, count:] *= 5
    assert screen_stages([stage])[0].guilty == screen_stages([stage], ALIKE, [20_003])[0].guilty == ()
    whole, (only,) = screen_stages([stage], ALIKE, [count])
    assert (whole.guilty, whole.reasons) == (only.guilty, only.reasons) == ((2,), whole.reasons)


def test_all_reasons_of_one_with_large_buffers_are_given():
    (stage,), (count,) = with_buffers([honest(6, common=2.0)])
    stage[1] *= -100
    reason = screen_stages([stage], SKEWED, [count])[0].reasons[1]
    assert reason.startswith("buffers moved 1")
    assert "points against its peers" in reason


def test_who_has_large_buffers_is_set_aside_when_the_others_are_compared_again():
    # Beside the two of them the ranks of one with some noise are not wide.
    updates, noises = honest(7), honest(3, 3, common=0.0)
    updates[:2] = 30 * noises[:2]
    updates[2] += 3 * noises[2]
    (stage,), (count,) = with_buffers([updates], count=3)
    stage[:2, count:] *= 5
    blind = Thresholds(**BLIND | {"suspect_wide": ALIKE.suspect_wide})
    assert screen_stages([stage], blind)[0].guilty == ()
    found = screen_stages([stage], blind, [count])[0]
    assert (found.guilty, found.suspects) == ((0, 1), (0, 1, 2))


def test_a_stage_of_buffers_alone():
    stages, parameters = with_buffers([torch.empty(5, 0), honest(5)])
    assert screen_stages(stages, ALIKE, parameters)[0].suspects == ()
    stages[0][3] *= 5
    whole, by_stage = screen_stages(stages, ALIKE, parameters)
    assert [found.guilty for found in (whole, *by_stage)] == [(3,), (3,), ()]


def test_equals_of_one_with_large_buffers_are_guilty():
    (stage,), (count,) = with_buffers([honest(6)])
    stage[[1, 4], count:] *= 5
    stage[4] = stage[1]
    found = screen_stages([stage], ALIKE, [count])[0]
    assert (found.guilty, found.equals) == ((1, 4), ((1, 4),))


# What must not matter


def mixed(seed):
    """Honest, two copies, one wild, one turned round."""
    updates = honest(9, seed, common=2.0)
    updates[1] *= 1e3
    updates[4] = -updates[4]
    updates[7] = updates[5]
    return updates


@pytest.mark.parametrize("seed", range(4))
def test_the_order_of_the_replicas_does_not_matter(seed):
    updates = mixed(seed)
    order = torch.randperm(9, generator=torch.Generator().manual_seed(seed)).tolist()
    usual, shuffled = screen(updates), screen(updates[order])
    assert usual.suspects == (1, 4, 5, 7)
    assert usual.guilty == (1, 4)
    for field in ("suspects", "guilty"):
        assert {order[i] for i in getattr(shuffled, field)} == set(getattr(usual, field))
    assert [{order[i] for i in group} for group in shuffled.equals] == [{5, 7}]
    assert {order[i]: reason for i, reason in shuffled.reasons.items()} == usual.reasons


@pytest.mark.parametrize("scale", [1e-9, 0.37, -1.0, 2e8])
def test_the_scale_of_all_updates_does_not_matter(scale):
    usual, scaled = screen(mixed(0)), screen(scale * mixed(0))
    assert (usual.suspects, usual.guilty, usual.equals) == (scaled.suspects, scaled.guilty, scaled.equals)


def test_the_updates_are_left_as_they_were():
    updates = mixed(0)
    screen(updates)
    assert torch.equal(updates, mixed(0))


# Certain guilt


@pytest.mark.parametrize(
    ("factors", "certain"),
    [
        ((1, 1, 1, 1, 10), (4,)),
        ((1, 1, 1, 1, 2.9), ()),  # below the limit
        ((1, 3, 9, 27, 81), ()),  # all of them lie far apart
        ((1, 1.5, 2, 2.5, 1e6), (4,)),
        ((1, 1e9, 1, 1e6, 1), (1, 3)),
    ],
)
def test_only_an_absurd_size_is_certain_guilt(factors, certain):
    updates = honest(5) * torch.tensor(factors, dtype=torch.float32)[:, None]
    overall, (stage,) = screen_stages([updates])
    assert overall.certain == stage.certain == certain
    assert set(certain) <= set(overall.guilty)


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
def test_a_departure_is_certain_guilt_where_it_is_many_times_what_the_others_lie_apart(attack, feature):
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
    for factor, certain in ((0.999, (1,)), (1.001, ())):
        limits = replace(ALIKE, apart=factor * ratio, guilty_size=math.inf, outside_size=math.inf)
        found = gate(features(updates), limits)
        assert (found.guilty, found.certain) == ((1,), certain)
    assert ratio > ALIKE.apart
    assert gate(features(updates), SKEWED).certain == ()


@pytest.mark.parametrize(("replicas", "bound"), [(4, math.exp(5)), (5, math.exp(10 / 3)), (8, math.exp(2)), (12, 7)])
def test_the_fewer_replicas_the_farther_it_takes_to_be_certain(replicas, bound):
    # The others' levels are 0, a, …, so that three quarters of all lie within `width`.
    most = replicas - replicas // 4
    values = torch.arange(replicas, dtype=torch.float64)
    width = most - 1.0
    nothing = torch.zeros(replicas, dtype=torch.float64)
    for factor, certain in ((1.01, True), (0.99, False)):
        # Less the nearer of the middle two of the others, which is the replicas / 2-th.
        levels = values.clone()
        levels[-1] = (replicas - 1) // 2 + factor * bound * width
        found = find_departures(Measures(nothing, levels, nothing, nothing), ALIKE)
        assert (found[-1].guilty, found[-1].certain) == (True, certain)


def few_decide_all(replicas, seed):
    """Honest updates of many coordinates that are all multiples of three numbers."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(replicas, 3, generator=generator) @ torch.randn(3, 3000, generator=generator)


@pytest.mark.parametrize("replicas", [3, 4, 5, 8, 12])
def test_where_few_numbers_decide_all_others_the_honest_may_be_guilty_but_not_for_certain(replicas):
    found = [screen(few_decide_all(replicas, seed)) for seed in range(200)]
    assert sum(len(part.guilty) for part in found) >= 20
    assert sum(len(part.certain) for part in found) <= 5  # of 600 and more replica-rounds


def test_the_certainly_guilty_are_numbered_as_the_rows_in_every_pass():
    updates = honest(5) * torch.tensor([[1.0], [1e6], [1.0], [1e5], [8.0]])
    assert screen(updates).certain == (1, 3, 4)


def test_whoever_hands_in_the_same_as_the_certainly_guilty_is_too():
    updates = honest(7)
    updates[2] *= 50
    updates[5] = updates[2]
    assert screen(updates).certain == (2, 5)


def test_absurd_buffers_are_certain_guilt():
    updates = honest(5)
    updates[3, 2900:] *= 1e4
    found, _ = screen_stages([updates], parameters=[2900])
    assert (found.guilty, found.certain) == ((3,), (3,))


@pytest.mark.parametrize(
    ("attack", "limit"), [("sign flip", "-0.45"), ("mean of the others", "0.47"), ("a hundredfold", "limit 3")]
)
def test_the_reason_has_the_limit_that_was_passed(attack, limit):
    updates = honest(8, common=2.0)
    updates[1] = ATTACKS[attack][0](updates)
    assert limit in screen(updates).reasons[1]
