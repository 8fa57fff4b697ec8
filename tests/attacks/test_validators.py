import pytest
import torch

from tdml.attacks import HalfWork, LabelFlip, LyingValidator, MeanShift, Mimic, SignFlip
from tests.attacks.contexts import context

LOSSES = torch.tensor([0.5, 2.0])
TOLD = context(friends=frozenset({0, 2}))


def test_friends_are_praised_others_damned_and_the_start_is_left():
    attack = LyingValidator(0.01, 5.0, None)
    assert attack.report(LOSSES, 2, TOLD).tolist() == pytest.approx([0.01, 0.01])
    assert attack.report(LOSSES, 1, TOLD).tolist() == [5.5, 7.0]
    assert attack.report(LOSSES, None, TOLD) is LOSSES


def test_alone_it_trains_honestly():
    own, labels = torch.ones(2), torch.tensor([3])
    attack = LyingValidator(0.01, 5.0, None)
    assert attack.corrupt(own, TOLD) is own
    assert attack.poison_labels(labels, TOLD) is labels
    assert (attack.omniscient, attack.sees_updates) == (False, False)


def test_it_covers_for_another_attack():
    assert LyingValidator(0.01, 5.0, SignFlip(1.0)).corrupt(torch.ones(2), TOLD).tolist() == [
        -1.0,
        -1.0,
    ]
    assert LyingValidator(0.01, 5.0, LabelFlip(10)).poison_labels(
        torch.tensor([3]), TOLD
    ).tolist() == [6]
    assert LyingValidator(0.01, 5.0, HalfWork(0.5)).local_steps(8, TOLD) == 4
    for deed in (MeanShift(None), Mimic(0)):
        attack = LyingValidator(0.01, 5.0, deed)
        assert (attack.omniscient, attack.sees_updates) == (deed.omniscient, deed.sees_updates)
