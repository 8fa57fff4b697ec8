"""How good the global weights are on held-out samples: replicas measure it."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch

from tdml.data.faults import name_samples
from tdml.data.pieces import held_out
from tdml.protocol.orders import NOBODY, EvaluateOrder, new_nonce
from tdml.rewards.policies import POLICIES
from tdml.round.aggregate import Mean, mean
from tdml.round.false_evaluation import Evaluated
from tdml.round.fleet import Fleet, Replica
from tdml.round.gather import Gathered
from tdml.round.job import Job
from tdml.round.round_start import RoundStart
from tdml.round.vectors import hold_all
from tdml.trust.judgement import Judgement

_MILLIONTHS, _MOST = 1_000_000, 1000.0  # nats
_MOST_DRAWN = 256  # validation samples that the coordinator alone has: each round draws others


@dataclass(frozen=True)
class Measured:
    """The result of a measurement."""

    means: dict[str, float] | None = None  # the task's metrics and the loss; None: nobody could
    unsound: str = ""  # which samples keep the mean from being a number, in words
    evaluated: Sequence[Evaluated] = ()  # what each replica has answered


def evaluate(
    job: Job, fleet: Fleet, start: RoundStart, replicas: Sequence[int], split: str
) -> Measured:
    """Measure the global weights on the split "test" or "validation".

    The replicas, which have the weights, share the samples among them; if one is lost, the others
    begin again. Where work can be repeated, their answers are logged, so that they can be checked.
    """
    positions, batch = positions_to_measure(job, split, start), job.config.train.batch_size
    while ready := fleet.ready(replicas)[: len(positions)]:
        shares = positions.tensor_split(len(ready))
        parts = {replica.index: share for replica, share in zip(ready, shares, strict=True)}

        def measure(replica: Replica, parts: Mapping[int, torch.Tensor] = parts) -> Evaluated:
            asked = held_out(job.source, split, parts[replica.index], batch)
            order = EvaluateOrder(start.number, asked, log=job.audits, nonce=new_nonce())
            return Evaluated(replica.index, order, replica.evaluate(order, job.measures.columns))

        done = fleet.each(measure, ready)
        if len(done) == len(ready):
            evaluated = [done[replica.index] for replica in ready]
            rows = torch.cat([each.parts[-1].rows for each in evaluated])
            losses = torch.cat([each.parts[-1].losses for each in evaluated])
            means = job.measures.means(job.task, losses, rows)
            return Measured(means, _unsound(job, split, positions, losses), evaluated)
    return Measured()


def _unsound(job: Job, split: str, positions: torch.Tensor, losses: torch.Tensor) -> str:
    """Which samples have losses that are not finite, in words, by their numbers in the data set; ""
    if none, or all: then training diverges."""
    finite = losses.isfinite()
    if finite.all() or not finite.any():
        return ""
    samples = job.source.halves[split][positions[~finite].numpy()].tolist()
    own = split == "validation" and job.source.validation is not None
    named = name_samples(job.source.validation if own else job.source.test, samples)
    dataset = "validation" if own else "test"
    return (
        f"{dataset} {named} a loss that is not finite, so neither is the mean: see "
        "whether the values are"
    )


def positions_to_measure(job: Job, split: str, start: RoundStart) -> torch.Tensor:
    """The positions in a held-out split to measure on: all of them. Of validation samples that the
    coordinator alone has, the round's secret draws some: nobody sees them before."""
    size = job.source.size(split)
    if split != "validation" or job.source.validation is None:
        return torch.arange(size)
    return torch.randperm(size, generator=start.draw("validation"))[:_MOST_DRAWN]


def improvements(
    job: Job,
    fleet: Fleet,
    gathered: Gathered,
    judgements: Mapping[int, Judgement],
    everyone: Mean,
) -> dict[int, int]:
    """Leave one out: for every replica whose update counts, the loss after the mean of all others'
    updates, less that after the mean of all (`everyone`), on the validation half; in millionths of
    a nat, by replica. Only where rewards depend on it.

    Another replica measures it, a different one for every update. Where only one counts there is
    nothing to compare it with: it gets any worth, and with that the whole pool.
    """
    replicas = everyone.replicas
    if not POLICIES[job.config.rewards.policy].by_improvement:
        return {}
    if len(replicas) == 1:
        return {replicas[0]: 1}
    positions = positions_to_measure(job, "validation", gathered.start)
    asked = held_out(job.source, "validation", positions, job.config.train.batch_size)
    order, worth = EvaluateOrder(gathered.start.number, asked, candidate=NOBODY), {}
    for place, index in enumerate(replicas):
        without = [other for other in replicas if other != index]
        others = mean(fleet, job, gathered, without, judgements).stages
        measure = partial(_difference, job, order, [others, everyone.stages])
        validator = replicas[(place + 1) % len(replicas)]
        for value in fleet.each(measure, fleet.ready([validator])).values():
            worth[index] = _millionths(value)
    return worth


def _difference(
    job: Job,
    order: EvaluateOrder,
    updates: Sequence[Sequence[torch.Tensor]],
    validator: Replica,
) -> float:
    """The mean loss with the first of two updates less that with the second, each by stage."""
    losses = []
    for update in updates:
        hold_all(validator, update)
        losses.append(validator.evaluate(order, job.measures.columns)[-1].losses.double())
    return float((losses[0] - losses[1]).mean())


def _millionths(nats: float) -> int:
    """In millionths, within bounds; 0 for what is not a number, as the difference of two infinite
    losses, which validators may well report."""
    return int(_MILLIONTHS * max(-_MOST, min(nats, _MOST))) if not math.isnan(nats) else 0
