import math

import pytest
import torch

from tdml.trust.cross_check import agreed, dissenters


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(
    ("reports", "said"),
    [
        ([[1.0, 5.0]], [1.0, 5.0]),
        ([[1.0, 5.0], [3.0, 2.0]], [1.0, 2.0]),  # of two the milder
        ([[0.0, 1.0], [1.0, 9.0], [7.0, 1.0]], [1.0, 1.0]),  # sample by sample
        ([[4.0], [3.0], [2.0], [1.0]], [2.0]),  # of the two in the middle the milder
        ([[4.0], [3.0], [2.0], [1.0], [9.0]], [3.0]),
        ([[math.nan], [3.0], [2.0]], [3.0]),
        ([[math.nan], [3.0]], [3.0]),
        ([[math.nan], [math.nan], [2.0]], [math.inf]),
        ([[math.inf], [math.inf]], [math.inf]),
        ([[-math.inf], [3.0], [2.0]], [2.0]),
        ([[-5.0], [-1.0]], [0.0]),
    ],
)
def test_a_jury_says_the_median(reports, said):
    found = agreed({juror: torch.tensor(report) for juror, report in enumerate(reports)})
    assert found.tolist() == said
    assert found.dtype == torch.float64


@pytest.mark.parametrize("lie", [0.0, 50.0, torch.inf, torch.nan, -torch.inf])
@pytest.mark.parametrize(("honest", "liars"), [(2, 1), (3, 2), (4, 3), (3, 1), (5, 2)])
def test_a_minority_of_liars_changes_nothing_and_shows_up(honest, liars, lie):
    truth = torch.rand(40, generator=seeded()) + 0.5
    reports = dict.fromkeys(range(honest), truth) | {9 - k: torch.full((40,), lie) for k in range(liars)}
    assert torch.equal(agreed(reports), truth.double())
    assert set(dissenters(reports)) == {9 - k for k in range(liars)}


def test_of_two_the_harsher_dissents():
    reports = {4: torch.full((10,), 0.1), 2: torch.full((10,), 1.0)}
    assert dissenters(reports) == (2,)


@pytest.mark.parametrize(("off", "found"), [(0.019, ()), (0.021, (1,))])
def test_other_hardware_is_no_dissent(off, found):
    # Mean differences of probabilities, of either sign: they do not cancel.
    truth = torch.full((10,), 0.6)
    signs = torch.tensor([1.0, -1.0]).repeat(5)
    reports = {0: -truth.log(), 1: -(truth + off * signs).log(), 2: -truth.log()}
    assert dissenters(reports) == found


def test_a_lie_about_a_few_samples_is_no_dissent_but_one_about_many_is():
    truth = torch.full((100,), 0.1)
    few, many = truth.clone(), truth.clone()
    few[:2], many[:3] = 20.0, 20.0
    assert dissenters({0: truth, 1: few, 2: truth}) == ()
    assert dissenters({0: truth, 1: many, 2: truth}) == (1,)


def test_where_all_agree_that_there_is_no_loss_nobody_dissents():
    for value in (math.nan, math.inf, 0.0):
        assert dissenters({juror: torch.full((5,), value) for juror in range(3)}) == ()
    assert dissenters({0: torch.tensor([math.nan]), 1: torch.tensor([math.inf]), 2: torch.tensor([200.0])}) == ()


def test_one_juror_agrees_with_itself():
    assert dissenters({3: torch.tensor([0.5, 2.0])}) == ()


# A lie about the candidate's own samples


@pytest.mark.parametrize("off", [-0.05, 0.05])
@pytest.mark.parametrize("own", [[0, 1, 2, 3], [5, 40, 41, 99]])
def test_the_own_samples_are_looked_at_apart(own, off):
    # A mean difference of 0.002 over all samples, of 0.05 over the own.
    mask = torch.zeros(100, dtype=torch.bool)
    mask[own] = True
    truth = torch.full((100,), 0.6)
    reports = {0: -truth.log(), 4: -(truth + off * mask).log(), 2: -truth.log()}
    assert dissenters(reports) == ()
    assert dissenters(reports, mask) == (4,)
    assert dissenters(reports, mask.roll(10)) == ()


def test_a_lie_about_the_other_samples_is_dissent_whatever_the_own():
    truth = torch.full((100,), 0.1)
    mask = torch.arange(100) < 20
    reports = {0: truth, 1: truth.where(mask, 20.0), 2: truth}
    assert dissenters(reports, mask) == dissenters(reports) == (1,)


@pytest.mark.parametrize(("off", "found"), [(0.019, ()), (0.021, (1,))])
def test_other_hardware_is_no_dissent_about_the_own_samples_either(off, found):
    truth, mask = torch.full((100,), 0.6), torch.arange(100) < 4
    signs = torch.tensor([1.0, -1.0]).repeat(50)
    reports = {0: -truth.log(), 1: -(truth + off * signs * mask).log(), 2: -truth.log()}
    assert dissenters(reports, mask) == found


def test_without_own_samples_all_count_as_before():
    none = torch.zeros(10, dtype=torch.bool)
    assert dissenters({0: torch.ones(10), 1: torch.ones(10)}, none) == ()
    assert dissenters({4: torch.full((10,), 0.1), 2: torch.full((10,), 1.0)}, none) == (2,)


@pytest.mark.parametrize("lie", [torch.nan, torch.inf, -torch.inf])
def test_absurd_reports_on_one_own_sample_of_many_dissent(lie):
    truth, mask = torch.full((100,), 0.5), torch.arange(100) < 4
    assert dissenters({0: truth, 1: truth.index_fill(0, torch.tensor([3]), lie), 2: truth}, mask) == (1,)
