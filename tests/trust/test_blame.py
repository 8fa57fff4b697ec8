"""Who lied, from made-up messages: every sketch is the number of the message, disturbed where somebody lies."""

import itertools

import pytest
import torch

from tdml.training.borders import (
    GRADIENT_RECEIVED,
    GRADIENT_SENT,
    NORMS_RECEIVED,
    NORMS_SENT,
    NOT_TAKEN,
    RECEIVED,
    SENT,
    empty,
)
from tdml.trust.blame import Blame, agreed, all_of, to_blame

LIMIT, STEPS, MICRO = 1e-3, 3, 2


def truth(stages, parts=1, norms=False):
    """What a validator saw: a different sketch for every message."""
    seen = [empty(STEPS, parts, MICRO, stages if norms else 0).zero_() for _ in range(stages)]
    generator = torch.Generator().manual_seed(0)
    for step in range(STEPS):
        for part in range(stages * parts - 1):
            for sent, received in ((SENT, RECEIVED), (GRADIENT_RECEIVED, GRADIENT_SENT)):
                message = torch.randn(MICRO, 12, generator=generator, dtype=torch.float64)
                message[:, 0] = 2.0
                seen[part % stages][step, part // stages, sent] = message
                seen[(part + 1) % stages][step, (part + 1) // stages, received] = message
        for sender in range(stages if norms else 0):
            message = torch.randn(12, generator=generator, dtype=torch.float64).abs()
            seen[sender][step, 0, NORMS_SENT, 0] = message
            for receiver in set(range(stages)) - {sender}:
                seen[receiver][step, 0, NORMS_RECEIVED + sender, 0] = message
    return seen


class Tale:
    """What the nodes of a replica say that they saw; at first the truth."""

    def __init__(self, stages, parts=1, norms=False):
        self.repeated = truth(stages, parts, norms)
        self.claimed = [rows.clone() for rows in self.repeated]

    def other(self, stage, step, kind, part=0, size=1.0):
        """A node saw another message than the truth; in its second micro-batch only."""
        self.claimed[stage][step, part, kind, 1, 3] += size
        return self

    def blame(self, *wrong, limit=LIMIT):
        return to_blame(wrong, self.claimed, self.repeated, limit)

    def blamed(self, *wrong, limit=LIMIT):
        """The stages, where nobody is in dispute."""
        blame = self.blame(*wrong, limit=limit)
        assert blame.disputes == ()
        return blame.stages


@pytest.mark.parametrize("stages", [1, 2, 3, 4])
def test_a_lie_in_the_end_alone_is_its_own(stages):
    for liar in range(stages):
        assert Tale(stages).blamed(liar) == (liar,)
    assert Tale(stages).blamed(*range(stages)) == tuple(range(stages))


@pytest.mark.parametrize(("stages", "liar"), [(s, liar) for s in (2, 3, 4) for liar in range(s - 1)])
def test_a_false_activation_names_its_sender(stages, liar):
    """All who come after it are misled, and so are all before it when the gradients come back."""
    tale = Tale(stages)
    for stage in range(liar, stages - 1):
        tale.other(stage, 1, SENT).other(stage + 1, 1, RECEIVED)
    for stage in range(stages - 1):
        tale.other(stage + 1, 1, GRADIENT_SENT).other(stage, 1, GRADIENT_RECEIVED)
        tale.other(stage, 2, SENT).other(stage + 1, 2, RECEIVED)
    assert tale.blamed(*range(stages)) == (liar,)


@pytest.mark.parametrize(("stages", "liar"), [(s, liar) for s in (2, 3, 4) for liar in range(1, s)])
def test_a_false_gradient_names_its_sender(stages, liar):
    tale = Tale(stages)
    for stage in range(liar, 0, -1):
        tale.other(stage, 0, GRADIENT_SENT).other(stage - 1, 0, GRADIENT_RECEIVED)
    for stage in range(stages - 1):
        tale.other(stage, 1, SENT).other(stage + 1, 1, RECEIVED)
    assert tale.blamed(*range(liar)) == (liar,)


@pytest.mark.parametrize("stages", [2, 3, 4])
def test_where_neighbours_contradict_each_other_both_are_named(stages):
    for stage in range(1, stages):
        found = Tale(stages).other(stage, 0, RECEIVED).blame(stage)
        assert found == Blame(disputes=((stage - 1, stage),))
        found = Tale(stages).other(stage - 1, 0, GRADIENT_RECEIVED).blame(stage - 1)
        assert found == Blame(disputes=((stage, stage - 1),))


def test_a_contradiction_does_not_hide_an_earlier_lie():
    tale = Tale(3).other(0, 0, SENT).other(1, 0, RECEIVED).other(2, 1, RECEIVED)
    assert tale.blamed(0, 1, 2) == (0,)
    assert Tale(3).other(0, 1, SENT).other(2, 0, RECEIVED).blame(0, 1, 2) == Blame(disputes=((1, 2),))


def test_gradients_come_after_the_activations_of_a_step():
    tale = Tale(3).other(2, 0, GRADIENT_SENT).other(1, 0, GRADIENT_RECEIVED).other(0, 0, SENT).other(1, 0, RECEIVED)
    assert tale.blamed(0, 1) == (0,)


def test_a_lie_in_one_micro_batch_of_one_step_is_enough():
    assert Tale(2).other(0, 2, SENT, size=2 * LIMIT * 1.01).blamed(1) == (0,)
    assert Tale(2).other(0, 2, SENT, size=2 * LIMIT * 0.99).blamed(1) == (1,)


def test_what_is_not_finite_is_not_confirmed():
    assert Tale(2).other(0, 0, SENT, size=float("nan")).blamed(0, 1) == (0,)
    assert Tale(2).other(0, 0, SENT, size=float("inf")).blamed(0, 1) == (0,)


@pytest.mark.parametrize("limit", [0.0, LIMIT])
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_what_is_not_finite_for_everybody_is_confirmed(bad, limit):
    """As where a sample is not finite: then the stage is named whose end alone is wrong."""
    tale = Tale(2)
    for stage, kind in ((0, SENT), (1, RECEIVED), (1, GRADIENT_SENT), (0, GRADIENT_RECEIVED)):
        for rows in (tale.repeated[stage], tale.claimed[stage]):
            rows[1, 0, kind] = bad
            rows[1, 0, kind, :, 0] = abs(bad)
    assert tale.blamed(1, limit=limit) == (1,)


def test_what_most_say_is_moved_by_no_minority():
    one, two, three = (torch.tensor([value]) for value in (1.0, 2.0, 3.0))
    nothing = torch.tensor([float("nan")])
    assert [float(x) for x in agreed([[one, two], [nothing, two], [one, three]])] == [1.0, 2.0]
    assert float(agreed([[two], [nothing], [three]])[0]) == 3.0
    assert float(agreed([[three], [one], [two], [one]])[0]) == 1.0, "the lower of the two in the middle"
    assert agreed([[nothing], [nothing], [one]])[0].isnan().all()


@pytest.mark.parametrize(("stages", "parts"), [(2, 2), (3, 2), (2, 3)])
def test_parts_are_dealt_to_the_stages_in_turn(stages, parts):
    """Interleaved: part p is on stage p mod N, and activations pass every stage more than once."""
    for sender in range(stages * parts - 1):
        tale = Tale(stages, parts)
        for part in range(sender, stages * parts - 1):
            tale.other(part % stages, 0, SENT, part // stages)
            tale.other((part + 1) % stages, 0, RECEIVED, (part + 1) // stages)
        assert tale.blamed(*range(stages)) == (sender % stages,)
        receiver = sender + 1
        tale = Tale(stages, parts).other(receiver % stages, 0, RECEIVED, receiver // stages)
        assert tale.blame(receiver % stages) == Blame(disputes=((sender % stages, receiver % stages),))
        tale = Tale(stages, parts).other(receiver % stages, 0, GRADIENT_SENT, receiver // stages)
        assert tale.blamed(0) == (receiver % stages,)


@pytest.mark.parametrize("stages", [1, 2, 3])
def test_whoever_left_out_a_step_is_to_blame_for_it(stages):
    for idle in range(stages):
        tale = Tale(stages).other(0, 0, SENT)
        tale.claimed[idle][1] = NOT_TAKEN
        assert tale.blamed(*range(stages)) == (idle,)
    tale = Tale(stages)
    for rows in tale.claimed:
        rows[2] = NOT_TAKEN
    assert tale.blamed(0) == tuple(range(stages))


@pytest.mark.parametrize(("stages", "parts"), [(2, 1), (3, 1), (4, 1), (2, 2)])
def test_false_norms_name_who_told_them(stages, parts):
    """Clipped by them, all stages have a wrong state, and everything in the next step is another."""
    for liar in range(stages):
        tale = Tale(stages, parts, norms=True).other(liar, 1, NORMS_SENT)
        for stage in range(stages):
            tale.other(stage, 1, NORMS_RECEIVED + liar if stage != liar else NORMS_SENT)
            tale.other(stage, 2, SENT).other(stage, 2, RECEIVED).other(stage, 2, NORMS_SENT)
        assert tale.blamed(*range(stages)) == (liar,)


def test_of_norms_that_two_stages_tell_of_otherwise_either_may_be_false():
    for sender, receiver in itertools.permutations(range(3), 2):
        tale = Tale(3, norms=True).other(receiver, 0, NORMS_RECEIVED + sender).other(receiver, 1, SENT)
        assert tale.blame(receiver) == Blame(disputes=((sender, receiver),))


def test_norms_come_after_the_gradients_of_their_step():
    tale = Tale(3, norms=True).other(2, 1, NORMS_SENT)
    assert tale.other(1, 1, GRADIENT_SENT).blamed(0, 1, 2) == (1,)
    assert tale.other(0, 0, NORMS_SENT).blamed(0, 1, 2) == (0,)


def test_silence_that_another_forces_on_a_node_is_not_its_own():
    """Zeros in, and zeros are all that comes back: it has taken the step, with what it was given."""
    tale = Tale(2).other(0, 1, SENT)
    tale.claimed[1][1] = 0.0
    assert tale.blamed(0, 1) == (0,)


def test_without_tolerance_the_digests_count_too():
    """What leaves norm and sums as they are would frame whoever comes next."""
    tale = Tale(3)
    for stage, kind in ((0, SENT), (1, RECEIVED)):
        tale.claimed[stage][0, 0, kind, 0, 11] += 1
    tale.other(1, 0, SENT).other(2, 0, RECEIVED)
    assert tale.blamed(0, 1, 2, limit=0.0) == (0,)
    assert tale.blamed(0, 1, 2) == (1,)


def test_without_tolerance_the_least_change_names_its_sender():
    """Just below a limit, one stage's change would be amplified by the next above it."""
    tale = Tale(3)
    for stage, kind in ((0, SENT), (1, RECEIVED)):
        tale.other(stage, 0, kind, size=1e-15)
    tale.other(1, 0, SENT).other(2, 0, RECEIVED)
    assert tale.blamed(0, 1, 2, limit=0.0) == (0,)


def test_findings_on_one_replica_add_up():
    blames = [Blame((2,)), Blame(disputes=((1, 2), (1, 0))), Blame((0, 2)), Blame(disputes=((1, 0),))]
    assert all_of(blames) == Blame((0, 2), ((1, 0), (1, 2)))
    assert all_of([]) == Blame()
