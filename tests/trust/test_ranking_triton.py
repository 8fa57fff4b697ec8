"""The kernels for GPUs: run where there is a GPU; by Triton's interpreter and its compiler also
where there is none."""

import os
import subprocess
import sys

import pytest
import torch

from tdml.trust import ranking
from tests.trust.test_ranking import CASES, leads_by_scipy, normal, whole_numbers

triton = pytest.importorskip(
    "triton", reason="Triton is missing: torch brings it where it is built for GPUs"
)

from tdml.trust import ranking_triton as kernels  # noqa: E402

INTERPRETED = os.environ.get("TRITON_INTERPRET") == "1"
DEVICE = torch.device("cpu" if INTERPRETED else "cuda")
MOST_INTERPRETED = 40  # replicas: of more the interpreter takes minutes
executed = pytest.mark.skipif(
    not INTERPRETED and not torch.cuda.is_available(), reason="no GPU: see the interpreter's"
)
compiled = pytest.mark.skipif(INTERPRETED, reason="interpreted, not compiled")


@pytest.mark.timeout(600)  # half a minute of two free cores
@pytest.mark.skipif(INTERPRETED, reason="this is the interpreter's run")
def test_all_that_is_executed_here_by_the_interpreter():
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__],
        check=False,
        env=os.environ | {"TRITON_INTERPRET": "1"},
        capture_output=True,
        text=True,
        timeout=580,
    )
    assert run.returncode == 0, run.stdout[-4000:]
    assert " passed" in run.stdout


@pytest.fixture
def lead_sums(monkeypatch):
    """The kernel in steps small enough for several to be taken."""
    monkeypatch.setattr(kernels, "_TRIPS", 2)
    return kernels.lead_sums


def assert_exact(sums, updates):
    leads = leads_by_scipy(updates)
    total, squares = sums
    assert (total.dtype, squares.dtype, total.device.type) == (torch.int64, torch.int64, "cpu")
    assert total.tolist() == leads.sum(dim=1).tolist()
    assert squares.tolist() == (leads**2).sum(dim=1).tolist()


@executed
@pytest.mark.parametrize("updates", CASES.values(), ids=CASES.keys())
def test_sums_are_exactly_those_of_scipys_ranks(updates, lead_sums):
    if len(updates) > kernels.MOST:
        pytest.skip("more than the kernel takes")
    assert_exact(lead_sums(updates.to(DEVICE)), updates)


@executed
@pytest.mark.parametrize("replicas", [1, 2, kernels.MOST])
def test_few_replicas_and_as_many_as_it_takes(replicas, lead_sums):
    updates = whole_numbers(replicas, 131, 7)
    assert_exact(lead_sums(updates.to(DEVICE)), updates)


def test_more_are_left_to_torch_operations():
    with pytest.raises(ValueError, match="fit into registers"):
        kernels.lead_sums(torch.zeros(kernels.MOST + 1, 1))


@executed
def test_not_a_number_is_neither_above_nor_below(lead_sums):
    updates = whole_numbers(5, 40, 3)
    updates[whole_numbers(5, 40, 4) == 0] = torch.nan
    for sums, plain in zip(lead_sums(updates.to(DEVICE)), ranking.lead_sums(updates), strict=True):
        assert sums.tolist() == plain.tolist()


@executed
def test_rows_further_apart_than_32_bits_tell(lead_sums):
    # on a CPU only what is touched takes memory
    far = torch.empty(3, 2**30 + 3, dtype=torch.bfloat16, device=DEVICE)
    updates = normal(3, 20).bfloat16()
    far[:, -20:] = updates.to(DEVICE)
    assert_exact(lead_sums(far[:, -20:]), updates)


@executed
def test_no_coordinates_make_no_sums(lead_sums):
    for sums in lead_sums(torch.empty(3, 0, device=DEVICE)):
        assert sums.tolist() == [0, 0, 0]


@executed
def test_the_updates_are_left_as_they_were(lead_sums):
    updates = normal(4, 20).to(DEVICE).requires_grad_()
    before = updates.detach().clone()
    lead_sums(updates)
    assert torch.equal(updates, before)


@pytest.mark.skipif(INTERPRETED or not torch.cuda.is_available(), reason="no GPU")
@pytest.mark.parametrize("replicas", [3, 30])
def test_a_gpus_moments_are_a_processors_in_little_memory(replicas):
    updates = whole_numbers(replicas, 1_000_003, 50)
    there = updates.to(DEVICE)
    fast = ranking.on_gpu(there.device, there.dtype, replicas) is kernels.lead_sums
    assert fast == (replicas <= kernels.MOST)
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    sums, usual = ranking.rank_sums(there), ranking.rank_sums(updates)
    assert torch.cuda.max_memory_allocated() - before < 0.05 * there.nbytes
    assert (sums.total.tolist(), sums.squares.tolist()) == (
        usual.total.tolist(),
        usual.squares.tolist(),
    )


@compiled
@pytest.mark.parametrize("dtype", ["fp32", "bf16", "fp64"])
@pytest.mark.parametrize("capability", [80, 90])
def test_the_compiler_takes_the_kernels(dtype, capability):
    constants = {"replicas": 8, "width": kernels._WIDTH, "trips": kernels._TRIPS, "step": 1}
    code = compile_for(capability, constants, dtype)
    # Values that are smaller than the smallest normal number must not be taken for 0.
    assert ".ftz" not in code.asm["ptx"]


def compile_for(capability, constants, dtype):
    from triton.backends.compiler import GPUTarget

    kernel = kernels._add_up
    types = dict.fromkeys(kernel.arg_names, "i32") | {"updates": f"*{dtype}", "sums": "*i32"}
    types |= dict.fromkeys(constants, "constexpr")
    source = triton.compiler.ASTSource(kernel, types, constexprs=constants)
    return triton.compile(source, target=GPUTarget("cuda", capability, 32))
