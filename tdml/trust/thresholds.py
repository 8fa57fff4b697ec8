"""The limits of the screen.

They are stated in natural units, not in multiples of an estimated error, because with few
replicas the error cannot be estimated. They were set from honest rounds (an MLP, a CNN and ResNet-18 on
the digits, 4 and 8 replicas, one step to one epoch a round, whole models and single stages). The largest
honest departures seen, IID and (in brackets) Dirichlet 0.1: spread −0.49 to 0.25 (±0.60, of updates that were
a tenth of their peers' size), level 0.28 (0.62), size log 2.8 (log 17), direction −0.18 (−0.36). Networks with
BatchNorm were measured again by their parameters alone: all of it lies inside of these.

Other jobs know other honest departures. Where few numbers decide all others (an output layer most of whose classes
never occur, a network that is stuck), replicas differ as those few numbers do: mean ranks of 1.2 and cosines of −0.76
were seen, at most 5 times what three quarters of the replicas lay apart. Updates hidden in the middle of the ranks,
shifted or turned round were 8 times as far and more. So what is nearer convicts only if the cross-check bears it out;
with skewed shares, where the honest fall into groups and one may be a thousand times as large, all but false counts.
Small updates: a sixth of the peers' size in 40 such jobs; in long runs that have learnt nearly all, with batches of
eight and three steps, less than a hundredth now and then. So next to nothing is suspect, and never guilt.
"""

import math
from dataclasses import dataclass


@dataclass(frozen=True)
class Thresholds:
    """Departures from which a replica is suspect, or guilty if the cross-check does not acquit it."""

    suspect_wide: float = 0.3
    suspect_narrow: float = -0.55
    suspect_level: float = 0.5
    suspect_size: float = math.log(4)
    suspect_small: float = -math.log(100)  # next to nothing
    suspect_direction: float = -0.2
    guilty_narrow: float = -0.75  # in the middle of its peers nearly everywhere, and yet
    narrow_size: float = -math.log(3)  # not because it is small
    guilty_level: float = 1.0
    guilty_size: float = math.log(6)
    outside_size: float = math.log(3)  # of an update that also lies outside of its peers' range
    guilty_direction: float = -0.45
    apart: float = 7.0  # times what three quarters lie apart: guilt is certain beyond that only; inf: never


ALIKE = Thresholds()  # where the replicas' shares are drawn alike
SKEWED = Thresholds(
    suspect_wide=0.7, suspect_narrow=-0.7, suspect_level=0.8, suspect_size=math.log(20), suspect_small=-math.log(1000),
    suspect_direction=-0.4, guilty_size=math.log(100), outside_size=math.log(100), guilty_direction=-0.55,
    apart=math.inf,
)  # fmt: skip
