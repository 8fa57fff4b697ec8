import math
from fractions import Fraction

import pytest

from tdml.errors import SettingError
from tdml.rewards.accounts import Accounts
from tdml.rewards.deterrence import Bet, bet_of, least_stake, stake_of, warning
from tdml.rewards.entries import LARGEST_AMOUNT
from tdml.trust.numbers import RANDOM_SHARE
from tests.rewards.books import opened, play
from tests.rewards.stories import close, job, roster, verdict


def unsettled(**changes):
    return job(stake=None, pool=1_000_000, **changes)


# What a lie gains


@pytest.mark.parametrize(
    ("policy", "most", "kept"),
    [
        ("work", 500, 300),
        ("equal", 332, 166),
        ("improvement", 1000, 600),
        ("verified", 500, 300),
    ],
)
def test_the_gain_is_the_largest_pay_of_a_replica_in_a_full_round(policy, most, kept):
    body = job(policy=policy, samples=[100, 40, 60], pool=1000, audit_chance=1.0)
    assert bet_of(body) == Bet(most, kept)
    book = Accounts(body, roster([f"r{r}.s{s}" for r in range(3) for s in range(2)]))
    close(book, 0)
    for replica, samples in enumerate(body["samples"]):
        book.apply(
            "verdict",
            1,
            verdict(
                replica,
                samples=samples,
                improvement=samples if replica == 0 else -1,
                repeated=samples,
            ),
        )
    close(book, 1)
    assert sum(book.balances[f"credit:key-r0.s{stage}"] for stage in range(2)) == most


@pytest.mark.parametrize("blamed", ["r0.s0", "r0.s1"])
@pytest.mark.parametrize("policy", ["work", "equal", "improvement"])
@pytest.mark.parametrize("chance", [0.05, 0.25, 0.5])
def test_who_owns_a_whole_replica_loses_by_lies_of_which_one_node_is_named(policy, blamed, chance):
    """The partner did no work either, and is paid out of its owner's stake."""
    body = job(policy=policy, stake=None, audit_chance=chance)
    stake = stake_of(body)

    def earned(*verdicts):
        book = opened(policy=policy, stake=stake)
        play(book, 1, *verdicts)
        own = ("credit:key-r0.s", "stake:key-r0.s")
        return sum(b for account, b in book.balances.items() if account.startswith(own)) - 2 * stake

    # under `improvement` what a node has spoilt counts as much as the others', here the whole pool
    others = [verdict(1, improvement=1)] if policy == "improvement" else []
    unmet = earned(verdict(0, improvement=1))
    met = earned(verdict(0, "malicious", [blamed]), *others)
    exact = Fraction(chance)
    assert unmet == bet_of(body).gain and met <= bet_of(body).kept - stake
    assert (1 - exact) * unmet + exact * met <= 0
    worst = policy != "improvement" and blamed == "r0.s0"
    assert not worst or (1 - exact) * unmet + exact * (met + 1) > 0, "with a unit less it would pay"


# The stake


@pytest.mark.parametrize("chance", [1e-9, 0.0345, 0.1, 1 / 3, 0.5, 0.999999, 1.0])
@pytest.mark.parametrize("most", [0, 1, 7, 125_000, LARGEST_AMOUNT])
@pytest.mark.parametrize("kept", [0, 3, 70_000])
def test_the_least_stake_outweighs_the_gain_and_a_unit_less_does_not(chance, most, kept):
    bet = Bet(most, kept)
    stake, q = least_stake(bet, chance), Fraction(chance)
    assert (stake - kept) * q >= most * (1 - q)
    assert (stake - kept - 1) * q < most * (1 - q)
    assert bet.is_bad(stake, chance) and not bet.is_bad(stake - 1, chance)


def test_by_default_the_stake_is_the_least():
    body = unsettled()
    stake = stake_of(body)
    assert stake == least_stake(Bet(333_333, 200_000), 0.05) == 6_533_327
    assert warning(body) is None
    assert warning(body | {"stake": stake}) is None
    assert stake_of(body | {"stake": 12}) == 12


def test_a_stake_that_is_too_small_is_warned_of_with_figures_that_would_do():
    body = unsettled() | {"stake": 100_000}
    assert warning(body) == (
        "rewards.stake=100000 does not outweigh the 333333 that a replica gains by a lie: the "
        "budget meets it with a chance of 0.05; it takes rewards.stake=6533327"
    )
    assert warning(body | {"audit_chance": RANDOM_SHARE}) is not None, "no budget is enough"
    assert warning(body | {"stake": 6_533_326}) is not None
    assert warning(body | {"stake": 6_533_327}) is None


def test_a_budget_that_would_do_is_named():
    body = unsettled() | {"stake": 1_000_000}
    assert warning(body).endswith("it takes rewards.stake=6533327, or trust.budget=0.589")
    assert warning(body | {"audit_chance": RANDOM_SHARE * 0.588}) is not None
    assert warning(body | {"audit_chance": RANDOM_SHARE * 0.589}) is None


def test_where_every_window_is_audited_the_stake_is_what_partners_of_a_liar_are_paid():
    assert stake_of(unsettled(audit_chance=1)) == 200_000
    assert stake_of(unsettled(audit_chance=1, shares=[1_000_000])) == 0, "there are none"
    assert warning(unsettled(audit_chance=1)) is None


def test_where_nothing_is_paid_nothing_is_staked():
    for rate in (0, 0.1, 1):
        body = job(stake=None, pool=0, audit_chance=rate)
        assert (stake_of(body), warning(body)) == (0, None)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"pool": LARGEST_AMOUNT // 10 + 1}, ("rewards.pool", "rounds=10")),
        ({"stake": LARGEST_AMOUNT + 1}, ("rewards.stake", "lower it")),
        (
            {"pool": LARGEST_AMOUNT // 10, "audit_chance": 0.0001},
            ("rewards.stake", "rewards.pool or raise trust.budget"),
        ),
        (
            {"pool": LARGEST_AMOUNT, "rounds": 1, "audit_chance": 0},
            ("rewards.stake", "lower rewards.pool"),
        ),
        (  # by chance a round may pay for 1 / 0.25 rounds
            {"policy": "verified", "pool": LARGEST_AMOUNT // 40 + 1, "audit_chance": 0.25},
            ("rewards.pool", f"exceeds {LARGEST_AMOUNT // 4}"),
        ),
    ],
)
def test_more_money_than_the_ledger_can_write(changes, named):
    with pytest.raises(SettingError) as caught:
        stake_of(job(stake=None) | changes)
    assert "\n" not in str(caught.value)
    assert all(name in str(caught.value) for name in named)
    stake_of(job(stake=LARGEST_AMOUNT, pool=LARGEST_AMOUNT // 10))
    stake_of(job(stake=1, policy="verified", pool=LARGEST_AMOUNT // 40, audit_chance=0.25))


def test_where_nothing_is_repeated_verified_work_cannot_be_paid():
    """As with trust.repeatable=warn, where the self-test does not repeat."""
    with pytest.raises(SettingError, match=r"rewards\.policy=verified .* rewards\.policy=work"):
        stake_of(job(policy="verified", audit_chance=0.0))


@pytest.mark.parametrize("blamed", ["r0.s0", "r0.s1"])
@pytest.mark.parametrize("chance", [0.05, 0.25, 0.5])
def test_where_verified_work_is_paid_the_stake_covers_who_owns_a_whole_replica(chance, blamed):
    """It leaves out a window, or all of its round: without work it earns nothing on average."""
    changes = {"policy": "verified", "audit_chance": chance}
    stake = stake_of(job(stake=None, **changes))
    book = opened(stake=stake, **changes)
    play(book, 1, verdict(0, "malicious", [blamed], repeated=100))
    own = ("credit:key-r0.s", "stake:key-r0.s")
    balance = sum(b for account, b in book.balances.items() if account.startswith(own))
    assert balance <= 2 * stake


@pytest.mark.parametrize("chance", [0.05, 0.3])
def test_where_verified_work_is_paid_it_warns_of_what_partners_are_paid(chance):
    """Who is alone in its replica gains nothing by a lie, whatever its stake."""
    changes = {"policy": "verified", "audit_chance": chance}
    kept = math.ceil(bet_of(job(**changes)).kept / Fraction(chance))
    assert warning(job(stake=None, **changes)) is None
    assert warning(job(stake=kept, **changes)) is None
    assert f"it takes rewards.stake={kept}" in warning(job(stake=kept - 1, **changes))
    assert warning(job(stake=0, shares=[10**6], **changes)) is None
