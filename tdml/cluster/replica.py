"""The coordinator's hand on one replica: the same order to all its nodes, and one outcome."""

import queue
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch

from tdml.cluster.channel import Caller
from tdml.cluster.endpoint import send
from tdml.cluster.guard import Envelope
from tdml.cluster.messages import (
    Assignment,
    Commitment,
    CommitOrder,
    EvaluateOrder,
    Evaluation,
    Failure,
    RepeatOrder,
    Repetition,
    Seat,
    TrainOrder,
    TrainReport,
)  # fmt: skip
from tdml.data.pieces import Piece, count
from tdml.errors import one_line
from tdml.ledger.commit import commit_statement
from tdml.ledger.entry import is_signature
from tdml.models.plan import Plan
from tdml.training.tape import Opening

_TICK_S = 0.25
_LONGEST_REASON = 500  # characters of an error that a peer may have a part in


@dataclass
class Node:
    """One worker process. A node keeps its name; its seat may change."""

    name: str
    rank: int
    banned: bool = False
    dead: bool = False
    refused: bool = False  # from the start: its key may not take part

    @property
    def usable(self) -> bool:
        """Whether it may have a seat."""
        return not (self.banned or self.dead or self.refused)


class ReplicaLost(Exception):
    """A replica could not do what it was asked to; its group must be formed again."""

    def __init__(self, replica: int, failures: Sequence[Failure]) -> None:
        self.replica, self.failures = replica, tuple(failures)
        super().__init__("; ".join(f"{failure.node}: {failure.message}" for failure in _causes(failures)))


class Replica:
    """A formed replica: N nodes, connected.

    Every method gives the order to all nodes, waits, and raises `ReplicaLost` if any of them fails, falls
    silent for `timeout` seconds or is late. Nodes found silent are marked dead.
    """

    def __init__(self, index: int, nodes: Sequence[Node], timeout: float, caller: Caller) -> None:
        self.index, self.nodes, self._timeout, self._caller = index, list(nodes), timeout, caller
        self.loaded: int | None = None  # the version of the global weights that the nodes hold
        self.steps_done = 0
        self.kind = ""  # of machines

    def join(self, generation: int, plan: Plan, backend: str) -> None:
        """Connect the nodes to one another."""
        seats = [Seat(self.index, stage) for stage in range(len(self.nodes))]
        kinds = self._ask("join", [(Assignment(seat, generation, plan, backend),) for seat in seats])
        self.kind = " + ".join(map(str, kinds))

    def load(self, weights: Sequence[torch.Tensor], version: int) -> int:
        """Send the global weights, one flat vector per stage, unless the nodes hold them. Returns bytes sent."""
        if self.loaded == version:
            return 0
        self._ask("load", [(flat,) for flat in weights])
        self.loaded = version
        return _bytes(weights)

    def train(self, order: TrainOrder, late: Callable[[], str | None]) -> TrainReport:
        """Train. `late` is asked now and then; a text that it returns is the reason to give up waiting."""
        self.steps_done = 0
        reports = self._ask("train", [(order,)] * len(self.nodes), watch=self._watch(late))
        return reports[-1]

    def commit(self, orders: Sequence[CommitOrder]) -> list[Commitment]:
        """The nodes' commitments, by stage, each signed by its node; another is an offence."""
        commitments = self._ask("commit", [(order,) for order in orders])
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
        return self._ask("reveal", [()] * len(self.nodes))

    def open(self, windows: tuple[int, ...]) -> list[Opening]:
        """What the nodes kept of some windows, by stage."""
        return self._ask("open", [(windows,)] * len(self.nodes))

    def border(self, window: int) -> list[torch.Tensor | None]:
        """The nodes' states before a window, by stage."""
        return self._ask("border", [(window,)] * len(self.nodes))

    def repeat(self, orders: Sequence[RepeatOrder]) -> list[Repetition]:
        """Take another replica's steps again."""
        return self._ask("repeat", [(order,) for order in orders])

    def repeated(self) -> list[torch.Tensor]:
        """What the last repetition led to, by stage."""
        return self._ask("repeated", [()] * len(self.nodes))

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
        told = self._ask("refused", [()] * len(self.nodes))
        return {node.name: texts for node, texts in zip(self.nodes, told, strict=True) if texts}

    def _has_signed(self, node: Node, round_number: int, made: Commitment) -> bool:
        key = self._caller.keys[node.name]
        statement = commit_statement(self._caller.at.job, round_number, key, node.name, made)
        return is_signature(made.signature) and statement.signed_by_author(made.signature)

    def _evaluations(self, orders: Sequence[EvaluateOrder]) -> list[Evaluation]:
        """The nodes' answers, if the last is an evaluation of the samples that it was asked for; another is an
        offence."""
        shape = (count(orders[-1].pieces),)
        answers: list[Evaluation] = self._ask("evaluate", [(order,) for order in orders])
        last = answers[-1]
        plain = (last.losses.shape, last.losses.dtype) == (shape, torch.float32)
        if plain and (last.correct.shape, last.correct.dtype) == (shape, torch.bool):
            return answers
        failure = self._caller.offend(self.nodes[-1].name, "answered evaluate with something else")
        raise ReplicaLost(self.index, [failure])

    def _ask(
        self,
        method: str,
        arguments: Sequence[tuple],
        watch: Callable[[], Failure | None] | None = None,
    ) -> list[Any]:
        """The answers of all nodes to an order, a method of `tdml.worker.Worker`, by stage. With `watch`, a node may
        take as long as `watch` allows."""
        inbox: queue.SimpleQueue[tuple[int, Any]] = queue.SimpleQueue()
        for stage, (node, args) in enumerate(zip(self.nodes, arguments, strict=True)):
            self._send(node, method, args, 0 if watch else self._timeout, partial(_put, inbox, stage))
        answers: dict[int, Any] = {}
        failures: list[Failure] = []
        give_up_at = float("inf")
        while len(answers) < len(self.nodes):
            try:
                stage, answer = inbox.get(timeout=_TICK_S)
            except queue.Empty:
                stage, answer = -1, watch() if watch and not failures else None
            if stage >= 0:
                answers[stage] = answer
                if isinstance(answer, _Silence):
                    self.nodes[stage].dead = True
                    answer = Failure(self.nodes[stage].name, answer.message, "")
            if isinstance(answer, Failure):
                if not failures:
                    give_up_at = time.monotonic() + self._timeout
                    self._cancel()
                failures.append(answer if stage < 0 else replace(answer, node=self.nodes[stage].name))
            if time.monotonic() > give_up_at:
                self._bury(set(range(len(self.nodes))) - set(answers))
                break
        if failures:
            raise ReplicaLost(self.index, failures)
        return [answers[stage] for stage in range(len(self.nodes))]

    def _send(self, node: Node, method: str, args: tuple, timeout: float, deliver: Callable[[Any], None]) -> None:
        counter, envelope = self._caller.order(node.name, method, args)

        def read(done: torch.futures.Future) -> None:
            deliver(_outcome(done, partial(self._caller.read, node.name, counter, method)))

        try:
            send(node.rank, envelope, timeout).add_done_callback(read)
        except RuntimeError as error:
            deliver(_Silence(one_line(error)))

    def _watch(self, late: Callable[[], str | None]) -> Callable[[], Failure | None]:
        """Polls the nodes' progress while they train: a node that does not answer is found at its timeout."""
        inbox: queue.SimpleQueue[tuple[int, Any]] = queue.SimpleQueue()
        asked: set[int] = set()

        def watch() -> Failure | None:
            for stage in set(range(len(self.nodes))) - asked:
                asked.add(stage)
                self._send(self.nodes[stage], "progress", (), self._timeout, partial(_put, inbox, stage))
            while not inbox.empty():
                stage, answer = inbox.get()
                asked.discard(stage)
                if isinstance(answer, _Silence):
                    self.nodes[stage].dead = True
                    return Failure(self.nodes[stage].name, answer.message, "")
                if isinstance(answer, Failure):
                    return answer
                self.steps_done = max(self.steps_done, answer)
            reason = late()
            return Failure(f"r{self.index}", reason, "") if reason else None

        return watch

    def _cancel(self) -> None:
        """Tell all nodes to give up, and wait until the living have heard it."""
        inbox: queue.SimpleQueue[tuple[int, Any]] = queue.SimpleQueue()
        alive = [node for node in self.nodes if not node.dead]
        for node in alive:
            self._send(node, "cancel", (), self._timeout, partial(_put, inbox, 0))
        for _ in alive:
            inbox.get()

    def _bury(self, stages: set[int]) -> None:
        for stage in stages:
            self.nodes[stage].dead = True


@dataclass(frozen=True)
class _Silence:
    """RPC could not reach a node, or lost it."""

    message: str


def _outcome(future: torch.futures.Future, read: Callable[[Envelope], Any]) -> Any:
    try:
        return read(future.value().envelope)
    except Exception as error:  # whatever a peer makes this raise, somebody waits for an outcome
        return _Silence(f"no answer ({one_line(error)[:_LONGEST_REASON]})")


def _put(inbox: queue.SimpleQueue, stage: int, answer: Any) -> None:
    inbox.put((stage, answer))


def _bytes(tensors: Sequence[torch.Tensor]) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def _causes(failures: Sequence[Failure]) -> Sequence[Failure]:
    """The failures that others followed from: a lost connection is the effect of a neighbour's failure."""
    effects = ("onnection closed", "gloo/transport")
    causes = [failure for failure in failures if not any(text in failure.message for text in effects)]
    return causes or failures
