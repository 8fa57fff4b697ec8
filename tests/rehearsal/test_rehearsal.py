"""What is found before any rank trains."""

import re
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.utils.data import Dataset, TensorDataset

from tdml import config as settings
from tdml.data.source import Source
from tdml.errors import SettingError
from tdml.models.plan import make_plan
from tdml.models.whole import initial_model
from tdml.rehearsal import rehearse
from tdml.tasks import Classification
from tests.rehearsal import users

CONFIG = settings.load(["topology.stages=2"])
INPUTS, MORE = torch.randn(8, 6, generator=torch.Generator().manual_seed(0)).split(4)
SAMPLES = TensorDataset(torch.cat([INPUTS, MORE]), torch.tensor([0, 1, 2, 0, 1, 2, 2, 1]))

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


def model(between=None, dtype="float32", frozen=0):
    """A user's own model with two layers, and whatever is to lie between them."""
    middle = between() if between else nn.Identity()
    net = nn.Sequential(
        nn.Linear(6, 5), nn.BatchNorm1d(5), middle, nn.Dropout(0.5), nn.Linear(5, 3)
    )
    for block in net[:frozen]:
        block.requires_grad_(False)
    return net.to(getattr(torch, dtype))


def through(
    cuts=(1,),
    samples=SAMPLES,
    target=f"{__name__}.model",
    initial=None,
    task=None,
    microbatches=2,
    optimizer=None,
    **arguments,
):
    """Rehearse with it in two stages; what cannot be repeated."""
    chosen = {"_target_": target, **arguments}
    config = replace(CONFIG, model=chosen, topology=replace(CONFIG.topology, cuts=list(cuts)))
    if task is not None:
        config = replace(config, task={"_target_": f"{__name__}.{task}"})
    if optimizer is not None:
        train = replace(config.train, optimizer={"_target_": f"{__name__}.{optimizer}"})
        config = replace(config, train=train)
    initial = initial or initial_model(chosen, seed=3)
    plan = replace(make_plan(config, initial, INPUTS), microbatches=microbatches)
    return rehearse(config, plan, initial, Source(samples, samples, seed=0), range(4))


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
            "model: its gradients cannot be computed: .* inplace operation",
        ),
        ({"frozen": 2}, r"topology.cuts=\[1\]: nothing before block 1 can be trained"),
        ({"frozen": 5, "cuts": ()}, "model: nothing in it can be trained"),
        (
            {"between": users.NarrowInEvaluation, "cuts": (3,)},
            r"model: block 4 fails in eval\(\) on the first",
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


# What cannot be repeated


@pytest.mark.parametrize(
    ("between", "told"),
    [
        (
            users.PlainCounter,
            r"block 2 \(PlainCounter\) keeps calls outside of parameters and buffers",
        ),
        (users.PlainMean, r"block 2 \(PlainMean\) keeps mean outside"),
        (users.Nested, r"block 2 \(Nested\) keeps state outside"),
        (users.Iterator, r"block 2 \(Iterator\) keeps number outside"),
        (users.CountsEvaluations, r"block 2 \(CountsEvaluations\) keeps evaluations outside"),
        (users.OwnGenerator, r"block 2 \(OwnGenerator\) keeps generator outside"),
        (
            users.OwnPython,
            r"a training step, taken again, differs in the output of block 2 \(Noise\)",
        ),
        (
            users.OwnNumpy,
            r"a training step, taken again, differs in the output of block 2 \(Noise\)",
        ),
        (
            users.SystemNoise,
            r"a training step, taken again, differs in the output of block 2 \(Noise\)",
        ),
        (
            users.Global,
            r"a training step, taken again, differs in the output of block 2 \(Global\)",
        ),
    ],
)
def test_what_depends_on_more_than_weights_seeds_and_samples_is_named(between, told):
    problem = through(between=between)
    assert problem.startswith("model: ")
    assert "trust.repeatable=warn" in problem
    assert "\n" not in problem
    assert re.search(told, problem), problem


@pytest.mark.parametrize(
    "between",
    [
        None,
        users.LateDrop,
        users.NumpyDrop,
        users.Caches,
        users.old_weight_norm,
        users.spectral_norm,
        users.attention,
        users.CheckpointedDropout,
    ],
)
def test_what_can_be_repeated_is_not_accused(between):
    assert through(between=between) == ""


@pytest.mark.parametrize("microbatches", [1, 2])
@pytest.mark.parametrize(
    "arguments",
    [
        {"between": users.GradientNoise},
        {"between": users.NumpyGradientNoise},
        {"task": "Sampled"},
        {"optimizer": "Langevin"},
    ],
    ids=["torch", "numpy", "losses", "optimizer"],
)
def test_what_is_drawn_after_the_way_forward_is_told(arguments, microbatches):
    problem = through(microbatches=microbatches, **arguments)
    assert "what backward passes, hooks, the task's losses() or the optimizer draw at" in problem
    assert "\n" not in problem


@pytest.mark.parametrize(
    ("between", "what"),
    [
        (users.GradientMean, "gradient of weight of block 4"),
        (users.LastInput, "gradient of weight of block 1"),
        (users.CheckpointedNorm, "next value of running_mean of block 2"),
    ],
)
def test_what_hangs_on_the_order_of_micro_batches_is_told_where_there_are_several(between, what):
    problem = through(between=between)
    assert f"the {what}" in problem
    assert "hangs on whether a micro-batch comes back before the next goes forward" in problem
    assert "\n" not in problem
    assert through(between=between, microbatches=1) == ""


class Augmented(Dataset):
    """Samples with noise from a generator of the data set's own."""

    def __init__(self):
        self.generator = torch.Generator().manual_seed(0)

    def __len__(self):
        return 4

    def __getitem__(self, index):
        return INPUTS[index] + (
            torch.rand(6, generator=self.generator) if index == 2 else 0
        ), index % 3


def test_an_augmentation_with_a_generator_of_its_own_is_named():
    problem = through(samples=Augmented())
    assert problem.startswith(
        "data: training sample 2, read again with the same seeds, has other values: "
    )


# The model's own forward


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ("relu", "forward.. does something before block 2 that blocks.. leaves out .in evaluation"),
        (
            "dropout",
            "forward.. does something before block 2 that blocks.. leaves out .in training",
        ),
        (
            "scaled",
            "forward.. does something before it returns that blocks.. leaves out .in evaluation",
        ),
    ],
)
def test_what_lies_between_the_blocks_is_the_users_mistake(more, told):
    with pytest.raises(SettingError, match=told):
        through(target="tests.rehearsal.users.Net", more=more)


@pytest.mark.parametrize("more", ["", "auxiliary"])
def test_a_forward_that_does_what_the_blocks_do(more):
    assert through(target="tests.rehearsal.users.Net", more=more) == ""


def test_a_forward_that_takes_something_else_has_nothing_to_compare():
    assert through(target="tests.rehearsal.users.NoForward") == ""


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


class Sampled(Classification):
    """Half of the losses count, by lot."""

    def losses(self, output, targets):
        return super().losses(output, targets) * (torch.rand(len(targets)) < 0.5)


class Langevin(torch.optim.SGD):
    """Adds noise to every step."""

    @torch.no_grad()
    def step(self):
        super().step()
        for parameter in self.param_groups[0]["params"]:
            parameter.add_(torch.randn_like(parameter), alpha=1e-3)


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
        ("Counts", "task: losses() has no gradient by what the model returns: leave out detach"),
    ],
)
def test_a_loss_that_nothing_can_be_trained_by_is_the_users_mistake(task, message):
    with pytest.raises(SettingError, match=re.escape(message)):
        through(task=task)
