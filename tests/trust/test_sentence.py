import pytest

from tdml.trust.evidence import CONVICTION, PERJURY
from tdml.trust.sentence import sentence
from tdml.trust.verdict import HONEST, MALICIOUS, SUSPICIOUS, Verdict

NOBODY, NEVER = [{}, {}], [(), ()]
GOOD, DOUBTED = Verdict(HONEST), Verdict(SUSPICIOUS, "why", perjured=(1,), disputes=((0, 1),))


def test_who_did_nothing_keeps_its_verdict():
    for verdict in (GOOD, DOUBTED, Verdict(MALICIOUS, "why", (0,), CONVICTION, influence=0.0)):
        assert sentence(verdict, [0.0, 0.0], NOBODY, NEVER) == verdict


@pytest.mark.parametrize("stage", [0, 1])
def test_the_second_lie_as_a_validator_convicts_the_node_alone(stage):
    nats = [0.0, 0.0]
    nats[stage] = PERJURY
    once = sentence(GOOD, nats, NOBODY, NEVER)
    assert (once.status, once.stages) == (HONEST, ())
    assert 0 < once.influence < 1
    nats[stage] = 2 * PERJURY
    twice = sentence(DOUBTED, nats, NOBODY, NEVER)
    assert (twice.status, twice.stages, twice.accepted) == (MALICIOUS, (stage,), False)
    assert twice.reason == f"stage {stage} has 10 nats for lies as a validator, 10 convict; why"
    assert sentence(GOOD, nats, NOBODY, NEVER, conviction=11.0).status == HONEST


def test_one_lie_of_each_of_two_nodes_convicts_neither():
    assert sentence(GOOD, [PERJURY, PERJURY], NOBODY, NEVER).status == HONEST


def test_disputes_with_three_neighbours_convict_the_node_alone():
    two = {"r1.s1": 2, "r0.s1": 4}
    assert sentence(DOUBTED, [0.0, 0.0], [two, two], NEVER) == DOUBTED
    final = sentence(DOUBTED, [0.0, 0.0], [two | {"r3.s1": 9}, two], NEVER)
    assert (final.status, final.stages, final.accepted) == (MALICIOUS, (0,), False)
    assert final.reason.startswith("stage 0 was in dispute with r1.s1 (round 2), r0.s1 (round 4), r3.s1 (round 9); ")


def test_the_convicted_are_joined_by_those_whom_it_convicts():
    final = sentence(Verdict(MALICIOUS, "audit", (0,), CONVICTION), [0.0, 2 * PERJURY], NOBODY, NEVER)
    assert (final.status, final.stages, final.evidence) == (MALICIOUS, (0, 1), CONVICTION)


def test_who_is_gone_a_second_time_when_it_had_to_show_its_work_is_convicted_alone():
    unsettled = Verdict(SUSPICIOUS, "audit", absent=(1,), influence=0.0)
    assert sentence(unsettled, [0.0, 0.0], NOBODY, [(), (3,)]) == unsettled
    assert sentence(unsettled, [0.0, 0.0], NOBODY, [(2,), (3,)]) == unsettled, "once each"
    final = sentence(unsettled, [0.0, 0.0], NOBODY, [(2,), (3, 8)])
    assert (final.status, final.stages, final.accepted) == (MALICIOUS, (1,), False)
    assert final.reason == "stage 1 was gone when it had to show its work, in rounds 3 and 8; audit"


def test_the_worst_node_alone_lowers_the_influence_by_the_set_conviction():
    once = sentence(GOOD, [PERJURY, 0.0], NOBODY, NEVER)
    assert sentence(GOOD, [PERJURY, PERJURY], NOBODY, NEVER).influence == once.influence == 0.75
    assert sentence(GOOD, [PERJURY, 0.0], NOBODY, NEVER, conviction=3 * CONVICTION).influence == 1.0
