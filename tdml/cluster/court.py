"""The court: from a round's updates to verdicts, with what earlier rounds have shown."""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch

from tdml.cluster.audit import Auditor
from tdml.cluster.fleet import Fleet
from tdml.cluster.gather import Gathered
from tdml.cluster.jury import ask_validators, cross_check
from tdml.cluster.replica import Replica
from tdml.data.faults import faults_of
from tdml.job import Job
from tdml.seeds import derive
from tdml.trust.audit import CLEAN, UNSETTLED, Outcome
from tdml.trust.cross_check import Purse, allowance
from tdml.trust.exam import Hearing
from tdml.trust.memory import Memory
from tdml.trust.perjury import Record, name_liars
from tdml.trust.ranking import rank_moments
from tdml.trust.screen import LEAST_REPLICAS, Screening, screen_stages
from tdml.trust.verdict import HONEST, Verdict, after_audit, departures, leave_out, refuse


@dataclass(frozen=True)
class Screened:
    """What the screen found: as a whole, and stage by stage."""

    overall: Screening
    by_stage: tuple[Screening, ...]

    @property
    def suspects(self) -> frozenset[int]:
        """Rows of the updates that are suspect anywhere."""
        return frozenset(row for found in (self.overall, *self.by_stage) for row in found.suspects)

    def reason(self, row: int) -> str:
        """Why the screen suspects a row; "" if it does not."""
        return "; ".join(departures(row, self.overall, self.by_stage))


class Court:
    """Screens, has candidates cross-checked within the budget, and decides.

    `memory` knows a replica by the names of its nodes: one in which a node was replaced starts anew. `seen` has the
    content of every update so far that one node alone handed in, and its round. `unsettled` are the keys of the nodes
    whose last audit settled nothing, or that were gone when it took place: they are audited until one settles it.
    `erratic` are those of the nodes whose own repetitions of their work once differed: they always are.
    """

    def __init__(self, job: Job, fleet: Fleet) -> None:
        self._job, self._fleet = job, fleet
        self.memory, self.purse, self.auditor = Memory(fleet.roster.keys), Purse(), Auditor(job, fleet)
        self.seen: dict[str, int] = {}
        self.unsettled: set[str] = set()
        self.erratic: set[str] = set()
        # What ranks is compiled while the replicas train, not when their updates wait to be ranked.
        ready = torch.zeros(job.config.topology.replicas, 1)
        threading.Thread(target=rank_moments, args=(ready,), daemon=True).start()

    @property
    def limits(self) -> str:
        """What it cannot do, in one line, where settings or too little company keep it from something; else ""."""
        replicas = self._job.config.topology.replicas
        if not self._job.config.trust.enabled:
            return "trust.enabled=false: every update of the right form is averaged, whoever sent it"
        if replicas == 1:
            return "1 replica: nobody can rank or judge it, so its updates are trusted"
        if replicas < LEAST_REPLICAS:
            return "2 replicas: ranking says nothing, and each is judged by the other alone"
        return ""

    @property
    def disputes(self) -> list[tuple[str, str]]:
        """The nodes that contradict each other, by pairs, where neither of the two is known to lie."""
        return [(one, other) for _, one, other in self.memory.disputes]

    def screen(self, found: Gathered) -> Screened:
        """Rank and compare the updates."""
        overall, by_stage = screen_stages(found.updates, self._job.thresholds, self._job.parameters)
        trust = self._job.config.trust
        if not trust.enabled or trust.screen == "none":
            nobody = Screening((), (), overall.moments, {})
            return Screened(nobody, (nobody,) * len(by_stage))
        return Screened(overall, by_stage)

    def suspicions(self, found: Gathered, screened: Screened) -> dict[int, str]:
        """Why the screen suspects those whom it suspects, by replica."""
        return {found.replicas[row]: screened.reason(row) for row in sorted(screened.suspects)}

    def judge(
        self, number: int, found: Gathered, screened: Screened, replicas: Sequence[Replica], secret: int
    ) -> dict[int, Verdict]:
        """The verdict of screen and cross-check on every replica that handed something in, by its index. `secret` seeds
        what nobody may foresee."""
        verdicts = {index: self._refuse(number, found, index, replicas) for index in found.faults}
        if not self._job.config.trust.enabled:
            return verdicts | {index: Verdict(HONEST) for index in found.replicas}
        decided = partial(
            self.memory.decide, replicas=_nodes(found.replicas, replicas), overall=screened.overall,
            by_stage=screened.by_stage, alike=self._job.alike, conviction=self._job.config.trust.conviction,
        )  # fmt: skip
        judged = decided(self._hear(number, found, screened, secret, decided))
        for index, verdict in zip(found.replicas, judged, strict=True):
            verdicts[index] = replace(verdict, judges=tuple(found.replicas[row] for row in verdict.judges))
        return verdicts

    def audit(
        self, number: int, found: Gathered, verdicts: dict[int, Verdict], weights: Sequence[torch.Tensor],
        replicas: Sequence[Replica], secret: int,
    ) -> dict[int, Outcome]:  # fmt: skip
        """Have suspects, and a few others, audited: see `Auditor.audit`."""
        seated = dict(zip(found.audited, _nodes(found.audited, replicas), strict=True))
        watched = self.unsettled | self.erratic
        unsettled = {index for index, nodes in seated.items() if watched & {*self._keys(nodes)}}
        suspects = [index for index in found.audited if verdicts[index].doubted or index in unsettled]
        draw = torch.Generator().manual_seed(derive(secret, "audit"))
        return self.auditor.audit(number, found, suspects, weights, draw)

    def conclude(
        self, number: int, found: Gathered, verdicts: dict[int, Verdict], outcomes: dict[int, Outcome],
        replicas: Sequence[Replica],
    ) -> dict[int, Verdict]:  # fmt: skip
        """The final verdicts, which later rounds remember."""
        conviction, seated = self._job.config.trust.conviction, _nodes(found.audited, replicas)
        self.memory.settle(self._fleet.banned)
        final = after_audit(verdicts, outcomes, conviction)
        judged = self.memory.conclude(number, seated, [final[index] for index in found.audited], conviction)
        for index, nodes in zip(found.audited, seated, strict=True):
            if index in outcomes:
                self._note_unsettled(nodes, outcomes[index])
        return final | dict(zip(found.audited, judged, strict=True))

    def _refuse(self, number: int, found: Gathered, index: int, replicas: Sequence[Replica]) -> Verdict:
        """On a replica that has handed in no update, or one that is not finite."""
        faults, job = found.faults[index], self._job
        if index not in found.diverged:
            return refuse(faults)
        samples = ""
        if not found.diverges or index == min(found.diverged):  # where all diverge, one look is enough
            batches = job.batches(index, number)
            samples = faults_of(job.source, batches, [job.augmentation(number, index, s) for s in range(len(batches))])
        evidence = self.memory.earlier(_nodes([index], replicas)[0])
        return leave_out(faults, samples, found.diverges, evidence)

    def _note_unsettled(self, nodes: Sequence[str], outcome: Outcome) -> None:
        """Whom of a replica's nodes later rounds must audit, and whom no more."""
        keys = self._keys(nodes)
        self.unsettled |= {keys[stage] for stage in outcome.absent}
        self.erratic |= {keys[stage] for stage in outcome.erratic}
        if outcome.result == UNSETTLED and not outcome.void:
            self.unsettled |= {*keys}
        if outcome.result == CLEAN:
            self.unsettled -= {*keys}

    def _keys(self, nodes: Sequence[str]) -> list[str]:
        return [self._fleet.roster.keys[name] for name in nodes]

    def _hear(
        self, number: int, found: Gathered, screened: Screened, secret: int,
        judge: Callable[[Hearing], list[Verdict]],
    ) -> Hearing | None:  # fmt: skip
        """The round's cross-check, if there is one."""
        trust, job = self._job.config.trust, self._job
        plan = self.purse.plan(
            allowance(sum(job.samples(index) for index in found.replicas), trust.budget), found.replicas,
            [found.replicas[row] for row in sorted(screened.suspects)], trust.validators,
            job.distinct(number, found.replicas), job.source.size("validation"),
            torch.Generator().manual_seed(derive(secret, "cross-check")),
        )  # fmt: skip
        if plan is None:
            return None
        records: dict[int | None, dict[int, Record]] = {}
        ask = partial(ask_validators, job, self._fleet, number, found, records)
        questions = torch.Generator().manual_seed(derive(secret, "questions"))
        hearing = cross_check(job, number, found.replicas, plan, screened.suspects, questions, ask, judge)
        if hearing is None:
            return None
        if not job.repeatable:  # then nobody lies who contradicts the others
            return replace(hearing, perjurers={}, contradicted={})
        return replace(hearing, blame=name_liars(hearing, records))

    def state(self) -> dict:
        """What a checkpoint must keep."""
        kept = {
            "passes": self.purse.passes, "seen": self.seen, "tolerance": self.auditor.tolerance.seen,
            "unsettled": sorted(self.unsettled), "erratic": sorted(self.erratic), "notice": self.auditor.notice,
        }  # fmt: skip
        return self.memory.state() | kept

    def restore(self, state: Mapping) -> None:
        """Undo `state`."""
        self.memory.restore(state)
        self.purse.passes, self.seen = state["passes"], dict(state["seen"])
        self.auditor.tolerance.seen = dict(state["tolerance"])
        self.unsettled, self.erratic = set(state["unsettled"]), set(state["erratic"])
        self.auditor.notice = state["notice"]


def _nodes(indices: Sequence[int], replicas: Sequence[Replica]) -> list[list[str]]:
    """The names of the nodes of replicas, by stage."""
    by_index = {replica.index: [node.name for node in replica.nodes] for replica in replicas}
    return [by_index[index] for index in indices]
