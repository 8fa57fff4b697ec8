"""The sums over a block of updates, against a plain implementation."""

import sys

import numpy as np
import pytest
import torch
from scipy.stats import rankdata

from tdml.trust import fold as module
from tdml.trust.fold import fold, fold_stage
from tdml.trust.ranking import compiled


def updates(replicas: int, columns: int) -> torch.Tensor:
    """Of which every third column is the same for all, and every third for some, and every third
    for the first and the last."""
    made = torch.randn(replicas, columns, generator=torch.Generator().manual_seed(replicas))
    made[:, ::3] = made[:1, ::3]
    made[: replicas // 2 + 1, 1::3] = made[:1, 1::3]
    made[-1, 2::3] = made[0, 2::3]
    return made


@pytest.mark.parametrize("tool", ["compiled", "plain"])
@pytest.mark.parametrize("replicas", [1, 2, 3, 4, 5, 8, 9, 13])
@pytest.mark.parametrize("columns", [0, 1, 64, 1000])
def test_it_is_what_plain_operations_find(
    replicas: int, columns: int, tool: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PART", 300)
    if tool == "plain":
        monkeypatch.setattr(module, "compiled", lambda: None)
    made = updates(replicas, columns)
    found = fold(list(made))

    wide = made.double()
    unlike = (wide != wide[0]).any(dim=0)
    ranks = (
        rankdata(made.numpy(), axis=0)[:, unlike.numpy()] if columns else np.empty((replicas, 0))
    )
    assert found.ranks.coordinates == int(unlike.sum())
    assert torch.allclose(found.ranks.total, torch.from_numpy(ranks.sum(axis=1)))
    assert torch.allclose(found.ranks.squares, torch.from_numpy((ranks**2).sum(axis=1)))
    assert torch.allclose(found.products, wide @ wide.T, rtol=1e-12, atol=1e-12)
    assert torch.equal(found.products, found.products.T)


def test_rows_need_not_lie_in_one_piece() -> None:
    made = updates(5, 2000)
    apart = [row[100:1900] for row in made]
    assert torch.equal(fold(apart).products, fold(made[:, 100:1900].clone()).products)


def test_absurd_updates_do_not_overflow_and_others_than_numbers_show() -> None:
    huge = torch.full((3, 10), 3e38)
    assert fold(huge).products[0, 1] == pytest.approx(9e77, rel=1e-3)
    for odd in (float("nan"), float("inf")):
        huge[1, 4] = odd
        assert not fold(huge).products[1, 1].isfinite()


@pytest.mark.parametrize("place", [1, 4], ids=["parameters", "buffers"])
@pytest.mark.parametrize("odd", [float("nan"), float("inf")])
def test_what_is_no_number_shows_wherever_it_is(place: int, odd: float) -> None:
    made = torch.ones(3, 6)
    made[1, place] = odd
    assert fold_stage(made, 3).finite.tolist() == [True, False, True]


def test_parameters_and_buffers_are_told_apart() -> None:
    found = fold_stage(torch.tensor([[3.0, 4, 100], [0, 1, 100]]), 2)
    assert found.parameters.norms.tolist() == [5, 1]
    assert found.buffers.norms.tolist() == [100, 100]


def test_the_compiled_one_is_what_runs_here() -> None:
    assert compiled() is not None
    fold(torch.zeros(2, 1))
    assert "tdml.trust.fold_compiled" in sys.modules
