"""Training samples that nobody can train on, and what takes their places."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch

from tdml.data.faults import is_sound
from tdml.data.source import Source
from tdml.errors import SettingError


@dataclass
class LeftOut:
    """By sample, the round that has shown what is wrong with it. In those after it others of the
    same share are trained on in its place; orders of earlier ones stay what they were."""

    since: dict[int, int] = field(default_factory=dict)

    def replaced(self, batches: np.ndarray, share: np.ndarray, round_number: int) -> np.ndarray:
        """The batches (steps, batch_size) of a round without those that are left out of it."""
        out = [sample for sample, shown in self.since.items() if shown < round_number]
        places, others = np.isin(batches, out), np.setdiff1d(share, out)
        if not places.any() or not len(others):
            return batches
        made = batches.copy()
        made[places] = others[batches[places] % len(others)]
        return made


def unsound(source: Source, batches: torch.Tensor, seeds: Sequence[int]) -> list[int]:
    """The training samples of some steps that cannot be read, or have values that no training
    survives.

    Args:
        batches: (steps, batch_size) int64.
        seeds: of what the data set draws at random, by step.
    """
    found: dict[int, None] = {}
    for batch, seed in zip(batches.tolist(), seeds, strict=True):
        if not _is_sound(source, batch, seed):
            found |= dict.fromkeys(i for i in batch if not _is_sound(source, [i], seed))
    return list(found)


def _is_sound(source: Source, samples: Sequence[int], seed: int) -> bool:
    try:
        return bool(is_sound(source.training_batch(samples, seed)[0]).all())
    except SettingError:
        return False
