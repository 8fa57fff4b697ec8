"""A node's share of the weights as one flat vector: parameters that are trained first, then
buffers.

One tensor moves over RPC several times faster than a state dict of hundreds. Integer buffers
(BatchNorm's count of batches) travel as float32, which is exact below 2^24.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch

from tdml.models.split import Part, tensor_at


@dataclass(frozen=True)
class Layout:
    """The order of a node's tensors in its flat vector."""

    names: tuple[str, ...]
    shapes: tuple[torch.Size, ...]
    parameters: int  # numbers that are parameters; the buffers follow
    size: int  # numbers in all
    parameter_tensors: int  # tensors that are parameters

    @staticmethod
    def of(parts: Sequence[Part]) -> "Layout":
        """The layout of what the parts that one node holds exchange: all but frozen parameters."""
        parameters = [shape for part in parts for shape in _shapes(part, part.parameters)]
        entries = parameters + [shape for part in parts for shape in _shapes(part, part.buffers)]
        return Layout(
            names=tuple(name for name, _ in entries),
            shapes=tuple(shape for _, shape in entries),
            parameters=sum(shape.numel() for _, shape in parameters),
            size=sum(shape.numel() for _, shape in entries),
            parameter_tensors=len(parameters),
        )

    def flatten(
        self, tensors: Sequence[torch.Tensor], out: torch.Tensor | None = None
    ) -> torch.Tensor:
        """Tensors in the layout's order → (size,) float32 on the host, in `out` where it is
        given."""
        flat = torch.empty(self.size, dtype=torch.float32) if out is None else out
        for view, tensor in zip(self.views(flat), tensors, strict=True):
            view.copy_(tensor.detach())
        return flat

    @torch.no_grad()
    def scatter(self, flat: torch.Tensor, tensors: Sequence[torch.Tensor]) -> None:
        """Write a flat vector into tensors in the layout's order; integer buffers are rounded."""
        for view, tensor in zip(self.views(flat), tensors, strict=True):
            tensor.copy_(view if tensor.is_floating_point() else view.round())

    def views(self, flat: torch.Tensor) -> list[torch.Tensor]:
        """The pieces of a flat vector, in the shapes of the tensors."""
        sizes = [shape.numel() for shape in self.shapes]
        return [
            piece.view(shape) for piece, shape in zip(flat.split(sizes), self.shapes, strict=True)
        ]


def change(before: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
    """after − before; zero where nothing changed, also in a buffer that holds infinities, such as a
    mask."""
    changes = after - before
    if changes.sum().isfinite():  # one look at them costs a third of comparing all
        return changes
    return torch.where(after == before, 0.0, changes)


def _shapes(part: Part, names: Mapping[str, str]) -> list[tuple[str, torch.Size]]:
    """Of some tensors of a part: their names in the un-split model, and their shapes."""
    return [(name, tensor_at(part.module, local).shape) for name, local in names.items()]
