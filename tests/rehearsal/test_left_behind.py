"""A layer that a block reaches past the model, as through a list, has no memory in its stage."""

import pytest
import torch
from torch.nn import functional as F

from tdml.rehearsal.left_behind import NoneLeftBehind


def test_nothing_is_computed_with_a_tensor_that_has_no_memory() -> None:
    inputs, weight = torch.ones(4, 5), torch.empty(3, 5, device="meta")
    with NoneLeftBehind(), pytest.raises(RuntimeError, match=r"linear takes .* on the meta device"):
        F.linear(inputs, weight)


def test_its_form_may_be_asked_for() -> None:
    weight = torch.empty(3, 5, device="meta")
    with NoneLeftBehind():
        assert torch.zeros(weight.shape).equal(torch.zeros(3, 5))
        assert weight.sum(0).shape == (5,)
