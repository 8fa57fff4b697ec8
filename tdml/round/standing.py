"""What a run has learnt of its nodes, and what it may still spend on looking at them."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from tdml.round.former import Former
from tdml.round.rollback import Unproven
from tdml.trust.judgement import Power
from tdml.trust.suspicion import Purse, Suspicion


@dataclass
class Standing:
    """Carried from round to round. `unheard` are the keys of those nodes whose replicas have
    reported of others what the coordinator does not find: they are not asked again."""

    suspicion: Suspicion = field(default_factory=Suspicion)
    purse: Purse = field(default_factory=Purse)
    power: Power = field(default_factory=Power)
    unproven: Unproven = field(default_factory=Unproven)
    former: Former = field(default_factory=Former)
    unheard: set[str] = field(default_factory=set)

    def state(self) -> dict:
        """What a checkpoint must keep."""
        return asdict(self) | {"unheard": sorted(self.unheard)}

    def restore(self, state: Mapping) -> None:
        """Undo `state`."""
        self.suspicion = Suspicion(dict(state["suspicion"]["by_node"]))
        self.purse, self.power = Purse(**state["purse"]), Power(**state["power"])
        self.unproven.restore(state["unproven"])
        self.former = Former(**state["former"])
        self.unheard = set(state["unheard"])
