"""Samples that no training survives: inputs that are not finite, or nearly so. What is to be said
of them the task has looked at."""

from collections.abc import Callable, Iterator, Mapping, Sequence

import torch

from tdml.data.source import Source

_NAMED = 3  # samples


def is_sound(inputs: torch.Tensor) -> torch.Tensor:
    """Of each value, whether training can survive it: whether its square is finite, too."""
    return inputs.float().square().isfinite()


_SOUND: Mapping[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "values that are not finite": torch.isfinite,
    "values so large that their squares are not finite": is_sound,
}


def faults_of(source: Source, batches: torch.Tensor, seeds: Sequence[int]) -> str:
    """What is wrong with the training samples of some steps, in words; "" if nothing is.

    Args:
        batches: (steps, batch_size) int64.
        seeds: of what the data set draws at random, by step.
    """
    for fault, look in _SOUND.items():
        found: dict[int, None] = {}
        for index in _unsound(source, batches, seeds, look):
            found[index] = None
            if len(found) > _NAMED:
                break  # these are enough
        if found:
            return f"training {name_samples(list(found))} {fault}"
    return ""


def name_samples(samples: Sequence[int]) -> str:
    """The first few, in words, and what they have."""
    if len(samples) == 1:
        return f"sample {samples[0]} has"
    more = " and others" * (len(samples) > _NAMED)
    return f"samples {', '.join(map(str, samples[:_NAMED]))}{more} have"


def _unsound(
    source: Source,
    batches: torch.Tensor,
    seeds: Sequence[int],
    look: Callable[[torch.Tensor], torch.Tensor],
) -> Iterator[int]:
    for batch, seed in zip(batches.tolist(), seeds, strict=True):
        inputs, _ = source.training_batch(batch, seed)
        sound = look(inputs).flatten(1).all(dim=1).tolist()
        yield from (index for index, is_so in zip(batch, sound, strict=True) if not is_so)
