from dataclasses import replace

import pytest

from tdml.trust.audit import CLEAN, LIED, UNSETTLED, Outcome, Ruling
from tdml.trust.blame import Blame
from tdml.trust.evidence import CONVICTION
from tdml.trust.verdict import HONEST, MALICIOUS, SUSPICIOUS, Verdict, after_audit, leave_out

GOOD = Verdict(HONEST)
DOUBTED = Verdict(SUSPICIOUS, "wide ranks", evidence=7.0, against=3.0, suspected=(1,), influence=0.45)
GUILTY = Verdict(MALICIOUS, "wide ranks", (1,), CONVICTION, against=4.0, suspected=(1,), influence=0.0)


def heard(verdict, outcome, index=0):
    return after_audit({index: verdict}, {index: outcome})[index]


def contradicted(*stages, disputes=()):
    """A clean audit of replica 9 in which validator 1 found something else than most, because of these stages."""
    dissenters = {1: Blame(stages, disputes)}
    return Outcome(CLEAN, "", rulings={0: Ruling(CLEAN, 0.0, 1e-5, (0, 1, 2, 3), 0, (), dissenters)})


def test_without_audits_nothing_changes():
    verdicts = {0: GOOD, 1: DOUBTED, 2: GUILTY}
    assert after_audit(verdicts, {}) == verdicts
    assert after_audit(verdicts, {9: Outcome(LIED, "", (0,))}) == verdicts


@pytest.mark.parametrize("verdict", [GOOD, DOUBTED, GUILTY])
def test_a_proven_lie_convicts_the_stages_that_lied(verdict):
    final = heard(verdict, Outcome(LIED, "window 1: false", (0,)))
    assert (final.status, final.stages, final.influence, final.accepted) == (MALICIOUS, (0,), 0.0, False)
    assert final.evidence == CONVICTION
    assert final.reason.startswith("window 1: false")


def test_evidence_of_a_proven_lie_follows_the_setting():
    assert after_audit({0: GOOD}, {0: Outcome(LIED, "", (0,))}, conviction=25.0)[0].evidence == 25.0


@pytest.mark.parametrize("verdict", [DOUBTED, GUILTY])
def test_a_suspect_whose_whole_round_was_found_again_is_cleared(verdict):
    final = heard(verdict, Outcome(CLEAN, "", full=True))
    assert (final.status, final.stages, final.evidence, final.influence) == (HONEST, (), 0.0, 1.0)
    assert final.suspected == (1,)
    assert final.against == verdict.against  # the record keeps what the cross-check said


@pytest.mark.parametrize("samples", ["", "training sample 700 has values that are not finite"])
def test_what_is_not_finite_is_kept_out_and_shown_and_no_proof_until_an_audit_finds_a_lie(samples):
    left_out = leave_out({1: "not finite"}, samples, False, evidence=4.0)
    assert (left_out.doubted, left_out.excused) == (not samples, bool(samples))
    cleared = heard(left_out, Outcome(CLEAN, "", full=True))
    assert (cleared.status, cleared.stages, cleared.evidence, cleared.accepted) == (SUSPICIOUS, (), 0.0, False)
    assert cleared.reason == left_out.reason + "; all others find the same"
    for outcome in (Outcome(CLEAN, "", full=False), Outcome(UNSETTLED, "")):
        final = heard(left_out, outcome)
        assert (final.status, final.evidence, final.accepted) == (SUSPICIOUS, 4.0, False)
    lied = heard(left_out, Outcome(LIED, "window 1: false", (1,)))
    assert (lied.status, lied.stages, lied.evidence, lied.accepted) == (MALICIOUS, (1,), CONVICTION, False)
    assert lied.reason == "window 1: false; " + left_out.reason


@pytest.mark.parametrize("result", [CLEAN, UNSETTLED, LIED])
@pytest.mark.parametrize("full", [False, True])
@pytest.mark.parametrize("verdict", [GOOD, DOUBTED, GUILTY, leave_out({0: "not finite"}, "", False, 0.0)])
def test_what_does_not_count_is_never_shown_as_honest(verdict, full, result):
    final = heard(verdict, Outcome(result, "", (0,) * (result == LIED), full))
    assert final.accepted or final.status != HONEST
    with pytest.raises(AssertionError, match="never shown as honest"):
        Verdict(HONEST, influence=0.0)


def test_stages_whose_own_repetitions_differ_are_noted():
    final = heard(GOOD, Outcome(UNSETTLED, "off", erratic=(1,)))
    assert (final.status, final.stages, final.erratic, final.accepted) == (SUSPICIOUS, (), (1,), False)


@pytest.mark.parametrize("verdict", [GOOD, DOUBTED, GUILTY])
def test_a_few_clean_windows_clear_nobody(verdict):
    assert heard(verdict, Outcome(CLEAN, "", full=False)) == verdict


def test_an_audit_clears_a_replica_of_all_but_its_nodes_lies_as_validators():
    verdict = replace(DOUBTED, reason="contradicts", perjured=(1,))
    final = heard(verdict, Outcome(CLEAN, "", full=True))
    assert (final.status, final.reason, final.perjured) == (SUSPICIOUS, "contradicts", (1,))
    assert (final.evidence, final.influence) == (0.0, 1.0)
    final = heard(replace(verdict, perjured=(), disputes=((0, 1),)), Outcome(CLEAN, "", full=True))
    assert (final.status, final.disputes, final.accepted) == (SUSPICIOUS, ((0, 1),), False)


@pytest.mark.parametrize("result", [LIED, UNSETTLED])
def test_a_dispute_of_an_audit_is_noted(result):
    outcome = Outcome(result, "window 0", (2,) if result == LIED else (), disputes=((1, 0),))
    final = heard(replace(GOOD, disputes=((0, 1),)), outcome)
    assert (final.disputes, final.accepted) == (((0, 1), (1, 0)), False)
    assert final.stages == outcome.blamed


@pytest.mark.parametrize("verdict", [GOOD, DOUBTED, GUILTY])
def test_who_was_gone_is_named_and_its_update_does_not_count(verdict):
    final = heard(verdict, Outcome(UNSETTLED, "gone", absent=(1,)))
    assert (final.absent, final.accepted) == ((1,), False)
    assert final.status == (MALICIOUS if verdict is GUILTY else SUSPICIOUS)


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
    final = after_audit({1: GOOD, 2: GOOD}, {9: contradicted(1)})
    assert final[2] == GOOD
    assert (final[1].status, final[1].perjured, final[1].disputes) == (SUSPICIOUS, (1,), ())
    assert final[1].reason == "audit: most others contradict what it found"
    assert (final[1].evidence, final[1].influence) == (0.0, 1.0)


def test_where_the_nodes_of_a_contradicted_validator_contradict_each_other_its_update_does_not_count():
    final = after_audit({1: GOOD}, {9: contradicted(disputes=((0, 1),))})[1]
    assert (final.status, final.perjured, final.disputes) == (SUSPICIOUS, (), ((0, 1),))
    assert not final.accepted
    assert final.reason.endswith("stages 0 and 1 contradict each other on what passed between them")


def test_each_liar_of_a_validator_is_named_once():
    both = {8: contradicted(1), 9: contradicted(0, 1)}
    assert after_audit({1: GOOD}, both)[1].perjured == (0, 1)


def test_perjury_is_noted_after_the_own_audit():
    """A suspect that is cleared as a trainer has still lied as a validator."""
    outcomes = {1: Outcome(CLEAN, "", full=True), 9: contradicted(1)}
    final = after_audit({1: DOUBTED}, outcomes)[1]
    assert (final.status, final.evidence, final.perjured) == (SUSPICIOUS, 0.0, (1,))


def test_the_convicted_stay_convicted_and_their_perjury_is_noted():
    final = after_audit({1: GUILTY}, {9: contradicted(0)})[1]
    assert (final.status, final.stages, final.perjured) == (MALICIOUS, (1,), (0,))
    final = after_audit({1: GOOD}, {1: Outcome(LIED, "", (0,)), 9: contradicted(1)})[1]
    assert (final.stages, final.perjured) == ((0,), (1,))


def test_a_cleared_suspect_keeps_its_judges_and_a_liar_its_evidence():
    doubted = Verdict(SUSPICIOUS, evidence=17.0, judges=(1, 2))
    assert after_audit({0: doubted}, {0: Outcome(CLEAN, "", full=True)})[0].judges == (1, 2)
    assert after_audit({0: doubted}, {0: Outcome(LIED, "", (0,))})[0].evidence == 17.0
