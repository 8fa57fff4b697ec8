"""Evidence: what the rounds say against a replica, added up until it convicts or fades.

Wald's sequential test in Page's form (CUSUM, Biometrika 1954): every round adds the logarithm of how much
likelier its outcome is for one who did not do the work than for one who did, and the sum never falls below 0.
A replica is convicted when the sum reaches the threshold; for an honest one that takes about exp(threshold)
rounds. What an attacker does in a round is found by its sum; a single bad round of an honest replica is
forgotten.
"""

import math

import torch

from tdml.trust.advantage import Advantage

CONVICTION = 10.0  # nats
DOUBT = CONVICTION / 3  # from here on a replica counts less, and is no measure for others
HARM = CONVICTION / 3  # of a round in which a replica is harmful: three in a row convict
SUSPICION = CONVICTION / 2  # of the screen
PERJURY = CONVICTION / 2  # of a round in which a node lied as a validator: see `tdml.trust.sentence`

CONFIRMATION = 1.0  # nats of a telling round's own advantage that bear out what the screen found, or speak against it

_LEAST_EXPECTED = 2.0  # own advantage, of which those who worked can be told from those who did not
_LEAST_MISSING = 0.1  # probability of the right label, of which rare samples do not decide an honest update
_LEAST_LEFT = 0.1  # of what is expected of few peers next to nothing is known
_CAP = CONVICTION / 2  # no single round convicts by its advantage alone
_SPREAD = 0.25  # of honest t, as a share of what is expected, beside the 1 of theory: replicas differ
_SHARE = 0.25  # an own advantage of this share of the expected one is not the work that was asked for


def weigh(advantage: Advantage, alike: bool) -> torch.Tensor:
    """The nats that a round's own advantages add, (n,) float64, negative where they exonerate.

    With shares drawn alike an honest t is about N(μ, 1 + (μ/4)²), where μ is what its peers' make one expect;
    that of one who did a quarter of the work is about N(μ/4, 1 + (μ/4)²), and of less work, less. But μ is an
    estimate: where nobody has anything left to learn, chance makes it positive in half of the rounds, and the ratio
    would speak against everyone, a little each time (see `_allowance`). With skewed shares honest t differ by much
    more than their errors, so only a negative advantage, a tenth of the expected one, counts against, and only of
    those who have made no progress on their own samples.
    """
    t, mean = advantage.t, advantage.expected
    variance = 1 + (_SPREAD * mean) ** 2
    if alike:
        slope, middle = mean * (1 - _SHARE) / variance, mean * (1 + _SHARE) / 2
        allowance = _allowance(advantage.error) / variance * (mean > 0)
    else:
        slope, middle, allowance = 0.3 * mean / variance, -0.1 * mean, 0.0
    nats = (slope * (middle - t) - allowance).clamp(-_CAP, _CAP)
    return nats if alike else nats.where(~advantage.learnt, nats.clamp(max=0))


def _allowance(error: float) -> float:
    """Nats to take off, for an expected μ > 0 whose standard error this is.

    Where nobody has an advantage, t is N(0, 1) and μ is N(0, ε²). With a = _SHARE the mean of exp(nats) over t is then
    exp((1 − a) μ²), and over μ > 0 it is 1/√(1 − 2 (1 − a) ε²). With its logarithm taken off that mean is 1, as Wald's
    test has it for the honest.
    """
    return -0.5 * math.log(max(1 - 2 * (1 - _SHARE) * error**2, _LEAST_LEFT))


def tells(advantage: Advantage) -> torch.Tensor:
    """Whether a round tells who worked, (n,) bool: an own advantage can be expected, and enough is left to learn.

    Where nothing is, or where training is unstable, honest updates differ by any factor.
    """
    return (advantage.expected >= _LEAST_EXPECTED) & (advantage.missing >= _LEAST_MISSING)


def bears_out(advantage: Advantage, alike: bool) -> torch.Tensor:
    """Whether a round's own advantages bear out that the work was not done, (n,) bool.

    They do if that is likelier by CONFIRMATION nats in a round that tells, by DOUBT nats in any. With skewed shares,
    where honest t differ by more than their errors, the round must tell, t be below a quarter of the expected one as
    well, and no progress on the own samples be seen.
    """
    nats, telling = weigh(advantage, alike=True), tells(advantage)
    idle = (nats >= DOUBT) | (telling & (nats >= CONFIRMATION))
    return idle if alike else idle & telling & (advantage.t < _SHARE * advantage.expected) & ~advantage.learnt


def influence(evidence: float, conviction: float = CONVICTION) -> float:
    """The weight of a replica's update in the average: 1 up to a third of the nats that convict, then falling to 0."""
    return min(1.0, max(0.0, (conviction - evidence) / (conviction * 2 / 3)))
