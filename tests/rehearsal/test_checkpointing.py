"""Which models may be computed block by block twice, as train.activation_checkpointing has it."""

import random

import pytest
import torch
from torch import nn

from tdml.errors import SettingError
from tests.rehearsal.rehearsals import through


class Restless(nn.Linear):
    """Draws from Python's generator."""

    def forward(self, value):
        return super().forward(value) * torch.full((5,), random.random())


class Doubled(nn.Module):
    """Works in place."""

    def forward(self, value):
        return value.mul_(2)


def net(middle):
    return nn.Sequential(nn.Linear(6, 5), *middle, nn.Linear(5, 3))


def norm():
    return net([nn.BatchNorm1d(5)])


def restless():
    return net([Restless(5, 5)])


def in_place():
    return net([nn.Dropout(0.5), Doubled()])


@pytest.mark.parametrize("microbatches", [1, 2])
@pytest.mark.parametrize(
    ("made", "where"),
    [("norm", "next value of running_mean of block 1"), ("restless", "gradient of weight")],
)
def test_what_cannot_be_computed_twice_is_refused(made, where, microbatches):
    target = f"{__name__}.{made}"
    assert through(target=target, microbatches=microbatches) == ""
    with pytest.raises(
        SettingError, match=rf"activation_checkpointing=true computes .* the {where}.*: set it fa"
    ):
        through(target=target, microbatches=microbatches, checkpointing=True)


def test_dropout_and_work_in_place_may_be():
    assert through(target=f"{__name__}.in_place", checkpointing=True) == ""
