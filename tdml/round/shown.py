"""What a party to a dispute shows of a step: the state and the messages that it started from, which
must be what all agree on, and what it has made of them."""

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
    """What a party shows of a step of a stage."""

    # the state before the step; before the round's first step that of the inner optimizer, None if
    # it is fresh
    before: torch.Tensor | None
    messages: dict[int, list[torch.Tensor]]  # that the stage has received, by channel
    sent: dict[int, list[torch.Tensor]]  # by channel
    value: list[torch.Tensor]  # the tensors of the disputed item, as the party has made them

    def for_item(self, item: Item) -> "StepShown":
        """The same step for another item, which is not after this one: with the messages that it
        depends on."""
        if item.channel < 0:
            return self
        received = {n: message for n, message in self.messages.items() if n < item.channel}
        return replace(self, messages=received, value=self.sent[item.channel])


def shown_by(
    job: Job, replica: Replica, item: Item, begins: bool, ground: CommonGround
) -> StepShown:
    """Have a replica show the step of an item, which it was told to keep.

    Args:
        begins: whether the step is the round's first: everybody knows the weights before it.
        ground: what all parties agree on.

    Raises:
        DigestMismatch: it shows something else than what all agree on.
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
