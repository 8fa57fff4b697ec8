"""A node: one stage of one replica, and what it does in a round. It knows nothing of processes, nor
of attacks.

Whoever drives the nodes of a replica (a process for each, or one for all) takes their steps
together, by the methods of `Steps`; all else a node does by itself.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch

from tdml.common.merkle import root
from tdml.data import pieces
from tdml.data.reader import BatchReader
from tdml.data.source import Source
from tdml.ledger.commit import commit_statement
from tdml.node.agreement import Agreement, evaluation_purpose, repetition_purpose, training_purpose
from tdml.node.evaluation import EvaluationBatch, Scores
from tdml.node.lockstep import StepInputs, given_for
from tdml.node.messages import Passing, empty_log
from tdml.node.stage import Stage
from tdml.node.trace import Opening, Trace
from tdml.protocol.identity import Identity
from tdml.protocol.orders import (
    AFTER,
    BEFORE,
    INNER,
    UPDATE,
    Commitment,
    EvaluateOrder,
    Evaluation,
    RepeatOrder,
    Repetition,
    Shown,
    Slot,
    TrainOrder,
    TrainReport,
    state_before,
)
from tdml.trust.commitment import block_digests, commitment, content, in_blocks


class Node:
    """A node, in one slot after the other. Between rounds it keeps nothing that matters, except the
    inner optimizer's state where `sync.inner_state=kept` asks for that."""

    def __init__(
        self, name: str, identity: Identity, job: str, seed: int, source: Source | None
    ) -> None:
        self.name, self.identity = name, identity
        self.job, self._seed, self._source = job, seed, source
        self.slot = Slot(-1, -1)
        self.stage: Stage  # from `sit` on
        self.weights = self.update = torch.empty(0)
        self._trace: Trace | None = None
        self._vectors: dict[str, tuple[torch.Tensor, ...]] = {}  # by name, in blocks
        # by digest, the optimizer's states that the last round began with, and ended with
        self.inner: dict[str, torch.Tensor] = {}
        # the optimizer's state after the round; []: it is not kept
        self._inner_after: list[torch.Tensor] = []
        self._play = ""  # of the round: the nonce of its order
        self._held: list[torch.Tensor] = []  # blocks of somebody else's vector
        self._shown = Shown((), ())

    def sit(self, slot: Slot, stage: Stage, names: Sequence[str], keys: Sequence[str]) -> None:
        """Take a slot. `names` and public `keys` are those of the replica's nodes, by stage."""
        self.slot, self.stage, self.names = slot, stage, tuple(names)
        self._reader = BatchReader(self._source if stage.first or stage.last else None, self._seed)
        self.agreement = Agreement(self.identity, self.job, slot, keys, stage.channels)

    def load(self, weights: torch.Tensor) -> None:
        """Take the global weights of the stage: (d_s,) float32."""
        assert weights.shape == (self.stage.layout.size,)
        self.weights = weights

    # Steps, which the nodes of a replica take together

    def planned(self, order: TrainOrder) -> int:
        """How many steps of the round to take; the same at all nodes of a replica."""
        return len(order.batches)

    def training(self, order: TrainOrder, steps: int) -> Iterator["Step"]:
        """The steps of the round, from the global weights. The update is kept for `commit`."""
        # of the round before nobody asks any more, and its states are large
        self._vectors, self._held = {}, []
        trainer = self.stage.trainer
        inner = self.inner.get(order.inner[self.slot.stage]) if order.inner else None
        # the coordinator orders nobody any more to go on from another state
        self.inner = {name: state for name, state in self.inner.items() if state is inner}
        trainer.go_on(self.weights, inner)
        self._play = order.nonce
        log = empty_log(len(order.batches), self.stage.channels) if order.bounds else None
        self._trace = None
        if log is not None:
            self._trace = Trace(order.bounds, self.weights, log, inner=inner)
        for step in range(steps):
            if self._trace and self._trace.wants(step):
                self._trace.keep(trainer.state())
            given = self._step_inputs(order, self.slot.replica, step, order.batches[step])
            yield from self._take_step(self.inputs_to_train_on(given, order.round), log, step)
        if log is not None:
            self.agreement.begin(training_purpose(order.round, order.nonce), log)
        self.update, *self._inner_after = trainer.outcome(self.weights)

    def repeating(self, order: RepeatOrder) -> Iterator["Step"]:
        """The steps of a repetition; its result is `repeated`."""
        trainer, start = self.stage.trainer, self._start_of(order)
        if order.first:
            assert start is not None
            trainer.resume(start)
        else:
            trainer.go_on(self.weights, start)
        log = empty_log(len(order.batches), self.stage.channels)
        states: list[str] = []
        for step, batch in enumerate(order.batches):
            shows = step == order.show
            if shows:
                # the state as it was given: what the trainer makes of it may have another form
                before = trainer.state() if step or start is None else start
                self._vectors[BEFORE] = in_blocks(before)
            given = self._step_inputs(order, order.replica, order.first + step, batch)
            yield from self._take_step(given, log, step, keeps=shows)
            if order.each or shows:
                state = trainer.state()
                states += [content(state)] if order.each else []
            if shows:
                self._vectors[AFTER] = in_blocks(state)
        self.agreement.begin(repetition_purpose(order), log)
        end, *left = trainer.outcome(self.weights) if order.last else [trainer.state()]
        reached = content(self.end_to_report(end, order), *left)
        self._repetition = Repetition(reached, log, (), tuple(states))

    def _start_of(self, order: RepeatOrder) -> torch.Tensor | None:
        """The state that a repetition starts from; at the round's start that of the inner
        optimizer, None if it is fresh."""
        if order.own:
            assert self._trace is not None
            return self._trace.before(order.first)
        given = order.first > 0 or bool(order.inner and order.inner[self.slot.stage])
        return self.held() if given else None

    def evaluating(self, order: EvaluateOrder) -> Iterator[EvaluationBatch]:
        """The batches of an evaluation; its result is `evaluated`."""
        weights = self.weights if order.candidate is None else self.weights + self.held()
        self.stage.write(weights)
        size = self.stage.batch_size
        count = -(-pieces.count(order.pieces) // size)
        log = empty_log(count if order.log else 0, self.stage.channels)
        scores = Scores(self.stage.task, with_rows=not order.check)
        again = order.check  # a cross-check asks the same of one candidate after the other
        for i, (inputs, targets) in enumerate(
            self._reader.evaluation_batches(order.pieces, size, again=again)
        ):
            passing = Passing() if order.log else None
            yield EvaluationBatch(inputs, targets, passing, scores)
            if passing is not None:
                passing.write(log[i])
        if order.log:
            self.agreement.begin(evaluation_purpose(order), log)
        losses = torch.cat(scores.losses)
        if self.stage.last and order.check:
            losses = self.losses_to_report(losses, order)
        self._evaluation = Evaluation(losses, scores.all_rows(), log)

    def _take_step(
        self, given: StepInputs, log: torch.Tensor | None, step: int, keeps: bool = False
    ) -> Iterator["Step"]:
        """Have whoever drives the node take one step, and write into the log which messages have
        passed. With `keeps` they are kept themselves, to be `shown`."""
        passing = Passing(keeps) if log is not None else None
        yield Step(given, passing)
        if log is not None and passing is not None:
            passing.write(log[step])
            if keeps:
                numbers = sorted(passing.kept)
                messages = tuple(tuple(passing.kept[number]) for number in numbers)
                self._shown = Shown(tuple(numbers), messages)

    def _step_inputs(
        self, order: TrainOrder | RepeatOrder, replica: int, step: int, batch: torch.Tensor
    ) -> StepInputs:
        """Return the inputs that a step of a replica's round has by the order."""
        return given_for(self.stage, self._reader, self._seed, order, replica, step, batch)

    # What comes of them

    def trained(self, losses: Sequence[float]) -> TrainReport:
        """The report of a round whose logs are agreed on."""
        if self._trace:
            self._trace.signatures = self.agreement.signatures
        return TrainReport(sum(losses) / len(losses) if self.stage.last else None)

    def repeated(self) -> Repetition:
        """The result of a repetition whose logs are agreed on."""
        return replace(self._repetition, signatures=self.agreement.signatures)

    def evaluated(self) -> Evaluation:
        """The result of an evaluation whose logs are agreed on."""
        signatures = self.agreement.signatures if len(self._evaluation.log) else ()
        return replace(self._evaluation, signatures=signatures)

    # Where a dishonest node does otherwise: an honest one hands on what it is given

    def inputs_to_train_on(self, given: StepInputs, round_number: int) -> StepInputs:
        """Return the inputs and targets that a step of the round is taken on. It is called before
        every step of `training`, not of `repeating`, with what the order says."""
        return given

    def update_to_commit(self, update: torch.Tensor, round_number: int) -> torch.Tensor:
        """Return the update that the node commits to, and reveals. `commit` calls it once a round,
        with the update that the training has made."""
        return update

    def end_to_report(self, end: torch.Tensor, order: RepeatOrder) -> torch.Tensor:
        """Return the state, or after the round's last step the update, that a repetition is said
        to have led to. It is called once, after the last step, with what they have led to."""
        return end

    def losses_to_report(self, losses: torch.Tensor, order: EvaluateOrder) -> torch.Tensor:
        """Return the losses of samples that are reported in a cross-check. It is called at the last
        stage only, after the last batch, with the losses that the node has found."""
        return losses

    # Commit, then reveal

    def commit(self, round_number: int) -> Commitment:
        """Fix the update that `reveal` will hand in, and all that an audit may ask for."""
        update = self.update = self.update_to_commit(self.update, round_number)
        self._vectors = {UPDATE: in_blocks(update)}
        blocks = block_digests(self._vectors[UPDATE]) + self._keep_inner()
        states = self._trace.seal(root(blocks)) if self._trace else ""
        if self._trace:
            shown = {0: self._trace.inner, **dict(enumerate(self._trace.kept, start=1))}
            self._vectors |= {
                state_before(w): in_blocks(s) for w, s in shown.items() if s is not None
            }
        held_to = commitment(round_number, self.name, root(blocks))
        commits = Commitment(held_to, states, blocks, "")
        statement = commit_statement(
            self.job, round_number, self._play, self.identity.public, self.name, commits
        )
        return replace(commits, signature=statement.sign(self.identity))

    def _keep_inner(self) -> tuple[str, ...]:
        """Keep the optimizer's state after the round for the next one; the state before it is kept,
        too, for the round may be asked for again. Returns the digests of the new state's blocks."""
        digests: tuple[str, ...] = ()
        for inner in self._inner_after:
            self._vectors[INNER] = in_blocks(inner)
            digests = block_digests(self._vectors[INNER])
            self.inner[root(digests)] = inner
        return digests

    def reveal(self, vector: str, block: int) -> torch.Tensor:
        """One block of a vector."""
        return self._vectors[vector][block]

    def digests(self, vector: str) -> tuple[str, ...]:
        """The digests of all blocks of a vector."""
        return block_digests(self._vectors[vector])

    def hold(self, block: int, tensor: torch.Tensor) -> None:
        """Take a block of another node's vector, after the blocks before it."""
        self._held = [*self._held[:block], tensor]

    def held(self) -> torch.Tensor:
        """The other node's vector, as far as it was handed over."""
        return torch.cat(self._held)

    def open(self) -> Opening:
        """Show the trace of this round."""
        assert self._trace is not None and self._trace.opening is not None
        return self._trace.opening

    def shown(self) -> Shown:
        """The tensors of the step that was to be shown."""
        return self._shown


@dataclass(frozen=True)
class Step:
    """A step that a node is to take: its inputs, and where the messages are noted that pass."""

    given: StepInputs
    passing: Passing | None
