"""What the global weights are worth: their accuracy and loss on held-out samples."""

from collections.abc import Sequence

import torch

from tdml.cluster.fleet import Fleet
from tdml.data.pieces import held_out
from tdml.job import Job


def evaluate(job: Job, fleet: Fleet, replicas: Sequence[int], split: str) -> tuple[float, float] | None:
    """Accuracy and loss on "test" or "validation"; None if no replica could measure them. The replicas, which hold the
    weights, share the samples among them; if one is lost the others begin again."""
    size, batch = job.source.size(split), job.config.train.batch_size
    while ready := fleet.ready(replicas):
        edges = [size * i // len(ready) for i in range(len(ready) + 1)]
        parts = {replica.index: range(*edges[i : i + 2]) for i, replica in enumerate(ready)}
        done = fleet.each(
            lambda replica, parts=parts: replica.evaluate(held_out(split, parts[replica.index], batch)), ready
        )
        if len(done) == len(ready):
            correct = torch.cat([evaluation.correct for evaluation in done.values()])
            losses = torch.cat([evaluation.losses for evaluation in done.values()])
            return float(correct.float().mean()), float(losses.double().mean())
    return None
