"""What a round begins with."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

from tdml.common.seeds import derive


@dataclass(frozen=True)
class RoundStart:
    """What a round begins with: the global weights, (d_s,) float32 by stage; the steps that each
    replica is ordered to take, and the nonce of these orders, which names this play of the round;
    the seed of what nobody may foresee; and by replica and stage the content of what inner
    optimizers go on from, "" where one is fresh, with the replicas of which nobody has found all of
    it: `unfound`. `pauses` is how often the coordinator had stood still until then."""

    number: int
    weights: Sequence[torch.Tensor]
    steps: Mapping[int, int]
    nonce: str
    secret: int
    inner: Mapping[int, tuple[str, ...]]
    unfound: Collection[int]
    pauses: int

    def draw(self, *purpose: str) -> torch.Generator:
        """What draws for one purpose, and no other."""
        return torch.Generator().manual_seed(derive(self.secret, *purpose))


class Record(Protocol):
    """Of rounds that may be played more than once: what nobody may foresee, and what convictions
    rest on."""

    def secret(self, round_number: int) -> int:
        """The seed of a round's draws."""

    def play(self, round_number: int) -> str:
        """Which play of the round it is: the hash of what its seed is made of, in hex."""

    def keep(self, exhibit: dict[str, torch.Tensor]) -> dict[str, str]:
        """Keep what a conviction rests on. Returns the digests of files, by name."""
