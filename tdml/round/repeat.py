"""A window of a replica's round, and having it repeated."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from tdml.node.trace import Opening
from tdml.protocol.orders import RepeatOrder, Repetition, new_nonce, state_before
from tdml.round.fleet import Replica
from tdml.round.job import Job
from tdml.round.start import RoundStart
from tdml.round.vectors import Vector, relay


@dataclass(frozen=True)
class Window:
    """A window of a replica's round as it was ordered, and what its nodes have shown of it. `owner`
    is that replica, and `weights` are those that the round started from, (d_s,) by stage."""

    order: RepeatOrder
    owner: Replica
    number: int
    openings: Sequence[Opening]
    weights: Sequence[torch.Tensor]

    def anew(self, **changed: Any) -> "Window":
        """The same, to be asked for once more, in an order that is `changed` somehow."""
        return replace(self, order=replace(self.order, nonce=new_nonce(), **changed))

    @property
    def logs(self) -> list[torch.Tensor]:
        """What each node has logged of the window."""
        first = self.order.first
        return [opening.log[first : first + len(self.order.batches)] for opening in self.openings]

    def ends(self) -> tuple[str, ...]:
        """What the owner says the window leads to, by stage."""
        return tuple(opening.states[self.number] for opening in self.openings)

    def start(self, stage: int) -> str | None:
        """What the owner says it starts from; None where that is the global weights and a fresh
        optimizer. The first window's is an inner state."""
        opening = self.openings[stage]
        return opening.states[self.number - 1] if self.number else opening.inner or None

    def confirmed_by(self, answers: Sequence[Repetition]) -> bool:
        """Whether a repetition has found the very same."""
        same = tuple(answer.end for answer in answers) == self.ends()
        return same and all(
            torch.equal(log, a.log) for log, a in zip(self.logs, answers, strict=True)
        )


def window_of(
    job: Job, start: RoundStart, owner: Replica, number: int, openings: Sequence[Opening]
) -> Window:
    """One window of a replica's round, with the order to repeat it."""
    bounds = job.bounds(start.steps[owner.index])
    first, stop = bounds[number : number + 2]
    order = RepeatOrder(
        start.number,
        job.longest,
        owner.index,
        first,
        last=number == len(bounds) - 2,
        batches=job.batches(owner.index, start.number)[first:stop],
        nonce=new_nonce(),
        inner=() if number else tuple(bool(opening.inner) for opening in openings),
    )
    return Window(order, owner, number, openings, start.weights)


def repeat(job: Job, window: Window, party: Replica) -> list[Repetition]:
    """Have a party repeat a window, from the states that its owner has kept.

    Raises:
        ReplicaLost: one of them does not answer.
        DigestMismatch: the owner shows another state than it has committed to.
    """
    order, owner = window.order, window.owner
    for stage in range(len(owner.names)):
        start = window.start(stage)
        if start is not None and not order.own:
            state = job.states[stage]
            size = state.size if window.number else state.inner.size
            relay(owner, Vector(state_before(window.number), stage, size, start), party)
    return party.repeat(order)
