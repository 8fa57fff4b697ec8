import numpy as np
import pytest
import torch

from tdml.trust.aggregate import LARGEST, bounded_mean, combine, weighted_mean


def honest(replicas, sizes=(300,), seed=0):
    """Stages of independent updates, whose sizes hardly differ."""
    generator = torch.Generator().manual_seed(seed)
    return [torch.randn(replicas, size, generator=generator) for size in sizes]


def norm(stages):
    return float(torch.cat(list(stages)).double().norm())


def plain_bounded_mean(stages, weights):
    """Row by row in float64."""
    whole = np.concatenate([np.asarray(s, dtype=np.float64) for s in stages], axis=1)
    taking_part = [i for i, weight in enumerate(weights) if weight > 0]
    norms = {i: np.sqrt((whole[i] ** 2).sum()) for i in taking_part}
    middle = sorted(norms.values())[(len(norms) - 1) // 2]
    limit = LARGEST * middle if middle > 0 else np.inf
    total = np.zeros(whole.shape[1])
    for i in taking_part:
        total += weights[i] * whole[i] * min(1.0, limit / norms[i] if norms[i] > 0 else 1.0)
    return np.split(total / sum(weights), np.cumsum([s.shape[1] for s in stages])[:-1])


@pytest.mark.parametrize("replicas", [1, 2, 3, 6, 7])
def test_by_plain_loops(replicas):
    stages = honest(replicas, (50, 1, 20), seed=replicas)
    for i in range(replicas):
        for stage in stages:
            stage[i] *= 3.0 ** (i - replicas / 2)
    weights = [0.3, 0.0, 2.0, 1.0, 0.5, 0.0, 1.0][:replicas]
    expected = plain_bounded_mean(stages, weights)
    for mean, plain in zip(bounded_mean(stages, weights), expected, strict=True):
        assert mean.dtype == torch.float32
        np.testing.assert_allclose(mean, plain, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    "weights", [[1.0] * 5, [0.1, 0.7, 0.3, 0.9, 0.2], [3, 100, 7, 64, 1], [0.0, 0.3, 1.0, 0.0, 0.7]]
)
@pytest.mark.parametrize("sizes", [(300,), (100, 7, 33)])
def test_where_nothing_is_large_it_is_the_plain_weighted_mean_bit_for_bit(weights, sizes):
    stages = honest(5, sizes)
    for mean, updates in zip(bounded_mean(stages, weights), stages, strict=True):
        assert torch.equal(mean, weighted_mean(updates, weights))


def test_where_one_is_large_it_is_not():
    (updates,) = honest(5)
    updates[2] *= 10
    assert not torch.equal(bounded_mean([updates], [1.0] * 5)[0], weighted_mean(updates, [1.0] * 5))


@pytest.mark.parametrize("times", [3.0, 100.0, 1e30, 1e37])
@pytest.mark.parametrize("replicas", [3, 4, 8])
def test_a_large_update_counts_as_one_of_twice_the_middle_size(times, replicas):
    (updates,) = honest(replicas)
    wild = updates.clone()
    wild[1] *= times
    others = updates.clone()
    others[1] = 0
    mean = bounded_mean([wild], [1.0] * replicas)[0]
    part = (mean - weighted_mean(others, [1.0] * replicas)) * replicas
    middle = sorted(wild.double().norm(dim=1).tolist())[(replicas - 1) // 2]
    assert norm([part]) == pytest.approx(LARGEST * middle, rel=1e-4)
    torch.testing.assert_close(part / part.norm(), updates[1] / updates[1].norm(), rtol=1e-3, atol=1e-5)


def test_the_others_count_as_they_are():
    # Not only the direction of the sum: each is left at its own size, however small.
    updates = torch.eye(5)
    updates[4] *= 100
    updates[0] *= 0.01
    assert bounded_mean([updates], [1.0] * 5)[0].tolist() == pytest.approx([0.002, 0.2, 0.2, 0.2, 0.4])


@pytest.mark.parametrize(("share", "count"), [(1.99, 1.99), (2.01, 2.0)])
def test_the_largest_that_counts_in_full(share, count):
    updates = torch.eye(5)
    updates[3] *= share
    assert float(bounded_mean([updates], [1.0] * 5)[0][3]) == pytest.approx(count / 5)


def test_all_stages_share_one_factor():
    # At the second stage alone the update is no larger than the others'.
    stages = honest(5, (100, 100))
    stages[0][2] *= 50
    sizes = torch.cat(stages, dim=1).double().norm(dim=1)
    factor = LARGEST * float(sizes.median()) / float(sizes[2])
    assert factor < 0.1
    scaled = [stage.clone() for stage in stages]
    for stage in scaled:
        stage[2] *= factor
    for mean, updates in zip(bounded_mean(stages, [1.0] * 5), scaled, strict=True):
        torch.testing.assert_close(mean, weighted_mean(updates, [1.0] * 5), rtol=1e-5, atol=1e-6)


def test_large_at_a_small_stage_is_not_large():
    stages = honest(5, (10_000, 4))
    stages[1][2] *= 10
    for mean, updates in zip(bounded_mean(stages, [1.0] * 5), stages, strict=True):
        assert torch.equal(mean, weighted_mean(updates, [1.0] * 5))


@pytest.mark.parametrize("wild", [1e30, 3e38, torch.inf, torch.nan])
def test_rows_of_weight_zero_take_no_part(wild):
    stages = honest(5, (30, 20))
    weights = [1.0, 0.0, 2.0, 0.5, 0.0]
    usual = bounded_mean([stage[[0, 2, 3]] for stage in stages], [1.0, 2.0, 0.5])
    for stage in stages:
        stage[1], stage[4] = wild, 0.0  # neither as an update nor as a measure of the others
    for mean, expected in zip(bounded_mean(stages, weights), usual, strict=True):
        assert torch.equal(mean, expected)


def test_small_weights_do_not_change_the_bound():
    # What an update counts and how large it may be are two things.
    updates = torch.eye(5)
    updates[4] *= 100
    mean = bounded_mean([updates], [1.0, 1.0, 1.0, 1.0, 0.1])[0]
    assert float(mean[4]) == pytest.approx(0.1 * 2 / 4.1)


@pytest.mark.parametrize("replicas", [0, 1, 4])
def test_if_all_weights_are_zero_the_mean_is_zero(replicas):
    stages = honest(replicas, (30, 20))
    means = bounded_mean([stage * 1e30 for stage in stages], [0.0] * replicas)
    assert [(mean.shape, mean.dtype, mean.any().item()) for mean in means] == [
        ((30,), torch.float32, False), ((20,), torch.float32, False),
    ]  # fmt: skip


@pytest.mark.parametrize("replicas", [1, 2, 5])
def test_updates_of_zeros(replicas):
    (mean,) = bounded_mean([torch.zeros(replicas, 7)], [1.0] * replicas)
    assert mean.tolist() == [0.0] * 7


@pytest.mark.parametrize(("replicas", "large"), [(2, 1), (4, 2), (6, 3)])
def test_half_of_an_even_number_are_no_measure_of_their_own_size(replicas, large):
    updates = torch.eye(replicas)
    updates[:large] *= 100
    count = [LARGEST / replicas] * large + [1 / replicas] * (replicas - large)
    assert bounded_mean([updates], [1.0] * replicas)[0].tolist() == pytest.approx(count)


@pytest.mark.parametrize(("replicas", "zeros", "bounded"), [(2, 1, False), (4, 2, False), (5, 3, False), (5, 2, True)])
def test_where_the_middle_one_is_zero_nothing_is_bounded(replicas, zeros, bounded):
    (updates,) = honest(replicas)
    updates[-1] *= 100
    updates[:zeros] = 0
    plain = weighted_mean(updates, [1.0] * replicas)
    assert torch.equal(bounded_mean([updates], [1.0] * replicas)[0], plain) != bounded


def test_one_alone_is_the_mean():
    (updates,) = honest(1)
    assert torch.equal(bounded_mean([1e6 * updates], [0.3])[0], 1e6 * updates[0])


def test_an_empty_stage():
    means = bounded_mean([torch.empty(3, 0), torch.ones(3, 2)], [1.0] * 3)
    assert [mean.tolist() for mean in means] == [[], [1.0, 1.0]]


def test_the_order_of_the_rows_hardly_matters():
    stages = honest(6, (40, 30))
    stages[0][3] *= 30
    weights, order = [0.5, 1.0, 2.0, 1.5, 0.0, 1.0], [4, 2, 0, 5, 3, 1]
    shuffled = bounded_mean([stage[order] for stage in stages], [weights[i] for i in order])
    for mean, other in zip(bounded_mean(stages, weights), shuffled, strict=True):
        torch.testing.assert_close(mean, other)


def test_the_updates_are_left_as_they_were():
    stages = honest(4, (30, 20))
    stages[0][1] *= 100
    before = [stage.clone() for stage in stages]
    bounded_mean(stages, [1.0, 1.0, 0.0, 2.0])
    assert all(torch.equal(*pair) for pair in zip(stages, before, strict=True))


def with_buffers(replicas, statistics=1000.0):
    """Two stages of 40 and 30 parameters, whose buffers are much larger and alike, and a third that has none."""
    parameters = honest(replicas, (40, 30, 20))
    buffers = [statistics + stage for stage in honest(replicas, (6, 4, 0), seed=1)]
    return [torch.cat(pair, dim=1) for pair in zip(parameters, buffers, strict=True)], [40, 30, 20]


@pytest.mark.parametrize("replicas", [1, 2, 5, 6])
def test_parameters_have_their_bounded_mean_and_buffers_their_median(replicas):
    stages, parameters = with_buffers(replicas)
    for stage in stages:
        stage[-1, :20] *= 50
    weights = [1.0, 0.5, 0.0, 2.0, 1.0, 0.3][:replicas]
    counted = [row for row, weight in enumerate(weights) if weight]
    usual = bounded_mean([stage[:, :count] for stage, count in zip(stages, parameters, strict=True)], weights)
    for found, mean, stage, count in zip(combine(stages, weights, parameters), usual, stages, parameters, strict=True):
        assert found.dtype == torch.float32
        assert torch.equal(found[:count], mean)
        np.testing.assert_allclose(found[count:], np.median(stage[counted, count:], axis=0), rtol=1e-6)


def test_large_buffers_do_not_hide_a_large_update():
    stages, parameters = with_buffers(5)
    stages[0][1, :40] *= 100
    found = combine(stages, [1.0] * 5, parameters)
    assert norm([found[0][:40]]) < norm([stages[0][0, :40]])


@pytest.mark.parametrize("replicas", [3, 4, 7, 8])
def test_a_minority_moves_no_statistic_out_of_the_honest_range(replicas):
    stages, parameters = with_buffers(replicas)
    liars = (replicas - 1) // 2
    for stage, count in zip(stages, parameters, strict=True):
        stage[:liars, count:] = -1e6
    for found, stage, count in zip(combine(stages, [1.0] * replicas, parameters), stages, parameters, strict=True):
        truth = stage[liars:, count:]
        assert bool(((truth.amin(dim=0) <= found[count:]) & (found[count:] <= truth.amax(dim=0))).all())


def test_if_all_weights_are_zero_nothing_changes():
    stages, parameters = with_buffers(3)
    assert [stage.any().item() for stage in combine(stages, [0.0] * 3, parameters)] == [False] * 3


# The plain mean


@pytest.mark.parametrize("rows", [list, torch.stack], ids=["rows", "matrix"])
def test_the_mean_is_weighted_by_samples(rows):
    updates = rows([torch.tensor([1.0, 0.0]), torch.tensor([5.0, 8.0])])
    assert weighted_mean(updates, [96, 32]).tolist() == [2.0, 2.0]
    assert weighted_mean(updates, [1, 1]).tolist() == [3.0, 4.0]
    assert weighted_mean(updates[:1], [7]).tolist() == [1.0, 0.0]


def test_the_mean_of_many_is_numpys():
    rows, samples = honest(6)[0], [3, 1, 4, 1, 5, 9]
    expected = (rows.double() * torch.tensor(samples).view(-1, 1)).sum(dim=0) / 23
    mean = weighted_mean(rows, samples)
    torch.testing.assert_close(mean.double(), expected, rtol=1e-5, atol=1e-6)
    assert mean.dtype == torch.float32


def test_every_row_has_a_weight():
    with pytest.raises(ValueError, match="zip"):
        weighted_mean([torch.ones(2), torch.ones(2)], [1.0])
