"""Who loses its group within a round is formed again, and judged by the kind of machine that it was
on when the round began, whatever it says then."""

import pytest
import torch

from tdml.lab.fleet import LocalReplica
from tdml.lab.laboratory import Laboratory
from tdml.node.node import Node
from tests.round import liars, unhelpful
from tests.round.seats import banned, sit

_JOB = ["sync.local_steps=6", "trust.budget=1", "trust.rollback=off", "rounds=3"]
_DRAWS = [
    "task=language", "data=text", "data.context=16", "model=gpt", "model.layers=2",
    "model.width=16", "model.heads=2", "model.dropout=0.1", "train.batch_size=8",
    "topology.replicas=4", "topology.stages=1",
]  # fmt: skip
_MLP = [
    "model=mlp", "data.size=8", "model.features=192", "model.hidden=16",
    "topology.replicas=4", "topology.stages=2",
]  # fmt: skip


def _says(laboratory: Laboratory, first: str, again: str) -> None:
    """Have replica 1 be on another kind of machine as soon as it is formed again; "": that of
    all."""
    fleet, form = laboratory.fleet, laboratory.fleet.form

    def say(indices):
        usual, within = LocalReplica(0, []).kind, bool(fleet._mustered)
        new = not fleet.ready([1]) and 1 in indices
        form(indices)
        for replica in fleet.ready([1]) if new else ():
            replica.kind = (again if within else first) or usual
            fleet.nodes["r1.s0"].again = within

    fleet.form = say


class _Fails(unhelpful.RepeatsNothing, liars.HandsInAnother):
    """Loses its group over the work of others, which costs it nothing."""


def test_no_liar_is_let_off_by_another_kind_of_machine_that_it_takes_on_when_it_is_met() -> None:
    """On a GPU nobody could tell what a step that draws leads to."""
    laboratory = Laboratory([*_JOB, *_DRAWS])
    _says(laboratory, "", "NVIDIA H400")
    sit(laboratory, "r1.s0", _Fails)
    assert laboratory.play(1).judgements[1].weight == 0
    assert list(laboratory.engine.judge.debts.owing) == [laboratory.fleet.key("r1.s0")]


class _OnEightThreads(Node):
    """Rounds otherwise, until it is formed again."""

    again = False

    def _take_step(self, given, log, step, keeps=False):
        yield from super()._take_step(given, log, step, keeps)
        if not self.again:
            with torch.no_grad():
                self.stage.trainer.parameters[0].mul_(1 + 1e-6)


class _FailsOnce(Node):
    failed = False

    def repeating(self, order):
        if order.own and order.round == 2 and not self.failed:
            self.failed = True
            raise MemoryError("no room")
        yield from super().repeating(order)


def test_who_computes_otherwise_once_it_is_formed_again_is_not_banned(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As with the others' number of threads, which its partner can see to by failing once."""
    monkeypatch.setattr("tdml.round.auditor.LOOK", 1.0)
    laboratory = Laboratory([*_JOB, *_MLP])
    _says(laboratory, "torch 2, AMD EPYC AVX512, 8 threads", "")
    sit(laboratory, "r1.s0", _OnEightThreads)
    sit(laboratory, "r1.s1", _FailsOnce)
    for number in (1, 2):
        assert banned(laboratory.play(number)) == []
