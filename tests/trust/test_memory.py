import pytest
import torch

from tdml.trust import Moments, Screening
from tdml.trust.evidence import CONVICTION, PERJURY
from tdml.trust.memory import Memory
from tdml.trust.verdict import HONEST, MALICIOUS, SUSPICIOUS, Verdict

NOBODY = Screening((), (), Moments(torch.zeros(2), torch.zeros(2)), {})
A, B, NEW = ["a.s0", "a.s1"], ["b.s0", "b.s1"], ["a.s0", "new"]
HONEST_WORK = Verdict(HONEST)
LIED = Verdict(SUSPICIOUS, "contradicts", perjured=(1,))
DISPUTED = Verdict(SUSPICIOUS, "contradict each other", disputes=((0, 1),), influence=0.0)


def conclude(memory, number, *seated):
    """A round of replicas, each with its verdict; the final verdicts."""
    nodes, verdicts = zip(*seated, strict=True)
    return memory.conclude(number, nodes, verdicts, CONVICTION)


def test_evidence_follows_the_names_and_not_the_row():
    memory = Memory()
    conclude(memory, 1, (A, Verdict(HONEST, evidence=3.0)), (B, Verdict(HONEST, evidence=1.0)))
    verdicts = memory.decide(None, [B, NEW, A], NOBODY, [NOBODY], True, 10.0)
    assert [verdict.evidence for verdict in verdicts] == [1.0, 0.0, 3.0]


def test_the_stages_that_were_ever_suspected_are_remembered():
    memory = Memory()
    conclude(memory, 1, (A, Verdict(SUSPICIOUS, suspected=(1,))))
    conclude(memory, 2, (A, Verdict(SUSPICIOUS, suspected=(0, 1))))
    conclude(memory, 3, (A, HONEST_WORK))
    assert memory.suspected == {"a.s0+a.s1": [0, 1]}


def test_perjury_follows_the_node_and_no_honest_round_makes_it_good():
    memory = Memory()
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
    memory = Memory()
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


def test_a_dispute_is_one_of_both_nodes_whoever_sent():
    memory = Memory()
    for number, sender in enumerate(["x", "y"], start=1):
        conclude(memory, number, ([sender, "b.s1"], DISPUTED))
    [last] = conclude(memory, 3, (["z", "b.s1"], Verdict(SUSPICIOUS, disputes=((1, 0),), influence=0.0)))
    assert last.stages == (1,)


def test_a_checkpoint_brings_it_back():
    memory, other = Memory(), Memory()
    conclude(memory, 1, (A, Verdict(SUSPICIOUS, evidence=2.5, suspected=(1,), perjured=(0,), disputes=((0, 1),))))
    other.restore(memory.state())
    assert (other.evidence, other.suspected) == ({"a.s0+a.s1": 2.5}, {"a.s0+a.s1": [1]})
    assert (other.perjury, other.disputes) == ({"a.s0": PERJURY}, [(1, "a.s0", "a.s1")])
    conclude(other, 2, (B, DISPUTED))
    assert len(memory.disputes) == 1, "its own"
