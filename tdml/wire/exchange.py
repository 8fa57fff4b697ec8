"""An order to all nodes of a replica at once, and one outcome: the answers of all of them, or why
there are none."""

import queue
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch

from tdml.errors import one_line
from tdml.protocol.orders import Failure, ReplicaLost
from tdml.wire.channel import Caller
from tdml.wire.endpoint import send
from tdml.wire.guard import Envelope

_TICK_S = 0.25
_ORIGIN = r" \(this error originated at [^)]*\)"  # in the sources of TensorPipe
_TIMEOUT = r"RPC ran for more than set timeout \((\d{1,9}) ms\)"
_LONGEST_REASON = 500  # characters of an error that a peer may have a part in


@dataclass
class Peer:
    """One worker process. A node keeps its name; its slot may change, and its rank is that in the
    present session."""

    name: str
    rank: int
    visit: str = ""  # of the process: another one if it has started again
    came: int = 0  # as the how-manieth, the last time that it did
    sees_data: bool = True
    banned: bool = False
    dead: bool = False
    left: bool = False  # it is dead, and has said goodbye before
    refused: bool = False  # from the start: its key may not take part
    out: bool = False  # it has given its slot to a spare
    # numbers of orders, and since when an answer is missing
    awaited: dict[int, float] = field(default_factory=dict)

    @property
    def fate(self) -> str:
        """Why it may have no slot, in a word; "" if it may."""
        fates = ("refused", "banned", "left", "dead", "out")
        return next((fate for fate in fates if getattr(self, fate)), "")

    @property
    def usable(self) -> bool:
        """Whether it may have a slot."""
        return not self.fate


@dataclass(frozen=True)
class _Silence:
    """RPC could not reach a node, or lost it."""

    message: str


Inbox = queue.SimpleQueue[tuple[int, Any]]  # stages, and what came from them


@dataclass(frozen=True)
class _Heard:
    """What came of telling a node to give up."""

    outcome: Any


class Watch:
    """Asks nodes that may take their time for signs of life: one that does not answer is found at
    its timeout.

    Args:
        late: asked as often; the reason to give up waiting, if there is one.
        progress: hears how many steps a node has done.
    """

    def __init__(
        self, exchange: "Exchange", late: Callable[[], str | None], progress: Callable[[int], None]
    ) -> None:
        self._exchange, self._late, self._progress = exchange, late, progress
        self._inbox: Inbox = queue.SimpleQueue()
        self._asked: set[int] = set()

    def lost(self) -> Failure | None:
        """The failure of a node that has not answered within its timeout, or that RPC has lost."""
        for stage in self._exchange.alive - self._asked:
            self._asked.add(stage)
            self._exchange.send(stage, "progress", (), partial(_put, self._inbox, stage))
        while not self._inbox.empty():
            stage, answer = self._inbox.get()
            self._asked.discard(stage)
            if (failure := self._exchange.failure(stage, answer)) is not None:
                return failure
            self._progress(answer)
        return None

    def late(self) -> Failure | None:
        """Why not to wait any longer, if there is a reason."""
        reason = self._late()
        return Failure(f"r{self._exchange.index}", reason, "") if reason else None


class Exchange:
    """What the coordinator and the nodes of replica `index` say to each other. A node that is
    silent for `timeout` seconds is marked dead."""

    def __init__(self, index: int, nodes: Sequence[Peer], timeout: float, caller: Caller) -> None:
        self.index, self._nodes, self._timeout, self._caller = index, nodes, timeout, caller
        # once: some have given up, and can do nothing together before they join again
        self.failed = False

    @property
    def alive(self) -> set[int]:
        """The stages whose nodes are not dead."""
        return {stage for stage, node in enumerate(self._nodes) if not node.dead}

    def ask(self, method: str, arguments: Sequence[tuple], watch: Watch | None = None) -> list[Any]:
        """The answers of all nodes to an order, a method of `tdml.node.worker.Worker`, by stage.
        With `watch`, a node may take as long as `watch` allows.

        Raises:
            ReplicaLost: one of them has failed, or fell silent. The others have been told to give
                up.
        """
        answers = self._ask(method, dict(enumerate(arguments)), watch)
        return [answers[stage] for stage in range(len(self._nodes))]

    def ask_one(self, stage: int, method: str, *args: Any) -> Any:
        """The answer of one node to an order that it carries out by itself. Raises as `ask`: it
        has not answered, nor is anybody else to blame, if it says that it cannot."""
        try:
            return self._ask(method, {stage: args}, None)[stage]
        except ReplicaLost as loss:
            name = self._nodes[stage].name
            raise ReplicaLost(self.index, str(loss), [name], loss.detail) from loss

    def _ask(
        self, method: str, arguments: Mapping[int, tuple], watch: Watch | None
    ) -> dict[int, Any]:
        if dead := arguments.keys() - self.alive:
            raise self._lost(
                [
                    Failure(self._nodes[stage].name, "it no longer answers", "")
                    for stage in sorted(dead)
                ],
                dead,
            )
        inbox: Inbox = queue.SimpleQueue()
        for stage, args in arguments.items():
            self.send(stage, method, args, partial(_put, inbox, stage), patient=watch is not None)
        answers: dict[int, Any] = {}
        told: set[int] = set()  # to give up; whether they have heard it is not known yet
        failures: list[Failure] = []
        give_up_at = float("inf")
        while (self.alive & arguments.keys()) - (
            answers.keys() - told
        ) and time.monotonic() <= give_up_at:
            failure = self._await_one(inbox, answers, told) or self._look(watch, late=not failures)
            if failure is None:
                continue
            if not failures:
                give_up_at = time.monotonic() + self._timeout
                told |= self._cancel(inbox) & arguments.keys()
            failures.append(failure)
        for stage in arguments:
            self._nodes[stage].dead |= stage not in answers
        for stage in arguments.keys() - answers.keys() if not failures else ():
            failures.append(Failure(self._nodes[stage].name, "it is gone", ""))
        if failures:
            raise self._lost(failures, [stage for stage in arguments if self._nodes[stage].dead])
        return answers

    def _lost(self, failures: Sequence[Failure], silent: Iterable[int]) -> ReplicaLost:
        """The replica's group must be formed again. `silent`: the stages that do not answer."""
        self.failed = True
        causes = [f"{failure.node}: {failure.message}" for failure in _causes(failures)]
        said = "; ".join(dict.fromkeys(causes))
        detail = "\n".join(failure.detail for failure in failures if failure.detail)
        return ReplicaLost(self.index, said, [self._nodes[stage].name for stage in silent], detail)

    def failure(self, stage: int, answer: Any) -> Failure | None:
        """The failure that an answer is, if it is one."""
        if isinstance(answer, _Silence):
            self._nodes[stage].dead = True
            return Failure(self._nodes[stage].name, answer.message, "")
        return answer if isinstance(answer, Failure) else None

    def send(
        self,
        stage: int,
        method: str,
        args: tuple,
        deliver: Callable[[Any], None],
        patient: bool = False,
    ) -> None:
        """Give an order to one node; `deliver` gets its answer, or its silence after the timeout:
        with `patient` it has none."""
        node = self._nodes[stage]
        counter, envelope = self._caller.order(node.name, method, args)
        if not patient:
            node.awaited[counter] = time.monotonic()

        def read(done: torch.futures.Future) -> None:
            node.awaited.pop(counter, None)
            deliver(_outcome(done, partial(self._caller.read, node.name, counter, method)))

        try:
            send(node.rank, envelope, 0 if patient else self._timeout).add_done_callback(read)
        except RuntimeError as error:
            node.awaited.pop(counter, None)
            deliver(_Silence(one_line(error)))

    def _await_one(self, inbox: Inbox, answers: dict[int, Any], told: set[int]) -> Failure | None:
        """Wait a moment for one more answer; the failure that it is."""
        try:
            stage, answer = inbox.get(timeout=_TICK_S)
        except queue.Empty:
            return None
        if isinstance(answer, _Heard):
            told.discard(stage)
            silent = isinstance(answer.outcome, _Silence) and stage not in answers
            return self.failure(stage, answer.outcome) if silent else None
        answers[stage] = answer
        return self.failure(stage, answer)

    def _look(self, watch: Watch | None, late: bool) -> Failure | None:
        if watch is None:
            return None
        return watch.lost() or (watch.late() if late else None)

    def _cancel(self, inbox: Inbox) -> set[int]:
        """Tell all living nodes to give up; their stages."""
        alive = self.alive
        for stage in alive:
            self.send(stage, "cancel", (), partial(_hear, inbox, stage))
        return alive


def _outcome(future: torch.futures.Future, read: Callable[[Envelope], Any]) -> Any:
    try:
        return read(future.value().envelope)
    except Exception as error:  # whatever a peer makes this raise, somebody waits for an outcome
        reason = re.sub(_ORIGIN, "", one_line(error))
        if match := re.search(_TIMEOUT, reason):
            return _Silence(f"no answer for {int(match[1]) / 1000:g} s")
        return _Silence(f"no answer ({reason[:_LONGEST_REASON]})")


def _hear(inbox: Inbox, stage: int, outcome: Any) -> None:
    inbox.put((stage, _Heard(outcome)))


def _put(inbox: Inbox, stage: int, answer: Any) -> None:
    inbox.put((stage, answer))


def _causes(failures: Sequence[Failure]) -> Sequence[Failure]:
    """The failures that others followed from: a lost connection is the effect of a neighbour's
    failure."""
    effects = ("onnection closed", "gloo/transport")
    causes = [
        failure for failure in failures if not any(text in failure.message for text in effects)
    ]
    return causes or failures
