"""What the reason of a verdict says."""

from tdml.trust.evidence import CONVICTION, HARM
from tests.trust.hearings import (
    CAP,
    CERTAIN,
    CLEAN,
    GUILTY,
    HARMFUL_IDLE,
    IDLE,
    MUCH,
    ROW_1,
    SUSPECT,
    WORKED,
    heard,
    verdicts,
)


def test_who_was_not_heard_is_told_so():
    found = verdicts(heard(ROW_1[IDLE], candidates=(1, 3, 4, 6)), before=[2.0, 2.0, MUCH, MUCH, MUCH, 2.0, 2.0, 9.0])
    reasons = [verdict.reason for verdict in found]
    assert [reason == "" for reason in reasons] == [True, True, False, False, True, True, True, False]
    assert reasons[2] == "no cross-check in this round; evidence 6.67 of 10 nats"
    assert reasons[7] == "no cross-check in this round; evidence 9.00 of 10 nats"
    assert "no cross-check" not in reasons[3]


def test_the_reason_names_the_stage_and_the_judgement():
    verdict = verdicts(heard(ROW_1[HARMFUL_IDLE]), SUSPECT, [CLEAN, SUSPECT])[1]
    stage, advantage, harm, probability, agreed, total = verdict.reason.split("; ")
    assert agreed == "which bears out the screen"
    assert stage == "stage 1: row 1 wide"
    assert advantage.startswith("own advantage ")
    assert harm.startswith("held-out loss +")
    assert probability.startswith("probability of the right label ")
    assert total == f"evidence {CAP + HARM + CONVICTION / 2:.2f} of {CONVICTION:.0f} nats"


def test_the_reason_says_who_convicts():
    works = {work: heard(ROW_1[work]) for work in (WORKED, IDLE)}
    said = {
        (screening, work): verdicts(works[work], found_, [found_, CLEAN])[1].reason
        for screening, found_ in (("guilty", GUILTY), ("certain", CERTAIN))
        for work in works
    }
    alone, together = "the screen alone convicts", "which bears out the screen"
    assert [(alone in text, together in text) for text in said.values()] == [
        (False, False), (False, True), (True, False), (True, True),
    ]  # fmt: skip


def test_the_reason_is_the_whole_replicas_where_no_stage_stands_out():
    reason = f"row 1 wide; no cross-check in this round; evidence {CONVICTION / 2:.2f} of {CONVICTION:.0f} nats"
    assert verdicts(None, SUSPECT)[1].reason == reason
