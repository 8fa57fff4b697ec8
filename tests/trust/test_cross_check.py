import math

import pytest
import torch

from tdml.trust.cross_check import (
    _SIZES,
    MOST_SAMPLES,
    CheckPlan,
    Purse,
    allowance,
    choose_samples,
    most_passes,
    plan_checks,
)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


def plan(replicas=(0, 1, 2, 3), suspects=(), validators=3, available=512, validation=180, passes=1e9, seed=0):
    return plan_checks(replicas, suspects, validators, available, validation, passes, seeded(seed))


def cost(found):
    """Every candidate and the start are evaluated by their jurors on all samples of the check."""
    samples = found.held_out
    for _ in found.juries:
        samples += found.own
    return sum(samples for jury in (*found.juries.values(), found.start) for _ in jury)


# Who judges whom


@pytest.mark.parametrize("validators", [1, 2, 3, 9])
@pytest.mark.parametrize("replicas", [(0, 1), (0, 2, 5), (1, 2, 3, 4, 6)])
@pytest.mark.parametrize("passes", [0, 1e9])
def test_juries_are_of_others_and_of_the_right_size(replicas, validators, passes):
    for seed in range(5):
        found = plan(replicas, suspects=replicas[:1], validators=validators, passes=passes, seed=seed)
        jurors = min(validators, len(replicas) - 1)
        assert list(found.juries) == sorted(found.juries)
        for candidate, jury in found.juries.items():
            assert len(jury) == jurors
            assert set(jury) <= set(replicas) - {candidate}
            assert list(jury) == sorted(set(jury))
        assert len(set(found.start)) == len(found.start) == jurors
        assert set(found.start) <= set(replicas)


@pytest.mark.parametrize("replicas", [(), (5,)])
@pytest.mark.parametrize("suspects", [(), (5,)])
def test_nobody_is_judged_where_nobody_else_is_there(replicas, suspects):
    assert plan(replicas, suspects) is None


def test_nobody_is_judged_without_validators_or_samples():
    assert plan(validators=0) is None
    assert plan(available=0) is None


def test_who_can_afford_it_judges_everyone_on_as_much_as_is_of_use():
    found = plan(range(8), available=10**6, validation=10**6)
    assert (list(found.juries), found.own, found.held_out) == (list(range(8)), MOST_SAMPLES, MOST_SAMPLES)


@pytest.mark.parametrize(("available", "own"), [(1, 1), (31, 31), (100, 100), (256, 256), (900, MOST_SAMPLES)])
@pytest.mark.parametrize("validation", [0, 20, 300])
def test_no_more_samples_than_there_are(available, own, validation):
    found = plan(available=available, validation=validation)
    assert (found.own, found.held_out) == (own, min(MOST_SAMPLES, validation))


@pytest.mark.parametrize("validators", [1, 2, 3])
@pytest.mark.parametrize("replicas", [2, 3, 4, 7, 12])
@pytest.mark.parametrize("passes", [50, 400, 1500, 6000, 30_000, 200_000])
def test_without_suspects_it_costs_no_more_than_may_be_spent(replicas, validators, passes):
    found = plan(range(replicas), validators=validators, passes=passes)
    if found is not None:
        assert found.passes == cost(found) <= passes
        assert found.own >= min(_SIZES)
        assert len(found.juries) >= min(replicas, 4)


def test_the_cost_by_hand():
    found = CheckPlan({0: (1, 2), 3: (0, 1), 4: (1,)}, (2, 4), own=10, held_out=7)
    assert found.passes == 7 * 37  # 5 + 2 evaluations, of 3 times 10 own samples and 7 others


@pytest.mark.parametrize(
    ("passes", "candidates", "own"),
    [
        # Three jurors each: (3 k + 3) evaluations of (k + 1) times as many samples, k candidates of eight.
        (27 * 9 * 256, 8, 256),
        (27 * 9 * 256 - 1, 8, 128),
        (27 * 9 * 32, 8, 32),
        (27 * 9 * 32 - 1, 4, 64),  # 15 × 5 × 64 = 4800, and 128 of each would be 9600
        (15 * 5 * 64 - 1, 4, 32),
        (15 * 5 * 32, 4, 32),
        (15 * 5 * 32 - 1, None, None),
    ],
)
def test_everyone_before_more_samples_and_a_few_before_nobody(passes, candidates, own):
    found = plan(range(8), validation=10**6, passes=passes)
    assert (found and len(found.juries), found and found.own) == (candidates, own)


@pytest.mark.parametrize("suspects", [(3,), (0, 7), (1, 2, 4, 5), tuple(range(8))])
@pytest.mark.parametrize("passes", [0, 10_000, 1e9])
def test_suspects_are_judged_whatever_it_costs(suspects, passes):
    found = plan(range(8), suspects, passes=passes)
    assert set(suspects) <= set(found.juries) <= set(range(8))
    if passes == 0:
        assert found.own == min(_SIZES)
        assert len(found.juries) == min(8, max(4, 2 * len(suspects) + 1))  # those above suspicion are the most


def test_who_can_spend_it_judges_more_than_the_suspects():
    assert len(plan(range(8), (3,), passes=1e9).juries) == 8


def test_the_seed_decides():
    found = [plan(range(9), validators=2, passes=3000, seed=seed) for seed in (3, 3, 4)]
    assert found[0] == found[1] != found[2]


def test_in_time_everyone_is_judged_by_everyone():
    pairs, starts = set(), set()
    for seed in range(200):
        found = plan(range(6), validators=2, passes=3000, seed=seed)
        assert len(found.juries) == 4
        pairs |= {(candidate, validator) for candidate, jury in found.juries.items() for validator in jury}
        starts |= set(found.start)
    assert pairs == {(i, j) for i in range(6) for j in range(6) if i != j}
    assert starts == set(range(6))


def test_suspicion_of_one_leaves_the_other_candidates_to_chance():
    seen = set()
    for seed in range(100):
        seen |= set(plan(range(8), (7,), passes=0, seed=seed).juries)
    assert seen == set(range(8))


def test_allowance_is_a_share_of_what_training_costs():
    # A training step costs three forward passes.
    assert allowance(1000, 0.25) == 750
    assert allowance(1000, 0.0) == 0


@pytest.mark.parametrize("validation", [0, 100, 1000])
@pytest.mark.parametrize("available", [10, 200, 5000])
@pytest.mark.parametrize(("replicas", "validators"), [(2, 3), (5, 3), (8, 1)])
def test_the_most_that_is_of_use_is_what_judging_everyone_costs(replicas, validators, available, validation):
    found = plan(range(replicas), validators=validators, available=available, validation=validation)
    assert most_passes(replicas, validators, available, validation) == found.passes == cost(found)


# On what


@pytest.mark.parametrize("count", [1, 5, 12, 40])
def test_samples_are_of_the_batches_and_none_is_chosen_twice(count):
    batches = torch.tensor([[7, 3, 9, 3], [4, 7, 1, 2], [8, 9, 0, 5]])
    for seed in range(20):
        chosen = choose_samples(batches, count, seeded(seed))
        assert chosen.dtype == torch.int64
        samples = [int(batches[step, place]) for step, place in chosen]
        assert len(samples) == len(set(samples)) == min(count, 9)
        assert chosen.tolist() == sorted(chosen.tolist())


def test_every_sample_and_every_place_has_its_turn():
    batches = torch.tensor([[1, 2, 1], [3, 4, 5]])
    places, counts = set(), dict.fromkeys(range(1, 6), 0)
    for seed in range(300):
        [(step, place)] = choose_samples(batches, 1, seeded(seed)).tolist()
        places.add((step, place))
        counts[int(batches[step, place])] += 1
    assert places == {(step, place) for step in range(2) for place in range(3)}
    # One that was assigned twice comes twice as often: 100 times, the others 50 times.
    assert 80 < counts.pop(1) < 120
    assert 30 < min(counts.values()) <= max(counts.values()) < 70


@pytest.mark.parametrize(("count", "steps"), [(1, 1), (5, 1), (8, 1), (9, 2), (16, 2), (17, 3), (40, 5), (99, 5)])
def test_samples_come_from_few_steps(count, steps):
    batches = torch.arange(40).view(5, 8)
    chosen, places = set(), set()
    for seed in range(100):
        found = choose_samples(batches, count, seeded(seed)).tolist()
        assert len({step for step, _ in found}) == steps
        assert len(found) == min(count, 40)
        chosen.add(tuple(sorted({step for step, _ in found})))
        places |= set(map(tuple, found))
    # Which ones is left to chance.
    assert len(chosen) == math.comb(5, steps)
    if count >= 5:
        assert places == {(step, place) for step in range(5) for place in range(8)}


def test_a_step_of_which_all_was_seen_is_made_up_for_by_another():
    batches = torch.tensor([[1, 2, 1, 2], [2, 1, 2, 1], [1, 1, 3, 4]])
    for seed in range(50):
        found = choose_samples(batches, 4, seeded(seed)).tolist()
        assert {int(batches[step, place]) for step, place in found} == {1, 2, 3, 4}


def test_the_seed_decides_on_the_samples():
    batches = torch.arange(64).view(8, 8)
    first, same, other = (choose_samples(batches, 9, seeded(seed)) for seed in (1, 1, 2))
    assert torch.equal(first, same)
    assert not torch.equal(first, other)


def test_the_batches_are_left_as_they_were():
    batches = torch.arange(12).view(3, 4)
    choose_samples(batches, 5, seeded())
    assert torch.equal(batches, torch.arange(12).view(3, 4))


# What may be spent


def purse_plan(purse, earned, suspects=()):
    return purse.plan(earned, range(4), suspects, 3, 512, 180, seeded())


def test_a_purse_saves_until_it_affords_a_check_and_pays_for_it():
    purse, earned = Purse(), 1000.0
    plans = [purse_plan(purse, earned) for _ in range(4)]
    assert [found is not None for found in plans] == [False, False, True, False]
    assert purse.passes == 4 * earned - plans[2].passes


def test_a_purse_holds_no_more_than_judging_everyone_costs():
    purse = Purse()
    assert purse_plan(purse, 1e12).passes == most_passes(4, 3, 512, 180)
    assert purse.passes == 0


def test_suspects_are_judged_on_credit_that_nobody_pays_back():
    purse = Purse()
    assert purse_plan(purse, 10.0, suspects=(2,)) is not None
    assert purse.passes == 0
