"""Who is given up for being late, and with whom it was."""

from types import SimpleNamespace

import pytest

from tdml.round.lateness import Lateness


class Nodes:
    """Some replicas, of which those with a staller are late."""

    def __init__(self, replicas: int, stages: int, stallers: set[str]) -> None:
        self.slots = {i: [f"r{i}.s{s}" for s in range(stages)] for i in range(replicas)}
        self.stallers, self.gone = stallers, []
        fleet = SimpleNamespace(swap=self.swap, give_up=lambda names, _: self.gone.extend(names))
        self.lateness = Lateness(fleet, may_move=True)

    def swap(self, one: str, other: str) -> None:
        theirs = {one: other, other: one}
        self.slots = {i: [theirs.get(n, n) for n in names] for i, names in self.slots.items()}

    def play(self, rounds: int) -> None:
        for _ in range(rounds):
            whole = {i: tuple(n) for i, n in self.slots.items() if not set(n) & set(self.gone)}
            late = [i for i, names in whole.items() if self.stallers & set(names)]
            self.lateness.close(whole, late)


@pytest.mark.parametrize("stages", [1, 2, 3, 4, 8])
def test_who_stalls_is_found_and_goes_alone(stages: int) -> None:
    for stage in range(stages):
        nodes = Nodes(3, stages, {f"r1.s{stage}"})
        nodes.play(12)
        assert nodes.gone == [f"r1.s{stage}"]


def test_of_two_each_goes_alone() -> None:
    nodes = Nodes(4, 2, {"r1.s0", "r3.s1"})
    nodes.play(14)
    assert sorted(nodes.gone) == ["r1.s0", "r3.s1"]


def test_who_is_in_time_with_others_is_suspected_no_more() -> None:
    nodes = Nodes(3, 2, {"r1.s1"})
    nodes.play(6)
    assert nodes.gone == ["r1.s1"]
    nodes.slots = {0: ["a", "b"], 1: ["r1.s0", "c"], 2: ["d", "e"]}
    nodes.stallers = {"c"}
    nodes.play(2)
    assert nodes.gone == ["r1.s1"], "both may be the one"


def test_where_owners_keep_their_data_or_nobody_is_in_time_all_of_a_replica_go() -> None:
    own = Nodes(3, 2, {"r1.s0"})
    own.lateness._may_move = False
    own.play(3)
    assert own.gone == ["r1.s0", "r1.s1"]
    alone = Nodes(1, 2, {"r0.s0"})
    alone.play(5)
    assert not alone.gone, "unless nobody would be left"
