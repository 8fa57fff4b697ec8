"""Merkle trees over SHA-256 digests, in the manner of RFC 6962 (section 2.1).

Leaves and inner nodes are hashed with different prefixes, so neither can pass for the other; a tree
whose number of leaves is no power of two is split unevenly, so no leaf is ever counted twice.
Digests are 64 lower-case hex digits.
"""

import hashlib
from collections.abc import Sequence
from typing import Literal

Step = tuple[Literal["left", "right"], str]  # where the neighbour stands, and its digest


def root(leaves: Sequence[str]) -> str:
    """The root over the leaves, which are digests themselves; of none it is SHA-256 of nothing."""
    if not leaves:
        return hashlib.sha256().hexdigest()
    if len(leaves) == 1:
        return _leaf(leaves[0])
    middle = _split(len(leaves))
    return _node(root(leaves[:middle]), root(leaves[middle:]))


def path(leaves: Sequence[str], index: int) -> list[Step]:
    """The neighbours on the way from leaf `index` up to the root, the lowest first."""
    assert 0 <= index < len(leaves)
    if len(leaves) == 1:
        return []
    middle = _split(len(leaves))
    if index < middle:
        return [*path(leaves[:middle], index), ("right", root(leaves[middle:]))]
    return [*path(leaves[middle:], index - middle), ("left", root(leaves[:middle]))]


def climbs_to(leaf: str, path: Sequence[Step]) -> str:
    """The root to which a path leads from a leaf.

    Raises:
        ValueError: a digest is not hexadecimal.
    """
    digest = _leaf(leaf)
    for side, neighbour in path:
        digest = _node(neighbour, digest) if side == "left" else _node(digest, neighbour)
    return digest


def _split(leaves: int) -> int:
    """The largest power of two below the number of leaves."""
    return 1 << (leaves - 1).bit_length() - 1


def _leaf(digest: str) -> str:
    return hashlib.sha256(b"\x00" + bytes.fromhex(digest)).hexdigest()


def _node(left: str, right: str) -> str:
    return hashlib.sha256(b"\x01" + bytes.fromhex(left) + bytes.fromhex(right)).hexdigest()
