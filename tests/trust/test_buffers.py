import numpy as np
import pytest
import torch

from tdml.trust.buffers import miscounted, oversized


def honest(replicas, buffers=50, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(buffers, generator=generator) + 0.01 * torch.randn(replicas, buffers, generator=generator)


def counting(replicas, count=40.0):
    """Statistics, and a count of batches that all honest replicas move alike."""
    return torch.cat([honest(replicas), torch.full((replicas, 1), count)], dim=1)


def found_in(buffers):
    """Those who are found, for certain and for their statistics."""
    return sorted({*miscounted(buffers), *oversized(buffers)})


@pytest.mark.parametrize("replicas", [3, 4, 9, 16])
@pytest.mark.parametrize("scale", [0.0, 1e-20, 1.0, 1e30])
@pytest.mark.parametrize("make", [honest, counting])
def test_honest_ones_are_not(make, replicas, scale):
    assert found_in(scale * make(replicas)) == []


@pytest.mark.parametrize("replicas", [3, 4, 7])
@pytest.mark.parametrize(("factor", "found"), [(90.0, False), (110.0, True), (-110.0, True), (1e30, True)])
def test_statistics_a_hundred_times_the_size_of_the_peers(replicas, factor, found):
    moved = honest(replicas)
    moved[1] *= factor
    assert list(oversized(moved)) == ([1] if found else [])
    assert miscounted(moved) == {}


@pytest.mark.parametrize("replicas", [3, 4, 7])
@pytest.mark.parametrize(("factor", "found"), [(3.8, False), (4.2, True), (-4.2, True)])
def test_four_times_the_counts_are_too_many(replicas, factor, found):
    moved = counting(replicas)
    moved[1] *= factor
    assert list(miscounted(moved)) == ([1] if found else [])
    assert oversized(moved) == {}


@pytest.mark.parametrize("statistics", [1e-6, 1.0, 1e6])
def test_counts_and_statistics_do_not_drown_each_other(statistics):
    moved = counting(5)
    moved[:, :-1] *= statistics
    moved[3, :-1] *= 1000
    moved[1, -1] *= 5
    assert (list(miscounted(moved)), list(oversized(moved))) == ([1], [3])


def test_the_variances_of_one_honest_replica_may_be_many_times_the_others():
    # ResNet-18, four replicas, first round: 7.1 times.
    moved = counting(4)
    moved[0, :-1] *= 8
    assert found_in(moved) == []


def test_settled_statistics_may_differ_several_times():
    moved = counting(3)
    moved[0, :-1] *= 5e-3
    moved[1, :-1] *= 1e-3
    moved[2, :-1] *= 1e-3
    assert found_in(moved) == []


def test_a_false_count_is_found():
    moved = counting(5)
    moved[2, -1] = 1e9
    assert list(miscounted(moved)) == [2]


def test_the_reason_has_the_figures():
    moved = torch.ones(5, 8)
    moved[3] *= -30
    assert miscounted(moved) == {3: "buffers moved 30 times as far as its peers', limit 4"}


@pytest.mark.parametrize("factor", [0.0, 1e-9, 0.1, 1.0])
def test_small_is_no_crime(factor):
    moved = counting(6)
    moved[4] *= factor
    assert found_in(moved) == []


@pytest.mark.parametrize(("replicas", "large"), [(3, 1), (4, 1), (5, 2), (7, 3), (8, 3)])
def test_any_minority_is_found_and_nobody_else(replicas, large):
    moved = honest(replicas)
    moved[:large] *= 1000.0 ** torch.arange(1, large + 1)[:, None]
    assert list(oversized(moved)) == list(range(large))


@pytest.mark.parametrize("replicas", [0, 1, 2])
def test_too_few_have_no_measure(replicas):
    moved = honest(replicas)
    moved[:1] *= 1e6
    assert found_in(moved) == []


def test_without_buffers_nobody_is():
    assert found_in(torch.empty(5, 0)) == []


def test_the_squares_of_the_largest_numbers_overflow_nothing():
    assert list(oversized(torch.tensor([[1.01e30] * 9, [3e38] * 9, [1e30] * 9, [1.02e30] * 9]))) == [1]


@pytest.mark.parametrize(("size", "found"), [(1.0, [2]), (1e-7, [])])
def test_to_move_what_nobody_else_moves(size, found):
    moved = torch.zeros(4, 10)
    moved[2] = size
    assert list(oversized(moved)) == found


def test_the_order_of_the_rows_does_not_matter():
    moved = counting(6)
    moved[1] *= 7
    order = np.random.default_rng(0).permutation(6)
    assert list(miscounted(moved[order])) == [int(np.flatnonzero(order == 1)[0])]


def test_where_most_lie_far_apart_it_takes_more():
    # Three of the five lie within a factor of 100: beyond its third power, 10⁶, is too far.
    for size, found in ((10.0**7.9, []), (10.0**8.1, [4])):
        sizes = torch.tensor([1.0, 10.0, 100.0, 1000.0, size])
        assert list(oversized(sizes[:, None] * (1 + torch.arange(8.0)))) == found
