"""The judge of a proof: the coordinator takes one step of one stage itself, from what all have
agreed on so far."""

import math
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import torch

from tdml.data.reader import BatchReader
from tdml.errors import one_line, running_on
from tdml.models.layout import change
from tdml.node.devices import machine_kind
from tdml.node.lockstep import StepInputs, given_for, take_alone
from tdml.node.messages import digest_of
from tdml.node.stage import Stage
from tdml.protocol.orders import RepeatOrder, ReplicaLost
from tdml.round.copies import HOST, Copies
from tdml.round.job import Job
from tdml.round.repeat import Window
from tdml.round.rounding import Rounding
from tdml.round.shown import StepShown
from tdml.trust.commitment import content
from tdml.trust.dispute import END, STATE, Item
from tdml.trust.numbers import AGAIN
from tdml.trust.tolerance import relative_error


@dataclass(frozen=True)
class Recomputation:
    """An item of a window as the coordinator finds it when it takes the step itself."""

    window: Window
    item: Item
    shown: StepShown  # what the step was taken from
    value: list[torch.Tensor]  # the tensors of the item, as the coordinator has made them
    origin: list[torch.Tensor]  # errors are relative to `value` less this: for a state, to the step
    drew: bool  # whether the model has drawn random numbers in the step

    @property
    def digest(self) -> str:
        """The digest that the item must have, if the coordinator is right."""
        return item_digest(self.item, self.value)


class CannotRead(Exception):
    """The coordinator cannot read the samples of a step. That proves nothing against whoever has
    taken it."""


class Referee:
    """Takes steps with the coordinator's `copies` of the stages."""

    def __init__(self, job: Job, copies: Copies) -> None:
        self._job, self._copies = job, copies
        self._reader = BatchReader(job.source, job.config.seed)
        self.kind = machine_kind(HOST)

    def recompute(
        self,
        window: Window,
        item: Item,
        shown: StepShown,
        one_by_one: bool = False,
        rounding: Rounding | None = None,
    ) -> Recomputation:
        """Take the step of an item of a window, from what was shown.

        Args:
            one_by_one: see `take_alone`.
            rounding: changes all numbers that the step reads; of the weights it is taken off again.

        Raises:
            ReplicaLost: all agree on messages with which the step cannot be taken: a model may
                raise anything at what no honest stage has, or is sent.
            CannotRead: here its samples cannot be read.
        """
        order, weights = window.order, window.weights[item.stage]
        stage = self._copies.stage(item.stage)
        wanted = item.channel if item.channel >= 0 else None
        given, messages = self._read(stage, order, item.step), shown.messages
        try:
            before = _begin(stage, window, item, shown.before)
            noise = torch.zeros_like(weights)
            if rounding is not None:
                given, messages = rounding.inputs(given), rounding.messages(messages)
                stage.shift(rounding.noise)
                # not what was added: of a constant that is taken off again nothing may remain
                noise = change(before[: len(weights)], stage.trainer.state()[: len(weights)])
            with running_on():
                passed = take_alone(stage, given, messages, wanted, one_by_one)
        except Exception as error:
            self._copies.drop([item.stage])
            text = (
                f"a step of stage {item.stage} cannot be taken from what it shows: "
                f"{one_line(error)}"
            )
            raise ReplicaLost(order.replica, text) from error
        value, origin = _made(stage, item, weights, before, passed)
        if rounding is not None:
            self._copies.freeze([item.stage])
            if item.channel < 0:
                value[0][: len(weights)] -= noise
        return Recomputation(window, item, shown, value, origin, stage.has_drawn())

    def _read(self, stage: Stage, order: RepeatOrder, step: int) -> StepInputs:
        """The inputs of a step. Raises CannotRead."""
        place = order.replica, order.first + step, order.batches[step]
        with reading(f"a batch that replica {order.replica} has trained on"):
            return given_for(stage, self._reader, self._job.config.seed, order, *place)

    def reproduces(self, recomputed: Recomputation, times: int) -> bool:
        """Whether the coordinator finds the same every time that it takes a step again: in both
        orders of micro-batches, for a pipeline's is not the coordinator's, and with new copies of
        the stage."""
        for i in self._copies.renewed([recomputed.item.stage], times):
            again = self.recompute(
                recomputed.window, recomputed.item, recomputed.shown, one_by_one=bool(i % 2)
            )
            if again.digest != recomputed.digest:
                return False
        return True

    def spread(self, recomputed: Recomputation) -> float:
        """How far rounding alone may lead from what the coordinator has found: the largest error of
        some steps that start from numbers which are changed by as little as rounding does. A model
        may refuse such numbers; infinite if it refuses all of them, for then nobody knows."""
        errors: list[float] = []
        for seed in range(AGAIN):
            rounding = Rounding(self._job.config.train, seed)
            with suppress(ReplicaLost):
                other = self.recompute(
                    recomputed.window, recomputed.item, recomputed.shown, rounding=rounding
                )
                errors.append(self.error(recomputed, other.value))
        return max(errors, default=math.inf)

    def error(self, recomputed: Recomputation, value: list[torch.Tensor]) -> float:
        """The relative error of `value`, which somebody else shows of the item, beside what the
        coordinator has found; infinite where it has another form."""
        if [(t.shape, t.dtype) for t in value] != [(t.shape, t.dtype) for t in recomputed.value]:
            return float("inf")
        return max(
            relative_error(*parts)
            for number, triple in enumerate(
                zip(recomputed.origin, recomputed.value, value, strict=True)
            )
            for parts in zip(
                *(self._pieces(recomputed.item, number, t) for t in triple), strict=True
            )
        )

    def _pieces(self, item: Item, number: int, tensor: torch.Tensor) -> list[torch.Tensor]:
        """Cut a tensor of an item where its kind of number changes: parameters, buffers, and each
        of the optimizer's slots have a scale of their own."""
        if item.channel >= 0:
            return [tensor]
        state = self._job.states[item.stage]
        return state.inner.sections(tensor) if number else state.sections(tensor)


@contextmanager
def reading(what: str) -> Iterator[None]:
    """Turns whatever a data set raises into `CannotRead`."""
    try:
        with running_on():
            yield
    except Exception as error:
        raise CannotRead(f"the coordinator cannot read {what}: {one_line(error)}") from error


def _begin(stage: Stage, window: Window, item: Item, before: torch.Tensor | None) -> torch.Tensor:
    """Put a stage into the state that was shown, where the step of an item begins. Returns the
    whole state."""
    if window.order.first + item.step == 0:
        stage.trainer.go_on(window.weights[item.stage], before)
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
    """The `value` and the `origin` of a `Recomputation`, after the stage has taken the step.

    Args:
        weights: the global weights of the stage.
        before: the state that the step started from.
        passed: what the stage has sent on the item's channel, if the item is a message.
    """
    if item.channel == STATE:
        return [stage.trainer.state()], [before]
    if item.channel == END:  # an update, and beside it there may be an inner state
        value = stage.trainer.outcome(weights)
        begun = change(weights, before[: len(weights)])  # measured by the step, as states are
        return value, [begun, before[len(weights) :]][: len(value)]
    return passed, [torch.zeros_like(tensor) for tensor in passed]


def item_digest(item: Item, value: list[torch.Tensor]) -> str:
    """The digest of an item that consists of these tensors."""
    return digest_of(value).hex() if item.channel >= 0 else content(*value)
