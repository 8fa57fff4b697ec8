"""RPC's threads compute nothing: with more of OpenMP's threads than processors, that which trains
would wait."""

import os
from pathlib import Path

import pytest
import torch
from torch import multiprocessing
from torch.distributed import rpc

from tdml.trust.commitment import BLOCK, in_blocks
from tdml.wire.codec import encode

_BLOCKS = 8
_vector = torch.empty(0)


def _reveal(block: int) -> torch.Tensor:
    [tensor] = encode(in_blocks(_vector)[block])[1]
    return tensor


def _threads() -> int:
    return len(os.listdir("/proc/self/task"))


def _take_part(rank: int, store: str) -> None:
    global _vector  # noqa: PLW0603
    torch.set_num_threads(2)
    _vector = torch.arange(_BLOCKS * BLOCK, dtype=torch.float32)
    options = rpc.TensorPipeRpcBackendOptions(init_method=f"file://{store}", _transports=["uv"])
    rpc.init_rpc(str(rank), rank=rank, world_size=2, rpc_backend_options=options)
    if not rank:
        # those of RPC's own begin with the first calls that need them
        torch.futures.wait_all([rpc.rpc_async("1", _threads) for _ in range(64)])
        before = rpc.rpc_sync("1", _threads)
        for block in range(_BLOCKS):
            assert torch.equal(rpc.rpc_sync("1", _reveal, (block,)), _reveal(block))
        assert rpc.rpc_sync("1", _threads) == before
    rpc.shutdown()


@pytest.mark.timeout(120)
def test_to_show_blocks_starts_no_threads(tmp_path: Path) -> None:
    multiprocessing.spawn(_take_part, (str(tmp_path / "store"),), nprocs=2)
