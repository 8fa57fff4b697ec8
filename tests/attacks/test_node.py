"""Whom omniscient attackers wait for, and what they are told then."""

import pytest
import torch
import torch.distributed as dist

from tdml.attacks import Attack
from tdml.attacks import node as attackers
from tdml.attacks.tap import StoreTap
from tdml.lab.fleet import LocalReplica
from tdml.lab.laboratory import Laboratory
from tdml.protocol.orders import Slot, TrainOrder
from tests.lab.cases import SMALL

_HONEST = (0, 1)


class _Job:
    """Three replicas of one stage, whose last is omniscient, and ends before all others."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *overrides: str) -> None:
        given = ["topology.replicas=3", "topology.stages=1", "sync.local_steps=1", *overrides]
        self._laboratory = Laboratory([*SMALL, "attack=zero_gradient", *given])
        self._store = dist.HashStore()
        self._late: list[tuple[LocalReplica, TrainOrder]] = []
        self.waited = 0
        monkeypatch.setattr(attackers.time, "sleep", self._sleep)
        fleet = self._laboratory.fleet
        fleet.muster()
        for node in fleet.nodes.values():
            node._tap = StoreTap(self._store)
        fleet._formed.clear()
        self.replicas = fleet.muster()

    def play(
        self, number: int, nonce: str, begun: bool = True
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The update that the attacker hands in, and the sum of the honest ones; of one stage.
        `begun`: whether these have begun when it ends."""
        made, weights = self._laboratory.job, self._laboratory.engine.weights
        orders = {
            replica.index: TrainOrder(number, 1, made.batches(replica.index, number), nonce, (), ())
            for replica in self.replicas
        }
        for replica in self.replicas:
            replica.load(weights, number)
        self._late = [(self.replicas[index], orders[index]) for index in _HONEST]
        for replica, order in self._late if begun else ():
            next(replica.nodes[0].training(order, 1))

        self.replicas[2].train(orders[2], lambda: None)
        self.replicas[2].commit(orders[2])
        updates = [replica.nodes[0].update for replica in self.replicas]
        return updates[2], updates[0] + updates[1]

    def _sleep(self, seconds: float) -> None:
        """Meanwhile an honest one trains."""
        self.waited += 1
        replica, order = self._late.pop()
        replica.train(order, lambda: None)


@pytest.mark.parametrize(
    "plays",
    [[(1, "a")], [(5, "a")], [(4, "a"), (5, "b")], [(8, "a"), (6, "b")], [(8, "a"), (8, "b")]],
    ids=["first", "resumed", "next", "taken back", "again"],
)
def test_they_wait_for_all_who_train_and_for_nobody_else(monkeypatch, plays) -> None:
    job = _Job(monkeypatch, "attack.replicas=[2]", "topology.max_replicas=5")
    for number, nonce in plays:
        lie, honest = job.play(number, nonce)
        torch.testing.assert_close(lie, -honest)  # the mean of two, by one attacker
    assert job.waited == 2 * len(plays)


def test_they_wait_for_those_who_have_not_begun(monkeypatch) -> None:
    """From the first round on: a busy machine may begin later than another ends."""
    job = _Job(monkeypatch, "attack.replicas=[2]", "topology.max_replicas=5")
    for number in (1, 2):
        lie, honest = job.play(number, "a", begun=False)
        torch.testing.assert_close(lie, -honest)


@pytest.mark.parametrize(
    ("nodes", "sits"),
    [("spare0", "spare0"), ("r2.s0,spare0", "r2.s0"), ("r2.s0,r1.s0", "r2.s0")],
    ids=["a spare alone", "a spare that stands by", "one that is gone"],
)
def test_attackers_count_those_who_train(monkeypatch, nodes, sits) -> None:
    """And nobody who was banned, or stands by."""
    job = _Job(monkeypatch, f"attack.nodes=[{nodes}]", "topology.spares=2")
    fleet = job._laboratory.fleet
    fleet._slots[Slot(2, 0)] = sits
    fleet._slots[Slot(1, 0)] = "spare1"
    fleet._formed.clear()
    job.replicas = fleet.muster()
    lie, honest = job.play(1, "a")
    torch.testing.assert_close(lie, -honest)


def test_each_knows_how_many_they_are_also_where_one_hands_in_before_the_next_trains() -> None:
    """As in a laboratory, and when one of them is gone."""
    given = ["topology.replicas=5", "topology.stages=1", "trust.budget=0", "attack=zero_gradient"]
    laboratory = Laboratory([*SMALL, *given, "attack.replicas=[2,3,4]"])
    nodes = [laboratory.fleet.nodes[f"r{index}.s0"] for index in range(5)]
    laboratory.play(1)
    honest = nodes[0].update + nodes[1].update
    for node in nodes[2:]:
        torch.testing.assert_close(node.update, -honest / 3)

    laboratory.fleet.ban("r2.s0", "for the test")  # it has been given the weights of round 2
    laboratory.play(2)
    laboratory.play(3)
    honest = nodes[0].update + nodes[1].update
    for node in nodes[3:]:
        torch.testing.assert_close(node.update, -honest / 2)


class InPlace(Attack):
    def corrupt(self, update, context) -> None:
        update.neg_()


class Blank(Attack):
    def poison_inputs(self, inputs, context) -> None:
        inputs.zero_()


@pytest.mark.parametrize(("name", "deed"), [("InPlace", "corrupt"), ("Blank", "poison_inputs")])
def test_who_forgets_to_return_what_he_changed_is_told_so(name: str, deed: str) -> None:
    given = ["topology.replicas=3", "topology.stages=1", "sync.local_steps=1"]
    attack = [f"attack._target_=tests.attacks.test_node.{name}", "attack.replicas=[2]"]
    laboratory = Laboratory([*SMALL, *given, *attack])
    laboratory.run(1)
    told = f"TypeError: attack: {deed}() returns NoneType: it must return a tensor"
    assert laboratory.fleet.losses == {2: told}
