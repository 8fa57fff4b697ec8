"""Who held which slot in which round of a run, who came and who went: read from its ledger."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from tdml.ledger.entry import Entry

What = Literal["joins", "is back", "is gone", "is banned"]


@dataclass(frozen=True)
class Played:
    """A round, as often as it was begun."""

    number: int
    slots: dict[str, str]  # such as r0.s1, by node
    standby: frozenset[str]  # nodes that were there and held no slot
    counts: bool  # it was closed, and nobody took it back

    @property
    def present(self) -> frozenset[str]:
        """All nodes that were there as it began."""
        return self.standby | self.slots.keys()


@dataclass(frozen=True)
class Event:
    """What became of a node in a round, or before it where it came. `place` is that of the round in
    `Timeline.rounds`."""

    place: int
    node: str
    what: What


@dataclass(frozen=True)
class Timeline:
    """A run, round by round in the order in which they were played."""

    rounds: tuple[Played, ...]
    events: tuple[Event, ...]
    restarts: tuple[int, ...]  # places of the rounds before which the coordinator started again
    rollbacks: tuple[int, ...]  # before which rounds were taken back

    @property
    def nodes(self) -> list[str]:
        """All that ever were there, in the order in which they came; those of a round by the slot
        that they had in it, and then by name."""
        nodes: dict[str, None] = {}
        for played in self.rounds:
            held = sorted(played.slots, key=played.slots.__getitem__)
            nodes |= dict.fromkeys([*held, *sorted(played.standby)])
        return list(nodes)


def timeline_of(entries: Iterable[Entry]) -> Timeline:
    """Of all entries of a ledger, the void ones among them."""
    rounds: list[Played] = []
    banned: list[tuple[int, str]] = []  # place and node
    restarts: list[int] = []
    rollbacks: list[int] = []
    closed: set[int] = set()  # places
    for entry in entries:
        if entry.kind == "round":
            rounds.append(_played(entry))
        elif entry.kind == "reveal":  # written at once with all else that closes the round
            closed.add(len(rounds) - 1)
        elif entry.kind == "ban":
            banned.append((len(rounds) - 1, entry.body["node"]))
        elif entry.kind in ("resume", "rollback"):
            (restarts if entry.kind == "resume" else rollbacks).append(len(rounds))
            after = entry.body["after"]
            closed = {place for place in closed if rounds[place].number <= after}
    counted = tuple(
        Played(played.number, played.slots, played.standby, place in closed)
        for place, played in enumerate(rounds)
    )
    return Timeline(counted, _events(counted, banned), tuple(restarts), tuple(rollbacks))


def _played(entry: Entry) -> Played:
    slots = {
        node: f"r{replica}.s{stage}"
        for replica, nodes in entry.body["slots"].items()
        for stage, node in enumerate(nodes)
    }
    return Played(entry.round, slots, frozenset(entry.body.get("standby", ())), counts=False)


def _events(rounds: Sequence[Played], banned: Sequence[tuple[int, str]]) -> tuple[Event, ...]:
    """By place. Who is there in one round and not in the next was lost in it, unless banned; what
    became of nodes in the last round nobody has recorded."""
    excluded = {node for _, node in banned}
    seen = set(rounds[0].present) if rounds else set()
    events = [Event(place, node, "is banned") for place, node in banned]
    for place, (before, now) in enumerate(pairwise(rounds), start=1):
        for node in sorted(now.present - before.present):
            events.append(Event(place, node, "is back" if node in seen else "joins"))
        for node in sorted(before.present - now.present - excluded):
            events.append(Event(place - 1, node, "is gone"))
        seen |= now.present
    return tuple(sorted(events, key=lambda event: event.place))
