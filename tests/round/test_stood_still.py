"""What is asked for while the coordinator itself stands still."""

from tdml.lab.laboratory import Laboratory
from tests.round.seats import sit
from tests.round.test_silence import _JOB as JOB
from tests.round.test_silence import Silent
from tests.round.test_silence import _owing as owing


def test_nobody_owes_what_was_asked_for_while_the_coordinator_stood_still():
    laboratory = Laboratory(JOB)
    sit(laboratory, "r1.s0", Silent, deed="open")
    audit = laboratory.engine.judge.auditor.audit

    def stands_still(*arguments):
        laboratory.fleet.pauses += 1
        return audit(*arguments)

    laboratory.engine.judge.auditor.audit = stands_still
    first = laboratory.play(1)
    assert (first.accepted, owing(laboratory)) == ([0, 2], {})
    laboratory.engine.judge.auditor.audit = audit
    assert laboratory.play(2).accepted == [0, 1, 2]
