"""Trust: pure functions, tensors in and judgements out. Nothing here knows of processes."""

import importlib

from tdml.trust.ranking import Moments, rank_moments
from tdml.trust.screen import Screening, screen

__all__ = ["Moments", "Screening", "mandera", "rank_moments", "screen"]


def __getattr__(name: str) -> object:
    if name == "mandera":  # as published: a yardstick, which scripts have from here
        return importlib.import_module("tdml.lab.mandera").mandera
    raise AttributeError(name)
