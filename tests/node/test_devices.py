import os
from collections.abc import Iterator
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch

from tdml.errors import SettingError
from tdml.node.devices import (
    check_precision,
    choose_device,
    machine_kind,
    make_repeatable,
    own_gpu,
    usual_threads,
)


@pytest.fixture
def torch_as_it_was() -> Iterator[None]:
    before = (
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
    )
    fill, benchmark = (
        torch.utils.deterministic.fill_uninitialized_memory,
        torch.backends.cudnn.benchmark,
    )
    convolutions, products = (
        torch.backends.cudnn.allow_tf32,
        torch.backends.cuda.matmul.allow_tf32,
    )
    yield
    torch.use_deterministic_algorithms(before[0], warn_only=before[1])
    torch.utils.deterministic.fill_uninitialized_memory = fill
    torch.backends.cudnn.benchmark = benchmark
    torch.backends.cudnn.allow_tf32 = convolutions
    torch.backends.cuda.matmul.allow_tf32 = products


def test_steps_are_made_repeatable_and_nothing_is_refused(
    torch_as_it_was: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    torch.backends.cudnn.benchmark = True
    make_repeatable()
    assert torch.are_deterministic_algorithms_enabled()
    # a model without such a kernel still trains
    assert torch.is_deterministic_algorithms_warn_only_enabled()
    assert not torch.backends.cudnn.benchmark
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"


def test_float32_is_not_rounded_to_tf32(torch_as_it_was: None) -> None:
    """As torch lets convolutions be, and some containers all products."""
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = True
    make_repeatable()
    assert not (torch.backends.cudnn.allow_tf32 or torch.backends.cuda.matmul.allow_tf32)


def test_a_gpu_has_a_name_only_where_it_is_a_ranks_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(
        torch.cuda,
        "get_device_properties",
        lambda device: SimpleNamespace(uuid=f"GPU-{device.index}"),
    )
    assert [own_gpu(choose_device("auto", local, 2)) for local in range(2)] == ["GPU-0", "GPU-1"]
    assert [own_gpu(choose_device("auto", local, 3)) for local in range(3)] == ["", "", ""]
    assert own_gpu(choose_device("cpu", 0, 1)) == ""


@pytest.mark.skipif(torch.cuda.device_count() > 0, reason="there is a GPU")
def test_a_gpu_that_is_not_there_is_a_users_mistake() -> None:
    assert choose_device("auto", 0, 1).device == torch.device("cpu")
    with pytest.raises(SettingError, match="device=cuda, but torch sees no GPU"):
        choose_device("cuda", 0, 1)


def test_a_gpu_without_bfloat16_is_told_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    gpu = torch.device("cuda", 0)
    monkeypatch.setattr(torch.cuda, "device", lambda device: nullcontext())
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "Tesla T4")
    monkeypatch.setattr(
        torch.cuda, "is_bf16_supported", lambda including_emulation=True: including_emulation
    )
    with pytest.raises(
        SettingError, match=r"train\.precision=bf16, but Tesla T4 has no bfloat16: set"
    ):
        check_precision("bf16", gpu)
    check_precision("fp32", gpu)
    check_precision("bf16", torch.device("cpu"))
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda including_emulation=True: True)
    check_precision("bf16", gpu)


def test_with_how_many_threads_most_compute() -> None:
    """Who joins computes with as many: of another number the bits may be others."""
    own = machine_kind(torch.device("cpu"))
    assert usual_threads([own]) == torch.get_num_threads()
    kinds = ["torch 2, AMD EPYC AVX512, 8 threads", *["torch 2, AMD EPYC AVX512, 2 threads"] * 2]
    assert usual_threads([*kinds, "torch 2, NVIDIA H200"]) == 2
    assert usual_threads(["torch 2, NVIDIA H200"]) is None
    assert usual_threads(["made up, 1000000000 threads"]) is None


def test_a_few_do_not_say_with_how_many_threads_others_compute() -> None:
    """On a single one an honest machine would be late, and gone after two rounds."""
    honest = [f"torch 2, AMD EPYC AVX512, {number} threads" for number in (8, 12, 16)]
    assert usual_threads([*honest, *["made up, 1 threads"] * 2]) is None
