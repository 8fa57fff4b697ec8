"""Audits of replicas that cannot show what they committed to."""

import dataclasses

import pytest
import torch

from tdml.cluster.messages import Commitment
from tdml.trust.audit import CLEAN, LIED, UNSETTLED
from tdml.trust.commitment import content
from tests.cluster.replicas import (
    LIAR,
    WEIGHTS,
    WINDOWS,
    FakeReplica,
    LiesAtFirst,
    among_honest,
    assert_only,
    audit,
    auditor_of,
    failing,
)


def other_state(opening):
    starts = tuple(None if s is None else s + 1 for s in opening.starts)
    return dataclasses.replace(opening, starts=starts)


def other_records(opening):
    return dataclasses.replace(opening, sketches=tuple(s + 1 for s in opening.sketches))


OPENINGS = {
    "nothing": lambda o: None,
    "a text": lambda o: "work",
    "another state": other_state,
    "other records": other_records,
    "no states": lambda o: dataclasses.replace(o, starts=(None,) * len(o.starts)),
    "doubles": lambda o: dataclasses.replace(o, starts=tuple(s if s is None else s.double() for s in o.starts)),
    "texts as states": lambda o: dataclasses.replace(o, starts=("",) * len(o.starts)),
    "texts as records": lambda o: dataclasses.replace(o, sketches=("",) * len(o.sketches)),
    "sparse": lambda o: dataclasses.replace(o, sketches=tuple(s.to_sparse() for s in o.sketches)),
    "no values": lambda o: dataclasses.replace(o, sketches=tuple(s.to("meta") for s in o.sketches)),
    "too few states": lambda o: dataclasses.replace(o, states=o.states[1:]),
    "too few records": lambda o: dataclasses.replace(o, records=o.records[1:]),
    "too few sketches": lambda o: dataclasses.replace(o, sketches=o.sketches[1:]),
    "too few starts": lambda o: dataclasses.replace(o, starts=o.starts[1:]),
    "no tuples": lambda o: dataclasses.replace(o, states=5),
    "another root": lambda o: dataclasses.replace(o, states=(*o.states[:1], content(torch.ones(1)), *o.states[2:])),
    "a window less": lambda o: dataclasses.replace(o, states=o.states[:2] + o.states[3:], records=o.records[:2]),
}


@pytest.mark.parametrize("shown", OPENINGS)
def test_who_cannot_show_what_it_committed_to_is_malicious(shown):
    class Hides(FakeReplica):
        def open(self, windows):
            one, other = super().open(windows)
            return [one, OPENINGS[shown](other)]

    assert_only(audit(among_honest(Hides(LIAR))), LIED, (1,))


def test_fewer_windows_than_the_round_has_are_refused_though_they_were_committed_to():
    class Fewer(FakeReplica):
        def work(self):
            super().work()
            short = OPENINGS["a window less"](self.tapes[1].open([]))
            self.commitments[1] = Commitment("", short.root, "")

        def open(self, windows):
            one, other = super().open(windows)
            return [one, OPENINGS["a window less"](other)]

    assert_only(audit(among_honest(Fewer(LIAR))), LIED, (1,))


def test_random_commitments_are_malicious():
    class Guesses(FakeReplica):
        def work(self):
            super().work()
            self.commitments[0] = Commitment("", content(torch.rand(3)), "")

    assert_only(audit(among_honest(Guesses(LIAR))), LIED, (0,))


@pytest.mark.parametrize("first", ["weights", "update"])
def test_a_tape_must_run_from_the_global_weights_to_the_update(first):
    """A sound tape of another round: nothing in it is false."""

    class Other(FakeReplica):
        def work(self):
            super().work()
            if first == "weights":
                self.tapes[1]._weights = self.tapes[1]._weights + 1
            update = self.updates[1] + (first == "update")
            self.tapes[1]._kept = self.tapes[1]._kept[: WINDOWS - 1]
            self.commitments[1] = Commitment("", self.tapes[1].seal(update), "")

    assert_only(audit(among_honest(Other(LIAR))), LIED, (1,))


@pytest.mark.parametrize("answer", [lambda end: end + 1, lambda end: None, lambda end: "", lambda end: end.double()])
def test_who_shows_another_end_than_it_committed_to_is_malicious(answer):
    class Hides(LiesAtFirst):
        def border(self, window):
            one, other = super().border(window)
            return [one, answer(other)]

    assert_only(audit(among_honest(Hides(LIAR))), LIED, (1,))


@pytest.mark.parametrize("asked", ["open", "border"])
@pytest.mark.parametrize("dead", [False, True])
def test_who_refuses_to_answer_is_malicious_and_who_is_gone_is_not(asked, dead):
    class Refuses(LiesAtFirst):
        def open(self, windows):
            return failing(self, 1, dead) if asked == "open" else super().open(windows)

        def border(self, window):
            return failing(self, 1, dead)

    outcomes = audit(among_honest(Refuses(LIAR)))
    assert_only(outcomes, *((UNSETTLED, ()) if dead else (LIED, (1,))))
    assert {index: outcome.absent for index, outcome in outcomes.items() if outcome.absent} == (
        {LIAR: (1,)} if dead else {}
    )


def test_of_two_nodes_one_that_refuses_is_malicious_and_one_that_is_gone_is_noted():
    class Refuses(FakeReplica):
        def open(self, windows):
            self.nodes[0].dead = True
            failing(self, 1)

    outcomes = audit(among_honest(Refuses(LIAR)))
    assert_only(outcomes, LIED, (1,))
    assert outcomes[LIAR].absent == (0,)


@pytest.mark.parametrize("liar", [LiesAtFirst, FakeReplica])
def test_a_replica_that_was_lost_before_its_audit_shows_its_work_all_the_same(liar):
    """Otherwise whoever lies would only have to fail, without dying, when it judges others."""
    auditor, found = auditor_of(among_honest(liar(LIAR)))
    del auditor._fleet.formed[LIAR]
    outcomes = auditor.audit(1, found, [LIAR], WEIGHTS, torch.Generator().manual_seed(1))
    assert_only(outcomes, *((LIED, (1,)) if liar is LiesAtFirst else (CLEAN, ())))
