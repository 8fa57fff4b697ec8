"""Why cheating does not pay: the stake that makes every lie a bad bet, and a warning where it is
smaller.

A node that lies in a round gains at most its pay of that round, and loses its stake if the lie is
met. With the chance q that it is met, the bet is bad if stake · q ≥ gain · (1 − q). Only windows
that chance chooses are counted here, and a lie in a single one of them: that suspects are looked at
before others is a reserve, not part of the sum. Silence is not counted either: a silent node is not
convicted, so its stake does not deter it; it is not paid for what it does not show.
"""

import math
from collections.abc import Mapping
from fractions import Fraction

from tdml.errors import SettingError
from tdml.rewards.entries import LARGEST_AMOUNT, Terms, Verdict, read
from tdml.rewards.policies import parts
from tdml.trust.numbers import RANDOM_SHARE

_WITHOUT_AUDITS = 10  # rounds' pay that null stakes where no stake is enough


def gain(job: Mapping) -> int:
    """The most that a node can earn in a round.

    Under `improvement` that is its stage's share of the whole pool: a cheat can hope to be in the
    only replica that improves anything.

    Args:
        job: body of the job's entry.
    """
    terms = read(job, Terms)
    full_round = [
        Verdict(replica, [], "honest", samples=samples, improvement=int(replica == 0))
        for replica, samples in enumerate(terms.samples)
    ]
    return max(map(max, parts(terms, full_round)))


def least_stake(gain: int, chance: float) -> int:
    """The smallest stake s that satisfies s · chance ≥ gain · (1 − chance), for a chance above
    0."""
    exact = Fraction(chance)
    return math.ceil(gain * (1 - exact) / exact)


def stake_of(job: Mapping) -> int:
    """The stake of every key: as set, or as much as makes a lie in a single window not pay.

    Without audits no stake is enough, and it is ten rounds' pay.

    Args:
        job: body of the job's entry, in which `stake` may still be None. `audit_chance` is 0 where
            nobody audits.

    Raises:
        SettingError: there would be more money than the ledger can write down.
    """
    terms = read(job, Terms)
    if terms.pool * terms.rounds > LARGEST_AMOUNT:
        raise SettingError(
            f"rewards.pool={terms.pool} × rounds={terms.rounds} exceeds {LARGEST_AMOUNT}: lower "
            "one of them"
        )
    if terms.stake is not None:
        stake, remedy = terms.stake, "lower it"
    elif terms.audit_chance == 0:
        stake, remedy = _WITHOUT_AUDITS * gain(job), "lower rewards.pool"
    else:
        stake = least_stake(gain(job), terms.audit_chance)
        remedy = "lower rewards.pool or raise trust.budget"
    if stake > LARGEST_AMOUNT:
        raise SettingError(
            f"rewards.stake={stake} exceeds {LARGEST_AMOUNT}, the most that the ledger can write: "
            f"{remedy}"
        )
    return stake


def warning(job: Mapping) -> str | None:
    """What to say at a run's start, in one line, if a lie that only audits can find pays; None if
    it does not.

    Args:
        job: as for `stake_of`.
    """
    terms, most, stake = read(job, Terms), gain(job), stake_of(job)
    chance = terms.audit_chance
    if stake * Fraction(chance) >= most * (1 - Fraction(chance)):
        return None
    budget = _least_budget(most, stake)
    remedy = f", or trust.budget={budget:g}" if budget <= 1 else ""
    return (
        f"rewards.stake={stake} does not outweigh the {most} that a lie gains: the budget meets it "
        f"with a chance of {chance:.3g}; it takes rewards.stake={least_stake(most, chance)}{remedy}"
    )


def _least_budget(gain: int, stake: int) -> float:
    """The budget from which on the stake is enough, rounded up to thousandths; above 1 where none
    is."""
    return math.ceil(1000 * gain / (gain + stake) / RANDOM_SHARE) / 1000
