from dataclasses import replace

import pytest
import torch
from torch import nn

from tdml import config as settings
from tdml.errors import SettingError
from tdml.models.plan import make_plan
from tdml.models.rehearsal import rehearse
from tdml.models.split import Border
from tdml.models.whole import initial_model

CONFIG = settings.load(["topology.stages=2"])
INPUTS = torch.randn(4, 6, generator=torch.Generator().manual_seed(0))


# Users' own models


class Through(nn.Module):
    """Hands its input on, and says what it was."""

    seen: list[torch.Tensor] = []  # noqa: RUF012 - emptied by the test that looks at it

    def forward(self, value):
        if value.device.type == "cpu":
            self.seen.append(value)
        return value


class HoldsPlainTensor(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = torch.ones(5)

    def forward(self, value):
        return value * self.scale


class FailsOnNumbers(nn.Module):
    def forward(self, value):
        if value.device.type != "meta":
            raise RuntimeError("no such\nkernel")
        return value


class InPlace(nn.Module):
    def forward(self, value):
        return value.relu_()


class Overflows(nn.Module):
    def forward(self, value):
        return value / 0


def model(between=None, dtype="float32", frozen=0):
    """A user's own model with two layers, and whatever is to lie between them."""
    middle = between() if between else nn.Identity()
    net = nn.Sequential(nn.Linear(6, 5), nn.BatchNorm1d(5), middle, nn.Dropout(0.5), nn.Linear(5, 3), Through())
    for block in net[:frozen]:
        block.requires_grad_(False)
    return net.to(getattr(torch, dtype))


def through(cuts=(1,), **arguments):
    """Rehearse with it in two stages; the model."""
    chosen = {"_target_": f"{__name__}.model", **arguments}
    config = replace(CONFIG, model=chosen, topology=replace(CONFIG.topology, cuts=list(cuts)))
    initial = initial_model(chosen, seed=3)
    plan = make_plan(config, initial, Border(INPUTS.shape, INPUTS.dtype), classes=3)
    rehearse(chosen, plan, initial, INPUTS)
    return initial


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"dtype": "float64"}, "model: block 0 fails on the first training samples: mat1 and mat2 must have the same"),
        ({"between": HoldsPlainTensor}, "model: block 2 fails .* must be its parameters or buffers"),
        ({"between": FailsOnNumbers}, "model: block 2 fails on the first training samples: no such kernel"),
        ({"between": Overflows}, "model: what it returns for the first training samples is not finite"),
        ({"between": InPlace, "cuts": (2,)}, "model: block 2 fails on the first training samples: a leaf Variable"),
        ({"frozen": 2}, r"topology.cuts=\[1\]: nothing before block 1 can be trained"),
    ],
    ids=["other type", "plain tensor", "fails", "not finite", "in place", "frozen"],
)
def test_what_only_numbers_show_is_the_users_mistake(arguments, message):
    with pytest.raises(SettingError, match=message):
        through(**arguments)


def test_a_stage_may_begin_with_frozen_blocks():
    Through.seen.clear()
    through(cuts=(2,), frozen=1)
    assert Through.seen[0].requires_grad


def test_a_rehearsal_has_the_initial_weights_and_changes_nothing():
    Through.seen.clear()
    before = torch.get_rng_state()
    torch.manual_seed(7)
    drawn = torch.get_rng_state()
    initial = through()
    assert torch.equal(torch.get_rng_state(), drawn)
    (output,) = Through.seen
    fresh = initial_model({"_target_": f"{__name__}.model"}, seed=3)
    for name, tensor in initial.state_dict().items():
        assert torch.equal(tensor, fresh.state_dict()[name]), name
    assert output.requires_grad
    assert torch.equal(output, fresh(INPUTS))  # the same draws of the dropout
    torch.set_rng_state(before)
