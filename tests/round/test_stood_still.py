"""What is asked for while the coordinator itself stands still."""

import pytest

from tdml.lab.laboratory import Laboratory
from tdml.round.cross_check import cross_check
from tdml.round.deadline import Deadline
from tests.round.seats import sit
from tests.round.test_reports import _JOB as _TESTED
from tests.round.test_reports import ShowsItOnce
from tests.round.test_silence import _JOB as JOB
from tests.round.test_silence import Silent
from tests.round.test_silence import _owing as owing


def _stands_still_in(laboratory: Laboratory, owner: object, deed: str) -> None:
    """The coordinator does, whenever it comes to that."""
    honest = getattr(owner, deed)

    def stands_still(*arguments):
        laboratory.fleet.pauses += 1
        return honest(*arguments)

    vars(owner)[deed] = stands_still


def test_nobody_owes_what_was_asked_for_while_the_coordinator_stood_still():
    laboratory = Laboratory(JOB)
    sit(laboratory, "r1.s0", Silent, deed="open")
    auditor = laboratory.engine.judge.auditor
    _stands_still_in(laboratory, auditor, "audit")
    first = laboratory.play(1)
    assert (first.accepted, owing(laboratory)) == ([0, 2], {})
    del vars(auditor)["audit"]
    assert laboratory.play(2).accepted == [0, 1, 2]


@pytest.mark.parametrize(
    ("fails", "where", "when"),
    [("training", "collector", "call_in"), ("open", "collector", "_audit")],
    ids=["while it is done again", "while it is repeated"],
)
def test_nobody_is_parted_from_who_could_not_show_what_it_owes_meanwhile(fails, where, when):
    laboratory = Laboratory([*JOB, "topology.spares=1"])
    node, judge = laboratory.fleet.nodes["r1.s0"], laboratory.engine.judge
    node.open = lambda: 1 / 0
    laboratory.play(1)
    assert owing(laboratory) == {"r1.s0": 1}
    del node.open
    vars(node)[fails] = lambda *_: 1 / 0
    _stands_still_in(laboratory, getattr(judge, where), when)
    laboratory.play(2)
    assert owing(laboratory) == {"r1.s0": 1}
    del vars(node)[fails], vars(judge.collector)[when]
    assert "has shown its work of round 1" in laboratory.play(3).judgements[1].reason
    assert laboratory.play(4).judgements[1].nodes == ("r1.s0", "r1.s1")


def test_who_is_late_for_that_in_two_rounds_is_not_given_up_nor_slow(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    laboratory = Laboratory([*JOB, "sync.balance=true"])

    class StandsStill(Deadline):
        def passed(self, replica):
            if replica != 2:
                return None
            laboratory.fleet.pauses += 1
            self.late.add(replica)
            return "late"

    monkeypatch.setattr("tdml.round.engine.Deadline", StandsStill)
    for number in (1, 2):
        assert laboratory.play(number).judgements[2].reason == "late"
    monkeypatch.undo()
    assert laboratory.play(3).accepted == [0, 1, 2]
    assert laboratory.engine.steps[2] == laboratory.job.steps[2]


@pytest.mark.parametrize("stood_still", [True, False])
def test_who_could_not_be_tested_for_that_is_not_suspected_of_hiding_its_update(
    stood_still: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    laboratory = Laboratory([*_TESTED, "gather.memory=0"])
    sit(laboratory, "r0.s0", ShowsItOnce, times=0)

    def check(*given):
        laboratory.fleet.pauses += stood_still
        return cross_check(*given)

    monkeypatch.setattr("tdml.round.judge.cross_check", check)
    judgements = laboratory.play(1).judgements
    assert judgements[0].p == (None if stood_still else 1)
    assert any(made.p is not None for made in judgements.values())
