import pytest
import torch
from scipy.stats import rankdata

from tdml.trust import rank_moments, ranking


def normal(replicas, coordinates, seed=0):
    return torch.randn(replicas, coordinates, generator=torch.Generator().manual_seed(seed))


def whole_numbers(replicas, coordinates, top):
    return torch.randint(top, (replicas, coordinates), generator=torch.Generator().manual_seed(1)).float()


def with_infinities():
    updates = whole_numbers(6, 200, 9)
    updates[updates == 0], updates[updates == 8] = -torch.inf, torch.inf
    return updates


CASES = {
    "no ties": normal(5, 100),
    "ties": whole_numbers(7, 100, 3),
    "infinities": with_infinities(),
    "signed zeros": torch.tensor([[0.0, -0.0, -0.0], [-0.0, 0.0, 1.0], [0.0, -0.0, -1.0]]),
    "one replica": normal(1, 10),
    "two replicas": normal(2, 11),
    "all equal": torch.full((4, 9), 2.5),
    "subnormal": normal(3, 20) * 1e-42,
    "float64 apart by less than float32 tells": 1 + normal(4, 50).double() * 1e-12,
    "float16": normal(4, 50).half(),
    "not contiguous": normal(30, 4).T,
    "many replicas": torch.arange(258.0).view(129, 2) % 200,
}


def moments_by_scipy(updates):
    ranks = torch.from_numpy(rankdata(updates.double().numpy(), axis=0, method="average"))
    return ranks.mean(dim=1), ranks.std(dim=1, correction=1)


@pytest.mark.parametrize("updates", CASES.values(), ids=CASES.keys())
def test_moments_are_those_of_scipys_ranks(updates):
    moments = rank_moments(updates)
    mean, std = moments_by_scipy(updates)
    torch.testing.assert_close(moments.mean, mean, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(moments.std, std, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("updates", CASES.values(), ids=CASES.keys())
def test_ranks_are_scipys(updates):
    ranks = ranking.average_ranks(updates)
    assert ranks.tolist() == rankdata(updates.double().numpy(), axis=0, method="average").tolist()


def test_an_example_by_hand():
    # Ranks: 1 and 1.5; 2 and 1.5; 3 and 3.
    moments = rank_moments(torch.tensor([[1.0, 2.0], [3.0, 2.0], [5.0, 9.0]]))
    assert moments.mean.tolist() == [1.25, 1.75, 3.0]
    assert moments.std.tolist() == pytest.approx([0.125**0.5, 0.125**0.5, 0.0])


@pytest.mark.parametrize("coordinates", [1, 7, 8, 13, 14, 15, 50])
def test_more_coordinates_than_fit_into_a_block(monkeypatch, coordinates):
    monkeypatch.setattr(ranking, "_BLOCK", 7)
    updates = whole_numbers(5, coordinates, 4)
    ranks = torch.from_numpy(rankdata(updates.numpy(), axis=0))
    sums = ranking.rank_sums(updates)
    assert sums.coordinates == coordinates
    assert sums.total.tolist() == ranks.sum(dim=1).tolist()
    assert sums.squares.tolist() == (ranks**2).sum(dim=1).tolist()


def test_the_real_block_size():
    updates = whole_numbers(3, ranking._BLOCK + 3, 5)
    mean, std = moments_by_scipy(updates)
    moments = rank_moments(updates)
    torch.testing.assert_close(moments.mean, mean, rtol=1e-12, atol=0)
    torch.testing.assert_close(moments.std, std, rtol=1e-9, atol=0)


def test_sums_over_pieces_add_up():
    updates = whole_numbers(4, 30, 3)
    added = ranking.rank_sums(updates[:, :11]) + ranking.rank_sums(updates[:, 11:])
    together = rank_moments(updates)
    assert added.coordinates == 30
    assert torch.equal(added.moments().mean, together.mean)
    assert torch.equal(added.moments().std, together.std)


def test_a_single_coordinate_has_no_spread():
    assert rank_moments(torch.tensor([[3.0], [1.0], [2.0]])).std.tolist() == [0.0, 0.0, 0.0]


def test_moments_are_float64():
    moments = rank_moments(normal(3, 5))
    assert (moments.mean.dtype, moments.std.dtype) == (torch.float64, torch.float64)


def test_the_updates_are_left_as_they_were():
    updates = normal(4, 20)
    before = updates.clone()
    rank_moments(updates)
    assert torch.equal(updates, before)
