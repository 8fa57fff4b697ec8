"""Who reports a false evaluation is banned once a report of its own is evaluated again."""

import pytest
import torch

from tdml.lab.laboratory import Laboratory
from tdml.node.lockstep import predict
from tdml.node.node import Node

_JOB = [
    "model=mlp", "data.size=8", "model.features=192", "model.hidden=16", "topology.stages=1",
    "topology.replicas=3", "sync.local_steps=40", "trust.budget=0.9", "rounds=9",
]  # fmt: skip


class Exaggerates(Node):
    """Repeats steps honestly, and reports other losses than it finds."""

    def reported(self, losses, order):
        return losses + 1


def test_a_false_report_is_proven() -> None:
    laboratory = Laboratory(_JOB)
    laboratory.fleet.nodes["r1.s0"].__class__ = Exaggerates
    for number in range(1, 10):
        if bans := laboratory.play(number).bans:
            break
    assert list(bans) == ["r1.s0"]
    assert "reports what recomputation does not find" in bans["r1.s0"]


def test_an_update_that_no_model_can_be_evaluated_with_ends_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Whoever is in league with its owner may report something of it all the same."""
    laboratory = Laboratory(_JOB)
    referee, asked = laboratory.engine.judge.auditor.settler.referee, []

    def predict(*_: object) -> None:
        asked.append(1)
        raise ValueError("no such weights")

    monkeypatch.setattr("tdml.round.recompute.predict", predict)
    assert not laboratory.play(1).bans
    assert asked
    assert not referee._stages


class Damns(Node):
    """Reports that others' updates make every sample worse, each by another amount."""

    asked = 0

    def reported(self, losses, order):
        self.asked += 1
        return losses if order.candidate is None else losses + 5 * torch.rand(len(losses))


def test_who_says_that_it_is_on_a_kind_of_its_own_is_not_heard() -> None:
    laboratory = Laboratory([*_JOB, "topology.replicas=4"])
    liar = laboratory.fleet.nodes["r3.s0"]
    liar.__class__ = Damns
    tested = 0
    for number in range(1, 6):
        for replica in laboratory.fleet.muster():
            replica.kind = "NVIDIA H400" if replica.index == 3 else replica.kind
        played = laboratory.play(number)
        assert not played.bans
        tested += sum(made.p is not None for made in played.judgements.values())
    assert not liar.asked
    assert tested >= 10, "the others test each other as ever"


def test_a_model_that_raises_now_and_then_convicts_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nor does it end the coordinator, which evaluates again and again before a ban."""
    laboratory, calls = Laboratory(_JOB), []
    for node in laboratory.fleet.nodes.values():
        node.__class__ = Exaggerates

    def once(*given: object) -> None:
        calls.append(1)
        if len(calls) > 1:
            raise ValueError("no such weights")
        predict(*given)

    monkeypatch.setattr("tdml.round.recompute.predict", once)
    for number in range(1, 4):
        calls.clear()
        assert not laboratory.play(number).bans
        assert len(calls) > 2, "it was evaluated again; and the figures of progress"
