"""What a node is not sent again."""

from types import SimpleNamespace

import pytest
import torch

from tdml.common.digest import digest
from tdml.node.frozen import Frozen

VALUES = [torch.tensor([1.0, 2.0]), torch.tensor([[3.0]])]
WANTED = tuple(digest(value).hex() for value in VALUES)


def stage(*folder, like=VALUES):
    """With room for what it does not train, and a folder that has these tensors."""
    return SimpleNamespace(
        frozen=[torch.full_like(value, 7.0) for value in like], stored=lambda: folder
    )


def holds(found):
    return all(torch.equal(*pair) for pair in zip(found.frozen, VALUES, strict=True))


def test_what_it_was_sent_it_has_in_the_next_slot_too():
    frozen, first, second = Frozen(60), stage(), stage()
    assert frozen.find(first, WANTED) == (True, True)
    frozen.complete(VALUES)
    assert holds(first)
    assert frozen.find(second, WANTED) == (False, False)
    frozen.complete([])
    assert holds(second)


def test_what_was_changed_since_is_sent_again():
    frozen, first, second = Frozen(60), stage(), stage()
    frozen.find(first, WANTED)
    frozen.complete(VALUES)
    first.frozen[0].add_(1)
    assert frozen.find(second, WANTED) == (True, False)
    frozen.complete(VALUES[:1])
    assert holds(second)


@pytest.mark.parametrize(
    ("folder", "missing"),
    [
        (VALUES, (False, False)),
        ([VALUES[0].double(), VALUES[1].bfloat16()], (False, False)),
        ([VALUES[0] + 1, VALUES[1]], (True, False)),
        ([None, VALUES[1]], (True, False)),
        ([VALUES[0], torch.ones(2)], (False, True)),  # of another shape
        ([], (True, True)),
    ],
)
def test_of_a_folder_it_takes_what_is_meant(folder, missing):
    frozen, taken = Frozen(60), stage(*folder)
    assert frozen.find(taken, WANTED) == missing
    frozen.complete([value for value, lacks in zip(VALUES, missing, strict=True) if lacks])
    assert holds(taken)


def test_what_is_narrow_is_known_by_its_numbers():
    wanted = (digest(torch.tensor([1.0, 0.0])).hex(),)
    taken = stage(torch.tensor([True, False]), like=[torch.tensor([True, True])])
    assert Frozen(60).find(taken, wanted) == (False,)


def test_a_slow_disk_does_not_keep_it_silent():
    taken = stage(*VALUES)
    assert Frozen(-1).find(taken, WANTED) == (True, True)


def test_what_a_users_model_calls_so_does_not_matter():
    """A layer, say, which takes no names."""

    def stored():
        raise TypeError("linear(): argument 'input' must be Tensor, not list")

    taken = stage()
    taken.stored = stored
    assert Frozen(60).find(taken, WANTED) == (True, True)
