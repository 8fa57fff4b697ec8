"""Updates that were handed in before."""

import math

import torch

from tdml.lab.laboratory import Laboratory
from tdml.node.node import Node
from tdml.round.past_updates import PastUpdates, mark_resubmitted
from tdml.trust.screen import screen
from tests.round.seats import sit


def test_who_hands_in_what_was_there_before_is_found_whosever_it_was() -> None:
    past = PastUpdates()
    assert (
        past.resubmitted(1, {0: {0: "a", 1: "b"}, 1: {0: "c", 1: "d"}, 2: {0: "e", 1: "f"}})
        == set()
    )
    assert past.resubmitted(2, {0: {0: "g", 1: "h"}, 1: {0: "i", 1: "d"}, 2: {0: "j", 1: "k"}}) == {
        1
    }
    assert past.resubmitted(3, {0: {0: "g", 1: "l"}, 1: {0: "m", 1: "n"}, 2: {0: "p", 1: "o"}}) == {
        0
    }


def test_of_two_one_is_found_and_where_most_repeat_themselves_nobody() -> None:
    past = PastUpdates()
    past.resubmitted(1, {0: {0: "a"}, 1: {0: "b"}, 2: {0: "zero"}})
    assert past.resubmitted(2, {0: {0: "a"}, 1: {0: "c"}}) == {0}
    assert past.resubmitted(3, {0: {0: "zero"}, 1: {0: "zero"}, 2: {0: "d"}}) == set()


def test_a_round_is_not_held_against_itself() -> None:
    """That two are the same in one round is for the screen to say."""
    assert PastUpdates().resubmitted(1, {0: {0: "a"}, 1: {0: "a"}, 2: {0: "b"}}) == set()


def test_it_forgets_and_can_be_restored() -> None:
    past = PastUpdates()
    past.resubmitted(1, {0: {0: "a"}, 1: {0: "b"}})
    assert PastUpdates(dict(past.rounds)).resubmitted(2, {0: {0: "a"}, 1: {0: "c"}}) == {0}
    for number in range(40):
        past.resubmitted(number + 2, {0: {0: f"x{number}"}, 1: {0: f"y{number}"}})
    assert past.resubmitted(42, {0: {0: "a"}, 1: {0: "c"}}) == set()
    assert sum(map(len, past.rounds.values())) <= 64


def test_a_round_that_is_taken_back_and_comes_again_is_the_same_for_the_honest() -> None:
    """Of two only one may be left that has played it before."""
    past = PastUpdates()
    past.resubmitted(1, {0: {0: "a"}, 1: {0: "b"}})
    past.resubmitted(2, {0: {0: "c"}, 1: {0: "lie"}})
    assert past.resubmitted(2, {0: {0: "c"}, 1: {0: "d"}}) == set()
    assert past.resubmitted(3, {0: {0: "c"}, 1: {0: "e"}}) == {0}


def test_they_stand_out_beyond_every_limit() -> None:
    updates = torch.randn(5, 300, generator=torch.Generator().manual_seed(0))
    updates[4] *= 100
    found = screen(updates)
    assert found.suspects == (4,)
    marked = mark_resubmitted(found, {2})
    assert marked.distances == {**found.distances, 2: math.inf}
    assert marked.suspects == (2, 4), "whoever stands out otherwise does so still"
    assert "earlier round" in marked.reasons[2]
    assert mark_resubmitted(found, set()) == found


class LearnsNothing(Node):
    """In one round."""

    when = 0

    def update_to_commit(self, update, round_number):
        return torch.zeros_like(update) if round_number == self.when else update


def test_whoever_has_learnt_nothing_is_no_copy_of_who_has_learnt_nothing_before() -> None:
    laboratory = Laboratory([
        "model=mlp", "model.hidden=16", "sync.local_steps=6", "topology.stages=2",
        "topology.replicas=4", "trust.budget=0", "rounds=2",
    ])  # fmt: skip
    sit(laboratory, "r3.s1", LearnsNothing, when=1)
    sit(laboratory, "r0.s1", LearnsNothing, when=2)
    laboratory.play(1)
    assert laboratory.play(2).judgements[0].distance < math.inf
