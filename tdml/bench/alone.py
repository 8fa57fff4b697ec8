"""One step of one part of the model on any device, without neighbours: what it receives is handed
to it."""

import copy
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from tdml.common.seeds import seeded
from tdml.models import whole
from tdml.models.compute import Runner
from tdml.models.layout import Layout
from tdml.node.inner import inner_optimizer, set_rate
from tdml.round.job import Job
from tdml.tasks.objective import mean_loss, task_of

_HOST = torch.device("cpu")


@dataclass(frozen=True)
class SeedAndRate:
    """What decides a step, besides the state and the messages: the seed of what a model draws, and
    the rate."""

    seed: int
    lr: float


@dataclass(frozen=True)
class Taken:
    """A step that a part has taken, all on the host. By micro-batch: what it `received` and its
    `outputs`, the gradients `returned` for these (at the last part the labels), and those that it
    `passed` on, none at the first. Of its layout: the `gradients` (p,) of its parameters, and its
    `weights` (d,) afterwards, all float32."""

    received: Sequence[torch.Tensor]
    outputs: Sequence[torch.Tensor]
    returned: Sequence[torch.Tensor]
    passed: Sequence[torch.Tensor]
    gradients: torch.Tensor
    weights: torch.Tensor


class Alone:
    """A part of a job's model on `device`, with the job's inner optimizer. It does not clip, and
    weights that it borrows from another part stay as they were: these take all parts."""

    def __init__(self, job: Job, index: int, device: torch.device) -> None:
        [part] = job.plan.cut(whole.outline(job.config.model, job.config.seed), [index])
        part.materialise(device)
        with torch.no_grad():
            known = whole.tensors_of(job.model)
            names = part.frozen | part.borrowed
            for name, tensor in zip(names, part.tensors(names), strict=True):
                tensor.copy_(known[name])
        self.layout = Layout.of([part])
        self._train, self._device = job.config.train, device
        self._task = task_of(job.config, training=True)
        self._first, self._last = index == 0, index == job.plan.parts - 1
        self._runner = Runner(part.module.train(), self._train, self._first, device, _HOST)
        self._parameters = part.tensors(part.parameters)
        self._tensors = [*self._parameters, *part.tensors(part.buffers)]
        self._optimizer = inner_optimizer(self._train, self._parameters)
        self._inputs: list[torch.Tensor] = []
        self._outputs: list[torch.Tensor] = []

    def begin(self, weights: torch.Tensor) -> None:
        """Start from some weights (d,) float32."""
        self.layout.scatter(weights, self._tensors)

    def resume(self, other: "Alone") -> None:
        """Go on from where the same part on another device is."""
        self.begin(other.weights())
        if self._optimizer is not None and other._optimizer is not None:
            shown = copy.deepcopy(other._optimizer.state_dict())  # or both would share it
            self._optimizer.load_state_dict(shown)

    def weights(self) -> torch.Tensor:
        """Parameters and buffers: (d,) float32 on the host."""
        return self.layout.flatten(self._tensors)

    def forward(self, received: Sequence[torch.Tensor], step: SeedAndRate) -> list[torch.Tensor]:
        """The outputs for some micro-batches."""
        self._inputs = [
            value.detach().clone().requires_grad_(not self._first) for value in received
        ]
        with seeded(step.seed):
            self._outputs = [self._runner(value) for value in self._inputs]
        return [output.detach() for output in self._outputs]

    def backward(self, returned: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """The gradients to pass on, after `forward`; those of the parameters are the mean over the
        micro-batches."""
        for parameter in self._parameters:
            parameter.grad = None
        for output, value in zip(self._outputs, returned, strict=True):
            if self._last:
                mean_loss(self._task, output, value).backward()
            else:
                output.backward(value)
        for parameter in self._parameters:
            if parameter.grad is not None:
                parameter.grad /= len(returned)
        return [value.grad for value in self._inputs if value.grad is not None]

    def update(self, step: SeedAndRate) -> tuple[torch.Tensor, torch.Tensor]:
        """The optimizer's step, after `backward`: the gradients that it used, and the weights that
        it led to."""
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in self._parameters]
        if self._optimizer is not None:
            set_rate(self._optimizer, step.lr)
            self._optimizer.step()
        return torch.cat(
            [torch.empty(0), *(g.cpu().reshape(-1) for g in gradients)]
        ), self.weights()

    def repeat(self, taken: Taken, step: SeedAndRate) -> Taken:
        """Take a step that another has taken, with what it received."""
        outputs = self.forward(taken.received, step)
        passed = self.backward(taken.returned)
        return Taken(taken.received, outputs, taken.returned, passed, *self.update(step))


def start(job: Job, device: torch.device) -> list[Alone]:
    """All parts of a job's model with its initial weights."""
    tensors = whole.tensors_of(job.model)
    parts = [Alone(job, index, device) for index in range(job.plan.parts)]
    for part in parts:
        part.begin(part.layout.flatten([tensors[name] for name in part.layout.names]))
    return parts


def take(
    parts: Sequence[Alone],
    inputs: torch.Tensor,
    labels: torch.Tensor,
    microbatches: int,
    step: SeedAndRate,
) -> list[Taken]:
    """One step of all parts on a batch, each handing on to the next."""
    crossed = [list(inputs.chunk(microbatches))]
    for part in parts:
        crossed.append(part.forward(crossed[-1], step))
    returned = [list(labels.chunk(microbatches))]
    for part in reversed(parts):
        returned.insert(0, part.backward(returned[0]))
    return [
        Taken(crossed[i], crossed[i + 1], returned[i + 1], returned[i], *part.update(step))
        for i, part in enumerate(parts)
    ]
