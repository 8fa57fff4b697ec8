"""When the referee takes two evaluations for the same, and what rounding does to its own."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import nn

from tdml.data.pieces import Piece
from tdml.lab.laboratory import Laboratory
from tdml.protocol.orders import EvaluateOrder, Evaluation
from tdml.round.copies import Copies
from tdml.round.evaluator import Evaluator, is_equal
from tdml.round.referee import Recomputation, item_digest
from tdml.round.rounding import Rounding
from tdml.trust.dispute import STATE

_LOG, _ROWS = torch.zeros(1, 0, 32, dtype=torch.uint8), torch.zeros(2, 3, dtype=torch.float64)


def _of(*losses: float, dtype: torch.dtype = torch.float32) -> Evaluation:
    return Evaluation(torch.tensor(losses, dtype=dtype), _ROWS, _LOG)


def test_what_is_no_number_is_equal_to_itself() -> None:
    """Else a report of such a loss could never be held against whoever says that it is one."""
    nan = float("nan")
    assert is_equal(_of(1.0, nan), _of(1.0, nan))
    assert not is_equal(_of(1.0, nan), _of(1.0, 2.0))
    assert not is_equal(_of(1.0, 2.0), _of(1.0, nan))


@pytest.mark.parametrize(
    "other",
    [
        _of(1.0, 2.0, 3.0), _of(1.0, 2.0, dtype=torch.float64), _of(1.0, 2.0000002),
        replace(_of(1.0, 2.0), rows=_ROWS + 1), replace(_of(1.0, 2.0), log=_LOG[:, :0, :31]),
        replace(_of(1.0, 2.0), log=torch.ones(1, 1, 32, dtype=torch.uint8)),
    ],
)  # fmt: skip
def test_another_form_or_the_last_bit_is_another_answer(other: Evaluation) -> None:
    assert not is_equal(_of(1.0, 2.0), other)


class _Shift(nn.Module):
    """An adapter, which does nothing yet, and has constants."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.by = nn.Parameter(torch.zeros(width))
        self.register_buffer("scales", torch.linspace(0.1, 3.0, width))
        self.register_buffer("places", 500 + torch.arange(width))
        self.register_buffer("mask", torch.full((width,), -torch.inf))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return inputs[..., self.places - 500] + self.by


def adapted() -> nn.Sequential:
    frozen = nn.Sequential(nn.Embedding(16, 8), nn.Linear(8, 16)).requires_grad_(False)
    return nn.Sequential(*frozen, _Shift(16))


def tokens() -> tuple[torch.Tensor, torch.Tensor]:
    ids = torch.randint(16, (256, 5), generator=torch.Generator().manual_seed(0))
    return ids[:192], ids[192:]


def _of_adapters(*more: str) -> Laboratory:
    names = [
        f"model._target_={__name__}.adapted", "~model.num_classes",
        f"data._target_={__name__}.tokens",
    ]  # fmt: skip
    small = ["topology.replicas=3", "topology.stages=1", "sync.local_steps=4", "trust.budget=1"]
    return Laboratory(["task=language", *names, *small, *more])


@pytest.fixture
def laboratory() -> Laboratory:
    """Whose only numbers that change, as rounding does, are those that nobody trains."""
    return _of_adapters()


def _order() -> EvaluateOrder:
    piece = Piece("train", torch.arange(8), 0, torch.arange(8))
    return EvaluateOrder(1, (piece,), None, check=True, log=True, nonce="")


def test_rounding_changes_what_is_not_trained_of_an_evaluation_and_leaves_it_as_it_was(
    laboratory: Laboratory,
) -> None:
    job, weights = laboratory.job, laboratory.engine.weights
    evaluator, order = Evaluator(job, Copies(job)), _order()
    found = evaluator.evaluate(order, weights, [], 0)
    rounded = evaluator.evaluate(order, weights, [], 0, Rounding(evaluator.train, 0))
    assert 0 < (rounded.losses - found.losses).abs().max() < 1e-5
    assert is_equal(evaluator.evaluate(order, weights, [], 0), found)


def test_whole_numbers_are_not_rounded() -> None:
    """In bfloat16 a place of 500 would become one four away, and what is there anything."""
    laboratory = _of_adapters("train.precision=bf16")
    job, weights = laboratory.job, laboratory.engine.weights
    evaluator = Evaluator(job, Copies(job))
    found = evaluator.evaluate(_order(), weights, [], 0)
    rounded = evaluator.evaluate(_order(), weights, [], 0, Rounding(evaluator.train, 0))
    assert 0 < (rounded.losses - found.losses).abs().max() < 0.1


def test_and_of_a_step(laboratory: Laboratory, monkeypatch: pytest.MonkeyPatch) -> None:
    settler, looked = laboratory.engine.judge.auditor.settler, []

    def look(done: Recomputation, *_: Any) -> bool:
        spread = settler.referee.spread(done)
        again = settler.referee.recompute(done.window, done.item, done.shown)
        looked.append((spread, again.digest == done.digest))
        return True

    monkeypatch.setattr(settler.kinds, "is_right", look)
    monkeypatch.setattr("tdml.round.auditor.LOOK", 1)
    laboratory.play(1)
    assert looked
    assert all(0 < spread < 1e-4 and unchanged for spread, unchanged in looked)


def test_a_mask_of_infinities_hides_no_other_of_them(
    laboratory: Laboratory, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Or whoever says to be on another kind of machine could hand on any state with one in it."""
    kinds, found = laboratory.engine.judge.auditor.settler.kinds, []
    is_right = kinds.is_right

    def look(done: Recomputation, *given: Any) -> bool | None:
        if done.item.channel == STATE:
            value = [done.value[0].index_fill(0, torch.tensor([0]), torch.inf)]
            found.append(is_right(done, item_digest(done.item, value), "a kind", value))
        return is_right(done, *given)

    monkeypatch.setattr(kinds, "is_right", look)
    monkeypatch.setattr("tdml.round.auditor.LOOK", 1)
    laboratory.play(1)
    assert set(found) == {False}
