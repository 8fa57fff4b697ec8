"""What it saves to compute a model block by block twice."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from tdml import config as settings
from tdml.models.compute import Runner

CONFIG = settings.load(["topology.stages=1", "train.activation_checkpointing=true"])
INPUTS = torch.rand(4, 6)
CPU = torch.device("cpu")


class Doubled(nn.Module):
    """Works in place."""

    def forward(self, value):
        return value.mul_(2)


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
