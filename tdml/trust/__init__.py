"""Trust: pure functions, tensors in and judgements out. Nothing here knows of processes."""

from tdml.trust.ranking import Moments, rank_moments
from tdml.trust.screen import Screening, screen

__all__ = ["Moments", "Screening", "rank_moments", "screen"]
