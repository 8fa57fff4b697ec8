"""What a source says of labels and samples, and what it draws."""

import random
import sys

import numpy as np
import pytest
import torch
from torch.utils.data import Subset, TensorDataset

from tdml.data import digits
from tdml.data.source import Source, fetch
from tdml.errors import SettingError
from tdml.tasks import Classification, Language, Regression
from tests.data.points import Points


def state():
    return random.getstate(), str(np.random.get_state()), torch.get_rng_state().tolist()


# Labels


def test_labels_of_a_tensor_dataset():
    dataset = TensorDataset(torch.zeros(4, 2), torch.tensor([3, 1, 2, 0]))
    assert Source(dataset, Points(2), seed=0).strata == [3, 1, 2, 0]


def test_test_samples_have_classes_too():
    assert Source(Points(5), Points(2), seed=0).test_strata == [0, 1]
    assert Source(Points(2), Points(5), seed=0).test_strata == [0, 1, 2, 0, 1]


def test_a_test_label_that_is_no_class_is_the_users_mistake():
    unknown = TensorDataset(torch.zeros(2, 2), torch.tensor([0, -100]))
    with pytest.raises(
        SettingError, match=r"data: test sample 1 cannot be read .* its label -100 is no class"
    ):
        _ = Source(Points(5), unknown, seed=0).test_strata


def test_labels_are_read_by_length():
    assert Source(Points(5), Points(2), seed=0).strata == [0, 1, 2, 0, 1]


@pytest.mark.parametrize(
    ("dataset", "message"),
    [
        (
            [(torch.zeros(2), 0), (torch.zeros(2), -100)],
            "data: training sample 1 .*label -100 is no class",
        ),
        (
            [(torch.zeros(2), 0), (torch.zeros(2), 0.5)],
            "data: training sample 1 .*label 0.5 is no class",
        ),
        (
            [(torch.zeros(2), torch.eye(3)[0])],
            "data: training sample 0 cannot be read as .tensor, label",
        ),
        ([(torch.zeros(2), "cat")], "data: training sample 0 cannot be read as .tensor, label"),
        ([(torch.zeros(2), 0), None], "data: training sample 1 cannot be read as .tensor, label"),
    ],
    ids=["negative", "fraction", "vector", "text", "nothing"],
)
def test_labels_that_are_no_classes_are_the_users_mistake(dataset, message):
    with pytest.raises(SettingError, match=message):
        _ = Source(dataset, Points(2), seed=0).strata


def test_the_samples_decide_what_a_label_is():
    """As with a `target_transform`, or targets in another order."""
    dataset = Points(9)
    dataset.targets = [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert Source(dataset, Points(2), seed=0).strata == [0, 1, 2] * 3


def test_reading_labels_leaves_the_global_generators_alone():
    before = state()
    _ = Source(Points(8, noisy=True), Points(2), seed=0).strata
    assert state() == before


# Samples that are not like the others


class OneOdd(Points):
    """Sample 5 is odd; the labels are known, so that nobody looks at it before it is trained on."""

    def __init__(self, odd):
        super().__init__(300)
        self.odd, self.targets = odd, [index % 3 for index in range(300)]

    def __getitem__(self, index):
        return (self.odd, index % 3) if index == 5 else super().__getitem__(index)


class Batched(OneOdd):
    """Serves batches itself."""

    def __getitems__(self, indices):
        return [self[index] for index in indices]


@pytest.mark.parametrize("kind", [OneOdd, Batched, lambda odd: Subset(OneOdd(odd), range(300))])
@pytest.mark.parametrize("batch", [[5], [7, 5, 9]], ids=["alone", "among others"])
@pytest.mark.parametrize(
    ("odd", "found"),
    [
        (
            torch.zeros(3),
            (
                "is a tensor (3,) of torch.float32, but training sample 0 is a tensor (2,) of "
                "torch.float32"
            ),
        ),
        (
            torch.zeros(2, dtype=torch.float64),
            "is a tensor (2,) of torch.float64, but training sample 0 is a tensor",
        ),
        ([1.0, 2.0], "cannot be read as (tensor, label): its input is a list"),
    ],
    ids=["shape", "type", "list"],
)
def test_a_sample_of_another_form_is_named_in_whatever_batch_it_comes(kind, batch, odd, found):
    source = Source(kind(odd), Points(2), seed=0)
    source.training_batch([1, 2], seed=0)
    with pytest.raises(SettingError) as caught:
        source.training_batch(batch, seed=0)
    assert str(caught.value).startswith(f"data: training sample 5 {found}")


def test_a_held_out_sample_is_named_by_its_place_in_the_dataset():
    source = Source(Points(3), OneOdd(torch.zeros(3)), seed=0)
    split = next(split for split, half in source.halves.items() if 5 in half)
    with pytest.raises(SettingError, match=r"^data: test sample 5 is a tensor \(3,\)"):
        source.held_out_batch(split, range(150))


def test_where_every_sample_is_read_for_its_label_an_odd_one_is_found_then():
    dataset = OneOdd(torch.zeros(3))
    del dataset.targets
    with pytest.raises(SettingError, match=r"^data: training sample 5 is a tensor \(3,\)"):
        _ = Source(dataset, Points(2), seed=0).strata


def test_what_a_network_has_computed_is_data_like_other():
    """It was forgotten to turn gradients off there: the samples lead to its graph."""
    encoded = torch.nn.Linear(3, 3)(torch.ones(4, 3))
    samples = TensorDataset(encoded, torch.arange(4))
    for indices in ([2], [0, 1]):
        inputs, _ = fetch(samples, indices, 0, Classification())
        assert not inputs.requires_grad


@pytest.mark.parametrize(
    ("task", "sample"), [(Classification(), (torch.zeros(2), 1)), (Language(), torch.arange(5))]
)
@pytest.mark.parametrize("count", [2, 3])
def test_samples_in_a_tuple_are_no_batch(task, sample, count):
    """Which a tuple of tensors is: two token ids' would have been taken for one, and its labels."""
    rows = type("Rows", (), {"__getitems__": lambda self, indices: (sample,) * len(indices)})()
    parts = {Classification: 2, Language: 1}[type(task)]
    message = (
        f"returns a tuple of {count}: return a list of samples, or a batch as a tuple of {parts}"
    )
    with pytest.raises(TypeError, match=message):
        fetch(rows, range(count), 0, task)


@pytest.mark.parametrize("name", ["__getitem__", "__getitems__"])
def test_a_data_set_that_ends_the_program_fails(name):
    dataset = type("Ends", (), {name: lambda self, index: sys.exit(3)})()
    with pytest.raises(RuntimeError, match=r"it ends the program \(status 3\)"):
        fetch(dataset, [0, 1], 0, Classification())


# Random choices


def test_the_seed_decides_all_that_a_dataset_draws():
    noisy = Source(Points(8, noisy=True), Points(2), seed=0)
    draws = []
    for global_seed, seed in ((1, 10), (2, 10), (3, 11)):
        random.seed(global_seed)
        np.random.seed(global_seed)
        torch.manual_seed(global_seed)
        draws.append(noisy.training_batch([3, 5], seed)[0])
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])


@pytest.mark.parametrize("indices", [[2, 3], [99]], ids=["read", "failed to read"])
def test_the_global_generators_are_put_back(indices):
    before = state()
    try:
        fetch(Points(8, noisy=True), indices, 2**62 + 1, Classification())
    except AssertionError:
        assert indices == [99]
    assert state() == before


def test_augmentation_is_seeded():
    train, test = digits(8)
    train.augment = True
    source = Source(train, test, seed=0)
    first, again, other = (source.training_batch([1, 2, 3], seed)[0] for seed in (4, 4, 5))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


class Clumsy(Points):
    """Each sample can be read, several together cannot."""

    def __getitems__(self, indices):
        if len(indices) > 1:
            raise KeyError("no such\nbatch")
        return [self[index] for index in indices]


class Uneven(Points):
    """Numbers of different shapes to say."""

    def __getitem__(self, index):
        return torch.zeros(2), torch.zeros(1 + index % 2)


class Drops(Classification):
    """What it gives of several samples is not of all of them."""

    def __init__(self, half):
        super().__init__()
        self._half = half

    def collate(self, samples):
        halves = list(super().collate(samples))
        halves[self._half] = halves[self._half][: max(1, len(samples) - 1)]
        return tuple(halves)


@pytest.mark.parametrize(
    ("dataset", "task"),
    [
        (Clumsy(9), Classification()),
        (Uneven(9), Regression()),
        (Points(9), Drops(0)),
        (Points(9), Drops(1)),
    ],
)
def test_samples_that_make_no_batch_are_the_users_mistake(dataset, task):
    source = Source(dataset, Points(2), seed=0, task=task)
    with pytest.raises(SettingError) as caught:
        source.training_batch([4, 1, 2, 3], seed=0)
    assert str(caught.value).startswith(
        "data: training samples 4, 1, 2, … cannot be made a batch of, though each alone can be read"
    )
    assert "\n" not in str(caught.value)


class Strange(Classification):
    """Its strata are no classes."""

    def strata(self, targets):
        return torch.eye(3)[targets]


def test_strata_that_are_no_classes_are_the_users_mistake():
    source = Source(Points(9), Points(2), seed=0, task=Strange())
    with pytest.raises(
        SettingError, match=r"task: strata\(\) of training sample 0 fails, .* \(k,\)"
    ):
        _ = source.strata


def test_texts_that_differ_in_length_are_filled_up_by_a_setting():
    texts = [torch.arange(length) for length in (5, 5, 3)]
    with pytest.raises(SettingError, match=r"bring all to one form, or give task\.context, to"):
        Source(texts, texts, 0, Language()).training_batch(range(3), seed=0)
    assert Source(texts, texts, 0, Language(4)).training_batch(range(3), 0)[0].shape == (3, 4)


class _OfSome(Classification):
    """Of some samples it gives no class."""

    def strata(self, targets):
        return None if (targets == 2).any() else targets


def test_samples_without_a_class_among_others_are_the_users_mistake():
    with pytest.raises(
        SettingError,
        match=r"^task: strata\(\) of training sample 2 is None, and of sample 0 a class",
    ):
        _ = Source(Points(5), Points(2), seed=0, task=_OfSome()).strata
