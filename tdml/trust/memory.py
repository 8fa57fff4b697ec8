"""What earlier rounds have shown of each replica, and of each node."""

from collections.abc import Collection, Mapping, Sequence

from tdml.trust.evidence import PERJURY
from tdml.trust.exam import Hearing
from tdml.trust.screen import Screening
from tdml.trust.sentence import sentence
from tdml.trust.verdict import Verdict, decide

Nodes = Sequence[str]  # the names of a replica's nodes, by stage


class Memory:
    """`evidence` is what the rounds so far say against each replica, in nats; `suspected` has the stages that the
    screen ever suspected. A replica goes by the names of its nodes. `perjury` is what each node's lies as a validator
    add up to, in nats, and `disputes` has round and nodes of every dispute that is open: neither of the two is known
    to lie. `absences` are the rounds in which a node was gone when it had to show its work. They go by its key, for
    who was gone comes back with a later start, and may come under another name."""

    def __init__(self, keys: Mapping[str, str]) -> None:
        """`keys` are the nodes' public keys, by name."""
        self._keys = keys
        self.evidence: dict[str, float] = {}
        self.suspected: dict[str, list[int]] = {}
        self.perjury: dict[str, float] = {}
        self.disputes: list[tuple[int, str, str]] = []
        self.absences: dict[str, list[int]] = {}

    def earlier(self, nodes: Nodes) -> float:
        """What the rounds so far say against a replica, in nats."""
        return self.evidence.get(_name(nodes), 0.0)

    def decide(
        self, hearing: Hearing | None, replicas: Sequence[Nodes], overall: Screening, by_stage: Sequence[Screening],
        alike: bool, conviction: float,
    ) -> list[Verdict]:  # fmt: skip
        """The verdicts on the replicas of these nodes, in their order: see `tdml.trust.verdict.decide`."""
        before = [self.earlier(nodes) for nodes in replicas]
        suspected = [self.suspected.get(_name(nodes), []) for nodes in replicas]
        return decide(hearing, overall, by_stage, before, alike, conviction, suspected)

    def conclude(
        self, number: int, replicas: Sequence[Nodes], verdicts: Sequence[Verdict], conviction: float
    ) -> list[Verdict]:
        """The final verdicts of round `number`, which later rounds remember: see `tdml.trust.sentence`."""
        for nodes, verdict in zip(replicas, verdicts, strict=True):
            self.evidence[_name(nodes)] = verdict.evidence
            self.suspected[_name(nodes)] = sorted({*self.suspected.get(_name(nodes), []), *verdict.suspected})
            for stage in verdict.perjured:
                self.perjury[nodes[stage]] = self.perjury.get(nodes[stage], 0.0) + PERJURY
            self.disputes += [(number, nodes[one], nodes[other]) for one, other in verdict.disputes]
            for stage in verdict.absent:
                self.absences.setdefault(self._keys[nodes[stage]], []).append(number)
        self.settle({nodes[s] for nodes, verdict in zip(replicas, verdicts, strict=True) for s in verdict.stages})
        return [self._sentence(nodes, verdict, conviction) for nodes, verdict in zip(replicas, verdicts, strict=True)]

    def _sentence(self, nodes: Nodes, verdict: Verdict, conviction: float) -> Verdict:
        return sentence(
            verdict, [self.perjury.get(name, 0.0) for name in nodes], [self._neighbours(name) for name in nodes],
            [self.absences.get(self._keys[name], []) for name in nodes], conviction,
        )  # fmt: skip

    def settle(self, convicted: Collection[str]) -> None:
        """Close the disputes of nodes that are known to lie: nothing is left of them against the others."""
        self.disputes = [dispute for dispute in self.disputes if not {*dispute[1:]} & {*convicted}]

    def _neighbours(self, node: str) -> dict[str, int]:
        """With whom a node is in dispute, and since when."""
        found: dict[str, int] = {}
        for number, one, other in self.disputes:
            if node in (one, other):
                found.setdefault(other if node == one else one, number)
        return found

    def state(self) -> dict:
        """What a checkpoint must keep."""
        return {
            "evidence": self.evidence, "suspected": self.suspected, "perjury": self.perjury, "disputes": self.disputes,
            "absences": self.absences,
        }  # fmt: skip

    def restore(self, state: Mapping) -> None:
        """Undo `state`."""
        self.evidence, self.suspected = dict(state["evidence"]), dict(state["suspected"])
        self.perjury, self.disputes = dict(state["perjury"]), list(state["disputes"])
        self.absences = {key: list(rounds) for key, rounds in state["absences"].items()}


def _name(nodes: Nodes) -> str:
    return "+".join(nodes)
