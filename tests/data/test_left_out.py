"""Samples that nobody can train on."""

import math

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset

from tdml.data.faults import faults_of
from tdml.data.left_out import LeftOut
from tdml.data.source import Source

SHARE = np.array([3, 5, 8, 13, 21, 34])
BATCHES = np.array([[5, 8], [13, 3], [21, 34]])


def test_another_of_the_share_takes_the_place_in_later_rounds_alone():
    left_out = LeftOut({8: 2, 21: 2})
    assert left_out.replaced(BATCHES, SHARE, 2) is BATCHES, (
        "the orders of round 2 stay as they were"
    )
    made = left_out.replaced(BATCHES, SHARE, 3)
    same = ~np.isin(BATCHES, [8, 21])
    assert np.array_equal(made[same], BATCHES[same])
    assert set(made[~same].tolist()) <= {3, 5, 13, 34}
    assert np.array_equal(made, LeftOut({21: 1, 8: 2}).replaced(BATCHES, SHARE, 9))
    assert BATCHES[0, 1] == 8


def test_a_share_of_nothing_else_stays_as_it_is():
    left_out = LeftOut(dict.fromkeys(SHARE.tolist(), 0))
    assert left_out.replaced(BATCHES, SHARE, 1) is BATCHES


class Samples(Dataset):
    """Some cannot be read, or hold one value that is not what the others'."""

    def __init__(self, values=(), unreadable=(), odd=()):
        self.values, self.unreadable, self.odd = dict(values), unreadable, odd

    def __len__(self):
        return 12

    def __getitem__(self, index):
        if index in self.unreadable:
            raise OSError("no such file")
        inputs = torch.zeros(4 if index in self.odd else 3)
        inputs[1] = self.values.get(index, 0.5)
        return inputs, index % 3


@pytest.mark.parametrize(
    "samples",
    [
        Samples(unreadable=[5, 9]),
        Samples(odd=[5, 9]),
        *(Samples({5: value, 9: value}) for value in (math.nan, math.inf, -1e30)),
    ],
    ids=["unreadable", "of another form", "nan", "inf", "huge"],
)
def test_all_of_some_steps_that_nobody_can_train_on_are_found(samples):
    source = Source(samples, Samples(), 0)
    assert [*faults_of(source, torch.tensor([[0, 5, 2], [9, 1, 5]]), [1, 2])] == [5, 9]
    assert faults_of(source, torch.tensor([[0, 1, 2]]), [1]) == {}


def test_rounds_that_come_again_do_without_it():
    left_out = LeftOut({8: 5, 21: 2})
    left_out.take_back(3)
    assert 8 in left_out.replaced(BATCHES, SHARE, 3)
    assert 8 not in left_out.replaced(BATCHES, SHARE, 4), "which had shown it, or did not come to"
    assert left_out.since == {8: 3, 21: 2}
