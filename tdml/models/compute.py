"""How a model computes: in which precision, and how its tensors lie in memory."""

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from functools import partial

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from tdml.common.seeds import derive, seeded
from tdml.settings.schema import Train


def autocast(train: Train, device: torch.device) -> AbstractContextManager:
    """The context in which every forward pass runs: with `train.precision=bf16` torch computes in
    bfloat16 what loses nothing by it. Weights, gradients and the optimizer's state stay float32."""
    return (
        torch.autocast(device.type, torch.bfloat16) if train.precision == "bf16" else nullcontext()
    )


def lay_out(value: torch.Tensor, train: Train) -> torch.Tensor:
    """Inputs and activations as `train.channels_last` wants them in memory; it concerns those of
    four dimensions."""
    if train.channels_last and value.dim() == 4:
        return value.contiguous(memory_format=torch.channels_last)
    return value


def lay_out_weights(module: nn.Module, train: Train) -> None:
    """The same for a model's parameters."""
    for parameter in module.parameters():
        parameter.data = lay_out(parameter.data, train)


class Runner(nn.Module):
    """A part of a model as a pipeline calls it.

    What crosses its borders lies contiguously on `border_device`: NCCL refuses to connect ranks
    that share a GPU, and gloo moves no CUDA tensors between stages; then it crosses on the host.
    What comes in from another part is copied, for the first block may work in place.
    """

    def __init__(
        self,
        body: nn.Module,
        train: Train,
        first: bool,
        device: torch.device,
        border_device: torch.device,
        check: Callable[[torch.Tensor], None] = lambda _: None,
    ) -> None:
        """
        Args:
            check: raises where what is to leave is nothing that can.
        """
        super().__init__()
        self.body, self.first, self.device, self._check = body, first, device, check
        self._train, self._border_device = train, border_device
        self._seed: int | None = None
        self._micro = 0
        self.has_drawn = False  # from torch's generator, since somebody last set it back
        lay_out_weights(body, train)

    def reseed(self, seed: int | None) -> None:
        """Seed what the next micro-batches draw, each by itself: where a node runs several parts in
        turn, what one draws must not depend on when the other's turn is."""
        self._seed, self._micro = seed, 0

    def forward(self, value: torch.Tensor) -> torch.Tensor:
        """From border to border; gradients take the same way back, and lie as the activations
        did."""
        if self._seed is None:
            return self._compute(value)
        self._micro += 1
        with seeded(derive(self._seed, self._micro)):
            return self._compute(value)

    def _compute(self, value: torch.Tensor) -> torch.Tensor:
        drawn = torch.get_rng_state()
        value = lay_out(value.to(self.device, copy=not self.first), self._train)
        with autocast(self._train, self.device):
            for block in self.body if isinstance(self.body, nn.Sequential) else [self.body]:
                value = pass_on(block, value, self._train)
        output = value
        self.has_drawn |= not torch.equal(drawn, torch.get_rng_state())
        self._check(output)
        if self.first and torch.is_grad_enabled() and not output.requires_grad:
            # nothing here is trained this time, as where blocks are left out at random; what comes
            # back is received and logged nevertheless
            output = output.detach().requires_grad_()
        if output.requires_grad and lay_out(output, self._train) is output:
            output.register_hook(lambda gradient: lay_out(gradient, self._train))
        return output.to(self._border_device).contiguous()


def pass_on(block: nn.Module, value: torch.Tensor, train: Train) -> torch.Tensor:
    """What a block returns. With `train.activation_checkpointing` only what comes into it is kept
    (Chen et al., arXiv 1604.06174), as a copy's original, for a block may work in place."""
    if not (train.activation_checkpointing and torch.is_grad_enabled()):
        return block(value)
    return checkpoint(partial(_on_a_copy, block), value, use_reentrant=False)


def _on_a_copy(block: nn.Module, value: torch.Tensor) -> torch.Tensor:
    return block(value.clone())
