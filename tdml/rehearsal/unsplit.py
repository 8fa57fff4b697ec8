"""A step of the un-split model, as its own `forward` takes it."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import nn

from tdml.common.seeds import seeded
from tdml.models import whole
from tdml.models.split import blocks_of
from tdml.node.inner import inner_optimizer, set_rate
from tdml.settings.schema import Config
from tdml.tasks.objective import mean_loss, task_of


@dataclass(frozen=True)
class Asked:
    """Of a pass: the micro-batch, the seed, the mode, and what the chain of blocks returns."""

    inputs: torch.Tensor
    targets: torch.Tensor
    seed: int
    training: bool
    like: torch.Tensor


@dataclass
class PassResult:
    """Of a pass: what each block was given, by its number, and what the last returned, by the
    number that would follow; None: nothing that could be compared. By name: the parameters'
    gradients, in training, and what the buffers hold afterwards."""

    values: dict[int, torch.Tensor] = field(default_factory=dict)
    output: torch.Tensor | None = None
    gradients: dict[str, torch.Tensor | None] = field(default_factory=dict)
    buffers: dict[str, torch.Tensor] = field(default_factory=dict)


class Unsplit:
    """The model in one piece.

    Args:
        model: on the host. It is as it was when `restore` has been called.
        weights: its parameters and buffers by name, to which every pass returns first.
    """

    def __init__(
        self, config: Config, model: nn.Module, weights: Mapping[str, torch.Tensor]
    ) -> None:
        self.model, self._blocks = model, blocks_of(model)
        self.train, self._task = config.train, task_of(config, training=True)
        self.weights, self._mode = weights, model.training

    def own(self, asked: Asked, later: int = 0) -> PassResult:
        """A pass of its own `forward`, with gradients in training. `later` is added to the seed of
        what is drawn after the way forward.

        Raises whatever `forward` does.
        """
        self._reset()
        self.model.train(asked.training)
        return self._pass(self.model, asked, later)

    def in_turn(self, asked: Asked) -> PassResult:
        """The same of its blocks, one after the other, in one process."""
        self._reset()
        for block in self._blocks:
            block.train(asked.training)
        return self._pass(self._through_blocks, asked)

    def update(
        self,
        parameters: Mapping[str, torch.Tensor],
        gradients: Mapping[str, torch.Tensor | None],
        seed: int,
    ) -> dict[str, torch.Tensor]:
        """The parameters after a step of one optimizer over all of them, by name. They are the
        model's own, which its next pass or step changes."""
        named = dict(self.model.named_parameters())
        with torch.no_grad():
            for name, value in parameters.items():
                named[name].copy_(value)
                gradient = gradients[name]
                named[name].grad = None if gradient is None else gradient.clone()
        trained = [p for p in self.model.parameters() if p.requires_grad]
        if self.train.clip_norm is not None:
            nn.utils.clip_grad_norm_(trained, self.train.clip_norm)
        if (optimizer := inner_optimizer(self.train, trained)) is not None:
            set_rate(optimizer, self.train.lr)
            with seeded(seed):
                optimizer.step()
        self.model.zero_grad()
        return {name: named[name].detach() for name in parameters}

    def restore(self) -> None:
        """The model is as it was."""
        self._reset()
        self.model.train(self._mode)

    def _reset(self) -> None:
        whole.restore(self.model, self.weights)
        for _, parameter in self.model.named_parameters():
            parameter.grad = None

    def _pass(
        self, forward: Callable[[torch.Tensor], Any], asked: Asked, later: int = 0
    ) -> PassResult:
        result = PassResult()
        with _noting(self._blocks, result.values), torch.set_grad_enabled(asked.training):
            with seeded(asked.seed):
                output = _output(forward(asked.inputs.clone()), asked.like)
            if output is not None:
                result.output = output.detach().clone()
                with seeded(asked.seed + 1 + later):
                    self._backward(output, asked)
        if asked.training:
            result.gradients = {n: p.grad for n, p in self.model.named_parameters()}
        result.buffers = {n: b.detach().clone() for n, b in self.model.named_buffers()}
        return result

    def _backward(self, output: torch.Tensor, asked: Asked) -> None:
        if output.requires_grad and output.shape == asked.like.shape:
            mean_loss(self._task, output, asked.targets).backward()

    def _through_blocks(self, value: torch.Tensor) -> torch.Tensor:
        for block in self._blocks:
            value = block(value)
        return value


@contextmanager
def _noting(blocks: Sequence[nn.Module], given: dict[int, torch.Tensor]) -> Iterator[None]:
    """Keep what each of the blocks is given, by number. A module that is listed several times, such
    as one activation between all layers, is called as often. Those that are compiled (TorchScript)
    take no hooks."""
    numbers: dict[nn.Module, list[int]] = {}
    for number, block in enumerate(blocks):
        numbers.setdefault(block, []).append(number)

    def note(block: nn.Module, args: tuple) -> None:
        later = [number for number in numbers[block] if number not in given]
        if later and args and isinstance(args[0], torch.Tensor):
            given[later[0]] = args[0].detach().clone()

    hooks = [
        block.register_forward_pre_hook(note)
        for block in numbers
        if not isinstance(block, torch.jit.ScriptModule)
    ]
    try:
        yield
    finally:
        for hook in hooks:
            hook.remove()


def _output(own: Any, like: torch.Tensor) -> torch.Tensor | None:
    """Of what `forward` returns, such as logits and features, that which the blocks return."""
    own = getattr(own, "logits", own)  # of Hugging Face's models
    if isinstance(own, torch.Tensor):
        return own
    several = list(own.values()) if isinstance(own, Mapping) else own
    if not isinstance(several, list | tuple):
        return None
    alike = [t for t in several if isinstance(t, torch.Tensor) and t.shape == like.shape]
    return min(alike, key=lambda t: float((t.detach() - like).abs().sum()), default=None)
