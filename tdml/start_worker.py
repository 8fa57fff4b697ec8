"""The life of a worker or spare: getting ready, then orders until the coordinator says stop."""

import importlib
import os
import signal
import socket

import torch.distributed as dist

from tdml import worker as endpoints
from tdml.cluster.devices import Device, choose_device
from tdml.cluster.lobby import Card, Lobby
from tdml.cluster.topology import first_seat, node_name
from tdml.cluster.wire import start_rpc
from tdml.config import Config, fingerprint
from tdml.data import source as data
from tdml.errors import fail, one_line

_NO_COORDINATOR = "the coordinator ended before the job began: see its machine for the reason"


def work(config: Config, lobby: Lobby) -> int:
    """Be a worker, or a spare that may become one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the coordinator, who stops the workers
    name = node_name(lobby.rank, config.topology)
    source = None
    try:
        device = _device(config)
        lobby.await_prepared()  # where a setting is wrong, the cores are left to the coordinator that finds it
        if _sees_data(lobby.rank, config):
            source = data.load(config.data, config.seed)
        if first_seat(lobby.rank, config.topology):
            importlib.import_module("tdml.training.pipeline")  # takes seconds: here nobody waits for an answer
        lobby.enter(Card(fingerprint(config), device.own))
    except dist.DistError:
        return fail(_NO_COORDINATOR)
    except Exception as error:  # whatever it is, the others must not wait for this rank
        text = f"{name} on {socket.gethostname()}: {one_line(error)}"
        lobby.enter(Card(fingerprint(config), owns_gpu=False, error=text))
    try:
        answer = lobby.await_answer()
    except dist.DistError:
        return fail(_NO_COORDINATOR)
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
