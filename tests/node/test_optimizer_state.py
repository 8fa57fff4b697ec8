"""What an optimizer of one's own keeps, from which whoever repeats its steps goes on."""

import pytest
import torch
from torch import nn

from tdml import config as settings
from tdml.errors import SettingError
from tdml.node.inner import inner_optimizer
from tdml.node.optimizer_state import OptimizerState, StateEntry

SHAPES = [torch.Size([3, 2]), torch.Size([3]), torch.Size([3, 2])]


class Prev(torch.optim.Optimizer):
    """Keeps None until it has something, which nobody could go on from."""

    def __init__(self, params, lr=0.1):
        super().__init__(params, {"lr": lr})

    @torch.no_grad()
    def step(self):
        for parameter in self.param_groups[0]["params"]:
            kept = self.state[parameter]
            if not kept:
                kept["steps"], kept["prev"] = torch.zeros(()), None
            kept["steps"] += 1
            before = 0 if kept["prev"] is None else kept["prev"]
            parameter.sub_(parameter.grad + before, alpha=self.param_groups[0]["lr"])


def test_an_optimizer_that_does_not_go_on_from_what_it_keeps_is_refused():
    """Its owner would seem to have lied: all others find something else."""
    own = [f"train.optimizer._target_={__name__}.Prev", "train.weight_decay=0", "train.momentum=0"]
    with pytest.raises(SettingError, match=r"Prev does not go on from what it keeps"):
        OptimizerState(settings.load(own).train, SHAPES, torch.device("cpu"))


class Later(torch.optim.SGD):
    """Keeps something more after some steps."""

    def __init__(self, params, after):
        super().__init__(params)
        self.after = after

    @torch.no_grad()
    def step(self):
        super().step()
        for parameter in self.param_groups[0]["params"]:
            kept = self.state[parameter]
            kept["steps"] = kept.get("steps", 0) + 1
            if kept["steps"] > self.after:
                kept["more"] = torch.ones(1)


def test_what_an_optimizer_keeps_later_than_it_was_tried_is_refused_then():
    """Nobody could go on from a state without it."""
    own = [f"train.optimizer._target_={__name__}.Later", "+train.optimizer.after=3"]
    train = settings.load(own).train
    parameters = [nn.Parameter(torch.ones(shape)) for shape in SHAPES]
    state = OptimizerState(train, SHAPES, torch.device("cpu"))
    optimizer, kept = inner_optimizer(train, parameters), torch.empty(state.size)
    for _ in range(4):
        state.read(optimizer, parameters, kept)
        for parameter in parameters:
            parameter.grad = torch.ones_like(parameter)
        optimizer.step()
    with pytest.raises(SettingError, match="what it keeps as more is not the same at every step"):
        state.read(optimizer, parameters, kept)


def test_what_it_keeps_from_the_third_step_on_is_refused_at_once():
    own = [f"train.optimizer._target_={__name__}.Later", "+train.optimizer.after=2"]
    with pytest.raises(SettingError, match="what it keeps as more is not the same at every step"):
        OptimizerState(settings.load(own).train, SHAPES, torch.device("cpu"))


def test_what_is_kept_lies_in_memory_as_its_parameter():
    """Or fused steps would take one number for another."""
    parameter = torch.empty(2, 3, 4, 5).contiguous(memory_format=torch.channels_last)
    kept = torch.rand(2, 3, 4, 5)
    entry = StateEntry.of("mean", kept)
    again = entry.write(entry.read(kept), parameter)
    assert again.stride() == parameter.stride()
    assert torch.equal(again, kept)


def test_infinite_numbers_come_back():
    kept = torch.tensor([torch.inf, -torch.inf, 0.1], dtype=torch.float64)
    entry = StateEntry.of("norms", kept)
    assert torch.equal(entry.write(entry.read(kept), torch.empty(3)), kept)
