"""The life of a worker or spare: getting ready, then orders until the coordinator says stop."""

import importlib
import os
import socket
from dataclasses import dataclass

import torch.distributed as dist

from tdml.cluster import endpoint
from tdml.cluster.channel import Listener
from tdml.cluster.devices import Device, check_precision, choose_device, make_repeatable, own_gpu
from tdml.cluster.guard import Guard
from tdml.cluster.interruption import Interruption
from tdml.cluster.lobby import Card, Decision, Lobby
from tdml.cluster.own_key import node_identity
from tdml.cluster.roster import COORDINATOR_NAME, read_roster
from tdml.cluster.topology import first_slot, node_name, node_names
from tdml.cluster.wire import start_rpc
from tdml.config import Config
from tdml.config_file import fingerprint
from tdml.data.contents import contents_of
from tdml.data.source import Source, load_source
from tdml.errors import SettingError, fail, one_line
from tdml.identity import Identity
from tdml.worker import METHODS, Worker

# in which a signal that all ranks get reaches the coordinator too, before it finds workers dead
_GRACE_S = 3.0
_NO_COORDINATOR = "the coordinator is gone: see its machine for the reason"


@dataclass(frozen=True)
class _Ready:
    """What a rank has when it enters."""

    identity: Identity
    device: Device
    source: Source | None
    roster: dict[str, str] | None


def work(config: Config, lobby: Lobby, interruption: Interruption) -> int:
    """Be a worker, or a spare that may become one."""
    name = node_name(lobby.rank, config.topology)
    try:
        ready = _enter(config, lobby, name)
        decision = lobby.await_decision()
        _check(decision, ready, config)
        if lobby.rank in decision.refused:
            fail(f"{name} is refused: {decision.refused[lobby.rank]}")
            return lobby.await_end()  # a failure would end the machine's other ranks too
    except dist.DistError:
        return fail(_NO_COORDINATOR)
    except SettingError as error:
        return fail(str(error))
    assert ready is not None
    guard = Guard(endpoint.obey)
    from tdml.attacks.node import make_node  # seconds to import
    from tdml.attacks.tap import StoreTap

    node = make_node(
        config, name, ready.identity, decision.at.job, ready.source, StoreTap(lobby.store)
    )
    worker = Worker(config, node, ready.device.device, lobby, guard.refusals)
    listener = Listener(
        ready.identity, decision.at, name, decision.public, METHODS, worker.order, guard.refusals
    )
    endpoint.install(guard, listener)
    try:
        start_rpc(lobby, decision.members, config)
    except SettingError as error:
        return fail(str(error))
    interruption.defer(_GRACE_S)
    status = worker.serve()
    interruption.defer(0)
    return fail(f"{name}: the coordinator is gone") if status is None else status


def _enter(config: Config, lobby: Lobby, name: str) -> _Ready | None:
    """Get ready and hand in a card; None if the card had to say what is wrong."""
    try:
        device, identity = _device(config), _identity(config)
        if config.trust.budget:
            make_repeatable()
        roster = read_roster(config.identity.roster, node_names(config.topology))
        # Where a setting is wrong, the cores are left to the coordinator that finds it.
        session = lobby.await_prepared()
        source = load_source(config) if _sees_data(lobby.rank, config) else None
        if first_slot(lobby.rank, config.topology):
            importlib.import_module(
                "tdml.node.pipeline"
            )  # takes seconds: here nobody waits for an answer
        held = contents_of(source, config.seed) if source else None
        lobby.enter(
            Card(fingerprint(config), own_gpu(device), held).signed(identity, session, lobby.rank)
        )
    except dist.DistError:
        raise
    except Exception as error:  # whatever it is, the others must not wait for this rank
        text = f"{name} on {socket.gethostname()}: {one_line(error)}"
        lobby.enter(Card(fingerprint(config), gpu="", error=text))
        return None
    return _Ready(identity, device, source, roster)


def _check(decision: Decision, ready: _Ready | None, config: Config) -> None:
    """Whether to go on.

    Raises:
        SettingError: the coordinator has found something wrong, or is not the one of
            `identity.roster`.
    """
    if decision.error or ready is None:
        raise SettingError(decision.error or "this rank could not get ready")
    if ready.roster and ready.roster.get(COORDINATOR_NAME, decision.public) != decision.public:
        raise SettingError(
            f"identity.roster={config.identity.roster} has another key for the coordinator than "
            f"{decision.public}, which somebody shows: ask whoever runs it"
        )


def _identity(config: Config) -> Identity:
    local, ranks = int(os.environ["LOCAL_RANK"]), int(os.environ["LOCAL_WORLD_SIZE"])
    return node_identity(config.identity.folder, local, ranks)


def _device(config: Config) -> Device:
    local, ranks = int(os.environ["LOCAL_RANK"]), int(os.environ["LOCAL_WORLD_SIZE"])
    hosts_coordinator = int(os.environ["RANK"]) == local
    chosen = choose_device(config.device, local - hosts_coordinator, ranks - hosts_coordinator)
    check_precision(config.train.precision, chosen.device)
    return chosen


def _sees_data(rank: int, config: Config) -> bool:
    """The first stage reads inputs, the last labels; a spare may become either."""
    seat = first_slot(rank, config.topology)
    return seat is None or seat.stage in (0, config.topology.stages - 1)
