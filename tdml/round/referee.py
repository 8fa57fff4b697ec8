"""The judge of a proof: the coordinator takes one step of one stage itself, from what all have
agreed on so far."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import torch

from tdml.data import pieces
from tdml.data.reader import BatchReader
from tdml.errors import one_line
from tdml.models.layout import change
from tdml.node.devices import machine_kind
from tdml.node.evaluation import EvaluationBatch, Scores
from tdml.node.lockstep import StepInputs, given_for, predict, take_alone
from tdml.node.messages import Passing, digest_of, empty_log
from tdml.node.stage import Stage
from tdml.protocol.orders import EvaluateOrder, Evaluation, RepeatOrder, ReplicaLost
from tdml.round.job import Job
from tdml.round.repeat import Claim
from tdml.round.rounding import Rounding
from tdml.round.shown import StepShown
from tdml.trust.commitment import content
from tdml.trust.dispute import END, STATE, Item
from tdml.trust.numbers import AGAIN
from tdml.trust.tolerance import relative_error

_HOST = torch.device("cpu")
_BY_ONE_COPY = 8  # repetitions, of those before a ban: to make a copy may take longer than they do


@dataclass(frozen=True)
class Recomputation:
    """An item of a window as the coordinator has made it, its `value`, and what was shown to it of
    its step. Sizes are measured by `origin`: a state's by the step's change."""

    claim: Claim
    item: Item
    shown: StepShown
    value: list[torch.Tensor]
    origin: list[torch.Tensor]

    @property
    def digest(self) -> str:
        """Of the item, if the coordinator is right."""
        return item_digest(self.item, self.value)


class CannotRead(Exception):
    """The coordinator cannot read the samples of a step, which says nothing of who has taken it."""


class Referee:
    """Holds the stages that it has had to take steps of, on the coordinator's processor."""

    def __init__(self, job: Job) -> None:
        self._job = job
        self._stages: dict[int, Stage] = {}
        self._reader = BatchReader(job.source, job.config.seed)
        self.kind = machine_kind(_HOST)
        self.train = job.config.train
        self.batch_size = job.config.train.effective_batch_size

    def recompute(
        self,
        claim: Claim,
        item: Item,
        shown: StepShown,
        in_turn: bool = False,
        rounding: Rounding | None = None,
    ) -> Recomputation:
        """Take the step of an item of a window, from what was shown.

        Args:
            in_turn: see `take_alone`.
            rounding: changes all numbers that the step reads; of the weights it is taken off again.

        Raises:
            ReplicaLost: all agree on messages with which the step cannot be taken: a model may
                raise anything at what no honest stage has, or is sent.
            CannotRead: here its samples cannot be read.
        """
        order, weights = claim.order, claim.weights[item.stage]
        stage = self._stage(item.stage)
        wanted = item.channel if item.channel >= 0 else None
        given, messages = self._read(stage, order, item.step), shown.messages
        try:
            before = _begin(stage, claim, item, shown.before)
            moved = torch.zeros_like(weights)
            if rounding is not None:
                given, messages = rounding.inputs(given), rounding.messages(messages)
                begun = before[: len(weights)]
                stage.write(begun + rounding.of(begun))
                # not what was added: of a constant that is taken off again nothing may remain
                moved = change(begun, stage.trainer.state()[: len(weights)])
                self._freeze([stage], rounding)
            passed = take_alone(stage, given, messages, wanted, in_turn)
        except Exception as error:
            del self._stages[item.stage]
            text = (
                f"a step of stage {item.stage} cannot be taken from what it shows: "
                f"{one_line(error)}"
            )
            raise ReplicaLost(order.replica, text) from error
        value, origin = _made(stage, item, weights, before, passed)
        if rounding is not None:
            self._freeze([stage])
        if rounding is not None and item.channel < 0:
            value[0][: len(weights)] -= moved
        return Recomputation(claim, item, shown, value, origin)

    def _read(self, stage: Stage, order: RepeatOrder, step: int) -> StepInputs:
        """What a step takes of the data. Raises CannotRead."""
        place = order.replica, order.first + step, order.batches[step]
        with _reading(f"a batch that replica {order.replica} has trained on"):
            return given_for(stage, self._reader, self._job.config.seed, order, *place)

    def insists(self, done: Recomputation, times: int) -> bool:
        """Whether a step comes out as it did every time that it is taken again, whatever the order
        of its micro-batches, for that of a pipeline is another than the coordinator's; and by
        whatever copy of the stage, for nodes have others, which lie elsewhere in memory."""
        for i in range(times):
            if i % _BY_ONE_COPY == 0:
                self._renew([done.item.stage])
            again = self.recompute(done.claim, done.item, done.shown, in_turn=bool(i % 2))
            if again.digest != done.digest:
                return False
        return True

    def spread(self, done: Recomputation) -> float:
        """How far from what the coordinator has found rounding alone may lead: the largest error
        among some steps that are taken from numbers that are changed by as little. A model may
        refuse some of these."""
        errors = [0.0]
        for seed in range(AGAIN):
            rounding = Rounding(self.train, seed)
            with suppress(ReplicaLost):
                other = self.recompute(done.claim, done.item, done.shown, rounding=rounding)
                errors.append(self.error(done, other.value))
        return max(errors)

    def evaluate(
        self,
        order: EvaluateOrder,
        weights: Sequence[torch.Tensor],
        update: Sequence[torch.Tensor],
        batch: int,
        rounding: Rounding | None = None,
    ) -> Evaluation:
        """One batch of an evaluation of the global weights, or of these with an update, by stage;
        `rounding` changes the numbers that it reads. Raises CannotRead, and whatever the model does
        with an update that no honest one is like."""
        values = [w + u for w, u in zip(weights, update, strict=True)] if update else weights
        asked = self._job.source, order.pieces, self.batch_size, batch
        with _reading("a batch that others have evaluated"):
            inputs, targets = pieces.one_batch(*asked)
        stages = [self._stage(index) for index in range(len(weights))]
        if rounding is not None:
            values = [value + rounding.of(value) for value in values]
            inputs = inputs + rounding.of(inputs)
            self._freeze(stages, rounding)
        for stage, value in zip(stages, values, strict=True):
            stage.write(value)
        passing, log = [Passing() for _ in stages], empty_log(1, self._job.channels)
        scores = Scores(self._job.task, with_rows=not order.check)
        observe = EvaluationBatch(inputs, targets, None, scores).observe
        try:
            predict(stages, inputs, observe, passing)
        except Exception:
            self._stages.clear()
            raise
        if rounding is not None:
            self._freeze(stages)
        for passes in passing:  # both ends of a channel note the same
            passes.write(log[0])
        return Evaluation(torch.cat(scores.losses), scores.all_rows(), log)

    def insists_on_evaluation(
        self,
        order: EvaluateOrder,
        weights: Sequence[torch.Tensor],
        update: Sequence[torch.Tensor],
        batch: int,
        truth: Evaluation,
        times: int,
    ) -> bool:
        """As `insists`, of what `evaluate` has found."""
        for i in range(times):
            if i % _BY_ONE_COPY == 0:
                self._renew(range(len(weights)))
            try:
                again = self.evaluate(order, weights, update, batch)
            except Exception:  # which it did not raise before
                return False
            if not is_equal(again, truth):
                return False
        return True

    def error(self, done: Recomputation, value: list[torch.Tensor]) -> float:
        """How far what somebody else has made of an item is from what the coordinator has; infinite
        where it has another form."""
        if [(t.shape, t.dtype) for t in value] != [(t.shape, t.dtype) for t in done.value]:
            return float("inf")
        return max(
            relative_error(*parts)
            for number, triple in enumerate(zip(done.origin, done.value, value, strict=True))
            for parts in zip(*(self._pieces(done.item, number, t) for t in triple), strict=True)
        )

    def _pieces(self, item: Item, number: int, tensor: torch.Tensor) -> list[torch.Tensor]:
        """A tensor of an item in pieces that are each of one kind."""
        if item.channel >= 0:
            return [tensor]
        state = self._job.states[item.stage]
        return state.inner.sections(tensor) if number else state.sections(tensor)

    def _stage(self, index: int) -> Stage:
        if index not in self._stages:
            self._stages[index] = self._new_copy(index)
        return self._stages[index]

    def _renew(self, indices: Iterable[int]) -> None:
        """Hold other copies of some stages. The former ones are kept until these are made, or they
        could take their places in memory."""
        self._stages |= {index: self._new_copy(index) for index in indices}

    def _new_copy(self, index: int) -> Stage:
        stage = Stage(self._job.config, index, self._job.plan, _HOST, _HOST)
        self._freeze([stage])
        return stage

    def _freeze(self, stages: Iterable[Stage], rounding: Rounding | None = None) -> None:
        """Give stages what is not trained, as it is or as rounding changes it."""
        for stage in stages:
            frozen = self._job.frozen[stage.index]
            stage.freeze(frozen if rounding is None else frozen + rounding.of(frozen))


@contextmanager
def _reading(what: str) -> Iterator[None]:
    """A data set may raise anything, which is `CannotRead`."""
    try:
        yield
    except Exception as error:
        raise CannotRead(f"the coordinator cannot read {what}: {one_line(error)}") from error


def _begin(stage: Stage, claim: Claim, item: Item, before: torch.Tensor | None) -> torch.Tensor:
    """Have a stage stand where the step of an item begins, from the state that was shown; that
    state."""
    if claim.order.first + item.step == 0:
        stage.trainer.go_on(claim.weights[item.stage], before)
    else:
        assert before is not None
        stage.trainer.resume(before)
    return stage.trainer.state()


def _made(
    stage: Stage,
    item: Item,
    weights: torch.Tensor,
    before: torch.Tensor,
    passed: list[torch.Tensor],
) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """What a step has made of an item, and from where the error of that is measured.

    Args:
        before: the state from which it was taken.
        passed: what it has sent through the item's channel, if it is of one.
    """
    if item.channel == STATE:
        return [stage.trainer.state()], [before]
    if item.channel == END:  # an update, and beside it there may be an inner state
        value = stage.trainer.outcome(weights)
        return value, [torch.zeros_like(value[0]), before[len(weights) :]][: len(value)]
    return passed, [torch.zeros_like(tensor) for tensor in passed]


def is_equal(one: Evaluation, other: Evaluation) -> bool:
    """Whether two evaluations of the same found the same."""
    return (
        _same_numbers(one.losses, other.losses)
        and _same_numbers(one.rows, other.rows)
        and torch.equal(one.log, other.log)
    )


def _same_numbers(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Equal to the last bit, and NaN to NaN."""
    alike = (one.shape, one.dtype) == (other.shape, other.dtype)
    return alike and torch.allclose(one, other, rtol=0, atol=0, equal_nan=True)


def item_digest(item: Item, value: list[torch.Tensor]) -> str:
    """The digest of an item of which somebody has made these tensors."""
    return digest_of(value).hex() if item.channel >= 0 else content(*value)
