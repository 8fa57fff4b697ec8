"""Ranks, roles and names."""

from tdml.protocol.orders import Slot
from tdml.settings.schema import Topology

COORDINATOR = 0


def node_name(rank: int, topology: Topology) -> str:
    """The name that a node keeps for the whole job: the slot it starts in, or its number among the
    spares."""
    assert rank > COORDINATOR
    slot = first_slot(rank, topology)
    return slot_name(slot) if slot else f"spare{rank - 1 - topology.replicas * topology.stages}"


def node_names(topology: Topology) -> list[str]:
    """The names of all nodes, by rank from 1 on."""
    return [node_name(rank, topology) for rank in range(COORDINATOR + 1, topology.world_size)]


def first_slot(rank: int, topology: Topology) -> Slot | None:
    """The slot that a rank starts in; None for spares."""
    replica, stage = divmod(rank - 1, topology.stages)
    return Slot(replica, stage) if replica < topology.replicas else None


def slot_name(slot: Slot) -> str:
    """`r{replica}.s{stage}`."""
    return f"r{slot.replica}.s{slot.stage}"


def rpc_name(rank: int) -> str:
    """The RPC name of a rank."""
    return f"rank{rank}"
