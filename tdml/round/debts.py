"""Work that was asked for and not shown.

A node that owes work is out until it has shown that round's work; later rounds prove nothing about
it. It is ordered to do the round again, from the same weights and samples, which leads to the same
content, and all of that is repeated by others.

Where nobody knows who of a replica's nodes kept it from being shown, all of them owe it. If it is
not shown, one of them goes, by chance. What cannot be shown any more, for want of a partner, of the
place or of the weights, is forgiven, and all of the next round is repeated: so whoever refuses
takes along, on average, as many partners as it has. Whoever has lost what its own optimizer had
gone on from, which nobody else has, or says that it is on another kind of machine now, is forgiven
once. Nobody is paid for what he was forgiven: that work was never seen, and a liar can see to it
that it cannot be.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from tdml.common.merkle import root
from tdml.protocol.orders import Commitment
from tdml.round.fleet import Fleet, Replica
from tdml.round.gather import Gathered
from tdml.round.start import RoundStart

_KEPT_ROUNDS = 4  # whose weights are kept, here and in checkpoints: each is as large as the model


@dataclass(frozen=True)
class Debt:
    """A round whose work a node has not shown, where it sat, on what kind of machines, how many
    steps it was ordered to take, what it had committed to, the keys of all who owe it together, and
    the global weights that the round started from, by stage; none if they are no longer kept.
    `inner` are the states that optimizers were to go on from, by stage, which nobody holds but the
    replica's nodes, as long as they stay: `visits`."""

    round: int
    replica: int
    steps: int
    stage: int
    kind: str
    update: str
    states: str
    group: tuple[str, ...]
    weights: list[torch.Tensor]
    inner: tuple[str, ...] = ()
    visits: tuple[str, ...] = ()

    def sits(self, replica: Replica, stage: int) -> bool:
        """Whether the node sat there."""
        return (replica.index, stage) == (self.replica, self.stage)

    def is_met_by(self, commitments: Sequence[Commitment]) -> bool:
        """Whether a replica has done the same round again."""
        mine = commitments[self.stage]
        return (root(mine.blocks), mine.states) == (self.update, self.states)


class Debts:
    """What the nodes of a job owe, by public key: the first round of each."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self.owing: dict[str, Debt] = {}
        # who was forgiven, until all of a round of theirs is repeated, or on a rare kind looked at
        self.watched: set[str] = set()
        # those whose next verdict is to say that they were forgiven
        self._untold: set[str] = set()
        # those who were forgiven a round for what they had said of themselves
        self._believed: set[str] = set()

    def note(self, gathered: Gathered, silent: set[str]) -> None:
        """Nodes that did not answer in a round owe their own work of it."""
        start = gathered.start
        silent = set() if start.stood_still(self._fleet.pauses) else silent
        kinds = {r.index: r.kind for r in self._fleet.mustered(sorted(gathered.names))}
        for index, names in gathered.names.items():
            group = tuple(self._fleet.key(name) for name in names if name in silent)
            for stage, name in enumerate(names):
                if name in silent:
                    commitment = gathered.commitments[index][stage]
                    debt = Debt(
                        round=start.number,
                        replica=index,
                        steps=start.steps[index],
                        stage=stage,
                        kind=kinds[index],
                        update=root(commitment.blocks),
                        states=commitment.states,
                        group=group,
                        weights=list(start.weights),
                        inner=start.inner.get(index, ()),
                        visits=self._visits(names),
                    )
                    self.owing.setdefault(self._fleet.key(name), debt)
        self._spare_memory(start.number)

    def _spare_memory(self, number: int) -> None:
        """Keep the weights of what is owed for the next rounds, of which the present one has that
        number: who does not come to show it may be gone for good, and keys cost nothing."""
        for key, debt in self.owing.items():
            if debt.round <= number - _KEPT_ROUNDS:
                self.owing[key] = replace(debt, weights=[])

    def due(self, replicas: Iterable[Replica]) -> dict[int, Debt]:
        """By replica, what is to be shown before all else; what cannot be is forgiven."""
        debts = {}
        for replica in replicas:
            for stage, name in enumerate(replica.names):
                key = self._fleet.key(name)
                owed = self.owing.get(key)
                if owed and not self._can_show(owed, replica, stage):
                    self._believed |= {key} if self._excuses_itself(owed, replica, stage) else set()
                    self._forgive(key)
            if debt := self.of(replica):
                debts[replica.index] = debt
        return debts

    def _can_show(self, debt: Debt, replica: Replica, stage: int) -> bool:
        """Whether all who owe it sit where they sat, and nothing has changed with which the round
        would not lead to the same, as where partners have come since; what a node says of itself is
        believed once."""
        keys = [self._fleet.key(name) for name in replica.names]
        came = self._has_new_partners(debt, replica, stage)
        others = came and (any(debt.inner) or replica.kind != debt.kind)
        itself = self._excuses_itself(debt, replica, stage) and keys[stage] not in self._believed
        there = debt.sits(replica, stage) and set(debt.group) <= {*keys} and bool(debt.weights)
        return there and not (others or itself)

    def _excuses_itself(self, debt: Debt, replica: Replica, stage: int) -> bool:
        """Whether a node that sits there still has come anew, and lost the state that it had gone
        on from; or it or one of the same partners is on another kind of machine, as with others'
        number of threads."""
        lost = any(debt.inner) and self._fleet.visit(replica.names[stage]) != debt.visits[stage]
        moved = replica.kind != debt.kind and not self._has_new_partners(debt, replica, stage)
        return debt.sits(replica, stage) and (lost or moved)

    def _has_new_partners(self, debt: Debt, replica: Replica, stage: int) -> bool:
        visits = self._visits(replica.names)
        return any(visits[s] != debt.visits[s] for s in range(len(visits)) if s != stage)

    def _visits(self, names: Iterable[str]) -> tuple[str, ...]:
        return tuple(map(self._fleet.visit, names))

    def _forgive(self, key: str) -> None:
        del self.owing[key]
        self.watched.add(key)
        self._untold.add(key)

    @property
    def pay_withheld(self) -> set[str]:
        """The keys that get nothing of what was held back for a round until they have shown its
        work: those that owe it, and those whose next verdict says that they were forgiven."""
        return {*self.owing, *self._untold}

    def tell_forgiven(self, names: Iterable[str]) -> tuple[str, ...]:
        """Those of these nodes that were forgiven since this was last asked of them."""
        forgiven = tuple(name for name in names if self._fleet.key(name) in self._untold)
        self._untold -= {self._fleet.key(name) for name in forgiven}
        return forgiven

    def forgive_all(self) -> None:
        """Settings have changed, with which no round can be done again."""
        for key in list(self.owing):
            self._forgive(key)

    def take_back(self, after: int) -> None:
        """The rounds after one are void: nobody needs to show what he did in them."""
        for key, debt in list(self.owing.items()):
            if debt.round > after:
                self._forgive(key)

    def watches(self, names: Iterable[str]) -> bool:
        """Whether all work of these nodes is to be repeated."""
        return any(self._fleet.key(name) in self.watched for name in names)

    def clear(self, names: Iterable[str]) -> None:
        """All of a round of these nodes was repeated, and found clean."""
        self.watched -= {self._fleet.key(name) for name in names}

    def drop(self, names: Iterable[str]) -> None:
        """These nodes are banned, or have shown what they owed."""
        for name in names:
            self.owing.pop(self._fleet.key(name), None)

    def of(self, replica: Replica) -> Debt | None:
        """The oldest that one of its nodes owes."""
        keys = map(self._fleet.key, replica.names)
        debts = [self.owing[key] for key in keys if key in self.owing]
        return min(debts, key=lambda debt: debt.round, default=None)

    def are_met_by(self, commitments: Sequence[Commitment], replica: Replica, number: int) -> bool:
        """Whether all that nodes of a replica owe of a round was done again."""
        owed = (self.owing[self._fleet.key(name)] for name in self.who_owes(replica, number))
        return bool(commitments) and all(debt.is_met_by(commitments) for debt in owed)

    def who_owes(self, replica: Replica, number: int) -> list[str]:
        """Its nodes that owe a round."""
        debts = ((name, self.owing.get(self._fleet.key(name))) for name in replica.names)
        return [name for name, debt in debts if debt is not None and debt.round == number]

    def part_from_one(self, names: Sequence[str], start: RoundStart, draw: torch.Generator) -> None:
        """Have one of those who have not shown what they owe in a round replaced, by chance, if
        there is a spare. It cannot show it any more: its slot is another's."""
        chosen = names[int(torch.randint(len(names), (), generator=draw))]
        if not start.stood_still(self._fleet.pauses) and self._fleet.stand_down(chosen):
            key = self._fleet.key(chosen)
            self.owing[key] = replace(self.owing[key], weights=[])

    def state(self) -> dict:
        """What a checkpoint must keep."""
        owing = {key: vars(debt) for key, debt in self.owing.items()}
        return {
            "owing": owing,
            "watched": sorted(self.watched),
            "untold": sorted(self._untold),
            "believed": sorted(self._believed),
        }

    def restore(self, state: Mapping) -> None:
        """Undo `state`."""
        self.owing = {key: Debt(**debt) for key, debt in state["owing"].items()}
        self.watched, self._untold = set(state["watched"]), set(state["untold"])
        self._believed = set(state["believed"])
