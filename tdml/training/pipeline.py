"""One node's end of its replica's pipeline, on torch.distributed.pipelining."""

from collections.abc import Sequence
from functools import partial

import torch
from torch import nn
from torch.distributed.pipelining import PipelineStage, Schedule1F1B, ScheduleGPipe, ScheduleInterleaved1F1B

from tdml.config import Train
from tdml.models.compute import Runner, training_loss
from tdml.models.plan import Plan
from tdml.training.borders import Recorder

_SINGLE = {"gpipe": ScheduleGPipe, "1f1b": Schedule1F1B}


class Pipeline:
    """The stages that a node holds, and the schedule that runs them over the default process group.

    Args:
        modules: the node's parts of the model, in order, on `device`.
        train: how they compute, and the loss.
        plan: where the model is cut. Shapes are static: every micro-batch has the first border's shape.
        stage, stages: the node's place in its replica.
        border_device: where tensors lie when they cross: `device` itself, or the host.
    """

    def __init__(
        self, modules: Sequence[nn.Module], train: Train, plan: Plan, stage: int, stages: int, schedule: str,
        microbatches: int, device: torch.device, border_device: torch.device,
    ) -> None:  # fmt: skip
        self.modules = list(modules)
        self.first, self.last = stage == 0, stage == stages - 1
        self.batch_size = plan.borders[0].shape[0] * microbatches
        self._border_device = border_device
        indices = plan.parts_of(stage, stages)
        runners = [Runner(m, train, i == 0, device, border_device) for m, i in zip(modules, indices, strict=True)]
        self._recorders = [Recorder(r, i == 0, i == plan.parts - 1) for r, i in zip(runners, indices, strict=True)]
        built = [self._stage(runner, plan, i) for runner, i in zip(runners, indices, strict=True)]
        loss = partial(training_loss, train=train)
        if schedule == "interleaved_1f1b":
            self._schedule = ScheduleInterleaved1F1B(built, microbatches, loss_fn=loss)
        else:
            self._schedule = _SINGLE[schedule](built[0], microbatches, loss_fn=loss)

    def _stage(self, module: nn.Module, plan: Plan, index: int) -> PipelineStage:
        # Static shapes. Left to itself the library infers them by running the module on uninitialised
        # memory, which ruins BatchNorm's running statistics.
        return PipelineStage(
            module, index, plan.parts, self._border_device,
            input_args=plan.borders[index].example("meta", requires_grad=index > 0),
            output_args=plan.borders[index + 1].example("meta", requires_grad=True),
        )  # fmt: skip

    def train_step(
        self, inputs: torch.Tensor | None, labels: torch.Tensor | None, records: torch.Tensor | None = None
    ) -> float | None:
        """Forward and backward of one batch; gradients are the mean over its micro-batches.

        The first stage passes `inputs` (batch, …), the last `labels` (batch,). What crosses the node's borders is
        written into `records`, (parts, 4, microbatches, 12) float64, if given; see `tdml.training.borders`. Returns
        the batch's mean loss at the last stage.
        """
        for module in self.modules:
            module.train()
        self._record(records)
        losses: list[torch.Tensor] = []
        self._schedule.step(*self._inputs(inputs), **self._targets(labels, losses), return_outputs=False)
        return float(torch.stack(losses).detach().mean()) if self.last else None

    @torch.no_grad()
    def predict(
        self, inputs: torch.Tensor | None, records: torch.Tensor | None = None, measured: bool = True
    ) -> torch.Tensor | None:
        """Logits of one batch at the last stage, in evaluation mode. The batch may be short: it is padded. `records`
        as in `train_step`, but there are no gradients; `measured` as in `tdml.training.borders.sketch`."""
        for module in self.modules:
            module.eval()
        self._record(records, measured)
        if inputs is not None and len(inputs) < self.batch_size:
            padding = inputs[-1:].expand(self.batch_size - len(inputs), *inputs.shape[1:])
            inputs = torch.cat([inputs, padding])
        # A schedule with a loss function asks for targets even here; what it makes of them is not used.
        targets = self._targets(torch.zeros(self.batch_size, dtype=torch.int64), [])
        return self._schedule.eval(*self._inputs(inputs), **targets)

    def _record(self, records: torch.Tensor | None, measured: bool = True) -> None:
        for part, recorder in enumerate(self._recorders):
            recorder.start(records[part] if records is not None else None, measured)

    def _inputs(self, inputs: torch.Tensor | None) -> tuple[torch.Tensor, ...]:
        return (inputs.to(self._border_device),) if self.first else ()

    def _targets(self, labels: torch.Tensor | None, losses: list[torch.Tensor]) -> dict:
        return {"target": labels.to(self._border_device), "losses": losses} if self.last else {}
