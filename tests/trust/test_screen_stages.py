"""The screen stage by stage, and the buffers of a stage."""

import pytest
import torch

from tdml.trust import screen
from tdml.trust.screen import features, gate, screen_stages
from tdml.trust.thresholds import ALIKE, SKEWED, Thresholds
from tests.trust.rounds import BLIND, honest, noise, turned_round, uneven


def test_the_stage_is_named_and_only_that():
    stages = [honest(6, seed, coordinates=2000) for seed in range(3)]
    stages[1][4] = noise(stages[1])
    whole, by_stage = screen_stages(stages)
    assert [found.guilty for found in by_stage] == [(), (4,), ()]
    assert [found.suspects for found in by_stage] == [(), (4,), ()]
    assert whole.suspects == (4,)


def test_a_small_stage_is_judged_by_itself():
    stages = [honest(6, 0, coordinates=50_000), honest(6, 1, coordinates=500)]
    stages[1][2] = -stages[1][2]
    whole, by_stage = screen_stages(stages)
    assert whole.suspects == ()
    assert by_stage[0].suspects == ()
    assert by_stage[1].guilty == (2,)


def test_who_is_guilty_at_one_stage_only_is_set_aside_too():
    stages = [honest(5, 1, 5.0, coordinates=50_000), turned_round(5, 2)]
    assert set(gate(features(stages[1]), ALIKE).suspects) > {0, 1}
    whole, by_stage = screen_stages(stages)
    assert (whole.guilty, by_stage[0].suspects) == ((), ())
    assert by_stage[1].suspects == by_stage[1].guilty == (0, 1)


def test_equal_at_one_stage():
    stages = [honest(5, seed) for seed in range(2)]
    stages[1][3] = stages[1][0]
    whole, by_stage = screen_stages(stages)
    assert (whole.equals, by_stage[0].equals, by_stage[1].equals) == ((), (), ((0, 3),))
    assert by_stage[1].suspects == (0, 3)


def test_a_frozen_stage_accuses_nobody():
    whole, by_stage = screen_stages([honest(4), torch.zeros(4, 100)])
    assert [found.suspects for found in (whole, *by_stage)] == [()] * 3


def test_a_stage_without_parameters_accuses_nobody_and_hides_nobody():
    stages = [torch.empty(5, 0), honest(5)]
    stages[1][3] *= 100
    whole, by_stage = screen_stages(stages)
    assert (whole.guilty, by_stage[0].suspects, by_stage[1].guilty) == ((3,), (), (3,))
    assert torch.equal(whole.moments.std, by_stage[1].moments.std)
    assert by_stage[0].moments.mean.tolist() == [3.0] * 5


def test_one_stage_is_the_whole():
    updates = uneven(6)
    whole, (only,) = screen_stages([updates])
    for field in ("suspects", "guilty", "reasons", "equals"):
        assert getattr(whole, field) == getattr(only, field) == getattr(screen(updates), field)
    assert torch.equal(whole.moments.std, only.moments.std)


# Buffers


def with_buffers(stages, count=20, seed=0):
    """Stages whose last `count` columns are buffers, which hardly differ; the last of them counts batches."""
    generator = torch.Generator().manual_seed(seed)
    moved = [
        torch.randn(count, generator=generator) + 0.01 * torch.randn(len(s), count, generator=generator) for s in stages
    ]
    for buffers in moved:
        buffers[:, -1] = 3.0
    return [torch.cat(pair, dim=1) for pair in zip(stages, moved, strict=True)], [s.shape[1] for s in stages]


@pytest.mark.parametrize(("times", "guilty"), [(3.0, ()), (5.0, (2,)), (-5.0, (2,)), (1e30, (2,))])
def test_who_moves_the_buffers_too_far_is_guilty_at_that_stage_and_as_a_whole(times, guilty):
    # The buffers alone are too few coordinates to matter to anything else.
    stages, parameters = with_buffers([honest(6, seed, coordinates=20_000) for seed in range(2)], count=3)
    stages[1][2, 20_000:] *= times
    whole, by_stage = screen_stages(stages, ALIKE, parameters)
    assert [found.guilty for found in (whole, *by_stage)] == [guilty, (), guilty]
    assert [found.suspects for found in (whole, *by_stage)] == [guilty, (), guilty]
    for found in (whole, by_stage[1]):
        assert all("buffers moved" in found.reasons[row] for row in guilty)
        assert sorted(found.reasons) == list(guilty)


@pytest.mark.parametrize(
    "attack", [lambda own: -own, lambda own: 50 * own, lambda own: 0 * own], ids=["turned", "large", "nothing"]
)
def test_large_buffers_hide_nothing_that_is_done_to_the_parameters(attack):
    """Counters and statistics move a hundred times as far as the parameters, and point the same way."""
    (stage,), (count,) = with_buffers([honest(6, common=2.0)])
    stage[:, count:] *= 1e4
    bare = stage[:, :count].clone()
    stage[2, :count], bare[2] = attack(stage[2, :count]), attack(bare[2])
    found, expected = screen_stages([stage], ALIKE, [count])[0], screen(bare)
    assert found.suspects == (2,)
    assert (found.suspects, found.guilty, found.reasons) == (expected.suspects, expected.guilty, expected.reasons)


def test_copied_parameters_are_equal_whatever_the_buffers():
    (stage,), (count,) = with_buffers([honest(6)])
    stage[4, :count] = stage[1, :count]
    assert screen_stages([stage], ALIKE, [count])[0].equals == ((1, 4),)


def test_of_unknown_buffers_nobody_is_guilty():
    (stage,), (count,) = with_buffers([honest(6, coordinates=20_000)], count=3)
    stage[2, count:] *= 5
    assert screen_stages([stage])[0].guilty == screen_stages([stage], ALIKE, [20_003])[0].guilty == ()
    whole, (only,) = screen_stages([stage], ALIKE, [count])
    assert (whole.guilty, whole.reasons) == (only.guilty, only.reasons) == ((2,), whole.reasons)


def test_all_reasons_of_one_with_large_buffers_are_given():
    (stage,), (count,) = with_buffers([honest(6, common=2.0)])
    stage[1] *= -100
    reason = screen_stages([stage], SKEWED, [count])[0].reasons[1]
    assert reason.startswith("buffers moved 1")
    assert "points against its peers" in reason


def test_who_has_large_buffers_is_set_aside_when_the_others_are_compared_again():
    # Beside the two of them the ranks of one with some noise are not wide.
    updates, noises = honest(7), honest(3, 3, common=0.0)
    updates[:2] = 30 * noises[:2]
    updates[2] += 3 * noises[2]
    (stage,), (count,) = with_buffers([updates], count=3)
    stage[:2, count:] *= 5
    blind = Thresholds(**BLIND | {"suspect_wide": ALIKE.suspect_wide})
    assert screen_stages([stage], blind)[0].guilty == ()
    found = screen_stages([stage], blind, [count])[0]
    assert (found.guilty, found.suspects) == ((0, 1), (0, 1, 2))


def test_a_stage_of_buffers_alone():
    stages, parameters = with_buffers([torch.empty(5, 0), honest(5)])
    assert screen_stages(stages, ALIKE, parameters)[0].suspects == ()
    stages[0][3] *= 5
    whole, by_stage = screen_stages(stages, ALIKE, parameters)
    assert [found.guilty for found in (whole, *by_stage)] == [(3,), (3,), ()]


def test_equals_of_one_with_large_buffers_are_guilty():
    (stage,), (count,) = with_buffers([honest(6)])
    stage[[1, 4], count:] *= 5
    stage[4] = stage[1]
    found = screen_stages([stage], ALIKE, [count])[0]
    assert (found.guilty, found.equals) == ((1, 4), ((1, 4),))
