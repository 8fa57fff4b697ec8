"""What objects hold, before and after."""

import itertools
import random
import threading

import numpy as np
import pytest
import torch
from torch import nn

from tdml.common.comparable import comparable


class Slots:
    __slots__ = ("count", "lock")

    def __init__(self):
        self.count, self.lock = 0, threading.Lock()


class Cyclic:
    def __init__(self):
        self.me, self.values, self.say = self, [0], lambda: None


CHANGES = {
    "list": (lambda: [1, {"a": (2,)}], lambda value: value[1].update(a=(3,))),
    "set": (lambda: {"a", "b"}, lambda value: value.add("c")),
    "tensor": (lambda: {"last": torch.zeros(3)}, lambda value: value["last"].add_(1)),
    "array": (lambda: np.zeros(3), lambda value: value.fill(1)),
    "python": (random.Random, lambda value: value.random()),
    "numpy": (np.random.default_rng, lambda value: value.random()),
    "legacy": (np.random.RandomState, lambda value: value.rand()),
    "torch": (torch.Generator, lambda value: torch.rand(1, generator=value)),
    "iterator": (itertools.count, next),
    "slots": (Slots, lambda value: setattr(value, "count", 1)),
    "cyclic": (Cyclic, lambda value: value.values.append(1)),
}


@pytest.mark.parametrize("kind", CHANGES)
def test_what_has_changed_compares_as_another(kind):
    make, change = CHANGES[kind]
    value = make()
    before = comparable(value)
    assert before is not None
    assert comparable(value) == before
    change(value)
    assert comparable(value) != before


@pytest.mark.parametrize("value", [nn.Linear(2, 2), [nn.Linear(2, 2)], torch.zeros(2).to_sparse()])
def test_modules_and_sparse_tensors_are_looked_into_by_others(value):
    before = comparable(value)
    for parameter in (
        [p for each in value for p in each.parameters()] if isinstance(value, list) else ()
    ):
        nn.init.zeros_(parameter)
    assert comparable(value) == before


def test_what_is_equal_compares_alike_whatever_it_is_made_of():
    word = "".join(["o", "ften"])
    assert comparable([word, word]) == comparable([word, "".join(["of", "ten"])])
    assert comparable(set("abcdefgh")) == comparable(set("hgfedcba"))
    forth, back = set(), set()
    for number in range(8):
        forth.add(8 * number)
        back.add(8 * (7 - number))
    assert [*forth] != [*back], "what they look like hangs on their past"
    assert comparable(forth) == comparable(back)
