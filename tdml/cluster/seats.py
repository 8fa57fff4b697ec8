"""Who sits where when a job starts, and when a further replica is formed."""

from collections.abc import Collection, Sequence

from tdml.cluster.exchange import Node
from tdml.cluster.topology import first_slot, node_name
from tdml.config import Topology
from tdml.round.orders import Slot


def first_seats(names: Collection[str], topology: Topology) -> dict[Slot, str]:
    """The seats that nodes start in, by their names: those of replicas that are complete."""
    seats = {
        seat: node_name(rank, topology)
        for rank in range(1, topology.world_size)
        if (seat := first_slot(rank, topology))
    }
    missing = {seat.replica for seat, name in seats.items() if name not in names}
    return {seat: name for seat, name in seats.items() if seat.replica not in missing}


def by_stage(free: Sequence[Node], topology: Topology) -> list[str]:
    """Of nodes without a slot one for each stage; [] if they are not enough. The first and the
    last stage read data."""
    ends = [node.name for node in free if node.sees_data][: min(2, topology.stages)]
    between = [node.name for node in free if node.name not in ends][: topology.stages - len(ends)]
    if len(ends) < min(2, topology.stages) or len(ends) + len(between) < topology.stages:
        return []
    return [*ends[:1], *between, *ends[1:]]
