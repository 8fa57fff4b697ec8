from dataclasses import replace

import pytest
import torch

from tdml.trust import Screening
from tdml.trust.evidence import CONVICTION, DOUBT, HARM
from tdml.trust.verdict import HONEST, MALICIOUS, SUSPICIOUS, decide
from tests.trust.hearings import (
    ALL_WORKED,
    ANOTHER,
    APART,
    CAP,
    CERTAIN,
    CLEAN,
    GUILTY,
    HARMFUL,
    HARMFUL_IDLE,
    IDLE,
    MUCH,
    ROW_1,
    SUSPECT,
    VAST,
    WORKED,
    found,
    heard,
    verdicts,
)

CASES = {
    # overall, by stage, what row 1 did, its evidence before → status, stages to blame, evidence after
    "clean": (CLEAN, [CLEAN, CLEAN], None, 0, HONEST, (), 0),
    "who waits keeps its evidence": (CLEAN, [CLEAN, CLEAN], None, 2, HONEST, (), 2),
    "worked": (CLEAN, [CLEAN, CLEAN], WORKED, 0, HONEST, (), 0),
    "worked, after doubts": (CLEAN, [CLEAN, CLEAN], WORKED, CAP + 2, HONEST, (), 2),
    "worked, after slight doubts": (CLEAN, [CLEAN, CLEAN], WORKED, 2, HONEST, (), 0),
    "idle": (CLEAN, [CLEAN, CLEAN], IDLE, 0, HONEST, (), CAP),
    "idle twice": (CLEAN, [CLEAN, CLEAN], IDLE, CAP, MALICIOUS, (0, 1), CONVICTION),
    "idle after slight doubts": (CLEAN, [CLEAN, CLEAN], IDLE, 2, SUSPICIOUS, (), CAP + 2),
    "two thirds of the evidence, not judged": (CLEAN, [CLEAN, CLEAN], None, MUCH, SUSPICIOUS, (), MUCH),
    "less than that": (CLEAN, [CLEAN, CLEAN], None, MUCH - 0.01, HONEST, (), MUCH - 0.01),
    "suspect as a whole": (SUSPECT, [CLEAN, CLEAN], None, 0, SUSPICIOUS, (), 0),
    "suspect at a stage": (CLEAN, [CLEAN, SUSPECT], None, 0, SUSPICIOUS, (), 0),
    "suspect, after doubts": (SUSPECT, [CLEAN, CLEAN], None, CAP, MALICIOUS, (0, 1), CONVICTION),
    "suspect, after slight doubts": (SUSPECT, [CLEAN, CLEAN], None, CAP - 1, SUSPICIOUS, (), CAP - 1),
    "suspect, but worked": (SUSPECT, [CLEAN, SUSPECT], WORKED, CAP, SUSPICIOUS, (), 0),
    "suspect and idle": (CLEAN, [CLEAN, SUSPECT], IDLE, 0, MALICIOUS, (0, 1), CONVICTION),
    "harmful alone": (CLEAN, [CLEAN, CLEAN], HARMFUL, CAP, HONEST, (), HARM),
    "harmful and idle": (CLEAN, [CLEAN, CLEAN], HARMFUL_IDLE, 0, SUSPICIOUS, (), CAP + HARM),
    "harmful and idle after doubts": (CLEAN, [CLEAN, CLEAN], HARMFUL_IDLE, 3, MALICIOUS, (0, 1), CAP + HARM + 3),
    "suspect as a whole and harmful": (SUSPECT, [CLEAN, CLEAN], HARMFUL_IDLE, 0, MALICIOUS, (0, 1), CONVICTION),
    "suspect at a stage and harmful": (CLEAN, [CLEAN, SUSPECT], HARMFUL_IDLE, 0, MALICIOUS, (0, 1), CONVICTION),
    "suspect everywhere and harmful": (SUSPECT, [SUSPECT, SUSPECT], HARMFUL_IDLE, 0, MALICIOUS, (0, 1), CONVICTION),
    "suspect and harmful, but worked": (SUSPECT, [SUSPECT, SUSPECT], HARMFUL, 0, SUSPICIOUS, (), 0),
    "certain as a whole": (CERTAIN, [CLEAN, CLEAN], None, 0, MALICIOUS, (0, 1), CONVICTION),
    "certain as a whole, suspect at a stage": (CERTAIN, [SUSPECT, CLEAN], None, 0, MALICIOUS, (0, 1), CONVICTION),
    "certain at a stage": (CLEAN, [CERTAIN, CLEAN], None, 0, MALICIOUS, (0,), CONVICTION),
    "certain at a stage, suspect at another": (SUSPECT, [SUSPECT, CERTAIN], None, 0, MALICIOUS, (1,), CONVICTION),
    "certain though it worked": (CERTAIN, [CERTAIN, CLEAN], WORKED, 0, MALICIOUS, (0,), CONVICTION),
    "apart, not heard": (APART, [APART, CLEAN], None, 0, MALICIOUS, (0,), CONVICTION),
    "apart and idle": (APART, [APART, CLEAN], IDLE, 0, MALICIOUS, (0,), CONVICTION),
    "apart though it worked": (APART, [APART, CLEAN], WORKED, 0, MALICIOUS, (0,), CONVICTION),
    "vast, not heard": (VAST, [CLEAN, VAST], None, 0, MALICIOUS, (1,), CONVICTION),
    "vast and idle": (VAST, [CLEAN, VAST], IDLE, 0, MALICIOUS, (1,), CONVICTION),
    "vast though it worked": (VAST, [CLEAN, VAST], WORKED, 0, MALICIOUS, (1,), CONVICTION),
    "guilty, not heard": (GUILTY, [GUILTY, CLEAN], None, 0, SUSPICIOUS, (), 0),
    "guilty, but worked": (GUILTY, [GUILTY, CLEAN], WORKED, 0, SUSPICIOUS, (), 0),
    "guilty and harmful, but worked": (GUILTY, [GUILTY, CLEAN], HARMFUL, 0, SUSPICIOUS, (), 0),
    "guilty at a stage and idle": (CLEAN, [GUILTY, CLEAN], IDLE, 0, MALICIOUS, (0,), CONVICTION),
    "guilty as a whole and idle": (GUILTY, [CLEAN, CLEAN], IDLE, 0, MALICIOUS, (0, 1), CONVICTION),
    "another is guilty": (ANOTHER, [ANOTHER, CLEAN], None, 0, HONEST, (), 0),
    "another is guilty, idle": (ANOTHER, [ANOTHER, CLEAN], IDLE, 2, SUSPICIOUS, (), CAP + 2),
}


@pytest.mark.parametrize(
    ("overall", "by_stage", "work", "before", "status", "stages", "evidence"), CASES.values(), ids=CASES.keys()
)
def test_verdict(overall, by_stage, work, before, status, stages, evidence):
    hearing = heard(ROW_1[work]) if work else None
    verdict = verdicts(hearing, overall, by_stage, [0.0, float(before), 0.0, 0.0])[1]
    assert (verdict.status, verdict.stages) == (status, stages)
    assert verdict.evidence == pytest.approx(evidence)
    unheard = work is None and 1 in {*overall.guilty, *by_stage[0].guilty, *by_stage[1].guilty}
    harmful = status == SUSPICIOUS and work in (HARMFUL, HARMFUL_IDLE)
    assert verdict.accepted == (status != MALICIOUS and not unheard and not harmful)
    assert bool(verdict.reason) == (status != HONEST)
    assert verdict.suspected == tuple(stage for stage in range(2) if 1 in by_stage[stage].suspects)
    added = {None: 0, WORKED: -CAP, IDLE: CAP, HARMFUL: HARM - CAP, HARMFUL_IDLE: HARM + CAP}[work]
    assert verdict.against == pytest.approx(added)


@pytest.mark.parametrize(
    ("overall", "works", "status", "accepted"),
    [
        (VAST, [IDLE] * 4, SUSPICIOUS, False),  # so it may be where nothing is left to learn
        (VAST, [IDLE, HARMFUL_IDLE, IDLE, IDLE], MALICIOUS, False),
        (APART, [IDLE] * 4, MALICIOUS, False),
        (CERTAIN, [IDLE] * 4, MALICIOUS, False),
        (GUILTY, [IDLE] * 4, SUSPICIOUS, False),
        (SUSPECT, [IDLE] * 4, SUSPICIOUS, True),
    ],
)
def test_where_nobody_can_be_seen_to_have_worked(overall, works, status, accepted):
    verdict = verdicts(heard(works), overall)[1]
    assert (verdict.status, verdict.accepted) == (status, accepted)
    assert ("the screen alone convicts" in verdict.reason) == (status == MALICIOUS)


@pytest.mark.parametrize(("known", "status"), [(False, MALICIOUS), (True, SUSPICIOUS)])
@pytest.mark.parametrize("screening", [APART, VAST], ids=["apart", "vast"])
def test_work_acquits_where_nearly_all_was_known_before(screening, known, status):
    hearing = heard(ALL_WORKED)
    if known:
        exam = hearing.exam
        hearing = replace(hearing, exam=replace(exam, before=exam.before / 20, after=exam.after / 20))
    verdict = verdicts(hearing, screening)[1]
    assert verdict.against < -1, "its own advantage speaks for it"
    assert (verdict.status, verdict.accepted) == (status, known)


def test_only_who_was_heard_is_judged():
    found = verdicts(heard(ROW_1[IDLE], candidates=(1, 3, 4, 6)), before=[2.0] * 8)
    assert [verdict.evidence for verdict in found] == pytest.approx([2, 0, 2, 2 + CAP, 0, 2, 0, 2])
    assert [verdict.against for verdict in found][::2] == [0, 0, -CAP, pytest.approx(-CAP, abs=2)]
    assert [row for row, verdict in enumerate(found) if verdict.against] == [1, 3, 4, 6]
    assert found[3].status == SUSPICIOUS


@pytest.mark.parametrize(("work", "rounds"), [(IDLE, 2), (WORKED, None), (HARMFUL, None)])
def test_evidence_adds_up_over_rounds(work, rounds):
    before = [0.0] * 4
    convicted = None
    for number in range(1, 6):
        found = verdicts(heard(ROW_1[work]), before=before)
        before = [verdict.evidence for verdict in found]
        if convicted is None and found[1].status == MALICIOUS:
            convicted = number
    assert convicted == rounds
    assert before[0] == before[2] == before[3] == 0.0


def test_an_attacker_every_other_round_is_forgotten():
    before = [0.0] * 4
    for work in (IDLE, WORKED) * 3:
        found = verdicts(heard(ROW_1[work]), before=before)
        before = [verdict.evidence for verdict in found]
        assert (found[1].status, before[1]) == (HONEST, CAP if work == IDLE else 0.0)


def expected_of_row_0(works, screening=CLEAN, before=(0.0,) * 5):
    suspect = Screening((0,), (), screening.moments, {0: "wide"})  # so that its reason is given
    reason = decide(heard(works), screening, [suspect], before, True)[0].reason
    return float(reason.split("where ")[1].split(" was")[0])


def test_who_is_above_doubt_sets_the_measure():
    # Row 1 knows its samples better than all; without it less is expected of row 0.
    usual = expected_of_row_0([WORKED] * 5)
    above = expected_of_row_0([WORKED] * 5, before=[0.0, DOUBT, 0.0, 0.0, 0.0])
    assert above != usual
    assert expected_of_row_0([WORKED] * 5, before=[0.0, DOUBT - 1e-6, 0.0, 0.0, 0.0]) == usual
    assert expected_of_row_0([WORKED] * 5, found(guilty=[1])) == above
    assert expected_of_row_0([WORKED] * 5, found(equals=[(0, 1)])) == above


def test_who_is_found_to_be_idle_is_no_measure_in_the_same_round():
    works = [WORKED, IDLE, WORKED, IDLE, WORKED]
    known = expected_of_row_0(works, before=[0.0, DOUBT, 0.0, DOUBT, 0.0])
    assert expected_of_row_0(works) == known == expected_of_row_0(works, found(guilty=[1, 3]))


def test_where_hardly_any_are_above_doubt_all_set_the_measure():
    hearing = heard([WORKED, IDLE, WORKED, WORKED])
    usual = verdicts(hearing)
    doubted = verdicts(hearing, before=[DOUBT, 0.0, DOUBT, 0.0])  # just half
    assert [verdict.against for verdict in usual] == [verdict.against for verdict in doubted]


# Skewed shares


@pytest.mark.parametrize(("work", "status"), [(WORKED, HONEST), (IDLE, HONEST)])
def test_skewed_shares_excuse_what_alike_ones_do_not(work, status):
    verdict = verdicts(heard(ROW_1[work]), alike=False)[1]
    assert verdict.status == status
    assert verdict.against == -CAP if work != IDLE else -CAP < verdict.against <= 0


def test_of_skewed_shares_who_stands_still_is_suspicious_and_does_not_count():
    """Its own losses are above those that it began with, while all others have lowered theirs."""
    verdict = verdicts(heard(ROW_1[HARMFUL]), alike=False)[1]
    assert (verdict.status, verdict.accepted, verdict.evidence) == (SUSPICIOUS, False, 0)
    assert "has not learnt its own samples" in verdict.reason
    alike = verdicts(heard(ROW_1[HARMFUL]))[1]
    assert (alike.status, alike.accepted) == (HONEST, True)


@pytest.mark.parametrize("screening", [SUSPECT, GUILTY])
@pytest.mark.parametrize(("work", "status"), [(HARMFUL, SUSPICIOUS), (HARMFUL_IDLE, MALICIOUS)])
def test_skewed_shares_excuse_harm_of_a_suspect_only_if_it_worked(screening, work, status):
    assert verdicts(heard(ROW_1[work]), screening, alike=False)[1].status == status


# The conviction threshold


def test_the_threshold_can_be_set():
    hearing = heard(ROW_1[IDLE])
    before = [0.0] * 4
    assert decide(hearing, CLEAN, [CLEAN], before, True, conviction=CAP)[1].status == MALICIOUS
    assert decide(hearing, CLEAN, [CLEAN], before, True, conviction=CAP + 1e-6)[1].status == SUSPICIOUS
    assert decide(hearing, CLEAN, [CLEAN], before, True, conviction=1.5 * CAP)[1].status == SUSPICIOUS
    assert decide(hearing, CLEAN, [CLEAN], before, True, conviction=1.5 * CAP + 0.1)[1].status == HONEST


# What counts in the average


@pytest.mark.parametrize("conviction", [CONVICTION, 3 * CONVICTION])
@pytest.mark.parametrize(("share", "weight"), [(0, 1), (1 / 3, 1), (2 / 3, 0.5), (0.999, 0.0015), (1, 0)])
def test_doubt_lowers_the_influence_and_conviction_ends_it(share, weight, conviction):
    (verdict,) = decide(None, found(), [found()], [share * conviction], True, conviction)
    assert verdict.influence == pytest.approx(weight)
    assert verdict.accepted == (share < 1)


def test_an_update_that_the_screen_finds_guilty_counts_only_if_something_speaks_for_it():
    assert not verdicts(None, GUILTY)[1].accepted
    assert not verdicts(heard([WORKED, WORKED], candidates=[0, 2]), GUILTY)[1].accepted
    assert verdicts(heard(ALL_WORKED), GUILTY)[1].influence == 1
    most = found([0, 1], [0, 1])
    assert [verdict.accepted for verdict in verdicts(None, most)] == [True] * 4


def test_of_two_nobody_is_convicted_on_the_others_word():
    _, doubted = verdicts(None, before=[0.0, 2 * CONVICTION], replicas=2)
    assert (doubted.status, doubted.stages, doubted.accepted) == (SUSPICIOUS, (), False)


def test_the_guilty_have_no_influence_however_little_is_known_of_them():
    assert decide(None, CERTAIN, [CERTAIN], [0.0] * 4, True)[1].influence == 0.0


def test_a_suspect_that_is_idle_and_does_no_harm_is_convicted_by_evidence_alone():
    assert decide(heard(ROW_1[IDLE]), SUSPECT, [CLEAN], [0.0] * 4, True, conviction=30.0)[1].status == SUSPICIOUS


def test_of_three_who_is_idle_is_told_though_two_are_left_to_be_the_measure():
    hearing = heard([WORKED, IDLE, WORKED])
    assert verdicts(hearing, replicas=3)[1].against > 2
    assert verdicts(hearing, before=[0.0, CAP, 0.0])[1].against > 2


def test_of_skewed_shares_harm_is_no_evidence_and_keeps_no_update_out_that_has_learnt():
    hearing = heard(ROW_1[HARMFUL])
    exam = hearing.exam
    before = torch.where(exam.owners >= 0, 50 * exam.before, exam.before)  # so that all have learnt their own samples
    hearing = replace(hearing, exam=replace(exam, before=before))
    skewed, alike = (verdicts(hearing, SUSPECT, alike=alike)[1] for alike in (False, True))
    assert (skewed.status, skewed.accepted, skewed.against) == (SUSPICIOUS, True, -CAP)
    assert (alike.status, alike.accepted, alike.against) == (SUSPICIOUS, False, pytest.approx(-CAP + CONVICTION / 3))
