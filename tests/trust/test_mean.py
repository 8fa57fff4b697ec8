"""The mean, block by block, against loops."""

from typing import Any

import pytest
import torch

from tdml.trust.mean import combine


def combined(block: torch.Tensor, *how: Any) -> list[float]:
    out = torch.full((block.shape[1],), torch.nan)
    combine(block, *how, out)
    return out.tolist()


def test_parameters_are_averaged_by_weight_and_scale_and_buffers_by_their_median() -> None:
    block = torch.tensor([[1.0, 2, 10, 7], [3, 4, 20, 8], [5, 6, 90, 9], [1e9, -1e9, 1e9, 1e9]])
    found = combined(block, [1, 2, 1, 0], [1, 0.5, 1, 1], 2)
    assert found == [(1 + 2 * 0.5 * 3 + 5) / 4, (2 + 2 * 0.5 * 4 + 6) / 4, 20, 8]


def test_blocks_of_either_kind_alone() -> None:
    block = torch.tensor([[1.0, 5], [3, 7]])
    assert combined(block, [1, 1], [1, 1], 2) == [2, 6]
    assert combined(block, [1, 1], [1, 1], 0) == [1, 5]


@pytest.mark.parametrize(("other", "moved"), [(9.0, 2), (1e38, 2), (0.5, 0.5), (-1e38, 0)])
def test_of_two_none_moves_the_buffers_further_than_the_other(other: float, moved: float) -> None:
    """A variance of 1 that is moved by 2 on the one side stays above 0."""
    assert combined(torch.tensor([[2.0], [other]]), [1, 1], [1, 1], 0) == [moved]
    four = torch.tensor([[2.0], [other], [1e9], [-1e9]])
    assert combined(four, [1] * 4, [1] * 4, 0) == [moved]


def test_nothing_that_counts_is_nothing() -> None:
    assert combined(torch.ones(2, 3), [0, 0], [1, 1], 2) == [0, 0, 0]


@pytest.mark.parametrize("seed", range(3))
def test_the_plain_mean(seed: int) -> None:
    rows = torch.randn(5, 7, generator=torch.Generator().manual_seed(seed))
    weights = [1, 2, 0, 4, 1]
    expected = sum(w * row.double() for w, row in zip(weights, rows, strict=True)) / 8
    assert combined(rows, weights, [1] * 5, 7) == pytest.approx(expected.tolist(), abs=1e-6)


def test_what_weighs_nothing_is_not_in_the_mean() -> None:
    rows = torch.tensor([[1.0, 2], [torch.nan, torch.inf]])
    assert combined(rows, [3, 0], [1, 1], 2) == [1, 2]
    assert combined(rows, [0, 0], [1, 1], 2) == [0, 0]


def test_as_many_weights_as_rows() -> None:
    with pytest.raises(ValueError, match="shorter"):
        combined(torch.ones(3, 4), [1.0, 1.0], [1.0, 1.0], 4)
