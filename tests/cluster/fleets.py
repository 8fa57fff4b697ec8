"""Fleets without processes: joining a replica always works."""

from collections import defaultdict
from collections.abc import Collection, Sequence
from types import SimpleNamespace

from tdml import config as settings
from tdml.cluster.fleet import RpcFleet
from tdml.data.contents import Contents
from tdml.members.admission import Admitted
from tdml.members.cards import Card
from tdml.protocol.names import node_names
from tdml.wire.channel import Session

ALL = ["r0.s0", "r0.s1", "r1.s0", "r1.s1", "r2.s0", "r2.s1"]


def make_fleet(
    told: list[str], *overrides: str, there: Sequence[str] | None = None, **refused: str
) -> RpcFleet:
    """A fleet of 3 × 2 nodes and a spare. `there`: those who have come, all unless it says so."""
    chosen = ["topology.replicas=3", "topology.stages=2", "topology.spares=1", *overrides]
    config = settings.load(chosen)
    known = {name: f"key of {name}" for name in node_names(config.topology)}
    nobody = SimpleNamespace(refused=refused, keys=defaultdict(str, known))
    return RpcFleet(
        config,
        None,
        admit(node_names(config.topology) if there is None else there),
        lambda text, _: told.append(text),
        SimpleNamespace(at=Session("job", "session")),
        nobody,
        lambda name, why: None,
        lambda: None,
        state_bytes=1000,
    )


_DATA = Contents(1, 1, "", "", "", "")


def admit(names: Sequence[str], blind: Collection[str] = ()) -> Admitted:
    """Nodes of these names; those that are `blind` read no data."""
    cards = {
        name: Card("", "", None if name in blind else _DATA, visit=name)
        for name in ("coordinator", *names)
    }
    return Admitted(cards)


def muster(fleet: RpcFleet) -> dict[int, list[str]]:
    """Who works, by replica."""
    return {replica.index: [node.name for node in replica.nodes] for replica in fleet.muster()}
