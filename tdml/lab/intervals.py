"""95 % intervals."""

import math
import statistics
from collections.abc import Sequence

_Z = 1.959963984540054  # Φ⁻¹(0.975)


def wilson(hits: int, trials: int) -> tuple[float, float]:
    """Of a share: Wilson's score interval (JASA 1927). Of no trials, everything."""
    if trials == 0:
        return 0.0, 1.0
    share, z2 = hits / trials, _Z**2
    middle = (share + z2 / (2 * trials)) / (1 + z2 / trials)
    half = _Z / (1 + z2 / trials) * math.sqrt(share * (1 - share) / trials + z2 / (4 * trials**2))
    return max(0.0, middle - half), min(1.0, middle + half)


def mean_interval(values: Sequence[float]) -> tuple[float, float]:
    """Mean and half the width of Student's t interval; NaN for the latter with fewer than two
    values."""
    if len(values) < 2:
        return statistics.fmean(values), math.nan
    from scipy.stats import t

    error = statistics.stdev(values) / math.sqrt(len(values))
    return statistics.fmean(values), float(t.ppf(0.975, len(values) - 1)) * error
