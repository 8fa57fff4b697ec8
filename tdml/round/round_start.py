"""What a round begins with."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import torch

from tdml.common.seeds import derive


@dataclass(frozen=True)
class RoundStart:
    """What a round begins with."""

    number: int
    weights: Sequence[torch.Tensor]  # the global weights, (d_s,) float32 by stage
    steps: Mapping[int, int]  # that each replica is ordered to take
    nonce: str  # of these orders: another one each time that the round is played
    secret: int  # the seed of all draws that nobody may foresee
    # by replica and stage, the digest of the state that an inner optimizer goes on from; "": fresh
    inner: Mapping[int, tuple[str, ...]]
    unverified_inner: Collection[int]  # replicas with such a state that nobody has verified
    pauses: int  # how often the coordinator had stood still before

    def stood_still(self, pauses: int) -> bool:
        """Whether the coordinator has since then, of so many `pauses` in all. Nodes have given it
        up meanwhile: that they did not answer, or not in time, says nothing."""
        return pauses > self.pauses

    def draw(self, *purpose: str) -> torch.Generator:
        """The generator of the round's draws for one purpose: independent of all others'."""
        return torch.Generator().manual_seed(derive(self.secret, *purpose))
