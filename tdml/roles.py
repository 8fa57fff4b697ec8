"""From a rank to its role; the life of a worker or spare."""

import hashlib
import importlib
import os
import signal
import socket
import warnings

import torch.distributed as dist
from torch.distributed import rpc

from tdml import config as settings
from tdml import worker as endpoints
from tdml.cluster.devices import Device, choose_device
from tdml.cluster.lobby import Card, Lobby
from tdml.cluster.topology import COORDINATOR, address, first_seat, node_name
from tdml.config import Config
from tdml.data import source as data
from tdml.errors import SettingError, fail

_RPC_THREADS = 16


def run_rank(config: Config) -> int:
    """Play this rank's role until the job ends; the exit status."""
    rank, world_size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    lobby = Lobby(rank, world_size)
    if rank != COORDINATOR:
        return work(config, lobby)
    from tdml.head import coordinate  # brings what only the coordinator needs: figures, TensorBoard

    return coordinate(config, lobby)


def work(config: Config, lobby: Lobby) -> int:
    """Be a worker, or a spare that may become one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the coordinator, who stops the workers
    name = node_name(lobby.rank, config.topology)
    source = None
    try:
        device = _device(config)
        if _sees_data(lobby.rank, config):
            source = data.load(config.data, config.seed)
        if first_seat(lobby.rank, config.topology):
            importlib.import_module("tdml.training.pipeline")  # takes seconds: here nobody waits for an answer
        lobby.enter(Card(fingerprint(config), device.own))
    except SettingError as error:
        lobby.enter(Card(fingerprint(config), owns_gpu=False, error=f"{name} on {socket.gethostname()}: {error}"))
    try:
        answer = lobby.await_answer()
    except dist.DistError:
        return fail("the coordinator ended before the job began: see its machine for the reason")
    if answer.error:
        return fail(answer.error)
    worker = endpoints.Worker(config, name, device.device, lobby, source)
    endpoints.install(worker)
    start_rpc(lobby, config)
    return 0 if worker.serve() else fail(f"{name}: the coordinator is gone")


def _device(config: Config) -> Device:
    local, ranks = int(os.environ["LOCAL_RANK"]), int(os.environ["LOCAL_WORLD_SIZE"])
    hosts_coordinator = int(os.environ["RANK"]) == local
    return choose_device(config.device, local - hosts_coordinator, ranks - hosts_coordinator)


def _sees_data(rank: int, config: Config) -> bool:
    """The first stage reads inputs, the last labels; a spare may become either."""
    seat = first_seat(rank, config.topology)
    return seat is None or seat.stage in (0, config.topology.stages - 1)


def start_rpc(lobby: Lobby, config: Config) -> None:
    """Join the job's RPC. From here on the coordinator can call this rank."""
    # TCP alone: the shared-memory transport is slower here and fails with many ranks on one host.
    options = rpc.TensorPipeRpcBackendOptions(
        num_worker_threads=_RPC_THREADS, rpc_timeout=config.sync.timeout, _transports=["uv"]
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="You are using a Backend")  # torch's own call of itself
        rpc.init_rpc(address(lobby.rank), rank=lobby.rank, world_size=lobby.world_size, rpc_backend_options=options)


def fingerprint(config: Config) -> str:
    """Equal on ranks that were started with the same settings."""
    return hashlib.sha256(settings.to_yaml(config).encode()).hexdigest()
