"""What the round asks of the ledger, which `tdml.round.recorder` writes."""

from typing import Protocol

import torch


class Record(Protocol):
    """The round's view of the ledger: secrets for its draws, and a place for evidence. A round that
    is taken back is played again, with another secret."""

    def secret(self, round_number: int) -> int:
        """The seed of all draws of a round that nobody may foresee."""

    def play(self, round_number: int) -> str:
        """The id of this play of the round: the hash of its secret, in hex."""

    def keep(self, exhibit: dict[str, torch.Tensor]) -> dict[str, str]:
        """Keep the evidence of a conviction. Returns the digests of its files, by name."""
