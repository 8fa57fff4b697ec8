import math

import numpy as np
import pytest
import torch
from scipy.stats import norm

from tdml.trust.advantage import Advantage, own_advantage
from tdml.trust.evidence import (
    CONFIRMATION,
    CONVICTION,
    DOUBT,
    HARM,
    PERJURY,
    SUSPICION,
    bears_out,
    influence,
    tells,
    weigh,
)
from tdml.trust.exam import Exam


def advantage(t, expected, learnt=False, error=0.0, missing=0.5):
    t, expected = torch.broadcast_tensors(*(torch.as_tensor(x, dtype=torch.float64) for x in (t, expected)))
    return Advantage(t, expected, torch.full(t.shape, learnt), torch.full(t.shape, missing).double(), error)


def nats(t, expected, alike=True, learnt=False, error=0.0):
    return weigh(advantage(t, expected, learnt, error), alike)


GRID = [
    (t, mean) for t in (-40.0, -2.0, -0.3, 0.0, 0.7, 2.1, 4.0, 6.5) for mean in (0.1, 0.5, 1.0, 2.0, 3.5, 6.0, 12.0)
]
CAP = CONVICTION / 2


@pytest.mark.parametrize("alike", [True, False])
def test_nats_are_logarithms_of_likelihood_ratios(alike):
    # Alike: a quarter of the work against all of it. Skewed: two means 0.3 μ apart, halfway at −0.1 μ.
    t, mean = np.array(GRID).T
    sigma = np.sqrt(1 + (mean / 4) ** 2)
    idle, busy = (mean / 4, mean) if alike else (-0.25 * mean, 0.05 * mean)
    ratio = norm.logpdf(t, idle, sigma) - norm.logpdf(t, busy, sigma)
    assert np.abs(ratio).max() > CAP > np.abs(ratio).min()
    np.testing.assert_allclose(nats(t, mean, alike), ratio.clip(-CAP, CAP), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("alike", [True, False])
def test_no_round_convicts_by_itself(alike):
    assert nats([-1e6, 1e6], 10.0, alike).tolist() == [CAP, -CAP]
    assert CAP < CONVICTION


@pytest.mark.parametrize("alike", [True, False])
@pytest.mark.parametrize("mean", [0.5, 3.0, 20.0])
def test_the_larger_the_advantage_the_less_there_is_against_one(alike, mean):
    found = nats(torch.linspace(-4, 4, 81) * mean, mean, alike)
    assert bool((found.diff() <= 0).all())
    inside = found[found.abs() < CAP]
    assert len(inside) > 3
    assert bool((inside.diff() < 0).all())


@pytest.mark.parametrize("alike", [True, False])
def test_where_nothing_is_expected_nothing_is_against_anyone(alike):
    assert nats([-5.0, 0.0, 5.0], 0.0, alike).abs().tolist() == [0.0, 0.0, 0.0]


@pytest.mark.parametrize("mean", [0.5, 3.0, 10.0])
def test_alike_no_advantage_counts_against_one_and_the_expected_one_for_one(mean):
    assert nats([0.0, mean / 4], mean).min() > 0
    assert nats(mean, mean) < 0
    assert nats(0.625 * mean, mean) == pytest.approx(0.0, abs=1e-12)


@pytest.mark.parametrize("mean", [0.5, 3.0, 10.0])
def test_skewed_only_a_disadvantage_counts_against_one(mean):
    assert nats([0.0, mean / 4, mean], mean, alike=False).max() < 0
    assert nats(-0.1 * mean, mean, alike=False) == pytest.approx(0.0, abs=1e-12)
    assert nats(-0.2 * mean, mean, alike=False) > 0


def test_skewed_the_same_t_weighs_less():
    assert abs(nats(-2.0, 4.0, alike=False)) < abs(nats(-2.0, 4.0))


def test_skewed_nothing_counts_against_one_who_has_made_progress_on_its_own_samples():
    t = [-9.0, -1.0, 0.0, 5.0]
    assert nats(t, 4.0, alike=False, learnt=True).tolist() == nats(t, 4.0, alike=False).clamp(max=0).tolist()
    assert nats(t, 4.0, learnt=True).tolist() == nats(t, 4.0).tolist()


@pytest.mark.parametrize("mean", [0.0, 0.3, 1.9, 2.1, 2.5, 6.0, 20.0])
def test_what_bears_out_the_screen(mean):
    t = torch.linspace(-3 * mean - 1, 3 * mean + 1, 201).double()
    idle = nats(t, mean) >= (CONFIRMATION if mean >= 2 else DOUBT)
    assert bears_out(advantage(t, mean), True).tolist() == idle.tolist()
    assert bears_out(advantage(t, mean), False).tolist() == (idle & (t < mean / 4) & (mean >= 2)).tolist()
    assert not bears_out(advantage(t, mean, learnt=True), False).any()
    assert bears_out(advantage(t, mean, learnt=True), True).tolist() == idle.tolist()
    assert bool(idle.any()) == (mean > 1)  # of one that nobody expected anything of, nothing is borne out


@pytest.mark.parametrize(
    ("mean", "missing", "told"), [(1.99, 0.5, False), (2.0, 0.5, True), (6.0, 0.11, True), (6.0, 0.09, False)]
)
def test_where_a_round_tells_little_it_takes_more_to_bear_out_the_screen(mean, missing, told):
    t = torch.linspace(-9, 9, 401).double()
    found, weighed = advantage(t, mean, missing=missing), nats(t, mean)
    assert tells(found).tolist() == [told] * 401
    assert bears_out(found, True).tolist() == (weighed >= (CONFIRMATION if told else DOUBT)).tolist()
    assert bears_out(found, False).any() == told


def rounds_to_conviction(t, expected):
    """For each of (runs, rounds) the round in which the sum convicts, or one more than there are."""
    weighed = nats(t, expected)
    total = torch.zeros(len(t)).double()
    convicted = torch.full((len(t),), t.shape[1] + 1)
    for i in range(t.shape[1]):
        total = (total + weighed[:, i]).clamp(min=0)
        convicted = torch.where((total >= CONVICTION) & (convicted > t.shape[1]), i + 1, convicted)
    return convicted


def normal(mean, runs, rounds):
    return mean + torch.randn(runs, rounds, generator=torch.Generator().manual_seed(1)).double()


def test_the_honest_are_hardly_ever_convicted():
    assert float((rounds_to_conviction(normal(3.5, 2000, 50), 3.5) <= 50).double().mean()) < 0.005


@pytest.mark.parametrize(("expected", "rounds"), [(3.5, 4), (6.0, 4), (2.0, 12)])
def test_who_does_not_work_is_convicted_soon(expected, rounds):
    found = rounds_to_conviction(normal(0.0, 500, 50), expected)
    assert float(found.double().median()) <= rounds
    assert int(found.min()) >= 2
    assert float((found <= 50).double().mean()) > 0.99


def test_who_does_a_quarter_of_the_work_is_convicted_too():
    assert float((rounds_to_conviction(normal(1.0, 500, 50), 4.0) <= 20).double().mean()) > 0.95


def test_steps_of_doubt():
    assert 0 < DOUBT < CONVICTION
    assert SUSPICION == PERJURY == CONVICTION / 2
    assert 2 * HARM < CONVICTION <= 3 * HARM + 1e-9
    assert CONFIRMATION == CONVICTION / 10


@pytest.mark.parametrize(
    ("evidence", "weight"),
    [
        (-3.0, 1.0),
        (0.0, 1.0),
        (DOUBT, 1.0),
        ((DOUBT + CONVICTION) / 2, 0.5),
        (CONVICTION - (CONVICTION - DOUBT) / 4, 0.25),
        (CONVICTION, 0.0),
        (CONVICTION + 5, 0.0),
    ],
)
def test_influence_falls_from_doubt_to_conviction(evidence, weight):
    assert influence(evidence) == pytest.approx(weight)


# Where nothing is left to learn


@pytest.mark.parametrize("mean", [0.3, 2.0, 6.0])
def test_what_is_allowed_for_is_little_where_much_is_expected(mean):
    t = torch.linspace(-mean, mean, 21).double()
    less = nats(t, mean) - nats(t, mean, error=0.4)
    inside = (nats(t, mean).abs() < CAP) & (nats(t, mean, error=0.4).abs() < CAP)
    expected = math.log((1 - 1.5 * 0.4**2) ** -0.5) / (1 + (mean / 4) ** 2)
    assert torch.allclose(less[inside], torch.tensor(expected).double())
    assert nats(t, mean, alike=False, error=0.4).tolist() == nats(t, mean, alike=False).tolist()
    assert nats(t, 0.0, error=0.4).abs().max() == 0


@pytest.mark.parametrize("error", [0.3, 0.47, 0.6])
def test_by_chance_alone_a_round_is_no_likelier_to_speak_against_than_for_the_honest(error):
    generator = torch.Generator().manual_seed(0)
    mean = error * torch.randn(200_000, generator=generator).double().abs()
    t = torch.randn(200_000, generator=generator).double()
    ratio = float(nats(t, mean, error=error).exp().mean())
    without = float(nats(t, mean).exp().mean())
    assert 0.9 < ratio < 1.01 < without


def exam_of_nothing(replicas, generator, gain):
    """Losses by chance alone, but for the candidates' `gain` on their own samples, in standard deviations."""
    owners = torch.arange(replicas).repeat_interleave(16)
    logs = torch.randn(replicas, len(owners), generator=generator).double()
    logs[owners, torch.arange(len(owners))] -= gain
    return Exam(torch.full((len(owners),), 2.0).double(), torch.exp(0.1 * logs), torch.zeros_like(owners), owners)


@pytest.mark.parametrize("gain", [0.0, 0.1, 0.3])
@pytest.mark.parametrize("replicas", [3, 4, 8])
def test_in_a_long_run_in_which_little_is_learnt_nobody_is_convicted(replicas, gain):
    generator = torch.Generator().manual_seed(replicas)
    total, doubted = torch.zeros(replicas).double(), 0
    for _ in range(300):
        found = own_advantage(exam_of_nothing(replicas, generator, gain), True, range(replicas))
        total = (total + weigh(found, True)).clamp(min=0)
        assert float(total.max()) < CONVICTION
        doubted += int((total >= DOUBT).sum())
    assert doubted <= 0.02 * 300 * replicas
