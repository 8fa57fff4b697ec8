"""Samples that no training survives: they are named, as they are read."""

import math

import pytest
import torch
from torch.utils.data import TensorDataset

from tdml.data.faults import faults_of, in_words
from tdml.data.source import Source
from tdml.tasks import Task


class Plain(Task):
    def losses(self, output, targets):
        return (output - targets).abs().mean(dim=1)


class Samples:
    """Ten of three classes; `inputs` has what is wrong, by index."""

    def __init__(self, inputs=None, draws=False):
        self.inputs, self.draws = inputs or {}, draws

    def __len__(self):
        return 10

    def __getitem__(self, index):
        value = torch.full((2, 2), self.inputs.get(index, 1.0))
        if self.draws and torch.rand(()) < 0.3:
            value[0, 0] = math.nan
        return value, index % 3


def named(samples, batches=((0, 1, 2, 3), (4, 5, 6, 7)), seeds=(1, 2)):
    source = Source(samples, Samples(), 0)
    return in_words(source, faults_of(source, torch.tensor(batches), seeds))


def test_sound_samples_have_no_fault():
    assert named(Samples()) == ""
    assert named(Samples({9: math.nan})) == "", "it is not among these"


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_named(bad):
    assert named(Samples({5: bad})) == "training sample 5 has values that are not finite"
    assert (
        named(Samples({5: bad, 2: bad})) == "training samples 2, 5 have values that are not finite"
    )


def test_what_no_square_is_finite_of_is_named():
    text = "training sample 5 has values so large that their squares are not finite"
    assert named(Samples({5: 1e30})) == text
    assert named(Samples({5: 1e18})) == ""
    assert "2 has values that are not finite" in named(Samples({5: 1e30, 2: math.nan}))


def test_the_first_few_are_named_and_each_once():
    bad = dict.fromkeys(range(10), math.nan)
    assert (
        named(Samples(bad)) == "training samples 0, 1, 2 and others have values that are not finite"
    )
    assert (
        named(Samples({5: math.nan}), [(5, 5)] * 4, range(4))
        == "training sample 5 has values that are not finite"
    )


def test_samples_are_read_as_they_were_trained_on():
    """With the augmentation that the seed of their step decides."""
    texts = [named(Samples(draws=True), seeds=seeds) for seeds in ((1, 2), (3, 4), (5, 6), (1, 2))]
    assert all("not finite" in text for text in texts)
    assert len(set(texts)) > 1 and texts[0] == texts[-1]


def test_what_there_is_no_number_to_be_said_of_is_named():
    """Of several some may be missing, as the task may know."""
    inputs, targets = torch.ones(10, 2), torch.ones(10, 2)
    targets[5], targets[6, 0] = math.nan, math.nan
    source = Source(TensorDataset(inputs, targets), Samples(), 0, Plain())
    faults = faults_of(source, torch.tensor([[4, 5, 6, 7]]), [1])
    assert in_words(source, faults) == "training sample 5 has a target that is not finite"
