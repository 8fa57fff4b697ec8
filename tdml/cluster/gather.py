"""Commit before reveal: the updates of a round, each checked against what its node had committed to."""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import torch

from tdml.attacks.base import Knowledge, attackers
from tdml.cluster.fleet import Fleet
from tdml.cluster.messages import CommitOrder
from tdml.cluster.replica import Replica
from tdml.job import Job
from tdml.trust.commitment import commitment


@dataclass(frozen=True)
class Gathered:
    """The updates of a round.

    `updates` has one (n, d_s) float32 matrix per stage; its rows belong to `replicas`. `faults` has the
    replicas whose updates are none, and what is wrong with them by stage.
    """

    replicas: list[int]
    updates: list[torch.Tensor]
    faults: dict[int, dict[int, str]]
    bytes: int


def gather(fleet: Fleet, job: Job, number: int, indices: Sequence[int]) -> Gathered:
    """Have the replicas commit to their updates, then reveal them.

    Omniscient attackers are an experiment's device: to act on the honest updates they commit only after
    those have been revealed. No attacker outside of an experiment is given that.
    """
    told = _told(job, number)
    revealed = _commit_and_reveal(fleet, number, fleet.ready(i for i in indices if i not in told), {})
    if told:
        knowledge = _knowledge(job, [updates for _, updates in revealed.values()], told)
        late = fleet.ready(i for i in indices if i in told)
        revealed |= _commit_and_reveal(fleet, number, late, knowledge)
    nodes = {replica.index: replica.nodes for replica in fleet.ready(revealed)}
    faults: dict[int, dict[int, str]] = {}
    with ThreadPoolExecutor() as pool:  # hashing leaves Python's lock
        for index, (digests, updates) in revealed.items():
            names = [node.name for node in nodes[index]]
            found = pool.map(
                lambda *stage: _fault(*stage, number, job.config.trust.enabled),
                updates, [layout.size for layout in job.layouts], digests, names,
            )  # fmt: skip
            if wrong := {stage: text for stage, text in enumerate(found) if text}:
                faults[index] = wrong
    good = sorted(set(revealed) - set(faults))
    sizes = [layout.size for layout in job.layouts]
    matrices = [_stack([revealed[i][1][stage] for i in good], size) for stage, size in enumerate(sizes)]
    received = sum(u.numel() * u.element_size() for _, us in revealed.values() for u in us if isinstance(u, torch.Tensor))
    return Gathered(good, matrices, faults, received)


def _commit_and_reveal(
    fleet: Fleet, number: int, replicas: Sequence[Replica], knowledge: dict[str, Knowledge]
) -> dict[int, tuple[list[str], list[torch.Tensor]]]:
    """Commitments and updates by replica: nobody reveals before all have committed."""

    def order(replica: Replica) -> list[str]:
        return replica.commit([CommitOrder(number, knowledge.get(node.name)) for node in replica.nodes])

    digests = fleet.each(order, replicas)
    updates = fleet.each(lambda replica: replica.reveal(), fleet.ready(digests))
    return {index: (digests[index], updates[index]) for index in updates}


def _fault(update: object, size: int, digest: object, name: str, number: int, strict: bool) -> str:
    """What is wrong with a node's update; empty if nothing is. Values are judged only if `strict`."""
    if not isinstance(update, torch.Tensor) or update.dtype != torch.float32 or update.shape != (size,):
        kind = f"{update.dtype} of shape {tuple(update.shape)}" if isinstance(update, torch.Tensor) else type(update).__name__
        return f"the update is {kind}, not float32 of shape ({size},)"
    if strict and digest != commitment(number, name, update):
        return "the update is not the one that it had committed to"
    if strict and not bool(update.isfinite().all()):
        return "the update has values that are not finite"
    return ""


def _stack(rows: Sequence[torch.Tensor], size: int) -> torch.Tensor:
    return torch.stack(list(rows)) if rows else torch.empty(0, size)


def _told(job: Job, number: int) -> dict[int, list[str]]:
    """The replicas with omniscient attackers that act in this round, and the attacking nodes."""
    attack, topology = job.config.attack, job.config.topology
    if not job.omniscient or number < attack["from_round"]:
        return {}
    told: dict[int, list[str]] = {}
    for name in sorted(attackers(attack, topology.replicas, topology.stages)):
        told.setdefault(int(name[1:].split(".")[0]), []).append(name)
    return told


def _knowledge(job: Job, honest: Sequence[list[torch.Tensor]], told: dict[int, list[str]]) -> dict[str, Knowledge]:
    """What each attacking node is told of the honest updates of its stage."""
    knowledge = {}
    for name in (name for names in told.values() for name in names):
        stage = int(name.split(".s")[1])
        rows = _stack([updates[stage] for updates in honest], job.layouts[stage].size)
        colluding = sum(other.endswith(f".s{stage}") for names in told.values() for other in names)
        nothing = torch.zeros(rows.shape[1])
        mean, std = (rows.mean(0), rows.std(0, correction=0)) if len(rows) else (nothing, nothing)
        knowledge[name] = Knowledge(mean, std, honest=len(rows), attackers=colluding)
    return knowledge
