"""A worker: a node in a process of its own, connected to the others of its replica.

The coordinator's orders are methods of `Worker`; the last lines of the file list them. Those that
compute are handed to the process's main thread, so that all tensors, generators and groups belong
to one thread. All are answered with a `Failure` where something went wrong: no exception crosses
the wire.
"""

import os
import threading
import traceback
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist

from tdml.errors import SettingError, one_line, origin, running_on
from tdml.members.rendezvous import Rendezvous
from tdml.node.devices import border_device, machine_kind
from tdml.node.frozen import Frozen
from tdml.node.main_thread import Ending, MainThread
from tdml.node.trace import Opening
from tdml.protocol.orders import (
    LONGEST_KIND,
    Assignment,
    Commitment,
    EvaluateOrder,
    Evaluation,
    Failure,
    Kind,
    Refused,
    RepeatOrder,
    Repetition,
    Shown,
    TrainOrder,
    TrainReport,
)
from tdml.protocol.statement import Digest
from tdml.settings.schema import Config
from tdml.wire.channel import Method
from tdml.wire.group import connect, disconnect, exchange, release
from tdml.wire.guard import Refusals

if TYPE_CHECKING:
    from tdml.node.node import Node, Step
    from tdml.node.pipeline import Pipeline

_THREADS_A_CORE = 4  # more than that slows a machine down more than another kind of it would


class Cancelled(Exception):
    """The coordinator no longer waits for this round."""


class Worker:
    """Carries out the coordinator's orders by a node, in one session after the other:
    `coordinator` is the key of whoever may call to the next."""

    def __init__(
        self,
        config: Config,
        node: "Node",
        device: torch.device,
        rendezvous: Rendezvous,
        refusals: Refusals,
        coordinator: str,
    ) -> None:
        self.config, self.node, self.device = config, node, device
        self._rendezvous, self._refusals, self._coordinator = rendezvous, refusals, coordinator
        self._session = ""
        self._cancelled = threading.Event()
        self._main_thread = MainThread(self._ending, self._cancelled.set)
        self.steps_done = 0
        self._pipeline: Pipeline | None = None
        self._frozen = Frozen(config.sync.timeout / 2)

    def begin(self, session: str) -> None:
        """Be ready for the orders of a session."""
        self._session = session
        self._cancelled.clear()

    def serve(self) -> int | Ending:
        """Carry out orders until the coordinator says stop, with which exit status, or until the
        session ends."""
        return self._main_thread.serve()

    def _ending(self) -> Ending | int | None:
        """Why the session is over, if it is; the exit status of the run if that is over."""
        try:
            called = self._rendezvous.called(self._coordinator)
            return Ending.CALLED if called else self._rendezvous.status()
        except dist.DistError:
            return Ending.GONE

    def order(self, name: str, arguments: tuple) -> Any:
        """The result of a method or a `Failure`; called on RPC threads."""
        method = getattr(self, name)
        if method.__func__ in _AT_ONCE:
            return self._answer(method, arguments)
        return self._main_thread.do(lambda: self._carry_out(method, arguments))

    def _carry_out(self, method: Callable[..., Any], arguments: tuple) -> Any:
        answer = self._answer(method, arguments)
        if isinstance(answer, Failure):
            # closes the connections, so that neighbours that wait for this node stop waiting
            self.leave()
        return answer

    def _answer(self, method: Callable[..., Any], arguments: tuple) -> Any:
        try:
            with running_on():
                return method(*arguments)
        except Exception as error:
            first = origin(error)
            kind = "" if isinstance(first, SettingError) else f"{type(first).__name__}: "
            failure = Failure(
                self.node.name, _utf8(f"{kind}{one_line(first)}"), _utf8(traceback.format_exc())
            )
            release(error)
            return failure

    # Orders that are carried out at once, on an RPC thread

    def progress(self) -> int:
        """Steps of the current round that are done. A sign of life: answered while an order is
        under way."""
        return self.steps_done

    def cancel(self) -> None:
        """Give up the order under way."""
        self._cancelled.set()

    def stop(self, status: int) -> None:
        """Give up the order under way, and end `serve`."""
        self._cancelled.set()
        self._main_thread.stop(status)

    def refused(self) -> Refused:
        """What has come by RPC since the last time that was no order of the coordinator's."""
        return self._refusals.take()

    def digests(self, vector: str) -> tuple[Digest, ...]:
        """See `Node.digests`."""
        return self.node.digests(vector)

    def reveal(self, vector: str, block: int) -> torch.Tensor:
        """See `Node.reveal`."""
        return self.node.reveal(vector, block)

    def hold(self, block: int, tensor: torch.Tensor) -> None:
        """See `Node.hold`."""
        self.node.hold(block, tensor)

    def open(self) -> Opening:
        """See `Node.open`."""
        return self.node.open()

    def shown(self) -> Shown:
        """See `Node.shown`."""
        return self.node.shown()

    # Orders that are carried out in their turn, on the main thread

    def join(self, assignment: Assignment) -> Kind:
        """Take a slot: connect to the replica's other nodes and make room for the stage's weights.
        Returns the kind of machine that this is."""
        # takes seconds, and the coordinator never needs it
        from tdml.node.pipeline import Pipeline
        from tdml.node.stage import Stage

        self.leave()
        self._cancelled.clear()
        threads, most = assignment.threads or 0, _THREADS_A_CORE * (os.cpu_count() or 1)
        if 0 < threads <= most and "OMP_NUM_THREADS" not in os.environ:
            torch.set_num_threads(threads)
        slot, topology = assignment.slot, self.config.topology
        store = dist.PrefixStore(self._session, self._rendezvous.store)
        connect(store, assignment, topology.stages, self.config.sync.timeout, self.device)
        border = border_device(self.device, assignment.backend)
        stage = Stage(self.config, slot.stage, assignment.plan, self.device, border)
        self._pipeline = Pipeline(stage, topology.schedule, self._go_on)
        self.node.sit(slot, stage, assignment.names, assignment.keys)
        return machine_kind(self.device)[:LONGEST_KIND]

    def leave(self) -> None:
        """Give up the slot and close the connections to the replica's other nodes."""
        self._pipeline = None
        disconnect()

    def missing(self, wanted: tuple[Digest, ...]) -> tuple[bool, ...]:
        """See `Frozen.find`."""
        return self._frozen.find(self.node.stage, wanted)

    def freeze(self, values: tuple[torch.Tensor, ...]) -> None:
        """See `Frozen.complete`."""
        self._frozen.complete(values)

    def load(self, weights: torch.Tensor) -> None:
        """See `Node.load`."""
        self.node.load(weights)

    def train(self, order: TrainOrder) -> TrainReport:
        """The round's local steps."""
        self.steps_done = 0
        losses = self._take(self.node.training(order, self.node.planned(order)))
        if order.bounds:
            self._agree()
        return self.node.trained(losses)

    def commit(self, round_number: int) -> Commitment:
        """See `Node.commit`."""
        return self.node.commit(round_number)

    def repeat(self, order: RepeatOrder) -> Repetition:
        """Steps again."""
        self._take(self.node.repeating(order))
        self._agree()
        return self.node.repeated()

    def evaluate(self, order: EvaluateOrder) -> Evaluation:
        """Losses of the global weights, or of a candidate, on some samples; known at the last stage
        only."""
        pipeline = self._in_pipeline()
        for batch in self.node.evaluating(order):
            pipeline.predict(batch.inputs, batch.observe, batch.passing)
        if order.log:
            self._agree()
        return self.node.evaluated()

    # What the orders share

    def _in_pipeline(self) -> "Pipeline":
        """The pipeline of its replica. It leaves that where something fails, or where it hears
        nothing of the coordinator for long."""
        if self._pipeline is None:
            raise RuntimeError("it has left its replica, and was not told to join again")
        return self._pipeline

    def _take(self, steps: "Iterator[Step]") -> list[float]:
        """The losses, which the last stage alone knows."""
        pipeline, losses = self._in_pipeline(), []
        for number, step in enumerate(steps):
            loss = pipeline.train_step(step.given, step.passing)
            losses += [] if loss is None else [loss]
            self.steps_done = number + 1
        return losses

    def _agree(self) -> None:
        """Compare logs with the other stages."""
        agreement = self.node.agreement
        offers = {peer: agreement.offer(peer) for peer in agreement.peers}
        agreement.accept(exchange(offers, self.node.stage.border_device))

    def _go_on(self) -> None:
        if self._cancelled.is_set():
            raise Cancelled(f"gave up after {self.steps_done} steps")


def _utf8(text: str) -> str:
    """Text that can be sent: names of files may hold what is no character."""
    return text.encode("utf-8", "replace").decode()


# What the coordinator may order. Those that compute are done on the main thread, in their turn.

_IN_TURN = (
    Worker.join, Worker.missing, Worker.freeze, Worker.load, Worker.train, Worker.commit,
    Worker.repeat, Worker.evaluate,
)  # fmt: skip
_AT_ONCE = (
    Worker.progress, Worker.cancel, Worker.stop, Worker.refused, Worker.digests, Worker.reveal,
    Worker.hold, Worker.open, Worker.shown,
)  # fmt: skip
METHODS = {function.__name__: Method.of(function) for function in (*_IN_TURN, *_AT_ONCE)}
