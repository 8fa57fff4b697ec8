"""The norm of the whole model's gradient, over all stages of a replica.

Every node tells every other the norms of its own tensors; each then computes the norm of all of
them in the order that they have in the un-split model, so that the result is bit for bit that of
`torch.nn.utils.clip_grad_norm_` on it. They go from node to node, so that what each has sent and
received can be recorded, and a lie be told from whom it misled.
"""

from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import nn

from tdml.models.layout import Layout
from tdml.node.messages import NORM, Channel, Passing

_NO_GRADIENT = -1.0


class Clip:
    """Scales the gradients of one node so that the whole model's has a norm of at most `most`."""

    def __init__(
        self,
        most: float,
        names: Sequence[str],
        layouts: Sequence[Layout],
        stage: int,
        device: torch.device,
        channels: Sequence[Channel],
    ) -> None:
        """
        Args:
            names: of the un-split model's parameters, in its order.
            layouts: of all stages.
            device: where tensors lie when they cross to another stage.
            channels: of the replica.
        """
        order = {name: place for place, name in enumerate(names)}
        self._places = [
            [order[name] for name in layout.names[: layout.parameter_tensors]] for layout in layouts
        ]
        self._most, self._count, self.stage, self._device = most, len(names), stage, device
        numbered = [(i, c) for i, c in enumerate(channels) if c.kind == NORM]
        self._channels = [(i, c) for i, c in numbered if stage in (c.sender, c.receiver)]

    def norms(self, parameters: Sequence[nn.Parameter]) -> torch.Tensor:
        """The norms of the gradients of the node's parameters, one for each tensor, in the layout's
        order."""
        norms = torch.full((len(parameters),), _NO_GRADIENT, device=self._device)
        present = [i for i, parameter in enumerate(parameters) if parameter.grad is not None]
        if present:
            norms[present] = torch.stack(
                [torch.linalg.vector_norm(parameters[i].grad) for i in present]
            ).to(self._device)
        return norms

    def exchange(self, own: torch.Tensor) -> list[torch.Tensor]:
        """The norms of every stage's tensors, by stage, over the replica's process group."""
        norms = [torch.empty(len(places), device=self._device) for places in self._places]
        norms[self.stage] = own
        others = [stage for stage in range(len(norms)) if stage != self.stage]
        if others:
            crossing = [dist.P2POp(dist.isend, own, stage) for stage in others]
            crossing += [dist.P2POp(dist.irecv, norms[stage], stage) for stage in others]
            for work in dist.batch_isend_irecv(crossing):
                work.wait()
        return norms

    def apply(
        self,
        parameters: Sequence[nn.Parameter],
        by_stage: Sequence[torch.Tensor],
        passing: Passing | None,
    ) -> None:
        """Clip the gradients by the norms of every stage's tensors, and note what crossed."""
        if passing is not None:
            for number, channel in self._channels:
                passing.note(number, by_stage[channel.sender])
        norms = torch.full((self._count,), _NO_GRADIENT, device=self._device)
        for places, stage_norms in zip(self._places, by_stage, strict=True):
            norms[places] = stage_norms
        total = torch.linalg.vector_norm(norms[norms != _NO_GRADIENT])
        nn.utils.clip_grads_with_norm_(parameters, self._most, total)
