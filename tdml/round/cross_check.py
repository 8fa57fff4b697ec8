"""The cross-check: other replicas evaluate what each update has learnt of its own samples."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace

import torch

from tdml.data import pieces
from tdml.data.pieces import Piece
from tdml.errors import SettingError
from tdml.protocol.orders import UPDATE, EvaluateOrder, ReplicaLost, new_nonce
from tdml.round.false_evaluation import Evaluated
from tdml.round.fleet import Fleet, Replica
from tdml.round.gather import Gathered, updates_of
from tdml.round.job import Job
from tdml.round.vectors import DigestMismatch, Vector, relay
from tdml.trust.judgement import Proof
from tdml.trust.work import WorkResult, cost, gains, samples_that_pay, work_test


@dataclass(frozen=True)
class Samples:
    """The samples that one candidate is tested on: k of them, half its own, half controls."""

    pieces: tuple[Piece, ...]
    own: torch.Tensor  # (k,) bool: which are its own
    strata: torch.Tensor  # (k,) int64: only samples of one stratum are compared


@dataclass(frozen=True)
class Report:
    """A validator's evaluations of one candidate's samples, without its update and with it."""

    candidate: int
    samples: Samples
    without: Evaluated
    with_it: Evaluated

    @property
    def validator(self) -> int:
        """The replica that reports."""
        return self.with_it.replica

    @property
    def gains(self) -> torch.Tensor:
        """(k,) by how much the update lowers the loss of each sample."""
        return gains(self.without.parts[-1].losses, self.with_it.parts[-1].losses)


@dataclass(frozen=True)
class Checked:
    """What came of the cross-check."""

    works: dict[int, WorkResult]  # by candidate
    reports: list[Report]  # which may be false, and are checked like any work
    steps: float = 0.0  # what it has cost, in steps of training
    proofs: Sequence[Proof] = ()  # against nodes that report something false
    # replicas that report what the coordinator does not find, without a proof against a node
    unheard: Collection[int] = ()

    def without(self, validators: Collection[int]) -> "Checked":
        """The same without the results that these validators have reported."""
        false = {r.candidate for r in self.reports if r.validator in validators}
        works = {index: work for index, work in self.works.items() if index not in false}
        return replace(self, works=works)

    def without_hidden(self) -> "Checked":
        """Drop what is said of candidates that did not show their updates."""
        works = {index: work for index, work in self.works.items() if work is not NOT_SEEN}
        return replace(self, works=works)


NOT_CHECKED = Checked({}, [])
NOT_SEEN = WorkResult(p=1.0)  # of a replica that does not show its update to be tested


def cross_check(
    fleet: Fleet,
    job: Job,
    gathered: Gathered,
    candidates: Sequence[int],
    credible: Collection[int],
    passes: float,
    draw: torch.Generator,
) -> Checked:
    """Have replicas test one another's updates, if that is worth what it costs.

    Args:
        candidates: the replicas that are tested, and that test.
        credible: the replicas whose reports are heard. Only these are asked; the candidates that
            the draw gives to others are not tested.
        passes: forward passes of one sample that may be spent.
        draw: chooses samples and validators; nobody can have foreseen it.
    """
    number, steps = gathered.start.number, gathered.start.steps
    sizes = [job.samples(steps[index]) for index in candidates]
    batches = {index: job.batches(index, number) for index in candidates}
    different = min((len(each.unique()) for each in batches.values()), default=0)
    count = samples_that_pay(sizes, different, passes)
    if not count:
        return NOT_CHECKED
    samples = {}
    for index in candidates:
        with suppress(SettingError):  # samples that cannot be read test nobody
            samples[index] = _draw_samples(job, number, index, batches, count, draw)
    tested_by = _draw_validators(candidates, draw)
    validators = {replica.index: replica for replica in fleet.ready(candidates)}
    reporters = [replica for index, replica in validators.items() if index in credible]

    hidden: set[int] = set()

    def report(validator: Replica) -> Report | None:
        candidate = tested_by[validator.index]
        if candidate not in samples:
            return None
        try:
            owner = validators[candidate]
            return _evaluate(job, gathered, owner, validator, samples[candidate])
        except ReplicaLost as loss:
            if loss.replica == candidate:  # it has not shown its update
                hidden.add(candidate)
            raise

    answers = fleet.each(report, reporters).values()
    reports = [report for report in answers if report is not None]
    works = {r.candidate: work_test(r.gains, r.samples.own, r.samples.strata) for r in reports}
    works |= dict.fromkeys(hidden, NOT_SEEN)
    spent = cost(len(reporters), count) / job.config.train.effective_batch_size
    return Checked(works, reports, spent)


def _draw_validators(candidates: Sequence[int], draw: torch.Generator) -> dict[int, int]:
    """Validator → candidate, in a ring in random order: nobody tests itself."""
    ring = [candidates[i] for i in torch.randperm(len(candidates), generator=draw).tolist()]
    return {ring[i]: ring[(i + 1) % len(ring)] for i in range(len(ring))}


def _draw_samples(
    job: Job,
    number: int,
    candidate: int,
    batches: Mapping[int, torch.Tensor],
    count: int,
    draw: torch.Generator,
) -> Samples:
    """Draw a candidate's own samples, in the form in which it was to train on them, and controls:
    half of these are held out, the others were given to its peers.

    Args:
        batches: by candidate, what it was to train on.
        count: own samples, at most.
    """
    own = _assigned(job, number, {candidate: batches[candidate]}, count, draw)
    held = min(count // 2, job.source.size("validation"))
    positions = torch.randperm(job.source.size("validation"), generator=draw)[:held]
    others = {index: own for index, own in batches.items() if index != candidate}
    controls = _assigned(job, number, others, count - held, draw)
    chosen = (*own, *controls, *pieces.held_out(job.source, "validation", positions, held))
    targets = torch.cat([pieces.read(job.source, piece)[1] for piece in chosen])
    mine = torch.arange(len(targets)) < pieces.count(own)
    strata = job.task.strata(targets) if job.iid else None
    return Samples(
        chosen, mine, torch.zeros(len(targets), dtype=torch.int64) if strata is None else strata
    )


def _assigned(
    job: Job,
    number: int,
    batches: Mapping[int, torch.Tensor],
    count: int,
    draw: torch.Generator,
) -> list[Piece]:
    """At most `count` different samples that some replicas were given in a round, step by step in
    random order."""
    steps = [(replica, step) for replica, own in batches.items() for step in range(len(own))]
    chosen: list[Piece] = []
    seen: set[int] = set()
    for place in torch.randperm(len(steps), generator=draw).tolist():
        replica, step = steps[place]
        batch = batches[replica][step]
        keep = []
        for position, sample in enumerate(batch.tolist()):
            if sample not in seen and len(seen) < count:
                seen.add(sample)
                keep.append(position)
        if keep:
            chosen.append(
                Piece("train", batch, job.augmentation(number, replica, step), torch.tensor(keep))
            )
        if len(seen) == count:
            break
    return chosen


def _evaluate(
    job: Job,
    gathered: Gathered,
    owner: Replica,
    validator: Replica,
    samples: Samples,
) -> Report:
    def evaluated(candidate: int | None) -> Evaluated:
        order = EvaluateOrder(
            gathered.start.number,
            samples.pieces,
            candidate,
            check=True,
            log=True,
            nonce=new_nonce(),
        )
        return Evaluated(validator.index, order, validator.evaluate(order, columns=0))

    without = evaluated(None)
    _hand_over(job, gathered, owner, validator)
    return Report(owner.index, samples, without, evaluated(owner.index))


def _hand_over(job: Job, gathered: Gathered, owner: Replica, validator: Replica) -> None:
    """Hand a replica's update to a validator, which is to evaluate it. Its owner is asked for it
    only where the coordinator has not kept it.

    Raises:
        ReplicaLost: one of them does not answer, or the owner shows another update.
    """
    if gathered.kept:
        for (stage, number), blocks in gathered.kept.items():
            validator.hold(stage, number, blocks[owner.index])
        return
    try:
        for stage, content in updates_of(job, gathered, owner.index).items():
            relay(owner, Vector(UPDATE, stage, job.layouts[stage].size, content), validator)
    except DigestMismatch as error:
        raise ReplicaLost(owner.index, str(error), [owner.names[error.stage]]) from error
