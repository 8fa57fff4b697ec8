"""Who sits where from round to round, without processes: joining a replica always works."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from types import SimpleNamespace

import pytest

from tdml import config as settings
from tdml.cluster.fleet import RpcFleet
from tdml.cluster.membership import part_from_the_slow
from tdml.cluster.replica import RpcReplica
from tdml.data.contents import Contents
from tdml.members.admission import Admitted
from tdml.members.cards import Card
from tdml.protocol.names import node_names
from tdml.protocol.orders import ReplicaLost


@pytest.fixture
def joined(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """The replicas that were formed, in their order."""
    formed: list[int] = []
    monkeypatch.setattr(RpcReplica, "join", lambda replica, *_: formed.append(replica.index))
    return formed


def make_fleet(
    told: list[str], *overrides: str, there: Sequence[str] | None = None, **refused: str
) -> RpcFleet:
    """A fleet of 3 × 2 nodes and a spare. `there`: those who have come, all unless it says so."""
    chosen = ["topology.replicas=3", "topology.stages=2", "topology.spares=1", *overrides]
    config = settings.load(chosen)
    known = {name: f"key of {name}" for name in node_names(config.topology)}
    nobody = SimpleNamespace(refused=refused, keys=defaultdict(str, known))
    return RpcFleet(
        config,
        None,
        admit(node_names(config.topology) if there is None else there),
        lambda text, _: told.append(text),
        None,
        nobody,
        lambda name, why: None,
        lambda: None,
    )


_DATA = Contents(1, 1, "", "", "", "")


def admit(names: Sequence[str], blind: Collection[str] = ()) -> Admitted:
    """Nodes of these names; those that are `blind` read no data."""
    cards = {
        name: Card("", "", None if name in blind else _DATA, visit=name)
        for name in ("coordinator", *names)
    }
    return Admitted(cards, {})


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
    slots = muster(fleet)
    muster(other)
    other.restore(fleet.state())
    assert muster(other) == slots
    assert other.banned == ["r1.s0"]


def test_who_takes_a_slot_later_is_told_with_how_many_threads_the_others_compute(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    told: dict[int, list[int | None]] = defaultdict(list)

    def join(replica: RpcReplica, generation: int, plan: object, backend: str, threads) -> None:
        told[replica.index].append(threads)
        replica.kind = "torch 2, AMD EPYC AVX512, 4 threads"

    monkeypatch.setattr(RpcReplica, "join", join)
    fleet = make_fleet([])
    muster(fleet)
    fleet.ban(["r1.s0"], "lied")
    muster(fleet)
    assert told == {0: [None], 1: [None, 4], 2: [None]}


def test_who_is_too_slow_twice_in_a_row_gives_its_slot_to_a_spare(joined: list[int]) -> None:
    told: list[str] = []
    fleet = make_fleet(told)
    muster(fleet)
    for _ in range(2):
        _answer(fleet, "r1.s0")
        part_from_the_slow(fleet)
        there = muster(fleet)
    assert there[1] == ["spare0", "r1.s1"]
    assert "r1.s0 given up: too slow to answer, twice in a row" in told
    for _ in range(2):  # there is no spare left, but there are other replicas
        _answer(fleet, "r0.s0")
        part_from_the_slow(fleet)
        there = muster(fleet)
    assert sorted(there) == [1, 2]


def test_nobody_parts_from_the_last_replica(joined: list[int]) -> None:
    told: list[str] = []
    fleet = make_fleet(told, "topology.replicas=1", "topology.stages=3", "topology.spares=0")
    muster(fleet)
    for _ in range(4):
        _answer(fleet, "r0.s1")
        part_from_the_slow(fleet)
        assert sorted(muster(fleet)) == [0]


def _answer(fleet: RpcFleet, slow: str) -> None:
    """All nodes, once each."""
    for name in fleet.nodes:
        fleet.patience.promptness.note(name, "reveal", 500.0 if name == slow else 0.1)


def _part(keys: dict[str, str], state: dict | None) -> RpcFleet:
    """A part of a run, to which nodes with these keys have come."""
    fleet = make_fleet([], there=list(keys))
    fleet.roster.keys = dict(keys)
    if state is not None:
        fleet.restore(state)
    fleet.muster()
    return fleet


def test_the_banned_who_do_not_come_back_do_not_keep_a_run_from_going_on(joined: list[int]) -> None:
    """However often it is resumed."""
    keys = dict(make_fleet([]).roster.keys)
    first = _part(keys, None)
    first.ban(["r1.s0"], "lied")
    del keys["r1.s0"]
    second = _part(keys, first.state())
    third = _part(keys, second.state())
    assert third.banned == ["r1.s0"]
    assert third.state()["keys"]["r1.s0"] == "key of r1.s0"


def test_another_machine_may_have_the_name_of_one_that_was_banned(joined: list[int]) -> None:
    keys = dict(make_fleet([]).roster.keys)
    first = _part(keys, None)
    first.ban(["r1.s0"], "lied")
    second = _part({**keys, "r1.s0": "another key"}, first.state())
    assert second.banned == []
    assert _part(keys, first.state()).banned == ["r1.s0"]


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
    [lost] = fleet.placed([1])
    assert [node.name for node in lost.nodes] == ["r1.s0", "r1.s1"]
    fleet.each(lose, [lost])
    fleet.nodes["r1.s0"].dead = True
    assert muster(fleet)[1] == ["spare0", "r1.s1"]
    assert fleet.losses == {}
    assert fleet.placed([1]) == fleet.ready([1]) != [lost]


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


def test_who_is_given_up_comes_back_as_a_new_process_alone(joined: list[int]) -> None:
    told: list[str] = []
    fleet = make_fleet(told, "topology.spares=0")
    before = muster(fleet)
    fleet.give_up(["r1.s0", "r1.s1"], "late twice in a row")
    assert told == ["r1.s0, r1.s1 given up: late twice in a row"]
    assert sorted(muster(fleet)) == [0, 2]
    fleet.enter(admit(_ALL))
    assert sorted(muster(fleet)) == [0, 2]
    for name in ("r1.s0", "r1.s1"):
        fleet.nodes[name].visit = "of the process before"
    fleet.enter(admit(_ALL))
    assert muster(fleet) == before


_ALL = ["r0.s0", "r0.s1", "r1.s0", "r1.s1", "r2.s0", "r2.s1"]


def test_a_job_starts_with_the_replicas_that_are_complete_and_others_form_when_nodes_come(
    joined: list[int],
) -> None:
    told: list[str] = []
    fleet = make_fleet(told, "topology.min_replicas=1", there=_ALL[:3])
    assert muster(fleet) == {0: ["r0.s0", "r0.s1"]}
    assert fleet.spares == ["r1.s0"]
    fleet.enter(admit([*_ALL[:3], "spare1"]))
    assert muster(fleet) == {0: ["r0.s0", "r0.s1"], 1: ["r1.s0", "spare1"]}
    assert told == ["replica 1 is formed of r1.s0, spare1"]
    assert fleet.dead == []
    assert joined == [0, 1]


def test_an_empty_seat_comes_before_a_further_replica(joined: list[int]) -> None:
    fleet = make_fleet([], "topology.min_replicas=1", there=_ALL[:4])
    muster(fleet)
    fleet.enter(admit([*_ALL[:3], "spare1", "spare2"]))
    assert muster(fleet) == {0: ["r0.s0", "r0.s1"], 1: ["r1.s0", "spare1"]}
    fleet.enter(admit([*_ALL[:3], "spare1", "spare2", "spare3"]))
    assert muster(fleet)[2] == ["spare2", "spare3"]


def test_beyond_the_replicas_that_are_set_the_spares_stay_in_reserve(joined: list[int]) -> None:
    fleet = make_fleet([], "topology.max_replicas=4")
    assert len(muster(fleet)) == 3
    came = [*_ALL, "spare0", "spare1"]
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
    fleet = make_fleet([], "topology.max_replicas=4", "topology.spares=0", there=_ALL)
    fleet.enter(admit([*_ALL, "spare0", "spare1"]))
    fleet.roster.keys |= dict.fromkeys([*_ALL, "spare0", "spare1"], "")
    assert muster(fleet)[3] == ["spare0", "spare1"]
    again = make_fleet(
        [], "topology.max_replicas=4", "topology.spares=0", there=[*_ALL, "spare1", "spare2"]
    )
    again.restore(fleet.state())
    assert muster(again)[3] == ["spare2", "spare1"]
