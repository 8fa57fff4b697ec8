"""The job's RPC."""

import warnings

from torch.distributed import rpc

from tdml.cluster.lobby import Lobby
from tdml.cluster.topology import address
from tdml.config import Config

_THREADS = 16


def start_rpc(lobby: Lobby, config: Config) -> None:
    """Join the job's RPC. From here on the coordinator can call this rank."""
    # TCP alone: the shared-memory transport is slower here and fails with many ranks on one host.
    options = rpc.TensorPipeRpcBackendOptions(
        num_worker_threads=_THREADS, rpc_timeout=config.sync.timeout, _transports=["uv"]
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="You are using a Backend")  # torch's own call of itself
        rpc.init_rpc(address(lobby.rank), rank=lobby.rank, world_size=lobby.world_size, rpc_backend_options=options)
