import hashlib
import struct

import pytest
import torch

from tdml.trust.commitment import commitment

UPDATE = torch.tensor([1.5, -2.0])


def test_digest_of_type_shape_and_bytes():
    text = b"tdml update|3|r0.s1|torch.float32|(2,)|" + struct.pack("<2f", 1.5, -2.0)
    assert commitment(3, "r0.s1", UPDATE) == hashlib.sha256(text).hexdigest()


@pytest.mark.parametrize(
    "other",
    [
        (4, "r0.s1", UPDATE),
        (3, "r1.s1", UPDATE),
        (3, "r0.s1", UPDATE.view(2, 1)),
        (3, "r0.s1", UPDATE.view(torch.int32)),
        (3, "r0.s1", torch.nextafter(UPDATE, torch.tensor(9.0))),
        (3, "r0.s1", UPDATE.flip(0)),
    ],
    ids=["round", "node", "shape", "type", "last bit", "order"],
)
def test_anything_that_differs_changes_it(other):
    assert commitment(*other) != commitment(3, "r0.s1", UPDATE)


def test_signed_zeros_differ():
    assert commitment(1, "r0.s0", torch.tensor([0.0])) != commitment(1, "r0.s0", torch.tensor([-0.0]))


@pytest.mark.parametrize(
    "same",
    [
        UPDATE.clone().requires_grad_(),
        torch.tensor([1.5, 9.0, -2.0, 9.0])[::2],
        torch.tensor([[1.5, 0.0], [-2.0, 0.0]])[:, 0],
    ],
    ids=["with gradient", "strided", "column"],
)
def test_how_it_lies_in_memory_does_not_matter(same):
    assert commitment(3, "r0.s1", same) == commitment(3, "r0.s1", UPDATE)


@pytest.mark.parametrize("update", [torch.empty(0), torch.tensor([torch.nan, torch.inf]), UPDATE.bfloat16()])
def test_any_tensor_can_be_committed_to(update):
    assert len(commitment(1, "r0.s0", update)) == 64
