"""The job's store, at which its processes meet: where it is, and a connection to it."""

import os
from datetime import timedelta

import torch.distributed as dist

from tdml.wire.interface import STORE_SOCKET


def connect(is_coordinator: bool, timeout: float) -> dist.TCPStore:
    """The store that torchrun's agent hosts, or else rank 0."""
    host, port = address()
    agent_hosts = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    socket = os.environ.get(STORE_SOCKET)
    return dist.TCPStore(
        host,
        port,
        is_master=is_coordinator and not agent_hosts,
        wait_for_workers=False,
        timeout=timedelta(seconds=timeout),
        multi_tenant=True,
        master_listen_fd=int(socket) if socket else None,
    )


def address() -> tuple[str, int]:
    """As torchrun has said it: host and port."""
    return os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
