"""From where a run goes on after a proof."""

from types import SimpleNamespace

import pytest
import torch

from tdml.lab.laboratory import Laboratory
from tdml.node.node import Node
from tdml.round.checkpoint import to_keep
from tdml.round.rollback import Contributions, rounds_until_caught, tainted_rounds
from tdml.trust.judgement import Proof
from tests.round.liars import STEP, Liar
from tests.round.seats import sit

_SMALL = [
    "model=mlp", "model.hidden=16", "data.size=8", "model.features=192", "topology.stages=1",
]  # fmt: skip


def test_the_rounds_that_may_hold_something() -> None:
    contributions = Contributions()
    for number in (1, 2, 4):
        contributions.add_unverified(number, ["a"])
    contributions.add_unverified(3, ["b"])
    assert contributions.tainted(["a"], 5, budget=0.1) == range(1, 5)
    assert contributions.tainted(["b", "c"], 5, budget=0.1) == range(3, 4)
    assert not contributions.tainted(["c"], 5, budget=0.1)
    assert not contributions.tainted(["b"], 3, budget=0.1), (
        "the round in which it was found does not count it"
    )


def test_it_goes_back_no_further_than_lies_can_reasonably_go_back() -> None:
    assert (
        (1 - 0.05) ** rounds_until_caught(0.1)
        <= 0.01
        < (1 - 0.05) ** (rounds_until_caught(0.1) - 1)
    )
    contributions = Contributions()
    for number in range(1, 200):
        contributions.add_unverified(number, ["a"])
    assert contributions.tainted(["a"], 200, budget=0.1)[0] == 200 - rounds_until_caught(0.1)


def test_liars_who_confess_one_by_one_cannot_keep_a_run_from_its_end() -> None:
    contributions = Contributions()
    assert contributions.may_go_back(0, 6, rounds=10)
    contributions.add_unverified(7, ["a"])
    contributions.forget(0, 6)
    assert contributions.rounds == {"a": []} and contributions.taken_back == 6
    assert not contributions.may_go_back(0, 6, rounds=10)
    assert contributions.may_go_back(2, 6, rounds=10)


def test_what_liars_have_repeated_for_liars_may_hold_something() -> None:
    contributions = Contributions()
    contributions.add_verified(1, ["a"], ["b", "c"], budget=1)
    contributions.add_verified(2, ["honest"], ["b"], budget=1)
    contributions.add_verified(3, ["b"], ["c"], budget=1)
    assert not contributions.tainted(["a"], 4, budget=1), "nobody who has found it right is a liar"
    assert contributions.tainted(["b"], 4, budget=1, liars=["a"]) == range(1, 2)
    assert not contributions.tainted(["d"], 4, budget=1, liars=["a", "b"]), "that was seen to"
    assert contributions.tainted(["c"], 4, budget=1, liars=["a", "b"]) == range(1, 4)
    contributions.forget(1, 3)
    assert contributions.tainted(["c"], 4, budget=1, liars=["a", "b"]) == range(1, 2)
    other = Contributions()
    other.restore(vars(contributions))
    assert other == contributions
    contributions.add_verified(100, ["a"], ["c"], budget=1)
    assert contributions.vouched["a"] == {100: ["c"]}, "no run goes back so far"


class _League(Liar):
    """Finds right what its league says."""

    def repeating(self, order):
        self._lies = lambda step: order.replica in (2, 3) and order.first + step == STEP
        yield from Node.repeating(self, order)


def test_what_a_league_has_found_right_of_its_own_is_taken_out_when_both_are_proven_to_lie(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Everything is repeated, so nothing of it was noted."""
    monkeypatch.setattr("tdml.round.auditor.LOOK", 0.0)
    laboratory = Laboratory(
        [*_SMALL, "topology.replicas=4", "sync.local_steps=6", "trust.budget=1", "rounds=4",
         "seed=2", "trust.audit_windows=1"]
    )  # fmt: skip
    for name in ("r2.s0", "r3.s0"):
        sit(laboratory, name, _League)
    played = laboratory.run(3)
    assert [round_.number for round_ in played] == [1, 2, 3, 1, 2, 3]
    assert [round_.accepted for round_ in played[:2]] == [[0, 1, 2, 3]] * 2
    assert played[2].bans.keys() == {"r2.s0", "r3.s0"} and played[2].tainted == range(1, 3)


def test_who_was_proven_to_lie_before_may_have_been_found_right_by_who_is_now() -> None:
    laboratory = Laboratory([*_SMALL, "topology.replicas=3", "trust.budget=1"])
    judge, key = laboratory.engine.judge, laboratory.fleet.key
    judge.standing.contributions.add_verified(1, [key("r1.s0")], [key("r2.s0")], budget=1)
    proofs = [Proof(("r2.s0",), "it lied")]
    assert not judge.tainted(3, proofs)
    laboratory.fleet.banned.append("r1.s0")
    assert judge.tainted(3, proofs) == range(1, 2)


def test_checkpoints_are_kept_at_growing_distances() -> None:
    there: list[int] = []
    for number in range(1, 200):
        there = to_keep([*there, number])
        assert there[0] == number and (number == 1 or there[1] == number - 1)
        assert len(there) <= 4 * number.bit_length()
        for distance in (1, 3, 10, 30, 100):
            if number > 2 * distance:
                assert any(distance <= number - kept <= 2 * distance for kept in there), (
                    number,
                    distance,
                    there,
                )


def test_what_comes_out_after_the_mean_takes_that_very_round_out_too() -> None:
    laboratory = Laboratory(
        ["model=mlp", "model.hidden=16", "data.size=8", "model.features=192", "sync.local_steps=2",
         "topology.replicas=3", "topology.stages=1", "trust.budget=0.1"]
    )  # fmt: skip
    for number in (1, 2, 3):
        played = laboratory.play(number)
        assert not played.tainted
    laboratory.engine.convict(played, [Proof(("r1.s0",), "a figure")])
    assert played.tainted[-1] == 3
    assert tainted_rounds(played).startswith("r1.s0 lied: round")
    assert tainted_rounds(played).endswith("3 may hold more of it")


def test_without_trust_nothing_is_taken_out() -> None:
    """A message that no honest node sends bans all the same."""
    laboratory = Laboratory(
        ["model=mlp", "model.hidden=16", "data.size=8", "model.features=192", "sync.local_steps=2",
         "topology.replicas=3", "topology.stages=1", "trust.enabled=false"]
    )  # fmt: skip
    played = laboratory.play(1)
    laboratory.engine.convict(played, [Proof(("r1.s0",), "a forged message")])
    assert set(played.bans) == {"r1.s0"}
    assert not played.tainted


def test_what_the_next_round_depends_on_is_that_of_the_round_to_which_it_goes_back() -> None:
    laboratory = Laboratory(
        ["model=mlp", "model.hidden=16", "data.size=8", "model.features=192", "sync.local_steps=2",
         "topology.replicas=2", "topology.stages=1", "trust.budget=0", "sync.outer=nesterov"]
    )  # fmt: skip
    engine = laboratory.engine
    laboratory.play(1)
    weights, outer = list(engine.weights), [kept.clone() for kept in engine.outer.state()]
    laboratory.play(2)
    engine.judge.debts.owing["a key"] = SimpleNamespace(round=2)
    held = engine.version
    engine.go_back(1, weights, outer, 1)
    assert all(map(torch.equal, engine.weights, weights))
    assert all(map(torch.equal, engine.outer.state(), outer))
    assert engine.version > held, "or nodes would keep the weights that they hold"
    assert engine.judge.debts.watched == {"a key"}, "nobody can show a round that is void"
