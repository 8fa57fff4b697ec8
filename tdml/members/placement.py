"""Who sits where when a job starts, and when a further replica is formed."""

from collections.abc import Collection, Sequence

from tdml.protocol.names import first_slot, node_name
from tdml.protocol.orders import Slot
from tdml.settings.schema import Topology
from tdml.wire.exchange import Peer


def first_placement(names: Collection[str], topology: Topology) -> dict[Slot, str]:
    """The slots that nodes start in, by their names: those of replicas that are complete."""
    slots = {
        slot: node_name(rank, topology)
        for rank in range(1, topology.world_size)
        if (slot := first_slot(rank, topology))
    }
    missing = {slot.replica for slot, name in slots.items() if name not in names}
    return {slot: name for slot, name in slots.items() if slot.replica not in missing}


def by_stage(free: Sequence[Peer], topology: Topology) -> list[str]:
    """Of nodes without a slot one for each stage; [] if they are not enough. The first and the
    last stage read data."""
    ends = [node.name for node in free if node.sees_data][: min(2, topology.stages)]
    between = [node.name for node in free if node.name not in ends][: topology.stages - len(ends)]
    if len(ends) < min(2, topology.stages) or len(ends) + len(between) < topology.stages:
        return []
    return [*ends[:1], *between, *ends[1:]]
