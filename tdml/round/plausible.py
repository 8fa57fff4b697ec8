"""Whether a report may be true, whatever kind of machine it comes from: then the coordinator finds
nearly the same losses."""

import math

import torch

from tdml.protocol.orders import Evaluation
from tdml.round.evaluator import Evaluator
from tdml.round.false_evaluation import Doubt, truth
from tdml.round.rounding import Rounding
from tdml.trust.numbers import AGAIN, ERRORS
from tdml.trust.work import gains


def is_plausible(
    evaluator: Evaluator, doubt: Doubt, true: Evaluation | None, reported: torch.Tensor
) -> bool | None:
    """Whether a batch of a report may be true; None if nobody knows.

    It may be if its losses differ from the coordinator's so little that the work test would move by
    less than a standard deviation, were all batches reported so. If they differ more, the
    coordinator evaluates the batch again with rounding errors, and they may differ as far as that
    leads.

    Args:
        true: what the coordinator finds; None if the model raises, or memory is short here.
        reported: (k,) the gains of all of the report's samples.
    """
    if true is None:
        return None
    start = doubt.batch * evaluator.batch_size
    own = slice(start, start + len(true.losses))
    error = _apart(true.losses, doubt.evaluated.parts[-1].losses[own])
    told = reported[own][reported[own].isfinite()]
    # |Σ_own e − m ē| ≤ ½ √n ‖e‖, beside the test's standard deviation of ½ √n σ
    if error == 0 or error * math.sqrt(len(reported)) <= float((told - told.mean()).norm()):
        return True
    if evaluator.drew:  # from the same seed other machines draw other numbers
        return None
    others = (truth(evaluator, doubt, Rounding(evaluator.train, seed)) for seed in range(AGAIN))
    spread = [_apart(true.losses, other.losses) for other in others if other is not None]
    return error <= ERRORS * max(spread) if spread else None


def _apart(one: torch.Tensor, other: torch.Tensor) -> float:
    """The distance of two results for the same samples, on the scale of gains. A sample whose loss
    is not finite in both does not count, for it is not in the test; if it is so in one of them,
    they are infinitely far apart."""
    if one.shape != other.shape:
        return torch.inf
    sound = gains(one, one).isfinite() | gains(other, other).isfinite()
    return float(gains(one[sound], other[sound]).norm().nan_to_num(nan=torch.inf))
