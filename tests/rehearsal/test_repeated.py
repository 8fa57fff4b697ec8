"""What a rehearsal finds that cannot be repeated."""

import re

import pytest
import torch
from torch import nn
from torch.utils.data import Dataset, TensorDataset

from tdml.errors import SettingError
from tdml.tasks import Classification
from tests.rehearsal import users
from tests.rehearsal.rehearsals import INPUTS, through


class Flips(nn.Module):
    """Reads forwards and backwards in turns."""

    def __init__(self):
        super().__init__()
        self.flipped = False

    def forward(self, value):
        self.flipped = not self.flipped
        return value.flip(-1) if self.flipped else value


class _Counter:
    __slots__ = ("passes",)


class Slots(nn.Module):
    """Counts its passes in an object that has no dict."""

    def __init__(self):
        super().__init__()
        self.counter = _Counter()
        self.counter.passes = 0

    def forward(self, value):
        self.counter.passes += 1
        return value


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
        (Flips, r"block 2 \(Flips\) keeps flipped outside"),
        (Slots, r"block 2 \(Slots\) keeps counter outside"),
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


def test_what_several_threads_add_up_is_not_accused(two_threads):
    for _ in range(5):
        assert through(between=users.Looked) == ""


@pytest.fixture
def two_threads():
    """As where a rank has more than one processor, whatever another test has chosen."""
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(2)
    torch.use_deterministic_algorithms(False)
    yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(deterministic, warn_only=True)


@pytest.mark.parametrize("microbatches", [1, 2])
@pytest.mark.parametrize(
    "arguments",
    [
        {"between": users.GradientNoise},
        {"between": users.NumpyGradientNoise},
        {"task": f"{__name__}.Sampled"},
        {"optimizer": f"{__name__}.Langevin"},
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
        (users.GradientMean, "output of block 2"),
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


def test_values_that_are_missing_can_be_read_again():
    """nan is not equal to itself; a model may know what to do with it."""
    inputs = INPUTS.clone()
    inputs[1, 2] = torch.nan
    samples = TensorDataset(torch.cat([inputs, inputs]), torch.arange(8) % 3)
    assert through((2,), samples, "tests.rehearsal.users.fills") == ""
    with pytest.raises(SettingError, match=r"not finite \(see model, data\)"):
        through(samples=samples)


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
