"""Commit before reveal, without processes: who is asked when, what is told to whom, and what counts as an update."""

from types import SimpleNamespace

import pytest
import torch

from tdml.cluster.gather import gather
from tdml.cluster.messages import Commitment
from tdml.trust.commitment import commitment, content

SIZE = 3


class Replica:
    """Two nodes that hand in `updates`; `log` has what was asked of whom."""

    def __init__(self, index, log, *updates):
        self.index, self.log, self.updates, self.orders = index, log, updates, []
        self.nodes = [SimpleNamespace(name=f"r{index}.s{stage}") for stage in range(2)]

    def commit(self, orders):
        self.log.append(("commit", self.index))
        self.orders = orders
        return [
            Commitment(commitment(o.round, node.name, content(update)), "", "")
            for o, node, update in zip(orders, self.nodes, self.updates, strict=True)
        ]

    def reveal(self):
        self.log.append(("reveal", self.index))
        return list(self.updates)


class Fleet:
    def __init__(self, *updates):
        self.log = []
        self.replicas = {i: Replica(i, self.log, *pair) for i, pair in enumerate(updates)}

    def ready(self, indices):
        return [self.replicas[i] for i in indices if i in self.replicas]

    def each(self, order, replicas):
        return {replica.index: order(replica) for replica in replicas}


def pair(seed):
    return tuple(torch.randn(2, SIZE, generator=torch.Generator().manual_seed(seed)))


def job(omniscient=False, attacked=(), from_round=1):
    attack = {
        "_target_": "x" if omniscient else None, "from_round": from_round, "share_of_rounds": 1.0, "replicas": [],
        "nodes": list(attacked),
    }  # fmt: skip
    config = SimpleNamespace(
        trust=SimpleNamespace(enabled=True), attack=attack, seed=0, topology=SimpleNamespace(replicas=4, stages=2)
    )
    return SimpleNamespace(
        config=config, layouts=[SimpleNamespace(size=SIZE)] * 2, omniscient=omniscient, sees_updates=True
    )


def test_nobody_reveals_before_all_have_committed():
    fleet = Fleet(*map(pair, range(4)))
    found = gather(fleet, job(), 2, range(4), {})
    assert [what for what, _ in fleet.log] == ["commit"] * 4 + ["reveal"] * 4
    assert found.replicas == [0, 1, 2, 3] and not found.faults
    for index in range(4):
        assert all(map(torch.equal, found.update(index), fleet.replicas[index].updates))


@pytest.mark.parametrize("number", [2, 3])
def test_an_omniscient_attacker_commits_last_and_is_told_of_the_honest_alone(number):
    fleet = Fleet(*map(pair, range(4)))
    gather(fleet, job(True, ["r1.s1"], from_round=3), number, range(4), {})
    told = [order.knowledge for order in fleet.replicas[1].orders]
    if number < 3:
        assert told == [None, None] and fleet.log[3] == ("commit", 3)
        return
    assert fleet.log[-2:] == [("commit", 1), ("reveal", 1)] and len(fleet.log) == 8
    assert told[0] is None
    honest = torch.stack([fleet.replicas[i].updates[1] for i in (0, 2, 3)])
    assert torch.equal(told[1].updates, honest) and (told[1].honest, told[1].attackers) == (3, 1)


def test_what_was_handed_in_before_is_refused_and_what_is_new_is_remembered():
    seen = {}
    gather(Fleet(*map(pair, range(3))), job(), 1, range(3), seen)
    assert set(seen.values()) == {1} and len(seen) == 6
    again = gather(Fleet(pair(10), pair(1), pair(12)), job(), 2, range(3), seen)
    assert again.replicas == [0, 2] and again.faults.keys() == {1}
    assert again.updates[0].shape == (2, SIZE) and torch.equal(again.updates[0][1], pair(12)[0])
    alone = {}
    gather(Fleet(pair(0)), job(), 1, [0], alone)
    assert alone == {}


def test_only_what_is_not_finite_and_nothing_worse_can_be_audited():
    bad = (torch.full((SIZE,), torch.nan), pair(1)[1])
    fleet = Fleet(pair(0), bad, (torch.ones(SIZE + 1), torch.full((SIZE,), torch.inf)), pair(3))
    found = gather(fleet, job(), 1, range(4), {})
    assert (found.replicas, list(found.faults), list(found.diverged)) == ([0, 3], [1, 2], [1])
    assert found.audited == [0, 3, 1] and not found.diverges
