"""The work test against the draws whose mean and variance it computes."""

import pytest
import torch

from tdml.trust.numbers import FEWEST_SAMPLES, MOST_SAMPLES
from tdml.trust.work import WorkResult, cost, gains, passes_of, samples_that_pay, work_test
from tests.slow import slow_but


def drawn_share(
    gain: torch.Tensor, own: torch.Tensor, strata: torch.Tensor, draws: int = 4000
) -> float:
    """How often a random choice of as many own samples in each stratum gains as much: the test it
    approximates."""
    generator, found, as_much = torch.Generator().manual_seed(0), float(gain[own].sum()), 0
    for _ in range(draws):
        total = 0.0
        for stratum in strata.unique():
            values = gain[strata == stratum]
            count = int(own[strata == stratum].sum())
            total += float(values[torch.randperm(len(values), generator=generator)[:count]].sum())
        as_much += total >= found
    return (as_much + 1) / (draws + 1)


@pytest.mark.parametrize("effect", [0.0, 0.1, 0.3])
@pytest.mark.parametrize("seed", slow_but([0, 1], range(4)))
def test_the_closed_form_is_the_randomisation_test(effect: float, seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    strata = torch.randint(3, (300,), generator=draw)
    own = torch.rand(300, generator=draw) < 0.4
    gain = torch.randn(300, generator=draw, dtype=torch.float64) + strata + effect * own
    assert work_test(gain, own, strata).p == pytest.approx(drawn_share(gain, own, strata), abs=0.02)


def test_under_the_null_it_errs_as_often_as_it_says() -> None:
    draw, seen = torch.Generator().manual_seed(1), 0
    for _ in range(2000):
        gain = torch.randn(256, generator=draw, dtype=torch.float64).exp()
        seen += work_test(gain, torch.arange(256) < 128, torch.zeros(256, dtype=torch.int64)).seen
    assert seen / 2000 < 0.02


def test_work_is_seen_and_what_is_not_finite_says_nothing() -> None:
    gain = torch.randn(400, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    own = torch.arange(400) < 200
    gain[own] += 0.5
    assert work_test(gain, own, torch.zeros(400, dtype=torch.int64)).seen
    gain[::3] = torch.nan
    assert work_test(gain, own, torch.zeros(400, dtype=torch.int64)).seen
    assert work_test(torch.full((10,), torch.inf), own[:10], torch.zeros(10)) == WorkResult(0.5)


def test_strata_that_belong_to_one_alone_say_nothing() -> None:
    own = torch.tensor([True, True, False, False])
    assert work_test(torch.tensor([5.0, 6, 0, 1]), own, torch.tensor([0, 0, 1, 1])).p == 0.5


def test_gains_by_hand() -> None:
    found = gains(torch.tensor([10.0, 1.99]), torch.tensor([1.0, 1.99]))
    assert found.tolist() == pytest.approx([2.302585, 0.0], abs=1e-4)


def test_losses_may_be_below_zero() -> None:
    """As densities' logarithms are, and cosines."""
    draw = torch.Generator().manual_seed(2)
    before = torch.randn(400, generator=draw) - 5
    own = torch.arange(400) < 200
    gain = gains(before, before - 0.1 * torch.randn(400, generator=draw).abs() * own)
    assert gain.isfinite().all()
    assert work_test(gain, own, torch.zeros(400, dtype=torch.int64)).seen


@pytest.mark.parametrize(
    ("passes", "expected"),
    [
        (4 * 8 * FEWEST_SAMPLES - 1, 0),
        (4 * 8 * FEWEST_SAMPLES, FEWEST_SAMPLES),
        (1e9, MOST_SAMPLES),
    ],
)
def test_it_is_made_only_where_it_is_worth_what_it_costs(passes: float, expected: int) -> None:
    assert samples_that_pay([2000] * 8, 2000, passes) == expected
    assert samples_that_pay([1000], 1000, 1e9) == 0, "one alone has no controls"
    assert samples_that_pay([1000] * 8, 100, 1e9) == 0, "there are too few samples"


def test_it_costs_what_is_spent_on_it() -> None:
    """Four passes of a sample, each a third of a step."""
    assert cost(8, 300) == 8 * 300 * 4 / 3
    assert samples_that_pay([2000] * 8, 2000, passes_of(cost(8, 300))) == 300
