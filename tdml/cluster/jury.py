"""The jury of a cross-check: validators evaluate candidates through their own pipelines."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from tdml.cluster.fleet import Fleet
from tdml.cluster.gather import Gathered
from tdml.cluster.messages import Evaluation
from tdml.cluster.replica import Replica
from tdml.data import pieces
from tdml.data.pieces import Piece
from tdml.job import Job
from tdml.training import borders
from tdml.trust.commitment import is_plain
from tdml.trust.cross_check import CheckPlan, choose_samples
from tdml.trust.exam import Hearing
from tdml.trust.hearing import Juries, Testimony, hold_hearing
from tdml.trust.perjury import Record
from tdml.trust.verdict import Verdict


@dataclass(frozen=True)
class Questions:
    """What all candidates of a check are evaluated on; `owners` has the replica that was assigned each sample, −1
    for held-out ones."""

    pieces: tuple[Piece, ...]
    labels: torch.Tensor
    owners: torch.Tensor


def cross_check(
    job: Job, number: int, replicas: Sequence[int], plan: CheckPlan, suspects: frozenset[int], draw: torch.Generator,
    ask: Callable[[Juries, Questions], Testimony], judge: Callable[[Hearing], Sequence[Verdict]],
) -> Hearing | None:  # fmt: skip
    """Have the candidates of a plan heard: see `tdml.trust.hearing.hold_hearing`.

    Args:
        replicas: who handed in an update, in the order of the rows.
        suspects, ask, judge: by these rows.
        draw: chooses the samples.
    """
    questions = _set_questions(job, number, plan, draw)
    row = {index: i for i, index in enumerate(replicas)} | {-1: -1}
    juries: Juries = {row[c]: tuple(row[i] for i in jury) for c, jury in plan.juries.items()}
    start = tuple(row[i] for i in plan.start)
    owners = torch.tensor([row[int(owner)] for owner in questions.owners])
    return hold_hearing(
        juries | {None: start}, len(replicas), questions.labels, owners, suspects,
        lambda juries: ask(juries, questions), judge,
    )  # fmt: skip


def ask_validators(
    job: Job, fleet: Fleet, number: int, found: Gathered, records: dict[int | None, dict[int, Record]],
    juries: Juries, questions: Questions,
) -> dict[int | None, dict[int, torch.Tensor]]:  # fmt: skip
    """By rows of the updates: candidate → validator → losses. Validators that are lost are left out. What they recorded
    on the way is added to `records`."""
    validators = {found.replicas[row]: row for jury in juries.values() for row in jury}
    measured = len({replica.kind for replica in fleet.ready(found.replicas)}) > 1
    rows = [updates.unbind() for updates in found.updates]  # the same tensors for all, so that each is hashed once

    def testify(validator: Replica) -> dict[int | None, list[Evaluation]]:
        answers = {}
        for row in (c for c, jury in juries.items() if validators[validator.index] in jury):
            candidate = None if row is None else found.replicas[row]
            updates = None if row is None else [stage[row] for stage in rows]
            answers[row] = validator.testify(number, questions.pieces, candidate, updates, measured)
        return answers

    asked = fleet.ready(sorted(validators))
    kinds, shape = {validator.index: validator.kind for validator in asked}, _records_shape(job, questions)
    reports: dict[int | None, dict[int, torch.Tensor]] = {}
    for validator, answers in fleet.each(testify, asked).items():
        for row, stages in answers.items():
            sketches = (stage.sketches if is_plain(stage.sketches, shape, torch.float64) else None for stage in stages)
            reports.setdefault(row, {})[validators[validator]] = stages[-1].losses
            records.setdefault(row, {})[validators[validator]] = Record(tuple(sketches), kinds[validator], measured)
    return reports


def _records_shape(job: Job, questions: Questions) -> torch.Size:
    """Of what one node records of an evaluation."""
    config = job.config
    batches = math.ceil(len(questions.labels) / config.train.effective_batch_size)
    return borders.empty(batches, job.plan.parts // config.topology.stages, config.microbatches).shape


def _set_questions(job: Job, number: int, plan: CheckPlan, draw: torch.Generator) -> Questions:
    """Choose the samples: some of each candidate's own, exactly as it was to train on them, and held-out ones."""
    chosen: list[Piece] = []
    owners: list[int] = []
    for candidate in plan.juries:
        batches = job.batches(candidate, number)
        places = choose_samples(batches, plan.own, draw)
        for step in places[:, 0].unique().tolist():
            keep = places[places[:, 0] == step, 1]
            chosen.append(Piece("train", batches[step], job.augmentation(number, candidate, step), keep))
            owners += [candidate] * len(keep)
    held_out = torch.randperm(job.source.size("validation"), generator=draw)[: plan.held_out]
    chosen.append(Piece("validation", held_out, 0, torch.arange(len(held_out))))
    owners += [-1] * len(held_out)
    labels = torch.cat([pieces.read(job.source, piece)[1] for piece in chosen])
    return Questions(tuple(chosen), labels, torch.tensor(owners))
