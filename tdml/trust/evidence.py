"""Evidence: what the rounds say against a replica, added up until it convicts or fades.

Wald's sequential test in Page's form (CUSUM, Biometrika 1954): every round adds the logarithm of how much
likelier its outcome is for one who did not do the work than for one who did, and the sum never falls below 0.
A replica is convicted when the sum reaches the threshold; for an honest one that takes about exp(threshold)
rounds. What an attacker does in a round is found by its sum; a single bad round of an honest replica is
forgotten.
"""

import torch

from tdml.trust.advantage import Advantage

CONVICTION = 10.0  # nats
DOUBT = CONVICTION / 3  # from here on a replica counts less, and is no measure for others
HARM = CONVICTION / 3  # of a round in which a replica is harmful: three in a row convict
SUSPICION = CONVICTION / 2  # of the screen
PERJURY = CONVICTION / 2  # of a round in which a node lied as a validator: see `tdml.trust.sentence`

_CAP = CONVICTION / 2  # no single round convicts by its advantage alone
_SPREAD = 0.25  # of honest t, as a share of what is expected, beside the 1 of theory: replicas differ
_SHARE = 0.25  # an own advantage of this share of the expected one is not the work that was asked for


def weigh(advantage: Advantage, alike: bool) -> torch.Tensor:
    """The nats that a round's own advantages add, (n,) float64, negative where they exonerate.

    With shares drawn alike an honest t is about N(μ, 1 + (μ/4)²), where μ is what its peers' make one expect;
    that of one who did a quarter of the work is about N(μ/4, 1 + (μ/4)²), and of less work, less. With skewed
    shares honest t differ by much more than their errors, so only a negative advantage, a tenth of the
    expected one, counts against.
    """
    t, mean = advantage.t, advantage.expected
    variance = 1 + (_SPREAD * mean) ** 2
    if alike:
        slope, middle = mean * (1 - _SHARE) / variance, mean * (1 + _SHARE) / 2
    else:
        slope, middle = 0.3 * mean / variance, -0.1 * mean
    return (slope * (middle - t)).clamp(-_CAP, _CAP)


def influence(evidence: float, conviction: float = CONVICTION) -> float:
    """The weight of a replica's update in the average: 1 up to a third of the nats that convict, then falling to 0."""
    return min(1.0, max(0.0, (conviction - evidence) / (conviction * 2 / 3)))
