"""Samples that nobody can train on: they cannot be read, or their inputs are not finite, or nearly
so. What is to be said of them the task has looked at."""

from collections.abc import Iterator, Sequence

import torch

from tdml.data.origin import places_of
from tdml.data.source import Source
from tdml.errors import SettingError

_NAMED = 3  # samples
_UNREADABLE = "another form, or cannot be read"
_NOT_FINITE = "values that are not finite"
_TOO_LARGE = "values so large that their squares are not finite"
_FAULTS = (_UNREADABLE, _NOT_FINITE, _TOO_LARGE)


def faults_of(source: Source, batches: torch.Tensor, seeds: Sequence[int]) -> str:
    """What is wrong with the training samples of some steps, in words; "" if nothing is.

    Args:
        batches: (steps, batch_size) int64.
        seeds: of what the data set draws at random, by step.
    """
    by_fault: dict[str, dict[int, None]] = {}
    for index, fault in _faults(source, batches, seeds):
        by_fault.setdefault(fault, {})[index] = None
        if len(by_fault[fault]) > _NAMED:
            break  # these are enough
    worst = next(filter(by_fault.get, _FAULTS), "")
    if not worst:
        return ""
    return f"training {name_samples(source.train, list(by_fault[worst]))} {worst}"


def unsound(source: Source, batches: torch.Tensor, seeds: Sequence[int]) -> list[int]:
    """All of the training samples of some steps that nobody can train on. Arguments as of
    `faults_of`."""
    return list(dict.fromkeys(index for index, _ in _faults(source, batches, seeds)))


def name_samples(dataset: object, samples: Sequence[int]) -> str:
    """The first few, in words, with their places in the user's file, and what they have."""
    first = samples[:_NAMED]
    places = places_of(dataset, first)
    if len(samples) == 1:
        return f"sample {samples[0]}{places} has"
    more = " and others" * (len(samples) > _NAMED)
    return f"samples {', '.join(map(str, first))}{places}{more} have"


def _faults(
    source: Source, batches: torch.Tensor, seeds: Sequence[int]
) -> Iterator[tuple[int, str]]:
    for batch, seed in zip(batches.tolist(), seeds, strict=True):
        try:
            inputs = source.training_batch(batch, seed)[0].float()
        except SettingError:
            yield from ((index, _UNREADABLE) for index in batch if not _reads(source, index, seed))
            continue
        for index, values in zip(batch, inputs, strict=True):
            if not values.isfinite().all():
                yield index, _NOT_FINITE
            elif not values.square().isfinite().all():
                yield index, _TOO_LARGE


def _reads(source: Source, index: int, seed: int) -> bool:
    try:
        source.training_batch([index], seed)
    except SettingError:
        return False
    return True
