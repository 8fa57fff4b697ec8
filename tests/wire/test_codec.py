"""Typed bytes: what they cannot say."""

from dataclasses import make_dataclass

import msgspec
import pytest
import torch

from tdml.models.split import Border
from tdml.wire.codec import Malformed, check_tensor, decode, encode
from tests.wire.threads import assert_survived

_ONE = torch.ones(3)
_PAIR = tuple[torch.Tensor, torch.Tensor]


@pytest.mark.parametrize(
    ("kind", "value", "tensors"),
    [
        (torch.Tensor, 0, []),
        (torch.Tensor, 0, [_ONE, _ONE]),
        (_PAIR, [0, 0], [_ONE]),
        (_PAIR, [0, 0], [_ONE, _ONE]),
        (_PAIR, [1, -2], [_ONE, _ONE]),
        (torch.Tensor, "0", [_ONE]),
        (torch.Tensor, 0.0, [_ONE]),
        (torch.Tensor, None, []),
        (torch.Tensor, {"0": 0}, [_ONE]),
        (int, 0, [_ONE]),
        (Border, {"shape": [1, 2], "dtype": "torch.complex64"}, []),
        (Border, {"shape": [1, 2], "dtype": ["torch.float32"]}, []),
        (Border, {"shape": 7, "dtype": "torch.float32"}, []),
    ],
)
def test_malformed(kind: type, value: object, tensors: list[torch.Tensor]) -> None:
    with pytest.raises(Malformed):
        decode(kind, msgspec.msgpack.encode(value), tensors)


def test_what_is_nested_too_deep_is_malformed() -> None:
    """Where nothing reads it, too."""
    data = b"\x81\xa1x" + b"\x91" * 100_000 + b"\x00"  # {"x": [[[…]]]}
    with pytest.raises(Malformed):
        decode(Border, data, [])


def test_tensors_come_back_in_their_places_and_contiguous() -> None:
    data, tensors = encode((torch.arange(6).view(2, 3).t(), torch.zeros(0)))
    assert all(tensor.is_contiguous() for tensor in tensors)
    first, second = decode(_PAIR, data, tensors)
    assert first.tolist() == [[0, 3], [1, 4], [2, 5]]
    assert second.shape == (0,)


@pytest.mark.parametrize(
    "dtype",
    [torch.int8, torch.int16, torch.int64, torch.uint8, torch.uint16, torch.uint32, torch.bfloat16],
)
def test_inputs_of_any_usual_type_travel(dtype: torch.dtype) -> None:
    """Else no node could read its orders, and the job would wait for nodes to come back."""
    border = Border(torch.Size([2]), dtype)
    data, tensors = encode((border, torch.ones(2).to(dtype)))
    told, value = decode(tuple[Border, torch.Tensor], data, tensors)
    check_tensor(value)
    assert (told, value.dtype) == (border, dtype)


def reading_a_new_type():
    kind, value = int, 1
    for name in "abc":
        inner = kind
        kind = make_dataclass(name, [("one", inner), ("many", tuple[inner, ...])])
        value = kind(value, (value, value))
    data, _ = encode(value)
    return lambda: decode(kind, data, [])


def test_threads_that_meet_a_type_for_the_first_time_together() -> None:
    """Without care the process dies, as whole coordinators did."""
    assert_survived(reading_a_new_type)
