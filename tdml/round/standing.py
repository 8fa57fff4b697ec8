"""What a run has learnt of its nodes, and what it may still spend on looking at them."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

from tdml.round.past_updates import PastUpdates
from tdml.round.rollback import Contributions
from tdml.trust.judgement import Power
from tdml.trust.suspicion import Purse, Suspicion


@dataclass
class ClearedDeviations:
    """How far replicas have stood out in rounds that were found clean: some honest ones do, because
    of their samples, and are not to be suspected of that for ever."""

    # [lowest, highest] signed distance from the peers, by the nodes' keys and the screen's feature
    known: dict[str, dict[str, list[float]]] = field(default_factory=dict)

    def ranges(self, keys: Sequence[str]) -> Mapping[str, list[float]]:
        """The ranges of the replica with these nodes, by feature."""
        return self.known.get(" ".join(keys), {})

    def add(self, keys: Sequence[str], beyond: Mapping[str, float]) -> None:
        """Widen the ranges of the replica with these nodes: its round was found clean, in which it
        stood out by the distances in `beyond`."""
        if not beyond:
            return
        known = self.known.setdefault(" ".join(keys), {})
        for text, far in beyond.items():
            low, high = known.get(text, (0.0, 0.0))
            known[text] = [min(low, far), max(high, far)]

    def forget(self) -> None:
        """Forget all ranges: somebody is banned, whose accomplices may have found clean what stood
        out."""
        self.known.clear()


@dataclass
class Standing:
    """What the judge carries from round to round."""

    suspicion: Suspicion = field(default_factory=Suspicion)  # whom to audit first
    purse: Purse = field(default_factory=Purse)  # what audits may still cost
    power: Power = field(default_factory=Power)  # how well the work test sees honest work
    contributions: Contributions = field(default_factory=Contributions)  # what is in the weights
    past_updates: PastUpdates = field(default_factory=PastUpdates)
    cleared: ClearedDeviations = field(default_factory=ClearedDeviations)
    # keys of nodes whose replicas have reported of others what the coordinator does not find: their
    # reports are not heard any more
    unheard: set[str] = field(default_factory=set)

    def state(self) -> dict:
        """What a checkpoint must keep."""
        return {
            "suspicion": asdict(self.suspicion),
            "purse": asdict(self.purse),
            "power": asdict(self.power),
            "unproven": asdict(self.contributions),
            "former": asdict(self.past_updates),
            "usual": asdict(self.cleared),
            "unheard": sorted(self.unheard),
        }

    def restore(self, state: Mapping) -> None:
        """Undo `state`."""
        self.suspicion = Suspicion(dict(state["suspicion"]["by_node"]))
        self.purse, self.power = Purse(**state["purse"]), Power(**state["power"])
        self.contributions.restore(state["unproven"])
        self.past_updates, self.cleared = (
            PastUpdates(**state["former"]),
            ClearedDeviations(**state["usual"]),
        )
        self.unheard = set(state["unheard"])
