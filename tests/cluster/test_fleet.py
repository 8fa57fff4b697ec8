"""Who sits where from round to round."""

from collections import defaultdict

import pytest

from tdml.cluster.fleet import RpcFleet
from tdml.cluster.membership import part_from_the_slow
from tdml.cluster.replica import RpcReplica
from tdml.protocol.orders import ReplicaLost
from tests.cluster.fleets import ALL, admit, make_fleet, muster


@pytest.mark.parametrize("cause", ["banned", "dead"])
def test_only_the_replica_that_changes_is_formed_anew(joined: list[int], cause: str) -> None:
    told: list[str] = []
    fleet = make_fleet(told)
    before = muster(fleet)
    assert muster(fleet) == before and sorted(joined) == [0, 1, 2]
    if cause == "banned":
        fleet.ban("r1.s0", "lied")
    else:
        fleet.nodes["r1.s0"].dead = True
    assert [replica.index for replica in fleet.ready(range(3))] == [0, 2]
    assert muster(fleet) == {**before, 1: ["spare0", "r1.s1"]}
    assert sorted(joined[3:]) == [1]
    assert told == [f"spare0 takes the place of r1.s0 ({cause})"]


def test_who_has_lost_its_group_is_formed_again_within_the_round(joined: list[int]) -> None:
    """Also where that came of no order to all, as in a dispute between two: it would be taken for
    silent in all that it is asked later on."""
    fleet = make_fleet([])
    muster(fleet)
    [replica] = fleet.ready([1])
    replica._exchange.failed = True
    assert not fleet.ready([1])
    fleet.form([0, 1])
    assert len(fleet.ready([1])) == 1
    assert joined[3:] == [1]


def test_a_checkpoint_brings_the_slots_and_the_bans_back(joined: list[int]) -> None:
    fleet, other = make_fleet([]), make_fleet([])
    muster(fleet)
    fleet.ban("r1.s0", "lied")
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
    fleet.ban("r1.s0", "lied")
    muster(fleet)
    assert told == {0: [None], 1: [None, 4], 2: [None]}


def test_within_a_round_it_is_told_the_number_that_it_began_the_round_with(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With another it would find its own work of the round false."""
    told: dict[int, list[int | None]] = defaultdict(list)

    def join(replica: RpcReplica, *given: int | None) -> None:
        replica.threads = given[-1]
        told[replica.index].append(replica.threads)
        replica.kind = f"torch 2, AMD EPYC AVX512, {8 if replica.index == 0 else 4} threads"

    monkeypatch.setattr(RpcReplica, "join", join)
    fleet = make_fleet([], "topology.replicas=4")
    muster(fleet)
    fleet.ban("r1.s0", "lied")
    [first, *_] = fleet.muster()
    first._exchange.failed = True
    fleet.form([0])
    assert told[0] == [None, None]
    fleet.ready([0])[0]._exchange.failed = True
    muster(fleet)
    assert told == {0: [None, None, 4], 1: [None, 4], 2: [None], 3: [None]}


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
    first.ban("r1.s0", "lied")
    del keys["r1.s0"]
    second = _part(keys, first.state())
    third = _part(keys, second.state())
    assert third.banned == ["r1.s0"]
    assert third.state()["keys"]["r1.s0"] == "key of r1.s0"


def test_who_was_refused_at_the_start_and_is_gone_does_not_keep_a_run_from_going_on(
    joined: list[int],
) -> None:
    """Its slot is there all the same, and no checkpoint has a key for it."""
    keys = {name: f"key of {name}" for name in ALL if name != "r1.s0"}
    refused = {"r1.s0": "its key is that of another node"}
    first = make_fleet([], there=list(keys), **refused)
    first.roster.keys = dict(keys)
    assert sorted(muster(first)) == [0, 2]
    assert sorted(muster(_part(keys, first.state()))) == [0, 2]


def test_another_machine_may_have_the_name_of_one_that_was_banned(joined: list[int]) -> None:
    keys = dict(make_fleet([]).roster.keys)
    first = _part(keys, None)
    first.ban("r1.s0", "lied")
    second = _part({**keys, "r1.s0": "another key"}, first.state())
    assert second.banned == []
    assert _part(keys, first.state()).banned == ["r1.s0"]


def test_who_joined_an_earlier_part_of_the_run_may_be_refused_as_it_goes_on() -> None:
    fleet = make_fleet([], spare7="its key is banned")
    assert fleet.nodes["spare7"].refused
    assert fleet.slots.spares == ["spare0"]


def test_without_a_spare_the_others_go_on(joined: list[int]) -> None:
    fleet = make_fleet([])
    fleet.nodes["spare0"].dead = True
    before = muster(fleet)
    fleet.ban("r1.s0", "lied")
    del before[1]
    assert muster(fleet) == before


def test_nobody_stands_down_for_a_spare_that_an_empty_slot_needs(joined: list[int]) -> None:
    fleet = make_fleet([], "topology.spares=2")
    muster(fleet)
    fleet.nodes["r1.s0"].dead = True
    assert fleet.stand_down("r0.s0")
    assert not fleet.stand_down("r2.s0")
    assert muster(fleet) == {0: ["spare0", "r0.s1"], 1: ["spare1", "r1.s1"], 2: ["r2.s0", "r2.s1"]}


def lose(replica: RpcReplica) -> None:
    raise ReplicaLost(replica.index, "r1.s0: planted")


def test_a_replica_that_was_lost_keeps_its_nodes_until_the_next_muster(joined: list[int]) -> None:
    told: list[str] = []
    fleet = make_fleet(told)
    muster(fleet)
    assert fleet.each(lose, fleet.ready([1])) == {}
    assert (fleet.losses, told) == ({1: "r1.s0: planted"}, ["replica 1 lost: r1.s0: planted"])
    assert fleet.ready([1]) == []
    [lost] = fleet.mustered([1])
    assert [node.name for node in lost.nodes] == ["r1.s0", "r1.s1"]
    fleet.each(lose, [lost])
    assert len(told) == 1, "it has been told why"
    fleet.nodes["r1.s0"].dead = True
    assert muster(fleet)[1] == ["spare0", "r1.s1"]
    assert fleet.losses == {}
    assert fleet.mustered([1]) == fleet.ready([1]) != [lost]


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
    fleet.enter(admit(ALL))
    assert sorted(muster(fleet)) == [0, 2]
    for name in ("r1.s0", "r1.s1"):
        fleet.nodes[name].visit = "of the process before"
    fleet.enter(admit(ALL))
    assert muster(fleet) == before


def test_nodes_whose_partners_are_gone_form_a_replica(joined: list[int]) -> None:
    """And who comes back forms one with those that are left."""
    told: list[str] = []
    fleet = make_fleet(told, "topology.spares=0")
    before = muster(fleet)
    fleet.nodes["r1.s0"].dead = fleet.nodes["r2.s1"].dead = True
    assert muster(fleet) == {0: ["r0.s0", "r0.s1"], 1: ["r2.s0", "r1.s1"]}
    assert told == ["r2.s0 takes the place of r1.s0 (dead)"]
    fleet.nodes["r1.s0"].dead = fleet.nodes["r2.s1"].dead = False
    assert muster(fleet) == {**before, 1: ["r2.s0", "r1.s1"], 2: ["r1.s0", "r2.s1"]}


def test_who_holds_data_stays_with_it(joined: list[int]) -> None:
    fleet = make_fleet([], "topology.spares=0", "data.partition=own", "sync.local_steps=2")
    muster(fleet)
    fleet.nodes["r1.s0"].dead = fleet.nodes["r2.s1"].dead = True
    assert sorted(muster(fleet)) == [0]


@pytest.mark.parametrize("comes_later", [False, True])
def test_a_key_that_was_let_in_and_has_not_come_is_banned_for_what_it_proves(
    joined: list[int], comes_later: bool
) -> None:
    """By a signed answer in the name of another, to whom the order was sent."""
    fleet = make_fleet([])
    banned: list[tuple[str, str]] = []
    fleet._on_ban = lambda *ban: banned.append(ban)
    before = muster(fleet)
    for _ in range(2):
        fleet.ban("spare5", "signed for another")
    if comes_later:
        fleet.enter(admit([*ALL, "spare0", "spare5"]))
    assert banned == [("spare5", "signed for another")]
    assert (fleet.banned, fleet.slots.spares) == (["spare5"], ["spare0"])
    assert "spare5" not in fleet.present
    assert muster(fleet) == before
