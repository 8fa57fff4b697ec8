"""Audits among validators that lie in every way that is open to whoever writes their own worker."""

import dataclasses

import pytest
import torch

from tdml.training.borders import GRADIENT_RECEIVED, GRADIENT_SENT, MEASURES, RECEIVED, SENT, empty, sketch
from tdml.trust.audit import CLEAN, LIED, UNSETTLED
from tdml.trust.blame import Blame
from tdml.trust.commitment import content
from tests.cluster.replicas import (
    EDGES,
    LIAR,
    STAGES,
    WEIGHTS,
    FakeReplica,
    LiesAtFirst,
    among_honest,
    assert_only,
    audit,
    auditor_of,
    batches,
    failing,
)


def garble_sketches(done, ends):
    other = done[0].sketches.clone()
    other[:, :, SENT] += 1
    return [dataclasses.replace(done[0], sketches=other), *done[1:]], ends


def other_ends(change):
    """A report of other ends, with their own digests."""

    def report(done, ends):
        others = [change(end) for end in ends]
        return [dataclasses.replace(d, digest=content(end)) for d, end in zip(done, others, strict=True)], others

    return report


def each(**fields):
    """A report in which some fields of every repetition are others."""
    return lambda done, ends: ([dataclasses.replace(d, **fields) for d in done], ends)


WORDS = {  # repetitions and ends → what a lying validator reports
    "another end": other_ends(lambda end: -end),
    "not a number": other_ends(lambda end: end * torch.nan),
    "ends of another shape": other_ends(lambda end: end[1:]),
    "other sketches": garble_sketches,
    "sketches of another shape": each(sketches=torch.zeros(3)),
    "an end that is not its digest": lambda done, ends: (done, [-end for end in ends]),
    "no digests": each(digest=None),
    "no ends": lambda done, ends: (each(digest="")(done, ends)[0], [None] * len(ends)),
    "nothing": lambda done, ends: ([None] * len(done), ends),
}


def perjurer(index, word, base=FakeReplica):
    class Perjures(base):
        def tell(self, done, ends, order):
            return WORDS[word](done, ends)

    return Perjures(index)


@pytest.mark.parametrize("word", WORDS)
@pytest.mark.parametrize("suspects", [(), (0, 1, 3)])
def test_a_lying_validator_convicts_nobody(word, suspects):
    """Neither alone nor as two of five."""
    for replicas in (
        [perjurer(0, word), *(FakeReplica(i) for i in (1, 2, 3))],
        [perjurer(0, word), perjurer(1, word), *(FakeReplica(i) for i in (2, 3, 4))],
    ):
        outcomes = audit(replicas, suspects)
        assert {outcome.result for outcome in outcomes.values()} == {CLEAN}, outcomes


@pytest.mark.parametrize("word", sorted(set(WORDS) - {"other sketches", "an end that is not its digest"}))
def test_a_lying_validator_is_found(word):
    """But for one who confirms the end: nothing follows from the rest that it says."""
    outcomes = audit([perjurer(0, word), *(FakeReplica(i) for i in (1, 2, 3))], suspects=[1, 2, 3])
    dissenters = [r.dissenters for i, o in outcomes.items() if i for r in o.rulings.values()]
    assert dissenters == [{0: Blame((0, 1))}] * 9


@pytest.mark.parametrize("word", WORDS)
def test_a_lying_validator_acquits_nobody_and_moves_no_blame(word):
    """The first validator, whom the consensus would choose among equals."""
    for stage in range(STAGES):

        class Lies(FakeReplica):
            def hand_in(self, s, update, stage=stage):
                return update * 1.5 if s == stage else update

        replicas = [perjurer(0, word), *(FakeReplica(i) for i in (1, 3)), Lies(LIAR)]
        assert_only(audit(replicas, [LIAR]), LIED, (stage,))


def one_stage(word, stage):
    """What a lying validator reports whose other stage tells the truth."""

    def report(done, ends):
        false, others = WORDS[word](done, ends)
        mix = [pair[s == stage] for s, pair in enumerate(zip(done, false, strict=True))]
        return mix, [pair[s == stage] for s, pair in enumerate(zip(ends, others, strict=True))]

    return report


@pytest.mark.parametrize("word", sorted(set(WORDS) - {"other sketches", "an end that is not its digest"}))
@pytest.mark.parametrize("stage", range(STAGES))
@pytest.mark.parametrize("kind", ["cpu", "gpu"])
def test_of_a_lying_validator_the_stage_is_named_that_lied(word, stage, kind):
    class Perjures(FakeReplica):
        def tell(self, done, ends, order):
            return one_stage(word, stage)(done, ends)

    liar = Perjures(0, kind, eps=1e-6 if kind == "gpu" else 0.0)
    outcomes = audit([liar, *(FakeReplica(i) for i in (1, 2, 3))], suspects=[1, 2, 3])
    dissenters = [r.dissenters for i, o in outcomes.items() if i for r in o.rulings.values()]
    assert dissenters == [{0: Blame((stage,))}] * 9


@pytest.mark.parametrize(("kind", "sender"), [(SENT, 0), (GRADIENT_SENT, 1)])
@pytest.mark.parametrize("denied_by", [None, "sender", "receiver"])
def test_a_validator_that_misleads_its_partner_is_named_or_in_dispute(kind, sender, denied_by):
    """While it repeats the steps of others, it sends something else; then it, or its partner, tells what was right."""
    received = {SENT: RECEIVED, GRADIENT_SENT: GRADIENT_RECEIVED}[kind]

    class Misleads(FakeReplica):
        def repeat(self, orders):
            self.honest = []
            return super().repeat(orders)

        def send(self, sent, value, own):
            if sent != kind or own is not None:
                return value
            self.honest.append(sketch(value))
            return value + 0.5

        def tell(self, done, ends, order):
            place = {None: (sender, kind), "sender": (sender, kind), "receiver": (1 - sender, received)}[denied_by]
            for step, honest in enumerate(self.honest if denied_by else []):
                done[place[0]].sketches[step, 0, place[1], 0] = honest
            return done, ends

    dispute = denied_by == "sender"
    expected = Blame(disputes=((sender, 1 - sender),)) if dispute else Blame((sender,))
    outcomes = audit([Misleads(0), *(FakeReplica(i) for i in (1, 2, 3))], suspects=[1, 2, 3])
    dissenters = [r.dissenters for i, o in outcomes.items() if i for r in o.rulings.values()]
    assert dissenters == [{0: expected}] * 9


def test_equal_sums_do_not_hide_what_misleads_the_partner_of_a_validator():
    class Misleads(FakeReplica):
        def send(self, sent, value, own):
            if sent != SENT or own is not None:
                return value
            return value + 0.5

        def tell(self, done, ends, order):
            for stage, row in ((0, SENT), (1, RECEIVED)):
                done[stage].sketches[:, 0, row, 0, :MEASURES] = truth[stage][:, 0, row, 0, :MEASURES]
            return done, ends

    honest = FakeReplica(9)
    for audited in (1, 2):  # each in its first window, where all start from the global weights
        states = [torch.cat([flat, torch.zeros(5)]) for flat in WEIGHTS]
        truth = [empty(EDGES[1], 1, 1) for _ in range(STAGES)]
        for step in range(EDGES[1]):
            states = honest.step(states, batches(audited)[step], [rows[step, 0] for rows in truth])
        outcomes = audit([Misleads(0), *(FakeReplica(i) for i in (1, 2, 3))], suspects=[audited], rate=0.0)
        assert outcomes[audited].rulings[0].dissenters == {0: Blame((0,))}


def test_a_validator_who_is_gone_is_no_reason_to_convict_or_to_acquit():
    class Gone(FakeReplica):
        def repeat(self, orders):
            return failing(self, 0, dead=True)

    replicas = [Gone(0), FakeReplica(1), LiesAtFirst(LIAR), FakeReplica(3)]
    assert_only(audit(replicas), LIED, (1,))
    assert_only(audit(replicas[:3], [LIAR]), UNSETTLED)


def test_the_word_of_one_clears_but_does_not_convict():
    assert {o.result for o in audit([FakeReplica(0), FakeReplica(1)], [0, 1]).values()} == {CLEAN}
    outcomes = audit([FakeReplica(0), LiesAtFirst(LIAR)])
    assert (outcomes[LIAR].result, outcomes[0].result) == (UNSETTLED, CLEAN)


@pytest.mark.parametrize("stage", range(STAGES))
def test_where_machines_of_one_kind_do_not_repeat_each_other_bit_for_bit_the_liar_alone_is_named(stage):
    class Lies(FakeReplica):
        def hand_in(self, s, update):
            return update * 1.5 if s == stage else update

    replicas = [
        *(FakeReplica(i, eps=1e-5 * i) for i in (0, 1)),
        Lies(2, eps=2e-5),
        *(FakeReplica(i, eps=1e-5 * i) for i in (3, 4)),
    ]
    assert_only(audit(replicas, [2]), LIED, (stage,))


def test_the_exhibit_shows_what_most_validators_found():
    replicas = [perjurer(0, "another end"), FakeReplica(1), LiesAtFirst(2), FakeReplica(3)]
    shown = audit(replicas, [2])[2].exhibit
    honest = FakeReplica(2)
    honest.work()
    assert torch.equal(shown["window0.stage1.repeated"], honest.tapes[1].border(1))
    assert torch.equal(shown["window0.stage1.claimed"], 1.5 * honest.tapes[1].border(1))


def test_whoever_confirmed_a_doubtful_window_or_not_repeats_it_twice():
    """And so does the accused."""
    replicas = [FakeReplica(0), FakeReplica(1), LiesAtFirst(2), FakeReplica(3)]
    audit(replicas)
    assert sum(replica.repetitions for replica in replicas) == 4 * 3 + 2 + 3 + 2


@pytest.mark.parametrize(
    "replicas", [[perjurer(0, "another end"), *map(FakeReplica, (1, 2, 3))], among_honest(LiesAtFirst(LIAR))]
)
def test_no_lie_teaches_how_far_the_honest_are_apart(replicas):
    auditor, found = auditor_of(replicas)
    auditor.audit(1, found, (1, 2, 3), WEIGHTS, torch.Generator().manual_seed(1))
    assert {error for seen in auditor.tolerance.seen.values() for error in seen} == {0.0}
