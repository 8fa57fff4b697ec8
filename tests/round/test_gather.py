"""Blocks that are not those that were committed to."""

from dataclasses import replace

import pytest

from tdml.common.merkle import root
from tdml.lab.laboratory import Laboratory
from tdml.node.node import Node
from tdml.trust.commitment import commitment
from tests.round import liars, unhelpful
from tests.round.seats import sit

_JOB = [
    "model=mlp", "model.hidden=16", "sync.local_steps=6", "topology.stages=2",
    "topology.replicas=3", "rounds=2",
    "gather.memory=0",
]  # fmt: skip


class _CommitsOtherwise(Node):
    """To the update of another round, or to more blocks than it has."""

    def commit(self, round_number):
        made = super().commit(round_number)
        blocks = made.blocks * self.times
        update = commitment(round_number + self.later, self.name, root(blocks))
        return replace(made, blocks=blocks, update=update)


@pytest.mark.parametrize(("times", "later"), [(2, 0), (1, 1)])
def test_a_commitment_is_to_this_rounds_update_and_all_of_its_blocks(
    times: int, later: int
) -> None:
    laboratory = Laboratory([*_JOB, "trust.budget=0"])
    sit(laboratory, "r1.s1", _CommitsOtherwise, times=times, later=later)
    played = laboratory.play(1)
    assert list(played.bans) == ["r1.s1"]
    assert played.accepted == [0, 2]


_LARGE = {"large": lambda block: block * 1e6, "not finite": lambda block: block * float("nan")}
_MISSHAPEN = {"short": lambda block: block[:1], "nothing": lambda block: None}


@pytest.mark.parametrize(
    ("trust", "other"),
    [
        *(
            pytest.param("trust.budget=0", other, id=name)
            for name, other in (_LARGE | _MISSHAPEN).items()
        ),
        *(
            pytest.param("trust.enabled=false", other, id=f"no trust, {name}")
            for name, other in _MISSHAPEN.items()
        ),
    ],
)
def test_the_mean_is_of_what_was_judged(trust: str, other) -> None:
    """Without trust the form alone is looked at."""
    laboratory = Laboratory([*_JOB, trust])
    sit(laboratory, "r1.s1", liars.RevealsAnother, other=other)
    before = laboratory.engine.weights
    played = laboratory.play(1)
    trusted = laboratory.job.config.trust.enabled
    assert list(played.bans) == (["r1.s1"] if trusted else [])
    assert played.judgements[1].status == ("malicious" if trusted else "suspicious")
    assert played.judgements[1].blamed == (("r1.s1",) if trusted else ())
    assert played.accepted == [0, 2], "whose update is not in the mean does not count"
    noted = laboratory.engine.judge.standing.contributions.rounds
    key = laboratory.fleet.key
    assert (key("r0.s0") in noted) == trusted, "without trust nothing is ever taken out"
    assert key("r1.s0") not in noted, "nothing of it is in the weights"
    moved = [
        float((after - was).abs().max())
        for after, was in zip(laboratory.engine.weights, before, strict=True)
    ]
    assert 0 < max(moved) < 1


@pytest.mark.parametrize("times", [1, 2, 3])
def test_the_mean_is_of_what_was_judged_where_rewards_are_by_improvement(times: int) -> None:
    """Updates are then asked for once more for each replica; who shows another does not count, and
    does not count as honest, even if it has shown the right one for the mean."""
    laboratory = Laboratory([*_JOB, "trust.budget=0", "rewards.policy=improvement"])
    sit(laboratory, "r1.s1", liars.RevealsAnother, times=times)
    played = laboratory.play(1)
    assert list(played.bans) == ["r1.s1"]
    assert played.judgements[1].status == "malicious"
    assert played.accepted == [0, 2]
    noted = laboratory.engine.judge.standing.contributions.rounds
    assert laboratory.fleet.key("r1.s0") not in noted, "nothing of it is in the weights"


def test_who_shows_a_validator_another_update_loses_its_own_test_alone() -> None:
    """And is not better off than who was tested and not seen working."""
    laboratory = Laboratory([*_JOB, "trust.budget=0.5", "sync.local_steps=40"])
    sit(laboratory, "r1.s1", liars.ShowsAnotherUpdate)
    played = laboratory.play(1)
    assert set(played.bans) <= {"r1.s1"}
    assert {0, 2} <= set(played.accepted)
    assert played.judgements[1].p == 1
    assert laboratory.engine.judge.standing.suspicion.by_node["r1.s0"] >= 1


@pytest.mark.parametrize("memory", [0, 1024])
def test_who_cannot_repeat_what_it_is_given_still_counts(memory: int) -> None:
    """Its group is lost over that, and its nodes have its update."""
    laboratory = Laboratory(
        ["model=mlp", "model._target_=tests.round.hidden.marked", "~model.features",
         "~model.hidden", "~model.depth", "data.size=8", "sync.local_steps=6",
         "topology.stages=1", "topology.replicas=4", "trust.budget=1", "rounds=3",
         f"gather.memory={memory}"]
    )  # fmt: skip
    sit(laboratory, "r1.s0", unhelpful.Marks)
    played = laboratory.play(1)
    assert "ValueError: marked" in str(laboratory.fleet.losses), "honest validators have failed"
    assert played.accepted == [0, 2, 3]
    assert not {"r0.s0", "r2.s0", "r3.s0"} & set(played.bans)
    again = laboratory.play(2)
    assert {0, 2, 3} <= set(again.accepted)
    assert set(again.bans) | set(played.bans) == {"r1.s0"}
