"""An order to all nodes of a replica at once, and one outcome: the answers of all of them, or why there are none."""

import queue
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch

from tdml.cluster.channel import Caller
from tdml.cluster.endpoint import send
from tdml.cluster.guard import Envelope
from tdml.cluster.messages import Failure
from tdml.errors import one_line

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


@dataclass(frozen=True)
class _Silence:
    """RPC could not reach a node, or lost it."""

    message: str


Inbox = queue.SimpleQueue[tuple[int, Any]]  # stages, and what came from them
Watch = Callable[[], Failure | None]  # asked now and then while a node is waited for; a failure ends the waiting


class Exchange:
    """What the coordinator and the nodes of replica `index` say to each other. A node that is silent for `timeout`
    seconds is marked dead."""

    def __init__(self, index: int, nodes: Sequence[Node], timeout: float, caller: Caller) -> None:
        self._index, self._nodes, self._timeout, self._caller = index, nodes, timeout, caller

    def ask(self, method: str, arguments: Sequence[tuple], watch: Watch | None = None) -> list[Any]:
        """The answers of all nodes to an order, a method of `tdml.worker.Worker`, by stage. With `watch`, a node may
        take as long as `watch` allows.

        Raises:
            ReplicaLost: one of them has failed, or fell silent. The others have been told to give up.
        """
        inbox: Inbox = queue.SimpleQueue()
        for stage, (node, args) in enumerate(zip(self._nodes, arguments, strict=True)):
            self._send(node, method, args, 0 if watch else self._timeout, partial(_put, inbox, stage))
        answers: dict[int, Any] = {}
        failures: list[Failure] = []
        give_up_at = float("inf")
        while len(answers) < len(self._nodes) and time.monotonic() <= give_up_at:
            failure = self._await_one(inbox, answers, watch if not failures else None)
            if failure is not None:
                if not failures:
                    give_up_at = time.monotonic() + self._timeout
                    self._cancel()
                failures.append(failure)
        for stage, node in enumerate(self._nodes):
            node.dead |= stage not in answers
        if failures:
            raise ReplicaLost(self._index, failures)
        return [answers[stage] for stage in range(len(self._nodes))]

    def watch(self, late: Callable[[], str | None], progress: Callable[[int], None]) -> Watch:
        """Polls the nodes while they train: one that does not answer is found at its timeout.

        Args:
            late: asked as often; the reason to give up waiting, if there is one.
            progress: hears how many steps a node has done.
        """
        inbox: Inbox = queue.SimpleQueue()
        asked: set[int] = set()

        def watch() -> Failure | None:
            for stage in set(range(len(self._nodes))) - asked:
                asked.add(stage)
                self._send(self._nodes[stage], "progress", (), self._timeout, partial(_put, inbox, stage))
            while not inbox.empty():
                stage, answer = inbox.get()
                asked.discard(stage)
                if (failure := self._failure(stage, answer)) is not None:
                    return failure
                progress(answer)
            reason = late()
            return Failure(f"r{self._index}", reason, "") if reason else None

        return watch

    def _await_one(self, inbox: Inbox, answers: dict[int, Any], watch: Watch | None) -> Failure | None:
        """Wait a moment for one more answer; the failure that it is, or that `watch` has found."""
        try:
            stage, answer = inbox.get(timeout=_TICK_S)
        except queue.Empty:
            return watch() if watch else None
        answers[stage] = answer
        return self._failure(stage, answer)

    def _failure(self, stage: int, answer: Any) -> Failure | None:
        """The failure that an answer is, if it is one."""
        if isinstance(answer, _Silence):
            self._nodes[stage].dead = True
            return Failure(self._nodes[stage].name, answer.message, "")
        return answer if isinstance(answer, Failure) else None

    def _send(self, node: Node, method: str, args: tuple, timeout: float, deliver: Callable[[Any], None]) -> None:
        counter, envelope = self._caller.order(node.name, method, args)

        def read(done: torch.futures.Future) -> None:
            deliver(_outcome(done, partial(self._caller.read, node.name, counter, method)))

        try:
            send(node.rank, envelope, timeout).add_done_callback(read)
        except RuntimeError as error:
            deliver(_Silence(one_line(error)))

    def _cancel(self) -> None:
        """Tell all nodes to give up, and wait until the living have heard it."""
        inbox: Inbox = queue.SimpleQueue()
        alive = [node for node in self._nodes if not node.dead]
        for node in alive:
            self._send(node, "cancel", (), self._timeout, partial(_put, inbox, 0))
        for _ in alive:
            inbox.get()


def _outcome(future: torch.futures.Future, read: Callable[[Envelope], Any]) -> Any:
    try:
        return read(future.value().envelope)
    except Exception as error:  # whatever a peer makes this raise, somebody waits for an outcome
        return _Silence(f"no answer ({one_line(error)[:_LONGEST_REASON]})")


def _put(inbox: Inbox, stage: int, answer: Any) -> None:
    inbox.put((stage, answer))


def _causes(failures: Sequence[Failure]) -> Sequence[Failure]:
    """The failures that others followed from: a lost connection is the effect of a neighbour's failure."""
    effects = ("onnection closed", "gloo/transport")
    causes = [failure for failure in failures if not any(text in failure.message for text in effects)]
    return causes or failures
