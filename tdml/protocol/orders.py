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

# What a node says in words. It ends up in the ledger and before the user's eyes: no node may fill
# them.
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
    """The name of the state before a window: before the first, of the inner optimizer's, for the
    weights everybody knows."""
    return f"state {window}"


def new_nonce() -> str:
    """A number used once. Neighbours include their order's when they sign what passed between them:
    else a signature on one execution of some steps could be used for another."""
    return secrets.token_hex(16)


@dataclass(frozen=True)
class Slot:
    """A place in the cluster: stage `stage` of replica `replica`."""

    replica: int
    stage: int


@dataclass(frozen=True)
class Assignment:
    """Take this slot. The replica's process group is formed under a prefix new for every
    generation. `names` and public `keys` are those of its nodes, by stage. `threads` is with how
    many others compute: sums over another number of threads may differ in their last bits."""

    slot: Slot
    generation: int
    plan: Plan
    backend: str  # "gloo" or "nccl"
    names: tuple[str, ...]
    keys: tuple[str, ...]
    threads: int | None = None


@dataclass(frozen=True)
class TrainOrder:
    """Train on `batches` (steps, batch_size) of the training set, from the weights that were
    loaded. `bounds` are the steps where the windows that may be audited begin and end; none:
    nothing is kept for audits. `longest` is the most steps that any replica takes in a round, by
    which learning rates are counted. `inner` names the states that the inner optimizers go on from,
    by stage; "", and whoever has no such state, starts with a fresh one."""

    round: int
    longest: int
    batches: torch.Tensor
    nonce: str
    bounds: tuple[int, ...]
    inner: tuple[DigestOrNone, ...]


@dataclass(frozen=True)
class TrainReport:
    """What a node did in a round. The loss is known at the last stage only."""

    loss: float | None  # mean over the steps


@dataclass(frozen=True)
class Commitment:
    """What a node is held to: its update, and the root over its trace of the round ("" if none
    was kept), signed. `blocks` are the digests of the update's blocks, and after them of the inner
    state's where that is kept for the next round: the update stands for the Merkle root over all of
    them."""

    update: Digest
    states: DigestOrNone
    blocks: tuple[Digest, ...]
    signature: Signature


@dataclass(frozen=True)
class Trained:
    """What came of a replica's round: its mean loss, and what its nodes have committed to."""

    loss: float | None
    commitments: list[Commitment]


@dataclass(frozen=True)
class RepeatOrder:
    """Take some steps of a replica's round again: another's, as a validator, or one's own.

    `batches` (k, batch_size) are those of the steps from `first` on. They start from the state
    before them that was held, or of one's own that was kept; if `first` is 0 from the global
    weights that were loaded, and by `inner` at some stages from an inner state that was held.
    `last`: they are the round's last, and lead to an update. `longest` as in `TrainOrder`. With
    `each`, the content of the state after every step is told too; the tensors of step `show`,
    counted from `first`, are kept to be shown.
    """

    round: int
    longest: int
    replica: int
    first: int
    last: bool
    batches: torch.Tensor
    nonce: str
    own: bool = False
    each: bool = False
    show: int = -1
    inner: tuple[bool, ...] = ()


@dataclass(frozen=True)
class Repetition:
    """What a node found: the content of what the steps lead to, the log of what crossed its
    borders, the other stages' signatures on it, and with `each` the content of the state after
    every step."""

    end: Digest
    log: torch.Tensor
    signatures: tuple[Signature, ...]
    states: tuple[Digest, ...]


@dataclass(frozen=True)
class Shown:
    """A step of which a node kept the tensors: all messages at its ends of channels, by the
    channel's number. The states before and after are its vectors BEFORE and AFTER."""

    channels: tuple[int, ...]
    messages: tuple[tuple[torch.Tensor, ...], ...]


NOBODY = -1  # the candidate whose update is no replica's own, but the mean of some


@dataclass(frozen=True)
class EvaluateOrder:
    """Evaluate the loaded weights, plus the update of `candidate` that was held if one is named, on
    some samples. `check`: it is part of a cross-check. With `log`, what crosses the borders is
    logged, and signed under the `nonce`."""

    round: int
    pieces: tuple[Piece, ...]
    candidate: int | None = None
    check: bool = False
    log: bool = False
    nonce: str = ""


@dataclass(frozen=True)
class Evaluation:
    """Per sample: its loss (k,) float32 and, unless asked in a cross-check, its row of the task's
    measures (k, columns) float64; both are empty at all stages but the last. `log` of what crossed
    the node's borders, (batches, channels, 32)."""

    losses: torch.Tensor
    rows: torch.Tensor
    log: torch.Tensor
    signatures: tuple[Signature, ...] = ()


@dataclass(frozen=True)
class Failure:
    """An order that could not be carried out."""

    node: str
    message: str  # one line
    detail: str  # the stack trace, for the run's log


class ReplicaLost(Exception):
    """A replica could not do what it was asked to, or did not answer. `silent` are the nodes, by
    name, that did not."""

    def __init__(
        self, replica: int, reason: str, silent: Sequence[str] = (), detail: str = ""
    ) -> None:
        self.replica, self.silent, self.detail = replica, tuple(silent), detail
        super().__init__(reason)
