import math

import pytest
import torch

from tdml.trust.cross_check import judge_losses, plan_checks


def plan(replicas=(0, 1, 2, 3), suspects=(), validators=3, validation=180, training=512, budget=0.25, batch=32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return plan_checks(replicas, suspects, validators, validation, training, budget, batch, generator)


# Who judges whom


@pytest.mark.parametrize("validators", [1, 2, 3, 9])
@pytest.mark.parametrize("replicas", [(0, 1), (0, 2, 5), (1, 2, 3, 4, 6)])
def test_everyone_has_different_validators_and_none_judges_itself(replicas, validators):
    juries, _ = plan(replicas, suspects=[replicas[0]], validators=validators)
    assert list(juries) == list(replicas)
    for candidate, jury in juries.items():
        assert len(jury) == min(validators, len(replicas) - 1)
        assert set(jury) <= set(replicas) - {candidate}
        assert list(jury) == sorted(set(jury))


@pytest.mark.parametrize(("validation", "samples"), [(180, 128), (50, 50), (1, 1)])
def test_suspects_have_all_judged_whatever_it_costs(validation, samples):
    juries, judged_on = plan(suspects=[2], validation=validation, budget=0.0)
    assert (list(juries), judged_on) == ([0, 1, 2, 3], samples)


@pytest.mark.parametrize(
    ("settings", "candidates", "samples"),
    [
        # Forward passes to spend: 0.25 of 3 a training sample. A sample costs 3 passes a candidate, and one
        # of the starting point for each validator: 6, 10, 13, 16 for 1 to 4 candidates.
        ({"training": 688}, 4, 32),  # 516 passes: 4 candidates on 32 samples
        ({"training": 512}, 2, 32),  # 384: two on the fewest that tell anything, as three would take 416
        ({"training": 256}, 1, 32),  # 192: just one
        ({"training": 255}, 0, 0),  # 191.25: not even one
        ({"training": 1600}, 4, 64),  # 1200: 75 samples each, of which 2 whole batches are evaluated
        ({"training": 1600, "batch": 128}, 4, 75),  # less than a batch is evaluated as it is
        ({"training": 512, "validators": 1}, 4, 32),  # 8 passes a sample: 48
        ({"training": 10**6}, 4, 160),  # no more than there are
        ({"training": 512, "validation": 10}, 4, 10),
        ({"training": 80, "validation": 10}, 1, 10),  # 60: all that there are will do
        ({"budget": 0.0}, 0, 0),
        ({"replicas": (5,)}, 0, 0),  # nobody else is there
        ({"replicas": (5,), "suspects": (5,)}, 0, 0),
    ],
)
def test_the_budget_decides_how_many_are_judged_on_how_much(settings, candidates, samples):
    juries, judged_on = plan(**settings)
    assert (len(juries), judged_on) == (candidates, samples)


@pytest.mark.parametrize("budget", [0.01, 0.07, 0.1, 0.5, 1.0])
@pytest.mark.parametrize("validators", [1, 2, 3])
@pytest.mark.parametrize("training", [96, 1000, 5000])
def test_judging_costs_no_more_than_the_budget(budget, validators, training):
    juries, samples = plan(budget=budget, validators=validators, training=training)
    jurors = {juror for jury in juries.values() for juror in jury}
    passes = samples * (sum(map(len, juries.values())) + len(jurors))
    assert passes <= budget * 3 * training * (1 + 1e-9)


def test_the_seed_decides():
    assert plan(training=256, validators=1, seed=3) == plan(training=256, validators=1, seed=3)


def test_in_time_everyone_is_judged_by_everyone():
    pairs = set()
    for seed in range(100):
        juries, _ = plan(training=256, validators=2, seed=seed)
        pairs |= {(candidate, validator) for candidate, jury in juries.items() for validator in jury}
    assert pairs == {(i, j) for i in range(4) for j in range(4) if i != j}


# What the losses say


def losses(probabilities, validators=3):
    """What `validators` agree on, from the probabilities of the right label, sample by sample."""
    return -torch.tensor(probabilities).log().expand(validators, -1)


def constant(probability, samples=8):
    return losses([probability] * samples)


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
    after = {0: constant(peers), 1: constant(candidate), 2: constant(peers), 3: constant(peers)}
    judgements = judge_losses(constant(start), after, trusted=[0, 2, 3])
    assert judgements[1].harmful == harmful
    assert judgements[1].loss_change == pytest.approx(math.log(start / candidate), rel=1e-5)


@pytest.mark.parametrize(("repeats", "harmful"), [(1, False), (2, True)])
def test_harm_needs_four_standard_errors(repeats, harmful):
    # Differences to the peers 0, 0.8, 0.8, 0.8: t is 3 on these four samples, and 4.6 on eight such.
    after = {0: losses([0.9] * 4 * repeats), 1: losses([0.9, 0.1, 0.1, 0.1] * repeats)}
    assert judge_losses(losses([0.9] * 4 * repeats), after, trusted=[0])[1].harmful == harmful


@pytest.mark.parametrize("lie", [0.0, 50.0, torch.inf, torch.nan, -torch.inf])
@pytest.mark.parametrize("probability", [0.1, 0.8])
def test_one_lying_validator_of_three_changes_nothing(lie, probability):
    peers, honest = constant(0.8), constant(probability)
    lied = torch.cat([honest[:2], torch.full((1, 8), lie)])
    judge = [judge_losses(constant(0.7), {0: peers, 1: found}, trusted=[0])[1] for found in (honest, lied)]
    assert judge[0] == judge[1]
    assert judge[0].harmful == (probability == 0.1)


def test_of_two_validators_the_milder_counts():
    for second, change in (([0.75, 0.25], 0.375), ([torch.inf, torch.inf], 0.5)):
        after = {0: torch.tensor([[0.5, 0.5], second])}
        assert judge_losses(torch.tensor([[0.0, 0.0]]), after, trusted=[0])[0].loss_change == change


def test_one_infinite_loss_makes_the_change_infinite():
    after = {0: torch.tensor([[0.5, torch.inf]])}
    assert judge_losses(torch.tensor([[0.0, 0.0]]), after, trusted=[0])[0].loss_change == math.inf


def test_validators_may_differ_sample_by_sample():
    # The middle of the three is 1 for both samples.
    after = {0: torch.tensor([[0.0, 1.0], [1.0, 9.0], [7.0, 1.0]])}
    before = torch.tensor([[0.5, 0.5]])
    assert judge_losses(before, after, trusted=[0])[0].loss_change == pytest.approx(0.5)


@pytest.mark.parametrize("worst", [torch.nan, torch.inf])
def test_a_model_that_gives_no_loss_is_harmful(worst):
    judgements = judge_losses(constant(0.5), {0: constant(0.5), 1: torch.full((3, 8), worst)}, trusted=[0])
    assert judgements[1].harmful
    assert judgements[1].loss_change == math.inf
    assert not judgements[0].harmful


def test_suspects_are_no_measure():
    # Against replica 0 alone 0.1 is bad; against the other suspects it would be usual.
    after = {0: constant(0.5), 1: constant(0.1), 2: constant(0.1), 3: constant(0.1)}
    assert judge_losses(constant(0.9), after, trusted=[0])[1].harmful
    assert not judge_losses(constant(0.9), after, trusted=[0, 1, 2, 3])[1].harmful


def test_nobody_is_its_own_peer():
    # With itself among its peers their median would be 0.6, and the bar 0.24.
    after = {0: constant(0.3), 1: constant(0.9)}
    assert judge_losses(constant(0.9), after, trusted=[0, 1])[0].harmful


@pytest.mark.parametrize(("candidate", "harmful"), [(0.3, True), (0.4, False)])
def test_without_peers_the_start_is_the_measure(candidate, harmful):
    assert judge_losses(constant(0.9), {4: constant(candidate)}, trusted=[])[4].harmful == harmful


def test_all_alike_are_harmless():
    judgements = judge_losses(constant(0.5), {i: constant(0.5) for i in range(3)}, trusted=[0, 1, 2])
    assert [judgement.harmful for judgement in judgements.values()] == [False] * 3
    assert [judgement.loss_change for judgement in judgements.values()] == [0.0] * 3


def test_the_reason_has_the_figures():
    after = {0: constant(0.8), 1: constant(0.25)}
    reason = judge_losses(constant(0.5), after, trusted=[0])[1].reason
    assert reason == ("held-out loss +0.693; probability of the right label 0.25, peers 0.80, before 0.50, 8 samples")
