"""Messages as bytes: MessagePack, read by the declared type. A tensor is its number among those
that travel beside.

Nothing is ever built but what the declared type names, so a peer can send wrong values but no code.
"""

import threading
from typing import Any

import msgspec
import torch

from tdml.common.dtypes import DTYPES, travels
from tdml.common.storage import alone

# What msgspec learns of a type when it first meets it is not safe to share while it learns: it
# crashes.
_one_at_a_time = threading.Lock()


class Malformed(Exception):
    """Bytes or tensors that are not what they should be; the message says why, in one line."""


def encode(value: Any) -> tuple[bytes, list[torch.Tensor]]:
    """The bytes of a value made of TDML's messages, plain containers and tensors, and its tensors,
    contiguous and alone in their storages."""
    tensors: list[torch.Tensor] = []

    def plain(part: Any) -> Any:
        if isinstance(part, torch.Tensor):
            tensors.append(alone(part.contiguous()))
            return len(tensors) - 1
        if isinstance(part, torch.dtype):
            return str(part)
        raise TypeError(f"{type(part).__name__} is no part of a message")

    return msgspec.msgpack.encode(value, enc_hook=plain), tensors


def decode(kind: Any, data: bytes, tensors: list[torch.Tensor]) -> Any:
    """Undo `encode`; every tensor must be meant exactly once.

    Args:
        kind: the type that the value must have, as it would be annotated.

    Raises:
        Malformed: it is something else.
    """
    meant: list[int] = []

    def built(part: type, raw: Any) -> Any:
        if part is torch.Tensor:
            meant.append(raw)
            return tensors[raw]
        if part is torch.dtype:
            return DTYPES[raw]
        if part is torch.Size:
            return torch.Size(raw)
        raise TypeError(f"{part} is no part of a message")

    try:
        with _one_at_a_time:
            value = msgspec.msgpack.decode(data, type=kind, dec_hook=built)
    except (
        msgspec.MsgspecError,
        TypeError,
        LookupError,
        ArithmeticError,
        ValueError,
        RecursionError,
    ) as error:
        raise Malformed(str(error)[:200]) from None
    if sorted(meant) != list(range(len(tensors))):
        raise Malformed(f"{len(tensors)} tensors came, but not each of them is meant once")
    return value


def check_tensor(tensor: torch.Tensor) -> None:
    """Look at the outside of a tensor that came from a peer, before anything reads its values.

    Raises:
        Malformed: it is not a plain dense tensor in host memory that owns the bytes which its shape
            claims.
    """
    dense = tensor.layout is torch.strided and tensor.device.type == "cpu" and travels(tensor.dtype)
    # One number that is repeated by a stride of 0 would become gigabytes at the first copy.
    if not dense or not tensor.is_contiguous() or tensor.is_neg():
        raise Malformed("a tensor is not plain")
    if (
        tensor.storage_offset() * tensor.itemsize + tensor.nbytes
        > tensor.untyped_storage().nbytes()
    ):
        raise Malformed("a tensor claims more bytes than it has")
