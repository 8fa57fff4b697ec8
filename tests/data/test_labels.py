import numpy as np
import pytest
import torch
from torch.utils.data import ConcatDataset, Dataset, Subset, TensorDataset

from tdml.data.labels import labels_of

COUNT = 3000


class Kept(Dataset):
    """Sample i has label i mod 10, and `targets` say what they are given; how many samples were
    read is counted."""

    def __init__(self, targets, **more):
        self.targets, self.reads = targets, 0
        self.__dict__.update(more)

    def __len__(self):
        return COUNT

    def __getitem__(self, index):
        self.reads += 1
        return torch.zeros(1), index % 10


TRUE = [i % 10 for i in range(COUNT)]


def labels(dataset):
    return labels_of(dataset, lambda index: int(dataset[index][1]), seed=0)


@pytest.mark.parametrize(
    "targets",
    [
        TRUE,
        tuple(TRUE),
        np.array(TRUE, dtype=np.uint8),
        torch.tensor(TRUE),
        [float(label) for label in TRUE],
        [torch.tensor(label) for label in TRUE],
    ],
    ids=["list", "tuple", "numpy", "tensor", "floats", "list of tensors"],
)
def test_labels_that_a_dataset_keeps_spare_reading_its_samples(targets):
    dataset = Kept(targets)
    assert labels(dataset) == TRUE
    assert 10 <= dataset.reads <= 128


def test_so_do_those_below_subsets_and_within_joined_datasets():
    first, second = Kept(TRUE), Kept(torch.tensor(TRUE))
    joined = ConcatDataset([Subset(Subset(first, range(0, COUNT, 2)), [5, 3, 4]), second])
    assert labels(joined) == [0, 6, 8, *TRUE]
    assert first.reads + second.reads <= 128


def test_so_do_those_of_a_tensor_dataset(monkeypatch):
    dataset, reads = TensorDataset(torch.zeros(COUNT, 1), torch.tensor(TRUE)), []
    read = TensorDataset.__getitem__
    monkeypatch.setattr(
        TensorDataset,
        "__getitem__",
        lambda self, index: (reads.append(index), read(self, index))[1],
    )
    assert labels(Subset(dataset, range(7, COUNT))) == TRUE[7:]
    assert len(reads) <= 128


@pytest.mark.parametrize(
    "targets",
    [
        sorted(TRUE),
        [0] * COUNT,
        [9 if label == 4 else label for label in TRUE],
        [3 if i == 17 else 11 if i == 18 else label for i, label in enumerate(TRUE)],
        [-1, *TRUE[1:]],
        TRUE[:-1],
        [*TRUE, 0],
        [str(label) for label in TRUE],
        [label + 0.5 for label in TRUE],
        torch.eye(10)[torch.tensor(TRUE)],
        [[label] * (1 + label % 2) for label in TRUE],
        {"labels": TRUE},
        None,
    ],
    ids=[
        "other order",
        "none",
        "a class of ten",
        "one",
        "negative",
        "too few",
        "too many",
        "texts",
        "fractions",
        "one-hot",
        "ragged",
        "dict",
        "nothing",
    ],
)
def test_where_they_differ_from_the_samples_the_samples_decide(targets):
    assert labels(Kept(targets)) == TRUE


def test_a_change_of_labels_counts_where_the_samples_have_it():
    changed = Kept(TRUE, target_transform=lambda label: 9 - label)
    assert labels(changed) == TRUE  # for the samples do not have it
    assert changed.reads > COUNT
    dataset = Kept([9 - label for label in TRUE], target_transform=lambda label: 9 - label)
    assert labels(dataset) == TRUE
    assert dataset.reads <= 128


def test_every_class_is_compared_however_rare_it_is():
    """Class 9 has one sample among three thousand, and reads as 0 where it is read."""
    rare = [label % 9 for label in TRUE]
    rare[1234] = 9
    dataset = Kept(rare)
    found = labels_of(dataset, lambda index: (dataset[index], rare[index] % 9)[1], seed=0)
    assert found == [label % 9 for label in rare]


def test_a_subset_beyond_its_dataset_is_read_sample_by_sample():
    with pytest.raises(IndexError):
        labels(Subset(TensorDataset(torch.zeros(3, 1), torch.arange(3)), [0, 3]))
