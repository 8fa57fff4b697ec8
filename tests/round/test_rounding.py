"""A machine of another kind whose rounding tells Adam's steps: those of a bias in front of a batch
norm, whose gradient ought to be 0."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.data import Dataset, Subset, TensorDataset

from tdml import config as settings
from tdml.lab.laboratory import Laboratory
from tdml.round.rounding import Rounding
from tests.round import liars
from tests.round.seats import sit

_JOB = [
    f"model._target_={__name__}.net", f"data._target_={__name__}.halves", "train=adamw",
    "train.lr=0.01", "topology.replicas=3", "topology.stages=1", "sync.local_steps=20",
    "trust.budget=1", "model.num_classes=2",
]  # fmt: skip


def net(num_classes: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(8, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Linear(32, num_classes)
    )


def halves() -> tuple[Dataset, Dataset]:
    """Two classes that are far apart, and one label in five hundred is wrong."""
    generator = torch.Generator().manual_seed(0)
    towards = torch.randn(8, generator=generator)
    inputs = torch.randn(3000, 8, generator=generator)
    side = torch.sign(inputs @ towards)
    labels = (side > 0).long()
    wrong = torch.rand(3000, generator=generator) < 0.002
    samples = TensorDataset(
        inputs + side[:, None] * towards, torch.where(wrong, 1 - labels, labels)
    )
    return Subset(samples, range(2400)), Subset(samples, range(2400, 3000))


def _with_another_kind(rounds: int, seed: int, *more: str) -> Laboratory:
    """Whose last replica adds up the samples of a batch in another order."""
    laboratory = Laboratory([*_JOB, f"rounds={rounds}", f"seed={seed}", *more])
    for replica in laboratory.fleet.muster():
        replica.kind = "one that adds otherwise" if replica.index == 2 else replica.kind
    node: Any = laboratory.fleet.nodes["r2.s0"]
    given, size = node._step_inputs, laboratory.job.config.train.effective_batch_size
    order = torch.randperm(size, generator=torch.Generator().manual_seed(5))

    def in_another_order(*arguments: Any) -> Any:
        inputs = given(*arguments)
        return replace(inputs, inputs=inputs.inputs[order], targets=inputs.targets[order])

    node._step_inputs = in_another_order
    return laboratory


@pytest.mark.parametrize(("precision", "digits"), [("fp32", 23), ("bf16", 7)])
def test_numbers_are_changed_by_as_much_of_themselves_as_they_are_rounded(
    precision: str, digits: int
) -> None:
    rounding = Rounding(replace(settings.load([]).train, precision=precision), seed=0)
    for value in (1e-3, 1.0, 1e3):
        changed = rounding.noise(torch.full((4000,), value)) / value
        assert changed.std().item() == pytest.approx(2**-digits, rel=0.1)
    assert not rounding.noise(torch.arange(4000)).any(), "samples may be numbers of tokens"
    assert not rounding.noise(torch.full((4000,), -torch.inf)).any(), "buffers may be masks"


@pytest.mark.parametrize("seed", [1, 2])
def test_rounding_convicts_nobody(seed: int) -> None:
    laboratory = _with_another_kind(rounds=6, seed=seed)
    for number in range(1, 7):
        assert not laboratory.play(number).bans
    assert not laboratory.engine.judge.debts.owing


class _Checks(nn.Module):
    """Insists on its constants."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("thirds", torch.ones(64) / 3)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        if not torch.equal(self.thirds, torch.ones(64) / 3):
            raise ValueError("no such constants")
        return inputs


def insisting(num_classes: int) -> nn.Sequential:
    return net(num_classes).append(_Checks())


def test_nor_does_it_where_the_model_refuses_whatever_is_rounded() -> None:
    """How far it may lead nobody knows then."""
    laboratory = _with_another_kind(6, 2, f"model._target_={__name__}.insisting")
    kinds, kind = laboratory.engine.judge.auditor.settler.kinds, "one that adds otherwise"
    kinds.tolerance.learn(kind, laboratory.fleet.muster()[0].kind, 1e-9)
    kinds.confirmed.add((kind, 0))
    assert not [name for number in range(1, 5) for name in laboratory.play(number).bans]


def test_a_liar_of_that_kind_is_convicted_nevertheless() -> None:
    """One of seven looks at the last window of its rounds is at what it hands in."""
    laboratory = _with_another_kind(rounds=30, seed=1)
    assert not [name for number in (1, 2) for name in laboratory.play(number).bans]
    sit(laboratory, "r2.s0", liars.HandsInAnother)
    bans = (list(laboratory.play(number).bans) for number in range(3, 31))
    assert next(filter(None, bans), None) == ["r2.s0"]


class _Masks(nn.Module):
    """Has constants, of which some are not finite."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mask", torch.tensor([0.5, -torch.inf]))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return inputs


def masked(num_classes: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(8, num_classes), _Masks())


@pytest.mark.parametrize("kind", [liars.Liar, liars.HandsInAnother])
def test_no_lie_hides_behind_constants(kind: type) -> None:
    small = ["sync.local_steps=4", "trust.audit_windows=1"]
    laboratory = Laboratory([*_JOB, *small, f"model._target_={__name__}.masked"])
    laboratory.engine.judge.auditor.settler.referee.kind = "the coordinator's"
    sit(laboratory, "r1.s0", kind)
    assert list(laboratory.play(1).bans) == ["r1.s0"]
