import pytest
import torch

from tdml.trust import Moments, Screening
from tdml.trust.evidence import CONVICTION, PERJURY
from tdml.trust.memory import Memory
from tdml.trust.verdict import HONEST, MALICIOUS, SUSPICIOUS, Verdict
from tests.trust.hearings import found

NOBODY = Screening((), (), Moments(torch.zeros(2), torch.zeros(2)), {})
A, B, NEW = ["a.s0", "a.s1"], ["b.s0", "b.s1"], ["a.s0", "new"]
KEYS = {name: f"key-{name}" for name in (*A, *B, "new", "x", "y", "z")} | {"back": "key-a.s1"}
HONEST_WORK = Verdict(HONEST)
LIED = Verdict(SUSPICIOUS, "contradicts", perjured=(1,))
DISPUTED = Verdict(SUSPICIOUS, "contradict each other", disputes=((0, 1),), influence=0.0)
GONE = Verdict(SUSPICIOUS, "audit", absent=(1,), influence=0.0)


def conclude(memory, number, *seated):
    """A round of replicas, each with its verdict; the final verdicts."""
    nodes, verdicts = zip(*seated, strict=True)
    return memory.conclude(number, nodes, verdicts, CONVICTION)


def test_evidence_follows_the_names_and_not_the_row():
    memory = Memory(KEYS)
    conclude(memory, 1, (A, Verdict(HONEST, evidence=3.0)), (B, Verdict(HONEST, evidence=1.0)))
    verdicts = memory.decide(None, [B, NEW, A], NOBODY, [NOBODY], True, 10.0)
    assert [verdict.evidence for verdict in verdicts] == [1.0, 0.0, 3.0]


def test_the_stages_that_were_ever_suspected_are_remembered():
    memory = Memory(KEYS)
    conclude(memory, 1, (A, Verdict(SUSPICIOUS, suspected=(1,))))
    conclude(memory, 2, (A, Verdict(SUSPICIOUS, suspected=(0, 1))))
    conclude(memory, 3, (A, HONEST_WORK))
    assert memory.suspected == {"a.s0+a.s1": [0, 1]}


def test_perjury_follows_the_node_and_no_honest_round_makes_it_good():
    memory = Memory(KEYS)
    [once] = conclude(memory, 1, (A, LIED))
    assert (once.status, memory.perjury) == (SUSPICIOUS, {"a.s1": PERJURY})
    for number in range(2, 50):
        [between] = conclude(memory, number, (A, HONEST_WORK))
        assert between.status == HONEST
    moved = ["b.s0", "a.s1"]
    mine, theirs = conclude(memory, 50, (moved, LIED), (["a.s0", "b.s1"], LIED))
    assert (mine.status, mine.stages) == (MALICIOUS, (1,))
    assert theirs.status == SUSPICIOUS, "its first lie"


@pytest.mark.parametrize("settled", [False, True])
def test_disputes_with_three_neighbours_convict_unless_one_of_them_is_known_to_lie(settled):
    memory = Memory(KEYS)
    for number, neighbour in enumerate(["x", "y", "y"], start=1):
        assert conclude(memory, number, (["a.s0", neighbour], DISPUTED))[0].status == SUSPICIOUS
    if settled:
        memory.settle(["y"])
    [last] = conclude(memory, 7, (["a.s0", "z"], DISPUTED))
    assert (last.status, last.stages) == ((SUSPICIOUS, ()) if settled else (MALICIOUS, (0,)))
    assert settled or "x (round 1), y (round 2), z (round 7)" in last.reason
    assert memory.disputes == [(1, "a.s0", "x")] + [(n, "a.s0", "y") for n in (2, 3) if not settled] + [
        (7, "a.s0", "z")
    ]  # fmt: skip


def test_a_dispute_with_one_who_is_convicted_in_the_same_round_does_not_count():
    memory = Memory(KEYS)
    for number, neighbour in enumerate(["x", "y"], start=1):
        conclude(memory, number, (["a.s0", neighbour], DISPUTED))
    convicted = Verdict(MALICIOUS, "a lie", stages=(1,), influence=0.0)
    mine, _ = conclude(memory, 3, (["a.s0", "z"], DISPUTED), (["b.s0", "x"], convicted))
    assert (mine.status, mine.stages) == (SUSPICIOUS, ())
    assert memory.disputes == [(2, "a.s0", "y"), (3, "a.s0", "z")]


def test_a_dispute_is_one_of_both_nodes_whoever_sent():
    memory = Memory(KEYS)
    for number, sender in enumerate(["x", "y"], start=1):
        conclude(memory, number, ([sender, "b.s1"], DISPUTED))
    [last] = conclude(memory, 3, (["z", "b.s1"], Verdict(SUSPICIOUS, disputes=((1, 0),), influence=0.0)))
    assert last.stages == (1,)


@pytest.mark.parametrize("name", ["a.s1", "back"])
def test_who_is_gone_a_second_time_is_convicted_whatever_its_name_and_however_honest_it_was_between(name):
    memory = Memory(KEYS)
    first, other = conclude(memory, 1, (A, GONE), (B, HONEST_WORK))
    assert (first.status, other.status) == (SUSPICIOUS, HONEST)
    for number in range(2, 20):
        assert conclude(memory, number, (A, HONEST_WORK))[0].status == HONEST
    back, first_time = conclude(memory, 20, (["b.s0", name], GONE), (["a.s0", "b.s1"], GONE))
    assert (back.status, back.stages) == (MALICIOUS, (1,))
    assert "in rounds 1 and 20" in back.reason
    assert (first_time.status, first_time.stages) == (SUSPICIOUS, ())


def test_a_checkpoint_brings_it_back():
    memory, other = Memory(KEYS), Memory(KEYS)
    seen = Verdict(SUSPICIOUS, evidence=2.5, suspected=(1,), perjured=(0,), disputes=((0, 1),), absent=(0,))
    conclude(memory, 1, (A, seen))
    other.restore(memory.state())
    assert other.absences == {"key-a.s0": [1]}
    assert (other.evidence, other.suspected) == ({"a.s0+a.s1": 2.5}, {"a.s0+a.s1": [1]})
    assert (other.perjury, other.disputes) == ({"a.s0": PERJURY}, [(1, "a.s0", "a.s1")])
    conclude(other, 2, (B, DISPUTED), (A, Verdict(SUSPICIOUS, absent=(0,))))
    assert len(memory.disputes) == 1, "its own"
    assert memory.absences == {"key-a.s0": [1]}, "its own"


def test_of_the_convicted_the_stage_is_named_that_was_suspected_before():
    memory = Memory(KEYS)
    memory.evidence, memory.suspected = {"+".join(A): 20.0}, {"+".join(A): [1]}
    by_stage = [found([0]), found([0])]
    assert memory.decide(None, [A, B, ["x", "y"]], found(), by_stage, True, 10.0)[0].stages == (1,)
