"""Why cheating does not pay: the stake that makes every lie a bad bet, and a warning where it is
smaller.

Whoever owns a whole replica and lies gains at most its pay of that round. If the lie is met, only
the first node that is found false can be named: it loses its stake, and the others, whom it may
have misled, are paid out of that. With the chance q that the lie is met, the bet is bad if
(stake − kept) · q ≥ gain · (1 − q), where `kept` is the pay of those others. Who owns less gains
less, and loses as much.

Only windows that chance chooses are counted here, and a lie in a single one of them: that suspects
are looked at before others is a reserve, not part of the sum. Silence is not counted either: a
silent node is not convicted, so its stake does not deter it; it is not paid for what it does not
show. Who pays for verified work alone needs the stake against owners of whole replicas only, and
less of it.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from fractions import Fraction

from tdml.errors import SettingError
from tdml.rewards.entries import LARGEST_AMOUNT, Terms, Verdict, read
from tdml.rewards.policies import policy_of
from tdml.trust.numbers import RANDOM_SHARE

_WITHOUT_AUDITS = 10  # rounds' pay that null stakes where no stake is enough


@dataclass(frozen=True)
class Bet:
    """What the owner of a whole replica is paid, at most, for a round in which it lies."""

    gain: int  # if the lie is not found
    kept: int  # if it is found, and the node that is paid least is convicted

    def is_bad(self, stake: int, chance: float) -> bool:
        """Whether lying does not pay, if a lie is found with this chance."""
        exact = Fraction(chance)
        return (stake - self.kept) * exact >= self.gain * (1 - exact)


def bet_of(job: Mapping) -> Bet:
    """The bet in a job.

    Under `improvement` the whole pool can be won: a cheat can hope to be in the only replica that
    improves anything.

    Args:
        job: body of the job's entry.
    """
    terms = read(job, Terms)
    full_round = [
        Verdict(replica, [], "honest", samples=samples, improvement=int(replica == 0))
        for replica, samples in enumerate(terms.samples)
    ]
    best = max(policy_of(terms).usual(full_round), key=sum)
    return Bet(sum(best), sum(best) - min(best))


def least_stake(bet: Bet, chance: float) -> int:
    """The smallest stake at which the bet is bad, for a chance above 0."""
    exact = Fraction(chance)
    return bet.kept + math.ceil(bet.gain * (1 - exact) / exact)


def stake_of(job: Mapping) -> int:
    """The stake of every key: as set, or as much as makes a lie in a single window not pay.

    Without audits no stake is enough, and it is ten rounds' pay of a replica.

    Args:
        job: body of the job's entry, in which `stake` may still be None. `audit_chance` is 0 where
            nobody audits.

    Raises:
        SettingError: there would be more money than the ledger can write down; or only verified
            work is paid, and none is.
    """
    terms = read(job, Terms)
    try:
        policy = policy_of(terms)
    except ValueError as error:
        raise SettingError(
            f"rewards.policy={terms.policy} cannot be: {error}: take rewards.policy=work"
        ) from error
    if policy.most() * terms.rounds > LARGEST_AMOUNT:
        raise SettingError(
            f"rewards.pool={terms.pool} × rounds={terms.rounds} exceeds "
            f"{math.floor(LARGEST_AMOUNT * terms.pool / policy.most())}: lower one of them"
        )
    if terms.stake is not None:
        stake, remedy = terms.stake, "lower it"
    elif terms.audit_chance == 0:
        stake, remedy = _WITHOUT_AUDITS * bet_of(job).gain, "lower rewards.pool"
    else:
        stake = least_stake(bet_of(job), terms.audit_chance)
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
    terms = read(job, Terms)
    bet, stake, chance = bet_of(job), stake_of(job), terms.audit_chance
    if policy_of(terms).verified:
        return _warning_of_verified(bet, stake, chance)
    if bet.is_bad(stake, chance):
        return None
    budget = _least_budget(bet, stake)
    remedy = f", or trust.budget={budget:g}" if budget <= 1 else ""
    return (
        f"rewards.stake={stake} does not outweigh the {bet.gain} that a replica gains by a lie: "
        f"the budget meets it with a chance of {chance:.3g}; it takes rewards.stake="
        f"{least_stake(bet, chance)}{remedy}"
    )


def _warning_of_verified(bet: Bet, stake: int, chance: float) -> str | None:
    """A lie that is not met is paid nothing; if it is, whoever is not named is paid for all that
    the window stands for, and may be the liar's own."""
    kept = math.ceil(bet.kept / Fraction(chance))
    if stake >= kept:
        return None
    return (
        f"rewards.stake={stake} does not outweigh the {kept} that the others of a liar's replica "
        f"are paid, who may be its own: it takes rewards.stake={kept}"
    )


def _least_budget(bet: Bet, stake: int) -> float:
    """The budget from which on the stake is enough, rounded up to thousandths; above 1 where none
    is."""
    chance = bet.gain / (bet.gain + max(0, stake - bet.kept))
    return math.ceil(1000 * chance / RANDOM_SHARE) / 1000
