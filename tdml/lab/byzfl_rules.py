"""ByzFL's robust averages, where ByzFL is installed."""

from collections.abc import Callable
from types import ModuleType

import torch

from tdml.common.vision import torchvision
from tdml.errors import SettingError

Rule = Callable[[torch.Tensor, int], torch.Tensor]  # (n, d) updates, f → (d,)
RULES = ("trmean", "multikrum", "geometric-median", "centered-clipping", "nnm-trmean")
MISSING = "ByzFL's rules are left out, for ByzFL is missing: pip install byzfl==0.0.11"


def library() -> ModuleType | None:
    """ByzFL, None where it is missing."""
    torchvision()  # which ByzFL imports; see there
    try:
        import byzfl
    except ModuleNotFoundError as error:
        if error.name != "byzfl":
            raise
        return None
    return byzfl


def make_rule(name: str) -> Rule:
    """One of `RULES`, for one run.

    Raises:
        SettingError: ByzFL is missing.
    """
    byzfl = library()
    if byzfl is None:
        raise SettingError(MISSING)
    if name == "centered-clipping":
        return _Clipping(byzfl)
    return {
        "trmean": lambda updates, f: byzfl.TrMean(f)(updates),
        "multikrum": lambda updates, f: byzfl.MultiKrum(f)(updates),
        "geometric-median": lambda updates, f: byzfl.GeometricMedian()(updates),
        "nnm-trmean": lambda updates, f: byzfl.TrMean(f)(byzfl.NNM(f)(updates)),
    }[name]


class _Clipping:
    """Centered clipping around the last aggregate, at the median distance from it: ByzFL's radius
    is a constant that would have to be tuned for every model."""

    def __init__(self, byzfl: ModuleType) -> None:
        self._byzfl = byzfl
        self._center: torch.Tensor | None = None

    def __call__(self, updates: torch.Tensor, byzantine: int) -> torch.Tensor:
        center = torch.zeros_like(updates[0]) if self._center is None else self._center
        radius = float((updates - center).norm(dim=1).median())
        rule = self._byzfl.CenteredClipping(L=1, tau=radius)
        rule.m = center  # which the constructor refuses, in whatever type
        center = self._center = rule(updates)
        return center
