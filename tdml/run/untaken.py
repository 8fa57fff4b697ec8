"""Training samples that can be read, and that the model or the task does not take: ids beyond its
vocabulary, labels beyond its outputs. Nobody but those who have both can tell."""

from collections.abc import Sequence

import torch

from tdml.errors import SettingError, one_line
from tdml.models.borders import trace_borders
from tdml.models.split import blocks_of
from tdml.round.job import Job

_UNTAKEN = (
    "what the model or the task does not take: see whether ids are below the vocabulary, and "
    "labels below the classes"
)
_LONGEST = 200  # characters of a library's text


def untaken(job: Job, batches: torch.Tensor, seeds: Sequence[int]) -> dict[int, str]:
    """Those of some steps, and what they have.

    Args:
        batches: (steps, batch_size) int64.
        seeds: of what the data set draws at random, by step.
    """
    refusals: dict[int, str] = {}
    for batch, seed in zip(batches.tolist(), seeds, strict=True):
        refusals |= _refusals(job, batch, seed)
    if all(refusals.values()):
        return {}  # no sample is to blame
    return {index: f"{_UNTAKEN} ({why[:_LONGEST]})" for index, why in refusals.items() if why}


def _refusals(job: Job, batch: Sequence[int], seed: int) -> dict[int, str]:
    """Of each sample of a batch that can be read: why it is not taken, "" if it is."""
    try:
        inputs, targets = job.source.training_batch(batch, seed)
    except SettingError:
        return {}  # which is another fault
    if not _refusal(job, inputs, targets):
        return dict.fromkeys(batch, "")

    # What looks over its batch takes no sample alone.
    size = len(inputs)
    return {
        index: _refusal(job, inputs[[place] * size], targets[[place] * size])
        for place, index in enumerate(batch)
    }


def _refusal(job: Job, inputs: torch.Tensor, targets: torch.Tensor) -> str:
    """Why the first block does not take a batch, or the task not what is to be said of it; "" if
    they do. Blocks after the first see no samples."""
    output = torch.zeros(len(inputs), *job.plan.borders[-1].shape[1:])
    try:
        trace_borders(blocks_of(job.model)[:1], inputs)
        job.source.task.losses(output, targets)
    except Exception as error:  # whatever a model or a task of somebody else's makes of it
        reason = error.__cause__ or error
        return f"{type(reason).__name__}: {one_line(reason)}"
    return ""
