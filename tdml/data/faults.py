"""Samples that no training survives: inputs that are not finite, and labels that are no class."""

from collections.abc import Iterator, Sequence

import torch

from tdml.data.source import Source

_NAMED = 3  # of the samples that share a fault


def faults_of(source: Source, batches: torch.Tensor, seeds: Sequence[int]) -> str:
    """What is wrong with the training samples of some steps, in words; "" if nothing is.

    Args:
        batches: (steps, batch_size) int64.
        seeds: of what the data set draws at random, by step.
    """
    found: dict[str, dict[int, None]] = {}  # fault → samples
    for index, fault in _look(source, batches, seeds):
        found.setdefault(fault, {})[index] = None
        if len(found[fault]) > _NAMED:
            break  # these are enough
    return " and ".join(_said(fault, list(samples)) for fault, samples in found.items())


def _look(source: Source, batches: torch.Tensor, seeds: Sequence[int]) -> Iterator[tuple[int, str]]:
    for batch, seed in zip(batches.tolist(), seeds, strict=True):
        inputs, labels = source.training_batch(batch, seed)
        finite = inputs.isfinite().flatten(1).all(dim=1)
        for index, sound, label in zip(batch, finite.tolist(), labels.tolist(), strict=True):
            if not sound:
                yield index, "values that are not finite"
            if label not in range(source.classes):
                yield index, f"a label that is none of 0 to {source.classes - 1}"


def _said(fault: str, samples: list[int]) -> str:
    if len(samples) == 1:
        return f"training sample {samples[0]} has {fault}"
    named = ", ".join(map(str, samples[:_NAMED])) + " and others" * (len(samples) > _NAMED)
    return f"training samples {named} have {fault}"
