import pytest

from tdml.trust.audit import CLEAN, LIED, UNSETTLED, Outcome, Ruling
from tdml.trust.evidence import CONVICTION, PERJURY
from tdml.trust.verdict import HONEST, MALICIOUS, SUSPICIOUS, Verdict, after_audit

GOOD = Verdict(HONEST)
DOUBTED = Verdict(SUSPICIOUS, "wide ranks", evidence=7.0, against=3.0, suspected=(1,), influence=0.45)
GUILTY = Verdict(MALICIOUS, "wide ranks", (1,), CONVICTION, suspected=(1,), influence=0.0)


def heard(verdict, outcome, index=0):
    return after_audit({index: verdict}, {index: outcome}, stages=2)[index]


def contradicted(*dissenters):
    """A clean audit of replica 9 in which these validators found something else than most."""
    return Outcome(CLEAN, "", rulings={0: Ruling(CLEAN, 0.0, 1e-5, (0, 1, 2, 3), 0, (), dissenters)})


def test_without_audits_nothing_changes():
    verdicts = {0: GOOD, 1: DOUBTED, 2: GUILTY}
    assert after_audit(verdicts, {}, stages=2) == verdicts
    assert after_audit(verdicts, {9: Outcome(LIED, "", (0,))}, stages=2) == verdicts


@pytest.mark.parametrize("verdict", [GOOD, DOUBTED, GUILTY])
def test_a_proven_lie_convicts_the_stages_that_lied(verdict):
    final = heard(verdict, Outcome(LIED, "window 1: false", (0,)))
    assert (final.status, final.stages, final.influence, final.accepted) == (MALICIOUS, (0,), 0.0, False)
    assert final.evidence == CONVICTION
    assert final.reason.startswith("window 1: false")


def test_evidence_of_a_proven_lie_follows_the_setting():
    assert after_audit({0: GOOD}, {0: Outcome(LIED, "", (0,))}, 1, conviction=25.0)[0].evidence == 25.0


@pytest.mark.parametrize("verdict", [DOUBTED, GUILTY])
def test_a_suspect_whose_whole_round_was_found_again_is_cleared(verdict):
    final = heard(verdict, Outcome(CLEAN, "", full=True))
    assert (final.status, final.stages, final.evidence, final.influence) == (HONEST, (), 0.0, 1.0)
    assert final.suspected == (1,)


@pytest.mark.parametrize("verdict", [GOOD, DOUBTED, GUILTY])
def test_a_few_clean_windows_clear_nobody(verdict):
    assert heard(verdict, Outcome(CLEAN, "", full=False)) == verdict


def test_a_liar_of_the_cross_check_is_not_cleared_by_its_own_honest_work():
    verdict = Verdict(SUSPICIOUS, "contradicts", evidence=PERJURY, perjured=True)
    assert heard(verdict, Outcome(CLEAN, "", full=True)) == verdict


def test_an_unsettled_audit_acquits_nobody():
    """Else whoever is convicted would only have to spoil its audit."""
    final = heard(GUILTY, Outcome(UNSETTLED, "it was lost"))
    assert (final.status, final.stages, final.accepted) == (MALICIOUS, (1,), False)
    assert final.reason.startswith("it was lost")


@pytest.mark.parametrize("verdict", [GOOD, DOUBTED])
def test_an_unsettled_audit_keeps_the_update_out_and_convicts_nobody(verdict):
    final = heard(verdict, Outcome(UNSETTLED, "it was lost"))
    assert (final.status, final.stages, final.accepted) == (SUSPICIOUS, (), False)
    assert final.reason.startswith("it was lost")


def test_a_contradicted_validator_is_held_to_have_lied():
    once = after_audit({1: GOOD}, {9: contradicted(1)}, stages=2)[1]
    assert (once.status, once.evidence, once.perjured) == (SUSPICIOUS, PERJURY, True)
    assert "most others contradict" in once.reason
    assert 0 < once.influence < 1
    twice = after_audit({1: DOUBTED}, {9: contradicted(1)}, stages=2)[1]
    assert (twice.status, twice.accepted) == (MALICIOUS, False)
    assert twice.evidence == DOUBTED.evidence + PERJURY


def test_perjury_counts_once_a_round():
    both = {8: contradicted(1), 9: contradicted(1)}
    assert after_audit({1: GOOD}, both, stages=2)[1].evidence == PERJURY


def test_perjury_is_weighed_after_the_own_audit():
    """A suspect that is cleared as a trainer has still lied as a validator."""
    outcomes = {1: Outcome(CLEAN, "", full=True), 9: contradicted(1)}
    final = after_audit({1: DOUBTED}, outcomes, stages=2)[1]
    assert (final.status, final.evidence) == (SUSPICIOUS, PERJURY)


def test_the_convicted_need_no_further_conviction():
    final = after_audit({1: GUILTY}, {9: contradicted(1)}, stages=2)[1]
    assert final == GUILTY
    final = after_audit({1: GOOD}, {1: Outcome(LIED, "", (0,)), 9: contradicted(1)}, stages=2)[1]
    assert final.stages == (0,)
