"""Who reads the labels of a data set that does not keep them."""

import time

import pytest
import torch
from torch.utils.data import TensorDataset

from tdml.data.contents import contents_of
from tdml.data.source import Source


class Slow:
    """Takes its time for every sample, and keeps no labels."""

    def __init__(self, count, clock):
        self.count, self.clock, self.read = count, clock, []

    def __len__(self):
        return self.count

    def __getitem__(self, index):
        self.clock[0] += 0.5
        self.read.append(index)
        return torch.full((2,), float(index)), index % 3


@pytest.fixture
def clock(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    return now


def test_to_compare_data_few_samples_are_read(clock):
    train, test = Slow(10_000, clock), Slow(1_500, clock)
    found = contents_of(Source(train, test, seed=0), seed=0)
    assert found.training_labels == found.test_labels == ""
    assert max(len(train.read), len(test.read)) < 100
    few = Slow(50, clock)
    assert contents_of(Source(few, few, seed=0), seed=0).training_labels
    targets = torch.tensor([0, 1, 2] * 4)
    kept = TensorDataset(torch.rand(12, 2), targets)
    assert contents_of(Source(kept, kept, seed=0), seed=0).training_labels


@pytest.mark.parametrize(("count", "told"), [(10_000, True), (19, False)])
def test_who_reads_all_for_long_says_so(count, told, clock, capsys):
    labels = Source(Slow(count, clock), Slow(8, clock), seed=0).strata
    assert labels == [index % 3 for index in range(count)]
    text = "tdml: reading the class of each of 10,000 samples, for about 5000 s: a data set that"
    assert (text in capsys.readouterr().err) == told
