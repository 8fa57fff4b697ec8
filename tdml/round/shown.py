"""What a party to a dispute shows of a step, as far as it fits what all agree on."""

from dataclasses import dataclass, replace

import torch

from tdml.node.messages import digest_of
from tdml.protocol.orders import AFTER, BEFORE, INNER, UPDATE
from tdml.round.fleet import Replica
from tdml.round.job import Job
from tdml.round.transcripts import CommonGround
from tdml.round.vectors import DigestMismatch, Vector, fetch_vector
from tdml.trust.dispute import END, Item


@dataclass(frozen=True)
class StepShown:
    """What somebody shows of a step of a stage: its state before it (of the round's first step the
    inner one, or None where that is fresh), the messages that it has received and has sent, by
    channel, and the item in question as it has made it, its `value`."""

    before: torch.Tensor | None
    messages: dict[int, list[torch.Tensor]]
    sent: dict[int, list[torch.Tensor]]
    value: list[torch.Tensor]

    def of(self, item: Item) -> "StepShown":
        """The same of another item of the step, which is not after the one in question: it takes
        the messages before it."""
        if item.channel < 0:
            return self
        received = {n: message for n, message in self.messages.items() if n < item.channel}
        return replace(self, messages=received, value=self.sent[item.channel])


def shown_by(
    job: Job, replica: Replica, item: Item, begins: bool, ground: CommonGround
) -> StepShown:
    """What a replica that was told to keep a step shows of it.

    Args:
        begins: whether the step is the round's first: the global weights need not be shown.
        ground: what all agree on.

    Raises:
        DigestMismatch: it shows something else.
    """
    stage, state = item.stage, job.states[item.stage]
    shown = replica.shown(stage)
    if len(shown.channels) != len(shown.messages):
        raise DigestMismatch(replica.index, stage)
    told = {
        channel: list(message)
        for channel, message in zip(shown.channels, shown.messages, strict=True)
    }
    messages = {channel: told.get(channel, []) for channel in ground.received}
    for channel, digest in ground.received.items():
        if digest_of(messages[channel]).hex() != digest:
            raise DigestMismatch(replica.index, stage)
    before = None
    if ground.before is not None:
        size = state.inner.size if begins else state.size
        before = fetch_vector(replica, Vector(BEFORE, stage, size, ground.before))
    sent = {n: told.get(n, []) for n, c in enumerate(job.channels) if c.sender == stage}
    if item.channel >= 0:
        value = sent[item.channel]
    elif item.channel == END:
        value = [fetch_vector(replica, Vector(UPDATE, stage, job.layouts[stage].size))]
        if inner := job.inner_size(stage):
            value.append(fetch_vector(replica, Vector(INNER, stage, inner)))
    else:
        value = [fetch_vector(replica, Vector(AFTER, stage, state.size))]
    return StepShown(before, messages, sent, value)
