"""The stages of a replica without processes: each computes when its turn is, bit for bit what a
pipeline computes.

So a whole replica fits into one process, and the coordinator can take one step of one stage itself,
from what others say that crossed its borders.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch

from tdml.common.seeds import derive
from tdml.data.reader import BatchReader
from tdml.models.compute import Runner
from tdml.node.messages import (
    ACTIVATION,
    GRADIENT,
    NORM,
    TIED,
    TIED_GRADIENT,
    Channel,
    Passing,
)
from tdml.node.stage import Stage
from tdml.node.tie import Tie
from tdml.protocol.orders import RepeatOrder, TrainOrder
from tdml.tasks.objective import mean_loss, sum_of_weights

# of what the model returns, (k, …), and the places in the batch, (k,)
Observer = Callable[[torch.Tensor, torch.Tensor], None]


@dataclass(frozen=True)
class StepInputs:
    """What a step takes besides the state: a batch where the stage reads it, the seed of what is
    drawn, the rate, and what each sample counts."""

    inputs: torch.Tensor | None
    targets: torch.Tensor | None
    seed: int
    lr: float
    weights: torch.Tensor | None = None  # of the samples; None: all count alike


def given_for(
    stage: Stage,
    reader: BatchReader,
    seed: int,
    order: TrainOrder | RepeatOrder,
    replica: int,
    step: int,
    batch: torch.Tensor,
) -> StepInputs:
    """What a step of a replica's round takes at a stage: a function of these alone.

    Args:
        seed: of the job.
        step: of the whole round, counted from 0.
        batch: the samples' indices, (k,) int64.
    """
    inputs = targets = None
    if stage.first or stage.last:
        inputs, targets = reader.training_batch(order.round, replica, step, batch)
    drawn = derive(seed, "model", order.round, replica, stage.index, step)
    lr = stage.schedule.rate(order.round, step, order.longest)
    return StepInputs(inputs, targets, drawn, lr, reader.weights(batch) if stage.last else None)


def train_step(
    stages: Sequence[Stage], given: Sequence[StepInputs], passing: Sequence[Passing | None]
) -> float:
    """One step of all stages, each with its own `given` and `passing`; the batch's mean loss."""
    for stage in stages:
        stage.trainer.clear()
    _lend(stages, passing)
    assert given[0].inputs is not None
    crossing = list(given[0].inputs.chunk(stages[0].microbatches))
    runs = []
    for part in range(stages[0].plan.parts):
        owner = part % len(stages)
        with stages[owner].training(given[owner].seed, passing[owner]):
            runs.append(_forward(stages[owner], part, crossing))
        crossing = [output.detach() for _, output in runs[-1]]
    losses = _losses(stages[-1], runs[-1], given[-1])
    returned: Sequence[torch.Tensor | None] = [None] * len(losses)
    for part in reversed(range(stages[0].plan.parts)):
        owner = part % len(stages)
        returned = _backward(runs[part], returned)
    if ties := _ties(stages, passing):
        gradients = ties[-1][0].gradients()
        for tie, passes in ties:
            tie.add(gradients, passes)
    norms = [
        stage.trainer.clip.norms(stage.trainer.parameters) for stage in stages if stage.trainer.clip
    ]
    for stage, own, passes in zip(stages, given, passing, strict=True):
        if stage.trainer.clip:
            stage.trainer.clip.apply(stage.trainer.parameters, norms, passes)
        stage.trainer.update(own.lr)
    return float(torch.stack([loss.detach() for loss in losses]).sum())


@torch.no_grad()
def predict(
    stages: Sequence[Stage],
    inputs: torch.Tensor,
    observe: Observer,
    passing: Sequence[Passing | None],
) -> None:
    """Have `observe` see what the model returns for one batch, as `Pipeline.predict` does."""
    _lend(stages, passing)
    crossing = list(stages[0].padded(inputs).chunk(stages[0].microbatches))
    for part in range(stages[0].plan.parts):
        owner = part % len(stages)
        with stages[owner].evaluating(passing[owner]):
            runner = _runner(stages[owner], part)
            crossing = [runner(value) for value in crossing]
    for output, places in zip(
        crossing, torch.arange(stages[0].batch_size).chunk(len(crossing)), strict=True
    ):
        observe(output, places)


def take_alone(
    stage: Stage,
    given: StepInputs,
    received: Mapping[int, Sequence[torch.Tensor]],
    wanted: int | None,
    in_turn: bool,
) -> list[torch.Tensor]:
    """One step of one stage, which stands where `stage.trainer` has resumed, or as much of it as a
    message takes.

    Args:
        received: by channel, each micro-batch's tensor; those that what is wanted depends on.
        wanted: the channel of the message to return; None: the whole step is taken, and nothing
            returned.
        in_turn: whether each micro-batch goes forward and back before the next, instead of all
            forward first. Of code that repeats itself the same comes: pipelines do some of either.
    """
    told = Received(stage, received)
    channel = stage.channels[wanted] if wanted is not None else None
    stage.trainer.clear()
    if stage.tie and channel is not None and channel.kind == TIED:
        return [value.clone() for value in stage.tie.values()]
    if stage.tie and stage.last:
        stage.tie.take(told.on(TIED, 0), None)
    if channel is not None and channel.kind != NORM:
        return _message(stage, given, told, channel, in_turn)
    for part in stage.parts:
        _there_and_back(stage, part, given, told, in_turn)
    if stage.tie and stage.first:
        stage.tie.add(told.on(TIED_GRADIENT, stage.plan.parts - 1), None)
    clip, parameters = stage.trainer.clip, stage.trainer.parameters
    own = clip.norms(parameters) if clip else torch.empty(0)
    if wanted is not None:
        return [own]
    if clip:
        clip.apply(parameters, told.norms(own), None)
    stage.trainer.update(given.lr)
    return []


class Received:
    """What a stage that takes a step alone has received, by channel."""

    def __init__(self, stage: Stage, received: Mapping[int, Sequence[torch.Tensor]]) -> None:
        self._index, self._channels, self._received = stage.index, stage.channels, received
        self._numbers = {(c.kind, c.place): i for i, c in enumerate(stage.channels)}

    def on(self, kind: str, place: int) -> Sequence[torch.Tensor]:
        """The message of some kind that a part of the model has sent."""
        return self._received[self._numbers[kind, place]]

    def norms(self, own: torch.Tensor) -> list[torch.Tensor]:
        """Every stage's, with its own."""
        norms = {self._index: own}
        for number, channel in enumerate(self._channels):
            if channel.kind == NORM and channel.receiver == self._index:
                norms[channel.sender] = self._received[number][0]
        return [norms[stage] for stage in sorted(norms)]


def _message(
    stage: Stage, given: StepInputs, told: Received, channel: Channel, in_turn: bool
) -> list[torch.Tensor]:
    """What a part of the model sends, besides norms."""
    if channel.kind == ACTIVATION:
        values = _values(stage, channel.place, given, told)
        with stage.training(given.seed, None):
            return [output.detach() for _, output in _forward(stage, channel.place, values)]
    passed = _there_and_back(stage, channel.place, given, told, in_turn)
    if stage.tie and channel.kind == TIED_GRADIENT:
        return stage.tie.gradients()
    gradients = [gradient for gradient in passed if gradient is not None]
    assert len(gradients) == stage.microbatches
    return gradients


def _values(stage: Stage, part: int, given: StepInputs, told: Received) -> list[torch.Tensor]:
    """What comes into a part.

    Raises:
        ValueError: somebody says that it has received what no pipeline has a buffer for, which may
            take hours to compute with, and any memory.
    """
    if part == 0:
        assert given.inputs is not None
        return list(given.inputs.chunk(stage.microbatches))
    values, shape = told.on(ACTIVATION, part - 1), stage.plan.borders[part].shape
    if [value.shape for value in values] != [shape] * stage.microbatches:
        raise ValueError(f"activations that are not {stage.microbatches} of {tuple(shape)}")
    return [value.detach() for value in values]


def _there_and_back(
    stage: Stage, part: int, given: StepInputs, told: Received, in_turn: bool
) -> list[torch.Tensor | None]:
    """All micro-batches through a part; the gradients to pass on."""
    values, count = _values(stage, part, given, told), stage.microbatches
    last = part == stage.plan.parts - 1
    returned = [None] * count if last else told.on(GRADIENT, part + 1)
    size, passed = 1 if in_turn else count, []
    with stage.training(given.seed, None):
        for first in range(0, count, size):
            run = _forward(stage, part, values[first : first + size])
            if last:
                _losses(stage, run, given, first)
            passed += _backward(run, returned[first : first + size])
    return passed


def _ties(
    stages: Sequence[Stage], passing: Sequence[Passing | None]
) -> list[tuple[Tie, Passing | None]]:
    """The two ends that share weights, and what passes them; none where there are no such."""
    pairs = zip(stages, passing, strict=True)
    return [(stage.tie, passes) for stage, passes in pairs if stage.tie]


def _lend(stages: Sequence[Stage], passing: Sequence[Passing | None]) -> None:
    if ties := _ties(stages, passing):
        values = ties[0][0].values()
        for tie, passes in ties:
            tie.take(values, passes)


Run = list[tuple[torch.Tensor, torch.Tensor]]  # by micro-batch: what came in, and what came out


def _runner(stage: Stage, part: int) -> Runner:
    return stage.runners[list(stage.parts).index(part)]


def _forward(stage: Stage, part: int, values: Sequence[torch.Tensor]) -> Run:
    runner = _runner(stage, part)
    leaves = [value.clone().requires_grad_(part > 0) for value in values]
    return [(leaf, runner(leaf)) for leaf in leaves]


def _losses(stage: Stage, run: Run, given: StepInputs, first: int = 0) -> list[torch.Tensor]:
    """The losses of the last part for some micro-batches, from the `first` on, put in the place of
    its outputs, from which gradients go back."""
    assert given.targets is not None
    place = slice(first, first + len(run))
    pieces = given.targets.chunk(stage.microbatches)[place]
    weights: Sequence[torch.Tensor | None] = [None] * len(pieces)
    if given.weights is not None:
        weights = given.weights.chunk(stage.microbatches)[place]
    total = sum_of_weights(stage.training_task, given.targets, given.weights)
    losses = [
        mean_loss(stage.training_task, output, right, total, counts)
        for (_, output), right, counts in zip(run, pieces, weights, strict=True)
    ]
    run[:] = [(leaf, loss) for (leaf, _), loss in zip(run, losses, strict=True)]
    return losses


def _backward(run: Run, returned: Sequence[torch.Tensor | None]) -> list[torch.Tensor | None]:
    """Gradients through a part, and those to pass on; the first passes none."""
    for (_, output), gradient in zip(run, returned, strict=True):
        output.backward(gradient)
    return [leaf.grad for leaf, _ in run]
