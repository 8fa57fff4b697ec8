"""Which models may be computed block by block twice, and what that saves."""

import random
from dataclasses import replace

import pytest
import torch
from torch import nn

from tdml import config as settings
from tdml.errors import SettingError
from tdml.models.compute import Runner
from tdml.models.plan import make_plan

CONFIG = settings.load(["topology.stages=1", "train.activation_checkpointing=true"])
INPUTS = torch.rand(4, 6)
CPU = torch.device("cpu")


class Restless(nn.Linear):
    """Draws from Python's generator."""

    def forward(self, value):
        return super().forward(value) * random.random()


class Doubled(nn.Module):
    """Works in place."""

    def forward(self, value):
        return value.mul_(2)


@pytest.mark.parametrize(
    ("block", "message"),
    [
        (nn.BatchNorm1d(6), "block 1 changes running_mean each time: set it false"),
        (Restless(6, 6), "block 1 returns something else the second time"),
    ],
)
def test_what_cannot_be_computed_twice_is_refused(block, message):
    model = nn.Sequential(nn.Linear(6, 6), block)
    with pytest.raises(SettingError, match=message):
        make_plan(CONFIG, model, INPUTS)
    train = replace(CONFIG.train, activation_checkpointing=False)
    make_plan(replace(CONFIG, train=train), model, INPUTS)


def test_dropout_and_work_in_place_may_be():
    make_plan(CONFIG, nn.Sequential(nn.Linear(6, 6), nn.Dropout(0.5), Doubled()), INPUTS)


@pytest.mark.parametrize("checkpointing", [False, True])
def test_gradients_are_the_same_and_less_is_kept(checkpointing):
    torch.manual_seed(0)
    layers = [layer for _ in range(4) for layer in (nn.Linear(6, 6), Doubled(), nn.Dropout(0.3))]
    model = nn.Sequential(*(nn.Sequential(*layers[i : i + 6]) for i in (0, 6)))
    train = replace(CONFIG.train, activation_checkpointing=checkpointing)
    kept = []
    torch.manual_seed(1)
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        output = Runner(model, train, True, CPU, CPU)(INPUTS.clone())
    output.sum().backward()
    gradients = [parameter.grad.clone() for parameter in model.parameters()]
    model.zero_grad()
    torch.manual_seed(1)
    model(INPUTS.clone()).sum().backward()
    assert all(map(torch.equal, gradients, [parameter.grad for parameter in model.parameters()]))
    assert (len(kept) <= 2) is checkpointing
