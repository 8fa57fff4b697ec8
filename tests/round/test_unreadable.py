"""A sample that nobody can read ends nothing, whatever a hostile node makes of it."""

import pytest
import torch
from torch.utils.data import Dataset

from tdml.data import digits
from tdml.lab.laboratory import Laboratory
from tdml.node.node import Node
from tdml.round import evidence
from tdml.round.result import Round
from tdml.run.notices import notices
from tests.round import unhelpful
from tests.round.seats import sit

BAD = 700
_JOB = [
    f"data._target_={__name__}.unreadable", "model=mlp", "model.features=192", "model.hidden=16",
    "sync.local_steps=null", "topology.replicas=3", "topology.stages=1", "rounds=2",
]  # fmt: skip


class _Unreadable(Dataset):
    def __init__(self, whole: Dataset) -> None:
        self.whole, self.targets = whole, [whole[i][1] for i in range(len(whole))]

    def __len__(self) -> int:
        return len(self.whole)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        if index == BAD:
            raise OSError("cannot open 700.png")
        return self.whole[index]


def unreadable(size: int, **_: object) -> tuple[Dataset, Dataset]:
    train, test = digits(size)
    return _Unreadable(train), test


class _Infinite(_Unreadable):
    """From `BAD` on one of ten samples has values that are not finite."""

    def __getitem__(self, index: int) -> tuple[torch.Tensor, int]:
        pixels, label = self.whole[index]
        return (pixels * torch.nan if index >= BAD and index % 10 == 0 else pixels), label


def infinite(size: int, **_: object) -> tuple[Dataset, Dataset]:
    train, test = digits(size)
    return _Infinite(train), test


class _Swaps(Node):
    """Takes another sample in its place, and hands in something else."""

    def _step_inputs(self, order, replica, step, batch):
        sound = torch.where(batch == BAD, (batch + 1) % BAD, batch)
        return super()._step_inputs(order, replica, step, sound)

    def update_to_commit(self, update: torch.Tensor, round_number: int) -> torch.Tensor:
        return update * self.factor


def _digits(*overrides: str) -> Laboratory:
    return Laboratory(["data=digits", "data.size=8", *_JOB[1:5], "topology.stages=1", *overrides])


def _blind(laboratory: Laboratory) -> None:
    """The coordinator can no longer read what is trained on."""

    def fails(*_: object) -> None:
        raise OSError("Stale file handle")

    laboratory.engine.judge.auditor.settler.referee._reader.training_batch = fails


def _owner(laboratory: Laboratory) -> int:
    return next(i for i, share in enumerate(laboratory.job.shares) if BAD in share)


@pytest.mark.parametrize("factor", [float("nan"), -1.0, 1.0])
@pytest.mark.parametrize("budget", [0.1, 1.0])
def test_who_swaps_it_does_not_end_the_round(factor: float, budget: float) -> None:
    laboratory = Laboratory([*_JOB, "data.size=8", f"trust.budget={budget}"])
    owner = _owner(laboratory)
    sit(laboratory, f"r{owner}.s0", _Swaps, factor=factor)
    played: Round = laboratory.play(1)
    assert set(played.bans) <= {f"r{owner}.s0"}
    assert {0, 1, 2} - {owner} <= set(played.accepted)


def test_whoever_is_given_it_loses_the_round_and_nobody_else_does() -> None:
    laboratory = Laboratory([*_JOB, "data.size=8", "trust.budget=1"])
    played = laboratory.play(1)
    owner = _owner(laboratory)
    assert played.accepted == sorted({0, 1, 2} - {owner})
    assert f"training sample {BAD} cannot be read" in played.judgements[owner].reason
    assert not played.bans


@pytest.mark.parametrize("budget", [0.1, 1.0])
def test_what_only_the_coordinator_cannot_read_is_no_fault_of_the_honest(
    budget: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tdml.round.auditor.LOOK", 1.0)
    laboratory = _digits("topology.replicas=3", f"trust.budget={budget}")
    _blind(laboratory)
    for number in (1, 2, 3):
        played = laboratory.play(number)
        assert played.accepted == [0, 1, 2]
        assert laboratory.engine.judge.debts.owing == {}
        assert all(made.status == "honest" for made in played.judgements.values())
    said = "the coordinator cannot read a batch"
    assert any(said in note and "Stale file handle" in note for note in played.notes)


def test_what_nobody_else_repeats_and_the_coordinator_cannot_read_does_not_count() -> None:
    laboratory = _digits("topology.replicas=2", "trust.budget=1")
    sit(laboratory, "r1.s0", unhelpful.RepeatsNothing)
    _blind(laboratory)
    played = laboratory.play(1)
    assert 0 not in played.accepted
    assert "the coordinator cannot read a batch" in played.judgements[0].reason
    assert laboratory.fleet.key("r0.s0") not in laboratory.engine.judge.debts.owing
    assert played.bans == {}


def test_samples_that_are_not_finite_are_left_out_of_all_shares_at_once() -> None:
    """That most updates are not finite is no sign that training diverges where samples explain
    it."""
    laboratory = Laboratory(
        [
            f"data._target_={__name__}.infinite",
            *_JOB[1:],
            "data.size=8",
            "sync.local_steps=4",
            "trust.budget=0",
        ]
    )
    given = {int(i) for share in range(3) for i in laboratory.job.batches(share, 1).flatten()}
    played = laboratory.play(1)
    assert played.accepted == []
    assert not any("diverges" in made.reason for made in played.judgements.values())
    assert len(notices(laboratory.job, played, [])) == 3
    assert laboratory.job.left_out.since.keys() == given & {*range(BAD, 1437, 10)}


def test_where_training_diverges_the_samples_of_one_replica_are_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    read: list[int] = []
    monkeypatch.setattr(evidence, "faults_of", lambda _, batches, seeds: read.append(1) or {})
    laboratory = _digits("topology.replicas=3", "trust.budget=0", "train.lr=1e30")
    played = laboratory.play(1)
    assert all("training diverges" in made.reason for made in played.judgements.values())
    assert read == [1]
