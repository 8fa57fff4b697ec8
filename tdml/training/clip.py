"""The norm of the whole model's gradient, over all stages of a replica.

Every node tells every other the norms of its own tensors; each then computes the norm of all of them in the order that
they have in the un-split model, so that the result is bit for bit that of `torch.nn.utils.clip_grad_norm_` on it. They
go from node to node, so that what each has sent and received can be recorded, and a lie be told from whom it misled.
"""

from collections.abc import Sequence

import torch
import torch.distributed as dist
from torch import nn

from tdml.models.layout import Layout
from tdml.training.borders import NORMS_RECEIVED, NORMS_SENT, sketch

_NO_GRADIENT = -1.0


class Clip:
    """Scales the gradients of one node so that the whole model's has a norm of at most `most`."""

    def __init__(
        self, most: float, names: Sequence[str], layouts: Sequence[Layout], stage: int, device: torch.device
    ) -> None:
        """
        Args:
            names: of the un-split model's parameters, in its order.
            layouts: of all stages.
            device: where tensors lie when they cross to another stage.
        """
        order = {name: place for place, name in enumerate(names)}
        self._places = [[order[name] for name in layout.names[: layout.parameter_tensors]] for layout in layouts]
        self._most, self._count, self._stage, self._device = most, len(names), stage, device

    def __call__(self, parameters: Sequence[nn.Parameter], records: torch.Tensor | None = None) -> None:
        """Clip the gradients of the node's parameters, in its layout's order. What crosses to the other stages is
        written into `records`, those of a step (see `tdml.training.borders`), if given."""
        norms = torch.full((self._count,), _NO_GRADIENT, device=self._device)
        for stage, told in enumerate(self._exchange(_norms(parameters, self._device), records)):
            norms[self._places[stage]] = told
        total = torch.linalg.vector_norm(norms[norms != _NO_GRADIENT])
        nn.utils.clip_grads_with_norm_(parameters, self._most, total)

    def _exchange(self, own: torch.Tensor, records: torch.Tensor | None) -> list[torch.Tensor]:
        """The norms of every stage's tensors, by stage."""
        told = [torch.empty(len(places), device=self._device) for places in self._places]
        told[self._stage] = own
        others = [stage for stage in range(len(told)) if stage != self._stage]
        if others:
            crossing = [dist.P2POp(dist.isend, own, stage) for stage in others]
            crossing += [dist.P2POp(dist.irecv, told[stage], stage) for stage in others]
            for work in dist.batch_isend_irecv(crossing):
                work.wait()
        if records is not None and others:
            records[0, NORMS_SENT, 0] = sketch(own)
            for stage in others:
                records[0, NORMS_RECEIVED + stage, 0] = sketch(told[stage])
        return told


def _norms(parameters: Sequence[nn.Parameter], device: torch.device) -> torch.Tensor:
    norms = torch.full((len(parameters),), _NO_GRADIENT, device=device)
    present = [place for place, parameter in enumerate(parameters) if parameter.grad is not None]
    if present:
        norms[present] = torch.stack([torch.linalg.vector_norm(parameters[i].grad) for i in present]).to(device)
    return norms
