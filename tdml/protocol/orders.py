"""What the coordinator asks of nodes, and what they answer. Plain frozen data, whatever carries
it."""

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import torch
from msgspec import Meta

from tdml.data.pieces import Piece
from tdml.models.plan import Plan
from tdml.protocol.statement import Digest, DigestOrNone

# Limits of what a node says in words, which the user sees, and the ledger keeps.
LONGEST_KIND = 300  # characters
LONGEST_REFUSAL = 300
MOST_REFUSALS = 21  # lines: the last says how many there were
Kind = Annotated[str, Meta(max_length=LONGEST_KIND)]  # of machine
Refused = Annotated[
    list[Annotated[str, Meta(max_length=LONGEST_REFUSAL)]], Meta(max_length=MOST_REFUSALS)
]
Signature = Annotated[str, Meta(max_length=128)]

# The vectors that a node can show, block by block: its update, what its inner optimizer is left
# with, a state that it has kept, and of a step that it was asked to show the states before and
# after it.
UPDATE, INNER, BEFORE, AFTER = "update", "inner", "before", "after"


def state_before(window: int) -> str:
    """The name of the state before a window. Before the first window it is that of the inner
    optimizer, for everybody knows the weights."""
    return f"state {window}"


def new_nonce() -> str:
    """A number used once. Neighbours sign what passed between them together with the nonce of the
    order: else a signature on one execution of some steps could be used for another."""
    return secrets.token_hex(16)


@dataclass(frozen=True)
class Slot:
    """A place in the cluster: stage `stage` of replica `replica`."""

    replica: int
    stage: int


@dataclass(frozen=True)
class Assignment:
    """The order to take a slot."""

    slot: Slot
    generation: int  # how often the replica was formed: its process group has another prefix then
    plan: Plan
    backend: str  # "gloo" or "nccl"
    names: tuple[str, ...]  # of the replica's nodes, by stage
    keys: tuple[str, ...]  # their public keys
    # that others compute with: sums over another number of threads may differ in their last bits
    threads: int | None = None


@dataclass(frozen=True)
class TrainOrder:
    """The order to take a round's steps from the weights that were loaded."""

    round: int
    longest: int  # the most steps that any replica takes in a round: learning rates depend on it
    batches: torch.Tensor  # (steps, batch_size) indices of training samples
    nonce: str
    bounds: tuple[int, ...]  # steps where audits' windows begin and end; (): nothing is kept
    # by stage, the states that the inner optimizers go on from; "", and where a node does not have
    # the state: a fresh one
    inner: tuple[DigestOrNone, ...]


@dataclass(frozen=True)
class TrainReport:
    """What a node reports of a round."""

    loss: float | None  # mean over the steps; only the last stage knows it


@dataclass(frozen=True)
class Commitment:
    """What a node is held to after a round."""

    update: Digest  # `tdml.trust.commitment.commitment` of the Merkle root over `blocks`
    states: DigestOrNone  # the root over its trace; "": it has kept none
    blocks: tuple[Digest, ...]  # of the update, then of the inner state if that is kept
    signature: Signature


@dataclass(frozen=True)
class Trained:
    """A replica that has trained: its mean loss, and its nodes' commitments, by stage."""

    loss: float | None
    commitments: list[Commitment]


@dataclass(frozen=True)
class RepeatOrder:
    """The order to repeat steps of a replica's round: another's, as a validator, or one's own.

    They start from the state before them, which was handed over by `hold`, or kept if the round is
    one's own. The round's first step starts from the global weights that were loaded.
    """

    round: int
    longest: int  # as in `TrainOrder`
    replica: int  # whose round it is
    first: int  # of the steps
    last: bool  # whether the round's last step is among them, which leads to an update
    batches: torch.Tensor  # (k, batch_size) indices of training samples, from the first step on
    nonce: str
    own: bool = False  # whether it is one's own round
    each: bool = False  # whether to tell the digest of the state after every step
    show: int = -1  # the step, counted from the first, whose tensors are kept to be shown
    inner: tuple[bool, ...] = ()  # by stage, whether the round's first step has an inner state


@dataclass(frozen=True)
class Repetition:
    """What a node has found when it repeated steps."""

    end: Digest  # of the state, or the update, that the steps lead to
    log: torch.Tensor  # of the messages that it has sent and received
    signatures: tuple[Signature, ...]  # of the other stages under it
    states: tuple[Digest, ...]  # after every step, if `each` asks for them


@dataclass(frozen=True)
class Shown:
    """The messages of a step that a node has kept to be shown. The states before and after the step
    are its vectors BEFORE and AFTER."""

    channels: tuple[int, ...]  # numbers of those that the node is an end of
    messages: tuple[tuple[torch.Tensor, ...], ...]  # in the same order


NOBODY = -1  # as a candidate: the update is no replica's, but a mean of some


@dataclass(frozen=True)
class EvaluateOrder:
    """The order to evaluate the global weights that were loaded, on some samples."""

    round: int
    pieces: tuple[Piece, ...]  # the samples
    # the replica whose update, which was handed over by `hold`, is added to the weights; None: none
    candidate: int | None = None
    check: bool = False  # whether it is a part of a cross-check
    log: bool = False  # whether the messages are logged, and signed under the nonce
    nonce: str = ""


@dataclass(frozen=True)
class Evaluation:
    """The result of an evaluation at one node. Losses and rows are empty but at the last stage."""

    losses: torch.Tensor  # (k,) float32, of the samples
    rows: torch.Tensor  # (k, columns) float64, of the task's measures; empty in a cross-check
    log: torch.Tensor  # (batches, channels, 32) uint8, of the messages sent and received
    signatures: tuple[Signature, ...] = ()


@dataclass(frozen=True)
class Failure:
    """An order that could not be carried out."""

    node: str
    message: str  # one line
    detail: str  # the stack trace, for the run's log


class ReplicaLost(Exception):
    """A replica could not do what it was ordered to, or did not answer.

    Attributes:
        silent: names of the nodes that did not answer.
        detail: the stack trace, if there is one.
    """

    def __init__(
        self, replica: int, reason: str, silent: Sequence[str] = (), detail: str = ""
    ) -> None:
        self.replica, self.silent, self.detail = replica, tuple(silent), detail
        super().__init__(reason)
