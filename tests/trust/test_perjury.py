"""Whose lie it was in a cross-check, from made-up records: of three stages, in an evaluation of two batches."""

import pytest
import torch

from tdml.training.borders import GRADIENT_RECEIVED, RECEIVED, SENT, empty
from tdml.trust.audit import LARGEST
from tdml.trust.blame import Blame
from tdml.trust.exam import Exam, Hearing
from tdml.trust.perjury import Record, name_liars

STAGES, LIAR = 3, 4
NOTHING = torch.zeros(0)


def truth(candidate):
    """What honest stages see while they evaluate a candidate."""
    generator = torch.Generator().manual_seed(candidate)
    rows = [empty(2, 1, 2).zero_() for _ in range(STAGES)]
    for stage in range(STAGES - 1):
        message = torch.randn(2, 2, 12, generator=generator, dtype=torch.float64)
        message[..., 0] = 2.0
        rows[stage][:, 0, SENT] = rows[stage + 1][:, 0, RECEIVED] = message
    return rows


def record(candidate, *changes, kind="cpu", size=1.0, measured=True):
    """Of an evaluation in which some stages tell of other messages, in the second batch: (stage, which)."""
    rows = truth(candidate)
    for stage, which in changes:
        rows[stage][1, 0, which, 0, 3] += size
    return Record(tuple(rows), kind, measured)


def named(*lies, honest=3, kind="cpu", others=record):
    """Whom the liar's records name, one for each candidate, 0 and so on."""
    rows = range(len(lies))
    records = {
        c: {v: others(c) for v in range(10, 10 + honest)} | {LIAR: lie} for c, lie in zip(rows, lies, strict=True)
    }
    judges = {candidate: (LIAR, *range(10, 10 + honest)) for candidate in rows}
    exam = Exam(NOTHING, NOTHING, NOTHING, NOTHING)
    hearing = Hearing(tuple(rows), exam, {LIAR: "contradicts"}, judges, {LIAR: tuple(rows)})
    return name_liars(hearing, records)[LIAR]


def test_where_all_messages_are_confirmed_the_last_stage_lied():
    assert named(record(0)) == named(record(0), record(1)) == Blame((2,))


@pytest.mark.parametrize("stage", [0, 1])
def test_the_first_that_sends_something_else_is_named(stage):
    misled = [(s, which) for s in range(stage, 2) for s, which in ((s, SENT), (s + 1, RECEIVED))]
    assert named(record(0, *misled)) == Blame((stage,))


@pytest.mark.parametrize("stage", [1, 2])
def test_where_neighbours_contradict_each_other_they_are_in_dispute(stage):
    assert named(record(0, (stage, RECEIVED))) == Blame(disputes=((stage - 1, stage),))


def test_a_gradient_that_cannot_be_is_a_contradiction():
    assert named(record(0, (0, GRADIENT_RECEIVED))) == Blame(disputes=((1, 0),))


def test_lies_about_several_candidates_add_up():
    assert named(record(0), record(1, (0, SENT))) == Blame((0, 2))
    assert named(record(0), record(1, (1, RECEIVED))) == Blame((2,), ((0, 1),))


def test_whose_records_do_not_fit_is_named():
    rows = truth(0)
    assert named(Record((rows[0], None, rows[2]), "cpu", True)) == Blame((1,))


def test_a_minority_with_false_records_moves_no_blame():
    def others(candidate, seen=[]):  # noqa: B006 - counts its calls
        seen.append(candidate)
        return record(candidate, (0, SENT)) if len(seen) == 1 else record(candidate)

    assert named(record(0), others=others) == Blame((2,))


def test_without_anybody_elses_records_nobody_is_named():
    assert named(record(0), honest=2, others=lambda candidate: Record((None,) * STAGES, "cpu", True)) == Blame()


def test_who_lies_about_the_same_candidate_is_no_measure():
    records = {0: {LIAR: record(0), 5: record(0, (0, SENT)), 10: record(0), 11: record(0), 12: record(0)}}
    exam = Exam(NOTHING, NOTHING, NOTHING, NOTHING)
    told = {LIAR: "contradicts", 5: "contradicts"}
    hearing = Hearing((0,), exam, told, {0: (LIAR, 5, 10, 11, 12)}, dict.fromkeys(told, (0,)))
    assert name_liars(hearing, records) == {LIAR: Blame((2,)), 5: Blame((0,))}


@pytest.mark.parametrize("kinds", [("gpu", "cpu"), ("cpu", "gpu")])
def test_machines_of_different_kinds_may_differ_a_little(kinds):
    """Where all are of one kind the least difference counts, the digest's too."""

    def lie(size):
        return record(0, (0, SENT), (1, RECEIVED), kind=kinds[0], size=size)

    def others(candidate):
        return record(candidate, kind=kinds[1])

    assert named(lie(2 * LARGEST * 0.9), others=others) == Blame((2,))
    assert named(lie(2 * LARGEST * 1.1), others=others) == Blame((0,))
    digest = record(0, kind="cpu")
    digest.sketches[0][0, 0, SENT, 0, 11] += 1
    assert named(digest) == Blame((0,))


def test_where_the_honest_differ_among_themselves_little_differences_count_for_nothing():
    """A machine whose kernels do not repeat themselves is no reason to blame its first stage."""
    sizes = iter([1e-9, 2e-9, 3e-9])

    def others(candidate):
        return record(candidate, (0, SENT), (1, RECEIVED), size=next(sizes))

    assert named(record(0), others=others) == Blame((2,))


def test_digests_alone_name_nobody_where_the_honest_differ_among_themselves():
    sizes = iter([1e-9, 2e-9, 3e-9])

    def others(candidate):
        return record(candidate, (0, SENT), (1, RECEIVED), size=next(sizes), measured=False)

    assert named(record(0, (0, SENT), measured=False), others=others) == Blame()
    assert named(record(0, (0, SENT), measured=False)) == Blame((0,))
    assert named(record(0, kind="gpu", measured=False)) == Blame()
