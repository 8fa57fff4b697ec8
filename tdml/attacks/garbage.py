"""What is no update at all."""

import torch

from tdml.attacks.base import Attack, Context
from tdml.attacks.settings import choice

_KINDS = ("nan", "inf", "huge", "shape", "dtype")
_HUGE = 1e30  # a finite float32 whose square is not


class Garbage(Attack):
    """The own update made unusable; a plain average does not survive any of it.

    Ours. `kind`: nan or inf, in the first coordinate alone; huge, 1e30 everywhere; shape, one
    number too few; dtype, float64.
    """

    def __init__(self, kind: str) -> None:
        self.kind = choice("kind", str(kind), _KINDS)  # on the command line nan and inf are numbers

    def corrupt(self, update: torch.Tensor, context: Context) -> torch.Tensor:
        if self.kind == "shape":
            return update[:-1].clone()
        if self.kind == "dtype":
            return update.double()
        if self.kind == "huge":
            return torch.full_like(update, _HUGE)
        corrupted = update.clone()
        corrupted[:1] = float(self.kind)
        return corrupted
