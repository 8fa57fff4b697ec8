"""Updates that are equal, and what the screen makes of those who hand them in."""

import itertools

import pytest
import torch

from tdml.trust import screen
from tdml.trust.screen import features, gate
from tdml.trust.thresholds import ALIKE, Thresholds
from tests.trust.rounds import BLIND, honest


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
