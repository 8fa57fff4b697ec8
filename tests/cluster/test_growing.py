"""Replicas that form as nodes come, beyond those that a job began with."""

import pytest

from tdml.cluster.replica import RpcReplica
from tdml.protocol.orders import ReplicaLost
from tests.cluster.fleets import ALL, admit, make_fleet, muster


def test_a_job_starts_with_the_replicas_that_are_complete_and_others_form_when_nodes_come(
    joined: list[int],
) -> None:
    told: list[str] = []
    fleet = make_fleet(told, "topology.min_replicas=1", there=ALL[:3])
    assert muster(fleet) == {0: ["r0.s0", "r0.s1"]}
    assert fleet.slots.spares == ["r1.s0"]
    fleet.enter(admit([*ALL[:3], "spare1"]))
    assert muster(fleet) == {0: ["r0.s0", "r0.s1"], 1: ["r1.s0", "spare1"]}
    assert told == ["replica 1 is formed of r1.s0, spare1"]
    assert fleet.dead == []
    assert joined == [0, 1]


def test_an_empty_seat_comes_before_a_further_replica(joined: list[int]) -> None:
    fleet = make_fleet([], "topology.min_replicas=1", there=ALL[:4])
    muster(fleet)
    fleet.enter(admit([*ALL[:3], "spare1", "spare2"]))
    assert muster(fleet) == {0: ["r0.s0", "r0.s1"], 1: ["r1.s0", "spare1"]}
    fleet.enter(admit([*ALL[:3], "spare1", "spare2", "spare3"]))
    assert muster(fleet)[2] == ["spare2", "spare3"]


def test_beyond_the_replicas_that_are_set_the_spares_stay_in_reserve(joined: list[int]) -> None:
    fleet = make_fleet([], "topology.max_replicas=4")
    assert len(muster(fleet)) == 3
    came = [*ALL, "spare0", "spare1"]
    fleet.enter(admit(came))
    assert len(muster(fleet)) == 3
    fleet.enter(admit([*came, "spare2"]))
    assert muster(fleet)[3] == ["spare0", "spare1"]
    fleet.enter(admit([*came, *(f"spare{number}" for number in range(2, 9))]))
    assert sorted(muster(fleet)) == [0, 1, 2, 3], "no more than max_replicas"


def test_the_ends_of_a_further_replica_read_data(joined: list[int]) -> None:
    three = ["topology.replicas=1", "topology.max_replicas=2", "topology.stages=3"]
    names = ["r0.s0", "r0.s1", "r0.s2"]
    fleet = make_fleet([], *three, "topology.spares=0", there=names)
    fleet.enter(admit([*names, "a", "b", "c"], blind=["a", "b"]))
    assert sorted(muster(fleet)) == [0]
    fleet.enter(admit([*names, "a", "b", "c", "d"], blind=["a", "b"]))
    assert muster(fleet)[1] == ["c", "a", "d"]


def test_a_checkpoint_brings_further_replicas_back_and_others_take_the_seats_of_those_who_are_not(
    joined: list[int],
) -> None:
    fleet = make_fleet([], "topology.max_replicas=4", "topology.spares=0", there=ALL)
    fleet.enter(admit([*ALL, "spare0", "spare1"]))
    fleet.roster.keys |= dict.fromkeys([*ALL, "spare0", "spare1"], "")
    assert muster(fleet)[3] == ["spare0", "spare1"]
    again = make_fleet(
        [], "topology.max_replicas=4", "topology.spares=0", there=[*ALL, "spare1", "spare2"]
    )
    again.restore(fleet.state())
    assert muster(again)[3] == ["spare2", "spare1"]


def test_spares_that_fall_silent_in_a_slot_hold_a_round_up_twice_and_keep_no_other_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Though they are back before the next round, and there are ever more of them."""
    tried: list[list[str]] = []

    def join(replica: RpcReplica, *_: object) -> None:
        for node in replica.nodes:
            if node.name in hostile:
                tried[-1].append(node.name)
                node.dead = True
                raise ReplicaLost(replica.index, "silent", [node.name])

    monkeypatch.setattr(RpcReplica, "join", join)
    hostile = [f"spare{number}" for number in range(1, 5)]
    there = [*ALL, *hostile, "spare5"]
    fleet = make_fleet([], "topology.spares=0")
    fleet.enter(admit(there))
    there.remove("r1.s0")
    for number in range(6, 10):
        fleet.enter(admit(there))
        tried.append([])
        working = muster(fleet)
        hostile.append(f"spare{number}")
        there.append(hostile[-1])
    assert tried == [["spare1", "spare2"], ["spare3", "spare4"], [], []]
    assert working[1] == ["spare5", "r1.s1"]
