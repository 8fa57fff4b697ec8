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
    """What one candidate is evaluated on: its own samples, and as many controls."""

    pieces: tuple[Piece, ...]
    own: torch.Tensor  # (k,) bool
    strata: torch.Tensor  # (k,) int64


@dataclass(frozen=True)
class Report:
    """A validator's answers on one candidate's samples: without its update, and with it."""

    candidate: int
    samples: Samples
    without: Evaluated
    with_it: Evaluated

    @property
    def validator(self) -> int:
        """Who reports."""
        return self.with_it.replica

    @property
    def gains(self) -> torch.Tensor:
        """(k,) by how much the update lowers the loss of each sample."""
        return gains(self.without.parts[-1].losses, self.with_it.parts[-1].losses)


@dataclass(frozen=True)
class Checked:
    """What came of the cross-check, by candidate; `reports` may be false, and are checked like any
    work. `proofs` convict nodes of it, and `unheard` are the replicas that report what the
    coordinator does not find, and nobody proves false."""

    works: dict[int, WorkResult]
    reports: list[Report]
    steps: float = 0.0  # what it cost, in steps of training
    proofs: Sequence[Proof] = ()
    unheard: Collection[int] = ()

    def without(self, validators: Collection[int]) -> "Checked":
        """The same without what these replicas report."""
        false = {r.candidate for r in self.reports if r.validator in validators}
        works = {index: work for index, work in self.works.items() if index not in false}
        return replace(self, works=works)


NOT_CHECKED = Checked({}, [])
NOT_SEEN = WorkResult(p=1.0)  # of who does not show its update to be tested


def cross_check(
    fleet: Fleet,
    job: Job,
    gathered: Gathered,
    candidates: Sequence[int],
    believed: Collection[int],
    passes: float,
    draw: torch.Generator,
) -> Checked:
    """Have updates tested, if that is worth what it costs.

    Args:
        candidates: the replicas that are tested, which test one another.
        believed: those whose reports are heard. Only they are asked; the candidates that the draw
            gives to others go untested.
        passes: forward passes of one sample that may be spent.
        draw: chooses samples and validators; nobody can have foreseen it.
    """
    number, steps = gathered.start.number, gathered.start.steps
    sizes = [job.samples(steps[index]) for index in candidates]
    count = samples_that_pay(sizes, job.distinct(number, candidates), passes)
    if not count:
        return NOT_CHECKED
    batches = {index: job.batches(index, number) for index in candidates}
    samples = {}
    for index in candidates:
        with suppress(SettingError):  # of samples that nobody can read: they test nobody
            samples[index] = _draw_samples(job, number, index, batches, count, draw)
    asked = _draw_validators(candidates, draw)
    validators = {replica.index: replica for replica in fleet.ready(candidates)}
    reporters = [replica for index, replica in validators.items() if index in believed]

    hidden: set[int] = set()

    def report(validator: Replica) -> Report | None:
        candidate = asked[validator.index]
        if candidate not in samples:
            return None
        try:
            owner = validators[candidate]
            return _evaluate(job, gathered, owner, validator, samples[candidate])
        except ReplicaLost as loss:
            if loss.replica == candidate:  # its owner has not shown it
                hidden.add(candidate)
            raise

    answers = fleet.each(report, reporters).values()
    reports = [report for report in answers if report is not None]
    works = {r.candidate: work_test(r.gains, r.samples.own, r.samples.strata) for r in reports}
    works |= dict.fromkeys(hidden, NOT_SEEN)
    spent = cost(len(reporters), count) / job.config.train.effective_batch_size
    return Checked(works, reports, spent)


def _draw_validators(candidates: Sequence[int], draw: torch.Generator) -> dict[int, int]:
    """Validator → candidate, in a ring in random order: nobody judges itself."""
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
    """A candidate's samples, exactly as it was to train on them; half of the controls are held out,
    the others were given to its peers.

    Args:
        batches: by candidate, what it was to train on.
    """
    own = _assigned(job, number, {candidate: batches[candidate]}, count, draw)
    held = min(count // 2, job.source.size("validation"))
    positions = torch.randperm(job.source.size("validation"), generator=draw)[:held]
    others = {index: own for index, own in batches.items() if index != candidate}
    controls = _assigned(job, number, others, count - held, draw)
    asked = (*own, *controls, *pieces.held_out(job.source, "validation", positions, held))
    targets = torch.cat([pieces.read(job.source, piece)[1] for piece in asked])
    mine = torch.arange(len(targets)) < pieces.count(own)
    strata = job.task.strata(targets) if job.iid else None
    return Samples(
        asked, mine, torch.zeros(len(targets), dtype=torch.int64) if strata is None else strata
    )


def _assigned(
    job: Job,
    number: int,
    batches: Mapping[int, torch.Tensor],
    count: int,
    draw: torch.Generator,
) -> list[Piece]:
    """About `count` different samples that some replicas were given in this round, by whole
    steps."""
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
    """Hand a replica's update to another, which is to evaluate it. Its owner is asked for it only
    where it was not kept.

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
