import math

import pytest

from tdml.config import config_dir
from tdml.rewards.deterrence import met
from tests.rewards.simulation import (
    AUDIT_RATE,
    COST,
    HONEST,
    ROUNDS,
    SILENT,
    SILENT_ONCE,
    STRATEGIES,
    WINDOWS,
    expected,
    simulate,
)

COPIES = 4
RETURNING = [s for s in STRATEGIES if s.returns and not s.perjury]


@pytest.fixture(scope="module")
def at_the_least_stake():
    """Profits and partners' pay by strategy, the honest one first."""
    return simulate([HONEST, *STRATEGIES], 1.0, COPIES)


def test_every_attack_of_the_laboratory_is_played():
    attacks = {path.stem for path in (config_dir() / "attack").glob("*.yaml")} - {"none"}
    assert {attack for strategy in STRATEGIES for attack in strategy.attacks} == attacks


@pytest.mark.timeout(120)
def test_every_strategy_earns_less_than_honest_work(at_the_least_stake):
    honest, *profits = at_the_least_stake[0]
    assert honest == pytest.approx(expected(HONEST, 1.0)) == pytest.approx(100)
    for strategy, profit in zip(STRATEGIES, profits, strict=True):
        assert profit < honest, strategy
        assert (expected(strategy, 1.0) or 0) < honest, strategy


@pytest.mark.timeout(120)
def test_partners_of_cheats_earn_what_all_honest_nodes_earn(at_the_least_stake):
    assert at_the_least_stake[1] == [ROUNDS] * (1 + len(STRATEGIES))


@pytest.mark.timeout(120)
def test_the_simulation_agrees_with_the_sum(at_the_least_stake):
    for strategy, profit in zip([HONEST, *STRATEGIES], at_the_least_stake[0], strict=True):
        if strategy in RETURNING:
            assert abs(profit - expected(strategy, 1.0)) < 4 * deviation(strategy), strategy


@pytest.mark.timeout(120)
def test_who_is_gone_whenever_it_may_be_earns_less_than_honest_work():
    (honest, *profits), (_, *partners) = simulate([HONEST, *SILENT], 1.0, COPIES)
    for strategy, profit in zip(SILENT, profits, strict=True):
        assert profit < honest, strategy
    assert min(partners) > 0.99 * ROUNDS, "but for the rounds after which no honest one came"


@pytest.mark.timeout(120)
def test_who_is_gone_once_and_honest_from_then_on_keeps_what_it_has_saved_until_then():
    """No stake prevents that. It is the work of the rounds before it was met, less the pay of that one."""
    (honest, *profits), _ = simulate([HONEST, *SILENT_ONCE], 1.0, 2 * COPIES)
    for strategy, profit in zip(SILENT_ONCE, profits, strict=True):
        chance, saved = met(AUDIT_RATE, WINDOWS, strategy.lied), COST * (1 - strategy.worked)
        gained = saved / chance - 1
        assert abs(profit - honest - gained) <= 4 * saved / chance / math.sqrt(2 * COPIES), strategy
        assert gained < (1 - chance) / met(AUDIT_RATE, WINDOWS), "less than a stake"


@pytest.mark.timeout(120)
def test_with_a_tenth_of_the_stake_cheating_pays():
    cheats = [s for s in RETURNING if s.name in ("no work at all", "one window left out")]
    (honest, *profits), _ = simulate([HONEST, *cheats], 0.1, COPIES)
    assert min(profits) > honest
    assert min(expected(strategy, 0.1) for strategy in cheats) > honest


def deviation(strategy):
    """The standard deviation of the mean profit of all copies."""
    found, one = met(AUDIT_RATE, WINDOWS, strategy.lied), met(AUDIT_RATE, WINDOWS)
    bet = math.sqrt(found * (1 - found)) / one
    return bet * math.sqrt(ROUNDS * strategy.rounds / COPIES)
