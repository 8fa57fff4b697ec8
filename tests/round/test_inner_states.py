"""Optimizers that go on from round to round: what they go on from is committed to and audited like
all else."""

from dataclasses import replace

import pytest
import torch

from tdml.lab.laboratory import Laboratory
from tdml.node.node import Node
from tdml.protocol.orders import ReplicaLost
from tdml.trust.commitment import content
from tests.round import liars
from tests.round.seats import banned, sit
from tests.slow import slow_but

JOB = [
    "model=mlp", "data.size=8", "model.features=192", "model.hidden=16", "sync.local_steps=6",
    "train=adamw", "train.lr=0.003", "train.clip_norm=1", "topology.microbatches=2",
    "topology.stages=2", "topology.replicas=3", "trust.budget=1", "rounds=4",
    "sync.inner_state=kept",
]  # fmt: skip


def begins(laboratory: Laboratory) -> dict[str, str]:
    """By node, what its optimizer went on from in the last round."""
    return {name: node.open().inner for name, node in laboratory.fleet.nodes.items()}


def _lefts(laboratory: Laboratory) -> dict[str, str]:
    """By node, what its optimizer was left with."""
    return {name: content(*node._inner_after) for name, node in laboratory.fleet.nodes.items()}


def test_every_round_goes_on_from_the_last_and_all_of_it_is_repeated(monkeypatch) -> None:
    """Also where the coordinator looks, at whatever step."""
    monkeypatch.setattr("tdml.round.auditor.LOOK", 1.0)
    laboratory = Laboratory(JOB)
    before = dict.fromkeys(laboratory.fleet.nodes, "")
    for number in range(1, 5):
        played = laboratory.play(number)
        assert played.bans == {} and not played.notes
        assert all(audited.clean == (0, 1, 2) for audited in played.audits.values())
        assert begins(laboratory) == before
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
    laboratory = Laboratory([*JOB, "topology.replicas=2"])
    assert laboratory.play(1).bans == {}
    sit(laboratory, f"r1.s{stage}", liars.Liar, deed=deed, when=when)
    played = laboratory.play(2)
    assert banned(played) == [f"r1.s{stage}"]
    assert played.accepted == [0]


class LeavesAnother(Node):
    """Says that its optimizer is left with something else, and goes on from there."""

    def commit(self, round_number):
        self._inner_after = [self._inner_after[0] * 1.01]
        return super().commit(round_number)


class BeginsWithAnother(Node):
    """Goes on from something else than it was left with, and says so, or does not (`hides`)."""

    hides = False

    def training(self, order, steps):
        own, self.inner = self.inner, {name: inner * 1.01 for name, inner in self.inner.items()}
        yield from super().training(order, steps)
        if self.hides:
            self._trace.inner = own[order.inner[self.slot.stage]]


class ShowsAnother(Node):
    """Begins with what it was left with, and shows something else."""

    def commit(self, round_number):
        made = super().commit(round_number)
        self._vectors["state 0"] = tuple(block * 1.01 for block in self._vectors["state 0"])
        return made


@pytest.mark.parametrize("node", slow_but(["r1.s1"], ["r1.s0", "r1.s1"]))
@pytest.mark.parametrize(
    ("kind", "hides"), [(LeavesAnother, 0), (BeginsWithAnother, 0), (BeginsWithAnother, 1)]
)
def test_who_goes_on_from_something_else_is_banned(kind: type, hides: bool, node: str) -> None:
    laboratory = Laboratory(JOB)
    assert laboratory.play(1).bans == {}
    sit(laboratory, node, kind, hides=hides)
    played = laboratory.play(2)
    assert banned(played) == [node]
    assert played.accepted == [0, 2]


def test_who_does_not_show_what_it_began_with_does_not_count() -> None:
    laboratory = Laboratory(JOB)
    laboratory.play(1)
    sit(laboratory, "r1.s0", ShowsAnother)
    played = laboratory.play(2)
    assert played.accepted == [0, 2]
    assert banned(played) == ["r1.s0"]


def test_a_node_that_has_lost_its_state_begins_with_a_fresh_one() -> None:
    """Its neighbour goes on from its own."""
    laboratory = Laboratory(JOB)
    laboratory.play(1)
    laboratory.fleet.nodes["r1.s0"].inner.clear()
    lefts = _lefts(laboratory)
    played = laboratory.play(2)
    assert begins(laboratory) == {**lefts, "r1.s0": ""}
    assert played.bans == {} and played.accepted == [0, 1, 2]
    assert all(audited.clean == (0, 1, 2) for audited in played.audits.values())
    laboratory.play(3)
    assert all(begins(laboratory).values())


def test_after_rounds_were_taken_back_all_begin_with_fresh_ones() -> None:
    laboratory = Laboratory(JOB)
    weights = laboratory.engine.weights
    laboratory.play(1)
    laboratory.engine.go_back(0, weights, [], 0)
    again = laboratory.play(1)
    assert not any(begins(laboratory).values())
    assert again.accepted == [0, 1, 2]


def test_optimizers_that_begin_anew_leave_nothing() -> None:
    laboratory = Laboratory([*JOB, "sync.inner_state=fresh"])
    for number in (1, 2):
        assert laboratory.play(number).accepted == [0, 1, 2]
        assert not any(begins(laboratory).values())
    assert all(node._inner_after == [] for node in laboratory.fleet.nodes.values())


def test_more_numbers_are_committed_to_than_are_sent() -> None:
    kept, fresh = Laboratory(JOB), Laboratory([*JOB, "sync.inner_state=fresh"])
    [one, other] = [laboratory.play(1) for laboratory in (kept, fresh)]
    assert one.bytes == other.bytes
    for mine, its in zip(one.commitments[0], other.commitments[0], strict=True):
        assert mine.blocks[: len(its.blocks)] == its.blocks
        assert len(mine.blocks) == len(its.blocks) + 1
    assert all(
        torch.equal(a, b) for a, b in zip(kept.engine.weights, fresh.engine.weights, strict=True)
    )


class MakesUp(Node):
    """Commits in round 2 to a state that leads far away, and works well; with `hides` it does not
    show its update."""

    hides = False

    def commit(self, round_number):
        self._hides = self.hides and round_number == 2
        if round_number == 2:
            self._inner_after = [torch.full_like(self._inner_after[0], 1e3)]
        return super().commit(round_number)

    def reveal(self, vector, block):
        if self._hides:
            raise ReplicaLost(self.slot.replica, f"{self.name}: no room")
        return super().reveal(vector, block)


def test_what_is_left_by_a_round_that_does_not_count_does_not_count_either() -> None:
    """Its update was lost, so nothing of it was audited."""
    laboratory = Laboratory(JOB)
    laboratory.play(1)
    sit(laboratory, "r1.s0", MakesUp, hides=True)
    assert laboratory.play(2).accepted == [0, 2]
    third = laboratory.play(3)
    assert third.accepted == [0, 1, 2]
    assert not begins(laboratory)["r1.s0"] and begins(laboratory)["r0.s0"]


_UNSEEN = [*JOB, "trust.budget=0.01", "topology.replicas=5", "topology.stages=1", "rounds=5"]


def test_right_steps_from_a_state_that_nobody_has_found_do_not_clear_what_stands_out() -> None:
    laboratory = Laboratory(_UNSEEN)
    laboratory.play(1)
    sit(laboratory, "r1.s0", MakesUp)
    second = laboratory.play(2)
    assert 1 not in second.audits and second.accepted == [0, 1, 2, 3, 4]
    third = laboratory.play(3)
    assert third.audits[1].clean == (0, 1, 2), "it has done what it was told"
    made = third.judgements[1]
    assert (made.status, made.weight, made.verified) == ("suspicious", 0, False)
    assert "from what an optimizer was left with, which nobody has found" in made.reason
    assert third.accepted == [0, 2, 3, 4]
    fourth = laboratory.play(4)
    assert begins(laboratory)["r1.s0"] == ""
    assert fourth.judgements[1].status == "honest"


def test_a_round_is_proven_only_where_what_it_began_with_is(monkeypatch) -> None:
    """Found in full, and begun with what was found in full, or with nothing."""
    laboratory = Laboratory([*_UNSEEN, "trust.budget=1"])
    assert all(made.verified for made in laboratory.play(1).judgements.values())
    left = laboratory.engine.inner._left
    left["r2.s0", 0] = replace(left["r2.s0", 0], verified=False)
    for number in (2, 3):
        played = laboratory.play(number)
        assert {i for i, made in played.judgements.items() if not made.verified} == {2}
        assert played.audits[2].clean == (0, 1, 2) and played.accepted == [0, 1, 2, 3, 4]


def test_a_spoilt_state_does_not_go_on() -> None:
    laboratory = Laboratory([*JOB, "topology.spares=1"])
    laboratory.play(1)
    laboratory.fleet.nodes["r1.s1"].inner = {
        name: torch.full_like(inner, torch.nan)
        for name, inner in laboratory.fleet.nodes["r1.s1"].inner.items()
    }
    second = laboratory.play(2)
    assert second.accepted == [0, 2]
    third = laboratory.play(3)
    assert third.accepted == [0, 1, 2] and third.bans == {}


def test_optimizers_that_keep_nothing_go_on_from_nothing() -> None:
    laboratory = Laboratory([*JOB, "train=sgd", "train.momentum=0", "train.lr=0.05"])
    for number in (1, 2):
        played = laboratory.play(number)
        assert all(audited.clean == (0, 1, 2) for audited in played.audits.values())
        assert not any(begins(laboratory).values())
