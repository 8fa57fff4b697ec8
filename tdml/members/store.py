"""The job's store, at which its processes meet: where it is, and a connection to it."""

import os
import queue
import threading
from datetime import timedelta

import torch.distributed as dist

from tdml.wire.interface import STORE_SOCKET

_MARGIN_S = 2.0  # for torch to say by itself what has failed


def connect(is_coordinator: bool, timeout: float) -> dist.TCPStore:
    """The store that torchrun's agent hosts, or else rank 0.

    Raises:
        DistError: nobody answers within that time.
    """
    outcome: queue.SimpleQueue[dist.TCPStore | dist.DistError] = queue.SimpleQueue()

    def try_it() -> None:
        try:
            outcome.put(_connect(is_coordinator, timeout))
        except dist.DistError as error:
            outcome.put(error)

    # where somebody accepts the connection, and is silent, torch waits for ever
    threading.Thread(target=try_it, daemon=True).start()
    try:
        store = outcome.get(timeout=timeout + _MARGIN_S)
    except queue.Empty:
        raise dist.DistNetworkError("who listens there does not answer") from None
    if isinstance(store, dist.DistError):
        raise store
    return store


def _connect(is_coordinator: bool, timeout: float) -> dist.TCPStore:
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
    """The store's host and port, as torchrun gives them."""
    return os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
