"""Audits among replicas that do not repeat themselves, honestly or not: nobody is convicted before both sides have."""

import dataclasses
import itertools

import pytest
import torch

from tdml.training.borders import SENT
from tdml.trust.audit import CLEAN, LIED, UNSETTLED
from tdml.trust.blame import Blame
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


def scaled(done, ends, factor):
    """A report of other ends, with their own digests."""
    others = [end * factor for end in ends]
    return [dataclasses.replace(d, digest=content(end)) for d, end in zip(done, others, strict=True)], others


class Wavers(FakeReplica):
    """Whatever it repeats, it finds something else every time."""

    def tell(self, done, ends, order):
        return scaled(done, ends, 1 + self.repetitions)


class Lies(FakeReplica):
    """About others, always the same."""

    def tell(self, done, ends, order):
        return scaled(done, ends, -1) if order.replica != self.index else (done, ends)


class Counts(FakeReplica):
    """An honest replica whose second stage keeps a counter, which its steps depend on."""

    def __init__(self, index, kind="cpu", first=0):
        super().__init__(index, kind)
        self.calls = itertools.count(first)

    def learn(self, state, gradient):
        calls = next(self.calls)  # of both stages in turn
        return super().learn(state, gradient * (1 + 0.1 * calls * (calls % 2)))


class WaversAndLies(Wavers):
    """Hands in what its steps do not lead to, at the second stage, and finds something else whenever it is asked."""

    def hand_in(self, stage, update):
        return update * 1.5 if stage == 1 else update

    def tell(self, done, ends, order):
        return scaled(done, ends, 1 + self.repetitions) if order.replica == self.index else (done, ends)


def rulings_of(outcomes, *replicas):
    return [ruling for index in replicas for ruling in outcomes[index].rulings.values()]


def test_a_validator_that_does_not_find_its_own_result_again_has_no_say_and_has_not_lied():
    outcomes = audit([Wavers(0), *map(FakeReplica, (1, 2, 3))], suspects=[1, 2, 3])
    assert {outcome.result for outcome in outcomes.values()} == {CLEAN}
    found = rulings_of(outcomes, 1, 2, 3)
    assert [ruling.dissenters for ruling in found] == [{}] * 9
    assert [ruling.unsteady for ruling in found] == [(0,)] * 9
    assert {outcomes[index].full for index in (1, 2, 3)} == {True}


@pytest.mark.parametrize("suspects", [(), (LIAR,)])
def test_a_validator_that_wavers_saves_no_liar(suspects):
    outcomes = audit([Wavers(0), FakeReplica(1), LiesAtFirst(LIAR), FakeReplica(3)], suspects)
    assert (outcomes[LIAR].result, outcomes[LIAR].blamed) == (LIED, (1,))
    assert outcomes[LIAR].rulings[0].unsteady == (0,)
    assert "r0's own repetitions differ and do not count" in outcomes[LIAR].reason


def test_a_validator_that_lies_twice_alike_is_named_as_before():
    outcomes = audit([Lies(0), *map(FakeReplica, (1, 2, 3))], suspects=[1, 2, 3])
    assert [r.dissenters for r in rulings_of(outcomes, 1, 2, 3)] == [{0: Blame((0, 1))}] * 9


@pytest.mark.parametrize("claimant", [FakeReplica, LiesAtFirst])
def test_where_most_validators_do_not_repeat_themselves_nothing_follows_and_it_is_said_once(claimant):
    replicas = [Wavers(0), Wavers(1), claimant(LIAR), FakeReplica(3)]
    auditor, found = auditor_of(replicas)
    outcome = auditor.audit(1, found, [LIAR], WEIGHTS, torch.Generator().manual_seed(1))[LIAR]
    assert (outcome.result, outcome.blamed, outcome.void) == (UNSETTLED, (), True)
    assert [ruling.dissenters for ruling in outcome.rulings.values()] == [{}] * WINDOWS
    assert outcome.reason.startswith("audit of window 0: r0's and r1's own repetitions differ; audit of window 1")
    said = auditor.notice
    assert said == (
        "audits cannot convict: r0's and r1's own repetitions differ; the model or the data draw on something other "
        "than weights, seeds and samples: see docs/your-model.md"
    )
    auditor.audit(2, found, (), WEIGHTS, torch.Generator().manual_seed(2))
    assert auditor.notice == said


def test_with_one_validator_that_wavers_nothing_follows():
    auditor, found = auditor_of([Wavers(0), LiesAtFirst(LIAR)])
    outcome = auditor.audit(1, found, [LIAR], WEIGHTS, torch.Generator().manual_seed(1))[LIAR]
    assert (outcome.result, outcome.void) == (UNSETTLED, True)
    assert "r0's own repetitions differ" in auditor.notice


@pytest.mark.parametrize("suspects", [(), (0, 1, 2, 3)])
def test_nobody_is_named_where_every_replica_keeps_a_counter(suspects):
    outcomes = audit([Counts(index) for index in range(4)], suspects)
    assert {outcome.result for outcome in outcomes.values()} == {UNSETTLED}
    assert all(outcome.void and not outcome.blamed for outcome in outcomes.values())
    assert [ruling.dissenters for ruling in rulings_of(outcomes, *range(4)) if ruling.dissenters] == []


def test_validators_that_never_agree_clear_nobody():
    """Their errors are of one size: eight times how far they are apart is a limit that any lie keeps to."""

    class Draws(FakeReplica):
        def step(self, states, batch, records, own=None):
            return [state * (1 + 0.05 * torch.rand(())) for state in super().step(states, batch, records, own)]

    torch.manual_seed(0)
    outcomes = audit([Draws(index) for index in range(4)], suspects=range(4))
    assert {(outcome.result, outcome.void) for outcome in outcomes.values()} == {(UNSETTLED, True)}


def test_validators_that_repeat_themselves_and_not_each_other_name_nobody():
    """Each has a state of its own, as where a mean is taken from the first batch that a process sees."""
    replicas = [FakeReplica(index, eps=0.1 * index**2) for index in range(4)]
    auditor, found = auditor_of(replicas)
    outcomes = auditor.audit(1, found, range(4), WEIGHTS, torch.Generator().manual_seed(1))
    assert {(outcome.result, outcome.void) for outcome in outcomes.values()} == {(UNSETTLED, True)}
    assert "audits cannot convict: r1, r2 and r3 find different ends of the same steps; the model" in auditor.notice
    assert "audit of window 0: r1, r2 and r3 find different ends" in outcomes[0].reason


@pytest.mark.parametrize("suspects", [(), (1, 2)])
def test_of_two_validators_one_that_lies_keeps_out_nobodys_work(suspects):
    """With the replica itself, two of three have found the same."""
    auditor, found = auditor_of([Lies(0), FakeReplica(1), FakeReplica(2)])
    outcomes = auditor.audit(1, found, suspects, WEIGHTS, torch.Generator().manual_seed(1))
    assert {outcomes[index].result for index in (1, 2)} == {CLEAN}
    assert [ruling.dissenters for ruling in rulings_of(outcomes, 1, 2)] == [{}] * 6
    assert {outcomes[index].full for index in (1, 2)} == {False}
    assert auditor.notice == ""
    assert {error for seen in auditor.tolerance.seen.values() for error in seen} == {0.0}


def test_a_validator_that_is_gone_when_it_is_asked_again_has_no_say():
    class GoneAgain(Lies):
        def repeat(self, orders):
            return super().repeat(orders) if self.repetitions < 9 else failing(self, 0, dead=True)

    outcomes = audit([GoneAgain(0), *map(FakeReplica, (1, 2, 3))], suspects=[1, 2, 3], rate=0.0)
    assert {outcome.result for outcome in outcomes.values()} == {CLEAN}
    assert {ruling.validators for ruling in rulings_of(outcomes, 1)} == {(2, 3)}


# The audited replica


def test_a_replica_that_does_not_find_its_own_work_again_is_not_convicted_and_its_stage_is_known():
    outcome = audit(among_honest(Counts(LIAR)), [LIAR], rate=0.0)[LIAR]
    assert (outcome.result, outcome.blamed, outcome.disputes, outcome.exhibit) == (UNSETTLED, (), (), {})
    assert (outcome.erratic, outcome.void) == ((1,), False)
    assert "3 of 3 validators found, limit 1e-05; its own repetitions differ, too" in outcome.reason


def test_who_lies_and_finds_something_else_whenever_it_is_asked_is_known_by_its_stage():
    class SecondStageWavers(WaversAndLies):
        def tell(self, done, ends, order):
            told, others = super().tell(done, ends, order)
            return [done[0], told[1]], [ends[0], others[1]]

    assert audit(among_honest(SecondStageWavers(LIAR)))[LIAR].erratic == (1,)
    assert audit(among_honest(WaversAndLies(LIAR)))[LIAR].erratic == (0, 1)


def test_a_message_that_differs_between_a_replicas_own_repetitions_names_its_sender():
    class Sends(WaversAndLies):
        def send(self, kind, value, own):
            return value * self.repetitions if kind == SENT and own is None and self.own else value

        def repeat(self, orders):
            self.own = orders[0].replica == self.index
            return super().repeat(orders)

        def tell(self, done, ends, order):
            return done, ends

    assert audit(among_honest(Sends(LIAR)))[LIAR].erratic == (0,)


@pytest.mark.parametrize("answers", [lambda done: None, lambda done: [None] * len(done)])
def test_who_does_not_repeat_its_own_work_when_it_is_asked_is_convicted(answers):
    class Refuses(LiesAtFirst):
        def repeat(self, orders):
            done = super().repeat(orders)
            if orders[0].replica != self.index:
                return done
            return answers(done) or failing(self, 1)

    assert_only(audit(among_honest(Refuses(LIAR))), LIED, (1,))


def test_who_repeats_its_own_lie_is_convicted():
    class LiesAlways(FakeReplica):
        def learn(self, state, gradient):
            return super().learn(state, gradient * (1.0 if self.judging else 2.0))

        judging = False

        def repeat(self, orders):
            self.judging = orders[0].replica != self.index
            return super().repeat(orders)

    assert_only(audit(among_honest(LiesAlways(LIAR))), LIED, (0,))


def test_it_costs_nothing_where_nothing_differs_and_two_repetitions_where_somebody_is_accused():
    replicas = among_honest(LiesAtFirst(LIAR))
    audit(replicas, [LIAR], rate=0.0)
    assert [replica.repetitions for replica in replicas] == [4, 4, 2, 4], "window 0 again, and twice its own"


# A job of which the rehearsal has found that it cannot be repeated


@pytest.mark.parametrize("liar", [LiesAtFirst, Counts, WaversAndLies])
def test_nobody_is_convicted_in_a_job_that_cannot_be_repeated(liar):
    auditor, found = auditor_of(among_honest(liar(LIAR)), repeatable=False)
    outcomes = auditor.audit(1, found, [LIAR], WEIGHTS, torch.Generator().manual_seed(1))
    assert_only(outcomes, UNSETTLED)
    assert (outcomes[LIAR].void, outcomes[LIAR].erratic, outcomes[LIAR].exhibit) == (True, (), {})
    assert "but this job cannot be repeated" in outcomes[LIAR].reason
    assert auditor.notice.startswith("audits cannot convict: the rehearsal has found that the steps of this job")


def test_no_validator_has_lied_in_a_job_that_cannot_be_repeated():
    replicas = [Lies(0), *map(FakeReplica, (1, 2, 3))]
    outcomes = audit(replicas, suspects=[1, 2, 3], repeatable=False)
    assert {outcome.result for outcome in outcomes.values()} == {CLEAN}
    assert [ruling.dissenters for ruling in rulings_of(outcomes, 1, 2, 3)] == [{}] * 9


def test_who_shows_something_else_than_it_committed_to_has_lied_in_any_job():
    class Hides(FakeReplica):
        def open(self, windows):
            return [super().open(windows)[0], None]

    assert_only(audit(among_honest(Hides(LIAR)), repeatable=False), LIED, (1,))


# What is not finite


class Overflows(FakeReplica):
    """The samples of one replica lead to what is not a number, whoever takes its steps."""

    def step(self, states, batch, records, own=None):
        moved = super().step(states, batch, records, own)
        for state in moved if 10 * LIAR <= batch.min() < 10 * LIAR + 10 else ():
            state[0] = torch.nan
        return moved


@pytest.mark.parametrize("kind", ["cpu", "gpu"])
@pytest.mark.parametrize("suspects", [(), (LIAR,), (0, 1, 2, 3)])
def test_honest_steps_that_do_not_stay_finite_convict_nobody(kind, suspects):
    replicas = [Overflows(index, kind if index == LIAR else "cpu") for index in range(4)]
    for replica in replicas:
        replica.eps = 1e-6 * (replica.kind == "gpu")
    outcomes = audit(replicas, suspects)
    assert outcomes[LIAR].result == (CLEAN if kind == "cpu" else UNSETTLED)
    assert {outcomes[index].result for index in (0, 1, 3)} == {CLEAN}


def test_beside_what_is_not_finite_the_stage_that_lies_is_named_alone():
    class Spoilt(FakeReplica):
        """The first stage's weights, and all messages of the step, are no numbers."""

        def step(self, states, batch, records, own=None):
            one, other = super().step(states, batch, records, own)
            if 10 * LIAR <= batch.min() < 10 * LIAR + 10:
                for rows in records:
                    rows[rows != 0] = torch.nan
                one = one * torch.nan
            return [one, other]

    class LiesToo(Spoilt):
        def hand_in(self, stage, update):
            return update * 1.5 if stage == 1 else update

    replicas = [LiesToo(index) if index == LIAR else Spoilt(index) for index in range(4)]
    assert_only(audit(replicas, [LIAR]), LIED, (1,))


def test_one_validators_messages_that_are_no_numbers_move_no_blame():
    class Garbles(FakeReplica):
        def tell(self, done, ends, order):
            return [dataclasses.replace(d, sketches=d.sketches * torch.nan) for d in done], ends

    class Liar(FakeReplica):
        def hand_in(self, stage, update):
            return update * 1.5 if stage == 1 else update

    assert_only(audit([Garbles(0), FakeReplica(1), Liar(LIAR), FakeReplica(3)], [LIAR]), LIED, (1,))
