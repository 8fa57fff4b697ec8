import sys
from types import SimpleNamespace

import pytest
import torch
from scipy.stats import rankdata

from tdml.common import columns
from tdml.trust import rank_moments, ranking, ranking_compiled


def normal(replicas, coordinates, seed=0):
    return torch.randn(replicas, coordinates, generator=torch.Generator().manual_seed(seed))


def whole_numbers(replicas, coordinates, top):
    return torch.randint(
        top, (replicas, coordinates), generator=torch.Generator().manual_seed(1)
    ).float()


def with_infinities(replicas=6, coordinates=200):
    updates = whole_numbers(replicas, coordinates, 9)
    updates[updates == 0], updates[updates == 8] = -torch.inf, torch.inf
    return updates


CASES = {
    "no ties": normal(5, 100),
    "ties": whole_numbers(7, 100, 3),
    "infinities": with_infinities(),
    "infinities beside rows that fill up a tile": with_infinities(5, 300),
    "signed zeros": torch.tensor([[0.0, -0.0, -0.0], [-0.0, 0.0, 1.0], [0.0, -0.0, -1.0]]),
    "no replica": normal(0, 10),
    "a piece of no row": normal(0, 700)[:, 3:600],
    "no replica, bfloat16": normal(0, 10).bfloat16(),
    "one replica": normal(1, 10),
    "two replicas": normal(2, 11),
    "all equal": torch.full((4, 9), 2.5),
    "all infinite": torch.full((6, 9), -torch.inf),
    "one coordinate": normal(9, 1),
    "subnormal": normal(3, 20) * 1e-42,
    "float64 apart by less than float32 tells": 1 + normal(4, 50).double() * 1e-12,
    "float16": normal(4, 50).half(),
    "bfloat16": normal(8, 700).bfloat16(),
    "transposed": normal(30, 4).T,
    "float64, transposed": normal(30, 4).double().T,
    "every other coordinate": normal(5, 801)[:, ::2],
    "every other row": normal(11, 300)[::2],
    "a piece of every row": normal(9, 700)[:, 3:600],
    "the same row again and again": normal(1, 20).expand(6, 20),
    "exactly a block": normal(8, 256),
    "a block and one": normal(8, 257),
    "16 replicas": normal(16, 333),
    "100 replicas": normal(100, 50),
    "100 replicas with ties": whole_numbers(100, 300, 40),
    "128 replicas in order": torch.arange(128.0).view(128, 1),
    "many replicas": torch.arange(260.0).view(130, 2) % 200,
}
FAST = {"compiled": ranking_compiled.lead_sums, "torch operations": ranking.lead_sums}
over_cases = pytest.mark.parametrize("updates", CASES.values(), ids=CASES.keys())
over_ways = pytest.mark.parametrize("lead_sums", FAST.values(), ids=FAST.keys())


def leads_by_scipy(updates):
    return torch.from_numpy(
        2 * rankdata(updates.double().numpy(), axis=0) - len(updates) - 1
    ).long()


@over_ways
@over_cases
def test_sums_are_exactly_those_of_scipys_ranks(updates, lead_sums):
    total, squares = lead_sums(updates)
    leads = leads_by_scipy(updates)
    assert (total.dtype, squares.dtype) == (torch.int64, torch.int64)
    assert total.tolist() == leads.sum(dim=1).tolist()
    assert squares.tolist() == (leads**2).sum(dim=1).tolist()


@over_cases
def test_moments_are_those_of_scipys_ranks(updates):
    moments = rank_moments(updates)
    ranks = torch.from_numpy(rankdata(updates.double().numpy(), axis=0, method="average"))
    std = (
        ranks.std(dim=1, correction=1)
        if len(updates) and updates.shape[1] > 1
        else torch.zeros(len(updates)).double()
    )
    torch.testing.assert_close(moments.mean, ranks.mean(dim=1), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(moments.std, std, rtol=1e-9, atol=1e-9)


def test_an_example_by_hand():
    # Ranks: 1 and 1.5; 2 and 1.5; 3 and 3.
    moments = rank_moments(torch.tensor([[1.0, 2.0], [3.0, 2.0], [5.0, 9.0]]))
    assert moments.mean.tolist() == [1.25, 1.75, 3.0]
    assert moments.std.tolist() == pytest.approx([0.125**0.5, 0.125**0.5, 0.0])


@over_ways
@pytest.mark.parametrize("coordinates", [1, 7, 8, 13, 14, 15, 50])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_more_coordinates_than_fit_into_a_part(monkeypatch, lead_sums, coordinates, dtype):
    monkeypatch.setattr(ranking, "_BLOCK", 7)
    monkeypatch.setattr(ranking_compiled, "PART", 14)
    monkeypatch.setattr(ranking_compiled, "_STAGED", 7 * 5)
    updates = whole_numbers(5, coordinates, 4).to(dtype)
    total, squares = lead_sums(updates)
    leads = leads_by_scipy(updates)
    assert total.tolist() == leads.sum(dim=1).tolist()
    assert squares.tolist() == (leads**2).sum(dim=1).tolist()


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_the_real_sizes_of_parts(dtype):
    coordinates = ranking_compiled.PART + 3
    updates = whole_numbers(3, coordinates, 5).to(dtype)
    for fast, plain in zip(
        ranking_compiled.lead_sums(updates), ranking.lead_sums(updates), strict=True
    ):
        assert torch.equal(fast, plain)


def test_sums_that_no_32_bits_hold():
    # The squared leads of the last row add up to 2.7 billion.
    updates = torch.arange(300.0).view(300, 1).expand(300, 30_000).contiguous()
    total, squares = ranking_compiled.lead_sums(updates)
    leads = 2 * torch.arange(300) - 299
    assert torch.equal(total, 30_000 * leads)
    assert torch.equal(squares, 30_000 * leads**2)


@pytest.mark.parametrize("processors", [1, 6])
def test_parts_come_in_their_order_on_any_number_of_processors(processors, monkeypatch):
    monkeypatch.setattr(columns.os, "sched_getaffinity", lambda _: set(range(processors)))
    assert columns.deal(lambda *span: span, 10, 3) == [(0, 3), (3, 6), (6, 9), (9, 10)]
    assert columns.deal(lambda *span: span, 0, 3) == []


def test_without_numba_torch_operations_do(monkeypatch):
    updates = whole_numbers(6, 100, 4)
    usual = ranking.rank_sums(updates)
    monkeypatch.setitem(sys.modules, "tdml.trust.ranking_compiled", None)
    monkeypatch.delattr("tdml.trust.ranking_compiled")
    ranking.compiled.cache_clear()
    try:
        assert ranking.compiled() is None
        plain = ranking.rank_sums(updates)
    finally:
        ranking.compiled.cache_clear()
    assert torch.equal(plain.total, usual.total)
    assert torch.equal(plain.squares, usual.squares)


def test_sums_over_pieces_add_up():
    updates = whole_numbers(4, 30, 3)
    added = ranking.rank_sums(updates[:, :11]) + ranking.rank_sums(updates[:, 11:])
    together = rank_moments(updates)
    assert added.coordinates == 30
    assert torch.equal(added.moments().mean, together.mean)
    assert torch.equal(added.moments().std, together.std)


def test_a_single_coordinate_has_no_spread():
    assert rank_moments(torch.tensor([[3.0], [1.0], [2.0]])).std.tolist() == [0.0, 0.0, 0.0]


@over_ways
def test_no_coordinates_make_no_sums(lead_sums):
    for sums in lead_sums(torch.empty(3, 0)):
        assert sums.tolist() == [0, 0, 0]


def test_of_no_coordinates_all_are_in_the_middle():
    moments = rank_moments(torch.empty(4, 0))
    assert moments.mean.tolist() == [2.5] * 4
    assert moments.std.tolist() == [0.0] * 4


def test_moments_are_float64():
    moments = rank_moments(normal(3, 5))
    assert (moments.mean.dtype, moments.std.dtype) == (torch.float64, torch.float64)


@over_ways
def test_the_updates_are_left_as_they_were(lead_sums):
    updates = normal(4, 20).requires_grad_()
    before = updates.detach().clone()
    lead_sums(updates)
    assert torch.equal(updates, before)


class SaidToBeOnAGPU(torch.Tensor):
    """Updates in the host's memory that say otherwise."""

    device = torch.device("cuda")


def test_updates_on_a_gpu_go_to_what_is_for_gpus(monkeypatch):
    updates, asked = whole_numbers(3, 20, 4), []
    monkeypatch.setattr(
        ranking, "on_gpu", lambda *what: asked.append(what) or ranking_compiled.lead_sums
    )
    usual = rank_moments(updates)
    assert asked == []
    moments = rank_moments(updates.as_subclass(SaidToBeOnAGPU))
    assert asked == [(torch.device("cuda"), torch.float32, 3)]
    assert torch.equal(moments.std, usual.std)


def broken(updates):
    raise RuntimeError("no C compiler")


@pytest.mark.parametrize(
    ("kernels", "reason"), [(None, "ranking_triton"), (SimpleNamespace(lead_sums=broken), "no C")]
)
def test_without_triton_torch_operations_do_on_a_gpu(monkeypatch, caplog, kernels, reason):
    monkeypatch.setitem(sys.modules, "tdml.trust.ranking_triton", kernels)
    monkeypatch.delattr("tdml.trust.ranking_triton", raising=False)
    caplog.set_level("INFO")
    ranking.on_gpu.cache_clear()
    try:
        ways = [ranking.on_gpu(torch.device("cpu"), torch.float32, 3) for _ in range(2)]
    finally:
        ranking.on_gpu.cache_clear()
    assert ways == [ranking.lead_sums] * 2
    (line,) = caplog.messages
    assert line.startswith("3 updates on cpu are ranked by torch operations, without Triton: ")
    assert reason in line
    assert "\n" not in line


def test_kernels_that_compile_are_used(monkeypatch):
    kernels = SimpleNamespace(lead_sums=ranking_compiled.lead_sums)
    monkeypatch.setitem(sys.modules, "tdml.trust.ranking_triton", kernels)
    monkeypatch.delattr("tdml.trust.ranking_triton", raising=False)
    ranking.on_gpu.cache_clear()
    try:
        assert ranking.on_gpu(torch.device("cpu"), torch.float32, 3) is kernels.lead_sums
    finally:
        ranking.on_gpu.cache_clear()
