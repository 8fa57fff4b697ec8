"""What comes of many cases: shares, means, and how sure they are."""

import pytest

from tdml.lab.intervals import mean_interval, wilson
from tdml.lab.page import page_text
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


@pytest.mark.parametrize("named_right", [True, False])
def test_a_partner_that_is_banned_for_an_attacker_is_an_honest_node(named_right):
    attacker = {
        "replica": 3, "first_act": 1, "convicted": 1, "counted": 0.0, "rounds": 1,
        "named_right": named_right,
    }  # fmt: skip
    rest = {"accuracy": {"4": 0.5}, "final_accuracy": 0.5, "seconds": 1.0, "spent": 0.1}
    honest = {"banned": {}, "rounds": 4, "lost_weight": 0.0}
    alone = {"stages": 2, "single_node": True, "extra": ("trust.budget=0.5",)}
    chosen = vars(case("garbage", 1, rounds=4, **alone))
    groups = summarise([{"case": chosen, "attackers": [attacker], "honest": [honest], **rest}])

    about = {"grid": "nodes", "cases": 1, "commits": [], "processor": "", "torch": ""}
    page = page_text([about | {"groups": groups}], None)
    met = f"no honest node is banned**: met in {int(named_right)} of 1 groups"
    assert met in page
    assert ("of 1 of 1 attackers a partner" in page) != named_right
    assert "4 rounds of 1 step, IID, 2 stages, one node attacks, trust.budget=0.5\n" in page
