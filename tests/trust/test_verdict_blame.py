"""Which stages are to blame, for their replica's work and as validators."""

from dataclasses import replace

import pytest

from tdml.trust.blame import Blame
from tdml.trust.evidence import CONVICTION, HARM
from tdml.trust.verdict import HONEST, MALICIOUS, SUSPICIOUS, decide, leave_out, refuse
from tests.trust.hearings import (
    ALL_WORKED,
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
    WORKED,
    found,
    heard,
    verdicts,
)

BLAME = {
    # overall, by stage, stages suspected before → stages to blame
    "never before": (CLEAN, [CLEAN, SUSPECT], (), (0, 1)),
    "there before": (CLEAN, [CLEAN, SUSPECT], (1,), (1,)),
    "elsewhere before": (CLEAN, [CLEAN, SUSPECT], (0,), (0, 1)),
    "everywhere before": (CLEAN, [CLEAN, SUSPECT], (0, 1), (1,)),
    "at both, at one before": (CLEAN, [SUSPECT, SUSPECT], (0,), (0,)),
    "at both, at both before": (CLEAN, [SUSPECT, SUSPECT], (0, 1), (0, 1)),
    "only before": (SUSPECT, [CLEAN, CLEAN], (1,), (0, 1)),
    "guilty at another": (CLEAN, [GUILTY, SUSPECT], (1,), (0,)),
    "guilty as a whole": (GUILTY, [CLEAN, SUSPECT], (1,), (1,)),
    "another is suspected": (SUSPECT, [CLEAN, found([0, 2])], (1,), (0, 1)),
}


@pytest.mark.parametrize("collection", [tuple, list, set])
@pytest.mark.parametrize(("overall", "by_stage", "before", "stages"), BLAME.values(), ids=BLAME.keys())
def test_a_stage_is_to_blame_alone_if_it_was_suspected_before(overall, by_stage, before, stages, collection):
    suspected_before = [collection(()), collection(before), collection(()), collection(())]
    verdict = verdicts(heard(ROW_1[HARMFUL_IDLE]), overall, by_stage, suspected_before=suspected_before)[1]
    assert (verdict.status, verdict.stages) == (MALICIOUS, stages)


@pytest.mark.parametrize(("suspected_before", "stages"), [([(), (1,), (), ()], (1,)), ([(1,), (), (1,), (1,)], (0, 1))])
def test_suspicions_of_others_before_do_not_count(suspected_before, stages):
    assert verdicts(None, SUSPECT, [CLEAN, SUSPECT], [CAP] * 4, suspected_before=suspected_before)[1].stages == stages


def test_suspicions_before_decide_only_who_is_to_blame():
    before = [(0, 1)] * 4
    usual = verdicts(heard(ROW_1[IDLE]), SUSPECT, [SUSPECT, CLEAN])
    again = verdicts(heard(ROW_1[IDLE]), SUSPECT, [SUSPECT, CLEAN], suspected_before=before)
    assert [replace(verdict, stages=()) for verdict in usual] == [replace(verdict, stages=()) for verdict in again]
    assert [verdict.stages for verdict in usual] == [(), (0, 1), (), ()]
    assert [verdict.stages for verdict in again] == [(), (0,), (), ()]
    assert [verdict.status for verdict in verdicts(suspected_before=before)] == [HONEST] * 4


def test_it_says_at_which_stages_the_screen_suspects_whom():
    both = verdicts(None, found([0, 3]), [found([0, 1]), CLEAN, found([0], [2])])
    assert [verdict.suspected for verdict in both] == [(0, 2), (0,), (2,), ()]


def test_the_others_are_not_to_blame():
    for works in ROW_1.values():
        judged = verdicts(heard(works), CERTAIN, [CLEAN, SUSPECT])
        assert [verdict.status for verdict in judged] == [HONEST, MALICIOUS, HONEST, HONEST]
        assert [verdict.evidence for verdict in judged][::2] == [0.0, 0.0]


def test_what_is_no_update_is_refused_and_its_nodes_are_to_blame():
    verdict = refuse({2: "not finite", 0: "another shape"})
    assert (verdict.status, verdict.stages, verdict.accepted) == (MALICIOUS, (0, 2), False)
    assert verdict.reason == "stage 0: another shape; stage 2: not finite"
    assert (verdict.evidence, verdict.influence) == (CONVICTION, 0.0)


@pytest.mark.parametrize(
    ("samples", "common", "cause"),
    [
        ("", False, ""),
        ("", True, ", as most others' have: training diverges (see train.lr)"),
        ("training sample 7 has a fault", False, ", for training sample 7 has a fault"),
        ("training sample 7 has a fault", True, ", for training sample 7 has a fault"),
    ],
)
def test_what_is_not_finite_does_not_count_and_nobody_is_to_blame(samples, common, cause):
    verdict = leave_out({1: "not finite"}, samples, common, evidence=4.0)
    assert (verdict.status, verdict.stages, verdict.evidence, verdict.accepted) == (SUSPICIOUS, (), 4.0, False)
    assert verdict.reason == "stage 1: not finite" + cause


# Perjury


@pytest.mark.parametrize(
    ("before", "status"), [(0.0, SUSPICIOUS), (MUCH, SUSPICIOUS), (CONVICTION, MALICIOUS)]
)  # fmt: skip
def test_a_liar_is_suspicious_and_its_evidence_is_what_it_was(before, status):
    # Row 5 was no candidate.
    hearing = heard(ALL_WORKED, perjurers={5: "contradicts all others"})
    verdict = verdicts(hearing, before=[0.0] * 5 + [before])[5]
    assert (verdict.status, verdict.evidence, verdict.against) == (status, before, 0.0)
    assert verdict.perjured == (1,), "the last stage reported the losses"
    texts = ["contradicts all others", "no cross-check in this round", f"evidence {before:.2f} of 10 nats"]
    assert verdict.reason == "; ".join(texts)


@pytest.mark.parametrize(
    ("work", "status", "against"),
    [(WORKED, SUSPICIOUS, -CAP), (HARMFUL, SUSPICIOUS, HARM - CAP), (IDLE, SUSPICIOUS, CAP)],
)
def test_good_work_does_not_hide_perjury(work, status, against):
    hearing = heard(ROW_1[work], perjurers={1: "contradicts all others"})
    found = verdicts(hearing)
    assert (found[1].status, found[1].against) == (status, pytest.approx(against))
    assert "contradicts all others" in found[1].reason
    assert [verdict.status for verdict in found][::2] == [HONEST, HONEST]


@pytest.mark.parametrize(
    ("blame", "accepted"), [(Blame((0,)), True), (Blame((0, 1)), True), (Blame(disputes=((0, 1),)), False)]
)
def test_records_say_which_stage_lied(blame, accepted):
    hearing = heard(ALL_WORKED, perjurers={1: "contradicts all others"})
    found = verdicts(replace(hearing, blame={1: blame, 2: Blame((0,))}))
    assert (found[1].perjured, found[1].disputes, found[1].accepted) == (blame.stages, blame.disputes, accepted)
    assert found[2] == verdicts(heard(ALL_WORKED))[2], "who is no perjurer is not to blame"
    assert ("contradict each other" in found[1].reason) == bool(blame.disputes)


def test_however_high_the_threshold_a_liar_is_suspicious():
    hearing = heard(ALL_WORKED, perjurers={1: "contradicts all others"})
    found = decide(hearing, CLEAN, [CLEAN], [0.0] * 4, True, conviction=1000.0)
    assert [verdict.status for verdict in found] == [HONEST, SUSPICIOUS, HONEST, HONEST]
