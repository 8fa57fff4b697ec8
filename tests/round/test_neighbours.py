"""Several nodes of one replica lie: one machine's, or neighbours in league."""

from itertools import product

import pytest

from tdml.lab.laboratory import Laboratory
from tdml.protocol.orders import ReplicaLost
from tests.round import liars
from tests.round.seats import banned, sit
from tests.slow import slow_but

_JOB = [
    "model=mlp", "data.size=8", "model.features=192", "model.hidden=16", "sync.local_steps=6",
    "topology.microbatches=4", "topology.stages=3", "topology.replicas=3", "trust.budget=1",
    "rounds=2",
]  # fmt: skip


def _laboratory(*overrides: str) -> Laboratory:
    return Laboratory([*_JOB, *overrides])


@pytest.mark.parametrize(
    ("deed", "when"),
    slow_but(
        {("state", liars.OWN), ("update", liars.AS_VALIDATOR)},
        product(["state", "update"], [liars.OWN, liars.AS_VALIDATOR]),
    ),
)
def test_all_that_lie_at_the_same_time_are_banned_at_once(deed: str, when: str) -> None:
    """Else the run would go back once for each of them."""
    laboratory = _laboratory()
    for stage in range(3):
        sit(laboratory, f"r1.s{stage}", liars.Liar, deed=deed, when=when)
    played = laboratory.play(1)
    assert banned(played) == ["r1.s0", "r1.s1", "r1.s2"]
    assert {0, 2} <= set(played.accepted)


def test_what_each_conviction_rests_on_is_kept_at_once() -> None:
    """Each has a whole state of a stage: of many liars they would not go into memory together."""
    laboratory, kept = _laboratory(), []
    for stage in range(3):
        sit(laboratory, f"r1.s{stage}", liars.Liar)
    settler = laboratory.engine.judge.auditor.settler
    settler._keep = lambda exhibit: kept.append([*exhibit]) or {"truth": f"{len(kept)}"}
    played = laboratory.play(1)
    assert kept == [["truth0"]] * 3
    assert [each.artifacts for each in played.settlements] == [{"truth": c} for c in "123"]


@pytest.mark.parametrize(
    "attack",
    [
        "gaussian",
        *(pytest.param(a, marks=pytest.mark.slow) for a in ("zero_gradient", "mean_shift")),
    ],
)
def test_the_papers_attackers_are_whole_replicas(attack: str) -> None:
    laboratory = _laboratory(f"attack={attack}", "attack.replicas=[1]", "topology.stages=2")
    assert banned(laboratory.play(1)) == ["r1.s0", "r1.s1"]


def test_an_honest_neighbour_of_a_liar_is_not_touched() -> None:
    """What it makes of a false message is another's doing, whatever it comes to."""
    laboratory = _laboratory()
    sit(laboratory, "r1.s0", liars.Liar, deed="activation")
    sit(laboratory, "r1.s2", liars.Liar, deed="update")
    assert banned(laboratory.play(1)) == ["r1.s0"]


class _Leaves(liars.Liar):
    """Lies, and is no longer there when the coordinator looks at its lie."""

    def shown(self):
        raise ReplicaLost(self.slot.replica, f"{self.name}: gone")


def test_who_leaves_does_not_save_its_partner() -> None:
    laboratory = _laboratory()
    sit(laboratory, "r1.s0", liars.Liar, deed="update")
    sit(laboratory, "r1.s2", _Leaves, deed="update")
    played = laboratory.play(1)
    assert "r1.s0" in played.bans
    assert set(played.bans) <= {"r1.s0", "r1.s2"}
    assert played.accepted == [0, 2]


def test_the_first_of_two_neighbours_in_league_is_named() -> None:
    laboratory = _laboratory()
    sit(laboratory, "r1.s0", liars.Liar, deed="activation")
    sit(laboratory, "r1.s1", liars.Liar, deed="activation")
    assert banned(laboratory.play(1)) == ["r1.s0"]


def test_who_logs_for_a_friend_what_it_was_not_sent_is_held_to_it() -> None:
    laboratory = _laboratory()
    sit(laboratory, "r1.s0", liars.Sender)
    sit(
        laboratory,
        "r1.s1",
        liars.Confederate,
        deed="nothing",
        truth=laboratory.fleet.nodes["r1.s0"],
    )
    assert banned(laboratory.play(1)) == ["r1.s1"]
