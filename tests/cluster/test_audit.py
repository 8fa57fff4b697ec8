"""Audits among replicas that lie in every way that is open to whoever writes their own worker."""

import dataclasses

import pytest
import torch

from tdml.training.borders import GRADIENT_RECEIVED, GRADIENT_SENT, MEASURES, NOT_TAKEN, RECEIVED, SENT, sketch
from tdml.training.tape import Opening
from tdml.trust.audit import CLEAN, DIFFERENT, LARGEST, LIED, UNSETTLED
from tests.cluster.replicas import (
    EDGES,
    LIAR,
    STAGES,
    WEIGHTS,
    WINDOWS,
    FakeReplica,
    among_honest,
    assert_only,
    audit,
    auditor_of,
)


@pytest.mark.parametrize("suspects", [(), (LIAR,), (0, 1, 2, 3)])
def test_honest_replicas_are_confirmed_bit_for_bit(suspects):
    replicas = among_honest(FakeReplica(LIAR))
    outcomes = audit(replicas, suspects)
    assert {o.result for o in outcomes.values()} == {CLEAN}
    assert {o.full for i, o in outcomes.items() if i in suspects} <= {True}
    rulings = [ruling for outcome in outcomes.values() for ruling in outcome.rulings.values()]
    assert {ruling.error for ruling in rulings} == {0.0}
    expected = sum(WINDOWS * (3 if i in suspects else 1) for i in range(4))
    assert sum(replica.repetitions for replica in replicas) == expected


@pytest.mark.parametrize("suspects", [(), (0,)])
def test_the_only_replica_that_is_left_is_not_audited(suspects):
    assert audit([FakeReplica(0)], suspects) == {}


def test_at_rate_zero_only_suspects_are_audited():
    assert audit(among_honest(FakeReplica(LIAR)), rate=0.0) == {}
    assert audit(among_honest(FakeReplica(LIAR)), [1], rate=0.0).keys() == {1}


@pytest.mark.parametrize("lies", [False, True])
def test_an_update_that_is_not_finite_is_audited_and_its_replica_audits_others(lies):
    class Refused(FakeReplica):
        def hand_in(self, stage, update):
            return update * torch.nan if lies and stage == 1 else update

    replicas = among_honest(Refused(LIAR))
    auditor, found = auditor_of(replicas)
    others = [index for index in range(4) if index != LIAR]
    apart = dataclasses.replace(
        found, replicas=others, updates=[updates[others] for updates in found.updates],
        diverged={LIAR: replicas[LIAR].updates},
    )  # fmt: skip
    outcomes = auditor.audit(1, apart, [0, LIAR], WEIGHTS, torch.Generator().manual_seed(1))
    assert_only(outcomes, *((LIED, (1,)) if lies else (CLEAN, ())))
    assert outcomes[0].full
    assert LIAR in outcomes[0].rulings[0].validators


# Lies of the candidate


@pytest.mark.parametrize("window", range(WINDOWS))
@pytest.mark.parametrize("stage", range(STAGES))
@pytest.mark.parametrize("suspected", [False, True])
def test_a_lie_in_any_window_names_its_stage(window, stage, suspected):
    class Lies(FakeReplica):
        def at_border(self, s, step, state):
            return state * 1.5 if s == stage and step == EDGES[window + 1] else state

        def hand_in(self, s, update):
            return update * 1.5 if s == stage and window == WINDOWS - 1 else update

    outcomes = audit(among_honest(Lies(LIAR)), [LIAR] if suspected else [])
    assert_only(outcomes, LIED, (stage,))
    assert [w for w, ruling in outcomes[LIAR].rulings.items() if ruling.result != CLEAN] == [window]


@pytest.mark.parametrize("place", ["parameters", "buffers", "momentum"])
def test_a_lie_is_not_hidden_by_what_moves_more(place):
    """Beside a counter that moves by a hundred, all that the parameters learn would be less than machines of different
    kinds may differ by."""
    chosen = {"parameters": slice(0, 4), "buffers": slice(4, 6), "momentum": slice(7, 11)}[place]

    class Lies(FakeReplica):
        def at_border(self, stage, step, state):
            changed = state.clone()
            changed[chosen] += 0.5 if stage == 1 and step == EDGES[1] else 0.0
            return changed

    assert_only(audit(among_honest(Lies(LIAR, "gpu"))), LIED, (1,))


@pytest.mark.parametrize(("kind", "sender"), [(SENT, 0), (GRADIENT_SENT, 1)])
def test_a_false_message_names_its_sender_where_both_ends_tell_of_it(kind, sender):
    class Lies(FakeReplica):
        def send(self, sent, value, own):
            return value + 0.5 if sent == kind and own == 3 else value

    assert_only(audit(among_honest(Lies(LIAR))), LIED, (sender,))


@pytest.mark.parametrize(
    ("kind", "truth_at", "kept"), [(SENT, 0, SENT), (GRADIENT_SENT, 1, GRADIENT_SENT)], ids=["forward", "backward"]
)
def test_a_message_that_changed_on_its_way_convicts_nobody_and_is_not_forgotten(kind, truth_at, kept):
    """The sender claims to have sent what it should have; the receiver tells what came."""

    class Lies(FakeReplica):
        def send(self, sent, value, own):
            if sent == kind and own == 0:
                self.honest = sketch(value)
                return value + 0.5
            return value

        def rewrite(self, records):
            records[truth_at][0, 0, kept, 0] = self.honest

    outcomes = audit(among_honest(Lies(LIAR)))
    assert_only(outcomes, UNSETTLED)
    assert outcomes[LIAR].disputes == ((truth_at, 1 - truth_at),)
    assert {outcome.disputes for index, outcome in outcomes.items() if index != LIAR} == {()}


def test_equal_sums_do_not_hide_a_false_message():
    """The values of an activation in another order, eight apart, leave all sums and the norm as they are."""

    class Lies(FakeReplica):
        def send(self, sent, value, own):
            if sent == SENT and own == 0:
                self.honest = sketch(value)
                return value + 0.5
            return value

        def rewrite(self, records):
            for stage, row in ((0, SENT), (1, RECEIVED)):
                records[stage][0, 0, row, 0, :MEASURES] = self.honest[:MEASURES]

    assert_only(audit(among_honest(Lies(LIAR))), LIED, (0,))


def test_steps_left_out_are_blamed_on_all_who_left_them_out():
    class Idles(FakeReplica):
        def rewrite(self, records):
            for rows in records:
                rows[4:] = NOT_TAKEN

        def hand_in(self, stage, update):
            return update / 2

    assert_only(audit(among_honest(Idles(LIAR))), LIED, (0, 1))


# Machines that do not repeat each other's steps bit for bit


@pytest.mark.parametrize("suspects", [(), (0, 1, 2, 3)])
@pytest.mark.parametrize("rounds", [1, 5])
def test_an_honest_replica_on_another_kind_of_machine_is_not_convicted(suspects, rounds):
    """Neither as one whose work is repeated by others who agree exactly, nor as one who repeats theirs."""
    odd = FakeReplica(LIAR, "gpu", eps=1e-4)
    outcomes = audit(among_honest(odd), suspects, rounds=rounds)
    assert {o.result for o in outcomes.values()} == {CLEAN}, outcomes
    assert [r.dissenters for o in outcomes.values() for r in o.rulings.values() if r.dissenters] == []


def test_everyone_on_another_kind_of_machine():
    replicas = [FakeReplica(i, f"kind {i}", eps=1e-5 * i) for i in range(5)]
    for suspects in ((), range(5)):
        assert {o.result for o in audit(replicas, suspects).values()} == {CLEAN}


@pytest.mark.parametrize("stage", range(STAGES))
def test_another_kind_of_machine_is_no_excuse_for_a_lie(stage):
    class Lies(FakeReplica):
        def hand_in(self, s, update):
            return update * (1 + 2 * DIFFERENT) if s == stage else update

    assert_only(audit(among_honest(Lies(LIAR, "gpu", eps=1e-6)), [LIAR]), LIED, (stage,))


@pytest.mark.parametrize("suspects", [(), (0, 1, 2, 3)])
def test_work_on_another_kind_of_machine_that_drifts_far_does_not_count_but_convicts_nobody(suspects):
    class Drifts(FakeReplica):
        def hand_in(self, s, update):
            return update * (1 + 2 * LARGEST)

    outcomes = audit(among_honest(Drifts(LIAR, "gpu")), suspects)
    assert (outcomes[LIAR].result, outcomes[LIAR].blamed) == (UNSETTLED, ())
    assert {o.result for i, o in outcomes.items() if i != LIAR} == {CLEAN}


def test_the_limit_for_a_pair_of_kinds_is_learnt_from_the_run():
    replicas = among_honest(FakeReplica(LIAR, "gpu", eps=1e-4))
    auditor, found = auditor_of(replicas)
    for number in range(1, 6):
        auditor.audit(number, found, (), WEIGHTS, torch.Generator().manual_seed(number))
    assert auditor.tolerance.limit("cpu", "cpu") == 1e-5
    assert 1e-5 < auditor.tolerance.limit("cpu", "gpu") < LARGEST


def test_what_is_shown_is_an_opening():
    """Of the fake replicas too: else the tests above prove nothing."""
    replica = FakeReplica(0)
    replica.work()
    assert all(isinstance(opening, Opening) for opening in replica.open((0, 1)))
    assert replica.commitments[0].states == replica.open(())[0].root
    assert GRADIENT_RECEIVED != GRADIENT_SENT


@pytest.mark.parametrize("suspects", [(), (LIAR,), (0, 1, 2, 3)])
def test_only_suspects_are_audited_in_full(suspects):
    outcomes = audit(among_honest(FakeReplica(LIAR)), suspects)
    assert {index for index, outcome in outcomes.items() if outcome.full} == {*suspects}


def test_who_audits_whom_is_drawn_and_the_windows_of_one_go_to_several():
    replicas = among_honest(FakeReplica(LIAR))
    auditor, found = auditor_of(replicas)
    drawn = set()
    for number in range(8):
        outcomes = auditor.audit(number, found, (), WEIGHTS, torch.Generator().manual_seed(number))
        rulings = outcomes[LIAR].rulings
        assert len({ruling.validators for ruling in rulings.values()}) == WINDOWS == 3
        drawn.add(rulings[0].validators)
    assert drawn == {(0,), (1,), (3,)}
