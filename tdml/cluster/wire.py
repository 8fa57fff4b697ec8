"""The job's RPC."""

import warnings
from collections.abc import Sequence

from torch.distributed import rpc

from tdml.cluster.lobby import Lobby
from tdml.cluster.topology import address
from tdml.config import Config

_THREADS = 16


def start_rpc(lobby: Lobby, members: Sequence[int], config: Config) -> None:
    """Join the RPC of these ranks. From here on they can call this rank: its guard must be installed."""
    # TCP alone: the shared-memory transport is slower here and fails with many ranks on one host.
    options = rpc.TensorPipeRpcBackendOptions(
        num_worker_threads=_THREADS, rpc_timeout=config.sync.timeout, _transports=["uv"]
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="You are using a Backend")  # torch's own call of itself
        rpc.init_rpc(
            address(lobby.rank), rank=members.index(lobby.rank), world_size=len(members), rpc_backend_options=options
        )
