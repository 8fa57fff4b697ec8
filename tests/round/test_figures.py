"""Who measures the global weights may lie about what it finds."""

from dataclasses import replace

import pytest
import torch

from tdml.lab.laboratory import Laboratory
from tdml.node.node import Node
from tdml.round.result import Round
from tests.round.seats import sit
from tests.slow import slow_but

_JOB = [
    "data=digits", "data.size=8", "model=mlp", "model.features=192", "model.hidden=32",
    "train.lr=0.05", "train.batch_size=16", "sync.local_steps=4", "topology.replicas=3",
    "topology.stages=2", "rounds=12", "monitor.best=true",
]  # fmt: skip


class _Embellishes(Node):
    """Every sample is right, and the loss is small."""

    def evaluated(self):
        found = super().evaluated()
        if not self.stage.last or not len(found.rows):
            return found
        rows = found.rows.clone()
        rows[:, 1] = rows[:, 2]  # the sum of what is right, and how many there are
        return replace(found, rows=rows, losses=found.losses / 2)


class _HasNoLoss(Node):
    """For a single sample."""

    def evaluated(self):
        found = super().evaluated()
        if not self.stage.last or not len(found.rows):
            return found
        losses = found.losses.clone()
        losses[-1] = float("nan")
        return replace(found, losses=losses)


class _CountsMost(Node):
    """One of its samples outweighs all others."""

    def evaluated(self):
        found = super().evaluated()
        if not self.stage.last or not len(found.rows):
            return found
        rows = found.rows.clone()
        rows[-1] *= 1e6
        return replace(found, rows=rows)


class _HasOtherWeights(Node):
    """When the global ones are measured."""

    def evaluating(self, order):
        [weight, *_] = self.stage.trainer.parameters
        for batch in super().evaluating(order):
            with torch.no_grad():
                weight.div_(2)
                yield batch
                weight.mul_(2)


def _played(
    liar: type[Node] | None, name: str = "r1.s1", more: tuple[str, ...] = (), rounds: int = 12
) -> list[Round]:
    laboratory = Laboratory([*_JOB, *more])
    if liar is not None:
        sit(laboratory, name, liar)
    return laboratory.run(rounds)


@pytest.fixture(scope="module")
def honest() -> list[Round]:
    return _played(None)


@pytest.mark.parametrize(
    ("liar", "name", "stage"),
    slow_but(
        [(_HasNoLoss, "r1.s1", 1)],
        [(_Embellishes, "r1.s1", 1), (_HasNoLoss, "r1.s1", 1), (_HasNoLoss, "r2.s1", 1)],
    ),
)
def test_who_lies_about_them_is_banned_and_they_are_measured_again(
    liar: type[Node], name: str, stage: int, honest: list[Round]
) -> None:
    played = _played(liar, name)
    [found] = [one for one in played if one.bans]
    assert list(found.bans) == [name]
    assert f"stage {stage} reports what recomputation does not find" in found.bans[name]
    others = found.judgements
    assert not any(made.blamed for made in others.values()), "it has trained honestly"
    if found is played[0]:
        assert (found.test, found.validation) == (honest[0].test, honest[0].validation)
    assert all(len(one.slots) == 2 for one in played[played.index(found) + 1 :])


@pytest.mark.parametrize("liar", [_HasNoLoss, _CountsMost])
def test_what_spoils_them_all_is_met_at_once(liar: type[Node]) -> None:
    assert "r1.s1" in _played(liar, rounds=1)[0].bans


def test_the_stage_that_computes_something_else_is_named() -> None:
    bans: dict[str, str] = {}
    for one in _played(_HasOtherWeights, "r1.s0"):
        bans |= one.bans
    assert list(bans) == ["r1.s0"]


@pytest.mark.parametrize(
    "more",
    slow_but(
        {"train.precision=bf16", "train.label_smoothing=0.1"},
        [
            "train.precision=bf16", "train.accumulate=2", "topology.stages=1",
            "train.label_smoothing=0.1", "trust.budget=1",
        ],
    ),
)  # fmt: skip
def test_nobody_is_banned_for_the_truth(more: str, honest: list[Round]) -> None:
    assert not any(one.bans for one in [*honest, *_played(None, more=(more,), rounds=6)])


def test_nobody_is_asked_for_proof_where_nothing_is_audited() -> None:
    played = _played(_Embellishes, more=("trust.budget=0",))
    assert not any(one.bans for one in played)


def test_where_the_samples_are_at_fault_nobody_is_banned() -> None:
    more = (
        "data._target_=tests.round.test_evaluate.points", "~data.size", "+data.bad=[7]",
        "+data.own_validation=false", "model.features=6", "model.num_classes=3", "model.hidden=4",
        "topology.microbatches=1", "train.batch_size=8", "sync.local_steps=2", "topology.stages=1",
    )  # fmt: skip
    job = [setting for setting in _JOB if not setting.startswith("data.size")]
    [first, *_] = played = Laboratory([*job, *more]).run(3)
    assert not any(one.bans for one in played)
    assert "test sample 7 has a loss that is not finite" in first.notes[0]
