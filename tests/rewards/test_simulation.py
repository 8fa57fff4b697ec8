import math

import pytest

from tdml.config import config_dir
from tests.rewards.simulation import (
    CHANCE,
    HONEST,
    OWNERS,
    ROUNDS,
    SILENT,
    SILENT_AND_ELSEWHERE,
    SILENT_AND_STAYING,
    STRATEGIES,
    WINDOWS,
    expected,
    expected_verified,
    simulate,
)

COPIES = 4
RETURNING = [s for s in STRATEGIES if s.returns]


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
        assert expected(strategy, 1.0) < honest, strategy


@pytest.mark.timeout(120)
def test_partners_of_cheats_earn_what_all_honest_nodes_earn(at_the_least_stake):
    assert at_the_least_stake[1] == [ROUNDS] * (1 + len(STRATEGIES))


@pytest.mark.timeout(120)
def test_the_simulation_agrees_with_the_sum(at_the_least_stake):
    for strategy, profit in zip([HONEST, *STRATEGIES], at_the_least_stake[0], strict=True):
        if strategy in RETURNING:
            assert abs(profit - expected(strategy, 1.0)) < 4 * deviation(strategy), strategy


@pytest.mark.timeout(120)
def test_who_does_not_answer_when_it_is_asked_and_is_gone_earns_less_than_honest_work():
    (honest, *profits), (_, *partners) = simulate([HONEST, *SILENT], 1.0, COPIES)
    for strategy, profit in zip(SILENT, profits, strict=True):
        assert profit < honest, strategy
        assert expected(strategy, 1.0) < honest, strategy
    assert partners == [ROUNDS] * len(SILENT), "what was held back of them is cleared"


@pytest.mark.timeout(120)
def test_who_does_not_answer_when_it_is_asked_and_keeps_its_slot_earns_less_than_honest_work():
    (honest, *profits), (_, *partners) = simulate([HONEST, *SILENT_AND_STAYING], 1.0, COPIES)
    assert min(partners) >= ROUNDS - 1, "what was held back is cleared, and a round goes by"
    for strategy, profit in zip(SILENT_AND_STAYING, profits, strict=True):
        assert profit < honest, strategy
        assert expected(strategy, 1.0) < honest, strategy


@pytest.mark.timeout(120)
def test_who_owns_a_whole_replica_earns_less_by_cheating_than_by_honest_work():
    (honest, *profits), _ = simulate([HONEST, *OWNERS], 1.0, COPIES)
    for strategy, profit in zip(OWNERS, profits, strict=True):
        assert profit < honest, strategy
        assert expected(strategy, 1.0) < honest, strategy
        assert abs(profit - expected(strategy, 1.0)) < 4 * deviation(strategy), strategy


@pytest.mark.timeout(120)
def test_who_starts_anew_after_silence_earns_more_than_honest_work_where_all_work_is_paid():
    """So long as that is so, docs/rewards.md has to say it."""
    profits, _ = simulate(SILENT_AND_ELSEWHERE, 1.0, COPIES)
    for strategy, profit in zip(SILENT_AND_ELSEWHERE, profits, strict=True):
        assert profit == pytest.approx(expected(strategy, 1.0), abs=10), strategy
    idle = next(s for s in SILENT_AND_ELSEWHERE if s.worked == 0 and s.rounds == 1)
    assert expected(idle, 1.0) > 8 * expected(HONEST, 1.0)


@pytest.mark.timeout(120)
def test_where_only_verified_work_is_paid_no_strategy_earns_more_than_honest_work():
    """However it starts anew."""
    honest = expected_verified(HONEST)
    assert honest == pytest.approx(expected(HONEST, 1.0))
    cheats = [*RETURNING, *SILENT_AND_ELSEWHERE, *OWNERS]
    profits, _ = simulate([HONEST, *cheats], 1.0, COPIES, "verified")
    for strategy, profit in zip([HONEST, *cheats], profits, strict=True):
        lot = math.sqrt(ROUNDS * (1 / CHANCE - 1) / WINDOWS / COPIES)
        noise = math.hypot(lot, 0 if strategy.silent else deviation(strategy))
        assert abs(profit - expected_verified(strategy)) < 4 * noise, strategy
        assert strategy is HONEST or expected_verified(strategy) < honest, strategy


@pytest.mark.timeout(120)
def test_with_a_tenth_of_the_stake_cheating_pays():
    cheats = [s for s in RETURNING if s.name in ("no work at all", "one window left out")]
    (honest, *profits), _ = simulate([HONEST, *cheats], 0.1, COPIES)
    assert min(profits) > honest
    assert min(expected(strategy, 0.1) for strategy in cheats) > honest


def deviation(strategy):
    """The standard deviation of the mean profit of all copies."""
    bet = math.sqrt(strategy.caught * (1 - strategy.caught)) * (1 + strategy.stake)
    return bet * math.sqrt(ROUNDS * strategy.rounds / COPIES)
