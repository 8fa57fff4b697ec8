"""Whom the court has audited because an earlier audit left something open."""

from types import SimpleNamespace

import pytest
import torch

from tdml.cluster.court import Court
from tdml.trust.audit import CLEAN, LIED, UNSETTLED, Outcome
from tdml.trust.verdict import HONEST, SUSPICIOUS, Verdict, leave_out

KEYS = {f"r{replica}.s{stage}": f"key-{replica}-{stage}" for replica in range(3) for stage in range(2)}
REPLICAS = [
    SimpleNamespace(index=replica, nodes=[SimpleNamespace(name=f"r{replica}.s{stage}") for stage in range(2)])
    for replica in range(3)
]
FOUND = SimpleNamespace(audited=[0, 1, 2])


@pytest.fixture
def court():
    """With an auditor that only remembers whom it was to audit in full."""
    config = SimpleNamespace(topology=SimpleNamespace(replicas=3), trust=SimpleNamespace(conviction=10.0))
    made = Court(SimpleNamespace(config=config), SimpleNamespace(roster=SimpleNamespace(keys=dict(KEYS)), banned=[]))
    made.auditor.audit = lambda number, found, suspects, weights, draw: suspects
    return made


def conclude(court, number, outcome):
    """A round in which replica 1 was audited."""
    verdicts = dict.fromkeys(FOUND.audited, Verdict(HONEST))
    return court.conclude(number, FOUND, verdicts, {1: outcome}, REPLICAS)


def audited_in_full(court):
    """In a round in which everybody is honest so far."""
    return court.audit(2, FOUND, dict.fromkeys(FOUND.audited, Verdict(HONEST)), [], REPLICAS, 7)


@pytest.mark.parametrize(
    ("outcome", "keys"),
    [
        (Outcome(CLEAN, ""), set()),
        (Outcome(UNSETTLED, ""), {"key-1-0", "key-1-1"}),
        (Outcome(UNSETTLED, "", absent=(1,)), {"key-1-0", "key-1-1"}),
        (Outcome(LIED, "", (0,)), set()),
        (Outcome(LIED, "", (0,), absent=(1,)), {"key-1-1"}),
    ],
)
def test_who_was_gone_or_whose_work_is_unsettled_is_audited_until_it_is_clean(court, outcome, keys):
    conclude(court, 1, outcome)
    assert court.unsettled == keys
    assert audited_in_full(court) == [1] * bool(keys)
    conclude(court, 2, Outcome(CLEAN, ""))
    assert audited_in_full(court) == []


@pytest.mark.parametrize("void", [False, True])
def test_where_nothing_can_follow_from_an_audit_it_is_not_taken_again(court, void):
    conclude(court, 1, Outcome(UNSETTLED, "", void=void))
    assert audited_in_full(court) == [1] * (not void)


def test_whose_own_repetitions_differed_is_audited_in_every_round(court):
    assert conclude(court, 1, Outcome(UNSETTLED, "", erratic=(0,)))[1].erratic == (0,)
    for number in (2, 3):
        assert conclude(court, number, Outcome(CLEAN, "", full=True))[1] == Verdict(HONEST)
        assert audited_in_full(court) == [1]
    other = Court(court._job, court._fleet)
    other.auditor.notice = "audits cannot convict"
    other.restore(court.state())
    assert (other.erratic, other.auditor.notice) == ({"key-1-0"}, "")


def test_who_comes_back_under_another_name_is_audited_and_judged_as_the_one_it_is(court):
    conclude(court, 1, Outcome(UNSETTLED, "", absent=(1,)))
    court._fleet.roster.keys |= {"r1.s1": KEYS["r2.s1"], "r2.s1": KEYS["r1.s1"]}
    assert audited_in_full(court) == [1, 2], "its partner of then, and it"
    gone = dict.fromkeys(FOUND.audited, Verdict(HONEST))
    final = court.conclude(2, FOUND, gone, {2: Outcome(UNSETTLED, "", absent=(1,))}, REPLICAS)
    assert (final[2].status, final[2].stages, final[1].status) == ("malicious", (1,), HONEST)


def test_a_checkpoint_keeps_who_was_gone(court):
    conclude(court, 1, Outcome(UNSETTLED, "", absent=(0,)))
    other = Court(court._job, court._fleet)
    other.restore(court.state())
    assert other.unsettled == court.unsettled
    final = conclude(other, 2, Outcome(UNSETTLED, "", absent=(0,)))
    assert final[1].stages == (0,)
    assert conclude(court, 2, Outcome(UNSETTLED, "", absent=(1,)))[1].status == SUSPICIOUS


def test_a_ban_closes_the_disputes_of_the_banned(court):
    conclude(court, 1, Outcome(UNSETTLED, "", disputes=((0, 1),)))
    assert court.disputes == [("r1.s0", "r1.s1")]
    court._fleet.banned = ["r1.s0"]
    conclude(court, 2, Outcome(CLEAN, ""))
    assert court.disputes == []


def test_who_is_suspected_is_audited_in_full_and_the_draw_is_secret(court):
    spoilt = leave_out({0: "not finite"}, "training sample 7 has values that are not finite", False, 0.0)
    verdicts = dict.fromkeys(FOUND.audited, Verdict(HONEST)) | {1: spoilt, 2: Verdict(SUSPICIOUS)}
    assert court.audit(1, FOUND, verdicts, [], REPLICAS, 7) == [2], (
        "no replica is suspected for the samples it is given"
    )
    court.auditor.audit = lambda number, found, suspects, weights, draw: float(torch.rand((), generator=draw))
    first, again, other = (court.audit(1, FOUND, verdicts, [], REPLICAS, secret) for secret in (7, 7, 8))
    assert first == again != other
