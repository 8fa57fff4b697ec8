"""Harm: a candidate that makes the model worse on held-out data.

What is compared is the probability that a model gives to the right label, exp(−loss): unlike the loss it is
bounded, so that one wild sample decides nothing. Early in training honest models' losses differ by factors
of ten and more, their probabilities do not.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from tdml.trust.exam import Exam
from tdml.trust.medians import median

_HARMFUL_SHARE = 0.4  # of its peers' and of the starting point's probability
_HARMFUL_T = 4.0  # standard errors below the median peer
_LEAST_SAMPLES = 8  # held-out ones, of fewer nothing follows


@dataclass(frozen=True)
class Harm:
    """Whether a candidate is harmful, and the numbers in words."""

    harmful: bool
    reason: str


def judge_harm(exam: Exam, trusted: Sequence[int]) -> list[Harm]:
    """Judge every candidate on the held-out samples.

    A candidate is harmful if its probability of the right label is below 0.4 of both the starting point's
    and the median peer's, and 4 standard errors below the peers'. That alone convicts nobody: one honest
    replica in a few dozen does as badly after a bad run of batches, and far more do under skewed data.

    Args:
        trusted: the rows that are the measure for the others.
    """
    held_out = exam.owners < 0
    before, after = (
        losses.double().where(~losses.isnan(), torch.inf) for losses in (exam.before[held_out], exam.after[:, held_out])
    )
    start, probabilities = torch.exp(-before), torch.exp(-after)
    found = []
    for i, probability in enumerate(probabilities):
        peers = [row for row in trusted if row != i]
        measure = median(probabilities[peers]) if peers else start
        bar = _HARMFUL_SHARE * min(float(start.mean()), float(measure.mean()))
        worse = len(start) >= _LEAST_SAMPLES and _t_statistic(measure - probability) > _HARMFUL_T
        harmful = worse and float(probability.mean()) < bar
        change = float(after[i].mean() - before.mean())
        reason = (
            f"held-out loss {change:+.3g}; probability of the right label {float(probability.mean()):.2f}, "
            f"peers {float(measure.mean()):.2f}, before {float(start.mean()):.2f}, {len(start)} samples"
        )
        found.append(Harm(harmful, reason))
    return found


def _t_statistic(differences: torch.Tensor) -> float:
    error = differences.std() / len(differences) ** 0.5
    return float(differences.mean() / error) if error > 0 else float("inf") * float(differences.mean().sign())
