"""What each replica's update is worth: how much worse the held-out loss would be without it."""

import math
from collections.abc import Mapping, Sequence

import torch

from tdml.cluster.fleet import Fleet
from tdml.cluster.gather import Gathered
from tdml.cluster.replica import Replica
from tdml.data.pieces import held_out
from tdml.job import Job
from tdml.trust.aggregate import combine
from tdml.trust.cross_check import agreed

_MILLIONTHS = 1_000_000
_MOST = 1_000.0  # nats: no update is worth more, and the ledger writes no infinity


def improvements(
    job: Job, fleet: Fleet, number: int, found: Gathered, weights: Sequence[float], replicas: Sequence[int]
) -> dict[int, int]:
    """Leave one out: for every replica whose update counts, the loss after the mean of all others' updates, less that
    after the mean of all, on the validation half; in millionths of a nat, by replica.

    Up to `trust.validators` other replicas measure it, and their median counts.

    Args:
        weights: of the updates in the mean, by row.
        replicas: those who may measure; still at the weights that the round started from.
    """
    batch = job.config.train.batch_size
    pieces = held_out("validation", range(job.source.size("validation")), batch)
    counted = [row for row, weight in enumerate(weights) if weight > 0]
    if len(counted) < 2:
        return {}
    left = {row: [w if i != row else 0.0 for i, w in enumerate(weights)] for row in counted}
    means = {row: combine(found.updates, others, job.parameters) for row, others in left.items()}
    juries = {row: _jury(row, found.replicas[row], replicas, job.config.trust.validators) for row in counted}
    everyone = combine(found.updates, weights, job.parameters)

    def measure(validator: Replica) -> Mapping[int, torch.Tensor]:
        """Losses with all, under the validator's own row, and without each of the others."""
        asked = [row for row in counted if validator.index in juries[row]]
        told = {-1: validator.testify(number, pieces, None, everyone)}
        told |= {row: validator.testify(number, pieces, found.replicas[row], means[row]) for row in asked}
        return {row: stages[-1].losses for row, stages in told.items()}

    told = fleet.each(measure, fleet.ready(replicas))
    worth = {}
    for row in counted:
        jury = [index for index in juries[row] if index in told]
        if jury:
            without = agreed({index: told[index][row] for index in jury})
            with_all = agreed({index: told[index][-1] for index in jury})
            worth[found.replicas[row]] = _millionths(float((without - with_all).mean()))
    return worth


def _jury(row: int, candidate: int, replicas: Sequence[int], validators: int) -> list[int]:
    """Who measures a candidate: others than itself, and not the same ones for every row."""
    others = [index for index in replicas if index != candidate]
    return [others[(row + i) % len(others)] for i in range(min(len(others), validators))]


def _millionths(nats: float) -> int:
    """0 where there is no number, as between infinite losses, which validators may well report."""
    return int(_MILLIONTHS * max(-_MOST, min(nats, _MOST))) if not math.isnan(nats) else 0
