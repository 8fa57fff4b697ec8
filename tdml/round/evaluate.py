"""What weights are worth on held-out samples, as replicas measure it."""

import math
from collections.abc import Mapping, Sequence

import torch

from tdml.data.pieces import held_out
from tdml.job import Job
from tdml.rewards.policies import POLICIES
from tdml.round.aggregate import mean
from tdml.round.fleet import Fleet, Replica
from tdml.round.gather import Gathered
from tdml.round.orders import EvaluateOrder, Evaluation
from tdml.trust.commitment import blocks_of
from tdml.trust.judgement import Judgement

_MILLIONTHS, _MOST = 1_000_000, 1000.0  # nats


def evaluate(
    job: Job, fleet: Fleet, number: int, replicas: Sequence[int], split: str
) -> dict[str, float] | None:
    """The task's metrics and the loss, by name, on "test" or "validation"; None if no replica could
    measure them.

    The replicas, which hold the weights, share the samples among them; if one is lost the others
    begin again.
    """
    size, batch = job.source.size(split), job.config.train.batch_size
    while ready := fleet.ready(replicas):
        edges = [size * i // len(ready) for i in range(len(ready) + 1)]
        parts = {replica.index: range(*edges[i : i + 2]) for i, replica in enumerate(ready)}

        def measure(replica: Replica, parts: Mapping[int, range] = parts) -> Evaluation:
            order = EvaluateOrder(number, held_out(split, parts[replica.index], batch))
            return replica.evaluate(order, job.measures.columns)[-1]

        done = fleet.each(measure, ready)
        if len(done) == len(ready):
            rows = torch.cat([evaluation.rows for evaluation in done.values()])
            losses = torch.cat([evaluation.losses for evaluation in done.values()])
            return job.measures.means(job.task, losses, rows)
    return None


def improvements(
    job: Job, fleet: Fleet, number: int, found: Gathered, judgements: Mapping[int, Judgement]
) -> dict[int, int]:
    """Leave one out: for every replica whose update counts, the loss after the mean of all others'
    updates, less that after the mean of all, on the validation half; in millionths of a nat, by
    replica. Only where rewards depend on it.

    Another replica measures it, a different one for every update.
    """
    rows = [index for index in found.replicas if judgements[index].accepted]
    if not POLICIES[job.config.rewards.policy].by_improvement or len(rows) < 2:
        return {}
    everyone = mean(fleet, job, found, rows, judgements)
    worth = {}
    for place, index in enumerate(rows):
        others = mean(fleet, job, found, [row for row in rows if row != index], judgements)
        [validator] = fleet.ready([rows[(place + 1) % len(rows)]]) or [None]
        if validator is not None:
            told = fleet.each(
                lambda v, o=others: _difference(job, number, v, o, everyone), [validator]
            )
            if validator.index in told:
                worth[index] = _millionths(told[validator.index])
    return worth


def _difference(
    job: Job,
    number: int,
    validator: Replica,
    one: Sequence[torch.Tensor],
    other: Sequence[torch.Tensor],
) -> float:
    """By how much the mean loss is larger with the first of two updates."""
    batch = job.config.train.batch_size
    order = EvaluateOrder(
        number, held_out("validation", range(job.source.size("validation")), batch), candidate=-1
    )
    losses = []
    for update in (one, other):
        for stage, flat in enumerate(update):
            for block, piece in enumerate(blocks_of(flat)):
                validator.hold(stage, block, piece)
        losses.append(validator.evaluate(order, job.measures.columns)[-1].losses.double())
    return float((losses[0] - losses[1]).mean())


def _millionths(nats: float) -> int:
    """0 where there is no number, as between infinite losses, which validators may well report."""
    return int(_MILLIONTHS * max(-_MOST, min(nats, _MOST))) if not math.isnan(nats) else 0
