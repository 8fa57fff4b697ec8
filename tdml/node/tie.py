"""Tied weights: both ends of a model use them, as a language model's embeddings that are its head,
too.

They belong to the first stage like its other weights: it takes the optimizer's steps on them, and
they are committed to and averaged as a part of its update. The last stage does not keep them: at
the beginning of every step it is sent their values, and at its end it sends their gradient back.
"""

from collections.abc import Sequence

import torch
import torch.distributed as dist

from tdml.models.split import Part
from tdml.node.messages import TIED, TIED_GRADIENT, Channel, Passing


class Tie:
    """One of the two stages that use tied weights."""

    def __init__(
        self,
        parameters: Sequence[torch.Tensor],
        owns: bool,
        channels: Sequence[Channel],
        device: torch.device,
    ) -> None:
        """
        Args:
            parameters: that are tied, in the same order at both ends.
            owns: whether this is the first stage.
            channels: of the replica.
            device: where tensors lie when they cross to another stage.
        """
        self.parameters, self._owns, self._device = list(parameters), owns, device
        numbers = {channel.kind: i for i, channel in enumerate(channels)}
        self._number, self._returned = numbers[TIED], numbers[TIED_GRADIENT]
        lent = channels[self._number]
        self._peer = lent.receiver if owns else lent.sender

    def values(self) -> list[torch.Tensor]:
        """The values that the first stage sends."""
        return [self._crossing(parameter.detach()) for parameter in self.parameters]

    @torch.no_grad()
    def take(self, values: Sequence[torch.Tensor], passing: Passing | None) -> None:
        """Note the values in the log; the last stage copies them into its parameters."""
        _note(passing, self._number, values)
        if not self._owns:
            for parameter, value in zip(self.parameters, values, strict=True):
                parameter.copy_(value)
                parameter.grad = None

    def gradients(self) -> list[torch.Tensor]:
        """The gradients that the last stage sends back after its backward pass."""
        return [
            self._crossing(torch.zeros_like(p) if p.grad is None else p.grad)
            for p in self.parameters
        ]

    @torch.no_grad()
    def add(self, gradients: Sequence[torch.Tensor], passing: Passing | None) -> None:
        """Note the gradients in the log; the first stage adds them to its own."""
        _note(passing, self._returned, gradients)
        if self._owns:
            for parameter, more in zip(self.parameters, gradients, strict=True):
                own = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
                parameter.grad = own + more.to(parameter.device)

    def lend(self, passing: Passing | None) -> None:
        """Send the values, or receive and take them, over the replica's process group."""
        self.take(self._cross(self.values() if self._owns else None), passing)

    def give_back(self, passing: Passing | None) -> None:
        """Send the gradients, or receive and add them."""
        self.add(self._cross(None if self._owns else self.gradients()), passing)

    def _cross(self, sent: list[torch.Tensor] | None) -> list[torch.Tensor]:
        """Send tensors to the other end, or receive them from there if they are None. Returns the
        tensors."""
        empty = (self._crossing(torch.empty_like(parameter)) for parameter in self.parameters)
        tensors = list(empty) if sent is None else sent
        way = dist.irecv if sent is None else dist.isend
        for work in dist.batch_isend_irecv([dist.P2POp(way, t, self._peer) for t in tensors]):
            work.wait()
        return tensors

    def _crossing(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor.detach().to(self._device).contiguous()


def tie_of(parts: Sequence[Part], channels: Sequence[Channel], device: torch.device) -> Tie | None:
    """The end of the tied weights that a node with these parts of the model is; None if it is
    neither."""
    lent = [tensor for part in parts for tensor in part.tensors(part.lent)]
    borrowed = [tensor for part in parts for tensor in part.tensors(part.borrowed)]
    assert not (lent and borrowed), "the two ends are on two nodes"
    if not lent and not borrowed:
        return None
    return Tie(lent or borrowed, bool(lent), channels, device)


def _note(passing: Passing | None, number: int, message: Sequence[torch.Tensor]) -> None:
    if passing is not None:
        for tensor in message:
            passing.note(number, tensor)
