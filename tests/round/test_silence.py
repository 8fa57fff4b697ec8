"""Who does not show its work is not convicted, but does not count before all of a later round is
found again."""

import pytest

from tdml.lab.laboratory import Laboratory
from tdml.node.node import Node
from tdml.round.fleet import ReplicaLost

_JOB = [
    "model=mlp", "data.size=8", "model.features=192", "model.hidden=16", "sync.local_steps=6",
    "topology.stages=2", "topology.microbatches=2", "topology.replicas=3", "trust.budget=1",
    "rounds=3",
]  # fmt: skip
NAMES = {"r1.s0", "r1.s1"}


class Silent(Node):
    """Answers in round 1 with an error when it is to show its work."""

    def open(self):
        if self.deed == "open" and self._round == 1:
            raise MemoryError("no room")
        return super().open()

    def commit(self, round_number):
        self._round = round_number
        return super().commit(round_number)

    def reveal(self, vector, block):
        if self.deed == "reveal" and vector != "update" and self._round == 1:
            raise ReplicaLost(self.slot.replica, "r1.s0: no room")
        return super().reveal(vector, block)


@pytest.mark.parametrize("deed", ["open", "reveal"])
def test_who_does_not_show_its_work_owes_it(deed):
    laboratory = Laboratory(_JOB)
    node = laboratory.fleet.nodes["r1.s0"]
    node.__class__, node.deed = Silent, deed
    first = laboratory.play(1)
    owing = laboratory.engine.judge.standing.owing
    keys = {name: laboratory.fleet.key(name) for name in NAMES}
    assert owing == {keys[name]: 1 for name in NAMES}
    assert first.bans == {}
    assert (first.judgements[1].status, first.judgements[1].weight) == ("suspicious", 0)
    assert "has not shown its work" in first.judgements[1].reason
    assert first.accepted == [0, 2]
    second = laboratory.play(2)
    assert second.audits[1].clean == (0, 1, 2), "all of its work is looked at"
    assert owing == {}
