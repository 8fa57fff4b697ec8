"""Commit before reveal: what a node is held to, block by block."""

import hashlib
from collections.abc import Sequence
from typing import TypeGuard

import torch

from tdml.common import digest
from tdml.common.merkle import root
from tdml.common.storage import alone

BLOCK = 1 << 20  # numbers of an update that travel, are hashed and are ranked at a time: 4 MiB


def in_blocks(vector: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """A flat vector in the pieces that travel; an empty one is one empty piece."""
    return tuple(map(alone, vector.split(BLOCK))) if len(vector) else (vector,)


def count_blocks(size: int) -> int:
    """How many pieces a vector of `size` numbers has."""
    return max(1, -(-size // BLOCK))


def block_span(size: int, block: int) -> tuple[int, int]:
    """From where to where a block reaches."""
    return block * BLOCK, min(size, (block + 1) * BLOCK)


def block_digests(blocks: Sequence[torch.Tensor]) -> tuple[str, ...]:
    """BLAKE3, in hex, of every block's type, shape and bytes."""
    return tuple(map(bytes.hex, digest.digests(blocks)))


def content(*vectors: torch.Tensor) -> str:
    """What names flat vectors: the Merkle root over the digests of all their blocks."""
    return root(block_digests([block for vector in vectors for block in in_blocks(vector)]))


def commitment(round_number: int, node: str, content: str) -> str:
    """SHA-256, in hex, of an update's content bound to the round and the node: another node's is
    useless to whoever copies it."""
    return hashlib.sha256(f"tdml commitment|{round_number}|{node}|{content}".encode()).hexdigest()


def is_plain(value: object, shape: Sequence[int], dtype: torch.dtype) -> TypeGuard[torch.Tensor]:
    """Whether what a node sent is a tensor with values, of this shape and type."""
    return (
        isinstance(value, torch.Tensor)
        and value.layout == torch.strided
        and value.device.type != "meta"
        and value.dtype == dtype
        and tuple(value.shape) == tuple(shape)
    )
