import pytest
import torch

from tdml.trust import Moments, Screening
from tdml.trust.cross_check import Judgement
from tdml.trust.verdict import count_strikes, decide, refuse

ROW = 1
HARMFUL, HARMLESS = Judgement(True, 3.1, "held-out loss +3.1"), Judgement(False, -0.2, "held-out loss -0.2")


def found(suspects=(), guilty=()):
    nothing = torch.zeros(4)
    return Screening(tuple(suspects), tuple(guilty), Moments(nothing, nothing), {i: f"row {i} wide" for i in suspects})


CLEAN, SUSPECT, GUILTY, ANOTHER = found(), found([ROW]), found([ROW], [ROW]), found([0, 2], [0])

CASES = {
    "clean": (CLEAN, [CLEAN, CLEAN], None, 0, "honest", ()),
    "harmless": (CLEAN, [CLEAN, CLEAN], HARMLESS, 0, "honest", ()),
    "suspect as a whole": (SUSPECT, [CLEAN, CLEAN], None, 0, "suspicious", ()),
    "suspect at a stage": (CLEAN, [CLEAN, SUSPECT], None, 0, "suspicious", ()),
    "suspect but harmless": (SUSPECT, [SUSPECT, CLEAN], HARMLESS, 0, "suspicious", ()),
    "harmful alone": (CLEAN, [CLEAN, CLEAN], HARMFUL, 1, "suspicious", ()),
    "harmful twice in a row": (CLEAN, [CLEAN, CLEAN], HARMFUL, 2, "suspicious", ()),
    "harmful three times in a row": (CLEAN, [CLEAN, CLEAN], HARMFUL, 3, "malicious", (0, 1)),
    "suspect as a whole and harmful": (SUSPECT, [CLEAN, CLEAN], HARMFUL, 1, "malicious", (0, 1)),
    "suspect at a stage and harmful": (CLEAN, [CLEAN, SUSPECT], HARMFUL, 1, "malicious", (1,)),
    "suspect at all stages and harmful": (SUSPECT, [SUSPECT, SUSPECT], HARMFUL, 1, "malicious", (0, 1)),
    "guilty as a whole": (GUILTY, [CLEAN, CLEAN], None, 0, "malicious", (0, 1)),
    "guilty as a whole, suspect at a stage": (GUILTY, [SUSPECT, CLEAN], None, 0, "malicious", (0,)),
    "guilty at a stage": (CLEAN, [GUILTY, CLEAN], None, 0, "malicious", (0,)),
    "guilty at a stage, suspect at another": (SUSPECT, [SUSPECT, GUILTY], None, 0, "malicious", (1,)),
    "guilty though harmless": (GUILTY, [GUILTY, CLEAN], HARMLESS, 0, "malicious", (0,)),
    "another is guilty": (ANOTHER, [ANOTHER, CLEAN], None, 0, "honest", ()),
    "another is guilty, harmful alone": (ANOTHER, [ANOTHER, CLEAN], HARMFUL, 1, "suspicious", ()),
}


@pytest.mark.parametrize(
    ("overall", "by_stage", "judgement", "strikes", "status", "stages"), CASES.values(), ids=CASES.keys()
)
def test_verdict(overall, by_stage, judgement, strikes, status, stages):
    verdict = decide(ROW, overall, by_stage, judgement, strikes)
    assert (verdict.status, verdict.stages) == (status, stages)
    assert verdict.accepted == (status != "malicious")
    assert bool(verdict.reason) == (status != "honest")


def test_the_reason_names_the_stage_and_the_judgement():
    verdict = decide(ROW, SUSPECT, [CLEAN, SUSPECT], HARMFUL, 1)
    assert verdict.reason == "stage 1: row 1 wide; held-out loss +3.1"


def test_the_reason_is_the_whole_replicas_where_no_stage_stands_out():
    assert decide(ROW, SUSPECT, [CLEAN, CLEAN], None, 0).reason == "row 1 wide"


def test_the_reason_counts_the_checks():
    assert decide(ROW, CLEAN, [CLEAN], HARMFUL, 3).reason == "held-out loss +3.1; harmful in 3 checks in a row"


def test_what_is_no_update_is_refused_and_its_nodes_are_to_blame():
    verdict = refuse({2: "not finite", 0: "another shape"})
    assert (verdict.status, verdict.stages, verdict.accepted) == ("malicious", (0, 2), False)
    assert verdict.reason == "stage 0: another shape; stage 2: not finite"


def test_strikes_count_up_reset_and_wait():
    before = {"up": 1, "reset": 2, "not judged": 2}
    after = count_strikes(before, {"up": HARMFUL, "reset": HARMLESS, "new": HARMFUL, "fine": HARMLESS})
    assert after == {"up": 2, "reset": 0, "not judged": 2, "new": 1, "fine": 0}
    assert before == {"up": 1, "reset": 2, "not judged": 2}
