"""What a round begins with."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from tdml.common.seeds import derive


@dataclass(frozen=True)
class RoundStart:
    """What a round begins with: the global weights, (d_s,) float32 by stage; the steps that each
    replica is ordered to take, and the nonce of these orders; and the seed of what nobody may
    foresee."""

    number: int
    weights: Sequence[torch.Tensor]
    steps: Mapping[int, int]
    nonce: str
    secret: int

    def draw(self, *purpose: str) -> torch.Generator:
        """What draws for one purpose, and no other."""
        return torch.Generator().manual_seed(derive(self.secret, *purpose))
