"""Work that all of a replica owe, for nobody knows who of them has hidden something."""

import pytest

from tdml.lab.laboratory import Laboratory
from tdml.node.node import Node
from tdml.protocol.orders import ReplicaLost
from tests.round.seats import sit

_JOB = [
    "model=mlp", "data.size=8", "model.features=192", "model.hidden=16", "sync.local_steps=6",
    "topology.stages=2", "topology.microbatches=2", "topology.replicas=3", "topology.spares=1",
    "trust.budget=1", "rounds=6",
]  # fmt: skip


class HidesOddRounds(Node):
    """Lies in every other round and fails where that would show; it does honestly again what it is
    told to do again."""

    round = 0

    def training(self, order, steps):
        self._lied = order.round % 2 == 1 and order.round > self.round
        self.round = max(self.round, order.round)
        yield from super().training(order, steps)

    def update_to_commit(self, update, round_number):
        return update * 1.5 if self._lied else update

    def repeating(self, order):
        if order.own and self._lied:
            raise MemoryError("no room")
        yield from super().repeating(order)


@pytest.mark.parametrize("seat", ["r1.s0", "r1.s1"])
def test_whatever_stage_hides_something_the_round_is_shown_by_all_or_by_none(seat: str) -> None:
    laboratory = Laboratory(_JOB)
    sit(laboratory, seat, HidesOddRounds)
    first, second = laboratory.play(1), laboratory.play(2)
    assert first.judgements[1].weight == 0
    assert second.judgements[1].reason.endswith("has not shown it")
    occupants = {name for replica in laboratory.fleet.muster() for name in replica.names}
    assert len({"r1.s0", "r1.s1"} - occupants) == 1, "one of them goes, by lot"


class Sticks(Node):
    """Lies and repeats nothing of its own, so that all owe it; it lies again when it is to do the
    round again, and does not open that (`fails`), or fails at once."""

    round, fails = 0, "open"

    def training(self, order, steps):
        again, self.round = order.round == self.round, order.round
        self._hides = again and self.fails
        if self._hides == "training":
            raise MemoryError("no room")
        yield from super().training(order, steps)

    def update_to_commit(self, update, round_number):
        return update * 1.5

    def open(self):
        if self._hides == "open":
            raise MemoryError("no room")
        return super().open()

    def repeating(self, order):
        if order.own:
            raise MemoryError("no room")
        yield from super().repeating(order)


@pytest.mark.parametrize("seat", ["r1.s0", "r1.s1"])
@pytest.mark.parametrize("fails", ["open", "training"])
def test_who_does_not_show_it_again_goes_whoever_owes_it_beside(fails: str, seat: str) -> None:
    laboratory = Laboratory(_JOB)
    sit(laboratory, seat, Sticks, fails=fails)
    laboratory.play(1)
    owing = laboratory.engine.judge.debts.owing
    assert set(owing) == {laboratory.fleet.key(name) for name in ("r1.s0", "r1.s1")}
    assert laboratory.play(2).judgements[1].status == "lost"
    occupants = {name for replica in laboratory.fleet.muster() for name in replica.names}
    gone = {"r1.s0", "r1.s1"} - occupants
    assert gone == {seat} if fails == "open" else len(gone) == 1


class SilentAtLooks(Node):
    """Shows nothing of a step."""

    def shown(self):
        raise ReplicaLost(self.slot.replica, f"{self.name}: no answer for 60 s", [self.name])


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_who_is_silent_at_a_look_owes_alone(seed: int) -> None:
    laboratory = Laboratory([*_JOB, f"seed={seed}"])
    sit(laboratory, "r1.s0", SilentAtLooks)
    for number in (1, 2, 3):
        for replica in laboratory.fleet.muster():
            if replica.index == 1:
                replica.kind = "a rare one"  # all of its windows are looked at
        laboratory.play(number)
    owing = set(laboratory.engine.judge.debts.owing)
    assert owing == {laboratory.fleet.key("r1.s0")}
    assert {r.index: r.names for r in laboratory.fleet.muster()}[1] == ("spare0", "r1.s1")
