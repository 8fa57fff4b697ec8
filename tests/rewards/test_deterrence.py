import random
from fractions import Fraction

import pytest

from tdml.errors import SettingError
from tdml.rewards.accounts import Book
from tdml.rewards.deterrence import gain, least_stake, met, stake_of, warning
from tdml.rewards.entries import LARGEST
from tests.rewards.stories import close, job, roster, verdict


def unsettled(**changes):
    return job(stake=None, pool=1_000_000, **changes)


# The chance that a lie is met


@pytest.mark.parametrize("rate", [0, 1e-12, 0.1, 0.5, 0.999, 1])
@pytest.mark.parametrize("windows", [1, 3, 8])
def test_a_lie_in_all_windows_is_met_with_the_audit_rate(rate, windows):
    assert met(rate, windows, windows) == pytest.approx(rate, rel=1e-12)
    q = met(rate, windows)
    assert rate / windows <= q * (1 + 1e-12) and q <= rate
    for lied in range(1, windows + 1):
        assert met(rate, windows, lied) == pytest.approx(1 - (1 - q) ** lied, rel=1e-3)


def test_the_chance_is_what_independent_draws_show():
    draws, rate, windows = random.Random(0), 0.3, 4
    q = met(rate, windows)
    rounds = [[draws.random() < q for _ in range(windows)] for _ in range(20_000)]
    assert sum(map(any, rounds)) / len(rounds) == pytest.approx(rate, abs=0.01)
    assert sum(audited[0] for audited in rounds) / len(rounds) == pytest.approx(q, abs=0.01)


# What a lie gains


@pytest.mark.parametrize(("policy", "most"), [("work", 300), ("equal", 166), ("improvement", 600)])
def test_the_gain_is_the_largest_pay_of_a_full_round(policy, most):
    body = job(policy=policy, samples=[100, 40, 60])
    assert gain(body) == most
    book = Book(body, roster([f"r{r}.s{s}" for r in range(3) for s in range(2)]))
    close(book, 0)
    for replica, samples in enumerate(body["samples"]):
        book.apply("verdict", 1, verdict(replica, samples=samples, improvement=samples if replica == 0 else -1))
    close(book, 1)
    assert max(balance for account, balance in book.balances.items() if account.startswith("credit:")) == most


# The stake


@pytest.mark.parametrize("chance", [1e-9, 0.0345, 0.1, 1 / 3, 0.5, 0.999999, 1.0])
@pytest.mark.parametrize("most", [0, 1, 7, 125_000, LARGEST])
def test_the_least_stake_outweighs_the_gain_and_a_unit_less_does_not(chance, most):
    stake, q = least_stake(most, chance), Fraction(chance)
    assert stake * q >= most * (1 - q)
    assert stake == 0 or (stake - 1) * q < most * (1 - q)


def test_by_default_the_stake_is_the_least():
    body = unsettled()
    stake = stake_of(body)
    assert stake == least_stake(200_000, met(0.1, 3)) == 5_595_319
    assert warning(body) is None
    assert warning(body | {"stake": stake}) is None
    assert stake_of(body | {"stake": 12}) == 12


def test_a_stake_that_is_too_small_is_warned_of_with_figures_that_would_do():
    body = unsettled() | {"stake": 100_000}
    assert warning(body) == (
        "rewards.stake=100000 does not outweigh the 200000 that a lie in one of 3 windows gains: trust.audit_rate=0.1 "
        "meets it with a chance of 0.0345; it takes rewards.stake=5595319, or trust.audit_rate=0.963"
    )
    assert warning(body | {"stake": 5_595_318}) is not None
    assert warning(body | {"stake": 5_595_319}) is None
    assert warning(body | {"audit_rate": 0.962}) is not None
    assert warning(body | {"audit_rate": 0.963}) is None


def test_without_audits_no_stake_is_enough():
    body = unsettled(audit_rate=0)
    assert stake_of(body) == 2_000_000
    assert warning(body) == (
        "trust.audit_rate=0: no rewards.stake makes a lie not pay that screen and cross-check miss; with "
        "rewards.stake=2000000 it takes trust.audit_rate=0.249"
    )
    assert warning(body | {"stake": 2_000_000, "audit_rate": 0.249}) is None
    assert "trust.audit_rate=0:" in warning(body | {"stake": 10**9})


def test_where_every_window_is_audited_no_stake_is_needed():
    assert stake_of(unsettled(audit_rate=1)) == 0
    assert warning(unsettled(audit_rate=1)) is None


def test_where_nothing_is_paid_nothing_is_staked():
    for rate in (0, 0.1, 1):
        body = job(stake=None, pool=0, audit_rate=rate)
        assert (stake_of(body), warning(body)) == (0, None)


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"pool": LARGEST // 10 + 1}, ("rewards.pool", "rounds=10")),
        ({"stake": LARGEST + 1}, ("rewards.stake", "lower it")),
        ({"pool": LARGEST // 10, "audit_rate": 0.001}, ("rewards.stake", "rewards.pool or raise trust.audit_rate")),
        ({"pool": LARGEST, "rounds": 1, "audit_rate": 0}, ("rewards.stake", "lower rewards.pool")),
    ],
)
def test_more_money_than_the_ledger_can_write(changes, named):
    with pytest.raises(SettingError) as caught:
        stake_of(job(stake=None) | changes)
    assert "\n" not in str(caught.value)
    assert all(name in str(caught.value) for name in named)
    stake_of(job(stake=LARGEST, pool=LARGEST // 10))
