"""Commit before reveal: the updates of a round, each checked against what its node had committed to."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import torch

from tdml.attacks.base import Knowledge, acts, attackers
from tdml.cluster.fleet import Fleet
from tdml.cluster.messages import Commitment, CommitOrder
from tdml.cluster.replica import Replica
from tdml.job import Job
from tdml.trust.commitment import has_diverged, inspect, remember, training_diverges


@dataclass(frozen=True)
class Gathered:
    """The updates of a round.

    `updates` has one (n, d_s) float32 matrix per stage; its rows belong to `replicas`. `faults` has the replicas whose
    updates are none, and what is wrong with them by stage; `diverged` the updates of those among them whose only fault
    is that they are not finite. `commitments` are the nodes' own, by replica and stage; `contents` the digests of their
    updates.
    """

    replicas: list[int]
    updates: list[torch.Tensor]
    faults: dict[int, dict[int, str]]
    bytes: int
    commitments: dict[int, list[Commitment]]
    contents: dict[int, list[str]]
    diverged: dict[int, list[torch.Tensor]] = field(default_factory=dict)

    @property
    def diverges(self) -> bool:
        """Whether training diverges, and not single replicas."""
        return training_diverges(len(self.diverged), len(self.replicas) + len(self.faults))

    @property
    def audited(self) -> list[int]:
        """The replicas that can be audited: those that handed in updates, finite or not."""
        return [*self.replicas, *self.diverged]

    def update(self, index: int) -> list[torch.Tensor]:
        """What such a replica handed in, by stage."""
        if index in self.diverged:
            return self.diverged[index]
        row = self.replicas.index(index)
        return [updates[row] for updates in self.updates]


def gather(fleet: Fleet, job: Job, number: int, indices: Sequence[int], seen: dict[str, int]) -> Gathered:
    """Have the replicas commit to their updates, then reveal them.

    Omniscient attackers are an experiment's device: to act on the honest updates they commit only after
    those have been revealed. No attacker outside of an experiment is given that.

    Args:
        seen: the contents of all earlier updates that one node alone handed in, and their rounds; those of this round
            are added.
    """
    told = _told(fleet, job, number)
    revealed = _commit_and_reveal(fleet, number, fleet.ready(i for i in indices if i not in told), {})
    if told:
        knowledge = _knowledge(job, [updates for _, updates in revealed.values()], told)
        late = fleet.ready(i for i in indices if i in told)
        revealed |= _commit_and_reveal(fleet, number, late, knowledge)
    nodes = {replica.index: replica.nodes for replica in fleet.ready(revealed)}
    faults: dict[int, dict[int, str]] = {}
    contents: dict[int, list[str]] = {}
    diverged: dict[int, list[torch.Tensor]] = {}
    sizes = [layout.size for layout in job.layouts]
    strict = job.config.trust.enabled
    with ThreadPoolExecutor() as pool:  # hashing leaves Python's lock
        for index, (commitments, updates) in revealed.items():
            names = [node.name for node in nodes[index]]
            digests = [commitment.update for commitment in commitments]
            found = list(pool.map(lambda *stage: inspect(*stage, number, seen, strict), updates, sizes, digests, names))
            contents[index] = [inspection.content for inspection in found]
            if wrong := {stage: inspection.fault for stage, inspection in enumerate(found) if inspection.fault}:
                faults[index] = wrong
                if has_diverged(found):
                    diverged[index] = updates
    if len(revealed) > 1:  # one alone has nobody to be compared with
        remember(seen, [content for stages in contents.values() for content in stages], number)
    good = sorted(set(revealed) - set(faults))
    matrices = [_stack([revealed[i][1][stage] for i in good], size) for stage, size in enumerate(sizes)]
    received = sum(
        u.numel() * u.element_size() for _, us in revealed.values() for u in us if isinstance(u, torch.Tensor)
    )
    commitments = {index: commitments for index, (commitments, _) in revealed.items()}
    return Gathered(good, matrices, faults, received, commitments, contents, diverged)


def _commit_and_reveal(
    fleet: Fleet, number: int, replicas: Sequence[Replica], knowledge: dict[str, Knowledge]
) -> dict[int, tuple[list[Commitment], list[torch.Tensor]]]:
    """Commitments and updates by replica: nobody reveals before all have committed."""

    def order(replica: Replica) -> list[Commitment]:
        return replica.commit([CommitOrder(number, knowledge.get(node.name)) for node in replica.nodes])

    commitments = fleet.each(order, replicas)
    updates = fleet.each(lambda replica: replica.reveal(), fleet.ready(commitments))
    return {index: (commitments[index], updates[index]) for index in updates}


def _stack(rows: Sequence[torch.Tensor], size: int) -> torch.Tensor:
    return torch.stack(list(rows)) if rows else torch.empty(0, size)


def _told(fleet: Fleet, job: Job, number: int) -> dict[int, dict[int, str]]:
    """The replicas with omniscient attackers that act in this round: replica → stage → the attacker there."""
    attack, topology = job.config.attack, job.config.topology
    if not job.omniscient or not acts(attack, job.config.seed, number):
        return {}
    names = attackers(attack, topology.replicas, topology.stages)
    replicas = fleet.ready(range(topology.replicas))
    seated = {r.index: {s: n.name for s, n in enumerate(r.nodes) if n.name in names} for r in replicas}
    return {index: stages for index, stages in seated.items() if stages}


def _knowledge(job: Job, honest: Sequence[list[torch.Tensor]], told: dict[int, dict[int, str]]) -> dict[str, Knowledge]:
    """What each attacking node is told of the honest updates of its stage."""
    knowledge = {}
    for stage, layout in enumerate(job.layouts):
        names = [stages[stage] for stages in told.values() if stage in stages]
        if not names:
            continue
        rows = _stack([updates[stage] for updates in honest], layout.size)
        knowledge |= dict.fromkeys(names, Knowledge.of(rows, len(names), job.sees_updates))
    return knowledge
