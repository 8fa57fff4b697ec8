"""What is said of single tensors: that they stay as they are, or anything of their user's."""

import pytest
import torch
from torch import nn

from tdml.models.split import Part, build


class Freezes(nn.Sequential):
    """Whose first layer stays as it is, by its own train() or its layer's."""

    def __init__(self):
        super().__init__(nn.Linear(4, 4), FreezesItself(4, 4), nn.Linear(4, 4))

    def train(self, mode=True):
        super().train(mode)
        self[0].requires_grad_(False)
        return self


class FreezesItself(nn.Linear):
    def train(self, mode=True):
        super().train(mode)
        return self.requires_grad_(False)


def marked():
    model = nn.Sequential(nn.Linear(4, 4), nn.BatchNorm1d(4))
    model[0].bias._no_weight_decay = True
    model[1].running_mean.is_mine = True
    return model


@pytest.mark.parametrize("device", ["meta", "cpu"])
def test_what_a_train_of_its_own_freezes_is_frozen_from_the_beginning(device):
    part = Part(_built(Freezes, device), 0, 3)
    assert list(part.parameters) == ["2.weight", "2.bias"]
    assert list(part.frozen) == ["0.weight", "0.bias", "1.weight", "1.bias"]


@pytest.mark.parametrize("device", ["meta", "cpu"])
def test_what_tensors_are_marked_with_stays_when_they_get_memory(device):
    part = Part(_built(marked, device), 0, 2)
    part.materialise(torch.device("cpu"))
    layer, norm = part.module
    assert layer.bias._no_weight_decay and norm.running_mean.is_mine
    assert not vars(layer.weight) and not vars(norm.running_var)


def _built(make, device):
    return build({"_target_": f"{__name__}.{make.__name__}"}, device)
