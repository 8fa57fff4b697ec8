"""What a run has learnt of its nodes, and what it may still spend on looking at them."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

from tdml.round.past_updates import PastUpdates
from tdml.round.rollback import Contributions
from tdml.trust.judgement import Power
from tdml.trust.suspicion import Purse, Suspicion


@dataclass
class Usual:
    """From where to where replicas have stood out and were found clean: by their nodes' keys, by
    feature."""

    known: dict[str, dict[str, list[float]]] = field(default_factory=dict)

    def of(self, keys: Sequence[str]) -> Mapping[str, list[float]]:
        """Of the replica that these nodes are."""
        return self.known.get(" ".join(keys), {})

    def add(self, keys: Sequence[str], beyond: Mapping[str, float]) -> None:
        """All of its round was found clean, in which it stood out so."""
        if not beyond:
            return
        known = self.known.setdefault(" ".join(keys), {})
        for text, far in beyond.items():
            low, high = known.get(text, (0.0, 0.0))
            known[text] = [min(low, far), max(high, far)]

    def forget(self) -> None:
        """Somebody is banned: what stood out may have been found clean by friends of his."""
        self.known.clear()


@dataclass
class Standing:
    """Carried from round to round. `unheard` are the keys of those nodes whose replicas have
    reported of others what the coordinator does not find: they are not asked again."""

    suspicion: Suspicion = field(default_factory=Suspicion)
    purse: Purse = field(default_factory=Purse)
    power: Power = field(default_factory=Power)
    contributions: Contributions = field(default_factory=Contributions)
    past_updates: PastUpdates = field(default_factory=PastUpdates)
    usual: Usual = field(default_factory=Usual)
    unheard: set[str] = field(default_factory=set)

    def state(self) -> dict:
        """What a checkpoint must keep."""
        return {
            "suspicion": asdict(self.suspicion),
            "purse": asdict(self.purse),
            "power": asdict(self.power),
            "unproven": asdict(self.contributions),
            "former": asdict(self.past_updates),
            "usual": asdict(self.usual),
            "unheard": sorted(self.unheard),
        }

    def restore(self, state: Mapping) -> None:
        """Undo `state`."""
        self.suspicion = Suspicion(dict(state["suspicion"]["by_node"]))
        self.purse, self.power = Purse(**state["purse"]), Power(**state["power"])
        self.contributions.restore(state["unproven"])
        self.past_updates, self.usual = PastUpdates(**state["former"]), Usual(**state["usual"])
        self.unheard = set(state["unheard"])
