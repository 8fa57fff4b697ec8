"""Work that is owed, and was begun with what an optimizer was left with before."""

from tdml.lab.laboratory import Laboratory
from tdml.protocol.orders import Slot
from tests.round.seats import sit
from tests.round.test_inner_states import JOB, begins
from tests.round.test_silence import Silent


def test_who_owes_a_round_does_it_again_from_what_it_began_with() -> None:
    laboratory = Laboratory(JOB)
    laboratory.play(1)
    sit(laboratory, "r1.s0", Silent, deed="open", always=True)
    assert "has not shown its work" in laboratory.play(2).judgements[1].reason
    sit(laboratory, "r1.s0", Silent, deed="nothing")
    third = laboratory.play(3)
    assert third.audits[1].clean == (0, 1, 2)
    assert "has shown its work of round 2" in third.judgements[1].reason
    assert begins(laboratory)["r1.s0"], "that of round 2"
    assert laboratory.play(4).accepted == [0, 1, 2]
    assert begins(laboratory)["r1.s0"] == "", "round 2 did not count"


def test_who_was_started_anew_cannot_do_it_again_and_is_forgiven(monkeypatch) -> None:
    laboratory = Laboratory(JOB)
    laboratory.play(1)
    sit(laboratory, "r1.s0", Silent, deed="open", always=True)
    laboratory.play(2)
    sit(laboratory, "r1.s0", Silent, deed="nothing")
    laboratory.fleet.nodes["r1.s0"].inner.clear()
    monkeypatch.setattr(laboratory.fleet, "visit", lambda name: f"{name} anew")
    third = laboratory.play(3)
    assert third.forgiven == ("r1.s0",)
    assert third.accepted == [0, 1, 2]
    assert third.audits[1].clean == (0, 1, 2)


def test_who_is_given_another_place_has_said_nothing_of_itself() -> None:
    laboratory = Laboratory(JOB)
    laboratory.play(1)
    sit(laboratory, "r1.s0", Silent, deed="open", always=True)
    laboratory.play(2)
    sit(laboratory, "r1.s0", Silent, deed="nothing")
    laboratory.fleet._slots |= {Slot(1, 0): "r1.s1", Slot(1, 1): "r1.s0"}
    laboratory.fleet._formed.clear()
    assert laboratory.play(3).forgiven == ("r1.s0",)
    assert not laboratory.engine.judge.debts._believed


def test_who_has_lost_what_it_began_with_is_believed_once(monkeypatch) -> None:
    laboratory = Laboratory([*JOB, "rounds=8"])
    debts, key = laboratory.engine.judge.debts, laboratory.fleet.key("r1.s0")
    visits = dict.fromkeys(laboratory.fleet.nodes, 0)
    monkeypatch.setattr(laboratory.fleet, "visit", lambda name: f"{name} {visits[name]}")

    def loses_it_when_asked(number: int) -> None:
        sit(laboratory, "r1.s0", Silent, deed="open", always=True)
        laboratory.play(number)
        sit(laboratory, "r1.s0", Silent, deed="nothing")
        laboratory.fleet.nodes["r1.s0"].inner.clear()
        visits["r1.s0"] += 1

    laboratory.play(1)
    loses_it_when_asked(2)
    assert laboratory.play(3).forgiven == ("r1.s0",)
    laboratory.play(4)
    loses_it_when_asked(5)
    for number in (6, 7):
        played = laboratory.play(number)
        assert played.forgiven == () and played.judgements[1].status == "lost"
        assert "owes its work of round 5" in played.judgements[1].reason
    assert list(debts.owing) == [key]
