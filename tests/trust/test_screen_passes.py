"""The screen's passes: whoever is guilty is set aside, and the others are compared again."""

import pytest
import torch

from tdml.trust import screen
from tdml.trust.screen import features, gate
from tdml.trust.thresholds import ALIKE
from tests.trust.rounds import honest, turned_round


@pytest.mark.parametrize("attack", ["noise", "turned round", "a shift"])
def test_one_huge_attacker_leaves_three_honest_clean(attack):
    updates = honest(4, common=2.0)
    updates[3] = {"noise": 50 * honest(1, 5, 0.0)[0], "turned round": -50 * updates[3], "a shift": updates[3] + 50}[
        attack
    ]
    found = screen(updates)
    assert (found.suspects, found.guilty) == ((3,), (3,))


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
