"""Audits among replicas that lie in every way that is open to whoever writes their own worker."""

import dataclasses

import pytest
import torch

from tdml.cluster.messages import Commitment
from tdml.training.borders import GRADIENT_RECEIVED, GRADIENT_SENT, MEASURES, NOT_TAKEN, RECEIVED, SENT, empty, sketch
from tdml.training.tape import Opening
from tdml.trust.audit import CLEAN, DIFFERENT, LARGEST, LIED, UNSETTLED
from tdml.trust.blame import Blame
from tdml.trust.commitment import content
from tests.cluster.replicas import EDGES, STAGES, WEIGHTS, WINDOWS, FakeReplica, audit, auditor_of, batches, failing

LIAR = 2


def among_honest(liar, count=4):
    return [liar if index == LIAR else FakeReplica(index) for index in range(count)]


def assert_only(outcomes, result, blamed=()):
    """The liar's outcome, and that all others' are clean."""
    assert (outcomes[LIAR].result, outcomes[LIAR].blamed) == (result, blamed), outcomes[LIAR]
    assert {outcome.result for index, outcome in outcomes.items() if index != LIAR} == {CLEAN}


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


# What cannot be shown


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


class LiesAtFirst(FakeReplica):
    """A lie in the first window's end, at stage 1."""

    def at_border(self, stage, step, state):
        return state * 1.5 if (stage, step) == (1, EDGES[1]) else state


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


# Lies of validators


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
        states = [torch.cat([flat, torch.zeros(4)]) for flat in WEIGHTS]
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
