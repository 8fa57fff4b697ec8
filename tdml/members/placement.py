"""Which node gets which slot: when a job starts, when nodes are gone, and in a further replica."""

from collections.abc import Collection, Mapping, Sequence

from tdml.protocol.names import first_slot, node_name
from tdml.protocol.orders import Slot
from tdml.settings.schema import Topology
from tdml.wire.exchange import Peer


def first_placement(names: Collection[str], topology: Topology) -> dict[Slot, str]:
    """The slots that nodes start in, by their names. Replicas that lack a node get none."""
    slots = {
        slot: node_name(rank, topology)
        for rank in range(1, topology.world_size)
        if (slot := first_slot(rank, topology))
    }
    missing = {slot.replica for slot, name in slots.items() if name not in names}
    return {slot: name for slot, name in slots.items() if slot.replica not in missing}


def substitutes(
    slots: Mapping[Slot, str], nodes: Mapping[str, Peer], free: Sequence[str], topology: Topology
) -> dict[Slot, str]:
    """Slots whose nodes are gone, with the nodes that take them. The first and the last stage go to
    nodes that see the data.

    Args:
        free: names of nodes without a slot.
    """
    spares = [nodes[name] for name in free]
    changes: dict[Slot, str] = {}
    for slot, name in slots.items():
        at_an_end = slot.stage in (0, topology.stages - 1)
        able = [spare for spare in spares if spare.sees_data or not at_an_end]
        if not nodes[name].usable and able:
            changes[slot] = able[0].name
            spares.remove(able[0])
    return changes


def exchanges(slots: Mapping[Slot, str], usable: Collection[str]) -> dict[Slot, str]:
    """Exchange nodes between replicas that lack some, so that as many as possible are whole: nodes
    that are `usable` change places with others at the same stage. Returns the slots that change,
    with their new nodes."""
    placed = dict(slots)

    def missing(index: int) -> list[int]:
        at = [slot for slot in slots if slot.replica == index]
        return [slot.stage for slot in at if placed[slot] not in usable]

    indices = {slot.replica for slot in slots}
    lacking = sorted(filter(missing, indices), key=lambda index: (len(missing(index)), index))
    while lacking:
        index = lacking.pop(0)
        givers = {
            stage: giver
            for stage in missing(index)
            for giver in lacking  # of several givers the last, which lacks most
            if placed[Slot(giver, stage)] in usable
        }
        if givers.keys() == set(missing(index)):
            for stage, giver in givers.items():
                one, other = Slot(index, stage), Slot(giver, stage)
                placed[one], placed[other] = placed[other], placed[one]
    return {slot: name for slot, name in placed.items() if name != slots[slot]}


def by_stage(free: Sequence[Peer], topology: Topology) -> list[str]:
    """The names of nodes for a further replica, by stage; [] if there are not enough. The first and
    the last stage go to nodes that see the data."""
    ends = [node.name for node in free if node.sees_data][: min(2, topology.stages)]
    between = [node.name for node in free if node.name not in ends][: topology.stages - len(ends)]
    if len(ends) < min(2, topology.stages) or len(ends) + len(between) < topology.stages:
        return []
    return [*ends[:1], *between, *ends[1:]]
