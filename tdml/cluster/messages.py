"""What the coordinator and the nodes tell each other. Plain frozen data, sent by RPC."""

from dataclasses import dataclass
from typing import Annotated

import torch
from msgspec import Meta

from tdml.attacks.base import Knowledge
from tdml.cluster.guard import LONGEST_REFUSAL, MOST_REFUSALS
from tdml.data.pieces import Piece
from tdml.ledger.bodies import Digest, DigestOrNone
from tdml.models.plan import Plan

# What a node says in words. It ends up in the ledger and before the user's eyes: no node may fill them.
LONGEST_KIND = 300  # characters
Kind = Annotated[str, Meta(max_length=LONGEST_KIND)]  # of machine
Refused = Annotated[list[Annotated[str, Meta(max_length=LONGEST_REFUSAL)]], Meta(max_length=MOST_REFUSALS)]


@dataclass(frozen=True)
class Seat:
    """A place in the cluster: stage `stage` of replica `replica`."""

    replica: int
    stage: int


@dataclass(frozen=True)
class Assignment:
    """Take this seat. The replica's process group is formed under a prefix new for every generation."""

    seat: Seat
    generation: int
    plan: Plan
    backend: str  # "gloo" or "nccl"


@dataclass(frozen=True)
class TrainOrder:
    """Train on `batches` (steps, batch_size) of the training set, from the weights that were loaded. `edges` are the
    steps where the windows that may be audited begin and end; none: nothing is kept for audits. `longest` is the most
    steps that any replica takes in a round, by which learning rates are counted."""

    round: int
    longest: int
    batches: torch.Tensor
    edges: tuple[int, ...] = ()


@dataclass(frozen=True)
class TrainReport:
    """What a node did in a round. The loss is known at the last stage only."""

    steps: int
    loss: float | None  # mean over the steps


@dataclass(frozen=True)
class CommitOrder:
    """Commit to the update of this round. `knowledge` is for nodes that play an omniscient attacker."""

    round: int
    knowledge: Knowledge | None = None


@dataclass(frozen=True)
class Commitment:
    """What a node is held to: its update, and the root over its states of the round ("" if none were kept), signed."""

    update: Digest
    states: DigestOrNone
    signature: str


@dataclass(frozen=True)
class RepeatOrder:
    """Take some steps of another replica again, as a validator.

    `batches` (k, batch_size) are those of the steps from `first` on, `state` the state before them (None: the global
    weights that were loaded). `last`: they are the round's last, and their result is the update. `longest` as in
    `TrainOrder`.
    """

    round: int
    longest: int
    replica: int
    first: int
    last: bool
    batches: torch.Tensor
    state: torch.Tensor | None


@dataclass(frozen=True)
class Repetition:
    """A validator's result: the digest of what the steps lead to, and what crossed the node's borders."""

    digest: str
    sketches: torch.Tensor


@dataclass(frozen=True)
class EvaluateOrder:
    """Evaluate the loaded weights, plus `update` if there is one, on some samples."""

    pieces: tuple[Piece, ...]
    update: torch.Tensor | None = None
    round: int = 0
    testimony: bool = False  # asked in a cross-check, where validators may lie
    candidate: int | None = None  # the replica whose update it is
    measured: bool = False  # whether validators' machines differ, so that digests are not enough of a record


@dataclass(frozen=True)
class Evaluation:
    """Per sample: the cross-entropy loss (k,) float32 and whether the largest logit is right (k,) bool; both are empty
    at all stages but the last. `sketches`, in a cross-check: what crossed the node's borders."""

    losses: torch.Tensor
    correct: torch.Tensor
    sketches: torch.Tensor | None = None


@dataclass(frozen=True)
class Failure:
    """An order that could not be carried out."""

    node: str
    message: str  # one line
    detail: str  # the stack trace, for the run's log
