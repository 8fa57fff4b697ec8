"""Samples that can be read, and that the model or the task does not take."""

import pytest
import torch
from torch import nn

from tdml import config as settings
from tdml.data.source import load_source
from tdml.round.job import Job
from tdml.round.result import Round
from tdml.run.notices import notices
from tdml.run.prepare import prepare
from tdml.trust.judgement import lost

_BAD, _STEPS = (100, 53), 12
_REASON = "replica 0 lost: r0.s0: IndexError: index out of range in self"
_JOB = [
    "~data.size", "topology.replicas=1", "topology.stages=1", "train.batch_size=8",
    f"sync.local_steps={_STEPS}", "trust.budget=0", "topology.microbatches=2",
]  # fmt: skip
_IDS = [
    "task=language",
    f"data._target_={__name__}.ids",
    f"model._target_={__name__}.words",
    "model.num_classes=20",
]
_LABELS = [
    f"data._target_={__name__}.labels",
    "model=mlp",
    "model.features=6",
    "model.num_classes=3",
]


def ids(beyond: int = 30, last: bool = False) -> tuple[list, list]:
    """Some have a token that the model does not know, or are to say one."""
    drawn = torch.randint(0, 20, (130, 9), generator=torch.Generator().manual_seed(0))
    for sample in _BAD:
        drawn[sample, -1 if last else 3] = beyond
    return [*drawn[:110]], [*drawn[110:]]


class Batched(list):
    """Labels that only a whole batch shows, where they are changed as it is read."""

    def __getitems__(self, indices: list[int]) -> list:
        return [(self[i][0], self[i][1] + 9 * (i in _BAD)) for i in indices]


def labels() -> tuple[list, list]:
    drawn = torch.randn(130, 6, generator=torch.Generator().manual_seed(0))
    samples = [(row, int(row[0] > 0) + int(row[1] > 0)) for row in drawn]
    return Batched(samples[:110]), samples[110:]


class OfSeveral(nn.Embedding):
    """Takes no sample alone, as what looks over its batch."""

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        if self.training and len(value) < 2:
            raise ValueError("one sample has no deviation")
        return super().forward(value)


def words(num_classes: int) -> nn.Sequential:
    return nn.Sequential(OfSeveral(num_classes, 16), nn.Linear(16, num_classes))


def job_of(overrides: list[str]) -> Job:
    config = settings.load([*_JOB, *overrides])
    return prepare(config, load_source(config), None)


def told(job: Job, reason: str = _REASON) -> list[str]:
    """What is said of a round whose only replica is lost for a reason."""
    judgements = {0: lost(0, ("r0.s0",), reason)}
    played = Round(1, {0: ("r0.s0",)}, steps={0: _STEPS}, judgements=judgements)
    return notices(job, played, [reason])


@pytest.mark.parametrize(
    "overrides", [_IDS, [*_IDS, "+data.last=true"], _LABELS], ids=["id", "last id", "label"]
)
def test_what_is_beyond_the_model_is_named_and_left_out(overrides: list[str]) -> None:
    job = job_of(overrides)
    before = {name: tensor.clone() for name, tensor in job.model.state_dict().items()}
    trained = [sample for sample in _BAD if sample in job.batches(0, 1)]
    [said] = told(job)
    assert trained and sorted(job.left_out.since) == sorted(trained)
    assert said.startswith("data: training sample") and " (IndexError: " in said
    assert f"{len(trained)} sample" in said and said.endswith("left out from now on")
    assert not set(trained) & {*job.batches(0, 2).flatten().tolist()}
    assert all(torch.equal(job.model.state_dict()[name], before[name]) for name in before)


@pytest.mark.parametrize(
    ("overrides", "reason"),
    [
        ([*_IDS, "+data.beyond=5"], _REASON),
        (_IDS, "replica 0 lost: r0.s0: no answer within 120 s"),
    ],
    ids=["sound samples", "another reason"],
)
def test_sound_samples_stay_whatever_nodes_say(overrides: list[str], reason: str) -> None:
    job = job_of(overrides)
    assert told(job, reason) == [] and job.left_out.since == {}


def test_where_none_is_taken_no_sample_is_to_blame(monkeypatch: pytest.MonkeyPatch) -> None:
    job = job_of(_IDS)
    monkeypatch.setattr(OfSeveral, "forward", lambda self, value: self.weight[value + 20])
    assert told(job) == [] and job.left_out.since == {}
