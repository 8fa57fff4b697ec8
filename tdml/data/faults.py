"""Samples that no training survives: inputs that are not finite. What is to be said of them the
task has looked at."""

from collections.abc import Iterator, Sequence

import torch

from tdml.data.source import Source

_NAMED = 3  # samples


def faults_of(source: Source, batches: torch.Tensor, seeds: Sequence[int]) -> str:
    """What is wrong with the training samples of some steps, in words; "" if nothing is.

    Args:
        batches: (steps, batch_size) int64.
        seeds: of what the data set draws at random, by step.
    """
    found: dict[int, None] = {}
    for index in _not_finite(source, batches, seeds):
        found[index] = None
        if len(found) > _NAMED:
            break  # these are enough
    if not found:
        return ""
    return f"training {name_samples(list(found))} values that are not finite"


def name_samples(samples: Sequence[int]) -> str:
    """The first few, in words, and what they have."""
    if len(samples) == 1:
        return f"sample {samples[0]} has"
    more = " and others" * (len(samples) > _NAMED)
    return f"samples {', '.join(map(str, samples[:_NAMED]))}{more} have"


def _not_finite(source: Source, batches: torch.Tensor, seeds: Sequence[int]) -> Iterator[int]:
    for batch, seed in zip(batches.tolist(), seeds, strict=True):
        inputs, _ = source.training_batch(batch, seed)
        finite = inputs.isfinite().flatten(1).all(dim=1)
        yield from (index for index, sound in zip(batch, finite.tolist(), strict=True) if not sound)
