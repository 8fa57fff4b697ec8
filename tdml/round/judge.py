"""From what a round has shown to a judgement of every replica."""

import itertools
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from tdml.data.faults import faults_of
from tdml.round.auditor import Auditor
from tdml.round.audits import Audits
from tdml.round.cross_check import NOT_CHECKED, Checked, cross_check
from tdml.round.debts import Debts
from tdml.round.fleet import Fleet
from tdml.round.former import mark
from tdml.round.gather import Gathered, updates_of
from tdml.round.job import Job
from tdml.round.reports import false_reports
from tdml.round.standing import Standing
from tdml.trust.judgement import UNCHECKED, Audited, Evidence, Judgement, Proof, judge
from tdml.trust.numbers import LIMIT, RANDOM_SHARE, TYPICAL
from tdml.trust.screen import Screening, is_ranked, screen_sums
from tdml.trust.suspicion import Candidate
from tdml.trust.work import passes_of


@dataclass(frozen=True)
class Findings:
    """What a round has shown of its updates."""

    gathered: Gathered
    screening: Screening
    checked: Checked
    audits: Audits


@dataclass(frozen=True)
class Judged:
    """What came of a round's judgement. `proofs` convict nodes, wherever they sit."""

    judgements: dict[int, Judgement]
    proofs: list[Proof]
    audits: Audits
    spent: float  # on cross-checks and audits, in steps of training
    unproven: tuple[int, ...] = ()  # the replicas whose work was not repeated in full


class Judge:
    """Judges the rounds of a job: statistics point, and only proofs ban."""

    def __init__(self, fleet: Fleet, job: Job, job_id: str) -> None:
        self._fleet, self._job = fleet, job
        self.standing, self.auditor = Standing(), Auditor(fleet, job, job_id)
        self.debts = Debts(fleet, job, self.auditor)

    @property
    def limits(self) -> str:
        """What this run cannot prove, because of its settings or of too few replicas, in one line;
        "" if nothing."""
        trust = self._job.config.trust
        if not trust.enabled:
            return (
                "trust.enabled=false: every update of the right form is averaged, whoever sent it"
            )
        if self._job.own:
            return (
                f"data.partition=own: {UNCHECKED}: nothing is audited, so nobody is banned but for "
                "messages that no honest node sends, and no update counts more than "
                f"{TYPICAL:g} times the median"
            )
        if not trust.budget:
            return (
                "trust.budget=0: nothing is audited, so nobody is banned but for messages "
                "that no honest node sends"
            )
        if self._job.problem:
            return f"trust.repeatable=warn: nothing is audited: {self._job.problem}"
        if self._job.config.topology.most == 1:
            return (
                "1 replica: nobody can repeat its work but the coordinator, which looks at "
                "single steps"
            )
        return ""

    def screen(self, gathered: Gathered) -> Screening:
        """How far each update stands out."""
        compared = self._compared(gathered)
        rows = [gathered.replicas.index(index) for index in compared]
        screening = screen_sums(gathered.sums, rows)
        ranked = [s for s, sums in enumerate(gathered.sums) if is_ranked(sums.parameters)]
        contents = {index: updates_of(gathered, index) for index in gathered.replicas}
        updates = {index: {s: own[s] for s in ranked} for index, own in contents.items()}
        again = self.standing.former.again(gathered.start.number, updates)
        return mark(screening, {gathered.replicas.index(index) for index in again})

    def cross_check(self, gathered: Gathered) -> Checked:
        """Have it tested who has worked, if half of the budget pays for enough samples, and it does
        not pay for having everything repeated."""
        if not self._job.audits or self._job.config.trust.budget == 1:
            return NOT_CHECKED
        passes = (
            passes_of(self._allowance(gathered) * self._job.config.train.effective_batch_size) / 2
        )
        candidates, believed = self._compared(gathered), self.auditor.believed(gathered)
        draw = gathered.start.draw("cross-check")
        return cross_check(self._fleet, self._job, gathered, candidates, believed, passes, draw)

    def audit(self, gathered: Gathered, screening: Screening, checked: Checked) -> Audits:
        """Have work repeated: random windows, and those of the most suspicious; all others where
        somebody is proven to lie so."""
        if not self._job.audits:
            return Audits()
        draw = gathered.start.draw("audit")
        distances = dict(zip(gathered.replicas, screening.distances, strict=True))
        candidates, clearable = {}, self.auditor.vouched_for(gathered)
        for index in gathered.auditable:
            distance, names = distances.get(index, 0.0), gathered.names[index]
            if not self._takes_all(gathered, index):  # nothing clears it but audits
                distance = max(distance, LIMIT)
            suspicion = self.standing.suspicion.add(names, distance, checked.works.get(index))
            stands_out = distance > LIMIT or index in gathered.diverged
            at_once = (stands_out or self.debts.watches(names)) and index in clearable
            candidates[index] = Candidate(self._windows(gathered, index), suspicion, at_once)
        chance = RANDOM_SHARE * self._job.config.trust.budget
        allowance = self._allowance(gathered) - checked.steps
        windows, drawn = self.standing.purse.choose(candidates, chance, allowance, draw)
        audits = Audits(drawn)
        self.auditor.audit(gathered, windows, draw, audits)
        self.standing.purse.steps -= audits.looks
        if audits.proofs:
            there = [r.index for r in self._fleet.ready(candidates.keys() & clearable)]
            rest = audits.rest({index: candidates[index].windows for index in there})
            self.auditor.audit(gathered, rest, draw, audits)
        for index, candidate in candidates.items():
            audited = audits.by_replica.get(index, Audited())
            sound = {*audited.clean, *audited.looked}
            self.standing.suspicion.clear(
                gathered.names[index], len(sound) / len(candidate.windows)
            )
        return audits

    def decide(self, findings: Findings) -> Judged:
        """What becomes of every replica that handed something in."""
        gathered, audits = findings.gathered, findings.audits
        trusted = self._job.config.trust.enabled
        proofs = [*gathered.proofs, *audits.proofs]
        if self._job.audits:
            proofs += false_reports(
                self._job, self.auditor, self._fleet, gathered, findings.checked
            )
        self.debts.note(gathered, audits.silent)
        self.debts.drop(name for proof in proofs for name in proof.nodes)
        evidence = {
            index: self._evidence(index, findings, proofs)
            for index in sorted({*gathered.replicas, *gathered.faults})
        }
        if not trusted:
            evidence = {
                i: Evidence(e.nodes, e.samples, fault=e.fault, unchecked=e.unchecked)
                for i, e in evidence.items()
            }
        judgements = judge(evidence, self.standing.power.share, self._job.alike)
        self._learn_power(findings)
        moments = findings.screening.moments
        for row, index in enumerate(gathered.replicas):
            judgements[index] = replace(
                judgements[index],
                rank_mean=float(moments.mean[row]),
                rank_std=float(moments.std[row]),
            )
        self.debts.clear(name for known in evidence.values() if known.full for name in known.nodes)
        spent = findings.checked.steps + audits.steps + audits.looks
        unproven = tuple(index for index, known in evidence.items() if not known.full)
        return Judged(judgements, proofs if trusted else [], audits, spent, unproven)

    def _evidence(self, index: int, findings: Findings, proofs: Sequence[Proof]) -> Evidence:
        gathered, screening = findings.gathered, findings.screening
        names = gathered.names[index]
        own = [proof for proof in proofs if set(proof.nodes) & set(names)]
        nodes = tuple(dict.fromkeys(name for proof in own for name in proof.nodes if name in names))
        reason = "; ".join(dict.fromkeys(proof.reason for proof in own))
        evidence = Evidence(
            names,
            self._job.samples(gathered.start.steps[index]),
            fault=self._fault(index, gathered),
            audited=findings.audits.by_replica.get(index, Audited()),
            proof=Proof(nodes, reason) if nodes else None,
            work=findings.checked.works.get(index),
            unchecked=UNCHECKED if self._job.own else "",
        )
        windows = self._windows(gathered, index)
        evidence = replace(evidence, full=self._job.audits and evidence.audited.is_full(windows))
        if index not in gathered.replicas:
            return evidence
        row = gathered.replicas.index(index)
        return replace(
            evidence,
            size=gathered.sizes[index],
            stretch=self._stretch(gathered, index),
            distance=screening.distances[row],
            departure=screening.reasons.get(row, ""),
            compared=self._takes_all(gathered, index),
        )

    def _stretch(self, gathered: Gathered, index: int) -> float:
        """How much farther the steps of a replica may lead than most replicas': who has more data
        takes more of them."""
        steps, momentum = gathered.start.steps, self._job.config.train.momentum
        others = self._compared(gathered) or gathered.auditable
        usual = statistics.median_low([steps[other] for other in others])
        return max(1.0, path_length(steps[index], momentum) / path_length(usual, momentum))

    def _fault(self, index: int, gathered: Gathered) -> str:
        """Why an update cannot be averaged, and which samples explain it."""
        number, steps = gathered.start.number, gathered.start.steps
        if index not in gathered.faults:
            return ""
        fault = "; ".join(
            f"stage {stage}: {text}" for stage, text in sorted(gathered.faults[index].items())
        )
        if index not in gathered.diverged:
            return fault
        most = 2 * len(gathered.diverged) > len(gathered.names)
        diverges = ", as most others' have: training diverges (see train.lr)" if most else ""
        if self._job.own or (most and index != min(gathered.diverged)):
            return fault + diverges  # the samples are not here, or one replica's tell enough
        batches = self._job.batches(index, number)[: steps[index]]
        seeds = [self._job.augmentation(number, index, step) for step in range(len(batches))]
        samples = faults_of(self._job.source, batches, seeds)
        return f"{fault}, for {samples}" if samples else fault + diverges

    def note_unproven(self, number: int, judged: Judged) -> None:
        """Remember whose updates are in the weights without having been repeated in full. Without
        trust nothing is taken out again."""
        for index in judged.unproven if self._job.config.trust.enabled else ():
            judgement = judged.judgements[index]
            if judgement.accepted:
                self.standing.unproven.add(number, map(self._fleet.key, judgement.nodes))

    def tainted(self, number: int, proofs: Sequence[Proof]) -> range:
        """The rounds before `number` that may hold something of the nodes that are proven to
        lie."""
        keys = {self._fleet.key(name) for proof in proofs for name in proof.nodes}
        return self.standing.unproven.tainted(keys, number, self._job.config.trust.budget)

    def _learn_power(self, findings: Findings) -> None:
        """From windows that chance chose: suspicion would choose those that were not seen."""
        audits, works = findings.audits, findings.checked.works
        for index, windows in audits.drawn.items():
            audited = audits.by_replica.get(index, Audited())
            sound = not (audited.unsettled or audited.lied)
            if index in works and sound and set(windows) <= set(audited.clean):
                self.standing.power.add(works[index].seen)

    def _compared(self, gathered: Gathered) -> list[int]:
        """The replicas that statistics can compare."""
        return [index for index in gathered.replicas if self._takes_all(gathered, index)]

    def _takes_all(self, gathered: Gathered, index: int) -> bool:
        """Whether a replica takes all of its steps: after fewer an honest update is smaller, points
        elsewhere, and has learnt less."""
        return gathered.start.steps[index] == self._job.steps[index]

    def _windows(self, gathered: Gathered, index: int) -> tuple[int, ...]:
        """The steps of each window of a replica's round."""
        bounds = self._job.bounds(gathered.start.steps[index])
        return tuple(b - a for a, b in itertools.pairwise(bounds))

    def _allowance(self, gathered: Gathered) -> float:
        """Steps of training that a round may spend on cross-checks and audits."""
        return self._job.config.trust.budget * sum(
            gathered.start.steps[index] for index in gathered.auditable
        )

    def state(self) -> dict:
        """What a checkpoint must keep."""
        settler = self.auditor.settler
        return self.standing.state() | {
            "tolerance": settler.tolerance.seen, "unrepeatable": sorted(settler.unrepeatable),
            "debts": self.debts.state(), "confirmed": sorted(settler.confirmed),
        }  # fmt: skip

    def restore(self, state: Mapping, changed: bool = False) -> None:
        """Undo `state`. Where settings have `changed` since, nobody can do a round again that is
        owed."""
        self.standing.restore(state)
        self.auditor.settler.tolerance.seen = dict(state["tolerance"])
        self.auditor.settler.unrepeatable = set(state["unrepeatable"])
        self.auditor.settler.confirmed = set(map(tuple, state["confirmed"]))
        self.debts.restore(state["debts"])
        if changed:
            self.debts.forgive_all()


def path_length(steps: int, momentum: float) -> float:
    """How far some steps of SGD lead where all gradients are alike, in learning rates."""
    velocity = distance = 0.0
    for _ in range(steps):
        velocity = momentum * velocity + 1
        distance += velocity
    return distance
