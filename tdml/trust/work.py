"""The work test: did a replica learn anything from the samples that it was given?

The null hypothesis is "the update knows nothing of its own samples". If so, it gains on them what
it gains on others of their kind, and which samples are its own is a random draw. Under all such
draws within the strata, the sum of gains over the own samples has a mean and a variance in closed
form (stratified randomisation test; Neyman 1923), so no model of honest work or of the loss is
needed. A replica for which the hypothesis is rejected at the level ALPHA was *seen working*: the
test tells whether it has worked, not how much.

A gain is the logarithm of the loss before less that of the loss with the update; or rather the
inverse hyperbolic sine, for losses may be below 0. Where shares are skewed, a replica's samples are
not of the kind of the others': then the test ranks, but says nothing in anybody's favour.
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
    """The result of the work test for one replica."""

    p: float  # the probability of a sum of gains as large as its own under the null hypothesis

    @property
    def seen(self) -> bool:
        """Whether it was seen working."""
        return self.p <= ALPHA


def gains(before: torch.Tensor, after: torch.Tensor) -> torch.Tensor:
    """The gain of each sample: (k,) losses without and with an update → (k,) float64."""
    return (before.double() / LEAST_LOSS).asinh() - (after.double() / LEAST_LOSS).asinh()


def work_test(gain: torch.Tensor, own: torch.Tensor, strata: torch.Tensor) -> WorkResult:
    """z = (Σ_own g − Σ_k m_k ḡ_k) / √(Σ_k m_k (N_k − m_k)/N_k · S_k²), over the strata k with m_k
    own samples of N_k.

    Args:
        gain: (k,) float64, of own samples and controls. Those that are not finite are left out.
        own: (k,) bool.
        strata: (k,) int64: only samples of one stratum are compared.
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
    """How many own samples of each candidate to test with; 0 if the test is not worth its cost, for
    audits find more with that.

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
    """The cost of a test, in training steps on one sample."""
    return _TABLES * candidates * count / _PASSES


def passes_of(sample_steps: float) -> float:
    """How many forward passes cost as much as training on so many samples."""
    return _PASSES * sample_steps
