"""The fleet as the round sees it. There are two: of processes, which are reached by RPC, and of
objects in this process."""

from collections.abc import Callable, Iterable, Sequence
from typing import Protocol, TypeVar

import torch

from tdml.node.trace import Opening
from tdml.protocol.orders import (
    Commitment,
    EvaluateOrder,
    Evaluation,
    RepeatOrder,
    Repetition,
    Shown,
    TrainOrder,
    TrainReport,
)

_T = TypeVar("_T")
_R = TypeVar("_R", bound="Replica")


class Replica(Protocol):
    """A formed replica: N nodes, one for each stage. Every method may raise `ReplicaLost`.

    To train, repeat and evaluate, all nodes work together, and must be connected. Everything else
    a node does by itself: its neighbours need not be there.
    """

    index: int
    names: tuple[str, ...]  # of its nodes, by stage
    kind: str  # of machines: equal kinds repeat each other's steps bit for bit
    steps_done: int  # of the round, as far as its nodes have said

    def load(
        self,
        weights: Sequence[torch.Tensor],
        version: int,
        frozen: Sequence[Sequence[torch.Tensor]] = (),
    ) -> int:
        """Send the global weights, one flat vector a stage, unless the nodes have this version; and
        the first time the parameters that are not trained, as far as nodes lack them. Returns bytes
        sent."""

    def train(self, order: TrainOrder, late: Callable[[], str | None]) -> TrainReport:
        """Take a round's steps. `late` is asked now and then whether to give up waiting: it returns
        the reason, or None."""

    def commit(self, order: TrainOrder) -> list[Commitment]:
        """The nodes' signed commitments to the result of an order, by stage."""

    def digests(self, vector: str, stage: int) -> tuple[str, ...]:
        """The digests of all blocks of a node's vector."""

    def reveal(self, vector: str, stage: int, block: int) -> torch.Tensor:
        """One block of a node's vector."""

    def hold(self, stage: int, block: int, tensor: torch.Tensor) -> None:
        """Hand a node a block of another node's vector."""

    def open(self) -> list[Opening]:
        """The nodes' traces of this round, by stage."""

    def repeat(self, order: RepeatOrder) -> list[Repetition]:
        """Repeat steps; what each node has found, by stage."""

    def shown(self, stage: int) -> Shown:
        """The messages of the step that a node has kept to be shown."""

    def evaluate(self, order: EvaluateOrder, columns: int) -> list[Evaluation]:
        """Evaluate; the results by stage. The last stage's has the losses, and rows with so many
        columns."""


class Fleet(Protocol):
    """The nodes, and the replicas that they form.

    Once a round, before it begins, the fleet musters: every slot gets a node, and the nodes of each
    replica connect to one another. The replica is *formed* then, and stays so until one of its
    nodes fails. `ready` gives the replicas that are formed now, `mustered` all that began the
    round.
    """

    job_id: str  # of the job that the nodes sign for
    losses: dict[int, str]  # replicas that failed since the last muster, and why

    @property
    def banned(self) -> Sequence[str]:
        """Names of the banned nodes."""

    @property
    def pauses(self) -> int:
        """How often the coordinator has stood still for so long that nodes give it up."""

    def muster(self) -> Sequence[Replica]:
        """Fill vacant slots with spares, and form the replicas that are not formed. Returns those
        that can work now."""

    def form(self, indices: Iterable[int]) -> None:
        """Form replicas again that were lost since the muster, as far as all of their nodes still
        answer."""

    def each(self, order: Callable[[_R], _T], replicas: Sequence[_R]) -> dict[int, _T]:
        """Give an order to several replicas at the same time. Returns the results by replica,
        without those of replicas that have failed."""

    def ready(self, indices: Iterable[int]) -> Sequence[Replica]:
        """The ones among these replicas that are formed."""

    def mustered(self, indices: Iterable[int]) -> Sequence[Replica]:
        """These replicas as they began the round, also those that were lost since: the nodes of a
        lost replica that are alive still answer what each of them does by itself."""

    def ban(self, name: str, reason: str) -> None:
        """Exclude a node for the rest of the job. Its replica's group ends."""

    def stand_down(self, name: str) -> bool:
        """Have a spare take a node's slot, if there is one: the node takes no more part. Returns
        whether there is."""

    def give_up(self, names: Iterable[str], reason: str) -> None:
        """Have nodes take no more part, even where no spare can take their slots."""

    def key(self, name: str) -> str:
        """A node's public key."""

    def visit(self, name: str) -> str:
        """The id of a node's process: it changes whenever the node is started anew."""
