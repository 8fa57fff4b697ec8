"""The model as the nodes will hold it: all parts in one process, each made as the node at its stage
makes it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import nn

from tdml.common.digest import digest
from tdml.common.seeds import seeded
from tdml.data.sample import advice
from tdml.errors import SettingError, one_line
from tdml.models.compute import autocast, lay_out, lay_out_weights
from tdml.models.plan import Plan
from tdml.models.whole import outline
from tdml.node.inner import inner_optimizer
from tdml.rehearsal.untrained import Untrained
from tdml.settings.schema import Train
from tdml.settings.targets import made
from tdml.tasks import Task
from tdml.tasks.objective import mean_loss


@dataclass(frozen=True)
class Place:
    """Where in the model something was seen: in which block, and in words what."""

    block: int
    what: str


Batch = tuple[torch.Tensor, torch.Tensor]  # inputs and targets of a micro-batch
Footprint = dict[
    Place, bytes
]  # what a pass leaves, in the order in which one thing follows from another: its digest


class Chain:
    """A fresh copy of the model on `device`.

    Args:
        settings, seed: of the group `model`, and the job's.
        task: the loss, as in training.
        weights: parameters and buffers of the un-split model by name, to which every pass returns
            first.
    """

    def __init__(
        self,
        settings: dict,
        seed: int,
        plan: Plan,
        weights: dict[str, torch.Tensor],
        train: Train,
        task: Task,
        device: torch.device,
    ) -> None:
        self._weights, self._train, self._task, self._device = weights, train, task, device
        self._parts = plan.cut(outline(settings, seed), range(plan.parts))
        for part in self._parts:
            part.materialise(device)
            lay_out_weights(part.module, train)
        self._parts[-1].borrow(self._parts[0])
        self.blocks: list[nn.Module] = [block for part in self._parts for block in part.module]

    def train_step(self, inputs: torch.Tensor, targets: torch.Tensor, seed: int) -> Footprint:
        """One optimizer step on a micro-batch.

        Raises:
            SettingError: a block fails, or its gradients cannot be computed.
        """
        self._reset(training=True)
        left: Footprint = {}
        before = Untrained.of(self.blocks)
        with seeded(seed):
            borders = self._forward(
                inputs, lambda number, value: left.update(_output(number, value))
            )
            self._backward(borders, targets)
            left |= self._update()
        before.check(self.blocks)
        return left

    def several(self, batches: Sequence[Batch], seed: int, in_turn: bool) -> Footprint:
        """What some micro-batches leave in one step.

        Args:
            in_turn: whether each goes forward and back before the next. Else all go forward first,
                and what is drawn afterwards is drawn from another seed: pipelines, and those who
                repeat their work, do some of either.

        Raises as `train_step`.
        """
        self._reset(training=True)
        if in_turn:
            with seeded(seed):
                for inputs, targets in batches:
                    self._backward(self._forward(inputs, _nothing), targets)
                return self._update()
        with seeded(seed):
            passed = [self._forward(inputs, _nothing) for inputs, _ in batches]
        with seeded(seed + 1):
            for borders, (_, targets) in zip(passed, batches, strict=True):
                self._backward(borders, targets)
            return self._update()

    @torch.no_grad()
    def evaluate(self, inputs: torch.Tensor, seed: int) -> tuple[Footprint, list[torch.Tensor]]:
        """A pass in evaluation mode, and what each part returned.

        Raises:
            SettingError: a block fails.
        """
        self._reset(training=False)
        left: Footprint = {}
        with seeded(seed):
            borders = self._forward(
                inputs, lambda number, value: left.update(_output(number, value))
            )
        return left, [output for _, output in borders]

    @torch.no_grad()
    def values(self, inputs: torch.Tensor, seed: int, training: bool) -> list[torch.Tensor]:
        """What each block returns in a pass without gradients."""
        self._reset(training)
        values: list[torch.Tensor] = []
        with seeded(seed):
            # blocks work in place
            self._forward(inputs, lambda _, value: values.append(value.to("cpu", copy=True)))
        return values

    def _reset(self, training: bool) -> None:
        for part in self._parts:
            part.module.train(training)
            part.module.zero_grad(set_to_none=True)
            part.fill(self._weights)

    def _forward(
        self, inputs: torch.Tensor, look: Callable[[int, torch.Tensor], None]
    ) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Input and output of every part. `look` sees what each block returns."""
        borders: list[tuple[torch.Tensor, torch.Tensor]] = []
        number, value = 0, inputs.to(self._device, copy=True)
        for part in self._parts:
            received = value
            if borders:  # it comes from another stage: no graph crosses the border
                received = value.detach().requires_grad_(torch.is_grad_enabled())
                value = received.clone()
            with autocast(self._train, self._device):
                value = lay_out(value, self._train)
                for block in part.module:
                    value = _pass(block, number, value)
                    look(number, value)
                    number += 1
            borders.append((received, value))
        return borders

    def _backward(
        self, borders: list[tuple[torch.Tensor, torch.Tensor]], targets: torch.Tensor
    ) -> None:
        output = borders[-1][1]
        if not output.isfinite().all():
            raise SettingError(
                "model: what it returns for the first training samples is not finite (see model, "
                "data)"
            )
        if not output.requires_grad:
            raise SettingError(
                "model: nothing in it can be trained: it has no parameters, or all are frozen"
            )
        try:
            loss = mean_loss(self._task, output, targets.to(output.device))
        except Exception as error:
            raise SettingError(
                "task: the loss of the first training samples cannot be computed: "
                f"{one_line(error)} (see task, model, data)"
            ) from error
        if not loss.isfinite():
            raise SettingError(
                f"task: the loss of the first training samples is {loss.item()}, though the model "
                "returns finite numbers for them: see losses() and weights() (docs/your-task.md)"
            )
        if not loss.requires_grad:
            raise SettingError(
                "task: losses() has no gradient by what the model returns: leave out detach(), "
                "argmax() and what else has none"
            )
        try:
            loss.backward()
            for (_, sent), (following, _) in zip(borders[-2::-1], borders[:0:-1], strict=True):
                if sent.requires_grad:  # else nothing before it is trained this time
                    sent.backward(following.grad)
        except RuntimeError as error:
            text = one_line(error)
            if "inplace operation" in text:
                text = (
                    "something is changed in place that the way back needs, perhaps by a later "
                    f"micro-batch: take a clone() of it ({text})"
                )
            raise SettingError(f"model: its gradients cannot be computed: {text}") from error
        self._check_gradients_are_dense()

    def _check_gradients_are_dense(self) -> None:
        for number, block in enumerate(self.blocks):
            for name, parameter in block.named_parameters():
                if parameter.grad is not None and parameter.grad.is_sparse:
                    raise SettingError(
                        f"model: block {number}: the gradient of {name} is sparse: give "
                        "sparse=False"
                    )

    def _update(self) -> Footprint:
        """The optimizer's step on the gradients; what it leaves."""
        trainable = (p for block in self.blocks for p in block.parameters() if p.requires_grad)
        parameters = list(dict.fromkeys(trainable))  # in one stage two blocks may share some
        left = self._look("gradient", lambda parameter: parameter.grad)
        if self._train.clip_norm is not None:
            nn.utils.clip_grad_norm_(parameters, self._train.clip_norm)
        if (optimizer := inner_optimizer(self._train, parameters)) is not None:
            name = self._train.optimizer["_target_"]
            made("train.optimizer", name, optimizer.step)
        left |= self._look("next value", lambda parameter: parameter)
        return left | self._look_at_buffers()

    def _look(self, what: str, get: Callable[[nn.Parameter], torch.Tensor | None]) -> Footprint:
        """At something of every parameter, from the last block to the first."""
        return {
            Place(number, f"{what} of {name}"): _digest(get(parameter))
            for number, block in reversed(list(enumerate(self.blocks)))
            for name, parameter in block.named_parameters()
        }

    def _look_at_buffers(self) -> Footprint:
        return {
            Place(number, f"next value of {name}"): _digest(buffer)
            for number, block in enumerate(self.blocks)
            for name, buffer in block.named_buffers()
        }


def first_difference(one: Footprint, other: Footprint) -> Place | None:
    """The first place where two passes differ."""
    return next((place for place, value in one.items() if other.get(place) != value), None)


def _nothing(number: int, value: torch.Tensor) -> None:
    """Nobody looks at what the blocks return."""


def _output(number: int, value: torch.Tensor) -> Footprint:
    return {Place(number, "output"): _digest(value)}


def _digest(value: torch.Tensor | None) -> bytes:
    if value is None:
        return b""
    return digest(value.detach())


def _pass(block: nn.Module, number: int, value: torch.Tensor) -> torch.Tensor:
    mode = "" if block.training else " in eval()"
    try:
        output = block(value)
    except Exception as error:
        text = one_line(error)
        hint = advice(value.dtype) if number == 0 else ""
        if "meta" in text:
            hint = ": what a model holds must be its parameters or buffers (register_buffer)"
        raise SettingError(
            f"model: block {number} fails{mode} on the first training samples: {text}{hint}"
        ) from error
    if not isinstance(output, torch.Tensor):
        raise SettingError(
            f"model: block {number} returns a {type(output).__name__}{mode}: it must return one "
            "tensor"
        )
    return output
