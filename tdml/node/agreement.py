"""Before a node commits, the two ends of every channel sign that they have logged the same.

So neither can say later that it has sent, or received, something else: a false message is its
sender's doing, and a receiver that was sent something else does not sign.
"""

import hashlib
from collections.abc import Sequence

import torch

from tdml.node.messages import Channel, between
from tdml.protocol.identity import Identity, verify_signature
from tdml.protocol.orders import EvaluateOrder, RepeatOrder, Slot
from tdml.protocol.statement import canonical


class Disagreement(Exception):
    """The two ends of a channel have logged different messages. Nobody else can know which of them
    lies."""


class Agreement:
    """The agreement of one node with its neighbours, about one sequence of steps."""

    def __init__(
        self,
        identity: Identity,
        job: str,
        slot: Slot,
        keys: Sequence[str],
        channels: Sequence[Channel],
    ) -> None:
        self._identity, self._job, self._channels = identity, job, channels
        self._replica, self._stage = slot.replica, slot.stage
        self._keys = tuple(keys)
        self.begin("", torch.empty(0))

    def begin(self, purpose: str, log: torch.Tensor) -> None:
        """Start with the log of some steps that are done: nobody has signed it yet."""
        self._purpose, self._log = purpose, log
        self.signatures: tuple[str, ...] = ("",) * len(self._keys)

    @property
    def peers(self) -> list[int]:
        """The stages with which this one has channels."""
        stages = range(len(self._keys))
        return [stage for stage in stages if between(self._channels, self._stage, stage)]

    def offer(self, peer: int) -> torch.Tensor:
        """What to send to another stage: the digest of what both have logged, and this node's
        signature under it; (96,) uint8."""
        digest = common_digest(self._log, self._channels, self._stage, peer)
        said = statement(self._job, self._replica, self._purpose, self._stage, peer, digest)
        signed = bytes.fromhex(digest) + bytes.fromhex(self._identity.sign(said))
        return torch.frombuffer(bytearray(signed), dtype=torch.uint8)

    def accept(self, offers: dict[int, torch.Tensor]) -> None:
        """Take the offers of other stages, by stage, and keep their signatures.

        Raises:
            Disagreement: one has logged something else, or has not signed it.
        """
        signatures = list(self.signatures)
        for peer, offered in offers.items():
            raw = bytes(offered.tolist())
            digest, signature = raw[:32].hex(), raw[32:].hex()
            own = common_digest(self._log, self._channels, self._stage, peer)
            said = statement(self._job, self._replica, self._purpose, peer, self._stage, digest)
            if digest != own or not verify_signature(self._keys[peer], signature, said):
                one, other = sorted((peer, self._stage))
                raise Disagreement(
                    f"stages {one} and {other} do not agree on what passed between them"
                )
            signatures[peer] = signature
        self.signatures = tuple(signatures)


def common_digest(log: torch.Tensor, channels: Sequence[Channel], one: int, other: int) -> str:
    """SHA-256 of what a log has on the channels between two stages."""
    common = log[:, between(channels, one, other)].contiguous()
    return hashlib.sha256(common.numpy().tobytes()).hexdigest()


def statement(job: str, replica: int, purpose: str, signer: int, peer: int, digest: str) -> bytes:
    """What a stage signs for another: the digest of what it has logged in common with it, of the
    steps that `purpose` names."""
    said = {
        "job": job,
        "replica": replica,
        "purpose": purpose,
        "signer": signer,
        "peer": peer,
        "log": digest,
    }
    return b"tdml log|" + canonical(said)


# Purposes: which steps a signature is about, in words


def training_purpose(round_number: int, nonce: str) -> str:
    """The steps of a round."""
    return f"round {round_number}, order {nonce}"


def repetition_purpose(order: RepeatOrder) -> str:
    """Steps that are repeated."""
    steps = f"replica {order.replica} from step {order.first} again"
    return f"round {order.round}, {steps}, order {order.nonce}"


def evaluation_purpose(order: EvaluateOrder) -> str:
    """An evaluation."""
    return f"round {order.round}, evaluation of {order.candidate}, order {order.nonce}"
