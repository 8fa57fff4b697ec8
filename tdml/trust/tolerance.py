"""How far the results of two kinds of machines may be apart after a step: learnt from the steps of
the run."""

import statistics

import torch

from tdml.trust.numbers import ERRORS, MOST_ERROR


def relative_error(start: torch.Tensor, one: torch.Tensor, other: torch.Tensor) -> float:
    """How far apart two results are, relative to the change that led there: ‖a − b‖ / max(‖a − s‖,
    ‖b − s‖).

    0 where they are equal (NaN counts as equal to NaN); else infinite where anything is not finite.
    """
    if torch.allclose(one, other, rtol=0, atol=0, equal_nan=True):
        return 0.0
    a, b, s = one.double(), other.double(), start.double()
    error = float((a - b).norm() / torch.maximum((a - s).norm(), (b - s).norm()))
    return error if error < float("inf") else float("inf")


class Tolerance:
    """The errors that were no lies, by pairs of kinds of machines."""

    def __init__(self) -> None:
        self.seen: dict[str, list[float]] = {}

    def limit(self, one: str, other: str) -> float:
        """The largest error that is no lie; 0 between equal kinds, which agree bit for bit."""
        if one == other:
            return 0.0
        errors = self.seen.get(_pair(one, other))
        return min(ERRORS * statistics.median(errors), MOST_ERROR) if errors else MOST_ERROR

    def learn(self, one: str, other: str, error: float) -> None:
        """Take in the error of a step after which both agree within the limit."""
        self.seen.setdefault(_pair(one, other), []).append(error)


def _pair(one: str, other: str) -> str:
    return " | ".join(sorted((one, other)))
