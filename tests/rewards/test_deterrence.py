from fractions import Fraction

import pytest

from tdml.errors import SettingError
from tdml.rewards.accounts import Accounts
from tdml.rewards.deterrence import gain, least_stake, stake_of, warning
from tdml.rewards.entries import LARGEST_AMOUNT
from tdml.trust.numbers import RANDOM_SHARE
from tests.rewards.stories import close, job, roster, verdict


def unsettled(**changes):
    return job(stake=None, pool=1_000_000, **changes)


# What a lie gains


@pytest.mark.parametrize(("policy", "most"), [("work", 300), ("equal", 166), ("improvement", 600)])
def test_the_gain_is_the_largest_pay_of_a_full_round(policy, most):
    body = job(policy=policy, samples=[100, 40, 60], pool=1000)
    assert gain(body) == most
    book = Accounts(body, roster([f"r{r}.s{s}" for r in range(3) for s in range(2)]))
    close(book, 0)
    for replica, samples in enumerate(body["samples"]):
        book.apply(
            "verdict",
            1,
            verdict(replica, samples=samples, improvement=samples if replica == 0 else -1),
        )
    close(book, 1)
    assert (
        max(balance for account, balance in book.balances.items() if account.startswith("credit:"))
        == most
    )


# The stake


@pytest.mark.parametrize("chance", [1e-9, 0.0345, 0.1, 1 / 3, 0.5, 0.999999, 1.0])
@pytest.mark.parametrize("most", [0, 1, 7, 125_000, LARGEST_AMOUNT])
def test_the_least_stake_outweighs_the_gain_and_a_unit_less_does_not(chance, most):
    stake, q = least_stake(most, chance), Fraction(chance)
    assert stake * q >= most * (1 - q)
    assert stake == 0 or (stake - 1) * q < most * (1 - q)


def test_by_default_the_stake_is_the_least():
    body = unsettled()
    stake = stake_of(body)
    assert stake == least_stake(200_000, 0.05) == 3_800_000
    assert warning(body) is None
    assert warning(body | {"stake": stake}) is None
    assert stake_of(body | {"stake": 12}) == 12


def test_a_stake_that_is_too_small_is_warned_of_with_figures_that_would_do():
    body = unsettled() | {"stake": 100_000}
    assert warning(body) == (
        "rewards.stake=100000 does not outweigh the 200000 that a lie gains: the budget meets it "
        "with a chance of 0.05; it takes rewards.stake=3800000"
    )
    assert warning(body | {"audit_chance": RANDOM_SHARE}) is not None, "no budget is enough"
    assert warning(body | {"stake": 3_799_999}) is not None
    assert warning(body | {"stake": 3_800_000}) is None


def test_a_budget_that_would_do_is_named():
    body = unsettled() | {"stake": 1_000_000}
    assert warning(body).endswith("it takes rewards.stake=3800000, or trust.budget=0.334")
    assert warning(body | {"audit_chance": RANDOM_SHARE * 0.333}) is not None
    assert warning(body | {"audit_chance": RANDOM_SHARE * 0.334}) is None


def test_where_every_window_is_audited_no_stake_is_needed():
    assert stake_of(unsettled(audit_chance=1)) == 0
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
    ],
)
def test_more_money_than_the_ledger_can_write(changes, named):
    with pytest.raises(SettingError) as caught:
        stake_of(job(stake=None) | changes)
    assert "\n" not in str(caught.value)
    assert all(name in str(caught.value) for name in named)
    stake_of(job(stake=LARGEST_AMOUNT, pool=LARGEST_AMOUNT // 10))
