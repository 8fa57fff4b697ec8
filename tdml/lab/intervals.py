"""95 % intervals."""

import math
import statistics
from collections.abc import Sequence


def wilson(hits: int, trials: int) -> tuple[float, float]:
    """Of a share: Wilson's score interval (JASA 1927). Of no trials, everything."""
    if trials == 0:
        return 0.0, 1.0
    from scipy.stats import binomtest

    low, high = binomtest(hits, trials).proportion_ci(method="wilson")
    return float(low), float(high)


def mean_interval(values: Sequence[float]) -> tuple[float, float]:
    """Mean and half the width of Student's t interval; NaN for the latter with fewer than two
    values."""
    if len(values) < 2:
        return statistics.fmean(values), math.nan
    from scipy.stats import sem, t

    return statistics.fmean(values), float(t.ppf(0.975, len(values) - 1) * sem(values))
