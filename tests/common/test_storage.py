"""Tensors that share no storage with others."""

import pytest
import torch

from tdml.common.storage import alone
from tdml.trust.commitment import BLOCK, in_blocks
from tdml.wire.codec import encode

_DTYPES = (torch.float32, torch.bfloat16, torch.int64, torch.bool)


@pytest.mark.parametrize("dtype", _DTYPES, ids=str)
def test_a_part_has_a_storage_of_its_own_and_is_not_copied(dtype: torch.dtype) -> None:
    whole = torch.arange(60).reshape(10, 6).to(dtype)
    part = alone(whole[3:5])
    assert torch.equal(part, whole[3:5]) and part.dtype == dtype
    assert part.untyped_storage().nbytes() == part.nbytes
    assert part.data_ptr() == whole[3:5].data_ptr()


def test_the_memory_outlives_the_whole() -> None:
    part = alone(torch.arange(1 << 20)[5:10])
    torch.zeros(1 << 20).add_(1)
    assert part.tolist() == [5, 6, 7, 8, 9]


def test_what_is_alone_or_empty_stays() -> None:
    for tensor in (torch.ones(4), torch.ones(4)[:0], torch.tensor(1.0), torch.ones(2, 2)):
        assert alone(tensor) is tensor


def test_one_number_of_many_and_one_that_is_trained() -> None:
    trained = torch.ones(5, requires_grad=True)
    assert alone(trained[2]).item() == 1 and not alone(trained[2:4]).requires_grad


def test_what_travels_is_alone() -> None:
    """RPC copies the rest once more, on threads that slow the one that trains."""
    vector = torch.arange(3 * BLOCK + 7, dtype=torch.float32)
    _, tensors = encode({"a": vector[7:9], "b": [vector.view(-1, 1)[5:]]})
    for tensor in (*in_blocks(vector), *tensors):
        assert tensor.untyped_storage().nbytes() == tensor.nbytes
    for block, given in zip(in_blocks(vector), vector.split(BLOCK), strict=True):
        assert block.data_ptr() == given.data_ptr()
