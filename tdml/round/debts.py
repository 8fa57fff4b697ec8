"""Debts: work that an audit has asked for, and that was not shown.

A node that owes a round is out until it has shown the work of that round; later rounds prove
nothing about it. It is ordered to do the round again. From the same weights and samples that leads
to the same digests, and others repeat all of it.

Where nobody knows which of a replica's nodes has kept the work from being shown, all of them owe
it. If they do not show it, one of them is replaced, by chance. A debt is forgiven if it cannot be
shown any more, because a partner, the slot or the weights are gone; then all of the node's next
round is repeated. So a node that refuses takes along, on average, as many partners as it has.

A node that has lost the state of its own optimizer, which nobody else has, or that says it is on
another kind of machine now, is forgiven once. What was forgiven is not paid: nobody has seen that
work, and a liar could arrange for that.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

import torch

from tdml.common.merkle import root
from tdml.protocol.orders import Commitment
from tdml.round.fleet import Fleet, Replica
from tdml.round.gather import Gathered
from tdml.round.round_start import RoundStart

_KEPT_ROUNDS = 4  # for which weights are kept, also in checkpoints: each is a whole model


@dataclass(frozen=True)
class Debt:
    """A round of which a node has not shown its work."""

    round: int
    replica: int
    steps: int  # that the replica was ordered to take
    stage: int  # of the node
    kind: str  # of the replica's machines
    update: str  # the digest that the node had committed to
    states: str  # and the root of its trace
    group: tuple[str, ...]  # keys of all nodes that owe the round together
    weights: list[torch.Tensor]  # from which the round began, by stage; []: no longer kept
    # by stage, the digests of the states that optimizers were to go on from: only the replica's own
    # nodes have these, and only in the same processes
    inner: tuple[str, ...] = ()
    visits: tuple[str, ...] = ()  # the ids of these processes, by stage

    def sits(self, replica: Replica, stage: int) -> bool:
        """Whether this is the slot that the node had in the round."""
        return (replica.index, stage) == (self.replica, self.stage)

    def is_met_by(self, commitments: Sequence[Commitment]) -> bool:
        """Whether these commitments of its replica repeat what the node had committed to."""
        mine = commitments[self.stage]
        return (root(mine.blocks), mine.states) == (self.update, self.states)


class Debts:
    """What the nodes of a job owe. Of several rounds a node owes the first."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self.owing: dict[str, Debt] = {}  # by public key
        # keys that were forgiven: until a whole round of theirs was repeated, or looked at where
        # nobody else is on their kind of machine
        self.watched: set[str] = set()
        # keys that were forgiven, which their next verdict is to say
        self._untold: set[str] = set()
        # keys that were forgiven because of what they had said of themselves
        self._believed: set[str] = set()

    def note(self, gathered: Gathered, silent: set[str]) -> None:
        """Have the nodes that were silent in a round owe their work of it."""
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
        """Drop the weights of debts that are too old at the round of that number: a node that does
        not come may be gone for good, and anybody can have any number of keys."""
        for key, debt in self.owing.items():
            if debt.round <= number - _KEPT_ROUNDS:
                self.owing[key] = replace(debt, weights=[])

    def due(self, replicas: Iterable[Replica]) -> dict[int, Debt]:
        """Forgive what these replicas cannot show any more. Returns what each has to show before
        anything else, by replica."""
        debts = {}
        for replica in replicas:
            for stage, name in enumerate(replica.names):
                key = self._fleet.key(name)
                owed = self.owing.get(key)
                if owed and not self._can_show(owed, replica, stage):
                    self._believed |= {key} if self._excuses_itself(owed, replica, stage) else set()
                    self._forgive(key)
            if debt := self.oldest(replica):
                debts[replica.index] = debt
        return debts

    def _can_show(self, debt: Debt, replica: Replica, stage: int) -> bool:
        """Whether the round can still be done again: all that owe it have their slots, and its
        weights are kept, and nothing has changed that would lead to something else, such as new
        partners. What only the node itself says has changed is believed once."""
        keys = [self._fleet.key(name) for name in replica.names]
        came = self._has_new_partners(debt, replica, stage)
        others = came and (any(debt.inner) or replica.kind != debt.kind)
        itself = self._excuses_itself(debt, replica, stage) and keys[stage] not in self._believed
        there = debt.sits(replica, stage) and set(debt.group) <= {*keys} and bool(debt.weights)
        return there and not (others or itself)

    def _excuses_itself(self, debt: Debt, replica: Replica, stage: int) -> bool:
        """Whether a node in its old slot has an excuse that only itself, or its old partners, can
        vouch for: it was started anew, and has lost the state that it had gone on from; or one of
        them is on another kind of machine now, as with another number of threads."""
        lost = any(debt.inner) and self._fleet.visit(replica.names[stage]) != debt.visits[stage]
        other_kind = replica.kind != debt.kind and not self._has_new_partners(debt, replica, stage)
        return debt.sits(replica, stage) and (lost or other_kind)

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
        """The nodes among these that were forgiven since this was last asked."""
        forgiven = tuple(name for name in names if self._fleet.key(name) in self._untold)
        self._untold -= {self._fleet.key(name) for name in forgiven}
        return forgiven

    def forgive_all(self) -> None:
        """Forgive all debts: settings have changed, with which no round can be done again."""
        for key in list(self.owing):
            self._forgive(key)

    def take_back(self, after: int) -> None:
        """Forgive the debts of the rounds after one: they are void."""
        for key, debt in list(self.owing.items()):
            if debt.round > after:
                self._forgive(key)

    def watches(self, names: Iterable[str]) -> bool:
        """Whether all work of these nodes is to be repeated."""
        return any(self._fleet.key(name) in self.watched for name in names)

    def clear(self, names: Iterable[str]) -> None:
        """Watch these nodes no more: a whole round of theirs was repeated, and found clean."""
        self.watched -= {self._fleet.key(name) for name in names}

    def drop(self, names: Iterable[str]) -> None:
        """Forget what these nodes owe: they are banned, or have shown it."""
        for name in names:
            self.owing.pop(self._fleet.key(name), None)

    def oldest(self, replica: Replica) -> Debt | None:
        """The oldest debt of a replica's nodes; None if they owe nothing."""
        keys = map(self._fleet.key, replica.names)
        debts = [self.owing[key] for key in keys if key in self.owing]
        return min(debts, key=lambda debt: debt.round, default=None)

    def are_met_by(self, commitments: Sequence[Commitment], replica: Replica, number: int) -> bool:
        """Whether these commitments repeat all that the nodes of a replica owe of a round."""
        owed = (self.owing[self._fleet.key(name)] for name in self.who_owes(replica, number))
        return bool(commitments) and all(debt.is_met_by(commitments) for debt in owed)

    def who_owes(self, replica: Replica, number: int) -> list[str]:
        """The nodes of a replica that owe a round."""
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
