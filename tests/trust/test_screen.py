import importlib

import numpy as np
import pytest
import torch
from scipy.stats import rankdata

from tdml.trust import screen
from tdml.trust.screen import Features, features, gate
from tdml.trust.thresholds import ALIKE, SKEWED, Thresholds
from tests.trust.rounds import ATTACKS, BLIND, honest, plain_features, uneven

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
