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
    """An item of a window as the coordinator has made it, its `value`, and what was shown to it of
    its step. Sizes are measured by `origin`: a state's by the step's change. `drew`: whether the
    model draws at random there."""

    window: Window
    item: Item
    shown: StepShown
    value: list[torch.Tensor]
    origin: list[torch.Tensor]
    drew: bool

    @property
    def digest(self) -> str:
        """Of the item, if the coordinator is right."""
        return item_digest(self.item, self.value)


class CannotRead(Exception):
    """The coordinator cannot read the samples of a step, which says nothing of who has taken it."""


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
        order, weights = window.order, window.weights[item.stage]
        stage = self._copies.of(item.stage)
        wanted = item.channel if item.channel >= 0 else None
        given, messages = self._read(stage, order, item.step), shown.messages
        try:
            before = _begin(stage, window, item, shown.before)
            moved = torch.zeros_like(weights)
            if rounding is not None:
                given, messages = rounding.inputs(given), rounding.messages(messages)
                stage.shift(rounding.of)
                # not what was added: of a constant that is taken off again nothing may remain
                moved = change(before[: len(weights)], stage.trainer.state()[: len(weights)])
            with running_on():
                passed = take_alone(stage, given, messages, wanted, in_turn)
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
                value[0][: len(weights)] -= moved
        return Recomputation(window, item, shown, value, origin, stage.has_drawn())

    def _read(self, stage: Stage, order: RepeatOrder, step: int) -> StepInputs:
        """What a step takes of the data. Raises CannotRead."""
        place = order.replica, order.first + step, order.batches[step]
        with reading(f"a batch that replica {order.replica} has trained on"):
            return given_for(stage, self._reader, self._job.config.seed, order, *place)

    def insists(self, done: Recomputation, times: int) -> bool:
        """Whether a step comes out as it did every time that it is taken again, whatever the order
        of its micro-batches, for that of a pipeline is another than the coordinator's; and by
        whatever copy of the stage."""
        for i in self._copies.renewed([done.item.stage], times):
            again = self.recompute(done.window, done.item, done.shown, in_turn=bool(i % 2))
            if again.digest != done.digest:
                return False
        return True

    def spread(self, done: Recomputation) -> float:
        """How far from what the coordinator has found rounding alone may lead: the largest error
        among some steps that are taken from numbers that are changed by as little. A model may
        refuse some of these; if it refuses all, nobody knows how far."""
        errors: list[float] = []
        for seed in range(AGAIN):
            rounding = Rounding(self._job.config.train, seed)
            with suppress(ReplicaLost):
                other = self.recompute(done.window, done.item, done.shown, rounding=rounding)
                errors.append(self.error(done, other.value))
        return max(errors, default=math.inf)

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


@contextmanager
def reading(what: str) -> Iterator[None]:
    """A data set may raise anything, which is `CannotRead`."""
    try:
        with running_on():
            yield
    except Exception as error:
        raise CannotRead(f"the coordinator cannot read {what}: {one_line(error)}") from error


def _begin(stage: Stage, window: Window, item: Item, before: torch.Tensor | None) -> torch.Tensor:
    """Have a stage stand where the step of an item begins, from the state that was shown; that
    state."""
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
    """What a step has made of an item, and from where the error of that is measured.

    Args:
        before: the state from which it was taken.
        passed: what it has sent through the item's channel, if it is of one.
    """
    if item.channel == STATE:
        return [stage.trainer.state()], [before]
    if item.channel == END:  # an update, and beside it there may be an inner state
        value = stage.trainer.outcome(weights)
        begun = change(weights, before[: len(weights)])  # measured by the step, as states are
        return value, [begun, before[len(weights) :]][: len(value)]
    return passed, [torch.zeros_like(tensor) for tensor in passed]


def item_digest(item: Item, value: list[torch.Tensor]) -> str:
    """The digest of an item of which somebody has made these tensors."""
    return digest_of(value).hex() if item.channel >= 0 else content(*value)
