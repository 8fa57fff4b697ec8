"""The work test: did a replica learn anything from the samples that it was given?

The null hypothesis is turned round: "the update knows nothing of its own samples". Then what it
gains on them is what it gains on any others of their kind, and which samples are its own is a draw.
Under all such draws within the strata, the sum of gains over the own samples has a mean and a
variance in closed form (stratified randomisation test; Neyman 1923), so no model of honest work is
needed, nor of the loss. Who rejects the hypothesis at the level ALPHA was *seen working*. It
measures whether, not how much.

A gain is the logarithm of the loss before less that of the loss with the update; in its place the
inverse hyperbolic sine, which losses below 0 have, too. Where shares are skewed, a replica's
samples are not of the kind of the others', and the test ranks, but does not vouch.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from tdml.trust.numbers import ALPHA, FEWEST_SAMPLES, LEAST_LOSS, MOST_SAMPLES

_PASSES = 3  # forward passes of a sample that one step of training costs
# passes of own samples a candidate: with its update and without, on them and on as many controls
_TABLES = 4


@dataclass(frozen=True)
class WorkResult:
    """The result for one replica: the chance of a sum of gains as large as its own by luck."""

    p: float

    @property
    def seen(self) -> bool:
        """Whether it was seen working."""
        return self.p <= ALPHA


def gains(before: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
    """(k,) losses without and with an update → (k,) float64."""
    return (before.double() / LEAST_LOSS).asinh() - (after.double() / LEAST_LOSS).asinh()


def work_test(gain: torch.Tensor, own: torch.Tensor, strata: torch.Tensor) -> WorkResult:
    """z = (Σ_own g − Σ_k m_k ḡ_k) / √(Σ_k m_k (N_k − m_k)/N_k · S_k²), over the strata k with m_k
    own samples of N_k.

    Args:
        gain: (k,) float64, of own samples and controls. What is not finite is left out: its loss
            says nothing.
        own: (k,) bool.
        strata: (k,) int64: what is compared with what.
    """
    sound = gain.isfinite()
    gain, own, strata = gain[sound], own[sound], strata[sound]
    surplus, variance = 0.0, 0.0
    for stratum in strata.unique().tolist():
        inside = strata == stratum
        values, mine = gain[inside], own[inside]
        count, owned = len(values), int(mine.sum())
        if 0 < owned < count:
            surplus += float(values[mine].sum() - owned * values.mean())
            variance += owned * (count - owned) / count * float(values.var())
    z = surplus / math.sqrt(variance) if variance > 0 else 0.0
    return WorkResult(math.erfc(z / math.sqrt(2)) / 2)


def samples_that_pay(samples: Sequence[int], available: int, passes: float) -> int:
    """How many own samples of each candidate to test with; 0: the test is worth less than what
    audits find with that.

    Args:
        samples: each replica's in a round.
        available: different samples that each of them has, at least.
        passes: forward passes of one sample that may be spent.
    """
    if len(samples) < 2:
        return 0
    affordable = int(passes / (_TABLES * len(samples)))
    count = min(affordable, available, MOST_SAMPLES)
    return count if count >= FEWEST_SAMPLES else 0


def cost(candidates: int, count: int) -> float:
    """Of a test, in steps of training with one sample."""
    return _TABLES * candidates * count / _PASSES


def passes_of(sample_steps: float) -> float:
    """Forward passes that cost as much as training with so many samples."""
    return _PASSES * sample_steps
