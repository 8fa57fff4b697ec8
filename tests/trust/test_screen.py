import importlib
import math

import numpy as np
import pytest
import torch
from scipy.stats import rankdata

from tdml.trust import screen
from tdml.trust.screen import Features, Thresholds, features, gate

BLIND = {
    "suspect_spread": math.inf,
    "suspect_level": math.inf,
    "suspect_size": math.inf,
    "suspect_direction": -math.inf,
    "guilty_narrow": -math.inf,
    "narrow_size": -math.inf,
    "guilty_size": math.inf,
    "guilty_direction": -math.inf,
}


def honest(replicas, seed=0, common=1.0, coordinates=3000):
    """Work on a common task: the same direction for all, and each replica's own noise."""
    generator = torch.Generator().manual_seed(seed)
    direction = torch.randn(coordinates, generator=generator)
    return common * direction + torch.randn(replicas, coordinates, generator=generator)


def plain_features(updates, i):
    """Spread, level, size and direction of row i, straight from their definitions."""
    rows = updates.double().numpy()
    peers = [j for j in range(len(rows)) if j != i]
    ranks = rankdata(rows, axis=0)
    stds, norms = ranks.std(axis=1, ddof=1), np.linalg.norm(rows, axis=1)
    cosines = [rows[i] @ rows[j] / (norms[i] * norms[j]) for j in peers]
    return {
        "spread": math.log(stds[i] / np.median(stds[peers])),
        "level": (ranks[i].mean() - (len(rows) + 1) / 2) / math.sqrt((stds**2).mean()),
        "size": math.log(norms[i] / np.median(norms[peers])),
        "direction": float(np.mean(cosines)),
    }


def uneven(replicas):
    """Updates whose features all differ clearly from zero."""
    updates = honest(replicas, coordinates=500)
    scales = torch.linspace(-1.4, 3, replicas).view(-1, 1)
    return updates * scales + 0.3 * scales


@pytest.mark.parametrize("replicas", [3, 4, 7])
@pytest.mark.parametrize("feature", ["spread", "level", "size", "direction"])
def test_the_threshold_is_met_where_the_definition_says(feature, replicas):
    updates = uneven(replicas)
    for i in range(replicas):
        value = plain_features(updates, i)[feature]
        if feature == "direction":
            inside, outside = value - 1e-4, value + 1e-4
        else:
            inside, outside = abs(value) + 1e-4, abs(value) - 1e-4
        assert i not in screen(updates, Thresholds(**BLIND | {f"suspect_{feature}": inside})).suspects
        assert i in screen(updates, Thresholds(**BLIND | {f"suspect_{feature}": outside})).suspects


@pytest.mark.parametrize(
    ("limit", "feature", "sign"),
    [("guilty_size", "size", 1), ("guilty_direction", "direction", -1), ("guilty_narrow", "spread", -1)],
)
def test_guilt_has_a_threshold_of_its_own(limit, feature, sign):
    updates = uneven(5)
    for i in range(5):
        value = plain_features(updates, i)[feature]
        assert i in screen(updates, Thresholds(**BLIND | {limit: value - sign * 1e-4})).guilty
        assert i not in screen(updates, Thresholds(**BLIND | {limit: value + sign * 1e-4})).guilty


@pytest.mark.parametrize(("share", "guilty"), [(1.0, (2,)), (0.5, ())])
def test_hiding_in_the_middle_is_guilt_unless_the_update_is_small(share, guilty):
    # The mean of seven independent updates is 0.38 of their size; below a third it is small.
    updates = honest(8, common=0.0)
    updates[2] = share * updates[[0, 1, 3, 4, 5, 6, 7]].mean(dim=0)
    found = screen(updates)
    assert found.suspects == (2,)
    assert found.guilty == guilty


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
    "nothing": (lambda updates: torch.zeros_like(updates[1]), "times the size"),
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
