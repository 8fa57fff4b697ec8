"""What a node is held to."""

import torch

from tdml.common.merkle import root
from tdml.trust.commitment import (
    BLOCK,
    block_digests,
    block_span,
    commitment,
    content,
    count_blocks,
    in_blocks,
    is_plain,
)


def test_blocks_cover_a_vector_and_name_it() -> None:
    vector = torch.arange(BLOCK + 5, dtype=torch.float32)
    blocks = in_blocks(vector)
    assert [len(block) for block in blocks] == [BLOCK, 5]
    assert len(blocks) == count_blocks(len(vector)) == 2
    assert [block_span(len(vector), i) for i in range(2)] == [(0, BLOCK), (BLOCK, BLOCK + 5)]
    assert content(vector) == root(block_digests(blocks))
    vector = vector.clone()
    vector[-1] += 1
    assert content(vector) != root(block_digests(blocks))


def test_an_empty_vector_is_one_empty_block() -> None:
    assert count_blocks(0) == len(in_blocks(torch.empty(0))) == 1
    assert content(torch.empty(0)) == content(torch.empty(0))


def test_a_commitment_is_of_one_node_and_one_round() -> None:
    found = {commitment(r, node, "0" * 64) for r in (1, 2) for node in ("r0.s0", "r1.s0")}
    assert len(found) == 4


def test_plain_tensors() -> None:
    assert is_plain(torch.zeros(3), (3,), torch.float32)
    for other in (
        torch.zeros(4),
        torch.zeros(3).double(),
        torch.zeros(3).to_sparse(),
        [0.0] * 3,
        torch.zeros(3, device="meta"),
    ):
        assert not is_plain(other, (3,), torch.float32)
