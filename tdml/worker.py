"""A worker: one stage of one replica. It keeps nothing between rounds that matters.

`obey`, at the end of the file, is what the coordinator calls by RPC. It hands its work to the process's main
thread, so that all tensors, generators and groups belong to one thread, and it answers with a `Failure` where
something went wrong: no exception crosses the wire.
"""

import contextlib
import math
import threading
import traceback
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import torch
import torch.distributed as dist
import torch.nn.functional as F

from tdml.attacks.attacker import Attacker
from tdml.cluster.channel import Listener, Method, Session
from tdml.cluster.devices import border_device, machine_kind
from tdml.cluster.guard import Envelope, Guard, Refusals
from tdml.cluster.lobby import Lobby
from tdml.cluster.main_thread import MainThread
from tdml.cluster.messages import (
    LONGEST_KIND,
    Assignment,
    Commitment,
    CommitOrder,
    EvaluateOrder,
    Evaluation,
    Failure,
    Kind,
    Refused,
    RepeatOrder,
    Repetition,
    TrainOrder,
    TrainReport,
)  # fmt: skip
from tdml.config import Config
from tdml.data import pieces
from tdml.data.reader import Reader
from tdml.data.source import Source
from tdml.errors import one_line
from tdml.identity import Identity
from tdml.ledger.commit import commit_statement
from tdml.models.layout import Layout, change
from tdml.models.split import build
from tdml.seeds import derive
from tdml.training import borders
from tdml.training.tape import Opening, Tape
from tdml.trust.commitment import commitment, content

if TYPE_CHECKING:
    from tdml.training.pipeline import Pipeline
    from tdml.training.trainer import Trainer


class Cancelled(Exception):
    """The coordinator no longer waits for this round."""


class Worker:
    """One node. Its methods run on the main thread, one at a time."""

    def __init__(self, config: Config, name: str, device: torch.device, lobby: Lobby, source: Source | None) -> None:
        self.config, self.name, self.device = config, name, device
        self._lobby, self._source = lobby, source
        self._main_thread = MainThread(lobby.coordinator_lives)
        self._cancelled = threading.Event()
        self.identity, self.job_id, self.refusals = Identity.new(), "", Refusals()  # until it is installed
        self.steps_done = 0
        self._attacker = Attacker(config, name)
        self._assignment: Assignment | None = None
        self._pipeline: Pipeline | None = None
        self._trainer: Trainer | None = None
        self._layout: Layout | None = None
        self._tensors: list[torch.Tensor] = []
        self._weights = torch.empty(0)
        self._update = torch.empty(0)
        self._tape: Tape | None = None  # of the round, for its audit
        self._repeated = torch.empty(0)  # the result of the last repetition
        self._reader = Reader(None, config.seed)

    def serve(self) -> bool:
        """Carry out orders until the coordinator says stop; false if it is gone without a word."""
        return self._main_thread.serve()

    def order(self, name: str, arguments: tuple) -> Any:
        """The result of a method or a `Failure`; called on RPC threads."""
        method = getattr(self, name)
        if method.__func__ in _AT_ONCE:
            return method(*arguments)
        return self._main_thread.do(lambda: self._carry_out(method, arguments))

    def _carry_out(self, method: Callable[..., Any], arguments: tuple) -> Any:
        try:
            result = method(*arguments)
        except Exception as error:
            result = Failure(self.name, f"{type(error).__name__}: {one_line(error)}", traceback.format_exc())
        if isinstance(result, Failure):
            self.leave()  # closes the connections, so that neighbours that wait for this node stop waiting
        return result

    # Orders that are carried out at once, on an RPC thread

    def progress(self) -> int:
        """Steps of the current round that are done. A sign of life: answered while an order is under way."""
        return self.steps_done

    def cancel(self) -> None:
        """Give up the order under way."""
        self._cancelled.set()

    def stop(self) -> None:
        """End `serve`."""
        self._main_thread.stop()

    def refused(self) -> Refused:
        """What has come by RPC since the last time that was no order of the coordinator's."""
        return self.refusals.take()

    # Orders that are carried out in their turn, on the main thread

    def join(self, assignment: Assignment) -> Kind:
        """Take a seat: connect to the replica's other nodes and make room for the stage's weights. Returns the kind
        of machine that this is."""
        from tdml.training.pipeline import Pipeline  # seconds to import, and the coordinator never needs it
        from tdml.training.trainer import Trainer

        self.leave()
        self._cancelled.clear()
        seat, plan, stages = assignment.seat, assignment.plan, self.config.topology.stages
        store = dist.PrefixStore(f"replica{seat.replica}/generation{assignment.generation}", self._lobby.store)
        store.set(f"attacks/{seat.stage}", str(self._attacker.attacks))
        dist.init_process_group(
            assignment.backend,
            store=store,
            rank=seat.stage,
            world_size=stages,
            timeout=timedelta(seconds=self.config.sync.timeout),
            device_id=self.device if assignment.backend == "nccl" else None,
        )
        parts = plan.cut(build(self.config.model, "meta"), plan.parts_of(seat.stage, stages))
        for part in parts:
            part.materialise(self.device)
        self._layout = Layout.of(parts)
        self._tensors = [t for part in parts for t in part.tensors(part.parameters)]
        self._tensors += [t for part in parts for t in part.tensors(part.buffers)]
        self._pipeline = Pipeline(
            [part.module for part in parts], plan, seat.stage, stages, self.config.topology.schedule,
            self.config.microbatches, self.device, border_device(self.device, assignment.backend),
        )  # fmt: skip
        reads = self._pipeline.first or self._pipeline.last
        self._reader = Reader(self._source if reads else None, self.config.seed)
        self._trainer = Trainer(self._pipeline, self._layout, self._tensors, self.config.train)
        self._assignment = assignment
        attack = [store.get(f"attacks/{stage}") == b"True" for stage in range(stages)]
        self._attacker.sit(seat.replica, seat.stage, self._layout, skips=all(attack))
        return machine_kind(self.device)[:LONGEST_KIND]

    def leave(self) -> None:
        """Give up the seat and close the connections to the replica's other nodes."""
        self._assignment = self._pipeline = self._layout = self._trainer = None
        self._tensors = []
        if dist.is_initialized():
            with contextlib.suppress(RuntimeError):  # the neighbours may be gone already
                dist.group.WORLD.abort()  # NCCL would wait for them
                dist.destroy_process_group()

    def load(self, weights: torch.Tensor) -> None:
        """Take the global weights of the stage: (d_s,) float32."""
        assert self._layout is not None
        assert weights.shape == (self._layout.size,)
        if self._attacker.attacks and weights.shape == self._weights.shape:
            self._attacker.watch(change(self._weights, weights))
        self._weights = weights

    def train(self, order: TrainOrder) -> TrainReport:
        """Take the round's local steps from the global weights; the update is kept for `commit`."""
        assert self._assignment is not None
        assert self._trainer is not None
        replica, steps, self.steps_done = self._assignment.seat.replica, len(order.batches), 0
        self._trainer.begin(self._weights)
        records = self._records(steps) if order.edges else None
        self._tape = Tape(order.edges, self._weights, records) if order.edges else None
        losses = []
        for step in range(self._attacker.steps(steps, order.round)):
            if self._cancelled.is_set():
                raise Cancelled(f"gave up at step {step} of {steps}")
            if self._tape and self._tape.wants(step):
                self._tape.keep(self._trainer.state())
            inputs, labels = self._reader.training_batch(order.round, replica, step, order.batches[step])
            if self._pipeline.first:
                inputs = self._attacker.inputs(inputs, order.round)
            if self._pipeline.last:
                labels = self._attacker.labels(labels, order.round)
            losses.append(self._step(order.round, replica, step, inputs, labels, records, step))
            self.steps_done = step + 1
        self._update = change(self._weights, self._trainer.weights())
        loss = sum(losses) / len(losses) if self._pipeline.last else None
        return TrainReport(steps, loss)

    def commit(self, order: CommitOrder) -> Commitment:
        """Fix the update that `reveal` will hand in, and all that an audit may ask for. Attackers corrupt it here."""
        self._update = self._attacker.update(self._update, order.round, order.knowledge)
        states = self._tape.seal(self._update) if self._tape else ""
        made = Commitment(commitment(order.round, self.name, content(self._update)), states, "")
        statement = commit_statement(self.job_id, order.round, self.identity.public, self.name, made)
        return replace(made, signature=statement.sign(self.identity))

    def reveal(self) -> torch.Tensor:
        """Hand in the update."""
        return self._update

    # Audits

    def open(self, windows: tuple[int, ...]) -> Opening:
        """Show what was kept of some windows of this round."""
        assert self._tape is not None
        return self._tape.open(windows)

    def border(self, window: int) -> torch.Tensor | None:
        """The state before a window of this round; None before the first."""
        assert self._tape is not None
        return self._tape.border(window)

    def repeat(self, order: RepeatOrder) -> Repetition:
        """Take a window of another replica's steps again; what they lead to is kept for `repeated`."""
        assert self._trainer is not None
        if order.state is None:
            self._trainer.begin(self._weights)
        else:
            self._trainer.resume(order.state)
        records = self._records(len(order.batches))
        for i, batch in enumerate(order.batches):
            if self._cancelled.is_set():
                raise Cancelled("gave up a repetition")
            step = order.first + i
            inputs, labels = self._reader.training_batch(order.round, order.replica, step, batch)
            self._step(order.round, order.replica, step, inputs, labels, records, i)
        end = change(self._weights, self._trainer.weights()) if order.last else self._trainer.state()
        self._repeated = self._attacker.repetition(end, order.replica, order.round)
        return Repetition(content(self._repeated), records)

    def repeated(self) -> torch.Tensor:
        """What the last repetition led to."""
        return self._repeated

    def evaluate(self, order: EvaluateOrder) -> Evaluation:
        """Losses of the global weights, or of a candidate, on some samples; known at the last stage only."""
        assert self._pipeline is not None
        assert self._layout is not None
        weights = self._weights if order.update is None else self._weights + order.update
        self._layout.scatter(weights, self._tensors)
        losses, correct = [torch.empty(0)], [torch.empty(0, dtype=torch.bool)]
        size = self._pipeline.batch_size
        records = self._records(math.ceil(pieces.count(order.pieces) / size)) if order.testimony else None
        # A cross-check asks the same of one candidate after the other.
        batches = self._reader.evaluation_batches(order.pieces, size, again=order.testimony)
        for i, (inputs, labels) in enumerate(batches):
            if self._cancelled.is_set():
                raise Cancelled("gave up an evaluation")
            logits = self._pipeline.predict(inputs, None if records is None else records[i], order.measured)
            if logits is not None:
                logits = logits[: len(labels)].float().cpu()
                losses.append(F.cross_entropy(logits, labels, reduction="none"))
                correct.append(logits.argmax(dim=1) == labels)
        reported = torch.cat(losses)
        if order.testimony and self._pipeline.last:
            reported = self._attacker.testimony(reported, order.candidate, order.round)
        return Evaluation(reported, torch.cat(correct), records)

    # What the orders share

    def _step(
        self, round_number: int, replica: int, step: int, inputs: torch.Tensor | None, labels: torch.Tensor | None,
        records: torch.Tensor | None, row: int,
    ) -> float | None:  # fmt: skip
        """One step of a replica's round, its own or another's: a function of the state and these numbers alone."""
        seed = derive(self.config.seed, "model", round_number, replica, self._assignment.seat.stage, step)
        return self._trainer.step(inputs, labels, seed, None if records is None else records[row])

    def _records(self, steps: int) -> torch.Tensor:
        return borders.empty(steps, len(self._pipeline.modules), self.config.microbatches)


# What the coordinator may order. All but the last few are done on the main thread, in their turn.

_IN_TURN = (
    Worker.join, Worker.load, Worker.train, Worker.commit, Worker.reveal, Worker.open, Worker.border, Worker.repeat,
    Worker.repeated, Worker.evaluate,
)  # fmt: skip
_AT_ONCE = (Worker.progress, Worker.cancel, Worker.stop, Worker.refused)
METHODS = {function.__name__: Method.of(function) for function in (*_IN_TURN, *_AT_ONCE)}


# The endpoint. A process is one worker, installed before RPC starts.

_listener: Listener | None = None


def install(worker: Worker, identity: Identity, at: Session, coordinator: str) -> None:
    """Make this process answer as `worker`, to the coordinator with that public key only."""
    global _listener  # noqa: PLW0603
    guard = Guard(obey)
    worker.identity, worker.job_id, worker.refusals = identity, at.job, guard.refusals
    _listener = Listener(identity, at, worker.name, coordinator, METHODS, worker.order, guard.refusals)
    guard.install()


def obey(header: bytes, tensors: Sequence[torch.Tensor], signature: str) -> Envelope:
    """The one function that is called by RPC: see `Listener.obey`."""
    assert _listener is not None
    return _listener.obey(header, tensors, signature)
