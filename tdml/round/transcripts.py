"""The transcripts of a dispute: what each party says that a window's steps have sent and led to."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch

from tdml.node.agreement import repetition_purpose
from tdml.node.messages import Channel
from tdml.protocol.orders import Repetition, ReplicaLost
from tdml.round.fleet import Replica
from tdml.round.job import Job
from tdml.round.openings import is_log
from tdml.round.repeat import Window, repeat
from tdml.round.signatures import Signers, broken_agreements
from tdml.trust.dispute import END, STATE, Item, Transcript, agreed, items
from tdml.trust.judgement import Proof


class Lied(Exception):
    """Nodes have said something that no honest node says. `proofs` convict them."""

    def __init__(self, proofs: Sequence[Proof]) -> None:
        self.proofs = tuple(proofs)
        super().__init__("; ".join(proof.reason for proof in proofs))


@dataclass(frozen=True)
class CommonGround:
    """What all parties agree on before an item: the digests of what its step starts from."""

    # of the state before the step; before a round's first step, of the inner optimizer's state,
    # None if that is fresh
    before: str | None
    received: dict[int, str]  # of the messages that the stage has received in it, by channel


def window_items(job: Job, window: Window) -> Iterator[Item]:
    """All items of a window, in causal order."""
    senders = [channel.sender for channel in job.channels]
    stages = job.config.topology.stages
    return items(len(window.order.batches), senders, stages, window.order.last)


def step_end(window: Window, step: int, stage: int) -> Item:
    """The item to which a stage's step leads: the state after it, or after the round's last step
    the update, for no later step would contradict a lie there."""
    ends = window.order.last and step == len(window.order.batches) - 1
    return Item(step, stage, END if ends else STATE)


def committed(job: Job, window: Window) -> Transcript:
    """The owner's transcript, to which it has committed: its message logs, and what the window
    leads to."""
    digests = _sent(job.channels, window.logs)
    digests |= {_end(window, stage): end for stage, end in enumerate(window.ends())}
    return Transcript(window.owner.index, digests)


def transcript_of(
    job: Job, window: Window, party: Replica, answers: Sequence[Repetition]
) -> Transcript:
    """The transcript of a party that has repeated the window, with the states after all steps if it
    was asked for these."""
    digests = _sent(job.channels, [answer.log for answer in answers])
    for stage, answer in enumerate(answers):
        digests |= {Item(step, stage): state for step, state in enumerate(answer.states)}
        digests[_end(window, stage)] = answer.end
    return Transcript(party.index, digests)


def repeat_by_step(job: Job, window: Window, party: Replica, signers: Signers) -> Transcript:
    """Have a party repeat the window once more, and tell the digest of the state after every step.

    Args:
        signers: the party's nodes.

    Raises:
        ReplicaLost: a party does not answer, or not in full.
        DigestMismatch: the owner shows another state than it has committed to.
        Lied: nodes of the party log other messages than they have signed.
    """
    asked = window.anew(own=party is window.owner, each=True)
    answers, steps = repeat(job, asked, party), len(window.order.batches)
    for stage, (name, answer) in enumerate(zip(party.names, answers, strict=True)):
        formed = len(answer.signatures) == len(signers.keys) and len(answer.states) == steps
        if not formed or not is_log(answer.log, steps, job.channels, stage):
            text = f"{name}: it has not said what every step led to"
            raise ReplicaLost(party.index, text, [name])
    if proofs := broken_agreements(job.channels, signers, repetition_purpose(asked.order), answers):
        raise Lied(proofs)
    return transcript_of(job, window, party, answers)


def common_ground(
    job: Job, window: Window, transcripts: Sequence[Transcript], item: Item
) -> CommonGround:
    """What the step of an item starts from, where all agree on all items before it."""
    before = Item(item.step - 1, item.stage)
    received = {
        number: agreed(transcripts, Item(item.step, channel.sender, number))
        for number, channel in enumerate(job.channels)
        if channel.receiver == item.stage and (item.channel < 0 or number < item.channel)
    }
    return CommonGround(
        agreed(transcripts, before) if item.step else window.start(item.stage), received
    )


def _sent(channels: Sequence[Channel], logs: Sequence[torch.Tensor]) -> dict[Item, str]:
    """The digests of all messages of all steps, as their senders have logged them; their receivers
    have signed the same."""
    digests = {}
    for number, channel in enumerate(channels):
        for step, row in enumerate(logs[channel.sender][:, number].tolist()):
            digests[Item(step, channel.sender, number)] = bytes(row).hex()
    return digests


def _end(window: Window, stage: int) -> Item:
    """The item to which a stage's part of the window leads."""
    return step_end(window, len(window.order.batches) - 1, stage)
