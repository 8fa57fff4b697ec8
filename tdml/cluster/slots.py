"""Which node has which slot."""

from collections.abc import Callable, Mapping

from tdml.members.placement import by_stage, exchanges, first_placement, substitutes
from tdml.members.waiting import listed
from tdml.protocol.orders import Slot
from tdml.settings.schema import Config
from tdml.wire.exchange import Peer


class Slots:
    """The slots of a job's replicas, and the nodes that have them, some of which may be gone.

    Args:
        nodes: all that there are, by name.
        tell: is told, in one line, of every node that takes a slot.
    """

    def __init__(
        self, config: Config, nodes: Mapping[str, Peer], tell: Callable[[str, str], None]
    ) -> None:
        self._topology, self._nodes, self._tell = config.topology, nodes, tell
        self._data_moves = not config.own_data  # else a replica's nodes hold its data
        self._names = first_placement(nodes, config.topology)

    @property
    def replicas(self) -> list[int]:
        """The replicas whose slots have nodes, be they alive or dead."""
        return sorted({slot.replica for slot in self._names})

    @property
    def spares(self) -> list[str]:
        """Names of the nodes that could take a slot, the one that has been there longest first:
        else a node that falls silent in its slot, and comes back, would get it again at once."""
        placed = set(self._names.values())
        free = [n for n in self._nodes.values() if n.name not in placed and n.usable]
        return [node.name for node in sorted(free, key=lambda node: node.came)]

    @property
    def vacant(self) -> int:
        """How many slots have a node that is of no use any more."""
        return sum(not self._nodes[name].usable for name in self._names.values())

    def occupants(self, replica: int) -> list[Peer]:
        """A replica's nodes, by stage."""
        return [self._nodes[name] for slot, name in self._names.items() if slot.replica == replica]

    def is_whole(self, replica: int) -> bool:
        """Whether all of a replica's nodes can work, whether they are connected or not."""
        return all(node.usable for node in self.occupants(replica))

    def fill(self) -> None:
        """Give vacant slots to spares; those that remain vacant go to as few replicas as
        possible."""
        self._place(substitutes(self._names, self._nodes, self.spares, self._topology))
        if self._data_moves:
            usable = {name for name, node in self._nodes.items() if node.usable}
            self._place(exchanges(self._names, usable))

    def grow(self) -> None:
        """Form further replicas of nodes without a slot. For those beyond `topology.replicas` as
        many spares stay in reserve as `topology.spares` asks for."""
        topology = self._topology
        for index in sorted(set(range(topology.most)) - set(self.replicas)):
            reserve = topology.spares if index >= topology.replicas else 0
            free = [self._nodes[name] for name in self.spares]
            if len(free) - reserve < topology.stages or not (taken := by_stage(free, topology)):
                return
            self._names |= {Slot(index, stage): name for stage, name in enumerate(taken)}
            self._tell(f"replica {index} is formed of {listed(taken)}", "")

    def state(self) -> list:
        """What a checkpoint must keep."""
        return [[slot.replica, slot.stage, name] for slot, name in self._names.items()]

    def restore(self, state: list) -> None:
        """Undo `state`."""
        self._names = {Slot(replica, stage): name for replica, stage, name in state}

    def _place(self, changes: Mapping[Slot, str]) -> None:
        for slot, name in changes.items():
            former, self._names[slot] = self._nodes[self._names[slot]], name
            if not former.usable:
                self._tell(f"{name} takes the place of {former.name} ({former.fate})", "")
