"""Whose lie it was: following what crossed the borders between the stages of a replica."""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch

from tdml.training.borders import (
    GRADIENT_RECEIVED,
    GRADIENT_SENT,
    MEASURES,
    NORMS_RECEIVED,
    NORMS_SENT,
    NOT_TAKEN,
    RECEIVED,
    SENT,
)


@dataclass(frozen=True)
class Blame:
    """Who lied in a replica: all of `stages`; and of each of `disputes`, between the sender of a message and its
    receiver, one of the two stages, nobody can tell which."""

    stages: tuple[int, ...] = ()
    disputes: tuple[tuple[int, int], ...] = ()


def all_of(blames: Iterable[Blame]) -> Blame:
    """Several findings on one replica as one."""
    found = list(blames)
    stages = {stage for blame in found for stage in blame.stages}
    disputes = {pair for blame in found for pair in blame.disputes}
    return Blame(tuple(sorted(stages)), tuple(sorted(disputes)))


def contradiction(dispute: tuple[int, int]) -> str:
    """A dispute in words."""
    return f"stages {dispute[0]} and {dispute[1]} contradict each other on what passed between them"


def agreed(told: Sequence[Sequence[torch.Tensor]]) -> list[torch.Tensor]:
    """What most say that crossed the borders, by stage, from what each of them says: the lower median, in which what is
    not a number is the largest, so that a few who say so do not move it."""
    return [torch.stack(stage).sort(dim=0).values[(len(told) - 1) // 2] for stage in zip(*told, strict=True)]


def to_blame(
    wrong: Sequence[int], claimed: Sequence[torch.Tensor], repeated: Sequence[torch.Tensor], limit: float
) -> Blame:
    """The stages that lied in a window, or in an evaluation; or two that contradict each other.

    A stage that was misled by another has a wrong state, too. Hence the messages are followed in the order in which
    one depends on another: the first that was not confirmed names who sent it. If all were, whoever has a wrong state
    is to blame. If the receiver tells of another message than the sender, whose own is confirmed, either may lie.

    Args:
        wrong: the stages whose result was not confirmed, at least one.
        claimed, repeated: what crossed each stage's borders, (steps, parts, kinds, microbatches, 12) float64; parts are
            dealt to the stages in turn.
        limit: relative error up to which a message is confirmed; 0: only the very same message is.
    """
    if idle := tuple(stage for stage, rows in enumerate(claimed) if _left_out(rows)):
        return Blame(idle)
    stages, (steps, parts, kinds) = len(claimed), repeated[0].shape[:3]
    for step in range(steps):
        for sender, sent, receiver, received in _messages(stages, parts, norms=kinds > NORMS_SENT):
            place = (step, sender // stages, sent)
            if _differ(claimed[sender % stages][place], repeated[sender % stages][place], limit):
                return Blame((sender % stages,))
            place = (step, receiver // stages, received)
            if _differ(claimed[receiver % stages][place], repeated[receiver % stages][place], limit):
                return Blame(disputes=((sender % stages, receiver % stages),))
    return Blame(tuple(wrong))


def _messages(stages: int, parts: int, norms: bool) -> Iterator[tuple[int, int, int, int]]:
    """Sender, what it sent, receiver, what it received, in one step: activations down the parts, gradients back, and
    where gradients are clipped their norms, from the first part of each stage to that of every other."""
    last = stages * parts - 1
    for part in range(last):
        yield part, SENT, part + 1, RECEIVED
    for part in range(last, 0, -1):
        yield part, GRADIENT_SENT, part - 1, GRADIENT_RECEIVED
    for sender, receiver in itertools.permutations(range(stages), 2) if norms else ():
        yield sender, NORMS_SENT, receiver, NORMS_RECEIVED + sender


def _differ(claimed: torch.Tensor, repeated: torch.Tensor, limit: float) -> bool:
    """Whether sketches (microbatches, 12) are farther apart than `limit` of their norms. What is not a number equals
    itself: samples or weights may lead there."""
    same = (claimed == repeated) | (claimed.isnan() & repeated.isnan())
    if not limit:
        return not bool(same.all())
    distance = (claimed - repeated).where(~same, 0.0)[:, :MEASURES].norm(dim=1)
    return not bool((distance <= limit * repeated[:, 0].nan_to_num()).all())


def _left_out(claimed: torch.Tensor) -> bool:
    """Whether steps were not taken, which nobody can make a node say who took them."""
    return bool((claimed == NOT_TAKEN).flatten(1).all(dim=1).any())
