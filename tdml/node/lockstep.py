"""The stages of a replica without processes: one computes after the other, bit for bit what a
pipeline computes.

So a whole replica fits into one process; and the coordinator can take one step of one stage itself,
from the messages that others say the stage has received.
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
    """What a step of a stage needs besides the state."""

    inputs: torch.Tensor | None  # of the batch; None: this is not the first stage
    targets: torch.Tensor | None  # of the batch; None: this is not the last stage
    seed: int  # of all that the model draws at random
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
    """The inputs of a step of a replica's round at a stage: a function of the arguments alone.

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
    """Take one step with all stages of a replica, each with its own `given` and `passing`. Returns
    the batch's mean loss."""
    for stage in stages:
        stage.trainer.clear()
    _lend_tied(stages, passing)
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
    """Call `observe` with what the model returns for one batch, as `Pipeline.predict` does."""
    _lend_tied(stages, passing)
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
    messages: Mapping[int, Sequence[torch.Tensor]],
    wanted: int | None,
    one_by_one: bool,
) -> list[torch.Tensor]:
    """Take one step of one stage, from the state in which `stage.trainer` is; or of it as much as
    makes the message that is wanted.

    Args:
        messages: what the stage has received, a tensor for each micro-batch, by channel; at least
            those that the result depends on.
        wanted: the channel of the message to return; None: take the whole step, return nothing.
        one_by_one: whether each micro-batch goes forward and backward before the next, instead of
            all forward first. Code that repeats itself gives the same in both orders, and a
            pipeline's schedule is between the two.
    """
    received = Received(stage, messages)
    channel = stage.channels[wanted] if wanted is not None else None
    stage.trainer.clear()
    if stage.tie and channel is not None and channel.kind == TIED:
        return [value.clone() for value in stage.tie.values()]
    if stage.tie and stage.last:
        stage.tie.take(received.on(TIED, 0), None)
    if channel is not None and channel.kind != NORM:
        return _message(stage, given, received, channel, one_by_one)
    for part in stage.parts:
        _forward_backward(stage, part, given, received, one_by_one)
    if stage.tie and stage.first:
        stage.tie.add(received.on(TIED_GRADIENT, stage.plan.parts - 1), None)
    clip, parameters = stage.trainer.clip, stage.trainer.parameters
    own = clip.norms(parameters) if clip else torch.empty(0)
    if wanted is not None:
        return [own]
    if clip:
        clip.apply(parameters, received.norms(own), None)
    stage.trainer.update(given.lr)
    return []


class Received:
    """What a stage that takes a step alone has received, by channel."""

    def __init__(self, stage: Stage, messages: Mapping[int, Sequence[torch.Tensor]]) -> None:
        self._index, self._channels, self._messages = stage.index, stage.channels, messages
        self._numbers = {(c.kind, c.place): i for i, c in enumerate(stage.channels)}

    def on(self, kind: str, place: int) -> Sequence[torch.Tensor]:
        """The message of one kind that the part `place` of the model has sent."""
        return self._messages[self._numbers[kind, place]]

    def norms(self, own: torch.Tensor) -> list[torch.Tensor]:
        """The gradient norms of all stages, by stage; `own` are those of this one."""
        norms = {self._index: own}
        for number, channel in enumerate(self._channels):
            if channel.kind == NORM and channel.receiver == self._index:
                norms[channel.sender] = self._messages[number][0]
        return [norms[stage] for stage in sorted(norms)]


def _message(
    stage: Stage, given: StepInputs, received: Received, channel: Channel, one_by_one: bool
) -> list[torch.Tensor]:
    """What a part of the model sends on a channel that is not for norms."""
    if channel.kind == ACTIVATION:
        values = _values(stage, channel.place, given, received)
        with stage.training(given.seed, None):
            return [output.detach() for _, output in _forward(stage, channel.place, values)]
    passed = _forward_backward(stage, channel.place, given, received, one_by_one)
    if stage.tie and channel.kind == TIED_GRADIENT:
        return stage.tie.gradients()
    gradients = [gradient for gradient in passed if gradient is not None]
    assert len(gradients) == stage.microbatches
    return gradients


def _values(stage: Stage, part: int, given: StepInputs, received: Received) -> list[torch.Tensor]:
    """The inputs of a part of the model, one for each micro-batch.

    Raises:
        ValueError: an input has another shape than every pipeline has a buffer for: somebody has
            made it up, and to compute with it might take hours, and any memory.
    """
    if part == 0:
        assert given.inputs is not None
        return list(given.inputs.chunk(stage.microbatches))
    values, shape = received.on(ACTIVATION, part - 1), stage.plan.borders[part].shape
    if [value.shape for value in values] != [shape] * stage.microbatches:
        raise ValueError(f"activations that are not {stage.microbatches} of {tuple(shape)}")
    return [value.detach() for value in values]


def _forward_backward(
    stage: Stage, part: int, given: StepInputs, received: Received, one_by_one: bool
) -> list[torch.Tensor | None]:
    """All micro-batches forward and backward through a part. Returns the gradients of its
    inputs."""
    values, count = _values(stage, part, given, received), stage.microbatches
    last = part == stage.plan.parts - 1
    returned = [None] * count if last else received.on(GRADIENT, part + 1)
    size, passed = 1 if one_by_one else count, []
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
    """Both ends of the weights that are tied, with what passes there; [] if none are tied."""
    pairs = zip(stages, passing, strict=True)
    return [(stage.tie, passes) for stage, passes in pairs if stage.tie]


def _lend_tied(stages: Sequence[Stage], passing: Sequence[Passing | None]) -> None:
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
    """The losses of the last part's micro-batches, from the `first` on. In `run` they replace the
    outputs: the gradients start from them."""
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
    """Backward through a part, from the gradients of its outputs. Returns those of its inputs,
    None for the model's first part."""
    for (_, output), gradient in zip(run, returned, strict=True):
        output.backward(gradient)
    return [leaf.grad for leaf, _ in run]
