import math
import re

import numpy as np
import pytest
import torch

from tdml.trust.cross_check import agreed
from tdml.trust.exam import Exam
from tdml.trust.harm import judge_harm


def losses(probabilities):
    return -torch.tensor(probabilities).double().log()


def constant(probability, samples=8):
    return losses([probability] * samples)


def exam(start, after, owners=None):
    owners = torch.full((len(start),), -1) if owners is None else torch.tensor(owners)
    return Exam(start, torch.stack(after), torch.zeros(len(start), dtype=torch.int64), owners)


def loss_change(harm):
    """The one that the reason names, to three digits."""
    return float(re.match(r"held-out loss ([^;]*);", harm.reason)[1])


@pytest.mark.parametrize(
    ("start", "peers", "candidate", "harmful"),
    [
        (0.9, 0.9, 0.35, True),
        (0.9, 0.9, 0.37, False),  # 0.4 of 0.9 is 0.36
        (0.1, 0.9, 0.05, False),  # half of the start's, though far below its peers
        (0.1, 0.9, 0.03, True),
        (0.9, 0.1, 0.05, False),  # the peers are hardly better
        (0.9, 0.1, 0.03, True),
        (0.5, 0.6, 0.9, False),
    ],
)
def test_harm_is_less_than_two_fifths_of_both_the_start_and_the_peers(start, peers, candidate, harmful):
    after = [constant(peers), constant(candidate), constant(peers), constant(peers)]
    found = judge_harm(exam(constant(start), after), trusted=[0, 2, 3])
    assert [harm.harmful for harm in found] == [False, harmful, False, False]
    assert loss_change(found[1]) == pytest.approx(math.log(start / candidate), rel=0.005)


@pytest.mark.parametrize(("repeats", "harmful"), [(1, False), (2, True)])
def test_harm_needs_four_standard_errors(repeats, harmful):
    # Differences to the peers of about 0.9 on five samples of eight: t is 3.4, and 5.0 on twice as many.
    candidate = ([0.9] * 3 + [1e-6] * 5) * repeats
    after = [losses([0.9] * len(candidate)), losses(candidate)]
    assert judge_harm(exam(losses([0.9] * len(candidate)), after), trusted=[0])[1].harmful == harmful


def test_by_plain_loops():
    generator = torch.Generator().manual_seed(5)
    start = torch.rand(60, generator=generator).double()
    scales = torch.tensor([1.0, 1.2, 3.0, 0.8, 9.0, 4.0]).double()
    after = torch.rand(6, 60, generator=generator).double() * scales[:, None]
    owners = [-1 if i % 3 else i % 6 for i in range(60)]
    trusted = [0, 1, 3, 5]
    expected = []
    for i in range(6):
        mine, peers, begin = [], [], []
        for s in range(60):
            if owners[s] < 0:
                mine.append(math.exp(-after[i, s]))
                peers.append(float(np.median([math.exp(-after[j, s]) for j in trusted if j != i])))
                begin.append(math.exp(-start[s]))
        difference = np.array(peers) - np.array(mine)
        t = difference.mean() / (difference.std(ddof=1) / math.sqrt(len(mine)))
        expected.append(bool(np.mean(mine) < 0.4 * min(np.mean(begin), np.mean(peers)) and t > 4))
    found = judge_harm(exam(start, list(after), owners), trusted)
    assert [harm.harmful for harm in found] == expected
    assert 0 < sum(expected) < 6


def test_own_samples_tell_of_no_harm():
    own = [0] * 8 + [1] * 8 + [-1] * 8
    bad = torch.cat([constant(0.01, 16), constant(0.8)])
    found = judge_harm(exam(constant(0.8, 24), [constant(0.8, 24), bad], own), trusted=[0])
    assert not found[1].harmful
    assert loss_change(found[1]) == pytest.approx(0.0)


@pytest.mark.parametrize("lie", [0.0, 50.0, torch.inf, torch.nan, -torch.inf])
@pytest.mark.parametrize("probability", [0.1, 0.8])
def test_one_lying_validator_of_three_changes_nothing(lie, probability):
    honest = constant(probability)
    reports = [{1: honest, 2: honest, 3: said} for said in (honest, torch.full((8,), lie))]
    found = [judge_harm(exam(constant(0.7), [constant(0.8), agreed(said)]), trusted=[0])[1] for said in reports]
    assert found[0] == found[1]
    assert found[0].harmful == (probability == 0.1)


@pytest.mark.parametrize("worst", [torch.nan, torch.inf])
def test_a_model_that_gives_no_loss_is_harmful(worst):
    said = agreed(dict.fromkeys(range(3), torch.full((8,), worst)))
    found = judge_harm(exam(constant(0.5), [constant(0.5), said]), trusted=[0])
    assert [harm.harmful for harm in found] == [False, True]
    assert loss_change(found[1]) == math.inf


def test_one_infinite_loss_makes_the_change_infinite_but_no_harm():
    found = judge_harm(exam(torch.zeros(8), [torch.tensor([torch.inf] + [0.1] * 7), constant(0.9)]), trusted=[1])
    assert loss_change(found[0]) == math.inf
    assert not found[0].harmful


def test_the_untrusted_are_no_measure():
    # Against replica 0 alone 0.1 is bad; against the other suspects it would be usual.
    after = exam(constant(0.9), [constant(0.5), constant(0.1), constant(0.1), constant(0.1)])
    assert judge_harm(after, trusted=[0])[1].harmful
    assert not judge_harm(after, trusted=[0, 1, 2, 3])[1].harmful


def test_nobody_is_its_own_peer():
    # With itself among its peers their median would be 0.6, and the bar 0.24.
    assert judge_harm(exam(constant(0.9), [constant(0.3), constant(0.9)]), trusted=[0, 1])[0].harmful


@pytest.mark.parametrize(("candidate", "harmful"), [(0.3, True), (0.4, False)])
@pytest.mark.parametrize("trusted", [[], [0]])
def test_without_peers_the_start_is_the_measure(candidate, harmful, trusted):
    assert judge_harm(exam(constant(0.9), [constant(candidate)]), trusted)[0].harmful == harmful


def test_all_alike_are_harmless():
    found = judge_harm(exam(constant(0.5), [constant(0.5)] * 3), trusted=[0, 1, 2])
    assert [(harm.harmful, loss_change(harm)) for harm in found] == [(False, 0.0)] * 3


def test_the_reason_has_the_figures():
    reason = judge_harm(exam(constant(0.5), [constant(0.8), constant(0.25)]), trusted=[0])[1].reason
    assert reason == "held-out loss +0.693; probability of the right label 0.25, peers 0.80, before 0.50, 8 samples"


def test_without_held_out_samples_nobody_is_harmful():
    found = judge_harm(exam(constant(0.9), [constant(0.9), constant(0.01)], [0] * 4 + [1] * 4), trusted=[0, 1])
    assert [harm.harmful for harm in found] == [False, False]


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(("samples", "harmful"), [(1, False), (2, False), (7, False), (8, True)])
def test_fewer_than_eight_samples_convict_nobody(samples, harmful):
    after = [constant(0.9, samples), constant(0.01, samples)]
    assert judge_harm(exam(constant(0.9, samples), after), trusted=[0])[1].harmful == harmful


@pytest.mark.parametrize("trusted", [[0], [0, 1]])
def test_what_is_no_number_counts_as_infinity(trusted):
    start, candidate = constant(0.9), constant(0.8)
    start[0], candidate[1:] = torch.nan, torch.nan
    infinite = [losses.nan_to_num(nan=torch.inf) for losses in (start, candidate)]
    found = judge_harm(exam(start, [constant(0.9), candidate]), trusted)
    same = judge_harm(exam(infinite[0], [constant(0.9), infinite[1]]), trusted)
    assert [harm.harmful for harm in found] == [harm.harmful for harm in same] == [False, True]


@pytest.mark.parametrize("held_out", [True, False])
def test_the_change_to_or_from_what_is_no_number_is_infinite(held_out):
    owners = [-1] * 8 + [0] * 8
    wild = constant(0.8, 16)
    wild[0 if held_out else 8] = torch.nan
    usual = constant(0.8, 16)
    worse = loss_change(judge_harm(exam(usual, [usual, wild], owners), trusted=[0])[1])
    better = loss_change(judge_harm(exam(wild, [usual, usual], owners), trusted=[0])[1])
    assert (worse, better) == ((math.inf, -math.inf) if held_out else (0.0, 0.0))
