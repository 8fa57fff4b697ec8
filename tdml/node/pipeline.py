"""One node's end of its replica's pipeline, on torch.distributed.pipelining."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.distributed.pipelining import (
    PipelineStage,
    Schedule1F1B,
    ScheduleGPipe,
    ScheduleInterleaved1F1B,
)
from torch.distributed.pipelining.schedules import PipelineScheduleMulti, PipelineScheduleSingle

from tdml.node.lockstep import Observer, StepInputs
from tdml.node.messages import Passing
from tdml.node.stage import Stage
from tdml.tasks.objective import mean_loss, sum_of_weights

_SINGLE: dict[str, type[PipelineScheduleSingle]] = {"gpipe": ScheduleGPipe, "1f1b": Schedule1F1B}


class _StaticStage(PipelineStage):
    """A stage whose shapes are what it was built with, whatever its neighbours say.

    torch has the stages of a pipeline vote on that: if one of them votes against it, all of them
    ask each other, and unpickle what a neighbour answers, by which a hostile one runs code here. So
    votes are cast, for they connect the neighbours, and none is counted.
    """

    def _warmup_forward_vote(
        self, has_backward: bool, received_acc: torch.Tensor | None = None
    ) -> torch.Tensor:
        return torch.ones_like(super()._warmup_forward_vote(has_backward, received_acc))

    def _warmup_backward_result(self, received_result: torch.Tensor | None = None) -> torch.Tensor:
        return torch.ones_like(super()._warmup_backward_result(received_result))


class Pipeline:
    """The stages that a node holds, and the schedule that runs them over the default process group.

    Args:
        stage: what the node holds. Shapes are static: every micro-batch has the first border's
            shape.
        go_on: asked for every micro-batch, forward and backward; what it raises ends the step. A
            neighbour may keep the node waiting for each of them for as long as it may be silent.
    """

    def __init__(self, stage: Stage, schedule: str, go_on: Callable[[], None]) -> None:
        self._stage, self._border_device = stage, stage.border_device
        for runner in stage.runners:
            _ask(runner, go_on)
        built = [
            self._build(runner, i) for runner, i in zip(stage.runners, stage.parts, strict=True)
        ]
        # targets, the sum of their weights, and the samples' own
        self._batch: tuple[torch.Tensor, torch.Tensor, torch.Tensor | None] | None = None
        # who sees what the model returns where nothing is trained
        self._observe: Observer | None = None
        # losses add up to the batch's, so that gradients need not be gone through to scale them
        how: dict[str, Any] = {"loss_fn": self._loss, "scale_grads": False}
        if schedule == "interleaved_1f1b":
            self._schedule: PipelineScheduleSingle | PipelineScheduleMulti = (
                ScheduleInterleaved1F1B([*built], stage.microbatches, **how)
            )
        else:
            self._schedule = _SINGLE[schedule](built[0], stage.microbatches, **how)

    def _build(self, module: nn.Module, index: int) -> _StaticStage:
        # Left to itself the library infers shapes by running the module on uninitialised memory,
        # which ruins BatchNorm's running statistics.
        plan = self._stage.plan
        return _StaticStage(
            module,
            index,
            plan.parts,
            self._border_device,
            input_args=plan.borders[index].example(requires_grad=index > 0),
            output_args=plan.borders[index + 1].example(requires_grad=True),
        )

    def train_step(self, given: StepInputs, passing: Passing | None) -> float | None:
        """Forward and backward of one batch, and the optimizer's step; gradients are those of the
        mean over its samples, by their weights.

        What crosses the node's borders is noted in `passing`, if there is one. Returns the batch's
        mean loss at the last stage.
        """
        trainer, tie = self._stage.trainer, self._stage.tie
        losses: list[torch.Tensor] = []
        trainer.clear()
        if tie is not None:
            tie.lend(passing)
        with self._stage.training(given.seed, passing):
            if self._stage.last:
                assert given.targets is not None
                targets = given.targets.to(self._border_device)
                weights = None if given.weights is None else given.weights.to(targets.device)
                total = sum_of_weights(self._stage.training_task, targets, weights)
                self._batch = targets, total, weights
            self._schedule.step(
                *self._inputs(given.inputs), **self._places(losses), return_outputs=False
            )
        if tie is not None:
            tie.give_back(passing)
        if trainer.clip is not None:
            norms = trainer.clip.exchange(trainer.clip.norms(trainer.parameters))
            trainer.clip.apply(trainer.parameters, norms, passing)
        trainer.update(given.lr)
        return float(torch.stack(losses).detach().sum()) if self._stage.last else None

    @torch.no_grad()
    def predict(
        self, inputs: torch.Tensor | None, observe: Observer, passing: Passing | None
    ) -> None:
        """Have `observe` see, at the last stage, what the model returns for one batch in evaluation
        mode, a micro-batch at a time: all logits of a language model would take more memory than
        the model. The batch may be short: it is padded."""
        self._batch, self._observe = None, observe
        if self._stage.tie is not None:
            self._stage.tie.lend(passing)
        with self._stage.evaluating(passing):
            if inputs is not None:
                inputs = self._stage.padded(inputs)
            self._schedule.eval(*self._inputs(inputs), **self._places([]), return_outputs=False)

    def _inputs(self, inputs: torch.Tensor | None) -> tuple[torch.Tensor, ...]:
        if not self._stage.first:
            return ()
        assert inputs is not None
        return (inputs.to(self._border_device),)

    def _places(self, losses: list[torch.Tensor]) -> dict[str, Any]:
        """The schedule cuts tensors of one dimension alike: it is given the samples' places in the
        batch."""
        places = torch.arange(self._stage.batch_size, device=self._border_device)
        return {"target": places, "losses": losses} if self._stage.last else {}

    def _loss(self, output: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
        """A micro-batch's part of its batch's. The schedule asks for one even where nothing is
        trained."""
        if self._batch is None:
            assert self._observe is not None
            self._observe(output, places)
            return output.new_zeros(())
        targets, total, weights = self._batch
        own = None if weights is None else weights[places]
        return mean_loss(self._stage.training_task, output, targets[places], total, own)


def _ask(runner: nn.Module, go_on: Callable[[], None]) -> None:
    """Have `go_on` called whenever a part of the model is given something."""

    def on_the_way_back(_: nn.Module, inputs: object, output: torch.Tensor) -> None:
        if output.requires_grad:
            output.register_hook(lambda gradient: go_on())

    runner.register_forward_pre_hook(lambda *_: go_on())
    runner.register_forward_hook(on_the_way_back)
