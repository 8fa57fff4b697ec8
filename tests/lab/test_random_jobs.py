"""In jobs of honest nodes, whatever they are, nobody is banned."""

import pytest

from tests.lab.random_jobs import play


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.timeout(120)
def test_nobody_is_banned(seed: int) -> None:
    assert not play(seed).get("banned")


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_nobody_is_banned_in_a_hundred_jobs() -> None:
    assert [found for seed in range(100) if (found := play(seed)).get("banned")] == []
