import pytest
import torch
from torch.utils.data import TensorDataset

from tdml.data.contents import contents_of, difference
from tdml.data.images import Images
from tdml.data.source import Source


def samples(count=200):
    generator = torch.Generator().manual_seed(0)
    return torch.rand(count, 3, generator=generator), torch.randint(
        4, (count,), generator=generator
    )


def contents(inputs, labels, test=None, seed=0):
    held_out, classes = test or samples(20)
    train, test = TensorDataset(inputs, labels), TensorDataset(held_out.to(inputs.dtype), classes)
    return contents_of(Source(train, test, seed), seed)


def test_equal_data_have_equal_contents():
    assert contents(*samples()) == contents(*samples())
    assert difference(contents(*samples()), contents(*samples())) == ""


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda x, y: (x[1:], y[1:]), "training samples (199 and 200)"),
        (lambda x, y: (x.flip(0), y.flip(0)), "training labels"),  # listed in another order
        (lambda x, y: (x.flip(0), y), "training inputs"),
        (lambda x, y: (x + 1e-6, y), "training inputs"),  # another version of the files
        (lambda x, y: (x.double(), y), "training inputs"),
        (lambda x, y: (x, y.roll(1)), "training labels"),
    ],
)
def test_what_differs_is_named(change, told):
    inputs, labels = samples()
    assert difference(contents(*change(inputs, labels)), contents(inputs, labels)) == told


def test_the_test_data_are_compared_too():
    inputs, labels = samples()
    held_out, classes = samples(20)
    assert (
        difference(contents(inputs, labels, (held_out, 3 - classes)), contents(inputs, labels))
        == "test labels"
    )
    assert (
        difference(contents(inputs, labels, (-held_out, classes)), contents(inputs, labels))
        == "test inputs"
    )


def test_augmentation_must_be_the_same_too():
    pixels = (torch.arange(200).view(-1, 1, 1, 1) % 7 * torch.ones(1, 1, 8, 8)).to(torch.uint8)

    def held(augment):
        train = Images(pixels, [0] * 200, [0.0], [1.0], augment)
        return contents_of(Source(train, Images(pixels[:20], [0] * 20, [0.0], [1.0]), 0), 0)

    assert held(True) == held(True)
    assert difference(held(True), held(False)) == "training inputs"


class Drawn(TensorDataset):
    """Augments a sample when it is read; with `keeps` when it is first read, and never again."""

    def __init__(self, keeps):
        super().__init__(*samples())
        self.kept = {} if keeps else None

    def __getitem__(self, index):
        kept = {} if self.kept is None else self.kept
        if index not in kept:
            inputs, label = super().__getitem__(index)
            kept[index] = inputs + torch.rand(3), label
        return kept[index]


@pytest.mark.parametrize(("keeps", "told"), [(False, ""), (True, "training inputs")])
def test_what_is_kept_of_the_first_reading_is_no_sample(keeps, told):
    """Each node reads a sample first in another round, so it would train on another one: honest
    nodes were proven to lie."""
    test = TensorDataset(*samples(20))
    node, coordinator = (Source(Drawn(keeps), test, 0) for _ in range(2))
    there = contents_of(coordinator, 0, read_before=True)
    assert difference(contents_of(node, 0), there) == told
