"""One replica alone, whose work nobody can repeat but the coordinator, which looks at single
steps."""

import pytest

from tdml.lab.laboratory import Laboratory
from tests.round import liars
from tests.round.seats import sit

_JOB = [
    "model=mlp", "data.size=8", "model.features=192", "model.hidden=16", "sync.local_steps=6",
    "train.clip_norm=1", "topology.microbatches=4", "topology.replicas=1", "trust.budget=1",
    "rounds=2",
]  # fmt: skip


@pytest.mark.parametrize("stages", [2, 3])
def test_a_step_that_was_not_taken_is_met(stages: int) -> None:
    laboratory = Laboratory([*_JOB, f"topology.stages={stages}"])
    assert not laboratory.play(1).bans
    sit(laboratory, "r0.s1", liars.Liar, deed="update")
    assert list(laboratory.play(2).bans) == ["r0.s1"]


def test_updates_are_looked_at_too() -> None:
    """An update that is not what the states lead to, and to which its node sticks: one of twelve
    looks is at it."""
    laboratory = Laboratory([*_JOB, "topology.stages=2"])
    sit(laboratory, "r0.s1", liars.HandsInAnother)
    bans = [list(laboratory.play(number).bans) for number in range(1, 13)]
    assert [name for banned in bans for name in banned] == ["r0.s1"]
