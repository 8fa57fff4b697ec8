"""Who sits where from round to round, without processes: joining a replica always works."""

from collections import defaultdict
from types import SimpleNamespace

import pytest

from tdml import config as settings
from tdml.cluster.fleet import RpcFleet
from tdml.cluster.replica import RpcReplica
from tdml.round.fleet import ReplicaLost


@pytest.fixture
def joined(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The replicas that were formed, in their order."""
    formed: list[int] = []
    monkeypatch.setattr(RpcReplica, "join", lambda replica, *_: formed.append(replica.index))
    return formed


def make_fleet(told: list[str], **refused: str) -> RpcFleet:
    config = settings.load(["topology.replicas=3", "topology.stages=2", "topology.spares=1"])
    nobody = SimpleNamespace(refused=refused, keys=defaultdict(str))
    return RpcFleet(
        config,
        None,
        "gloo",
        lambda text, _: told.append(text),
        None,
        nobody,
        lambda name, why: None,
        lambda: None,
    )


def muster(fleet: RpcFleet) -> dict[int, list[str]]:
    """Who works, by replica."""
    return {replica.index: [node.name for node in replica.nodes] for replica in fleet.muster()}


@pytest.mark.parametrize("cause", ["banned", "dead"])
def test_only_the_replica_that_changes_is_formed_anew(joined: list[int], cause: str) -> None:
    told: list[str] = []
    fleet = make_fleet(told)
    before = muster(fleet)
    assert muster(fleet) == before and sorted(joined) == [0, 1, 2]
    if cause == "banned":
        fleet.ban(["r1.s0"], "lied")
    else:
        fleet.nodes["r1.s0"].dead = True
    assert [replica.index for replica in fleet.ready(range(3))] == [0, 2]
    assert muster(fleet) == {**before, 1: ["spare0", "r1.s1"]}
    assert sorted(joined[3:]) == [1]
    assert told == [f"spare0 takes the place of r1.s0 ({cause})"]


def test_a_checkpoint_brings_the_slots_and_the_bans_back(joined: list[int]) -> None:
    fleet, other = make_fleet([]), make_fleet([])
    muster(fleet)
    fleet.ban(["r1.s0"], "lied")
    seats = muster(fleet)
    muster(other)
    other.restore(fleet.state())
    assert muster(other) == seats
    assert other.banned == ["r1.s0"]


def test_who_joined_an_earlier_part_of_the_run_may_be_refused_as_it_goes_on() -> None:
    fleet = make_fleet([], spare7="its key is banned")
    assert fleet.nodes["spare7"].refused
    assert fleet.spares == ["spare0"]


def test_without_a_spare_the_others_go_on(joined: list[int]) -> None:
    fleet = make_fleet([])
    fleet.nodes["spare0"].dead = True
    before = muster(fleet)
    fleet.ban(["r1.s0"], "lied")
    del before[1]
    assert muster(fleet) == before


def lose(replica: RpcReplica) -> None:
    raise ReplicaLost(replica.index, "r1.s0: planted")


def test_a_replica_that_was_lost_keeps_its_nodes_until_the_next_muster(joined: list[int]) -> None:
    told: list[str] = []
    fleet = make_fleet(told)
    muster(fleet)
    assert fleet.each(lose, fleet.ready([1])) == {}
    assert (fleet.losses, told) == ({1: "r1.s0: planted"}, ["replica 1 lost: r1.s0: planted"])
    assert fleet.ready([1]) == []
    [lost] = fleet.seated([1])
    assert [node.name for node in lost.nodes] == ["r1.s0", "r1.s1"]
    fleet.each(lose, [lost])
    fleet.nodes["r1.s0"].dead = True
    assert muster(fleet)[1] == ["spare0", "r1.s1"]
    assert fleet.losses == {}
    assert fleet.seated([1]) == fleet.ready([1]) != [lost]


def test_an_order_that_needed_a_replica_that_is_lost_loses_that_one_alone(
    joined: list[int],
) -> None:
    def relay(replica: RpcReplica) -> str:
        if replica.index == 0:
            raise ReplicaLost(1, "r1.s1: it no longer answers")
        return "done"

    fleet = make_fleet([])
    assert fleet.each(relay, fleet.muster()) == {1: "done", 2: "done"}
    assert [replica.index for replica in fleet.ready(range(3))] == [0, 2]


def test_a_replica_that_failed_where_nobody_minded_is_formed_again(joined: list[int]) -> None:
    """Its nodes have given up, and their group is gone."""
    fleet = make_fleet([])
    before = muster(fleet)
    [replica] = fleet.ready([1])
    fleet.nodes["r1.s0"].dead = True
    with pytest.raises(ReplicaLost):
        replica.open()
    fleet.nodes["r1.s0"].dead = False
    assert fleet.ready([1]) == []
    assert muster(fleet) == before
    assert joined[3:] == [1]
