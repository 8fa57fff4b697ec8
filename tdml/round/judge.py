"""The judge: from what a round has shown to a judgement of every replica."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import chain

from tdml.round.auditor import Auditor
from tdml.round.audits import Audits
from tdml.round.collector import Collector
from tdml.round.cross_check import NOT_CHECKED, Checked, cross_check
from tdml.round.debts import Debts
from tdml.round.evidence import (
    Findings,
    comparable,
    evidence_of,
    explaining_samples,
    takes_all_steps,
    window_steps,
)
from tdml.round.fleet import Fleet
from tdml.round.gather import Gathered, updates_of
from tdml.round.job import Job
from tdml.round.past_updates import mark_resubmitted
from tdml.round.reports import look_at_reports
from tdml.round.settler import Keep
from tdml.round.standing import Standing
from tdml.round.validators import credible, on_majority_kind
from tdml.trust.judgement import Audited, Evidence, Judgement, Proof, judge
from tdml.trust.numbers import LIMIT, RANDOM_SHARE
from tdml.trust.screen import Screening, is_ranked, screen_sums
from tdml.trust.suspicion import Candidate
from tdml.trust.work import passes_of

_UNHEARD = "replica {} reports of others what the coordinator does not find: it is not asked again"


@dataclass(frozen=True)
class Judged:
    """The result of a round's judgement."""

    judgements: dict[int, Judgement]
    proofs: list[Proof]  # against nodes of any replica
    audits: Audits
    spent: float  # on cross-checks and audits, in steps of training
    unverified: tuple[int, ...]  # the replicas of whose work not all was found again


class Judge:
    """Judges the rounds of a job: statistics point, and only proofs ban."""

    def __init__(self, fleet: Fleet, job: Job, keep: Keep) -> None:
        self._fleet, self._job = fleet, job
        self.standing, self.auditor = Standing(), Auditor(fleet, job, keep)
        self.debts = Debts(fleet)
        self.collector = Collector(fleet, job, self.auditor, self.debts)

    def screen(self, gathered: Gathered) -> Screening:
        """Compare the updates: how far does each stand out?"""
        replicas, cleared = gathered.replicas, self.standing.cleared
        known = {index: cleared.ranges(self._keys(gathered, index)) for index in replicas}
        screening = screen_sums(gathered.sums, replicas, comparable(self._job, gathered), known)
        past, contents = self.standing.past_updates, self._contents(gathered)
        return mark_resubmitted(screening, past.resubmitted(gathered.start.number, contents))

    def _contents(self, gathered: Gathered) -> dict[int, dict[int, str]]:
        """The digests of updates, by replica and stage: of stages that are ranked, without updates
        of zeros."""
        ranked = [s for s, sums in enumerate(gathered.sums) if is_ranked(sums.parameters)]
        sizes = {stage: gathered.sizes_of(stage) for stage in ranked}
        contents: dict[int, dict[int, str]] = {}
        for index in gathered.replicas:
            own = updates_of(self._job, gathered, index)
            contents[index] = {stage: own[stage] for stage in ranked if sizes[stage][index] > 0}
        return contents

    def cross_check(self, gathered: Gathered) -> Checked:
        """Have replicas test one another's updates: if half of the budget, less what earlier rounds
        have overdrawn, pays for enough samples, and the budget does not pay for repeating all."""
        if not self._job.audits or self._job.config.trust.budget == 1:
            return NOT_CHECKED
        steps = self._allowance(gathered) / 2 + min(0.0, self.standing.purse.steps)
        passes = passes_of(steps * self._job.config.train.effective_batch_size)
        candidates = comparable(self._job, gathered)
        settler, draw = self.auditor.settler, gathered.start.draw("cross-check")
        heard = {
            index
            for index in credible(self._fleet, gathered, settler.referee.kind) & {*gathered.names}
            if self.standing.unheard.isdisjoint(self._keys(gathered, index))
        }
        checked = cross_check(self._fleet, self._job, gathered, candidates, heard, passes, draw)
        checked = look_at_reports(settler, gathered, checked)
        for index in checked.unheard:
            self.standing.unheard.update(self._keys(gathered, index))
        if gathered.start.stood_still(self._fleet.pauses):  # nobody has hidden an update
            return checked.without_hidden()
        return checked

    def _keys(self, gathered: Gathered, index: int) -> list[str]:
        return [self._fleet.key(name) for name in gathered.names[index]]

    def audit(self, gathered: Gathered, screening: Screening, checked: Checked) -> Audits:
        """Have work repeated: random windows, and those of the most suspicious; all others where
        somebody is proven to lie so."""
        if not self._job.audits:
            return Audits()
        draw = gathered.start.draw("audit")
        candidates, clearable = {}, on_majority_kind(self._fleet, gathered)
        for index in gathered.auditable:
            distance, names = screening.distances.get(index, 0.0), gathered.names[index]
            if not takes_all_steps(self._job, gathered, index):  # nothing clears it but audits
                distance = max(distance, LIMIT)
            suspicion = self.standing.suspicion.add(names, distance, checked.works.get(index))
            stands_out = distance > LIMIT or index in gathered.diverged
            at_once = (stands_out and index in clearable) or self.debts.watches(names)
            windows = window_steps(self._job, gathered, index)
            candidates[index] = Candidate(windows, suspicion, at_once)
        chance = RANDOM_SHARE * self._job.config.trust.budget
        purse = self.standing.purse
        purse.steps -= checked.steps
        chosen, drawn = purse.choose(candidates, chance, self._allowance(gathered), draw)
        audits = Audits(drawn, notes=[_UNHEARD.format(index) for index in sorted(checked.unheard)])
        self.auditor.audit(gathered, chosen, draw, audits)
        purse.steps -= audits.looks
        known: frozenset[str] = frozenset()
        while known < audits.liars:  # of those who have repeated others' some may lie, too
            known = audits.liars
            there = [r.index for r in self._fleet.ready(candidates.keys() & clearable)]
            rest = audits.rest({i: candidates[i].windows for i in there}, gathered.names)
            self.auditor.audit(gathered, rest, draw, audits)
        for index, candidate in candidates.items():
            audited = audits.of(index)
            seen = len(self._seen(audited)) / len(candidate.windows)
            self.standing.suspicion.clear(gathered.names[index], seen)
        return audits

    def decide(self, findings: Findings) -> Judged:
        """What becomes of every replica that handed something in."""
        gathered, audits = findings.gathered, findings.audits
        liars = {index for index, names in gathered.names.items() if audits.convicts(names)}
        findings = replace(findings, checked=findings.checked.without(liars))
        trusted = self._job.config.trust.enabled
        proofs = [*gathered.proofs, *audits.proofs, *findings.checked.proofs] if trusted else []
        self.debts.note(gathered, audits.silent)
        self.debts.drop(name for proof in proofs for name in proof.nodes)
        samples = explaining_samples(self._job, gathered)
        evidence = {
            index: evidence_of(self._job, findings, proofs, samples, index)
            for index in sorted({*gathered.replicas, *gathered.faults})
        }
        judgements = judge(evidence, self.standing.power.streak, self._job.iid)
        self._learn_power(findings)
        screening = findings.screening
        ranks = screening.moments.mean.tolist(), screening.moments.std.tolist()
        for index, mean, std in zip(gathered.replicas, *ranks, strict=True):
            judgements[index] = replace(judgements[index], rank_mean=mean, rank_std=std)
            if evidence[index].verified:
                beyond = screening.beyond.get(index, {})
                self.standing.cleared.add(self._keys(gathered, index), beyond)
        self._watch_no_more(gathered, evidence)
        spent = findings.checked.steps + audits.steps + audits.looks
        unverified = tuple(index for index, known in evidence.items() if not known.verified)
        return Judged(judgements, proofs, audits, spent, unverified)

    def _watch_no_more(self, gathered: Gathered, evidence: Mapping[int, Evidence]) -> None:
        """Watch the nodes no more that were forgiven, and of whom all of this round was found
        right."""
        clearable = on_majority_kind(self._fleet, gathered)
        for index, known in evidence.items():
            if known.verified or (index not in clearable and self._is_seen(gathered, index, known)):
                self.debts.clear(known.nodes)

    def _is_seen(self, gathered: Gathered, index: int, known: Evidence) -> bool:
        """Whether every window was at least looked at, and nothing was found wrong."""
        audited, windows = known.audited, window_steps(self._job, gathered, index)
        seen = self._seen(audited)
        return len(seen) == len(windows) and not (audited.unsettled or audited.lied)

    def _seen(self, audited: Audited) -> set[int]:
        """The windows in which nothing was found wrong. Where random draws differ, they include
        those of which no look will ever tell, so that other replicas have their turn."""
        draws_differ = self.auditor.settler.kinds.draws_differ
        return {*audited.clean, *audited.looked, *(audited.unknown if draws_differ else ())}

    def note_contributions(self, number: int, judged: Judged) -> None:
        """Remember which nodes have put unverified updates into the weights, and who has verified
        the others. Without trust nothing is taken out again."""
        contributions, trust = self.standing.contributions, self._job.config.trust
        for index, judgement in judged.judgements.items() if trust.enabled else ():
            keys = [self._fleet.key(name) for name in judgement.nodes]
            if judgement.accepted and index in judged.unverified:
                contributions.add_unverified(number, keys)
            elif judgement.accepted:
                others = judged.audits.of(index).validators.values()
                nodes = [judged.judgements[other].nodes for other in others if other is not None]
                verifiers = map(self._fleet.key, chain(*nodes))
                contributions.add_verified(number, keys, verifiers, trust.budget)

    def tainted(self, number: int, proofs: Sequence[Proof]) -> range:
        """The rounds before `number` that may hold lies of the nodes against which there are
        proofs."""
        keys = {self._fleet.key(name) for proof in proofs for name in proof.nodes}
        before = [self._fleet.key(name) for name in self._fleet.banned]
        budget = self._job.config.trust.budget
        return self.standing.contributions.tainted(keys, number, budget, before)

    def _learn_power(self, findings: Findings) -> None:
        """Learn how well the work test sees honest work, from windows that chance has chosen:
        suspicion would choose replicas that were not seen."""
        audits, works = findings.audits, findings.checked.works
        for index, windows in audits.drawn.items():
            audited = audits.of(index)
            sound = not (audited.unsettled or audited.lied)
            if index in works and sound and set(windows) <= set(audited.clean):
                self.standing.power.add(works[index].seen)

    def _allowance(self, gathered: Gathered) -> float:
        """The training steps that a round may spend on cross-checks and audits."""
        return self._job.config.trust.budget * sum(
            gathered.start.steps[index] for index in gathered.auditable
        )

    def state(self) -> dict:
        """What a checkpoint must keep."""
        kinds, debts = self.auditor.settler.kinds.state(), {"debts": self.debts.state()}
        return self.standing.state() | kinds | debts

    def restore(self, state: Mapping, changed: bool = False) -> None:
        """Undo `state`. If settings have `changed` since, no round that is owed can be done
        again."""
        self.standing.restore(state)
        self.auditor.settler.kinds.restore(state)
        self.debts.restore(state["debts"])
        if changed:
            self.debts.forgive_all()
