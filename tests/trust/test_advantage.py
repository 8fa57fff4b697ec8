import numpy as np
import pytest
import torch

from tdml.trust.advantage import _EPSILON, _error_of_median, own_advantage
from tdml.trust.exam import Exam
from tests.trust.exams import make_exam, seeded


@pytest.mark.parametrize("alike", [True, False])
@pytest.mark.parametrize("replicas", [2, 3, 4, 8])
def test_who_knows_its_own_samples_better_has_an_advantage(replicas, alike):
    found = own_advantage(make_exam(replicas, gains=0.4), alike, range(replicas))
    assert found.t.min() > 3
    if replicas == 2:  # each is the only measure of the other
        assert found.expected.tolist() == [0.0, 0.0]
    else:
        assert found.expected.min() > 3


@pytest.mark.parametrize(("replicas", "most"), [(3, 4.0), (6, 2.5)])  # of three, its peers' samples tell of two alone
def test_who_did_not_work_has_none_though_it_is_expected_of_it(replicas, most):
    gains = [0.4] * (replicas - 1) + [0.0]
    found = own_advantage(make_exam(replicas, gains=gains), True, range(replicas))
    assert abs(found.t[-1]) < most
    assert found.expected[-1] > max(3, 2 * abs(found.t[-1]))
    assert found.t[:-1].min() > 3


def test_who_worked_on_other_labels_has_a_disadvantage():
    found = own_advantage(make_exam(gains=[0.4, 0.4, 0.4, 0.4, 0.4, -0.4]), True, range(6))
    assert found.t[5] < -3


@pytest.mark.parametrize("alike", [True, False])
@pytest.mark.parametrize(("replicas", "own", "held_out"), [(2, 64, 64), (3, 64, 64), (8, 32, 32)])
def test_without_own_advantages_t_is_about_standard_normal(replicas, own, held_out, alike):
    exams = [make_exam(replicas, own, held_out, seed=seed) for seed in range(160 // replicas)]
    t = torch.cat([own_advantage(exam, alike, range(replicas)).t for exam in exams])
    assert abs(float(t.mean())) < 0.2
    assert 0.85 < float(t.std()) < 1.2


@pytest.mark.parametrize("factor", [0.1, 0.5, 3.0])
def test_who_is_better_or_worse_everywhere_gains_nothing(factor):
    exam = make_exam(gains=[0.3, 0.3, 0.0, 0.3, 0.3, 0.3], level=2.0)
    scaled = exam.after.clone()
    scaled[2] *= factor
    usual = own_advantage(exam, True, range(6))
    found = own_advantage(Exam(exam.before, scaled, exam.labels, exam.owners), True, range(6))
    assert abs(float(found.t[2] - usual.t[2])) < 0.7
    assert abs(float(found.t[2])) < 2


def one_class_better(alike):
    # Candidate 0 has mostly class 0, and is better on class 0, whosever sample it is.
    exam = make_exam(6, classes=4, own=80, held_out=80)
    labels = exam.labels.clone()
    labels[exam.owners == 0] = torch.where(torch.arange(80) % 8 == 0, labels[exam.owners == 0], 0)
    after = exam.after.clone()
    after[0, labels == 0] *= 0.5
    return float(own_advantage(Exam(exam.before, after, labels, exam.owners), alike, range(6)).t[0])


def test_knowing_a_class_is_no_advantage_where_shares_are_alike_but_is_where_they_are_not():
    assert abs(one_class_better(True)) < 2
    assert one_class_better(False) > 4


def test_of_an_easy_share_less_is_expected():
    exam = make_exam(gains=0.4, level=1.0)
    easy = exam.owners == 3
    before, after = exam.before.clone(), exam.after.clone()
    before[easy], after[:, easy] = 0.02 * before[easy], 0.02 * after[:, easy]
    found = own_advantage(Exam(before, after, exam.labels, exam.owners), True, range(6))
    assert found.expected[3] < 0.4 * found.expected[[0, 1, 2, 4, 5]].min()
    skewed = own_advantage(Exam(before, after, exam.labels, exam.owners), False, range(6))
    assert skewed.expected[3] > 0.6 * skewed.expected[0]


def test_what_is_known_already_hardly_counts():
    # Half of candidate 1's own samples are known to all, but less well to it.
    exam = make_exam(gains=0.4, level=1.0, own=100)
    known = (exam.owners == 1) & (torch.arange(len(exam.owners)) % 2 == 0)
    before, after = exam.before.clone(), exam.after.clone()
    before[known], after[:, known] = 0.01, 0.01
    after[1, known] = 0.05
    exam = Exam(before, after, exam.labels, exam.owners)
    gain = torch.log((exam.after[2:].median(dim=0).values + 0.01) / (exam.after[1] + 0.01))
    assert gain[exam.owners == 1].mean() < -0.2
    assert own_advantage(exam, True, range(6)).t[1] > 3


@pytest.mark.parametrize("lie", [torch.nan, torch.inf, -torch.inf, 1e30, -5.0])
def test_absurd_losses_of_one_leave_the_others_as_they_were(lie):
    exam = make_exam(8, gains=0.4)
    after = exam.after.clone()
    after[5] = lie
    usual = own_advantage(exam, True, range(8))
    found = own_advantage(Exam(exam.before, after, exam.labels, exam.owners), True, [0, 1, 2, 3, 4, 6, 7])
    others = [0, 1, 2, 3, 4, 6, 7]
    assert bool(found.t.isfinite().all() and found.expected.isfinite().all())
    assert abs(found.t[others] - usual.t[others]).max() < 1.5
    assert abs(float(found.t[5])) < found.expected[5] / 3


@pytest.mark.parametrize("lie", [torch.nan, torch.inf, 1e30])
def test_a_candidate_without_losses_counts_as_one_of_enormous_losses(lie):
    exam = make_exam(5, gains=0.4)
    lied, large = exam.after.clone(), exam.after.clone()
    lied[1, ::3], large[1, ::3] = lie, 1e4
    found = own_advantage(Exam(exam.before, lied, exam.labels, exam.owners), True, range(5))
    same = own_advantage(Exam(exam.before, large, exam.labels, exam.owners), True, range(5))
    assert torch.equal(found.t, same.t)


def test_the_untrusted_set_no_measure():
    # Two who did not work: were they asked what to expect, less would be expected.
    exam = make_exam(5, gains=[0.5, 0.5, 0.5, 0.0, 0.0])
    sound = own_advantage(exam, True, [0, 1, 2])
    all_alike = own_advantage(exam, True, range(5))
    assert sound.expected[0] > all_alike.expected[0]
    after = exam.after.clone()
    after[3] *= torch.exp(torch.randn(after.shape[1], generator=seeded(1)))
    changed = own_advantage(Exam(exam.before, after, exam.labels, exam.owners), True, [0, 1, 2])
    assert torch.equal(changed.t[[0, 1, 2, 4]], sound.t[[0, 1, 2, 4]])
    assert torch.equal(changed.expected, sound.expected)


def test_nobody_sets_what_is_expected_of_itself():
    exam = make_exam(4, gains=[0.1, 0.1, 0.1, 1.5])
    found = own_advantage(exam, True, range(4))
    assert found.expected[3] < 0.5 * found.t[3]
    assert found.expected[3] == pytest.approx(float(found.t[:3].median()), rel=0.3)


def test_what_is_expected_is_never_negative():
    found = own_advantage(make_exam(gains=-0.5), True, range(6))
    assert found.t.max() < -3
    assert found.expected.tolist() == [0.0] * 6


@pytest.mark.parametrize(("own", "compared"), [(1, False), (3, False), (4, True)])
def test_fewer_than_four_own_samples_tell_nothing(own, compared):
    found = own_advantage(make_exam(5, own=own, gains=1.0, noise=0.1), True, range(5))
    assert bool((found.t != 0).all()) == compared
    assert bool((found.t == 0).all()) != compared


@pytest.mark.parametrize(("controls", "compared"), [(2, False), (3, True)])
def test_a_class_that_fewer_than_three_others_have_is_not_compared(controls, compared):
    exam = make_exam(2, own=10, held_out=20, gains=1.0, classes=1)
    labels = torch.where((exam.owners == 0) | (torch.arange(40) >= 40 - controls), 1, 0)
    found = own_advantage(Exam(exam.before, exam.after, labels, exam.owners), True, range(2))
    assert (float(found.t[0]) != 0) == compared


@pytest.mark.parametrize("replicas", [2, 3, 4])
@pytest.mark.parametrize("alike", [True, False])
def test_without_held_out_samples_few_are_compared_on_those_of_the_others(replicas, alike):
    exam = make_exam(replicas, gains=0.4, held_out=0)
    assert own_advantage(exam, alike, range(replicas)).t.min() > 3


@pytest.mark.parametrize("alike", [True, False])
@pytest.mark.parametrize(("replicas", "trusted"), [(2, 2), (3, 2), (3, 3), (5, 1), (5, 2), (5, 3)])
def test_fewer_than_three_trusted_make_one_expect_nothing_of_anybody(replicas, trusted, alike):
    found = own_advantage(make_exam(replicas, gains=0.5), alike, range(trusted))
    assert found.t[1:].min() > 3  # where one alone is trusted, it has nobody to be compared with
    assert bool((found.expected > 3).all()) == (trusted >= 3)
    assert bool((found.expected == 0).all()) == (trusted < 3)


def test_one_candidate_alone_has_nobody_to_be_compared_with():
    found = own_advantage(make_exam(1, gains=1.0), True, [0])
    assert (found.t.tolist(), found.expected.tolist()) == ([0.0], [0.0])


def test_all_the_same_losses_are_no_advantage():
    exam = make_exam(5)
    found = own_advantage(Exam(exam.before, exam.after[:1].expand(5, -1), exam.labels, exam.owners), True, range(5))
    assert (found.t.tolist(), found.expected.tolist()) == ([0.0] * 5, [0.0] * 5)


@pytest.mark.parametrize("replicas", [3, 4])
def test_of_one_that_could_not_be_compared_nothing_is_expected(replicas):
    # All other samples lack the class that most of candidate 0's samples have.
    exam = make_exam(replicas, own=32, held_out=60, gains=0.6, classes=4)
    labels = exam.labels.clone()
    labels[(exam.owners == 0) & (torch.arange(len(labels)) >= 3)] = 4
    found = own_advantage(Exam(exam.before, exam.after, labels, exam.owners), True, range(replicas))
    assert found.t[0] == 0
    assert found.t[1:].min() > 3
    assert found.expected[0] == 0
    # It is no measure for the others either: of three only two are left, of four each has two peers.
    for i in range(1, replicas):
        peers = [float(found.t[j]) for j in range(1, replicas) if j != i]
        assert found.expected[i] == (0.0 if replicas == 3 else pytest.approx(sum(peers) / 2, rel=0.1))


@pytest.mark.parametrize("alike", [True, False])
def test_those_that_could_not_be_compared_are_no_measure(alike):
    # Two of five have too few own samples.
    exam = make_exam(5, gains=0.6)
    keep = (exam.owners < 3) | (exam.owners.roll(3) != exam.owners)
    exam = Exam(exam.before[keep], exam.after[:, keep], exam.labels[keep], exam.owners[keep])
    found = own_advantage(exam, alike, range(5))
    assert found.t[3:].tolist() == found.expected[3:].tolist() == [0.0, 0.0]
    usual = own_advantage(exam, alike, range(3))
    assert found.expected[:3].min() > 0.7 * usual.expected[:3].min() > 2


@pytest.mark.parametrize("replicas", [2, 3, 5])
@pytest.mark.parametrize("absent", [2, 9])
def test_a_class_that_no_sample_has_changes_nothing(replicas, absent):
    exam = make_exam(replicas, gains=0.5, classes=4)
    labels = torch.where(exam.labels >= absent, exam.labels + 1, exam.labels)
    labels = torch.where(labels == 3, absent + 1, labels) if absent == 9 else labels
    found = own_advantage(Exam(exam.before, exam.after, labels, exam.owners), True, range(replicas))
    usual = own_advantage(exam, True, range(replicas))
    np.testing.assert_allclose(found.t, usual.t, rtol=1e-6)
    assert found.t.min() > 3


# Progress on the own samples


@pytest.mark.parametrize("alike", [True, False])
@pytest.mark.parametrize("own", [3, 4, 64])
def test_who_does_better_on_its_own_samples_than_the_start_has_learnt(alike, own):
    exam = make_exam(15, own, noise=0.05, gains=torch.tensor([0.0, 0.8, 0.0, 0.8, *[0.8] * 11]))
    for row in (0, 1, 2):  # row 3 has worked as well, and yet ends where it began; others' samples do not count
        exam.after[row, exam.owners != row] *= 0.1
    exam.after[3, exam.owners == 3] = exam.before[exam.owners == 3]
    exam.after[[0, 2]] *= torch.where(torch.isin(exam.owners, torch.tensor([0, 2])), 5.0, 1.0)
    found = own_advantage(exam, alike, range(15)).learnt.tolist()
    assert found == ([False, True, False, False] + [True] * 11 if own >= 4 else [True] * 15)


@pytest.mark.parametrize(("replicas", "working", "told"), [(3, 2, True), (3, 1, False), (8, 6, True), (8, 5, False)])
def test_where_fewer_than_two_thirds_have_learnt_nobody_is_told_from_them(replicas, working, told):
    exam = make_exam(replicas, noise=0.05, gains=torch.tensor([0.8] * working + [-2.0] * (replicas - working)))
    expected = [True] * working + [not told] * (replicas - working)
    assert own_advantage(exam, False, range(replicas)).learnt.tolist() == expected


@pytest.mark.parametrize(("mean", "learnt"), [(0.29, False), (0.31, True), (-0.31, False)])
def test_progress_must_lie_three_standard_errors_above_nothing(mean, learnt):
    exam = make_exam(own=100)
    own = exam.owners == 2
    noise = torch.randn(100, generator=seeded(1)).double()
    noise = (noise - noise.mean()) / noise.std()
    exam.after[2, own] = torch.exp(torch.log(exam.before[own] + _EPSILON[False]) - mean - noise) - _EPSILON[False]
    assert bool(own_advantage(exam, False, range(6)).learnt[2]) == learnt


@pytest.mark.parametrize(("peers", "least", "most"), [(1, 0.99, 1.01), (2, 0.8, 1.0), (3, 0.98, 1.03), (7, 0.98, 1.03)])
def test_the_error_of_what_is_expected_is_that_of_a_median(peers, least, most):
    measured = torch.randn(100_000, peers, generator=seeded(1)).quantile(0.5, dim=1).std()
    assert least < float(measured) / _error_of_median(peers) < most


def test_who_has_more_to_learn_than_its_peers_is_expected_no_more_of():
    exam = make_exam(5, gains=0.5)
    known = exam.owners >= 1  # what the others were assigned is nearly known
    easy = Exam(
        torch.where(known, 0.05, exam.before),
        torch.where(known, exam.after * 0.1, exam.after),
        exam.labels,
        exam.owners,
    )
    found = own_advantage(easy, True, range(5))
    assert 0 < found.expected[0] <= found.t[1:].max() + 1e-9
