"""What the `_target_` of a user's own is given."""

import pytest
import torch
from torch import nn

from tdml.attacks import Attack
from tdml.attacks.base import make_attack
from tdml.data import digits
from tdml.data.source import load
from tdml.models.split import build
from tdml.settings.targets import partial_of
from tdml.tasks import Classification

GIVEN = {"numbers": [1, 2], "names": {"a": [3], "b": {"c": 4}}}
seen: dict = {}


def model(**given):
    """Note what it is given."""
    seen.update(given)
    return nn.Sequential(nn.Linear(2, 2))


def data(**given):
    """Note what it is given."""
    seen.update(given)
    return digits(8)


class Task(Classification):
    def __init__(self, **given):
        super().__init__()
        seen.update(given)


class Own(Attack):
    def __init__(self, **given):
        seen.update(given)


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda settings: build(settings, "cpu"), "model"),
        (lambda settings: load(settings, 0), "data"),
        (lambda settings: partial_of(settings, "task")(), "Task"),
        (make_attack, "Own"),
    ],
)
def test_settings_arrive_as_plain_lists_and_dicts(make, name):
    """Not as containers of the library that composes them, which no other library knows."""
    seen.clear()
    make({"_target_": f"{__name__}.{name}", **GIVEN})
    assert seen == GIVEN
    assert [type(value) for value in (seen["numbers"], seen["names"], seen["names"]["b"])] == [
        list,
        dict,
        dict,
    ]
    assert torch.tensor(seen["numbers"]).tolist() == [1, 2]
