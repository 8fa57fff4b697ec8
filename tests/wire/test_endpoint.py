"""Orders to members of a session that give addresses which are none."""

import os
from datetime import timedelta
from multiprocessing import Pipe
from multiprocessing.connection import Connection

import pytest
import torch.distributed as dist

from tdml.node.worker import METHODS
from tdml.protocol.identity import Identity
from tdml.protocol.orders import ReplicaLost
from tdml.wire import rpc_world
from tdml.wire.ask_all import ask_all
from tdml.wire.channel import Caller, Session
from tdml.wire.exchange import Exchange, Peer
from tests.jobs import forked

pytestmark = pytest.mark.timeout(60)
_ADDRESSES = [
    "", "garbage", "uv://", "uv://127.0.0.1", "uv://127.0.0.1:", "uv://127.0.0.1:port",
    "uv://127.0.0.1:-1", "uv://127.0.0.1:99999999999999999999", "uv://:::::", "uv://[", "://",
    "shm://x", "uv://\x00", "uv://é:1", "uv://127.0.0.1:1", "x" * 100_000,
]  # fmt: skip


def test_whoever_gives_no_address_is_silent_and_the_coordinator_goes_on() -> None:
    """In a process of its own: RPC is one for each, and what is left of it would be in the way."""
    here, there = Pipe()
    coordinator = forked(_coordinate, there)
    there.close()
    silent, lost = here.recv()  # which ends with the process
    coordinator.join(20)
    everybody = [f"r{rank}.s0" for rank in range(1, 1 + len(_ADDRESSES))]
    assert silent == everybody
    assert lost == everybody


def _coordinate(pipe: Connection) -> None:
    store = dist.TCPStore("127.0.0.1", 0, is_master=True, timeout=timedelta(seconds=20))
    addresses = rpc_world.form_rpc(store, "session", 0, 5.0)
    ranks = range(1, 1 + len(_ADDRESSES))
    for rank, address in zip(ranks, _ADDRESSES, strict=True):
        addresses.told.set(f"addrs/rank{rank}", address)
    assert rpc_world.meet(addresses, ranks, 10) == {*ranks}
    nodes = [Peer(f"r{rank}.s0", rank) for rank in ranks]
    keys = {node.name: Identity.new().public for node in nodes}
    caller = Caller(Identity.new(), Session("job", "session"), keys, METHODS)
    silent = [node.name for node in ask_all(nodes, caller, "progress", (), 5.0)]
    lost = []
    for node in nodes:
        try:
            Exchange(0, [node], 5.0, caller).ask("progress", [()])
        except ReplicaLost as loss:
            lost.extend(loss.silent)
    pipe.send((sorted(silent, key=[node.name for node in nodes].index), lost))
    os._exit(0)
