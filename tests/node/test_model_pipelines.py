"""Gradients of language models in pipelines of real processes against those of the model in one
piece."""

from pathlib import Path

import pytest
import torch

from tdml.common.vision import mend_torchvision
from tests.jobs import forked
from tests.node.model_pipelines import in_one_piece, main

mend_torchvision()

_GPT = ["gpt", "gpt-tied", "gpt-bf16", "gpt-tied-bf16"]
_HF = [
    *(f"{family}{tied}" for family in ("llama", "gpt2", "qwen2", "qwen3") for tied in ("", "-tied")),
    "llama-bf16", "llama-tied-bf16", "bert", "bert-tied", "bert-classifier",
]  # fmt: skip
_SHAPES = {"2": (2, ""), "4": (4, ""), "2 x 4, interleaved": (2, "-interleaved")}


def _gradients(folder: Path, stages: int, cases: list[str]) -> dict[str, tuple[float, dict]]:
    """By case: the loss, and the gradients of all stages."""
    outs = [folder / f"{rank}.pt" for rank in range(stages)]
    processes = [
        forked(main, rank, stages, folder / "store", out, cases) for rank, out in enumerate(outs)
    ]
    for process in processes:
        process.join(200)
    assert [process.exitcode for process in processes] == [0] * stages
    found = [torch.load(out, weights_only=True) for out in outs]
    return {
        case: (found[-1][case][0], {k: g for part in found for k, g in part[case][1].items()})
        for case in cases
    }


_RUNS = [(_GPT, shape) for shape in list(_SHAPES)[1:]] + [
    pytest.param(_GPT, "2", marks=pytest.mark.slow),
    (_HF, "2"), *(pytest.param(_HF, shape, marks=pytest.mark.slow) for shape in list(_SHAPES)[1:]),
]  # fmt: skip


@pytest.mark.parametrize(("cases", "shape"), _RUNS)
def test_gradients_are_those_of_the_model(cases: list[str], shape: str, tmp_path: Path) -> None:
    """To the bit, but where two ends' gradients of one matrix are added in another order."""
    if cases is _HF:
        pytest.importorskip("transformers", reason="needs pip install 'tdml[hf]'")
    stages, trait = _SHAPES[shape]
    found = _gradients(tmp_path, stages, [case + trait for case in cases])
    for case in cases:
        loss, gradients = found[case + trait]
        expected_loss, expected = in_one_piece(case)
        assert loss == expected_loss, case
        assert gradients.keys() == expected.keys(), case
        for name, gradient in gradients.items():
            apart = float((gradient - expected[name]).norm() / expected[name].norm())
            assert apart <= (1e-7 if "tied" in case else 0.0), (case, name, apart)
