"""Optimizers that go on from round to round: what they go on from is committed to and audited like
all else."""

import pytest
import torch

from tdml.lab.laboratory import Laboratory
from tdml.node.node import Node
from tdml.trust.commitment import content
from tests.round import liars
from tests.round.seats import banned, sit
from tests.round.test_silence import Silent

_JOB = [
    "model=mlp", "data.size=8", "model.features=192", "model.hidden=16", "sync.local_steps=6",
    "train=adamw", "train.lr=0.003", "train.clip_norm=1", "topology.microbatches=2",
    "topology.stages=2", "topology.replicas=3", "trust.budget=1", "rounds=4",
    "sync.inner_state=kept",
]  # fmt: skip


def _begins(laboratory: Laboratory) -> dict[str, str]:
    """By node, what its optimizer went on from in the last round."""
    return {name: node.open().inner for name, node in laboratory.fleet.nodes.items()}


def _lefts(laboratory: Laboratory) -> dict[str, str]:
    """By node, what its optimizer was left with."""
    return {name: content(*node._left) for name, node in laboratory.fleet.nodes.items()}


def test_every_round_goes_on_from_the_last_and_all_of_it_is_repeated(monkeypatch) -> None:
    """Also where the coordinator looks, at whatever step."""
    monkeypatch.setattr("tdml.round.auditor.LOOK", 1.0)
    laboratory = Laboratory(_JOB)
    before = dict.fromkeys(laboratory.fleet.nodes, "")
    for number in range(1, 5):
        played = laboratory.play(number)
        assert played.bans == {} and not played.notes
        assert all(audited.clean == (0, 1, 2) for audited in played.audits.values())
        assert _begins(laboratory) == before
        before = _lefts(laboratory)
    assert len(set(before.values())) == 6


_OPERATIONS = [("activation", 0), ("gradient", 1), ("state", 0), ("update", 1)]
_MOST = {("activation", 0, 0), ("state", 0, 5), ("update", 1, 5)}
_LIES = [
    pytest.param(*lie, step, marks=[] if (*lie, step) in _MOST else pytest.mark.slow)
    for lie in _OPERATIONS
    for step in (0, 3, 5)
]


@pytest.mark.parametrize(("deed", "stage", "step"), _LIES)
@pytest.mark.parametrize("when", [liars.OWN, liars.AS_VALIDATOR])
def test_a_lie_in_any_step_of_a_later_round(
    deed: str, stage: int, step: int, when: str, monkeypatch
) -> None:
    monkeypatch.setattr(liars, "STEP", step)
    laboratory = Laboratory([*_JOB, "topology.replicas=2"])
    assert laboratory.play(1).bans == {}
    sit(laboratory, f"r1.s{stage}", liars.Liar, deed=deed, when=when)
    played = laboratory.play(2)
    assert banned(played) == [f"r1.s{stage}"]
    assert played.accepted == [0]


class LeavesAnother(Node):
    """Says that its optimizer is left with something else, and goes on from there."""

    def commit(self, round_number):
        self._left = [self._left[0] * 1.01]
        return super().commit(round_number)


class BeginsWithAnother(Node):
    """Goes on from something else than it was left with, and says so, or does not (`hides`)."""

    hides = False

    def training(self, order, steps):
        own, self._inner = self._inner, {name: inner * 1.01 for name, inner in self._inner.items()}
        yield from super().training(order, steps)
        if self.hides:
            self._trace.inner = self._began_with = own[order.inner[self.slot.stage]]


class ShowsAnother(Node):
    """Begins with what it was left with, and shows something else."""

    def commit(self, round_number):
        made = super().commit(round_number)
        self._vectors["state 0"] = tuple(block * 1.01 for block in self._vectors["state 0"])
        return made


@pytest.mark.parametrize("node", ["r1.s0", "r1.s1"])
@pytest.mark.parametrize(
    ("kind", "hides"), [(LeavesAnother, 0), (BeginsWithAnother, 0), (BeginsWithAnother, 1)]
)
def test_who_goes_on_from_something_else_is_banned(kind: type, hides: bool, node: str) -> None:
    laboratory = Laboratory(_JOB)
    assert laboratory.play(1).bans == {}
    sit(laboratory, node, kind, hides=hides)
    played = laboratory.play(2)
    assert banned(played) == [node]
    assert played.accepted == [0, 2]


def test_who_does_not_show_what_it_began_with_does_not_count() -> None:
    laboratory = Laboratory(_JOB)
    laboratory.play(1)
    sit(laboratory, "r1.s0", ShowsAnother)
    played = laboratory.play(2)
    assert played.accepted == [0, 2]
    assert banned(played) == ["r1.s0"]


def test_a_node_that_has_lost_its_state_begins_with_a_fresh_one() -> None:
    """Its neighbour goes on from its own."""
    laboratory = Laboratory(_JOB)
    laboratory.play(1)
    laboratory.fleet.nodes["r1.s0"]._inner.clear()
    lefts = _lefts(laboratory)
    played = laboratory.play(2)
    assert _begins(laboratory) == {**lefts, "r1.s0": ""}
    assert played.bans == {} and played.accepted == [0, 1, 2]
    assert all(audited.clean == (0, 1, 2) for audited in played.audits.values())
    laboratory.play(3)
    assert all(_begins(laboratory).values())


def test_after_rounds_were_taken_back_all_begin_with_fresh_ones() -> None:
    laboratory = Laboratory(_JOB)
    weights = laboratory.engine.weights
    laboratory.play(1)
    laboratory.engine.go_back(0, weights, [], 0)
    again = laboratory.play(1)
    assert not any(_begins(laboratory).values())
    assert again.accepted == [0, 1, 2]


def test_who_owes_a_round_does_it_again_from_what_it_began_with() -> None:
    laboratory = Laboratory(_JOB)
    laboratory.play(1)
    sit(laboratory, "r1.s0", Silent, deed="open", always=True)
    assert "has not shown its work" in laboratory.play(2).judgements[1].reason
    sit(laboratory, "r1.s0", Silent, deed="nothing")
    third = laboratory.play(3)
    assert third.audits[1].clean == (0, 1, 2)
    assert "has shown its work of round 2" in third.judgements[1].reason
    begins, lefts = _begins(laboratory), _lefts(laboratory)
    assert begins["r1.s0"] and laboratory.play(4).accepted == [0, 1, 2]
    assert _begins(laboratory)["r1.s0"] == lefts["r1.s0"]


def test_who_was_started_anew_cannot_do_it_again_and_is_forgiven(monkeypatch) -> None:
    laboratory = Laboratory(_JOB)
    laboratory.play(1)
    sit(laboratory, "r1.s0", Silent, deed="open", always=True)
    laboratory.play(2)
    sit(laboratory, "r1.s0", Silent, deed="nothing")
    laboratory.fleet.nodes["r1.s0"]._inner.clear()
    monkeypatch.setattr(laboratory.fleet, "visit", lambda name: f"{name} anew")
    third = laboratory.play(3)
    assert third.forgiven == ("r1.s0",)
    assert third.accepted == [0, 1, 2]
    assert third.audits[1].clean == (0, 1, 2)


def test_optimizers_that_begin_anew_leave_nothing() -> None:
    laboratory = Laboratory([*_JOB, "sync.inner_state=fresh"])
    for number in (1, 2):
        assert laboratory.play(number).accepted == [0, 1, 2]
        assert not any(_begins(laboratory).values())
    assert all(node._left == [] for node in laboratory.fleet.nodes.values())


def test_more_numbers_are_committed_to_than_are_sent() -> None:
    kept, fresh = Laboratory(_JOB), Laboratory([*_JOB, "sync.inner_state=fresh"])
    [one, other] = [laboratory.play(1) for laboratory in (kept, fresh)]
    assert one.bytes == other.bytes
    for mine, its in zip(one.commitments[0], other.commitments[0], strict=True):
        assert mine.blocks[: len(its.blocks)] == its.blocks
        assert len(mine.blocks) == len(its.blocks) + 1
    assert all(
        torch.equal(a, b) for a, b in zip(kept.engine.weights, fresh.engine.weights, strict=True)
    )
