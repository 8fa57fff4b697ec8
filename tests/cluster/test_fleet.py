"""Who sits where from round to round, without processes: joining a replica always works."""

from types import SimpleNamespace

import pytest
import torch

from tdml import config as settings
from tdml.cluster.exchange import ReplicaLost
from tdml.cluster.fleet import Fleet
from tdml.cluster.messages import Failure
from tdml.cluster.replica import Replica

DISPUTE = ("r1.s0", "r1.s1")


@pytest.fixture
def joined(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The replicas that were formed, in their order."""
    formed: list[int] = []
    monkeypatch.setattr(Replica, "join", lambda replica, *_: formed.append(replica.index))
    return formed


def make_fleet(told: list[str]) -> Fleet:
    config = settings.load(["topology.replicas=3", "topology.stages=2", "topology.spares=1"])
    nobody = SimpleNamespace(refused={})
    return Fleet(
        config, None, "gloo", lambda text, _: told.append(text), None, nobody, lambda name, why: None, lambda: None
    )


def muster(fleet: Fleet, *disputes: tuple[str, str]) -> dict[int, list[str]]:
    """Who works, by replica."""
    replicas = fleet.muster(disputes, torch.Generator().manual_seed(1))
    return {replica.index: [node.name for node in replica.nodes] for replica in replicas}


def test_only_the_replicas_that_a_dispute_changes_are_formed_anew(joined: list[int]) -> None:
    told: list[str] = []
    fleet = make_fleet(told)
    before = muster(fleet)
    assert muster(fleet) == before and sorted(joined) == [0, 1, 2]
    after = muster(fleet, DISPUTE)
    changed = sorted(index for index in before if before[index] != after[index])
    assert len(changed) == 2 and 1 in changed and sorted(joined[3:]) == changed
    assert len(told) == 2 and all("to separate a dispute" in line for line in told)
    assert muster(fleet, DISPUTE) == after, "once is enough"


def test_a_spare_that_was_in_dispute_with_its_new_neighbour_does_not_stay_there(joined: list[int]) -> None:
    fleet = make_fleet([])
    muster(fleet)
    fleet.ban(["r1.s0"], "lied")
    seats = muster(fleet, ("spare0", "r1.s1"))
    [mine] = [names for names in seats.values() if "spare0" in names]
    assert "r1.s1" not in mine and len(seats) == 3


def test_a_checkpoint_brings_the_seats_back(joined: list[int]) -> None:
    fleet, other = make_fleet([]), make_fleet([])
    seats = muster(fleet, DISPUTE)
    other.restore(fleet.state())
    assert muster(other) == seats


def test_the_dead_and_the_banned_are_not_moved(joined: list[int]) -> None:
    fleet = make_fleet([])
    fleet.nodes["spare0"].dead = True
    before = muster(fleet)
    fleet.ban(["r1.s0"], "lied")
    del before[1]
    assert muster(fleet, DISPUTE) == before


def test_a_replica_that_was_lost_keeps_its_nodes_until_the_next_muster(joined: list[int]) -> None:
    def lose(replica: Replica) -> None:
        raise ReplicaLost(replica.index, [Failure("r1.s0", "planted", "")])

    fleet = make_fleet([])
    muster(fleet)
    fleet.each(lose, fleet.ready([1]))
    assert fleet.ready([1]) == []
    [lost] = fleet.seated([1])
    assert [node.name for node in lost.nodes] == ["r1.s0", "r1.s1"]
    fleet.each(lose, [lost])
    fleet.nodes["r1.s0"].dead = True
    assert muster(fleet)[1] == ["spare0", "r1.s1"]
    assert fleet.seated([1]) == fleet.ready([1]) != [lost]
