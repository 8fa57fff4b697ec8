"""Calls debts in: replicas do the rounds that they owe again, and others repeat all of it."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

import torch

from tdml.protocol.orders import Commitment
from tdml.round.auditor import Auditor
from tdml.round.audits import Audits
from tdml.round.debts import Debt, Debts
from tdml.round.fleet import Fleet, Replica
from tdml.round.gather import Gathered
from tdml.round.job import Job

# by replica, its commitments to a round that it has done again; [] if it has failed
Redone = dict[int, list[Commitment]]


class Collector:
    """Has the nodes of a job show the work that they owe."""

    def __init__(self, fleet: Fleet, job: Job, auditor: Auditor, debts: Debts) -> None:
        self._fleet, self._job, self._auditor, self._debts = fleet, job, auditor, debts

    def due(self, replicas: Sequence[Replica]) -> dict[int, Debt]:
        """By replica, what it is to show before all else. It is given the weights that the round
        began from here, before its time counts: its link may be slow."""
        owing = self._debts.due(replicas)
        self._fleet.each(
            lambda replica: _load(owing[replica.index], replica),
            [replica for replica in replicas if replica.index in owing],
        )
        return owing

    def call_in(
        self, replica: Replica, debt: Debt, nonce: str, late: Callable[[], str | None]
    ) -> list[Commitment]:
        """Have a replica do a round again. Raises `ReplicaLost` as any order."""
        _load(debt, replica)  # nothing is sent unless that has failed before
        order = self._job.train_order(replica.index, debt.round, debt.steps, nonce, debt.inner)
        replica.train(order, late)
        return replica.commit(order)

    def collect(
        self, shown: Redone, present: Gathered, draw: torch.Generator
    ) -> tuple[Audits, dict[int, str]]:
        """Have others repeat all that replicas have done again. The replicas that take part have
        to be given the global weights again afterwards.

        Args:
            shown: the commitments to what was done again.
            present: the present round, whose replicas can repeat it, and whose nonce `call_in` had.

        Returns:
            The audits; and what came of it, in words, by replica.
        """
        audits, outcomes, debts = Audits(), {}, self._debts
        self._fleet.form(sorted(shown))  # whose nodes have failed, and still answer
        for replica in self._fleet.ready(sorted(shown)):
            debt, commitments = debts.oldest(replica), shown[replica.index]
            assert debt is not None  # or it had not been called in
            # another kind of machine would not lead to the same, and could be its mate's alone
            if replica.kind != debt.kind or not debts.are_met_by(commitments, replica, debt.round):
                owing = debts.who_owes(replica, debt.round)
                outcomes[replica.index] = (
                    f"{owing[0]} owes its work of round {debt.round}, and has not shown it"
                )
                debts.part_from_one(owing, present.start, draw)
                continue
            own = self._audit(replica, debt, commitments, present, draw)
            audits.join(own)
            outcomes[replica.index] = self._settled(replica, debt, own)
            owing = debts.who_owes(replica, debt.round)
            if silent := [name for name in owing if name in own.silent]:
                debts.part_from_one(silent, present.start, draw)
        return audits, outcomes

    def _audit(
        self,
        replica: Replica,
        debt: Debt,
        commitments: list[Commitment],
        present: Gathered,
        draw: torch.Generator,
    ) -> Audits:
        """Have all of one replica's work repeated by those of the present round."""
        index, others = replica.index, present.auditable
        start = replace(
            present.start,
            number=debt.round,
            weights=debt.weights,
            steps={**present.start.steps, index: debt.steps},
            inner={index: debt.inner},
        )
        gathered = Gathered(start, {index: commitments}, {index: replica.names}, [index, *others])
        self._fleet.each(partial(_load, debt), self._fleet.ready(others))
        audits, windows = Audits(), {index: range(self._job.window_count(debt.steps))}
        self._auditor.audit(gathered, windows, draw, audits)
        return audits

    def _settled(self, replica: Replica, debt: Debt, audits: Audits) -> str:
        """What came of one replica's audit, in words. If all of its work was seen, its nodes owe it
        no longer."""
        audited = audits.of(replica.index)
        seen = {*audited.clean, *audited.looked, *audited.unknown}
        if audited.unsettled or len(seen) < self._job.window_count(debt.steps):
            return audited.unsettled or f"its work of round {debt.round} was false"
        self._debts.drop(self._debts.who_owes(replica, debt.round))
        return f"it has shown its work of round {debt.round}, and counts from the next round on"


def _load(debt: Debt, replica: Replica) -> int:
    """Give a replica the weights that the round began from, which is owed."""
    return replica.load(debt.weights, -debt.round)
