"""The coordinator's hand on one replica: the same order to all its nodes, and one outcome."""

from collections.abc import Callable, Sequence

import torch

from tdml.cluster.channel import Caller
from tdml.cluster.exchange import Exchange, Node, ReplicaLost
from tdml.cluster.messages import (
    Assignment,
    Commitment,
    CommitOrder,
    EvaluateOrder,
    Evaluation,
    RepeatOrder,
    Repetition,
    Seat,
    TrainOrder,
    TrainReport,
)  # fmt: skip
from tdml.data.pieces import Piece, count
from tdml.ledger.commit import commit_statement
from tdml.ledger.entry import is_signature
from tdml.models.plan import Plan
from tdml.training.tape import Opening


class Replica:
    """A formed replica: N nodes, connected.

    Every method gives the order to all nodes, waits, and raises `ReplicaLost` if any of them fails, falls
    silent for `timeout` seconds or is late: see `Exchange.ask`.
    """

    def __init__(self, index: int, nodes: Sequence[Node], timeout: float, caller: Caller) -> None:
        self.index, self.nodes, self._caller = index, list(nodes), caller
        self._exchange = Exchange(index, self.nodes, timeout, caller)
        self.loaded: int | None = None  # the version of the global weights that the nodes hold
        self.steps_done = 0
        self.kind = ""  # of machines

    def join(self, generation: int, plan: Plan, backend: str) -> None:
        """Connect the nodes to one another."""
        seats = [Seat(self.index, stage) for stage in range(len(self.nodes))]
        kinds = self._exchange.ask("join", [(Assignment(seat, generation, plan, backend),) for seat in seats])
        self.kind = " + ".join(map(str, kinds))

    def load(self, weights: Sequence[torch.Tensor], version: int) -> int:
        """Send the global weights, one flat vector per stage, unless the nodes hold them. Returns bytes sent."""
        if self.loaded == version:
            return 0
        self._exchange.ask("load", [(flat,) for flat in weights])
        self.loaded = version
        return _bytes(weights)

    def train(self, order: TrainOrder, late: Callable[[], str | None]) -> TrainReport:
        """Train. `late` is asked now and then; a text that it returns is the reason to give up waiting."""
        self.steps_done = 0
        watch = self._exchange.watch(late, self._progress)
        return self._exchange.ask("train", [(order,)] * len(self.nodes), watch)[-1]

    def commit(self, orders: Sequence[CommitOrder]) -> list[Commitment]:
        """The nodes' commitments, by stage, each signed by its node; another is an offence."""
        commitments = self._exchange.ask("commit", [(order,) for order in orders])
        failures = [
            self._caller.offend(node.name, "answered commit without its signature")
            for node, order, made in zip(self.nodes, orders, commitments, strict=True)
            if not self._has_signed(node, order.round, made)
        ]
        if failures:
            raise ReplicaLost(self.index, failures)
        return commitments

    def reveal(self) -> list[torch.Tensor]:
        """The nodes' updates, by stage."""
        return self._exchange.ask("reveal", [()] * len(self.nodes))

    def open(self, windows: tuple[int, ...]) -> list[Opening]:
        """What the nodes kept of some windows, by stage."""
        return self._exchange.ask("open", [(windows,)] * len(self.nodes))

    def border(self, window: int) -> list[torch.Tensor | None]:
        """The nodes' states before a window, by stage."""
        return self._exchange.ask("border", [(window,)] * len(self.nodes))

    def repeat(self, orders: Sequence[RepeatOrder]) -> list[Repetition]:
        """Take another replica's steps again."""
        return self._exchange.ask("repeat", [(order,) for order in orders])

    def repeated(self) -> list[torch.Tensor]:
        """What the last repetition led to, by stage."""
        return self._exchange.ask("repeated", [()] * len(self.nodes))

    def evaluate(self, pieces: tuple[Piece, ...]) -> Evaluation:
        """Evaluate the loaded weights."""
        return self._evaluations([EvaluateOrder(pieces)] * len(self.nodes))[-1]

    def testify(
        self, number: int, pieces: tuple[Piece, ...], candidate: int | None, updates: Sequence[torch.Tensor] | None,
        measured: bool = False,
    ) -> list[Evaluation]:  # fmt: skip
        """Evaluate, as a validator in round `number`, a candidate replica's updates, one per stage; without, the
        loaded weights. The answers by stage: the last has the losses. `measured`: see `EvaluateOrder`."""
        shards = updates if updates is not None else [None] * len(self.nodes)
        return self._evaluations([EvaluateOrder(pieces, shard, number, True, candidate, measured) for shard in shards])

    def refused(self) -> dict[str, list[str]]:
        """What the nodes have refused since they were last asked, by their names; those that have not are left out."""
        told = self._exchange.ask("refused", [()] * len(self.nodes))
        return {node.name: texts for node, texts in zip(self.nodes, told, strict=True) if texts}

    def _progress(self, steps: int) -> None:
        self.steps_done = max(self.steps_done, steps)

    def _has_signed(self, node: Node, round_number: int, made: Commitment) -> bool:
        key = self._caller.keys[node.name]
        statement = commit_statement(self._caller.at.job, round_number, key, node.name, made)
        return is_signature(made.signature) and statement.signed_by_author(made.signature)

    def _evaluations(self, orders: Sequence[EvaluateOrder]) -> list[Evaluation]:
        """The nodes' answers, if the last is an evaluation of the samples that it was asked for; another is an
        offence."""
        shape = (count(orders[-1].pieces),)
        answers: list[Evaluation] = self._exchange.ask("evaluate", [(order,) for order in orders])
        last = answers[-1]
        plain = (last.losses.shape, last.losses.dtype) == (shape, torch.float32)
        if plain and (last.correct.shape, last.correct.dtype) == (shape, torch.bool):
            return answers
        failure = self._caller.offend(self.nodes[-1].name, "answered evaluate with something else")
        raise ReplicaLost(self.index, [failure])


def _bytes(tensors: Sequence[torch.Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
