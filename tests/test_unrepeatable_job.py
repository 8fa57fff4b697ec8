"""Whole jobs in which honest work cannot be repeated, or does not stay finite: nobody is banned,
and it is said why."""

import itertools
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.data import Dataset

from tests.jobs import Result, run_job
from tests.run_ledgers import assert_balanced, entries, verify
from tests.test_repeatable_job import HERE as THERE
from tests.test_repeatable_job import split_at_random

HERE = "tests.test_unrepeatable_job"
BAD = 700
MINE = [f"model._target_={THERE}.net", "~data.size", f"data._target_={THERE}.split_at_random"]
FOUR = [*MINE, "topology.replicas=4", "topology.stages=1"]
ONE = [*MINE, "topology.replicas=1", "topology.stages=1"]


class Spoilt(Dataset):
    """One sample is not finite; the labels are known."""

    def __init__(self, whole: Dataset) -> None:
        self.whole, self.targets = whole, whole.tensors[1].tolist()

    def __len__(self) -> int:
        return len(self.whole)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        """A pair."""
        inputs, label = self.whole[index]
        return inputs * (torch.nan if index == BAD else 1), label


def spoilt():
    train, test = split_at_random()
    return Spoilt(train), test


class Unreadable(Spoilt):
    """One sample cannot be read."""

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        """A pair."""
        if index == BAD:
            raise OSError("cannot open 700.png")
        return self.whole[index]


def unreadable():
    train, test = split_at_random()
    return Unreadable(train), test


class Counts(nn.Module):
    """Its scale depends on how often it was called, which a plain attribute counts."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        """Scale."""
        self.calls += not value.is_meta
        return value * (1 + 0.01 * self.calls)


_CALLS = itertools.count()


class CountsElsewhere(nn.Module):
    """Counts in a variable of its module, and lets it be seen only after the calls of the
    rehearsal."""

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        """Scale."""
        calls = 0 if value.is_meta else next(_CALLS)
        return value * (1 + 0.01 * max(0, calls - 10))


def counting(num_classes: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(64, 32), nn.ReLU(), Counts(), nn.Linear(32, num_classes))


def counting_elsewhere(num_classes: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(64, 32), nn.ReLU(), CountsElsewhere(), nn.Linear(32, num_classes)
    )


def assert_told(result: Result, line: dict) -> None:
    """What does not count in a round is nowhere shown as honest, and the ledger says the same."""
    for index, found in line["replicas"].items():
        assert (int(index) in line["accepted"]) == (found["verdict"] == "honest"), found
        assert found["verdict"] == "honest" or found["reason"], found
    told = {
        str(e.body["replica"]): e.body["status"]
        for e in entries(result.run, "verdict", line["round"])
    }
    assert told == {index: found["verdict"] for index, found in line["replicas"].items()}


@pytest.mark.parametrize("budget", [pytest.param(0, marks=pytest.mark.slow), 1])
def test_the_owner_of_a_sample_that_is_not_finite_is_not_banned_and_the_sample_is_named(
    budget: int, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    job = [*FOUR, f"data._target_={HERE}.spoilt", "rounds=2", f"trust.budget={budget}"]
    result = run_job(tmp_path / "run", 5, *job)
    assert result.statuses == [0] * 5, result.output
    assert result.summary["banned"] == []
    left_out = [{*range(4)} - {*line["accepted"]} for line in result.rounds]
    assert [len(owners) for owners in left_out] == [1, 0], "the sample is left out of round 2"
    said = f"the update has values that are not finite, for training sample {BAD} has values that are not finite"
    for line, owner in zip(result.rounds, left_out, strict=True):
        assert_told(result, line)
        for index in owner:
            assert line["replicas"][str(index)]["reason"] == f"stage 0: {said}"
            assert (
                f"replica {index} suspicious, its update does not count: stage 0: {said}"
                in result.output
            )
    assert "suspicious, does not count" in (result.run / "report.html").read_text()
    assert "diverges" not in result.output and result.accuracy > 0.5
    verify(result.run, capsys)
    assert_balanced(result.run, capsys, rounds=2)


@pytest.mark.slow  # tests/round/test_unreadable.py has it without processes
def test_a_sample_that_cannot_be_read_is_named_and_left_out(tmp_path: Path) -> None:
    """Also of what comes after a checkpoint."""
    job = [*FOUR, f"data._target_={HERE}.unreadable"]
    result = run_job(tmp_path / "run", 5, *job, "rounds=1")
    assert result.statuses == [0] * 5, result.output
    assert [len(line["accepted"]) for line in result.rounds] == [3], result.why()
    told = (
        f"data: training sample {BAD} has another form, or cannot be read: 1 sample is left out "
        "from now on"
    )
    assert result.summary["notices"] == [told]
    assert result.output.count("left out from now on") == 1
    again = run_job(tmp_path / "run", 5, *job, "rounds=2", "resume=true")
    assert [len(line["accepted"]) for line in again.rounds] == [3, 4], again.why()


@pytest.mark.slow
def test_samples_that_stop_all_replicas_in_the_first_round_are_left_out_of_the_next(
    tmp_path: Path,
) -> None:
    one = [*ONE, f"data._target_={HERE}.unreadable", "rounds=2"]
    result = run_job(tmp_path / "run", 2, *one)
    assert result.statuses == [0, 0], result.output
    assert [line["accepted"] for line in result.rounds] == [[], [0]], result.why()


@pytest.mark.parametrize(
    ("model", "warn"),
    [("counting", True), pytest.param("counting_elsewhere", False, marks=pytest.mark.slow)],
)
def test_a_model_that_keeps_a_counter_gets_nobody_banned_and_is_told_of_once(
    model: str, warn: bool, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """Whether the rehearsal has found it, or only the audits do."""
    job = [
        *FOUR,
        f"model._target_={HERE}.{model}",
        "rounds=2",
        "trust.budget=0.5",
        "sync.local_steps=6",
    ]
    result = run_job(tmp_path / "run", 5, *job, f"trust.repeatable={'warn' if warn else 'require'}")
    assert result.summary["banned"] == [], result.why()
    assert [len(line["replicas"]) for line in result.rounds] == [4] * 2
    for line in result.rounds:
        assert_told(result, line)
    [notice] = result.summary["notices"]
    assert result.output.count(notice) == 1, result.output
    assert "docs/your-model.md" in notice
    assert notice.startswith(
        "trust.repeatable=warn: nothing is audited" if warn else "some audits could not be settled"
    )
    verify(result.run, capsys)
