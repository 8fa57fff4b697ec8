"""A window of a replica's round, and having it repeated."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch

from tdml.node.trace import Opening
from tdml.protocol.orders import RepeatOrder, Repetition, new_nonce, state_before
from tdml.round.fleet import Replica
from tdml.round.job import Job
from tdml.round.round_start import RoundStart
from tdml.round.vectors import Vector, relay


@dataclass(frozen=True)
class Window:
    """A window of a replica's round: the steps as they were ordered, and what was shown of them."""

    order: RepeatOrder  # to repeat it
    owner: Replica  # whose round it is
    number: int  # of the window in the round
    openings: Sequence[Opening]  # what the owner's nodes have shown of the round, by stage
    weights: Sequence[torch.Tensor]  # the global weights before the round, (d_s,) by stage

    def anew(self, **changed: Any) -> "Window":
        """The same window with a new order, in which some fields are `changed`: every order has a
        nonce of its own."""
        return replace(self, order=replace(self.order, nonce=new_nonce(), **changed))

    @property
    def logs(self) -> list[torch.Tensor]:
        """The messages of the window that each node has logged, by stage."""
        first = self.order.first
        return [opening.log[first : first + len(self.order.batches)] for opening in self.openings]

    def ends(self) -> tuple[str, ...]:
        """The digests of what the window leads to, as the owner says, by stage."""
        return tuple(opening.states[self.number] for opening in self.openings)

    def start(self, stage: int) -> str | None:
        """The digest of the state that the window starts from, as the owner says. For the first
        window it is that of the inner optimizer; None if that is fresh."""
        opening = self.openings[stage]
        return opening.states[self.number - 1] if self.number else opening.inner or None

    def confirmed_by(self, answers: Sequence[Repetition]) -> bool:
        """Whether a repetition has found the same, to the bit."""
        same = tuple(answer.end for answer in answers) == self.ends()
        return same and all(
            torch.equal(log, a.log) for log, a in zip(self.logs, answers, strict=True)
        )


def window_of(
    job: Job, start: RoundStart, owner: Replica, number: int, openings: Sequence[Opening]
) -> Window:
    """One window of a replica's round, with the order to repeat it."""
    bounds = job.window_bounds(start.steps[owner.index])
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
