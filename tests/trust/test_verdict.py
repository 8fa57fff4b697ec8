import math
from dataclasses import replace

import pytest
import torch

from tdml.trust import Moments, Screening
from tdml.trust.blame import Blame
from tdml.trust.evidence import CONVICTION, DOUBT, HARM
from tdml.trust.exam import Exam, Hearing
from tdml.trust.verdict import HONEST, MALICIOUS, SUSPICIOUS, _copies, _Finding, decide, refuse

CAP = CONVICTION / 2  # what a clear outcome of one round adds or takes away
MUCH = CONVICTION * 2 / 3  # from here on suspicious
WORKED, IDLE, HARMFUL, HARMFUL_IDLE = "worked", "idle", "harmful", "harmful and idle"


def found(suspects=(), guilty=(), equals=(), certain=()):
    nothing = torch.zeros(4)
    guilty = tuple(sorted({*guilty, *certain}))
    suspects = tuple(sorted({*suspects, *guilty, *(row for group in equals for row in group)}))
    reasons = {i: f"row {i} wide" for i in suspects}
    return Screening(suspects, guilty, Moments(nothing, nothing), reasons, tuple(equals), tuple(certain))


def heard(works, candidates=None, perjurers=None, own=128, held_out=128):
    """A hearing whose candidates clearly worked, or clearly did not, and clearly did harm, or did not.

    Candidate 1, if it worked, knows its samples so well that it is all to its credit that a round can bring.
    """
    generator = torch.Generator().manual_seed(0)
    owners = torch.cat([torch.arange(len(works)).repeat_interleave(own), torch.full((held_out,), -1)])
    hardness = 0.3 * torch.randn(len(owners), generator=generator)
    logs = math.log(0.3) + hardness + 0.2 * torch.randn(len(works), len(owners), generator=generator)
    for i, work in enumerate(works):
        logs[i, owners == i] -= (1.6 if i == 1 else 0.8) * (work in (WORKED, HARMFUL))
        logs[i] += math.log(20) * (work in (HARMFUL, HARMFUL_IDLE))
    labels = torch.arange(len(owners)) % 4
    exam = Exam(torch.exp(hardness) * 0.4, torch.exp(logs), labels, owners)
    return Hearing(tuple(candidates or range(len(works))), exam, perjurers or {})


def verdicts(
    hearing=None, overall=None, by_stage=None, before=None, alike=True, replicas=4, suspected_before=None
):  # fmt: skip
    by_stage = [found(), found()] if by_stage is None else by_stage
    before = before or [0.0] * replicas
    return decide(hearing, overall or found(), by_stage, before, alike, suspected_before=suspected_before)


CLEAN, SUSPECT, GUILTY, ANOTHER = found(), found([1]), found([1], [1]), found([0, 2], certain=[0])
CERTAIN = found(certain=[1])
ALL_WORKED = [WORKED] * 4
ROW_1 = {work: [WORKED, work, WORKED, WORKED] for work in (WORKED, IDLE, HARMFUL, HARMFUL_IDLE)}

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


def test_only_who_was_heard_is_judged():
    found = verdicts(heard(ROW_1[IDLE], candidates=(1, 3, 4, 6)), before=[2.0] * 8)
    assert [verdict.evidence for verdict in found] == pytest.approx([2, 0, 2, 2 + CAP, 0, 2, 0, 2])
    assert [verdict.against for verdict in found][::2] == [0, 0, -CAP, pytest.approx(-CAP, abs=2)]
    assert [row for row, verdict in enumerate(found) if verdict.against] == [1, 3, 4, 6]
    assert found[3].status == SUSPICIOUS


def test_who_was_not_heard_is_told_so():
    found = verdicts(heard(ROW_1[IDLE], candidates=(1, 3, 4, 6)), before=[2.0, 2.0, MUCH, MUCH, MUCH, 2.0, 2.0, 9.0])
    reasons = [verdict.reason for verdict in found]
    assert [reason == "" for reason in reasons] == [True, True, False, False, True, True, True, False]
    assert reasons[2] == "no cross-check in this round; evidence 6.67 of 10 nats"
    assert reasons[7] == "no cross-check in this round; evidence 9.00 of 10 nats"
    assert "no cross-check" not in reasons[3]


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


@pytest.mark.parametrize(("work", "status"), [(WORKED, HONEST), (IDLE, HONEST), (HARMFUL, HONEST)])
def test_skewed_shares_excuse_what_alike_ones_do_not(work, status):
    verdict = verdicts(heard(ROW_1[work]), alike=False)[1]
    assert verdict.status == status
    assert verdict.against == -CAP if work != IDLE else -CAP < verdict.against <= 0


@pytest.mark.parametrize("screening", [SUSPECT, GUILTY])
@pytest.mark.parametrize(("work", "status"), [(HARMFUL, SUSPICIOUS), (HARMFUL_IDLE, MALICIOUS)])
def test_skewed_shares_excuse_harm_of_a_suspect_only_if_it_worked(screening, work, status):
    assert verdicts(heard(ROW_1[work]), screening, alike=False)[1].status == status


# Copies


@pytest.mark.parametrize("alike", [True, False])
@pytest.mark.parametrize("original", [0, 1, 3])
def test_of_a_group_of_equals_the_one_who_knows_its_samples_is_spared(original, alike):
    works = [IDLE if row in (0, 1, 3) and row != original else WORKED for row in range(8)]
    copied = found(equals=[(0, 1, 3)])
    status = [verdict.status for verdict in verdicts(heard(works), copied, [copied], alike=alike, replicas=8)]
    assert status == [SUSPICIOUS if row == original else MALICIOUS if row in (0, 1, 3) else HONEST for row in range(8)]


def test_of_equals_of_whom_nobody_worked_nobody_is_spared():
    copied = found(equals=[(1, 2)])
    works = [WORKED, IDLE, IDLE, WORKED, WORKED, WORKED]
    found_ = verdicts(heard(works), CLEAN, [CLEAN, copied], replicas=6)
    assert [verdict.status for verdict in found_] == [HONEST, MALICIOUS, MALICIOUS, HONEST, HONEST, HONEST]
    assert found_[1].stages == found_[2].stages == (0, 1)
    again = verdicts(
        heard(works), CLEAN, [CLEAN, copied], replicas=6, suspected_before=[(), (1,), (), (), (), ()]
    )  # fmt: skip
    assert (again[1].stages, again[2].stages) == ((1,), (0, 1))
    lenient = decide(heard(works), CLEAN, [CLEAN, copied], [0.0] * 6, True, conviction=100.0)
    assert [verdict.status for verdict in lenient] == [verdict.status for verdict in found_]


def test_equals_of_whom_not_all_were_heard_are_suspicious():
    copied = found(equals=[(1, 2)])
    for hearing in (None, heard([WORKED, WORKED, WORKED], candidates=(0, 1, 3))):
        status = [verdict.status for verdict in verdicts(hearing, copied)]
        assert status == [HONEST, SUSPICIOUS, SUSPICIOUS, HONEST]


def test_two_groups_of_equals_are_judged_each_by_itself():
    copied = found(equals=[(0, 1), (4, 5)])
    works = [WORKED, IDLE, WORKED, WORKED, IDLE, WORKED]
    status = [verdict.status for verdict in verdicts(heard(works), copied, replicas=6)]
    assert status == [SUSPICIOUS, MALICIOUS, HONEST, HONEST, MALICIOUS, SUSPICIOUS]


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


# The conviction threshold


def test_the_threshold_can_be_set():
    hearing = heard(ROW_1[IDLE])
    before = [0.0] * 4
    assert decide(hearing, CLEAN, [CLEAN], before, True, conviction=CAP)[1].status == MALICIOUS
    assert decide(hearing, CLEAN, [CLEAN], before, True, conviction=CAP + 1e-6)[1].status == SUSPICIOUS
    assert decide(hearing, CLEAN, [CLEAN], before, True, conviction=1.5 * CAP)[1].status == SUSPICIOUS
    assert decide(hearing, CLEAN, [CLEAN], before, True, conviction=1.5 * CAP + 0.1)[1].status == HONEST


# What it says


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


def test_what_is_no_update_is_refused_and_its_nodes_are_to_blame():
    verdict = refuse({2: "not finite", 0: "another shape"})
    assert (verdict.status, verdict.stages, verdict.accepted) == (MALICIOUS, (0, 2), False)
    assert verdict.reason == "stage 0: another shape; stage 2: not finite"
    assert (verdict.evidence, verdict.influence) == (CONVICTION, 0.0)


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


@pytest.mark.parametrize(
    ("against", "guilty"),
    [
        ({0: 0.19, 2: 0.0}, set()),  # so it was seen: the original knew its samples a little less well than its copy
        ({0: 0.0, 2: 3.3}, set()),
        ({0: 0.0, 2: 3.4}, {2}),
        ({0: -2.0, 2: 1.4}, {2}),
        ({0: 3.4, 2: 5.0}, {0, 2}),
        ({0: -5.0, 2: -1.0, 3: -4.0}, {2}),
    ],
)
def test_a_copy_is_told_from_its_original_by_more_than_chance(against: dict[int, float], guilty: set[int]) -> None:
    assert _copies({tuple(against)}, {row: _Finding(nats) for row, nats in against.items()}) == guilty
