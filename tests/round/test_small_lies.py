"""Lies that two kinds of machines may differ by: they cost their round, and nothing more."""

import torch

from tdml.lab.laboratory import Laboratory
from tdml.node.node import Node
from tests.round import liars
from tests.round.seats import sit

_JOB = [
    "model=mlp", "data.size=8", "model.features=192", "model.hidden=16", "sync.local_steps=6",
    "topology.stages=1", "topology.replicas=3", "trust.budget=1", "rounds=6",
]  # fmt: skip


class Nudges(liars.Liar):
    """Changes its weights a little in one step: of its own work, or of what it repeats of some."""

    deed, size, accuses = "nothing", 0.0, ()

    def training(self, order, steps):
        self._lies = lambda step: not self.accuses and step == liars.STEP
        yield from Node.training(self, order, steps)

    def repeating(self, order):
        lies = order.replica in self.accuses if self.accuses else order.own
        self._lies = lambda step: lies and order.first + step == liars.STEP
        yield from Node.repeating(self, order)

    def _take_step(self, given, log, step, keeps=False):
        yield from super()._take_step(given, log, step, keeps)
        if self._lies(step):
            with torch.no_grad():
                self.stage.trainer.parameters[0].mul_(1 + self.size)


def _play(laboratory: Laboratory, number: int):
    for replica in laboratory.fleet.muster():
        replica.kind = "another than the coordinator's"
    return laboratory.play(number)


def test_two_in_league_do_not_end_the_proofs_of_their_kind() -> None:
    laboratory = Laboratory(_JOB)
    sit(laboratory, "r1.s0", Nudges, size=2e-6)
    sit(laboratory, "r2.s0", Nudges, size=-2e-6, accuses=(1,))
    first = _play(laboratory, 1)
    assert not first.bans and first.judgements[1].weight == 0
    sit(laboratory, "r1.s0", Nudges, size=10.0)
    sit(laboratory, "r2.s0", Nudges, size=10.0, accuses=(0,))
    assert set(_play(laboratory, 2).bans) == {"r1.s0", "r2.s0"}


class _HandsInALittleMore(Node):
    """Than it has learnt: by less than two kinds of machines may differ in the whole round, and by
    more than in one step."""

    def update_to_commit(self, update, round_number):
        return update * 1.03

    def end_to_report(self, end, order):
        return end * 1.03 if order.own and order.last else end


def test_an_update_is_measured_by_its_last_step() -> None:
    """As states are: else all of a round's errors could be told in one."""
    laboratory = Laboratory(_JOB)
    sit(laboratory, "r1.s0", _HandsInALittleMore)
    assert set(_play(laboratory, 1).bans) == {"r1.s0"}


class _Wavers(liars.Liar):
    """In league with replica 0, or lies as it does: of the window in which that lies it says at
    first that it leads elsewhere, each to another place, and step by step what is true."""

    away = 0

    def training(self, order, steps):
        if self.away == 0 and order.round == 1 and self.slot.replica > 2:
            raise MemoryError("no room")
        yield from Node.training(self, order, steps)

    def repeating(self, order):
        first = not (order.own or order.each or order.show >= 0)
        self._wavers = first and order.replica == 0 and order.first == 2
        yield from Node.repeating(self, order)

    def end_to_report(self, end, order):
        return end * self.away if self.away and self._wavers else end

    def _take_step(self, given, log, step, keeps=False):
        yield from Node._take_step(self, given, log, step, keeps)


def test_few_who_are_there_do_not_have_it_thought_that_nobody_repeats_anything() -> None:
    """All honest replicas lose the first round, and are there in the second."""
    laboratory = Laboratory([*_JOB, "topology.replicas=6"])
    sit(laboratory, "r0.s0", liars.Liar, deed="state")
    for index in range(1, 6):
        sit(laboratory, f"r{index}.s0", _Wavers, away=index + 1 if index < 3 else 0)
    first = laboratory.play(1)
    assert not first.bans and first.judgements[0].weight == 0
    assert list(laboratory.play(2).bans) == ["r0.s0"]
