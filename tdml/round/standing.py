"""What a run has learnt of its nodes, and what it may still spend on looking at them."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field

from tdml.round.rollback import Unproven
from tdml.trust.judgement import Power
from tdml.trust.suspicion import Purse, Suspicion


@dataclass
class Standing:
    """Carried from round to round. `owing` are the public keys of nodes that have not shown the
    work that they were asked for, and of which round: until they do, nothing that they hand in
    counts."""

    suspicion: Suspicion = field(default_factory=Suspicion)
    purse: Purse = field(default_factory=Purse)
    power: Power = field(default_factory=Power)
    owing: dict[str, int] = field(default_factory=dict)
    unproven: Unproven = field(default_factory=Unproven)

    def state(self) -> dict:
        """What a checkpoint must keep."""
        return asdict(self)

    def restore(self, state: Mapping) -> None:
        """Undo `state`."""
        self.suspicion = Suspicion(dict(state["suspicion"]["by_nodes"]))
        self.purse, self.power = Purse(**state["purse"]), Power(**state["power"])
        self.owing = dict(state["owing"])
        self.unproven.restore(state["unproven"])
