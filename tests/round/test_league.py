"""Kinds of machines are what nodes say: liars may have made one up, to be audited by each other."""

import pytest
import torch

from tdml.lab.laboratory import Laboratory
from tdml.node.node import Node
from tdml.round.result import Round
from tests.round.seats import sit
from tests.slow import slow_but

_JOB = [
    "data=digits", "model=mlp", "data.size=8", "model.features=192", "model.hidden=32",
    "train.lr=0.05", "sync.local_steps=30", "topology.replicas=6", "topology.stages=1",
]  # fmt: skip
_LEAGUE = (4, 5)


class _InLeague(Node):
    """Hands in the opposite of its work, and finds the same of the other one."""

    def update_to_commit(self, update, round_number):
        return update * -3

    def end_to_report(self, end, order):
        return end * -3 if order.last and (order.own or order.replica in _LEAGUE) else end


def _played(rounds: int, budget: float, liars: bool, others: tuple[int, ...]) -> list[Round]:
    """Rounds in which some `others` say that they are on another kind of machine than the rest."""
    laboratory = Laboratory([*_JOB, f"rounds={rounds}", f"trust.budget={budget}"])
    for index in _LEAGUE if liars else ():
        sit(laboratory, f"r{index}.s0", _InLeague)
    played = []
    for number in range(1, rounds + 1):
        for replica in laboratory.fleet.muster():
            replica.kind = "NVIDIA H400" if replica.index in others else replica.kind
        played.append(laboratory.play(number))
    return played


@pytest.mark.parametrize("budget", [0.1, pytest.param(1.0, marks=pytest.mark.slow)])
def test_liars_on_a_kind_of_their_own_are_not_cleared_by_each_other(budget: float) -> None:
    played = _played(8, budget, True, _LEAGUE)
    assert any(made.distance > 4 for made in played[0].judgements.values())
    for one in played:
        theirs = [one.judgements[i] for i in _LEAGUE if i in one.judgements]
        assert not any(made.verified for made in theirs)
        assert all(made.weight == 0 for made in theirs if made.distance > 4)
    assert played[-1].test["accuracy"] > 0.85


class _Drifts(Node):
    """After every step it has something else than the step leads to, and so it finds of the other
    one."""

    order = None

    def training(self, order, steps):
        self.order = None
        yield from super().training(order, steps)

    def repeating(self, order):
        self.order = order
        yield from super().repeating(order)

    def _take_step(self, given, log, step, keeps=False):
        yield from super()._take_step(given, log, step, keeps)
        if self.order is None or self.order.own or self.order.replica in _LEAGUE:
            state = self.stage.trainer.state()
            state[: self.stage.layout.size] += 0.01
            self.stage.trainer.resume(state)


def test_who_is_cleared_by_its_own_kind_alone_is_looked_at_in_every_window() -> None:
    """Else two who have made up a kind would be paid for what neither has done."""
    laboratory = Laboratory([*_JOB, "rounds=1", "trust.budget=1"])
    for index in _LEAGUE:
        sit(laboratory, f"r{index}.s0", _Drifts)
    for replica in laboratory.fleet.muster():
        replica.kind = "NVIDIA H400" if replica.index in _LEAGUE else replica.kind
    one = laboratory.play(1)
    for index in _LEAGUE:
        assert not {*one.audits[index].clean, *one.audits[index].looked}
        assert (one.judgements[index].weight, one.judgements[index].repeated) == (0, 0)
    assert one.accepted == [0, 1, 2, 3]


@pytest.mark.parametrize("others", [[4, 5], *slow_but([], [[3, 4, 5], [5]])])
def test_the_honest_on_a_rare_kind_count(others: list[int]) -> None:
    for one in _played(2, 1.0, False, others):
        assert not one.bans
        assert one.accepted == [0, 1, 2, 3, 4, 5]
        found = [one.audits[index] for index in others]
        assert all({*each.clean, *each.looked} == {0, 1, 2} for each in found)


@pytest.mark.parametrize(("others", "majority"), [((4, 5), 4), ((3, 4, 5), 0)])
def test_who_repeats_the_work_of_most_vouches_for_it(
    others: tuple[int, ...], majority: int
) -> None:
    """Half of them are not most."""
    [one] = _played(1, 1.0, False, others)
    proven = [one.judgements[index].verified for index in range(6)]
    assert proven == [index < majority for index in range(6)]


class _Hides(_InLeague):
    """And does not show its work of round 1 in time."""

    def commit(self, round_number):
        self._round = round_number
        return super().commit(round_number)

    def open(self):
        if self._round == 1 and not getattr(self, "_hidden", False):
            self._hidden = True
            raise MemoryError("no room")
        return super().open()


def test_a_debt_is_not_paid_on_another_kind_of_machine() -> None:
    """Where a mate alone could find it right. It was believed once that its machine is another."""
    laboratory = Laboratory([*_JOB, "rounds=3", "trust.budget=1"])
    sit(laboratory, "r4.s0", _Hides)
    sit(laboratory, "r5.s0", _InLeague)
    # it is honest for itself
    laboratory.fleet.nodes["r5.s0"].update_to_commit = lambda update, _: update
    laboratory.fleet.muster()
    assert "has not shown its work" in laboratory.play(1).judgements[4].reason
    laboratory.engine.judge.debts._believed.add(laboratory.fleet.key("r4.s0"))
    for replica in laboratory.fleet.muster():
        replica.kind = "NVIDIA H400" if replica.index in _LEAGUE else replica.kind
    second = laboratory.play(2)
    assert second.judgements[4].status == "lost"
    assert "r4.s0 owes its work of round 1, and has not shown it" in second.judgements[4].reason


class _Idles(Node):
    """Learns nothing, and hands in what is not finite, of which nobody can tell on another kind of
    machine whether honest steps lead there."""

    own = True

    def _take_step(self, given, log, step, keeps=False):
        yield from super()._take_step(given, log, step, keeps)
        if self.own:
            state = self.stage.trainer.state()
            state[: self.stage.layout.size] = float("nan")
            self.stage.trainer.resume(state)

    def repeating(self, order):
        self.own = order.own
        yield from super().repeating(order)
        self.own = True


class _HidesIt(_Idles):
    """What it hands in is finite."""

    def update_to_commit(self, update, round_number):
        return torch.full_like(update, 1e-4)


def test_what_nobody_can_find_again_is_not_paid() -> None:
    """Or one honest round would release what was held back for any number of such."""
    # the coordinator looks at steps of which it cannot tell: else the round is owed
    laboratory = Laboratory([*_JOB, "rounds=2", "trust.budget=1", "seed=1"])
    for number, kind in ((1, _Idles), (2, Node)):
        sit(laboratory, "r5.s0", kind)
        for replica in laboratory.fleet.muster():
            replica.kind = "NVIDIA H400" if replica.index == 5 else replica.kind
        one = laboratory.play(number)
        assert not one.bans
        assert one.judgements[5].status == ("suspicious" if kind is _Idles else "honest")
        assert one.judgements[5].unfound == (kind is _Idles)


@pytest.mark.parametrize("liar", [_Idles, _HidesIt])
def test_who_does_nothing_and_says_that_it_is_not_finite_is_found_on_any_kind_of_machine(
    liar: type[Node],
) -> None:
    """Where the coordinator's finds nothing that could overflow, another of its own kind shows that
    it does not."""
    laboratory = Laboratory([*_JOB, "rounds=2", "trust.budget=1"])
    sit(laboratory, "r5.s0", liar)
    for replica in laboratory.fleet.muster():
        replica.kind = "NVIDIA H400"
    assert list(laboratory.play(1).bans) == ["r5.s0"]
