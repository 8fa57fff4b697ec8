import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset, TensorDataset

from tdml.data import cifar10, digits
from tdml.data.source import Source, fetch, load
from tdml.errors import SettingError
from tdml.tasks import Classification
from tests.data.points import Points

# Users' own data


def points(train, test, noisy=False):
    return Points(train, noisy), Points(test)


def four(size):
    return (Points(size),) * 4


def judged(size, judging):
    return Points(size), Points(size), None if judging is None else Points(judging)


def one(size):
    return Points(size)


def refuses(size):
    raise SettingError("data.size: not this one")


def breaks(size):
    raise RuntimeError("the disk\nis gone")


def iterators(size):
    return iter(range(size)), iter(range(size))


class Stream(IterableDataset):
    """Knows its length."""

    def __iter__(self):
        return iter([])

    def __len__(self):
        return 3


class WithoutLength(Dataset):
    """Read by index, of unknown length."""

    def __getitem__(self, index):
        return torch.zeros(2), 0


def loaders(size):
    return DataLoader(Points(size)), DataLoader(Points(size))


def by_name(size):
    return {"train": Points(size), "test": Points(size)}


def stream(size):
    """It has a length, and does not know it."""
    return DataLoader(WithoutLength())


def streams(size):
    return Stream(), Stream()


def endless(size):
    return Points(size), WithoutLength()


def settings(function, **arguments):
    return {
        "_target_": f"{__name__}.{function.__name__}",
        "partition": "iid",
        "alpha": 0.5,
        **arguments,
    }


def test_a_users_own_data():
    source = load(settings(points, train=6, test=4), seed=0)
    inputs, labels = source.training_batch([4, 1], seed=0)
    assert inputs.tolist() == [[4.0, 4.0], [1.0, 1.0]]
    assert (labels.tolist(), labels.dtype) == ([1, 1], torch.int64)
    assert source.size("validation") + source.size("test") == 4


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ({"_target_": "tdml.data.nothing"}, "data=tdml.data.nothing cannot be used"),
        (settings(points, train=6), f"data={__name__}.points cannot be used"),
        (
            settings(breaks, size=3),
            f"data={__name__}.breaks cannot be used: RuntimeError: the disk",
        ),
        (settings(refuses, size=3), "data.size: not this one"),
        (
            settings(iterators, size=3),
            (
                f"data._target_={__name__}.iterators must return a training and a test dataset "
                "with a length"
            ),
        ),
        (
            settings(points, train=-1, test=4),
            f"data._target_={__name__}.points: a dataset does not",
        ),
        (settings(points, train=0, test=4), f"data={__name__}.points is too small"),
        (
            settings(points, train=4, test=1),
            f"data={__name__}.points is too small: it needs a training sample and two test samples",
        ),
    ],
    ids=[
        "unknown",
        "argument missing",
        "fails",
        "refuses",
        "no length",
        "a length that is none",
        "no training data",
        "one test sample",
    ],
)
def test_what_cannot_be_loaded_is_the_users_mistake(data, message):
    with pytest.raises(SettingError) as caught:
        load(data, seed=0)
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("function", "size", "returned"),
    [
        (four, 3, "tuple of 4"),
        (one, 3, "Points"),
        (one, 2, "Points"),
        (by_name, 3, "dict"),
        (stream, 3, "DataLoader"),
        (loaders, 3, "DataLoader, which is not read by index: "),
        (streams, 3, "Stream, which is not read by index: "),
        (endless, 3, "WithoutLength, which is not read by index: "),
        (iterators, 3, "range_iterator, which is not read by index: "),
    ],
)
def test_what_are_no_two_datasets_is_the_users_mistake(function, size, returned):
    with pytest.raises(SettingError) as caught:
        load(settings(function, size=size), seed=0)
    assert (
        "must return a training and a test dataset with a length, as a tuple: it returned a "
        f"{returned}" in str(caught.value)
    )


# Validation and test


def test_the_halves_share_no_sample():
    source = Source(Points(3), Points(11), seed=5)
    validation, test = source.halves["validation"].tolist(), source.halves["test"].tolist()
    assert sorted(validation + test) == list(range(11))
    assert (source.size("validation"), source.size("test")) == (5, 6)


def test_the_halves_are_drawn_by_the_seed():
    draws = [Source(Points(3), Points(40), seed).halves["test"].tolist() for seed in (5, 5, 6)]
    assert draws[0] == draws[1] != draws[2]
    assert draws[0] != sorted(draws[0])


@pytest.mark.parametrize("split", ["validation", "test"])
def test_positions_count_within_a_half(split):
    source = Source(Points(3), Points(10), seed=5)
    inputs, labels = source.held_out_batch(split, [4, 0])
    members = source.halves[split][[4, 0]]
    assert inputs[:, 0].tolist() == members.tolist()
    assert labels.tolist() == (members % 3).tolist()


# Shapes of datasets


@pytest.mark.parametrize(
    "dataset",
    [
        TensorDataset(torch.arange(12.0).view(6, 2), torch.arange(6, dtype=torch.int32)),
        Subset(TensorDataset(torch.arange(24.0).view(12, 2), torch.arange(12)), range(6)),
        [(torch.tensor([2.0 * i, 2.0 * i + 1]), i) for i in range(6)],
        [(np.array([2 * i, 2 * i + 1], dtype=np.float32), np.int64(i)) for i in range(6)],
    ],
    ids=["tensors", "subset", "list", "numpy"],
)
def test_map_style_datasets_are_collated(dataset):
    inputs, labels = fetch(dataset, np.array([5, 0]), 0, Classification())
    assert inputs.tolist() == [[10.0, 11.0], [0.0, 1.0]]
    assert (labels.tolist(), labels.dtype) == ([5, 0], torch.int64)


# TDML's own


def test_digits_are_scikit_learns():
    train, test = digits(8)
    theirs = load_digits()
    pixels = np.round(theirs.images / 16 * 255).astype(np.uint8)
    ours = [
        (image[channel].numpy().tobytes(), target)
        for part in (train, test)
        for image, target in zip(part.images, part.targets, strict=True)
        for channel in range(3)
    ]
    expected = [
        (image.tobytes(), int(target)) for image, target in zip(pixels, theirs.target, strict=True)
    ]
    assert sorted(ours) == sorted(expected * 3)


def test_digits_are_split_in_the_same_way_at_any_size():
    small, large = digits(8), digits(12)
    assert [len(part) for part in large] == [1437, 360]
    assert [part.targets for part in small] == [part.targets for part in large]
    assert large[0][0][0].shape == (3, 12, 12)


def test_digits_have_all_classes_in_both_parts():
    for part in digits(8):
        assert np.bincount(part.targets).min() > 0.06 * len(part)


def test_digits_are_normalised():
    train, _ = digits(8)
    inputs, _ = fetch(train, range(len(train)), 0, Classification())
    assert abs(float(inputs.mean())) < 0.1
    assert abs(float(inputs.std()) - 1) < 0.1


def test_cifar10_that_is_not_there(tmp_path):
    data = {
        "_target_": "tdml.data.cifar10",
        "root": str(tmp_path),
        "download": False,
        "augment": True,
    }
    with pytest.raises(
        SettingError, match=r"data\.root=.* does not hold CIFAR-10: .* data\.download=true: "
    ):
        load(data, seed=0)


def test_cifar10_is_augmented_in_training_only(cifar10_root):
    train, test = cifar10(str(cifar10_root), download=False, augment=True)
    assert (len(train), len(test)) == (50000, 10000)
    assert (train.augment, test.augment) == (True, False)
    assert np.bincount(train.targets).tolist() == [5000] * 10
    assert train[0][0].shape == (3, 32, 32)
    inputs, _ = fetch(test, range(2000), 0, Classification())
    assert abs(float(inputs.mean())) < 0.05
    assert abs(float(inputs.std()) - 1) < 0.05


def test_what_a_data_function_draws_follows_from_the_jobs_seed():
    settings = {"_target_": "tests.data.test_source.split_at_random"}

    def labels(seed):
        return load(settings, seed).strata

    assert labels(1) == labels(1)
    assert labels(1) != labels(2)


def split_at_random():
    """As with scikit-learn's `train_test_split` without a seed."""
    labels = torch.from_numpy(np.random.permutation(50))
    samples = TensorDataset(torch.rand(50, 2), labels)
    return Subset(samples, range(40)), Subset(samples, range(40, 50))


def test_a_third_dataset_judges_where_there_is_one():
    found = load(settings(judged, size=6, judging=5), seed=0)
    assert (found.size("validation"), found.size("test")) == (5, 6)
    assert len(found.validation_strata) == 5
    without = load(settings(judged, size=6, judging=None), seed=0)
    assert (without.size("validation"), without.size("test")) == (3, 3)
    assert without.validation_strata == []
    with pytest.raises(SettingError, match="two test samples or more, and has 6 and 6, and 0 for"):
        load(settings(judged, size=6, judging=0), seed=0)
