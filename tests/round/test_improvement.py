"""Pay by improvement where only one update counts: nothing tells what it is worth but itself."""

import pytest

from tdml.lab.laboratory import Laboratory
from tdml.node.node import Node
from tdml.protocol.orders import ReplicaLost
from tests.lab.cases import SMALL
from tests.round.seats import sit


class Stalls(Node):
    """Never commits."""

    def commit(self, round_number):
        raise ReplicaLost(self.slot.replica, f"{self.name}: late")


@pytest.mark.parametrize("replicas", [1, 2])
def test_the_only_update_that_counts_is_worth_the_pool(replicas):
    laboratory = Laboratory([
        *SMALL, f"topology.replicas={replicas}", "topology.stages=1", "sync.local_steps=4",
        "trust.budget=0", "rewards.policy=improvement", "rounds=2",
    ])  # fmt: skip
    if replicas == 2:
        sit(laboratory, "r1.s0", Stalls)
    played = laboratory.play(1)
    assert played.accepted == [0]
    assert played.judgements[0].improvement > 0
