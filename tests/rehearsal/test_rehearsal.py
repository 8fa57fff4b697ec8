"""What is found before any rank trains."""

import re

import pytest
import torch
from torch import nn

from tdml.errors import SettingError
from tdml.models.whole import initial_model
from tdml.tasks import Classification
from tests.rehearsal import users
from tests.rehearsal.rehearsals import model, through

# Users' own models


class HoldsPlainTensor(nn.Module):
    def __init__(self):
        super().__init__()
        self.scale = torch.ones(5)

    def forward(self, value):
        return value * self.scale


class FailsOnNumbers(nn.Module):
    def forward(self, value):
        raise RuntimeError("no such\nkernel")


class InPlace(nn.Module):
    def forward(self, value):
        return value.relu_()


class Spoils(nn.Module):
    """Changes in place what the way back of `before` needs."""

    def __init__(self, before):
        super().__init__()
        self.before = before()

    def forward(self, value):
        return self.before(value).mul_(2)


def spoils_another():
    return nn.Sequential(nn.Linear(6, 5), nn.Sigmoid(), Spoils(nn.Identity), nn.Linear(5, 3))


class Overflows(nn.Module):
    def forward(self, value):
        return value / 0


# What cannot work


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"dtype": "float64"}, "model: 0.weight is float64, and nodes exchange float32"),
        (
            {"between": HoldsPlainTensor},
            "model: block 2 fails .* must be its parameters or buffers",
        ),
        (
            {"between": FailsOnNumbers},
            r"model: block 2 does not take a micro-batch of \(4, 5\): no such kernel",
        ),
        (
            {"between": Overflows},
            "model: what it returns for the first training samples is not finite",
        ),
        (
            {"between": lambda: Spoils(nn.Sigmoid)},
            "the gradients of block 2 cannot be computed: .* inplace operation",
        ),
        (
            {"target": f"{__name__}.spoils_another"},
            "model: its gradients cannot be computed: something is changed in place that .* clone",
        ),
        ({"frozen": 2}, r"topology.cuts=\[1\]: nothing before block 1 can be trained"),
        ({"frozen": 5, "cuts": ()}, "model: nothing in it can be trained"),
        (
            {"between": users.NarrowInEvaluation, "cuts": (3,)},
            r"model: what crosses the cut before block 3 is \(4, 4\), and of the first .* \(4, 5\)",
        ),
        (
            {"between": users.PairInEvaluation},
            r"model: block 2 returns a tuple in eval\(\): it must return one tensor",
        ),
        ({"between": users.DoubleInEvaluation}, r"model: block 4 fails in eval\(\) on the first"),
    ],
    ids=[
        "other type",
        "plain tensor",
        "fails",
        "not finite",
        "spoils",
        "spoils another",
        "frozen",
        "all frozen",
        "narrow in eval",
        "pair in eval",
        "double in eval",
    ],
)
def test_what_only_numbers_show_is_the_users_mistake(arguments, message):
    with pytest.raises(SettingError, match=message):
        through(**arguments)


class WideInEvaluation(nn.Linear):
    def forward(self, value):
        logits = super().forward(value)
        return logits if self.training else torch.cat([logits, logits], dim=1)


def wide():
    return nn.Sequential(nn.Linear(6, 5), WideInEvaluation(5, 3))


def test_another_output_in_evaluation_is_the_users_mistake():
    with pytest.raises(
        SettingError, match=r"in eval\(\) its output is \(4, 6\) .* in training \(4, 3\)"
    ):
        through(target=f"{__name__}.wide")


# What a rehearsal leaves


def test_a_rehearsal_changes_nothing():
    chosen = {"_target_": "tests.rehearsal.users.Net"}
    initial, fresh = (initial_model(chosen, seed=3) for _ in range(2))
    drawn = torch.get_rng_state()
    assert through(target=chosen["_target_"], initial=initial) == ""
    assert torch.equal(torch.get_rng_state(), drawn)
    for name, tensor in initial.state_dict().items():
        assert torch.equal(tensor, fresh.state_dict()[name]), name
    assert initial.training


def test_a_stage_may_begin_with_frozen_blocks():
    assert through(cuts=(2,), frozen=1) == ""


def test_a_stage_may_begin_with_a_block_that_works_in_place():
    assert through(cuts=(2,), between=InPlace) == ""


class SparseByHand(nn.Linear):
    """As `F.embedding(…, sparse=True)`, which no module of torch's would tell."""

    def forward(self, value):
        rows = nn.functional.embedding(torch.arange(5), self.weight, sparse=True)
        return value @ rows + self.bias


def test_sparse_gradients_by_hand_are_the_users_mistake():
    with pytest.raises(
        SettingError, match=r"model: block 2: the gradient of weight is sparse: give sparse=False"
    ):
        through(target=f"{__name__}.sparse_by_hand")


def sparse_by_hand():
    return model(lambda: SparseByHand(5, 5))


class Undefined(Classification):
    def losses(self, output, targets):
        return super().losses(output, targets) / 0


class Counts(Classification):
    def losses(self, output, targets):
        return (output.argmax(dim=1) != targets).float()


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ("Undefined", "task: the loss of the first training samples is inf, though the model"),
        ("Counts", "or the task's losses() has no gradient by what it returns: leave out detach"),
    ],
)
def test_a_loss_that_nothing_can_be_trained_by_is_the_users_mistake(task, message):
    with pytest.raises(SettingError, match=re.escape(message)):
        through(task=f"{__name__}.{task}")


class Needs(torch.optim.SGD):
    """A gradient of every parameter."""

    @torch.no_grad()
    def step(self):
        for parameter in self.param_groups[0]["params"]:
            parameter.sub_(parameter.grad.sign())


class Unused(nn.Linear):
    def forward(self, value):
        return value


def test_an_optimizer_that_fails_on_an_unused_parameter_is_the_users_mistake():
    with pytest.raises(SettingError, match=r"train.optimizer=.*Needs cannot be used: .*sign"):
        through(between=lambda: Unused(5, 5), optimizer=f"{__name__}.Needs")


class Observes(nn.Module):
    """The least value so far, as what quantizes does; `changes`: or only its place."""

    def __init__(self, changes=True):
        super().__init__()
        self.changes = changes
        self.register_buffer("least", torch.tensor(float("inf")))

    def forward(self, value):
        if self.changes:
            self.least.copy_(torch.minimum(self.least, value.detach().min()))
        return value


def test_a_buffer_that_begins_as_infinity_and_changes_is_the_users_mistake():
    """No update could tell by how much. One that stays, such as a mask's, is well."""
    with pytest.raises(SettingError, match=r"the buffer 2\.least begins as inf or NaN"):
        through(between=Observes)
    assert through(between=lambda: Observes(changes=False)) == ""


class Follows(nn.Module):
    """A copy of weights that moves with them, as in BYOL and MoCo."""

    def __init__(self):
        super().__init__()
        self.online, self.target = nn.Linear(5, 5), nn.Linear(5, 5).requires_grad_(False)

    @torch.no_grad()
    def _follow(self):
        for own, theirs in zip(self.target.parameters(), self.online.parameters(), strict=True):
            own.lerp_(theirs, 0.1)

    def forward(self, value):
        if self.training:
            self._follow()
        return self.online(value) + self.target(value)


def test_a_frozen_parameter_that_changes_is_the_users_mistake():
    with pytest.raises(SettingError, match=r"parameter 2.target.weight is frozen, and"):
        through(between=Follows)
