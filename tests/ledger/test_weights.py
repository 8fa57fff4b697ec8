import struct
from hashlib import sha256

import pytest
import torch

from tdml.ledger.weights import digest_of_weights

STATE = {"b.count": torch.tensor(7), "a.weight": torch.tensor([[1.0, -2.0], [0.5, 3.0]])}


def test_the_digest_is_that_of_names_types_shapes_and_bytes():
    table = '{"weights":[["a.weight","torch.float32",[2,2]],["b.count","torch.int64",[]]]}'
    plain = sha256(table.encode() + struct.pack("<4fq", 1.0, -2.0, 0.5, 3.0, 7)).hexdigest()
    assert digest_of_weights(STATE) == plain == digest_of_weights(dict(reversed(STATE.items())))


def test_layout_in_memory_does_not_matter():
    turned = STATE | {
        "a.weight": STATE["a.weight"].T.contiguous().T,
        "b.count": torch.tensor(7, requires_grad=False),
    }
    assert digest_of_weights(turned) == digest_of_weights(STATE)


@pytest.mark.parametrize(
    "changed",
    [
        {"a.weight": torch.tensor([[1.0, -2.0], [0.5, 3.5]])},
        {"a.weight": torch.tensor([1.0, -2.0, 0.5, 3.0])},
        {"a.weight": STATE["a.weight"].view(torch.int32)},
        {"c": torch.zeros(0)},
        {"a.weight": torch.tensor([[-0.0 + 1, -2.0], [0.5, float("nan")]])},
    ],
)
def test_any_change_changes_it(changed):
    assert digest_of_weights(STATE | changed) != digest_of_weights(STATE)


def test_all_types_have_one():
    for dtype in (torch.bool, torch.bfloat16, torch.float16, torch.complex64, torch.uint8):
        assert len(digest_of_weights({"x": torch.ones(3, dtype=dtype)})) == 64


@pytest.mark.parametrize(
    "state",
    [
        {"a": 3},
        {1: torch.zeros(1)},
        {"a": torch.zeros(2, device="meta")},
        {"a": torch.zeros(2).to_sparse()},
    ],
    ids=str,
)
def test_what_are_no_weights_has_none(state):
    with pytest.raises(ValueError, match="is no dense tensor"):
        digest_of_weights(state)
