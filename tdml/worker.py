"""A worker: one stage of one replica. It keeps nothing between rounds that matters.

The coordinator's orders are methods of `Worker`; the last lines of the file list them. They are handed to the process's
main thread, so that all tensors, generators and groups belong to one thread, and answered with a `Failure` where
something went wrong: no exception crosses the wire.
"""

import threading
import traceback
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from tdml.attacks.attacker import Attacker
from tdml.cluster.channel import Method
from tdml.cluster.devices import border_device, machine_kind
from tdml.cluster.group import connect, disconnect, release
from tdml.cluster.guard import Refusals
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
    Seat,
    TrainOrder,
    TrainReport,
)  # fmt: skip
from tdml.config import Config
from tdml.data.source import Source
from tdml.errors import SettingError, one_line, origin
from tdml.identity import Identity
from tdml.ledger.commit import commit_statement
from tdml.models.layout import change
from tdml.seeds import derive
from tdml.training.tape import Opening, Tape
from tdml.trust.commitment import commitment, content

if TYPE_CHECKING:
    from tdml.training.stage import Stage


class Cancelled(Exception):
    """The coordinator no longer waits for this round."""


class Worker:
    """One node. Its methods run on the main thread, one at a time."""

    def __init__(
        self, config: Config, name: str, device: torch.device, lobby: Lobby, source: Source | None,
        identity: Identity, job_id: str, refusals: Refusals,
    ) -> None:  # fmt: skip
        self.config, self.name, self.device = config, name, device
        self._lobby, self._source = lobby, source
        self._identity, self._job_id, self._refusals = identity, job_id, refusals
        self._cancelled = threading.Event()
        self._main_thread = MainThread(lobby.coordinator_lives, self._cancelled.set)
        self.steps_done = 0
        self._attacker = Attacker(config, name)
        self._seat: Seat | None = None
        self._stage: Stage | None = None
        self._weights = self._update = torch.empty(0)
        self._tape: Tape | None = None  # of the round, for its audit
        self._repeated = torch.empty(0)  # the result of the last repetition

    def serve(self) -> int | None:
        """Carry out orders until the coordinator says stop, with which exit status; None if it is gone without a
        word."""
        return self._main_thread.serve()

    def order(self, name: str, arguments: tuple) -> Any:
        """The result of a method or a `Failure`; called on RPC threads."""
        method = getattr(self, name)
        if method.__func__ in _AT_ONCE:
            return method(*arguments)
        return self._main_thread.do(lambda: self._carry_out(method, arguments))

    def _carry_out(self, method: Callable[..., Any], arguments: tuple) -> Any:
        try:
            return method(*arguments)
        except Exception as error:
            first = origin(error)
            kind = "" if isinstance(first, SettingError) else f"{type(first).__name__}: "
            failure = Failure(self.name, f"{kind}{one_line(first)}", traceback.format_exc())
            release(error)
            self.leave()  # closes the connections, so that neighbours that wait for this node stop waiting
            return failure

    # Orders that are carried out at once, on an RPC thread

    def progress(self) -> int:
        """Steps of the current round that are done. A sign of life: answered while an order is under way."""
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

    # Orders that are carried out in their turn, on the main thread

    def join(self, assignment: Assignment) -> Kind:
        """Take a seat: connect to the replica's other nodes and make room for the stage's weights. Returns the kind
        of machine that this is."""
        from tdml.training.stage import Stage  # seconds to import, and the coordinator never needs it

        self.leave()
        self._cancelled.clear()
        self._seat, stages = assignment.seat, self.config.topology.stages
        shared = connect(self._lobby.store, assignment, stages, self.config.sync.timeout, self.device)
        # Nodes that attack together may leave out steps. Whatever fails on one of them must come after this: the others
        # wait for its word.
        shared.set(f"attacks/{self._seat.stage}", str(self._attacker.attacks))
        attack = [shared.get(f"attacks/{stage}") == b"True" for stage in range(stages)]
        border = border_device(self.device, assignment.backend)
        self._stage = Stage(self.config, self._seat.stage, assignment.plan, self.device, border, self._source)
        self._attacker.sit(self._seat.replica, self._seat.stage, self._stage.layout, skips=all(attack))
        return machine_kind(self.device)[:LONGEST_KIND]

    def leave(self) -> None:
        """Give up the seat and close the connections to the replica's other nodes."""
        self._seat = self._stage = None
        disconnect()

    def load(self, weights: torch.Tensor) -> None:
        """Take the global weights of the stage: (d_s,) float32."""
        assert self._stage is not None
        assert weights.shape == (self._stage.layout.size,)
        if self._attacker.attacks and weights.shape == self._weights.shape:
            self._attacker.watch(change(self._weights, weights))
        self._weights = weights

    def train(self, order: TrainOrder) -> TrainReport:
        """Take the round's local steps from the global weights; the update is kept for `commit`."""
        assert self._stage is not None
        trainer, pipeline, steps = self._stage.trainer, self._stage.pipeline, len(order.batches)
        replica, self.steps_done = self._seat.replica, 0
        trainer.begin(self._weights)
        records = self._stage.records(steps) if order.edges else None
        self._tape = Tape(order.edges, self._weights, records) if order.edges else None
        losses = []
        for step in range(self._attacker.steps(steps, order.round)):
            self._go_on(f"step {step} of {steps}")
            if self._tape and self._tape.wants(step):
                self._tape.keep(trainer.state())
            inputs, labels = self._stage.reader.training_batch(order.round, replica, step, order.batches[step])
            if pipeline.first:
                inputs = self._attacker.inputs(inputs, order.round)
            if pipeline.last:
                labels = self._attacker.labels(labels, order.round)
            row = None if records is None else records[step]
            losses.append(self._step(order, replica, step, inputs, labels, row))
            self.steps_done = step + 1
        self._update = change(self._weights, trainer.weights())
        loss = sum(losses) / len(losses) if pipeline.last else None
        return TrainReport(steps, loss)

    def commit(self, order: CommitOrder) -> Commitment:
        """Fix the update that `reveal` will hand in, and all that an audit may ask for. Attackers corrupt it here."""
        self._update = self._attacker.update(self._update, order.round, order.knowledge)
        states = self._tape.seal(self._update) if self._tape else ""
        made = Commitment(commitment(order.round, self.name, content(self._update)), states, "")
        statement = commit_statement(self._job_id, order.round, self._identity.public, self.name, made)
        return replace(made, signature=statement.sign(self._identity))

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
        assert self._stage is not None
        trainer = self._stage.trainer
        if order.state is None:
            trainer.begin(self._weights)
        else:
            trainer.resume(order.state)
        records = self._stage.records(len(order.batches))
        for i, batch in enumerate(order.batches):
            self._go_on("a repetition")
            step = order.first + i
            inputs, labels = self._stage.reader.training_batch(order.round, order.replica, step, batch)
            self._step(order, order.replica, step, inputs, labels, records[i])
        end = change(self._weights, trainer.weights()) if order.last else trainer.state()
        self._repeated = self._attacker.repetition(end, order.replica, order.round)
        return Repetition(content(self._repeated), records)

    def repeated(self) -> torch.Tensor:
        """What the last repetition led to."""
        return self._repeated

    def evaluate(self, order: EvaluateOrder) -> Evaluation:
        """Losses of the global weights, or of a candidate, on some samples; known at the last stage only."""
        assert self._stage is not None
        weights = self._weights if order.update is None else self._weights + order.update
        losses, correct, records = self._stage.evaluate(
            weights, order.pieces, order.testimony, order.measured, lambda: self._go_on("an evaluation")
        )
        if order.testimony and self._stage.pipeline.last:
            losses = self._attacker.testimony(losses, order.candidate, order.round)
        return Evaluation(losses, correct, records)

    # What the orders share

    def _go_on(self, what: str) -> None:
        if self._cancelled.is_set():
            raise Cancelled(f"gave up {what}")

    def _step(
        self, order: TrainOrder | RepeatOrder, replica: int, step: int, inputs: torch.Tensor | None,
        labels: torch.Tensor | None, records: torch.Tensor | None,
    ) -> float | None:  # fmt: skip
        """One step of a replica's round, its own or another's: a function of the state and these numbers alone."""
        seed = derive(self.config.seed, "model", order.round, replica, self._seat.stage, step)
        lr = self._stage.schedule.rate(order.round, step, order.longest)
        return self._stage.trainer.step(inputs, labels, seed, lr, records)


# What the coordinator may order. All but the last few are done on the main thread, in their turn.

_IN_TURN = (
    Worker.join, Worker.load, Worker.train, Worker.commit, Worker.reveal, Worker.open, Worker.border, Worker.repeat,
    Worker.repeated, Worker.evaluate,
)  # fmt: skip
_AT_ONCE = (Worker.progress, Worker.cancel, Worker.stop, Worker.refused)
METHODS = {function.__name__: Method.of(function) for function in (*_IN_TURN, *_AT_ONCE)}
