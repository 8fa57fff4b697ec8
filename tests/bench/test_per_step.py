import pytest

from tdml.bench.per_step import per_step
from tdml.lab.laboratory import Laboratory

_JOB = [
    "model=mlp", "data.size=8", "model.features=192", "model.hidden=16", "topology.replicas=2",
    "topology.stages=2", "topology.microbatches=2", "sync.local_steps=1", "train.momentum=0",
    "trust.budget=0", "train.lr=0.2", "train.clip_norm=null", "rounds=3",
]  # fmt: skip


@pytest.mark.parametrize(
    "more", [[], ["train.batch_size=16", "train.accumulate=2"], ["train.schedule=linear"]]
)
def test_without_momentum_it_is_a_job_of_one_step_a_round(more: list[str]) -> None:
    """Which has pipelines, updates and an outer step in the place of gradients that are averaged."""
    laboratory = Laboratory([*_JOB, *more])
    found = list(per_step(laboratory.job))
    played = [laboratory.play(number).test["loss"] for number in (1, 2, 3)]
    assert found == pytest.approx(played, rel=1e-5)
    assert found[0] > found[1] > found[2]
