"""The model as the nodes will hold it: all stages in one process, each made as its node does."""

import itertools
import time
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import nn

from tdml.common.digest import digest
from tdml.common.seeds import seeded
from tdml.data.sample import advice
from tdml.errors import SettingError, one_line, refusing, running_on
from tdml.models.compute import autocast, lay_out, lay_out_weights, pass_on
from tdml.models.plan import Plan
from tdml.models.split import Part
from tdml.models.whole import outline
from tdml.node.inner import inner_optimizer, set_rate
from tdml.rehearsal.footprint import Footprint, Place, of_gradients, of_next_values
from tdml.rehearsal.handed_in import check_dense, check_handed_in
from tdml.rehearsal.left_behind import NoneLeftBehind
from tdml.settings.schema import Config
from tdml.settings.targets import made
from tdml.tasks.objective import mean_loss, task_of

_STAYED_BEHIND = (
    ": what a model holds must be its parameters or buffers (register_buffer), and what a block "
    "uses one of its own"
)

Batch = tuple[torch.Tensor, torch.Tensor]  # inputs and targets of a micro-batch
Look = Callable[[int, torch.Tensor], None]  # at what a block returns, and which


class Chain:
    """A fresh copy of the model on `device`, of which every stage has an outline and an optimizer
    of its own.

    Args:
        weights: parameters and buffers of the un-split model by name, to which every pass returns
            first.
    """

    def __init__(
        self,
        config: Config,
        plan: Plan,
        weights: Mapping[str, torch.Tensor],
        device: torch.device,
    ) -> None:
        self._weights, self._train, self.device = weights, config.train, device
        self._task, self._plan = task_of(config, training=True), plan
        self._ticks: list[float] = []  # when each part was done, forward and backward
        stages = config.topology.stages
        self._stages = [
            plan.cut(outline(config.model, config.seed), plan.parts_of(stage, stages))
            for stage in range(stages)
        ]
        self._parts = [self._stages[i % stages][i // stages] for i in range(plan.parts)]
        for part in self._parts:
            part.materialise(device)
            lay_out_weights(part.module, self._train)
        self.blocks: list[nn.Module] = [block for part in self._parts for block in part.module]

    def step(self, batches: Sequence[Batch], seed: int, in_turn: bool = True) -> Footprint:
        """What one optimizer step on some micro-batches leaves.

        Args:
            in_turn: whether each goes forward and back before the next. Else all go forward first,
                and what is drawn afterwards is drawn from another seed: pipelines, and those who
                repeat their work, do some of either.

        Raises:
            SettingError: a block fails, its gradients cannot be computed, or something changes that
                no node hands in.
        """
        self._reset(training=True)
        left: Footprint = {}

        def look(number: int, value: torch.Tensor) -> None:
            left[Place(number, "output")] = digest(value.detach())

        if in_turn:
            with seeded(seed), NoneLeftBehind():
                for inputs, targets in batches:
                    self._backward(self._forward(inputs, look), targets)
                left |= self._left()
        else:
            with seeded(seed), NoneLeftBehind():
                passed = [self._forward(inputs, look) for inputs, _ in batches]
            with seeded(seed + 1):
                for borders, (_, targets) in zip(passed, batches, strict=True):
                    self._backward(borders, targets)
                left |= self._left()
        check_handed_in(self._weights, self._named(lambda part: part.frozen), self.buffers())
        return left

    @torch.no_grad()
    def evaluate(self, inputs: torch.Tensor, seed: int) -> list[torch.Tensor]:
        """What each block returns in evaluation mode.

        Raises:
            SettingError: a block fails.
        """
        self._reset(training=False)
        values: list[torch.Tensor] = []
        with seeded(seed):
            self._forward(inputs, _keep_in(values))
        return values

    def learn(self, inputs: torch.Tensor, targets: torch.Tensor, seed: int) -> list[torch.Tensor]:
        """What each block returns in training mode. The gradients are left for `update`.

        Raises as `step`.
        """
        self._reset(training=True)
        values: list[torch.Tensor] = []
        with seeded(seed):
            borders = self._forward(inputs, _keep_in(values))
        with seeded(seed + 1):
            self._backward(borders, targets)
        return values

    def seconds(self, inputs: torch.Tensor, targets: torch.Tensor, seed: int) -> list[float]:
        """How long each part takes forward and backward. Raises as `step`."""
        self._reset(training=True)
        self._ticks = [self._now()]
        with seeded(seed):
            self._backward(self._forward(inputs, lambda *_: None), targets)
        taken = [after - before for before, after in itertools.pairwise(self._ticks)]
        count = len(self._parts)
        forward, backward = taken[:count], taken[count : 2 * count]
        return [one + other for one, other in zip(forward, reversed(backward), strict=True)]

    def update(self) -> None:
        """The optimizers' step on the gradients."""
        parameters = [self._trained(parts) for parts in self._stages]
        if self._train.clip_norm is not None:
            every = itertools.chain.from_iterable(parameters)
            nn.utils.clip_grad_norm_(every, self._train.clip_norm)
        for own in parameters:
            if (optimizer := inner_optimizer(self._train, own)) is not None:
                set_rate(optimizer, self._train.lr)
                made("train.optimizer", self._train.optimizer["_target_"], optimizer.step)

    def gradients(self) -> dict[str, torch.Tensor | None]:
        """By the parameters' names in the un-split model."""
        return {name: parameter.grad for name, parameter in self.parameters().items()}

    def parameters(self) -> dict[str, torch.Tensor]:
        """All that are trained, by their names in the un-split model."""
        return self._named(lambda part: part.parameters)

    def buffers(self) -> dict[str, torch.Tensor]:
        """By their names in the un-split model."""
        return self._named(lambda part: part.buffers)

    def _named(self, names_in: Callable[[Part], dict[str, str]]) -> dict[str, torch.Tensor]:
        return {
            name: tensor
            for part in self._parts
            for name, tensor in zip(names_in(part), part.tensors(names_in(part)), strict=True)
        }

    def _reset(self, training: bool) -> None:
        self._clear_gradients()
        for part in self._parts:
            part.module.train(training)
            part.fill(self._weights)

    def _forward(self, inputs: torch.Tensor, look: Look) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """Input and output of every part. `look` sees what each block returns."""
        borders: list[tuple[torch.Tensor, torch.Tensor]] = []
        number, value = 0, inputs.to(self.device, copy=True)
        for part in self._parts:
            received = value
            if borders:  # it comes from another stage: no graph crosses the border
                received = value.detach().requires_grad_(torch.is_grad_enabled())
                value = received.clone()
            with autocast(self._train, self.device):
                value = lay_out(value, self._train)
                for block in part.module:
                    value = self._pass(block, number, value)
                    look(number, value)
                    number += 1
            if inputs.shape == self._plan.borders[0].shape:  # no smaller batch
                self._plan.check_crossing(len(borders), value)
            borders.append((received, value))
            self._ticks.append(self._now())
        return borders

    def _pass(self, block: nn.Module, number: int, value: torch.Tensor) -> torch.Tensor:
        mode = "" if block.training else " in eval()"
        try:
            with running_on():
                output = pass_on(block, value, self._train)
        except Exception as error:
            text = one_line(error)
            hint = advice(value.dtype) if number == 0 else ""
            if "meta" in text:
                hint = _STAYED_BEHIND
            raise SettingError(
                f"model: block {number} fails{mode} on the first training samples: {text}{hint}"
            ) from error
        if not isinstance(output, torch.Tensor):
            raise SettingError(
                f"model: block {number} returns a {type(output).__name__}{mode}: it must return "
                "one tensor"
            )
        return output

    def _backward(
        self, borders: list[tuple[torch.Tensor, torch.Tensor]], targets: torch.Tensor
    ) -> None:
        output = borders[-1][1]
        if not output.isfinite().all():
            raise SettingError(
                "model: what it returns for the first training samples is not finite (see model, "
                "data)"
            )
        text = "the loss of the first training samples cannot be computed (see task, model, data)"
        with refusing(f"task: {text}"):
            loss = mean_loss(self._task, output, targets.to(output.device))
        if not loss.isfinite():
            raise SettingError(
                f"task: the loss of the first training samples is {loss.item()}, though the model "
                "returns finite numbers for them: see losses() and weights() (docs/your-task.md)"
            )
        if not loss.requires_grad:
            raise SettingError(
                "model: nothing in it can be trained: it has no parameters, or all are frozen, or "
                "the task's losses() has no gradient by what it returns: leave out detach(), "
                "argmax() and what else has none"
            )
        try:
            loss.backward()
            self._ticks.append(self._now())
            for (_, sent), (following, _) in zip(borders[-2::-1], borders[:0:-1], strict=True):
                if sent.requires_grad:  # else nothing before it is trained this time
                    sent.backward(following.grad)
                self._ticks.append(self._now())
        except RuntimeError as error:
            text = one_line(error)
            if "inplace operation" in text:
                text = (
                    "something is changed in place that the way back needs, perhaps by a later "
                    f"micro-batch: take a clone() of it ({text})"
                )
            text += _STAYED_BEHIND if "meta" in text else ""
            raise SettingError(f"model: its gradients cannot be computed: {text}") from error
        check_dense(self.blocks)
        self._give_back()

    def _now(self) -> float:
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)
        return time.perf_counter()

    def _give_back(self) -> None:
        """What is borrowed has its gradient from there, too."""
        borrower, owner = self._parts[-1], self._parts[0]
        own = owner.tensors(owner.lent)
        for parameter, copy in zip(own, borrower.tensors(borrower.borrowed), strict=True):
            if copy.grad is not None:
                given, copy.grad = copy.grad, None
                parameter.grad = given if parameter.grad is None else parameter.grad + given

    def _left(self) -> Footprint:
        """What a step leaves, which is taken here, but for the gradients' memory."""
        gradients = of_gradients(self.blocks)
        self.update()
        self._clear_gradients()
        return gradients | of_next_values(self.blocks)

    def _clear_gradients(self) -> None:
        for part in self._parts:
            part.module.zero_grad(set_to_none=True)

    @staticmethod
    def _trained(parts: Sequence[Part]) -> list[nn.Parameter]:
        return [tensor for part in parts for tensor in part.tensors(part.parameters)]  # type: ignore[misc]


def _keep_in(values: list[torch.Tensor]) -> Look:
    # blocks work in place
    return lambda _, value: values.append(value.detach().to("cpu", copy=True))
