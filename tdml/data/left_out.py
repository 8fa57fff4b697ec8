"""Training samples that nobody can train on, and what takes their places."""

from dataclasses import dataclass, field

import numpy as np


@dataclass
class LeftOut:
    """By sample, the round that has shown what is wrong with it. In those after it others of the
    same share are trained on in its place; orders of earlier ones stay what they were."""

    since: dict[int, int] = field(default_factory=dict)

    def take_back(self, after: int) -> None:
        """The rounds after one come again, without the samples that they have shown to be bad."""
        self.since = {sample: min(shown, after) for sample, shown in self.since.items()}

    def replaced(self, batches: np.ndarray, share: np.ndarray, round_number: int) -> np.ndarray:
        """The batches (steps, batch_size) of a round without those that are left out of it."""
        out = [sample for sample, shown in self.since.items() if shown < round_number]
        places = np.isin(batches, out)
        if not places.any() or not len(others := np.setdiff1d(share, out)):
            return batches
        replaced = batches.copy()
        replaced[places] = others[batches[places] % len(others)]
        return replaced
