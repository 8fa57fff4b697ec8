"""Whether an honest node would show what audited replicas and their validators show."""

from collections.abc import Sequence

import torch

from tdml.common.merkle import root
from tdml.node.agreement import repetition_purpose
from tdml.node.messages import Channel, of_stage
from tdml.node.trace import Opening
from tdml.protocol.orders import Commitment, Repetition
from tdml.round.job import Job
from tdml.round.repeat import Window
from tdml.round.signatures import Signers, broken_agreements
from tdml.trust.commitment import is_plain
from tdml.trust.judgement import Proof


def false_traces(
    job: Job,
    signers: Signers,
    purpose: str,
    steps: int,
    commitments: Sequence[Commitment],
    openings: Sequence[Opening],
    inner: Sequence[str],
) -> list[Proof]:
    """The proofs against nodes of a replica that show another round than they have committed to or
    were ordered to do, that have left out steps, or that log something else than they have signed.

    Args:
        signers: the replica's nodes.
        purpose: for which they have signed their logs.
        steps: that the replica was ordered to take.
        inner: by stage, the digests of the states that their optimizers were to go on from, if they
            had them.
    """
    ordered = inner or [""] * len(openings)
    false = [
        stage
        for stage, (commitment, opening) in enumerate(zip(commitments, openings, strict=True))
        if opening.inner not in ("", ordered[stage])
        or not _holds(job, steps, stage, commitment, opening)
    ]
    if false:
        return [
            Proof((signers.names[s],), f"stage {s} cannot show the work that it had committed to")
            for s in false
        ]
    channels = job.channels
    logged = [(opening.log, of_stage(channels, s)) for s, opening in enumerate(openings)]
    idle = [s for s, (log, own) in enumerate(logged) if skipped_steps(log, own)]
    if idle:
        return [
            Proof((signers.names[s],), f"stage {s} has not taken all of its steps") for s in idle
        ]
    return broken_agreements(channels, signers, purpose, openings)


def false_answer(
    job: Job, signers: Signers, window: Window, answers: Sequence[Repetition]
) -> list[Proof]:
    """The proofs against nodes of a validator, the `signers`, whose answers on a window no honest
    node gives."""
    names, steps = signers.names, len(window.order.batches)
    for stage, answer in enumerate(answers):
        formed = is_log(answer.log, steps, job.channels, stage)
        formed = formed and len(answer.signatures) == len(names)
        if not formed or skipped_steps(answer.log, of_stage(job.channels, stage)):
            text = f"audit: stage {stage} has not repeated what it was to repeat"
            return [Proof((names[stage],), text)]
    return broken_agreements(job.channels, signers, repetition_purpose(window.order), answers)


def is_log(log: object, steps: int, channels: Sequence[Channel], stage: int) -> bool:
    """Whether something has the form of a stage's log of so many steps, which is zero for channels
    between other stages."""
    if not is_plain(log, (steps, len(channels), 32), torch.uint8):
        return False
    others = sorted({*range(len(channels))} - {*of_stage(channels, stage)})
    return not log[:, others].any()


def _holds(job: Job, steps: int, stage: int, commitment: Commitment, opening: Opening) -> bool:
    """Whether a trace is the one that was committed to, and ends with the update."""
    windows = job.window_count(steps)
    formed = (
        len(opening.states) == windows and len(opening.signatures) == job.config.topology.stages
    )
    if not formed or not is_log(opening.log, steps, job.channels, stage):
        return False
    return opening.root == commitment.states and opening.states[-1] == root(commitment.blocks)


def skipped_steps(log: torch.Tensor, own: Sequence[int]) -> bool:
    """Whether a log has a step without any digest on the stage's own channels: the stage has not
    taken it. Others cannot make a node that has taken a step log that."""
    return bool(own) and bool((log[:, own] == 0).flatten(1).all(dim=1).any())
