"""Who is moved after a dispute: two nodes that contradict each other are not left side by side."""

import itertools
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import torch

from tdml.cluster.messages import Seat

Pairs = Collection[tuple[str, str]]  # of nodes that are in dispute


@dataclass(frozen=True)
class _Move:
    """A node leaves its seat to another, and takes that one's seat, or none if that one is a spare."""

    node: str
    other: str
    leaves: int  # pairs in dispute that then sit in one replica
    disputed: bool  # whether the other is in dispute itself, with whomever
    spare: bool

    @property
    def cost(self) -> tuple[int, bool, bool]:
        """The less, the better. A spare comes late: who makes room for it has no work any more."""
        return self.leaves, self.disputed, self.spare


def separate(
    seats: Mapping[Seat, str], spares: Sequence[str], disputes: Pairs, draw: torch.Generator
) -> dict[Seat, str]:
    """Seats in which nodes that are in dispute sit in different replicas, as far as that can be.

    One of the two changes places with a node of the same stage of another replica that has no dispute; if there is
    none with a spare, and else with one that has. Which of the two, and with whom, is drawn.

    Args:
        seats: of nodes that can work.
        spares: nodes that could take a seat.
    """
    found, waiting = dict(seats), list(spares)
    disputes = sorted({(min(pair), max(pair)) for pair in disputes})
    while together := _together(found, disputes):
        moves = [
            move for node in sorted({*itertools.chain(*together)}) for move in _moves(found, waiting, disputes, node)
        ]
        best = min((move.cost for move in moves), default=(len(together), False, False))
        if best[0] >= len(together):
            break
        chosen = [move for move in moves if move.cost == best]
        move = chosen[int(torch.randint(len(chosen), (), generator=draw))]
        found = _after(found, move.node, move.other)
        if move.spare:
            waiting[waiting.index(move.other)] = move.node
    return found


def _together(seats: Mapping[Seat, str], disputes: Pairs) -> list[tuple[str, str]]:
    """The pairs in dispute that sit in one replica."""
    place = {name: seat.replica for seat, name in seats.items()}
    return [(a, b) for a, b in disputes if a in place and place[a] == place.get(b)]


def _moves(seats: Mapping[Seat, str], spares: Sequence[str], disputes: Pairs, node: str) -> list[_Move]:
    """All that a node could do."""
    [own] = [seat for seat, name in seats.items() if name == node]
    others = [name for seat, name in seats.items() if seat.stage == own.stage and seat.replica != own.replica]
    in_dispute = {*itertools.chain(*disputes)}
    return [
        _Move(node, other, len(_together(_after(seats, node, other), disputes)), other in in_dispute, other in spares)
        for other in (*others, *spares)
    ]


def _after(seats: Mapping[Seat, str], one: str, other: str) -> dict[Seat, str]:
    """The seats when two have changed places."""
    places = {one: other, other: one}
    return {seat: places.get(name, name) for seat, name in seats.items()}
