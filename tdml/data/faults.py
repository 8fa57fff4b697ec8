"""Samples that nobody can train on: they cannot be read, or their inputs are not finite, or nearly
so, or there is no number to be said of them, as where a label is missing."""

from collections.abc import Mapping, Sequence

import torch

from tdml.data.origin import places_of
from tdml.data.source import Source
from tdml.errors import SettingError

_NAMED = 3  # samples
_UNREADABLE = "another form, or cannot be read"
_NOT_FINITE = "values that are not finite"
_TOO_LARGE = "values so large that their squares are not finite"
_NO_TARGET = "a target that is not finite"


def faults_of(source: Source, batches: torch.Tensor, seeds: Sequence[int]) -> dict[int, str]:
    """Of the training samples of some steps those that nobody can train on, and what they have.

    Args:
        batches: (steps, batch_size) int64.
        seeds: of what the data set draws at random, by step.
    """
    faults: dict[int, str] = {}
    for batch, seed in zip(batches.tolist(), seeds, strict=True):
        try:
            inputs, targets = source.training_batch(batch, seed)
        except SettingError:
            faults |= {index: _UNREADABLE for index in batch if not _reads(source, index, seed)}
            continue
        for index, values, target in zip(batch, inputs.float(), targets, strict=True):
            if not values.isfinite().all():
                faults[index] = _NOT_FINITE
            elif not values.square().isfinite().all():
                faults[index] = _TOO_LARGE
            elif target.numel() and not target.isfinite().any():  # of several some may be missing
                faults[index] = _NO_TARGET
    return faults


def in_words(source: Source, faults: Mapping[int, str]) -> str:
    """The fault that comes first, and who has it, such as "training samples 2, 5 have values that
    are not finite"; "" where there is none."""
    fault = next(iter(faults.values()), "")
    having = [index for index, other in faults.items() if other == fault]
    return f"training {name_samples(source.train, having)} {fault}" if fault else ""


def name_samples(dataset: object, samples: Sequence[int]) -> str:
    """The first few, in words, with their places in the user's file, and what they have."""
    first = samples[:_NAMED]
    places = places_of(dataset, first)
    if len(samples) == 1:
        return f"sample {samples[0]}{places} has"
    more = " and others" * (len(samples) > _NAMED)
    return f"samples {', '.join(map(str, first))}{places}{more} have"


def _reads(source: Source, index: int, seed: int) -> bool:
    try:
        source.training_batch([index], seed)
    except SettingError:
        return False
    return True
