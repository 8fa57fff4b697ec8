"""Who is proven to lie may have others in league with him: a run goes back once for all of them."""

import itertools

import pytest

from tdml.lab.laboratory import Laboratory
from tdml.node.node import Node
from tests.round import liars
from tests.round.seats import sit

_JOB = [
    "data=digits", "model=mlp", "data.size=8", "model.features=192", "model.hidden=32", "train.lr=0.05", "sync.local_steps=10",
    "topology.replicas=8", "topology.stages=1", "rounds=20", "trust.budget=0.1", "data.partition=dirichlet",
]  # fmt: skip
_LIARS = {"r5.s0", "r6.s0", "r7.s0"}


def test_liars_in_league_are_found_together() -> None:
    attack = ["attack=sign_flip", "attack.replicas=[5,6,7]", "attack.from_round=4"]
    played = Laboratory([*_JOB, *attack]).run(20)
    [found] = [each for each in played if each.bans]
    assert set(found.bans) == _LIARS
    assert found.spent > 0.6 * sum(found.steps.values()), "all others' work is repeated for it"
    [following] = [after for before, after in itertools.pairwise(played) if before is found]
    assert following.number == 1, "each had lied, or may have, from the start"
    assert len(played) == found.number + 20, "and that once"


@pytest.mark.parametrize("seed", [8, 12])
def test_what_a_liar_has_found_right_is_repeated_by_another(seed: int, monkeypatch) -> None:
    """Of two in league one is asked to repeat the other's lie, and finds it right."""
    monkeypatch.setattr("tdml.round.auditor.LOOK", 0.0)
    monkeypatch.setattr("tdml.trust.suspicion.Purse.choose", lambda *_: ({1: (1,), 2: (1,)}, {}))
    few = ["sync.local_steps=6", "topology.replicas=3", "trust.budget=1", "rounds=1"]
    laboratory = Laboratory([*_JOB, *few, "data.partition=iid", f"seed={seed}"])
    for name in ("r1.s0", "r2.s0"):
        sit(laboratory, name, liars.InLeague)
    assert set(laboratory.play(1).bans) == {"r1.s0", "r2.s0"}


class _OfThree(liars.Liar):
    """Finds the lies of its league right, and nobody else's."""

    def repeating(self, order):
        self._lies = lambda step: order.replica in (4, 5, 6) and order.first + step == liars.STEP
        yield from Node.repeating(self, order)


def test_what_was_found_right_by_who_is_met_only_then_is_repeated_by_another(monkeypatch) -> None:
    """Of three in league one is met, and then another, who has found the third one's lie right."""
    monkeypatch.setattr("tdml.round.auditor.LOOK", 0.0)
    few = ["model.hidden=8", "sync.local_steps=6", "topology.replicas=7", "trust.audit_windows=2"]
    laboratory = Laboratory([*_JOB, *few, "data.partition=iid", "trust.budget=0.5", "seed=6"])
    for index in (4, 5, 6):
        sit(laboratory, f"r{index}.s0", _OfThree)
    assert set(laboratory.play(1).bans) == {"r4.s0", "r5.s0", "r6.s0"}


class _Belittles(liars.HandsInAnother):
    """Says that another's update changes nothing, beside what it lies of its own."""

    def losses_to_report(self, losses, order):
        if order.candidate is None:
            self._before = losses
        else:
            self.belittled = order.candidate
        return self._before


def test_what_a_proven_liar_reports_of_others_is_not_heard() -> None:
    """No look has met it: its own work has."""
    few = ["model.hidden=16", "sync.local_steps=40", "topology.replicas=4", "trust.budget=0.9"]
    laboratory = Laboratory([*_JOB, *few, "data.partition=iid", "seed=0"])
    sit(laboratory, "r1.s0", _Belittles)
    played = laboratory.play(1)
    assert played.bans["r1.s0"].startswith("audit: the update of stage 0")
    told = {index: made.p for index, made in played.judgements.items()}
    assert told.pop(laboratory.fleet.nodes["r1.s0"].belittled) is None
    assert None not in told.values()


def test_nothing_is_spent_so_where_nobody_lies() -> None:
    played = Laboratory(_JOB).run(12)
    steps = sum(sum(each.steps.values()) for each in played)
    assert sum(each.spent for each in played) <= 0.13 * steps
    assert not any(each.bans for each in played)


def test_whom_nobody_can_clear_is_left_out() -> None:
    """All of its validators may be in league with it."""
    laboratory = Laboratory([*_JOB, "attack=sign_flip", "attack.replicas=[7]"])
    for number in range(1, 21):
        for replica in laboratory.fleet.muster():
            replica.kind = "NVIDIA H400" if replica.index == 3 else replica.kind
        played = laboratory.play(number)
        if played.bans:
            break
    assert set(played.bans) == {"r7.s0"}
    own = played.audits
    assert all(own[index].clean == (0, 1, 2) for index in (0, 1, 2, 4, 5, 6))
    assert 3 not in own or not own[3].clean
