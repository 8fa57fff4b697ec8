"""A dispute over a window, and what came of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch

from tdml.round.fleet import Replica
from tdml.round.repeat import Claim
from tdml.trust.dispute import Transcript
from tdml.trust.judgement import Proof


@dataclass(frozen=True)
class Settlement:
    """What came of a dispute: who is proven to lie, or why nobody is; and where the accounts
    parted."""

    replica: int
    window: int
    validator: int | None
    proofs: tuple[Proof, ...] = ()
    unsettled: str = ""
    place: str = ""
    exhibit: Mapping[str, torch.Tensor] = field(default_factory=dict)  # what a conviction rests on

    @property
    def blamed(self) -> tuple[str, ...]:
        """The nodes that are proven to lie."""
        return tuple(name for proof in self.proofs for name in proof.nodes)


@dataclass(frozen=True)
class Dispute:
    """Who has said what of a window. `parties` by index, the owner among them, whose word it is
    about; `weights` are those that the round started from, by stage."""

    claim: Claim
    owner: Replica
    parties: Mapping[int, Replica]
    accounts: Sequence[Transcript]
    weights: Sequence[torch.Tensor]

    @property
    def validator(self) -> int | None:
        """The party that is not the owner."""
        return next((index for index in self.parties if index != self.owner.index), None)

    def by(self, index: int) -> list[Transcript]:
        """One party's accounts."""
        return [account for account in self.accounts if account.party == f"{index}"]
