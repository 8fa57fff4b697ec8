"""The traces of audited replicas, as far as they are what their nodes had committed to."""

from collections.abc import Sequence
from dataclasses import replace

from tdml.node.agreement import training_purpose
from tdml.node.trace import Opening
from tdml.protocol.orders import ReplicaLost
from tdml.round.audits import Audits
from tdml.round.fleet import Fleet, Replica
from tdml.round.gather import Gathered
from tdml.round.job import Job
from tdml.round.openings import false_traces
from tdml.round.signatures import Signers


def open_traces(
    fleet: Fleet,
    job: Job,
    gathered: Gathered,
    indices: Sequence[int],
    audits: Audits,
) -> dict[int, list[Opening]]:
    """Have replicas show their traces of the round. Returns those that agree with what the nodes
    have committed to, by replica and stage; what is wrong with the others is noted in `audits`."""
    replicas, sound = fleet.mustered(indices), {}
    shown = fleet.each(_opened, replicas)
    for replica in replicas:
        index, names = replica.index, replica.names
        steps, result = gathered.start.steps[index], shown.get(index)
        before = audits.of(index)
        if not isinstance(result, list):
            text = f"audit: it has not shown its work: {result}"
            audits.silent |= silent_nodes(result, names)
            audits.by_replica[index] = replace(before, unsettled=text)
            continue
        signers, commitments = Signers.of(fleet, replica), gathered.commitments[index]
        purpose = training_purpose(gathered.start.number, gathered.start.nonce)
        inner = gathered.start.inner.get(index, ())
        proofs = false_traces(job, signers, purpose, steps, commitments, result, inner)
        audits.proofs += proofs
        if proofs:
            windows = range(job.window_count(steps))
            audits.by_replica[index] = replace(before, lied=tuple(windows))
        else:
            sound[index] = result
    return sound


def silent_nodes(loss: ReplicaLost | None, names: Sequence[str]) -> set[str]:
    """The nodes of a replica that may have kept its work from being shown: those that did not
    answer; where the loss names none, all of them."""
    return set(loss.silent if loss is not None and loss.silent else names)


def _opened(replica: Replica) -> list[Opening] | ReplicaLost:
    try:
        return replica.open()
    except ReplicaLost as loss:
        return loss
