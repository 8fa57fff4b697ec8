"""Samples that no training survives: they are named, as they are read."""

import math

import pytest
import torch

from tdml.data.faults import faults_of
from tdml.data.source import Source


class Samples:
    """Ten of three classes; `inputs` and `labels` have what is wrong, by index."""

    targets = [i % 3 for i in range(10)]  # noqa: RUF012 - what was looked at before the start

    def __init__(self, inputs=None, labels=None, draws=False):
        self.inputs, self.labels, self.draws = inputs or {}, labels or {}, draws

    def __len__(self):
        return 10

    def __getitem__(self, index):
        value = torch.full((2, 2), self.inputs.get(index, 1.0))
        if self.draws and torch.rand(()) < 0.3:
            value[0, 0] = math.nan
        return value, self.labels.get(index, index % 3)


def named(samples, batches=((0, 1, 2, 3), (4, 5, 6, 7)), seeds=(1, 2)):
    return faults_of(Source(samples, Samples(), 0), torch.tensor(batches), seeds)


def test_sound_samples_have_no_fault():
    assert named(Samples()) == ""
    assert named(Samples({9: math.nan}, {8: 5})) == "", "they are not among these"


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_is_named(bad):
    assert named(Samples({5: bad})) == "training sample 5 has values that are not finite"
    assert named(Samples({5: bad, 2: bad})) == "training samples 2, 5 have values that are not finite"


def test_a_label_that_is_no_class_is_named():
    assert named(Samples(labels={3: 3, 4: -100})) == "training samples 3, 4 have a label that is none of 0 to 2"


def test_the_first_few_are_named_and_each_once():
    bad = dict.fromkeys(range(10), math.nan)
    assert named(Samples(bad)) == "training samples 0, 1, 2 and others have values that are not finite"
    assert named(Samples({5: math.nan}), [(5, 5)] * 4, range(4)) == "training sample 5 has values that are not finite"


def test_both_faults_are_named():
    text = named(Samples({5: math.nan}, {5: 7, 6: 7}))
    assert text.startswith("training sample 5 has values that are not finite and training samples 5, 6 have a label")


def test_samples_are_read_as_they_were_trained_on():
    """With the augmentation that the seed of their step decides."""
    texts = [named(Samples(draws=True), seeds=seeds) for seeds in ((1, 2), (3, 4), (5, 6), (1, 2))]
    assert all("not finite" in text for text in texts)
    assert len(set(texts)) > 1 and texts[0] == texts[-1]
