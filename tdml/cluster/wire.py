"""The job's RPC."""

import warnings
from collections.abc import Sequence

from torch.distributed import rpc

from tdml.cluster.lobby import Lobby
from tdml.cluster.topology import address
from tdml.config import Config
from tdml.errors import SettingError, one_line

_THREADS = 16
_LONGEST = 200  # characters of torch's own words


def start_rpc(lobby: Lobby, members: Sequence[int], config: Config) -> None:
    """Join the RPC of these ranks. From here on they can call this rank: its guard must be
    installed.

    Raises:
        SettingError: the ranks cannot reach one another.
    """
    # TCP alone: the shared-memory transport is slower here and fails with many ranks on one host.
    options = rpc.TensorPipeRpcBackendOptions(
        num_worker_threads=_THREADS, rpc_timeout=config.sync.timeout, _transports=["uv"]
    )
    with warnings.catch_warnings():
        warnings.filterwarnings(
            "ignore", message="You are using a Backend"
        )  # torch's own call of itself
        rank = members.index(lobby.rank)
        try:
            rpc.init_rpc(
                address(lobby.rank), rank=rank, world_size=len(members), rpc_backend_options=options
            )
        except RuntimeError as error:
            raise SettingError(
                f"rank {lobby.rank} cannot reach the others, or one of them has ended "
                f"({one_line(error)[:_LONGEST]}): let no firewall stand between the machines, and "
                "set GLOO_SOCKET_IFNAME and TP_SOCKET_IFNAME on each of them to the interface that "
                "leads to the others"
            ) from error
