"""A replica whose nodes are processes: see `tdml.round.fleet.Replica`. One order to its nodes, and
one outcome."""

import time
from collections.abc import Callable, Sequence
from itertools import compress
from typing import Any

import torch

from tdml.cluster.patience import Patience
from tdml.common.digest import digests
from tdml.data.pieces import count
from tdml.ledger.commit import commit_statement
from tdml.ledger.entry import is_signature
from tdml.models.plan import Plan
from tdml.node.trace import Opening
from tdml.protocol.orders import (
    Assignment,
    Commitment,
    EvaluateOrder,
    Evaluation,
    RepeatOrder,
    Repetition,
    ReplicaLost,
    Shown,
    Slot,
    TrainOrder,
    TrainReport,
)
from tdml.wire.channel import Caller
from tdml.wire.exchange import Exchange, Peer, Watch


class RpcReplica:
    """N nodes, connected. If one fails, or is silent for `timeout` seconds, the replica is lost:
    see `Exchange.ask`."""

    def __init__(
        self,
        index: int,
        nodes: Sequence[Peer],
        timeout: float,
        caller: Caller,
        patience: Patience,
    ) -> None:
        self._patience = patience
        self.index, self.nodes, self._caller = index, list(nodes), caller
        self.names = tuple(node.name for node in nodes)
        self._exchange = Exchange(index, self.nodes, timeout, caller)
        self._loaded: int | None = None  # the version of the global weights that the nodes hold
        self.steps_done = 0
        self.kind = ""
        self.threads: int | None = None  # that its nodes were told to compute with

    @property
    def whole(self) -> bool:
        """Whether its nodes can still do something together."""
        return not self._exchange.failed and all(node.usable for node in self.nodes)

    def join(self, generation: int, plan: Plan, backend: str, threads: int | None) -> None:
        """Connect the nodes to one another. `threads` is how many other replicas compute with."""
        self.threads = threads
        keys = tuple(self._caller.keys[name] for name in self.names)
        slots = [Slot(self.index, stage) for stage in range(len(self.nodes))]
        orders = [
            (Assignment(slot, generation, plan, backend, self.names, keys, threads),)
            for slot in slots
        ]
        kinds = self._exchange.ask("join", orders)
        # where they differ, by stage: A + A + B cannot repeat A + B + B
        self.kind = kinds[0] if len(set(kinds)) == 1 else " + ".join(kinds)

    def load(
        self,
        weights: Sequence[torch.Tensor],
        version: int,
        frozen: Sequence[Sequence[torch.Tensor]] = (),
    ) -> int:
        if self._loaded == version:
            return 0
        sent = self._freeze(frozen) if self._loaded is None and any(frozen) else 0
        self._exchange.ask("load", [(flat,) for flat in weights])
        self._loaded = version
        return sent + sum(flat.nbytes for flat in weights)

    def _freeze(self, frozen: Sequence[Sequence[torch.Tensor]]) -> int:
        """Send the parameters that are not trained to nodes that lack them. Returns bytes sent."""
        wanted = [(tuple(one.hex() for one in digests(each)),) for each in frozen]
        missing = self._exchange.ask("missing", wanted)
        sent = [tuple(compress(*each)) for each in zip(frozen, missing, strict=True)]
        self._exchange.ask("freeze", [(values,) for values in sent])
        return sum(value.nbytes for values in sent for value in values)

    def train(self, order: TrainOrder, late: Callable[[], str | None]) -> TrainReport:
        self.steps_done, start = 0, time.monotonic()
        watch = Watch(self._exchange, late, self._progress)
        report = self._exchange.ask("train", [(order,)] * len(self.nodes), watch)[-1]
        self._patience.trained(sum(map(len, order.batches)), time.monotonic() - start)
        return report

    def commit(self, order: TrainOrder) -> list[Commitment]:
        commitments = self._exchange.ask("commit", [(order.round,)] * len(self.nodes))
        for node, commitment in zip(self.nodes, commitments, strict=True):
            if not self._has_signed(node, order, commitment):
                raise self._offend(node, "answered commit without its signature")
        return commitments

    def digests(self, vector: str, stage: int) -> tuple[str, ...]:
        return self._ask_one(stage, "digests", vector)

    def reveal(self, vector: str, stage: int, block: int) -> torch.Tensor:
        return self._ask_one(stage, "reveal", vector, block)

    def hold(self, stage: int, block: int, tensor: torch.Tensor) -> None:
        self._ask_one(stage, "hold", block, tensor)

    def open(self) -> list[Opening]:
        return [self._ask_one(stage, "open") for stage in range(len(self.nodes))]

    def repeat(self, order: RepeatOrder) -> list[Repetition]:
        states = len(order.batches) if order.each else 0
        watch = self._watch(sum(map(len, order.batches)), states)
        return self._exchange.ask("repeat", [(order,)] * len(self.nodes), watch)

    def shown(self, stage: int) -> Shown:
        return self._exchange.ask_one(stage, "shown")

    def evaluate(self, order: EvaluateOrder, columns: int) -> list[Evaluation]:
        samples = count(order.pieces)
        answers: list[Evaluation] = self._exchange.ask(
            "evaluate", [(order,)] * len(self.nodes), self._watch(samples)
        )
        last, rows = answers[-1], (samples, columns) if columns else (0, 0)
        plain = (last.losses.shape, last.losses.dtype) == ((samples,), torch.float32)
        if plain and (last.rows.shape, last.rows.dtype) == (rows, torch.float64):
            return answers
        raise self._offend(self.nodes[-1], "answered evaluate with something else")

    def refused(self) -> dict[str, list[str]]:
        """What nodes have refused since they were last asked, by name, without those that have
        refused nothing."""
        refusals = self._exchange.ask("refused", [()] * len(self.nodes))
        return {name: texts for name, texts in zip(self.names, refusals, strict=True) if texts}

    def _ask_one(self, stage: int, method: str, *args: Any) -> Any:
        """See `Exchange.ask_one`. Raises `ReplicaLost` also for a node that is too slow."""
        start, name = time.monotonic(), self.names[stage]
        answer = self._exchange.ask_one(stage, method, *args)
        if late := self._patience.promptness.note(name, method, time.monotonic() - start):
            raise ReplicaLost(self.index, f"{name}: {late}", [name])
        return answer

    def _watch(self, samples: int, states: int = 0) -> Watch:
        """A node that gives signs of life may take its time, within reason."""
        return Watch(self._exchange, self._patience.late(samples, states), lambda _: None)

    def _progress(self, steps: int) -> None:
        self.steps_done = steps  # of whichever node was heard last: they go in step

    def _offend(self, node: Peer, text: str) -> ReplicaLost:
        """Note an offence that a node's own signed answer proves."""
        failure = self._caller.offend(node.name, text)
        return ReplicaLost(self.index, f"{failure.node}: {failure.message}")

    def _has_signed(self, node: Peer, order: TrainOrder, commitment: Commitment) -> bool:
        job, key = self._caller.at.job, self._caller.keys[node.name]
        statement = commit_statement(job, order.round, order.nonce, key, node.name, commitment)
        signature = commitment.signature
        return is_signature(signature) and statement.signed_by_author(signature)
