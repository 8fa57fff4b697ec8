"""Data and models that are not the same for everybody: trained rightly, or refused before any rank
trains."""

import os

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch import nn
from torch.utils.data import TensorDataset

from tests.jobs import run_job

HERE = "tests.test_repeatable_job"
MINE = [
    f"model._target_={HERE}.net",
    f"data._target_={HERE}.split_at_random",
    "~data.size",
    "topology.replicas=2",
]


def net(num_classes):
    return nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, num_classes))


def split_at_random():
    """Drawn without a seed, as most people do it."""
    images, labels = load_digits(return_X_y=True)
    one, other, *classes = train_test_split((images / 16).astype("float32"), labels, test_size=0.2)
    return tuple(
        TensorDataset(*map(torch.from_numpy, part))
        for part in ((one, classes[0]), (other, classes[1]))
    )


def listed_otherwise():
    """The files of this rank's machine come in another order."""
    train, test = split_at_random()
    if os.environ["RANK"] == "2":
        train = TensorDataset(*(tensor.flip(0) for tensor in train.tensors))
    return train, test


def drawn_by_the_system():
    generator = np.random.default_rng()
    inputs, labels = generator.random((200, 64), dtype=np.float32), generator.integers(10, size=200)
    samples = TensorDataset(torch.from_numpy(inputs), torch.from_numpy(labels))
    return samples, samples


@pytest.mark.slow
def test_a_split_without_a_seed_is_the_same_for_every_rank(tmp_path):
    result = run_job(tmp_path / "run", 5, *MINE, "rounds=3")
    assert result.statuses == [0] * 5, result.output
    assert result.accuracy > 0.8


@pytest.mark.slow
def test_ranks_that_list_the_samples_in_another_order_are_refused(tmp_path):
    result = run_job(
        tmp_path / "run", 5, *MINE, f"data._target_={HERE}.listed_otherwise", "rounds=3"
    )
    assert result.statuses == [1] * 5, result.output
    assert result.output.count("tdml: ") == 1
    assert (
        "data: the training labels of rank 2 and rank 0 differ: every rank must read"
        in result.output
    )
    assert not result.rounds


def test_data_that_no_seed_decides_are_refused(tmp_path):
    result = run_job(
        tmp_path / "run", 5, *MINE, f"data._target_={HERE}.drawn_by_the_system", "rounds=3"
    )
    assert result.statuses == [1] * 5, result.output
    assert "data: the training labels of rank" in result.output
