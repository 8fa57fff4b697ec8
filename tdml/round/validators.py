"""Which replicas repeat another's work, in which order, and whose findings count.

Only machines of one kind repeat each other bit for bit, and a node itself says of which kind it is.
Liars who say that they are of a kind of their own would have nobody but each other to repeat them:
so what is found clean counts in full only on the kind that most of the round's replicas are on.
"""

from collections import Counter
from collections.abc import Collection, Sequence

import torch

from tdml.round.audits import Audits
from tdml.round.fleet import Fleet, Replica
from tdml.round.gather import Gathered
from tdml.round.repeat import Window


def same_kind(
    fleet: Fleet, gathered: Gathered, owner: Replica, draw: torch.Generator
) -> list[Replica]:
    """The other replicas on machines of the owner's kind, in random order: those that can repeat
    its work bit for bit."""
    others = fleet.mustered(i for i in gathered.auditable if i != owner.index)
    same = [other for other in others if other.kind == owner.kind]
    return [same[i] for i in torch.randperm(len(same), generator=draw).tolist()]


def asking_order(window: Window, others: Sequence[Replica], audits: Audits) -> list[Replica]:
    """The order in which `others` are asked to repeat a window.

    Each window of a replica begins with another validator: so they are repeated at the same time,
    and no accomplice repeats them all. Whoever has failed to answer comes late, for each answer is
    waited for, and whoever is proven to lie comes last.
    """
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
    """Whether a dispute over a window is the machines' fault: their kind does not repeat itself.

    So it is where no majority of the validators has found the same, and between each of them and
    the owner recomputation could not decide. They must be most of the round's replicas: else all of
    them may be liars, who want it to be thought so.

    Args:
        ends: how many validators have found each result.
        unsure: the validators with whom the dispute could not be decided.
        replicas: how many the round has.
    """
    asked, agree = len(validators), max(ends.values(), default=0)
    return 2 * agree <= asked and 2 * asked > replicas and len(unsure) == asked


def on_majority_kind(fleet: Fleet, gathered: Gathered) -> set[int]:
    """The replicas on the kind of machine that more than half of the round's replicas are on: one
    that repeats their work need not be an accomplice. None, where no kind has a majority."""
    kinds = {r.index: r.kind for r in fleet.mustered(sorted(gathered.start.steps))}
    count = Counter(kinds.values())
    return {index for index, kind in kinds.items() if 2 * count[kind] > len(kinds)}


def credible(fleet: Fleet, gathered: Gathered, own: str) -> set[int]:
    """The replicas whose reports of others' updates are heard: those on the coordinator's `own`
    kind of machine, which finds the same, or on the majority's. Nobody can check the others."""
    replicas = fleet.mustered(sorted(gathered.start.steps))
    return {r.index for r in replicas if r.kind == own} | on_majority_kind(fleet, gathered)
