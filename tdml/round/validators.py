"""Who repeats a replica's work, and whose word counts."""

from collections import Counter
from collections.abc import Collection, Sequence

import torch

from tdml.round.audits import Audits
from tdml.round.fleet import Fleet, Replica
from tdml.round.gather import Gathered
from tdml.round.repeat import Window


def alike(fleet: Fleet, gathered: Gathered, owner: Replica, draw: torch.Generator) -> list[Replica]:
    """Others on machines of the owner's kind, in random order: they repeat each other bit for
    bit."""
    others = fleet.mustered(i for i in gathered.auditable if i != owner.index)
    same = [other for other in others if other.kind == owner.kind]
    return [same[i] for i in torch.randperm(len(same), generator=draw).tolist()]


def in_turn(window: Window, others: Sequence[Replica], audits: Audits) -> list[Replica]:
    """In the order in which they are asked to repeat a window; who is proven to lie comes last, and
    before that who did not answer when it was asked, for each answer is waited for. The
    windows of a replica begin with different ones: they are repeated at the same time, and nobody
    who is in league with it repeats them all."""
    turn = window.number % max(1, len(others))
    validators = [*others[turn:], *others[:turn]]
    return sorted(
        validators, key=lambda v: (audits.convicts(v.names), v.index in audits.unanswered)
    )


def blame_machines(
    ends: Counter[tuple[str, ...]],
    unsure: Collection[int | None],
    validators: Sequence[Replica],
    replicas: int,
) -> bool:
    """Whether what all validators of a window have found says that their kind of machine does not
    repeat itself: nothing is sure of any of them, and no majority has found the same. Where they
    are not most of the round's replicas all of them may be liars, who want it to be thought so.

    Args:
        ends: how many of them have found what.
        replicas: of the round.
    """
    asked, agree = len(validators), max(ends.values(), default=0)
    return 2 * agree <= asked and 2 * asked > replicas and len(unsure) == asked


def vouched_for(fleet: Fleet, gathered: Gathered) -> set[int]:
    """The replicas whose kind of machine more than half of the round's are on: who repeats their
    work vouches for it. Liars alone may be of another kind, which they have made up to be audited
    by each other."""
    kinds = {r.index: r.kind for r in fleet.mustered(sorted(gathered.start.steps))}
    count = Counter(kinds.values())
    return {index for index, kind in kinds.items() if 2 * count[kind] > len(kinds)}


def believed(fleet: Fleet, gathered: Gathered, own: str) -> set[int]:
    """The replicas whose reports of others are heard: on the coordinator's `own` kind of machine,
    which finds the same, or on that of most. Else who says that he is on another kind could say
    anything."""
    replicas = fleet.mustered(sorted(gathered.start.steps))
    return {r.index for r in replicas if r.kind == own} | vouched_for(fleet, gathered)
