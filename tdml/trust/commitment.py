"""Commit before reveal: the digests that a node is held to, block by block."""

import hashlib
from collections.abc import Sequence
from typing import TypeGuard

import torch

from tdml.common import digest
from tdml.common.merkle import root
from tdml.common.storage import alone

BLOCK = 1 << 20  # numbers of an update that travel, are hashed and are ranked at a time: 4 MiB


def in_blocks(vector: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """A flat vector cut into blocks; an empty one is one empty block."""
    return tuple(map(alone, vector.split(BLOCK))) if len(vector) else (vector,)


def count_blocks(size: int) -> int:
    """How many blocks a vector of `size` numbers has."""
    return max(1, -(-size // BLOCK))


def block_span(size: int, block: int) -> tuple[int, int]:
    """The positions where a block begins and ends."""
    return block * BLOCK, min(size, (block + 1) * BLOCK)


def block_digests(blocks: Sequence[torch.Tensor]) -> tuple[str, ...]:
    """The BLAKE3 digests of blocks, in hex: each of type, shape and bytes."""
    return tuple(map(bytes.hex, digest.digests(blocks)))


def content(*vectors: torch.Tensor) -> str:
    """The digest of flat vectors: the Merkle root over the digests of all their blocks."""
    return root(block_digests([block for vector in vectors for block in in_blocks(vector)]))


def commitment(round_number: int, node: str, content: str) -> str:
    """SHA-256, in hex, of an update's digest with the round and the node: a copy of another node's
    commitment is of no use."""
    return hashlib.sha256(f"tdml commitment|{round_number}|{node}|{content}".encode()).hexdigest()


def is_plain(value: object, shape: Sequence[int], dtype: torch.dtype) -> TypeGuard[torch.Tensor]:
    """Whether what a node has sent is a tensor with values, of this shape and type."""
    return (
        isinstance(value, torch.Tensor)
        and value.layout == torch.strided
        and value.device.type != "meta"
        and value.dtype == dtype
        and tuple(value.shape) == tuple(shape)
    )
