"""Work that was asked for and not shown.

Whoever owes some is out until it has shown that very work, for a later round says nothing of it: it
is ordered to do the round again, from the same weights and samples, which leads to the same
content, and all of that is repeated by others.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch

from tdml.ledger.merkle import root
from tdml.round.audit import Auditor
from tdml.round.audits import Audits
from tdml.round.fleet import Fleet, Replica
from tdml.round.gather import Gathered
from tdml.round.orders import Commitment
from tdml.run.job import Job
from tdml.trust.judgement import Audited

Redone = dict[int, list[Commitment]]  # what replicas commit to that do a round again


@dataclass(frozen=True)
class Debt:
    """A round whose work a node has not shown, where it sat, on what kind of machines, how many
    steps it was ordered to take, what it had committed to, and the global weights that the round
    started from, by stage."""

    round: int
    replica: int
    steps: int
    stage: int
    kind: str
    update: str
    states: str
    weights: list[torch.Tensor]

    def is_met_by(self, made: Sequence[Commitment]) -> bool:
        """Whether a replica has done the same round again."""
        mine = made[self.stage]
        return (root(mine.blocks), mine.states) == (self.update, self.states)


class Debts:
    """What the nodes of a job owe, by public key: the first round of each."""

    def __init__(self, fleet: Fleet, job: Job, auditor: Auditor) -> None:
        self._fleet, self._job, self._auditor = fleet, job, auditor
        self.owing: dict[str, Debt] = {}

    def note(
        self, number: int, gathered: Gathered, weights: Sequence[torch.Tensor], silent: set[str]
    ) -> None:
        """Nodes that did not answer in a round owe their own work of it."""
        kinds = {r.index: r.kind for r in self._fleet.placed(sorted(gathered.names))}
        for index, names in gathered.names.items():
            for stage, name in enumerate(names):
                if name in silent:
                    made = gathered.commitments[index][stage]
                    debt = Debt(
                        number,
                        index,
                        gathered.steps[index],
                        stage,
                        kinds[index],
                        root(made.blocks),
                        made.states,
                        list(weights),
                    )
                    self.owing.setdefault(self._fleet.key(name), debt)

    def of(self, replica: Replica) -> Debt | None:
        """The oldest that one of its nodes owes."""
        keys = map(self._fleet.key, replica.names)
        debts = [self.owing[key] for key in keys if key in self.owing]
        return min(debts, key=lambda debt: debt.round, default=None)

    def call_in(
        self, replica: Replica, debt: Debt, nonce: str, late: Callable[[], str | None]
    ) -> list[Commitment]:
        """Have a replica do a round again. Raises `ReplicaLost` as any order."""
        _load(debt, replica)
        replica.train(self._job.train_order(replica.index, debt.round, debt.steps, nonce), late)
        return replica.commit(debt.round)

    def collect(
        self, shown: Redone, present: Gathered, draw: torch.Generator
    ) -> tuple[Audits, dict[int, str]]:
        """Have all of the work repeated that replicas have done again. Returns the audits, and of
        every replica what came of it. Whoever has taken part must be given the global weights
        again.

        Args:
            present: what the present round has gathered: by its replicas the work can be repeated,
                and its orders' nonce is that of `call_in`.
        """
        audits, said, others = Audits(), {}, present.judged
        for replica in self._fleet.ready(sorted(shown)):
            debt, made = self.of(replica), shown[replica.index]
            assert debt is not None  # or it had not been called in
            name = self._debtor(debt, replica)
            # another kind of machine would not lead to the same, and could be its mate's alone
            here = replica.index, replica.names[debt.stage], replica.kind
            if here != (debt.replica, name, debt.kind) or not debt.is_met_by(made):
                said[replica.index] = (
                    f"{name} owes its work of round {debt.round}, and has not shown it"
                )
                self._part_from(name, replica)
                continue
            index, steps = replica.index, {replica.index: debt.steps}
            gathered = Gathered({index: made}, {index: replica.names}, steps, present.nonce)
            gathered.replicas = [index, *others]
            loading = partial(_load, debt)
            self._fleet.each(loading, self._fleet.ready(others))
            windows = {index: range(len(self._job.bounds(debt.steps)) - 1)}
            told = self._auditor.audit(debt.round, gathered, debt.weights, windows, draw)
            said[replica.index] = self._settled(replica, debt, told)
            audits.join(told)
            if name in told.silent:
                self._part_from(name, replica)
        return audits, said

    def _debtor(self, debt: Debt, replica: Replica) -> str:
        """Whose debt it is, wherever in the replica it sits by now."""
        return next(n for n in replica.names if self.owing.get(self._fleet.key(n)) is debt)

    def _part_from(self, name: str, replica: Replica) -> None:
        """Have the partners of a node that does not show its work go on with another, if they owe
        nothing."""
        if sum(self._fleet.key(each) in self.owing for each in replica.names) == 1:
            self._fleet.stand_down(name)

    def _settled(self, replica: Replica, debt: Debt, told: Audits) -> str:
        """What came of one replica's; who has shown its work owes it no longer."""
        audited = told.by_replica.get(replica.index, Audited())
        windows = len(self._job.bounds(debt.steps)) - 1
        if audited.unsettled or len({*audited.clean, *audited.looked}) < windows:
            return audited.unsettled or f"its work of round {debt.round} was false"
        for key in map(self._fleet.key, replica.names):
            if key in self.owing and self.owing[key].round == debt.round:
                del self.owing[key]
        return f"it has shown its work of round {debt.round}, and counts from the next round on"

    def state(self) -> dict:
        """What a checkpoint must keep."""
        return {key: vars(debt) for key, debt in self.owing.items()}

    def restore(self, state: Mapping) -> None:
        """Undo `state`."""
        self.owing = {key: Debt(**debt) for key, debt in state.items()}


def _load(debt: Debt, replica: Replica) -> int:
    """Give a replica the weights that the round began from, which is owed."""
    return replica.load(debt.weights, -debt.round)
