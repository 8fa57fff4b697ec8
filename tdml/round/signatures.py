"""Whether the logs of a replica's nodes are what they have signed for each other."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch

from tdml.node.agreement import common_digest, statement
from tdml.node.messages import Channel, between
from tdml.protocol.identity import verify_signature
from tdml.round.fleet import Fleet, Replica
from tdml.trust.judgement import Proof


@dataclass(frozen=True)
class Signers:
    """The nodes of a replica, by stage: they sign for each other what has passed between them."""

    job_id: str
    replica: int
    names: tuple[str, ...]
    keys: tuple[str, ...]

    @classmethod
    def of(cls, fleet: Fleet, replica: Replica) -> "Signers":
        """The nodes of one replica of a fleet."""
        keys = tuple(fleet.key(name) for name in replica.names)
        return cls(fleet.job_id, replica.index, replica.names, keys)


class SignedLog(Protocol):
    """A node's log, (steps, channels, 32) uint8, and by stage the other nodes' signatures on what
    they have logged in common with it."""

    @property
    def log(self) -> torch.Tensor: ...

    @property
    def signatures(self) -> Sequence[str]: ...


def broken_agreements(
    channels: Sequence[Channel], signers: Signers, purpose: str, signed: Sequence[SignedLog]
) -> list[Proof]:
    """The proofs against nodes of a replica that log something else than they have signed for a
    neighbour, or than it has signed for them.

    Args:
        purpose: for which they have signed.
        signed: by stage.
    """
    proofs, stages = [], range(len(signers.names))
    pairs = [(a, b) for a in stages for b in stages if between(channels, a, b)]
    for one, other in pairs:
        mine = common_digest(signed[one].log, channels, one, other)
        agreed = statement(signers.job_id, signers.replica, purpose, other, one, mine)
        if not verify_signature(signers.keys[other], signed[one].signatures[other], agreed):
            reason = f"stage {one} logs what stage {other} has not signed"
            proofs.append(Proof((signers.names[one],), reason))
        elif mine != common_digest(signed[other].log, channels, one, other):
            reason = f"stage {other} logs something else than it has signed"
            proofs.append(Proof((signers.names[other],), reason))
    return proofs
