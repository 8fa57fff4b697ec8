"""What comes of many cases: shares, means, and how sure they are."""

import pytest

from tdml.lab.intervals import mean_interval, wilson
from tdml.lab.tables import summarise
from tests.lab.cases import case


def test_wilson_interval():
    # By hand, 8 of 10: (0.8 + 0.19207) / 1.38415 ∓ 1.95996 / 1.38415 · √(0.016 + 0.0096037)
    assert wilson(8, 10) == pytest.approx((0.49016, 0.94332), abs=1e-4)
    assert wilson(0, 10) == pytest.approx((0, 0.27754), abs=1e-4)
    assert wilson(0, 0) == (0, 1)


def test_mean_interval():
    # t(0.975, 2) = 4.302653; standard deviation 1
    assert mean_interval([1, 2, 3]) == pytest.approx((2, 4.302653 / 3**0.5))


def test_delays_count_from_the_first_deed():
    def result(seed, first, convicted):
        attacker = {
            "replica": 3,
            "first_act": first,
            "convicted": convicted,
            "counted": 1.0,
            "rounds": 4,
        }
        honest = [
            {"banned": {"r0.s0": 2}, "rounds": 4, "lost_weight": 1.0},
            {"banned": {}, "rounds": 4, "lost_weight": 0.0},
        ]  # fmt: skip
        rest = {"accuracy": {"4": 0.5}, "final_accuracy": 0.5, "seconds": 1.0, "spent": 0.1}
        chosen = case("mean_shift", 1, seed=seed, rounds=4)
        return {"case": vars(chosen), "attackers": [attacker], "honest": honest, **rest}

    (summary,) = summarise(
        [result(0, 2, 2), result(1, 1, 3), result(2, 1, None), result(3, None, None)]
    )
    assert summary["attackers"] == 3
    assert (summary["proven_at_once"]["hits"], summary["never_proven"]["hits"]) == (1, 1)
    assert summary["rounds_to_proof"] == {"median": 3, "p95": None}
    assert (summary["honest_banned"]["hits"], summary["honest_banned"]["of"]) == (4, 8)
    assert (summary["honest_not_counted"], summary["attackers_counted"]) == (4 / 32, 3 / 12)
