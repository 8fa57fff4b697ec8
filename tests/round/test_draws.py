"""A GPU draws other numbers from a seed than the coordinator's processor: where a model drops some
out, nobody can tell by recomputation whether such a step was taken."""

from dataclasses import replace

import pytest

from tdml.lab.laboratory import Laboratory
from tdml.node.node import Node
from tests.round.seats import banned, sit
from tests.slow import slow_but

_JOB = [
    "task=language", "data=text", "data.context=16", "model=gpt", "model.layers=2",
    "model.width=16", "model.heads=2", "train=adamw", "train.batch_size=8", "sync.local_steps=6",
    "topology.replicas=3", "topology.stages=2", "trust.budget=1", "rounds=3",
]  # fmt: skip


class _Otherwise(Node):
    """Draws as another device does."""

    def _one(self, given, log, step, keeps=False):
        yield from super()._one(replace(given, seed=given.seed + 1), log, step, keeps)


class _Idle(_Otherwise):
    """Hands in nothing."""

    def made(self, update, taken):
        return super().made(update, taken) * 0


def _on(kind: str, replicas: set[int], *overrides: str) -> Laboratory:
    laboratory = Laboratory([*_JOB, *overrides])
    for replica in replicas:
        for stage in range(2):
            sit(laboratory, f"r{replica}.s{stage}", _Otherwise)
    muster = laboratory.fleet.muster

    def mustered():
        replicas_there = muster()
        for replica in replicas_there:
            replica.kind = kind if replica.index in replicas else replica.kind
        return replicas_there

    laboratory.fleet.muster = mustered
    return laboratory


@pytest.mark.parametrize("replicas", slow_but([{2}], [{2}, {0, 1, 2}]), ids=["one of three", "all"])
def test_honest_gpus_owe_nothing_where_a_model_draws(replicas: set[int], monkeypatch) -> None:
    """All that they do is looked at, and some of it stands out."""
    monkeypatch.setattr("tdml.round.auditor.LOOK", 1.0)
    laboratory = _on("a GPU", replicas, "model.dropout=0.1")
    for number in range(1, 4):
        played = laboratory.play(number)
        assert banned(played) == []
        assert laboratory.engine.judge.debts.owing == {}
        reasons = [made.reason for made in played.judgements.values() if not made.accepted]
        assert all("widths off its peers'" in reason for reason in reasons), reasons


def test_where_nothing_is_drawn_a_lie_on_a_gpu_is_proven() -> None:
    laboratory = _on("a GPU", {2})
    sit(laboratory, "r2.s1", _Idle)
    found = [name for number in range(1, 4) for name in banned(laboratory.play(number))]
    assert found == ["r2.s1"]
