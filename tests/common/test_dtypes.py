"""What float32 makes of other numbers."""

import pytest
import torch

from tdml.common.dtypes import rounds_to_few

_MOMENT = 1_700_000_000


@pytest.mark.parametrize(
    ("numbers", "few"),
    [
        ([_MOMENT + i for i in range(100)], True),
        ([_MOMENT, _MOMENT + 1], True),
        ([_MOMENT + 1000 * i for i in range(100)], False),
        ([float(i) for i in range(100)], False),
        ([0.1 * i for i in range(100)], False),
        ([1.0, 1.0 + 1e-12, 2.0, 3.0], False),
        ([_MOMENT] * 9, False),
    ],
    ids=["moments", "two", "hours", "small", "fractions", "a pair among others", "one"],
)
@pytest.mark.parametrize("kind", [torch.float64, torch.int64])
def test_numbers_that_cannot_be_told_apart_in_float32(numbers, few, kind):
    assert rounds_to_few(torch.tensor(numbers, dtype=kind)) is few
