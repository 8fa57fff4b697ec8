"""When the referee takes two evaluations for the same."""

from dataclasses import replace

import pytest
import torch

from tdml.protocol.orders import Evaluation
from tdml.round.referee import is_equal

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
