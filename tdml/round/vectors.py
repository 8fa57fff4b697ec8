"""A node's vectors, which it shows block by block: its update, and the states that it has kept."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from tdml.common.digest import digest
from tdml.common.merkle import root
from tdml.round.fleet import Replica
from tdml.trust.commitment import block_span, count_blocks, in_blocks, is_plain


@dataclass(frozen=True)
class Vector:
    """Which of a node's vectors."""

    name: str  # UPDATE, INNER, BEFORE, AFTER, or that of a state that was kept: `state_before`
    stage: int
    size: int  # of the vector, float32
    content: str | None = None  # the digest that it must have; None: not known


class DigestMismatch(Exception):
    """What a node of a replica shows does not have the digest that it had told before, or not the
    form. A node that shows nothing at all raises `ReplicaLost`."""

    def __init__(self, replica: int, stage: int) -> None:
        self.replica, self.stage = replica, stage
        super().__init__(f"stage {stage} shows something else than it had bound itself to")


def shown_blocks(source: Replica, vector: Vector) -> Iterator[torch.Tensor]:
    """Fetch a vector from a node of a replica, block by block, and check every block.

    Raises:
        DigestMismatch: the node shows something else, or something of another form, from which
            nobody could take steps.
    """
    stage, size, content = vector.stage, vector.size, vector.content
    blocks = source.digests(vector.name, stage)
    if len(blocks) != count_blocks(size) or (content is not None and root(blocks) != content):
        raise DigestMismatch(source.index, stage)
    for number, expected in enumerate(blocks):
        block = source.reveal(vector.name, stage, number)
        start, stop = block_span(size, number)
        if not is_plain(block, (stop - start,), torch.float32) or digest(block).hex() != expected:
            raise DigestMismatch(source.index, stage)
        yield block


def relay(source: Replica, vector: Vector, target: Replica) -> None:
    """Hand a node's vector on to the same stage of another replica. Raises as `shown_blocks`."""
    for number, block in enumerate(shown_blocks(source, vector)):
        target.hold(vector.stage, number, block)


def hold_all(target: Replica, update: Sequence[torch.Tensor]) -> None:
    """Hand an update, (d_s,) by stage, to a replica that is to evaluate it."""
    for stage, vector in enumerate(update):
        for number, block in enumerate(in_blocks(vector)):
            target.hold(stage, number, block)


def fetch_vector(source: Replica, vector: Vector) -> torch.Tensor:
    """A node's whole vector, (size,) float32. Raises as `shown_blocks`."""
    return torch.cat(list(shown_blocks(source, vector)))
