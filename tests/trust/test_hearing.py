import math

import pytest
import torch

from tdml.trust.cross_check import plan_checks
from tdml.trust.hearing import hear, hold_hearing
from tdml.trust.ranking import Moments
from tdml.trust.screen import Screening
from tdml.trust.verdict import HONEST, Verdict, decide

OWN, HELD_OUT = 32, 64


class Court:
    """Eight replicas, of whom the liars did no work; what they say of a candidate is what `lie` makes of the truth."""

    def __init__(self, liars=(), lie=None, replicas=8, silent=(), idle=None, gain=1.0):
        generator = torch.Generator().manual_seed(1)
        self.replicas, self.liars, self.lie, self.silent = replicas, set(liars), lie, set(silent)
        self.owners = torch.cat([torch.arange(replicas).repeat_interleave(OWN), torch.full((HELD_OUT,), -1)])
        self.labels = torch.arange(len(self.owners)) % 4
        hardness = 0.3 * torch.randn(len(self.owners), generator=generator)
        logs = math.log(0.3) + hardness + 0.1 * torch.randn(replicas, len(self.owners), generator=generator)
        for i in set(range(replicas)) - (self.liars if idle is None else set(idle)):
            logs[i, self.owners == i] -= gain
        self.truth = {None: 0.5 * torch.exp(hardness)} | dict(enumerate(torch.exp(logs)))
        self.asked = []

    def says(self, juror, candidate):
        truth = self.truth[candidate]
        if juror not in self.liars or self.lie is None:
            return truth
        return self.lie(truth, candidate, self.owners == (-1 if candidate is None else candidate), self.liars)

    def ask(self, juries):
        self.asked.append(dict(juries))
        return {c: {i: self.says(i, c) for i in jury if i not in self.silent} for c, jury in juries.items()}

    def judge(self, hearing):
        nothing = Screening((), (), Moments(torch.zeros(self.replicas), torch.zeros(self.replicas)), {})
        return decide(hearing, nothing, [nothing], [0.0] * self.replicas, True)

    def hold(self, juries, suspects=(), judge=None):
        self.asked = []
        return hold_hearing(
            juries, self.replicas, self.labels, self.owners, suspects, self.ask, judge or self.judge
        )  # fmt: skip


def drawn(seed, replicas=8, jurors=3):
    generator = torch.Generator().manual_seed(seed)
    plan = plan_checks(range(replicas), (), jurors, OWN, HELD_OUT, 1e9, generator)
    return plan.juries | {None: plan.start}


def praise(truth, candidate, own, liars):
    """Of each other: that they know their samples. Of the start: that it was so bad that nobody did harm."""
    if candidate is None:
        return torch.full_like(truth, 50.0)
    return torch.where(own, 0.01, truth) if candidate in liars else truth


def damn(truth, candidate, own, liars):
    """Of the honest: that they do not know their samples."""
    return torch.where(own, 20 * truth, truth) if candidate is not None and candidate not in liars else truth


def destroy(truth, candidate, own, liars):
    """Of the honest: that their models give no number at all."""
    return torch.full_like(truth, torch.nan) if candidate is not None and candidate not in liars else truth


def same_exam(one, other):
    return one.candidates == other.candidates and all(
        torch.equal(getattr(one.exam, field), getattr(other.exam, field))
        for field in ("before", "after", "labels", "owners")
    )


def three_of_eight(seed):
    return sorted(torch.randperm(8, generator=torch.Generator().manual_seed(100 + seed))[:3].tolist())


def honest_one(jury, liars):
    """The same jury, but that its first seat is an honest one's if all are liars'."""
    return jury if set(jury) - set(liars) else (*jury[1:], next(i for i in range(8) if i not in liars))


@pytest.mark.parametrize("lie", [praise, damn, destroy])
@pytest.mark.parametrize("seed", range(5))
def test_a_minority_of_liars_changes_nothing_and_is_named(lie, seed):
    liars = three_of_eight(seed)
    juries = drawn(seed)
    juries[None] = honest_one(juries[None], liars)  # see the tests of what a whole jury can do
    juries |= {c: honest_one(juries[c], {*liars, c}) for c in range(8)}
    honest, lying = Court(liars), Court(liars, lie)
    expected, found = honest.hold(juries), lying.hold(juries)
    assert same_exam(found, expected)
    told = {c: {i for asked in lying.asked for i in asked.get(c, ())} for c in range(8)}
    lies = {
        i: [c for c in told if i in told[c] and not torch.equal(lying.says(i, c), honest.says(i, c))] for i in liars
    }
    assert found.perjurers == {
        i: f"its judgement of {len(cs)} candidate{'s' if len(cs) > 1 else ''} contradicts all others'"
        for i, cs in lies.items()
        if cs
    }
    assert expected.perjurers == {}


@pytest.mark.parametrize("lie", [damn, destroy])
def test_a_jury_of_liars_alone_condemns_nobody(lie):
    juries = {c: (0, 1, 2) if c > 2 else (3, 4, 5) for c in range(8)} | {0: (5, 6, 7), None: (0, 1, 5)}
    court = Court((5, 6, 7), lie)
    found = court.hold(juries)
    assert court.asked[1][0] == (1, 2, 3, 4)
    assert same_exam(found, Court((5, 6, 7)).hold(juries))
    assert sorted(found.perjurers) == [5, 6, 7]


def test_two_liars_in_a_jury_of_three_cover_nobody():
    juries = drawn(0) | {7: (4, 5, 6), None: (0, 1, 2)}
    court = Court((5, 6, 7), praise)
    found = court.hold(juries)
    assert court.asked[1][7] == (0, 1, 2, 3)
    assert same_exam(found, Court((5, 6, 7)).hold(juries))
    assert court.judge(found)[7].against > 2


@pytest.mark.parametrize(("liars", "jury"), [((5,), (0, 1, 5)), ((5, 6), (0, 5, 6))])
def test_a_divided_jury_on_the_start_is_enlarged(liars, jury):
    court = Court(liars, praise, idle=())
    found = court.hold({c: (0, 1, 2) if c > 2 else (3, 4, 7) for c in range(8)} | {None: jury})
    assert court.asked[1] == {None: tuple(i for i in range(8) if i not in jury)}
    assert torch.equal(found.exam.before, court.truth[None].double())
    assert found.perjurers == {}  # of what they say of the start


@pytest.mark.parametrize("jurors", [1, 2, 3, 7])
@pytest.mark.parametrize("seed", range(2))
def test_where_all_worked_and_tell_the_truth_nobody_is_asked_twice(seed, jurors):
    court, juries = Court(), drawn(seed, jurors=jurors)
    found = court.hold(juries)
    assert court.asked == [juries]
    assert found.candidates == tuple(range(8))
    assert found.perjurers == {}
    assert torch.equal(found.exam.after, torch.stack([court.truth[i] for i in range(8)]).double())


def test_all_others_are_asked_about_the_unsettled_and_only_about_them():
    # Candidate 2 did not work; on candidate 4 its jury differs, for juror 5 lies: so that one is suspicious itself.
    juries = drawn(1) | {4: (0, 1, 5), None: (0, 1, 2)}
    court = Court((5,), lambda truth, c, own, _: 9 * truth if c == 4 else truth, idle=[2])
    found = court.hold(juries)
    assert len(court.asked) == 2
    assert court.asked[1] == {
        2: tuple(i for i in range(8) if i != 2 and i not in juries[2]),
        4: (2, 3, 6, 7),
        5: tuple(i for i in range(8) if i != 5 and i not in juries[5]),
    }
    assert found.perjurers == {5: "its judgement of 1 candidate contradicts all others'"}


@pytest.mark.parametrize(
    ("verdict", "asked"),
    [
        (Verdict(HONEST), False), (Verdict(HONEST, against=1.9), False), (Verdict(HONEST, against=2.1), True),
        (Verdict("suspicious"), True), (Verdict("malicious", against=-5.0), True),
    ],
)  # fmt: skip
def test_who_the_verdict_is_not_clearly_for_is_heard_by_all(verdict, asked):
    court, juries = Court(), {1: (2, 3, 4), 2: (3, 4, 5), None: (0, 1, 2)}
    verdicts = [Verdict(HONEST)] * 8
    verdicts[2] = verdict
    court.hold(juries, judge=lambda hearing: verdicts)
    assert court.asked[1:] == ([{2: (0, 1, 6, 7)}] if asked else [])


@pytest.mark.parametrize("replicas", [2, 3, 4])
def test_where_there_is_nobody_else_nobody_is_asked(replicas):
    juries = {c: tuple(i for i in range(replicas) if i != c) for c in range(replicas)} | {None: tuple(range(replicas))}
    court = Court(replicas=replicas)
    court.hold(juries, judge=lambda hearing: [Verdict("suspicious")] * replicas)
    assert len(court.asked) == 1


# What a minority cannot do, and what a whole jury can


def test_a_jury_of_liars_is_overruled_though_others_looked_no_better_at_first():
    # At first nothing is expected of anyone: three did not work, three are slandered. Two of these have a juror that
    # objects; once they are cleared, the word of the third jury is against its candidate.
    juries = {c: (0, 1, 2) if c > 2 else (4, 5, 6) for c in range(8)} | {0: (5, 6, 7), None: (0, 1, 2)}
    court = Court((5, 6, 7), damn)
    found = court.hold(juries)
    assert 0 not in court.asked[1]
    assert court.asked[2][0] == (1, 2, 3, 4)
    assert sorted(found.perjurers) == [5, 6, 7]
    assert torch.equal(found.exam.after[0], court.truth[0].double())
    assert court.judge(Court((5, 6, 7)).hold(juries))[0].against < 0
    assert court.judge(found)[0].against < 0


def embellish(candidate):
    """Of one candidate: that it knows its samples, by so little that the mean over all samples hardly shows it."""
    return lambda truth, c, own, _: torch.where(own, truth * math.exp(-1), truth) if c == candidate else truth


@pytest.mark.parametrize("jury", [(4, 5, 6), (0, 1, 5), (5, 6), (0, 5)])
def test_a_lie_about_the_own_samples_alone_has_all_others_asked(jury):
    juries = {c: (0, 1, 2) if c > 2 else (3, 4, 5) for c in range(8)} | {7: jury, None: (0, 1, 2)}
    court, honest = Court((5, 6, 7), embellish(7)), Court((5, 6, 7))
    found, expected = court.hold(juries), honest.hold(juries)
    covered = jury == (5, 6)  # nobody was there to object
    assert (7 in (court.asked[1] if len(court.asked) > 1 else ())) != covered
    if not covered:
        assert court.asked[1][7] == tuple(i for i in range(7) if i not in jury)
        assert same_exam(found, expected)
        assert court.judge(found)[7].against > 2
        assert found.perjurers == dict.fromkeys((5, 6), "its judgement of 1 candidate contradicts all others'")


def test_a_whole_jury_of_liars_on_the_start_is_believed_for_a_round():
    # Of one mind it is asked no further. What it says of the start harms nobody who has worked.
    juries = {c: (0, 1, 2) if c > 2 else (3, 4, 0) for c in range(8)} | {0: (1, 2, 3), None: (5, 6, 7)}
    court = Court((5, 6, 7), praise)
    found = court.hold(juries)
    assert all(None not in asked for asked in court.asked[1:])
    assert found.exam.before.tolist() == [50.0] * len(court.owners)
    assert all(court.judge(found)[row].status == HONEST for row in range(5))


def test_one_honest_juror_on_the_start_is_enough():
    juries = {c: (0, 1, 2) if c > 2 else (3, 4, 0) for c in range(8)} | {0: (1, 2, 3), None: (4, 6, 7)}
    court = Court((5, 6, 7), praise)
    assert same_exam(court.hold(juries), Court((5, 6, 7)).hold(juries))
    assert court.asked[1][None] == (0, 1, 2, 3, 5)


def test_the_hearing_ends_when_nothing_new_is_unsettled():
    # The verdicts turn against one after the other, at last against those who were heard by all.
    court, judged = Court(), []

    def judge(hearing):
        judged.append(hearing)
        return [Verdict("suspicious" if row < len(judged) else HONEST) for row in range(8)]

    court.hold(dict.fromkeys(range(3), (6, 7)) | {None: (0, 1)}, judge=judge)
    assert court.asked[1:] == [{0: (1, 2, 3, 4, 5)}, {1: (0, 2, 3, 4, 5)}, {2: (0, 1, 3, 4, 5)}]
    assert len(judged) == 4


# Missing testimony


def test_who_is_silent_is_left_out_and_asked_again():
    juries = drawn(2) | {None: (0, 1, 5), 2: (3, 5, 6)}
    court = Court((7,), silent=[5], idle=[2])
    found = court.hold(juries)
    assert found.candidates == tuple(range(8))
    assert court.asked[1][2] == (0, 1, 4, 5, 7)
    assert {i for jury in court.asked[-1].values() for i in jury} == {5}  # in vain, and that ends it
    assert same_exam(found, Court((7,), idle=[2]).hold(juries))


def test_of_whom_nobody_testifies_is_no_candidate():
    juries = drawn(3) | {1: (5, 6), 4: (5,), None: (0, 1, 5)}
    court = Court(silent=[5, 6])
    found = court.hold({**juries, 0: (1, 2, 3), 2: (0, 1, 3), 3: (0, 1, 2), 5: (0,), 6: (0,), 7: (0,)})
    assert found.candidates == (0, 2, 3, 5, 6, 7)
    assert len(found.exam.after) == 6
    assert torch.equal(found.exam.owners == 6, (court.owners == 1) | (court.owners == 4))  # nobody's among the rows
    assert len(court.asked) == 1


def test_the_second_time_nobody_answers():
    court, juries = Court((2,)), drawn(4)

    def once(juries):
        return Court.ask(court, juries) if not court.asked else {}

    found = hold_hearing(juries, 8, court.labels, court.owners, (), once, court.judge)
    assert same_exam(found, hear(Court((2,)).ask(juries), court.labels, court.owners, ()))


@pytest.mark.parametrize("silent", [range(8), (0, 1, 2), (3, 4, 5, 6, 7)])
def test_without_testimony_there_is_no_hearing(silent):
    # Of all, on the start, on all candidates.
    court = Court(silent=silent)
    judged = []
    juries = {c: (3, 4, 5) if c < 3 else (6, 7) if c < 6 else (3, 4) for c in range(8)} | {None: (0, 1, 2)}
    assert court.hold(juries, judge=judged.append) is None
    assert judged == []
    assert len(court.asked) == 1


def test_no_answer_at_all():
    assert hold_hearing({0: (1,), None: (1,)}, 2, torch.zeros(1), torch.zeros(1), (), lambda _: {}, len) is None
